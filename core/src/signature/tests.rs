#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use serde_json::Value;

use super::*;

const VALUE: &[u8] = b"0123456789abcdef0123456789abcdef";

fn ring(ids: &[&str]) -> SecretRing {
    let secret = |id: &&str| Secret::new(id, format!("{id:-<32}").as_bytes()).unwrap();
    SecretRing::new(ids.iter().map(secret).collect()).unwrap()
}

fn parts(body: &[u8]) -> Parts<'_> {
    Parts { timestamp: "1700000000", key: "msg_1", body }
}

fn header(headers: &[(String, String)], name: &str) -> String {
    headers.iter().find(|(other, _)| other == name).unwrap().1.clone()
}

#[test]
fn the_vectors_of_owners_and_those_shared_with_php_verify_and_are_made() {
    let fixture = include_str!("../../../proto/fixtures/signatures.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let vectors = fixture["vectors"].as_array().unwrap();
    for scheme in SCHEMES {
        assert!(vectors.iter().any(|v| v["scheme"] == scheme.name), "{}", scheme.name);
    }
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap();
        let scheme = Scheme::named(text("scheme")).unwrap();
        let secret = || Secret::of(scheme, text("key_id"), text("secret").as_bytes()).unwrap();
        let ring = SecretRing::new(vec![secret()]).unwrap();
        let key = vector["id"].as_str().unwrap_or_default();
        let parts = Parts { timestamp: text("timestamp"), key, body: text("body").as_bytes() };
        let signed_by = verify(scheme, &ring, &parts, text("signature"), None);
        assert_eq!(signed_by, Some(text("key_id")), "{}", text("name"));
        let made = header(&sign(scheme, &secret(), &parts), &scheme.signature_header);
        assert!(text("signature").ends_with(&made), "{}", text("name"));
    }
}

#[test]
fn a_custom_scheme_can_be_any_row_of_the_table() {
    let text = |text: &str| Some(text.to_owned());
    let slack = Custom {
        signature_header: "X-Slack-Signature".to_owned(),
        prefix: "v0=".to_owned(),
        timestamp_header: text("X-Slack-Request-Timestamp"),
        window_s: 300,
        signed: "v0:{timestamp}:{body}".to_owned(),
        ..Custom::default()
    };
    let stripe = Custom {
        signature_header: "stripe-signature".to_owned(),
        prefix: "v1=".to_owned(),
        separator: Some(','),
        timestamp_prefix: text("t="),
        window_s: 300,
        signed: "{timestamp}.{body}".to_owned(),
        ..Custom::default()
    };
    let standard = Custom {
        signature_header: "Webhook-Signature".to_owned(),
        base64: true,
        prefix: "v1,".to_owned(),
        separator: Some(' '),
        timestamp_header: text("Webhook-Timestamp"),
        window_s: 300,
        key_header: text("Webhook-Id"),
        signed: "{key}.{timestamp}.{body}".to_owned(),
        ..Custom::default()
    };
    for (custom, row) in [(slack, &SLACK), (stripe, &STRIPE), (standard, &STANDARD_WEBHOOKS)] {
        let made = Scheme::custom(&custom).unwrap();
        let expected = Scheme {
            name: "custom",
            secret: SecretForm::Bytes,
            secret_bytes_min: made.secret_bytes_min,
            ..row.clone()
        };
        assert_eq!(made, expected);
    }
}

#[test]
fn a_custom_scheme_that_cannot_be_safe_is_refused_by_the_key_to_mend() {
    let good = || Custom {
        signature_header: "x-s".to_owned(),
        window_s: 300,
        signed: "{body}".to_owned(),
        ..Custom::default()
    };
    let text = |text: &str| Some(text.to_owned());
    assert!(Scheme::custom(&good()).is_ok());
    for (setting, custom) in [
        ("signature_header", Custom { signature_header: "x s".to_owned(), ..good() }),
        ("signature_header", Custom { signature_header: String::new(), ..good() }),
        ("prefix", Custom { prefix: "é".to_owned(), ..good() }),
        ("signed", Custom { signed: "{timestamp}".to_owned(), ..good() }),
        ("signed", Custom { signed: "{body}{body}".to_owned(), ..good() }),
        ("signed", Custom { signed: "{body".to_owned(), ..good() }),
        ("signed", Custom { signed: "{path}{body}".to_owned(), ..good() }),
        ("signed", Custom { signed: "body}".to_owned(), ..good() }),
        // Sent and not signed, signed and not sent.
        ("signed", Custom { timestamp_header: text("x-t"), ..good() }),
        ("signed", Custom { signed: "{timestamp}.{body}".to_owned(), ..good() }),
        (
            "timestamp_prefix",
            Custom { timestamp_header: text("x-t"), timestamp_prefix: text("t="), ..good() },
        ),
        ("separator", Custom { timestamp_prefix: text("t="), ..good() }),
        ("key_header", Custom { signed: "{key}.{body}".to_owned(), ..good() }),
        (
            "window",
            Custom {
                timestamp_header: text("x-t"),
                signed: "{timestamp}.{body}".to_owned(),
                window_s: 3_601,
                ..good()
            },
        ),
    ] {
        assert_eq!(Scheme::custom(&custom).unwrap_err().setting, setting, "{custom:?}");
    }
    assert_eq!(&*Scheme::token_in("Authorization").unwrap().prefix, "Bearer ");
    assert_eq!(&*Scheme::token_in("X-Gitlab-Token").unwrap().signature_header, "x-gitlab-token");
    assert_eq!(Scheme::token_in("").unwrap_err().setting, "token_header");
}

