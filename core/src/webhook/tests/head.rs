//! Sections A to C of the table: request line, content and signing headers.

use super::*;

const TS: &str = "x-wp-timestamp";
const SIG: &str = "x-wp-signature";
const KEY: &str = "idempotency-key";

#[test]
fn methods_sizes_and_addresses() {
    let good = Request::good();
    check("good", &good, "202");
    for method in ["GET", "PUT", "DELETE", "PATCH", "post", "BREW", "OPTIONS", ""] {
        check("4-7", &good.clone().method(method), "405 method_not_allowed");
    }
    check("23", &Request::wp(b""), "400 empty_body");
    let sized = |bytes: usize| {
        let start = BODY.trim_end_matches('}').to_owned() + r#","content":""#;
        let fill = "a".repeat(bytes - start.len() - 2);
        Request::wp(format!(r#"{start}{fill}"}}"#).as_bytes())
    };
    check("25", &sized(262_144), "202");
    check("24", &sized(262_145), "413 body_too_large");

    let from_lan = || {
        let networks = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        SourceRules { networks, ..rules(&WP_RELAY) }
    };
    let limited = good.under(from_lan);
    check("net", &limited, "403 address_not_allowed");
    check("net", &limited.clone().peer("11.0.0.1"), "403 address_not_allowed");
    check("net", &limited.clone().peer("10.1.2.3"), "202");
    check("net", &limited.clone().peer("::ffff:10.1.2.3"), "202");
    check("net", &limited.peer("2001:db8::1"), "202");
}

#[test]
fn content_headers() {
    let with = |value: &str| Request::good().with("content-type", value);
    check("45", &Request::good().without("content-type"), "415 unsupported_media_type");
    for other in [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json, text/plain",
    ] {
        check("46", &with(other), "415 unsupported_media_type");
    }
    check("47", &with("application/json; charset=utf-16"), "415 unsupported_media_type");
    check("48", &with("Application/JSON;charset=UTF-8"), "202");
    check("48", &with("application/json; charset=\"utf-8\""), "202");
    let twice = Request::good().and("content-type", "application/json");
    check("49", &twice, "400 duplicate_header");
    for coding in ["gzip", "gzip, gzip", "br", "zstd", "nonsense"] {
        let coded = Request::good().with("content-encoding", coding);
        check("50-52", &coded, "415 unsupported_encoding");
    }
    check("53", &Request::good().with("content-encoding", "identity"), "202");
    check("54", &Request::good().with("content-md5", "x").with("digest", "sha-256=x"), "202");
}

#[test]
fn signing_headers_come_once_and_in_ascii() {
    for (row, name) in [("55", TS), ("56", SIG), ("57", KEY)] {
        check(row, &Request::good().without(name), "400 missing_header");
        check("58", &Request::good().with(name, ""), "400 missing_header");
        check("58", &Request::good().with(name, "  "), "400 missing_header");
        let good = Request::good().header(name);
        check("59-61", &Request::good().and(name, &good), "400 duplicate_header");
        check("59-61", &Request::good().and(name, "other"), "400 duplicate_header");
        check("62", &Request::good().with(name, b"caf\xe9"), "400 bad_header");
        check("62", &Request::good().with(name, "é"), "400 bad_header");
        check("62", &Request::good().with(name, b"a\x7f"), "400 bad_header");
    }
}

#[test]
fn timestamps() {
    let at = |timestamp: &str| {
        Request::signed_at(|| rules(&WP_RELAY), timestamp, "key-1", BODY.as_bytes())
    };
    for text in ["abc", "NaN", "1.7e9", "1700000000.0", "0x6553F100", "1_700_000_000", "0", "1,7"] {
        check("63", &at(text), "400 bad_timestamp");
    }
    check("64", &at(&format!("+{NOW_S}")), "400 bad_timestamp");
    check("65", &at(&format!("0{NOW_S}")), "400 bad_timestamp");
    check("66", &at("-1"), "400 bad_timestamp");
    check("66", &at(&i64::MIN.to_string()), "400 bad_timestamp");
    let millis = at(&format!("{NOW_S}000"));
    check("67", &millis, "400 bad_timestamp");
    assert!(millis.send().unwrap_err().detail.contains("seconds"));
    check("68", &at(&i64::MAX.to_string()), "400 bad_timestamp");
    check("68", &at(&"9".repeat(20)), "400 bad_timestamp");
    check("68", &at(&"1".repeat(10_000)), "400 bad_timestamp");
    check("69", &at("١٧٠٠٠٠٠٠٠٠"), "400 bad_header");
    let by = |seconds: i64| at(&(NOW_S + seconds).to_string());
    check("70", &by(-301), "401 timestamp_out_of_window");
    check("71", &by(-300), "202");
    check("71", &by(300), "202");
    check("72", &by(301), "401 timestamp_out_of_window");
    check("73", &Request::good().with(TS, (NOW_S + 1).to_string()), "401 bad_signature");
    check("1", &at("1"), "401 timestamp_out_of_window");
}

#[test]
fn signatures() {
    let good = Request::good().header(SIG);
    let other_site = sign(
        &WP_RELAY,
        &secret("other"),
        &Parts { timestamp: &NOW_S.to_string(), key: "", body: BODY.as_bytes() },
    );
    let wrong = [
        ("74", good[1..].to_owned()),
        ("74", format!("{good}0")),
        ("74", "z".repeat(64)),
        ("74", "Q6ft9579G3uzk0fu6VGXKAKZrjPNKDaXsRK7C4zPDLE=".to_owned()),
        ("74", "{}".to_owned()),
        ("76", format!("sha256={good}")),
        ("77", "a".repeat(10_000)),
        ("77", format!("{good},").repeat(1_000)),
        ("78", other_site.iter().find(|(name, _)| *name == SIG).unwrap().1.clone()),
    ];
    for (row, signature) in wrong {
        let request = Request::good().with(SIG, signature).without("x-wp-key-id");
        check(row, &request, "401 bad_signature");
    }
    check("75", &Request::good().with(SIG, good.to_uppercase()), "202");
    check("79", &Request::good().with("x-wp-key-id", "k9"), "401 bad_signature");
    check("key id", &Request::good().with("x-wp-key-id", "k2"), "401 bad_signature");
    check("key id", &Request::good().without("x-wp-key-id"), "202");
    let same_answer = |request: Request| request.send().unwrap_err();
    assert_eq!(
        same_answer(Request::good().with("x-wp-key-id", "k9")),
        same_answer(Request::good().with(SIG, "0".repeat(64))),
        "row 79: an unknown key answers as a wrong signature"
    );
    check("81", &Request::good().body(format!("{BODY}\n")), "401 bad_signature");
    check("81", &Request::good().body(BODY.replace("42", "43")), "401 bad_signature");
    check("81", &Request::good().body(BODY.replace(':', ": ")), "401 bad_signature");
    let retired = || {
        let secrets = SecretRing::new(vec![secret("k2")]).unwrap();
        SourceRules { secrets, ..rules(&WP_RELAY) }
    };
    check("83", &Request::good().under(retired), "401 bad_signature");
    check("83", &Request::good().under(retired).without("x-wp-key-id"), "401 bad_signature");
    let disabled = || SourceRules { disabled: true, ..rules(&WP_RELAY) };
    check("84", &Request::good().under(disabled), "403 site_disabled");
    check("84", &Request::good().under(disabled).with(SIG, "0"), "401 bad_signature");
}

#[test]
fn idempotency_keys() {
    check("86", &Request::good().with(KEY, "key-2"), "400 key_mismatch");
    check("quoted", &Request::good().with(KEY, "\"key-1\""), "202");
    for key in [&"k".repeat(129), "a b", "a/b", "a\tb", "\"", "\"\"", "\"key-1", "{}"] {
        check("89", &Request::good().with(KEY, key), "400 bad_idempotency_key");
    }
    let body = |key: &str| {
        let json = format!(r#"{{"event":"post.published","post_id":42,"idempotency_key":{key}}}"#);
        Request::wp(json.as_bytes())
    };
    check("90", &body(r#""a\r\nNats-Rollup: all""#), "400 bad_idempotency_key");
    check("119", &Request::wp(br#"{"event":"post.published","post_id":42}"#), "400 key_mismatch");
    for key in ["1", "{}", "null", "[]", "true"] {
        check("120", &body(key), "422 invalid_event");
    }
    let long = "k".repeat(128);
    check("128 chars", &body(&format!("\"{long}\"")).with(KEY, &long), "202");

    let derived = || SourceRules { key: KeyRule::Derived, ..rules(&WP_RELAY) };
    let keyless = Request::wp(br#"{"event":"post.published","post_id":42}"#).under(derived);
    // printf '%s' '1795420800.{"event":"post.published","post_id":42}' | sha256sum
    let expected = "c645a0a24e487547b64a83bcb5484085bf20b0a3e31a65cd9b4915ff72ce11f9";
    for request in [keyless.clone(), keyless.clone().without(KEY), keyless.with(KEY, "other")] {
        assert_eq!(request.send().unwrap().idempotency_key.as_str(), expected);
    }
}

#[test]
fn a_providers_key_is_optional_and_never_the_header_alone() {
    let key = |request: &Request| request.send().unwrap().idempotency_key.as_str().to_owned();
    let bare = Request::provider(br#"{"external_id":"job-1","status":"completed"}"#);
    let derived = key(&bare);
    assert_eq!(derived.len(), 64);
    assert_eq!(key(&bare.clone().with(KEY, "forged")), derived);
    let named = Request::provider(br#"{"external_id":"job-1","idempotency_key":"a"}"#);
    assert_eq!(key(&named), "a");
    assert_eq!(key(&named.clone().with(KEY, "a")), "a");
    check("86", &named.with(KEY, "b"), "400 key_mismatch");
    check("89", &bare.with(KEY, "a b"), "400 bad_idempotency_key");
}
