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

fn header(headers: &[(&'static str, String)], name: &str) -> String {
    headers.iter().find(|(other, _)| *other == name).unwrap().1.clone()
}

#[test]
fn the_vectors_shared_with_php_verify_and_are_made() {
    let fixture = include_str!("../../../proto/fixtures/signatures.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let vectors = fixture["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 8);
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap();
        let scheme = Scheme::named(text("scheme")).unwrap();
        let secret = || Secret::new(text("key_id"), text("secret").as_bytes()).unwrap();
        let ring = SecretRing::new(vec![secret()]).unwrap();
        let parts = Parts { timestamp: text("timestamp"), key: "", body: text("body").as_bytes() };
        let signed_by = verify(scheme, &ring, &parts, text("signature"), None);
        assert_eq!(signed_by, Some(text("key_id")), "{}", text("name"));
        let made = sign(scheme, &secret(), &parts);
        assert_eq!(header(&made, scheme.signature_header), text("signature"), "{}", text("name"));
    }
}

#[test]
fn other_senders_are_further_rows() {
    const NONE: Scheme = Scheme {
        name: "row",
        signature_header: "x-signature",
        prefix: "",
        separator: None,
        encoding: MacEncoding::Hex,
        timestamp: TimestampAt::Nowhere,
        window_s: 300,
        key_header: None,
        key_id_header: None,
        signed: &[Piece::Body],
    };
    let github = Scheme { prefix: "sha256=", ..NONE };
    let shopify = Scheme { encoding: MacEncoding::Base64, ..NONE };
    let stripe = Scheme {
        prefix: "v1=",
        separator: Some(','),
        timestamp: TimestampAt::Signature("t="),
        signed: &[Piece::Timestamp, Piece::Text("."), Piece::Body],
        ..NONE
    };
    let standard = Scheme {
        prefix: "v1,",
        separator: Some(' '),
        encoding: MacEncoding::Base64,
        timestamp: TimestampAt::Header("webhook-timestamp"),
        key_header: Some("webhook-id"),
        signed: &[Piece::Key, Piece::Text("."), Piece::Timestamp, Piece::Text("."), Piece::Body],
        ..NONE
    };
    let ring = SecretRing::new(vec![Secret::new("k", VALUE).unwrap()]).unwrap();
    let parts = parts(br#"{"a":1}"#);
    // Signatures by `openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef`.
    for (scheme, signature) in [
        (github, "sha256=f0546246da9e2349100c845a8561214788d75d900f3c086a72fcfa03bb1f42ab"),
        (shopify, "8FRiRtqeI0kQDIRahWEhR4jXXZAPPAhqcvz6A7sfQqs="),
        (
            stripe,
            "t=1700000000,v1=f05f2539e3ae1c49aec5f8cfdad75ef6b06480b133973ffbb7ec9e18827af177",
        ),
        (standard, "v1,rkwp5YuvdrMkcu0ZhuMsXoTg44mHAr1Q0+FFgFpXsjY="),
    ] {
        assert_eq!(verify(&scheme, &ring, &parts, signature, None), Some("k"), "{signature}");
        let made = sign(&scheme, ring.signing(), &parts);
        assert_eq!(header(&made, "x-signature"), signature);
    }
    assert_eq!(stripe.timestamp_in("t=17,v1=ab", "t="), Some("17"));
    let two = "v1a,AAAA v1,AAAA v1,rkwp5YuvdrMkcu0ZhuMsXoTg44mHAr1Q0+FFgFpXsjY=";
    assert_eq!(verify(&standard, &ring, &parts, two, None), Some("k"), "one of several matches");
    assert!(standard.signs_key() && !github.signs_key());
}

#[test]
fn slacks_published_vector_verifies() {
    let slack = Scheme {
        name: "slack",
        signature_header: "x-slack-signature",
        prefix: "v0=",
        timestamp: TimestampAt::Header("x-slack-request-timestamp"),
        signed: &[Piece::Text("v0:"), Piece::Timestamp, Piece::Text(":"), Piece::Body],
        key_header: None,
        key_id_header: None,
        ..WP_RELAY
    };
    let secret = Secret::new("slack", b"8f742231b10e8888abcd99yyyzzz85a5").unwrap();
    let ring = SecretRing::new(vec![secret]).unwrap();
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
        &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
        &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands\
        %2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let parts = Parts { timestamp: "1531420618", key: "", body: body.as_bytes() };
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    assert_eq!(verify(&slack, &ring, &parts, signature, None), Some("slack"));
}

#[test]
fn every_change_breaks_a_signature() {
    let ring = ring(&["k1"]);
    for scheme in SCHEMES {
        let good = header(&sign(scheme, ring.signing(), &parts(b"body")), scheme.signature_header);
        assert_eq!(verify(scheme, &ring, &parts(b"body"), &good, None), Some("k1"));
        for other in [&b"bodY"[..], b"body\n", b"", b" body"] {
            assert_eq!(verify(scheme, &ring, &parts(other), &good, None), None);
        }
        let later = Parts { timestamp: "1700000001", ..parts(b"body") };
        assert_eq!(verify(scheme, &ring, &later, &good, None), None);
        for place in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(verify(scheme, &ring, &parts(b"body"), &changed, None), None, "{changed}");
        }
        for wrong in [&good[1..], &format!("{good}0"), &format!("sha256={good}"), "", "{}"] {
            assert_eq!(verify(scheme, &ring, &parts(b"body"), wrong, None), None, "{wrong}");
        }
    }
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
    let list = Scheme { separator: Some(' '), ..WP_RELAY };
    let ring = ring(&["k1"]);
    let good = header(&sign(&list, ring.signing(), &parts(b"b")), "x-wp-signature");
    let after = |others: usize| format!("{}{good}", "00 ".repeat(others));
    assert_eq!(verify(&list, &ring, &parts(b"b"), &after(7), None), Some("k1"));
    assert_eq!(verify(&list, &ring, &parts(b"b"), &after(8), None), None);
}

#[test]
fn weak_and_ambiguous_secrets_are_refused() {
    let refused = |id: &str, value: &[u8]| Secret::new(id, value).unwrap_err();
    assert_eq!(refused("k", b""), SecretError::Length);
    assert_eq!(refused("k", &VALUE[1..]), SecretError::Length);
    assert_eq!(refused("k", &[7; 1_025]), SecretError::Length);
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
