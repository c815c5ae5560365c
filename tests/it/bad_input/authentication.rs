//! B. Content headers, and C. Authentication headers.

use super::hook::{Hook, OLD, OTHER, SECRET, Signing, event_json, fresh_key};
use super::{ACCEPTED, Case, DUPLICATE, EMPTY, End, case};

pub(super) fn cases() -> Vec<Case> {
    [content(), missing_and_double(), timestamps(), signatures(), secrets(), keys()].concat()
}

fn good() -> Hook {
    Hook::event("")
}

fn refused(row: u16, what: &str, hook: &Hook, answer: (u16, &'static str)) -> Case {
    case(row, what, hook.bytes(), &[answer], End::Stays)
}

fn taken(row: u16, what: &str, hook: &Hook) -> Case {
    refused(row, what, hook, ACCEPTED)
}

fn signed_with(secret: &[u8], age_s: i64) -> Hook {
    let key = fresh_key();
    Hook::new(&Signing { secret, age_s, key: &key }, event_json(&key, ""))
}

fn content() -> Vec<Case> {
    let (media, encoding) = ((415, "unsupported_media_type"), (415, "unsupported_encoding"));
    let typed = |value: &str| good().set("Content-Type", value);
    let coded = |value: &str| good().with("Content-Encoding", value);
    // 200 MB of zeros are 1,000 times this once gzipped twice; not one byte of it is inflated.
    let bomb = good().with("Content-Encoding", "gzip").set("content-length", "194422");
    let bomb = bomb.carrying([&b"\x1f\x8b\x08\x00\x00\x00\x00\x00"[..], &[0; 194_414]].concat());
    let small = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let gzip = Hook::body(small).with("Content-Encoding", "gzip");
    let double = good().with("Content-Type", "application/json");
    let digest = good().with("Content-MD5", "AAAA").with("Digest", "sha-256=AAAA");
    let mut cases = vec![
        refused(45, "no type", &good().without("content-type"), media),
        refused(47, "UTF-16", &typed("application/json; charset=utf-16"), media),
        taken(48, "upper case", &typed("Application/JSON;charset=UTF-8")),
        refused(49, "two types", &double, (400, "duplicate_header")),
        refused(50, "gzip", &gzip, encoding),
        refused(51, "gzip bomb", &bomb, encoding),
        taken(53, "identity", &coded("identity")),
        taken(54, "other digests", &digest),
    ];
    for value in [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/x-www-form-urlencoded",
    ] {
        cases.push(refused(46, value, &typed(value), media));
    }
    for value in ["gzip, gzip", "br", "zstd", "nonsense"] {
        cases.push(refused(52, value, &coded(value), encoding));
    }
    cases
}

fn missing_and_double() -> Vec<Case> {
    let mut cases = Vec::new();
    for (missing, double, name) in
        [(55, 59, "X-WP-Timestamp"), (56, 60, "X-WP-Signature"), (57, 61, "Idempotency-Key")]
    {
        let absent = (400, "missing_header");
        cases.push(refused(missing, name, &good().without(name), absent));
        cases.push(refused(58, name, &good().set(name, ""), absent));
        cases.push(refused(58, name, &good().set(name, "   "), absent));
        let hook = good();
        let twice = hook.clone().with(name, hook.value(name));
        cases.push(refused(double, name, &twice, (400, "duplicate_header")));
        for bytes in [&b"\xe9t\xe9"[..], "\u{e9}".as_bytes()] {
            cases.push(refused(62, name, &good().set(name, bytes), (400, "bad_header")));
        }
        let delete = good().set(name, b"a\x7f").bytes();
        cases.push(case(62, name, delete, &[(400, EMPTY)], End::Closes));
    }
    cases
}

fn timestamps() -> Vec<Case> {
    let mut cases = Vec::new();
    let set = |value: &str| good().set("X-WP-Timestamp", value);
    let long = "1".repeat(10_000);
    for (row, value) in [
        (63, "abc"),
        (63, "NaN"),
        (63, "1.7e9"),
        (63, "1700000000.0"),
        (63, "0x6553F100"),
        (63, "1_700_000_000"),
        (64, "+1700000000"),
        (65, "01700000000"),
        (66, "-1"),
        (66, "-9223372036854775808"),
        (68, "9223372036854775807"),
        (68, "99999999999999999999"),
        (68, &long),
    ] {
        cases.push(refused(row, value, &set(value), (400, "bad_timestamp")));
    }
    cases.push(refused(67, "milliseconds", &set("1700000000000"), (400, "bad_timestamp")));
    cases.push(refused(69, "Arabic digits", &set("\u{661}\u{667}"), (400, "bad_header")));
    let out = (401, "timestamp_out_of_window");
    let aged = |age_s| signed_with(SECRET.as_bytes(), age_s);
    cases.push(refused(70, "302 s old", &aged(-302), out));
    // Signed here, sent a while later; the unit tests of core judge the 300th and 301st second.
    cases.push(taken(71, "240 s old", &aged(-240)));
    cases.push(taken(71, "in 300 s", &aged(300)));
    cases.push(refused(72, "in 360 s", &aged(360), out));
    let now = good().value("X-WP-Timestamp").parse::<i64>().unwrap();
    let changed = good().set("X-WP-Timestamp", (now - 2).to_string());
    cases.push(refused(73, "changed after signing", &changed, (401, "bad_signature")));
    cases
}

fn signatures() -> Vec<Case> {
    let wrong = (401, "bad_signature");
    let set = |value: &str| good().set("X-WP-Signature", value);
    let sixty_four = "0".repeat(64);
    let mut cases = Vec::new();
    for value in [
        &sixty_four[..63],
        &format!("{sixty_four}0"),
        &"g".repeat(64),
        "1MHJw7SPG6RTSzHYJL6hNpeMrYOFLDQ5aLNR0W4zvm0=",
        "{}",
    ] {
        cases.push(refused(74, value, &set(value), wrong));
    }
    let hook = good();
    let upper = hook.value("X-WP-Signature").to_uppercase();
    cases.push(taken(75, "upper-case hex", &hook.set("X-WP-Signature", upper)));
    let hook = good();
    let prefixed = format!("sha256={}", hook.value("X-WP-Signature"));
    cases.push(refused(76, "sha256=", &hook.set("X-WP-Signature", prefixed), wrong));
    cases.push(refused(77, "10,000 chars", &set(&"0".repeat(10_000)), wrong));
    cases.push(refused(77, "1,000 signatures", &set(&"v1,00 ".repeat(1_000)), wrong));
    let hook = good();
    let body = String::from_utf8(hook.bytes()).unwrap();
    let body = body.split("\r\n\r\n").nth(1).unwrap().to_owned();
    let longer = (body.len() + 1).to_string();
    for (what, changed, length) in [
        ("re-serialised", body.replace("\":", "\": "), None),
        ("one byte", body.replace("post.updated", "post.updatee"), None),
        ("a newline", format!("{body}\n"), Some(longer)),
    ] {
        let length = length.unwrap_or_else(|| changed.len().to_string());
        let hook = hook.clone().carrying(&changed).set("content-length", length);
        cases.push(refused(81, what, &hook, wrong));
    }
    cases
}

fn secrets() -> Vec<Case> {
    let wrong = (401, "bad_signature");
    let foreign = signed_with(OTHER.as_bytes(), 0);
    let replayed = good();
    // HMAC pads its key with zeros: 32 of them make the MAC of the empty secret.
    let empty = signed_with(&[0; 32], 0);
    vec![
        refused(78, "another site's", &foreign, wrong),
        refused(79, "unknown site", &good().to("/webhooks/nobody"), wrong),
        refused(79, "unknown key id", &good().with("X-WP-Key-Id", "k9"), wrong),
        refused(80, "empty secret", &empty, wrong),
        taken(82, "the old one, still live", &signed_with(OLD.as_bytes(), 0)),
        refused(
            83,
            "the old one, retired",
            &signed_with(OLD.as_bytes(), 0).to("/webhooks/rotated"),
            wrong,
        ),
        refused(84, "switched off", &good().to("/webhooks/closed"), (403, "site_disabled")),
        case(
            85,
            "replayed",
            [replayed.bytes(), replayed.bytes()].concat(),
            &[ACCEPTED, DUPLICATE],
            End::Stays,
        ),
        refused(88, "to another site", &good().to("/webhooks/other"), wrong),
    ]
}

fn keys() -> Vec<Case> {
    let bad = (400, "bad_idempotency_key");
    let key = fresh_key();
    let first = Hook::keyed(&key, event_json(&key, ""));
    let other = Hook::keyed(&key, event_json(&key, r#""title":"other""#));
    let replayed = good();
    let renamed = replayed.clone().set("Idempotency-Key", fresh_key());
    let long = "k".repeat(129);
    let injected =
        r#"{"event":"post.updated","post_id":7,"idempotency_key":"a\r\nNats-Rollup: all"}"#;
    vec![
        case(
            86,
            "another key",
            [replayed.bytes(), renamed.bytes()].concat(),
            &[ACCEPTED, (400, "key_mismatch")],
            End::Stays,
        ),
        case(
            87,
            "another body",
            [first.bytes(), other.bytes()].concat(),
            &[ACCEPTED, (422, "idempotency_key_reused")],
            End::Stays,
        ),
        refused(89, "129 chars", &Hook::keyed(&long, event_json(&long, "")), bad),
        refused(89, "a space", &Hook::keyed("a b", event_json("a b", "")), bad),
        refused(89, "a slash", &Hook::keyed("a/b", event_json("a/b", "")), bad),
        refused(90, "CRLF in the body", &Hook::body(injected), bad),
        refused(
            119,
            "only in the header",
            &Hook::body(r#"{"event":"post.updated","post_id":7}"#),
            (400, "key_mismatch"),
        ),
    ]
}