#[test]
fn secrets_come_in_the_form_of_their_scheme() {
    let refused =
        |scheme: &Scheme, value: &str| Secret::of(scheme, "k", value.as_bytes()).unwrap_err();
    let short = "whsec_c2hvcnQ=";
    assert_eq!(refused(&STANDARD_WEBHOOKS, short), SecretError::Length(24));
    assert!(matches!(refused(&STANDARD_WEBHOOKS, "whsec_***"), SecretError::Form(_)));
    assert!(matches!(refused(&BASIC, &"p".repeat(40)), SecretError::Form(_)));
    assert_eq!(refused(&TOKEN, "short"), SecretError::Length(24));
    assert_eq!(refused(&GITHUB, "short"), SecretError::Length(24));
    assert_eq!(refused(&STRIPE, "whsec_short"), SecretError::Length(32));
    let bare = Secret::of(&STANDARD_WEBHOOKS, "k", b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert!(bare.is_ok(), "without its prefix, as the official libraries take it");
}

#[test]
fn hex_may_be_upper_case() {
    let ring = ring(&["k1"]);
    let good = header(&sign(&WP_RELAY, ring.signing(), &parts(b"b")), "x-wp-signature");
    assert_eq!(verify(&WP_RELAY, &ring, &parts(b"b"), &good.to_uppercase(), None), Some("k1"));
}

#[test]
fn a_key_id_picks_one_secret_and_without_it_all_are_tried() {
    let ring = ring(&["k1", "k2", "k3"]);
    let second = &ring.secrets[1];
    let signature = header(&sign(&WP_RELAY, second, &parts(b"b")), "x-wp-signature");
    let check = |key_id: Option<&str>, expected: Option<&str>| {
        let signed_by = verify(&WP_RELAY, &ring, &parts(b"b"), &signature, key_id);
        assert_eq!(signed_by, expected, "{key_id:?}");
    };
    check(None, Some("k2"));
    check(Some("k2"), Some("k2"));
    check(Some("k1"), None);
    check(Some("k9"), None);
    // The id is unknown although the first secret, tried in its place, made the signature.
    let first = header(&sign(&WP_RELAY, ring.signing(), &parts(b"b")), "x-wp-signature");
    assert_eq!(verify(&WP_RELAY, &ring, &parts(b"b"), &first, Some("k9")), None);
    let made = sign(&WP_RELAY, second, &parts(b"b"));
    assert_eq!(header(&made, "x-wp-key-id"), "k2");
    assert_eq!(header(&made, "idempotency-key"), "msg_1");
    assert_eq!(ring.ids().collect::<Vec<_>>(), ["k1", "k2", "k3"]);
}

#[test]
fn only_the_first_eight_signatures_count() {
    let list = Scheme { separator: Some(' '), ..WP_RELAY.clone() };
    let ring = ring(&["k1"]);
    let good = header(&sign(&list, ring.signing(), &parts(b"b")), "x-wp-signature");
    let after = |others: usize| format!("{}{good}", "00 ".repeat(others));
    assert_eq!(verify(&list, &ring, &parts(b"b"), &after(7), None), Some("k1"));
    assert_eq!(verify(&list, &ring, &parts(b"b"), &after(8), None), None);
}

#[test]
fn weak_and_ambiguous_secrets_are_refused() {
    let refused = |id: &str, value: &[u8]| Secret::new(id, value).unwrap_err();
    assert_eq!(refused("k", b""), SecretError::Length(32));
    assert_eq!(refused("k", &VALUE[1..]), SecretError::Length(32));
    assert_eq!(refused("k", &[7; 1_025]), SecretError::Length(32));
    for id in ["", "a b", "é", "a\n", &"k".repeat(65)] {
        assert_eq!(refused(id, VALUE), SecretError::Id);
    }
    let secrets = |count: usize| {
        (0..count).map(|n| Secret::new(&format!("k{n}"), VALUE).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(SecretRing::new(secrets(0)).unwrap_err(), SecretError::Count);
    assert_eq!(SecretRing::new(secrets(9)).unwrap_err(), SecretError::Count);
    assert!(SecretRing::new(secrets(8)).is_ok());
    let twice = vec![Secret::new("k", VALUE).unwrap(), Secret::new("k", VALUE).unwrap()];
    assert_eq!(SecretRing::new(twice).unwrap_err(), SecretError::Twice);
}

#[test]
fn a_secret_does_not_print_itself() {
    let ring = SecretRing::new(vec![Secret::new("k1", VALUE).unwrap()]).unwrap();
    assert_eq!(format!("{ring:?}"), "SecretRing { secrets: [Secret(k1)] }");
}
