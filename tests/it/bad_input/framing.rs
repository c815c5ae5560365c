//! A. Framing and HTTP, and E. Paths.

use super::hook::{Hook, event_json, fresh_key};
use super::{ACCEPTED, Case, EMPTY, End, case};

pub(super) fn cases() -> Vec<Case> {
    [no_http(), methods(), hosts(), lengths(), chunks(), heads(), paths()].concat()
}

fn good() -> Hook {
    Hook::event("")
}

fn no_http() -> Vec<Case> {
    let empty =
        |row, what: &str, bytes: &[u8]| case(row, what, bytes, &[(400, EMPTY)], End::Closes);
    let mut cases = vec![
        empty(1, "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        empty(2, "HTTP/0.9", b"GET /\r\n"),
        empty(3, "HTTP/2.0", &good().start("POST /webhooks/news HTTP/2.0").bytes()),
        // HTTP/2 is not offered, so neither resets nor CONTINUATION frames have a listener; hyper
        // closes without a word.
        case(43, "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[], End::Closes),
    ];
    for line in ["Host : d", "A b: c", ": c", "A: b\r\n c", "A: \0", "A: b\rc"] {
        let request = format!("POST /webhooks/news HTTP/1.1\r\n{line}\r\n\r\n");
        cases.push(empty(39, line, request.as_bytes()));
    }
    cases
}

fn methods() -> Vec<Case> {
    let mut cases = Vec::new();
    let not_allowed = [(405, "method_not_allowed")];
    for (row, methods) in [
        (4, &["GET", "PUT", "DELETE", "PATCH"][..]),
        (5, &["post"]),
        (6, &["BREW"]),
        (7, &["OPTIONS"]),
    ] {
        for method in methods {
            let request = format!("{method} /webhooks/news HTTP/1.1\r\nHost: desk\r\n\r\n");
            cases.push(case(row, method, request, &not_allowed, End::Stays));
        }
    }
    for start in ["CONNECT desk:80", "OPTIONS *"] {
        let request = format!("{start} HTTP/1.1\r\nHost: desk\r\n\r\n");
        cases.push(case(8, start, request, &[(404, "not_found")], End::Stays));
    }
    cases
}

fn hosts() -> Vec<Case> {
    let bad = [(400, "bad_host")];
    let absolute = |host: &str| good().start(&format!("POST http://{host}/webhooks/news HTTP/1.1"));
    vec![
        case(9, "no Host", good().without("host").bytes(), &bad, End::Closes),
        case(10, "two Hosts", good().with("Host", "desk").bytes(), &bad, End::Closes),
        case(
            11,
            "another Host",
            good().set("Host", "evil.test").bytes(),
            &[(421, "misdirected_host")],
            End::Closes,
        ),
        case(12, "absolute, another host", absolute("other").bytes(), &bad, End::Closes),
        case(12, "absolute, the same host", absolute("desk").bytes(), &[ACCEPTED], End::Stays),
        case(
            13,
            "HTTP/1.0",
            good().start("POST /webhooks/news HTTP/1.0").without("host").bytes(),
            &[ACCEPTED],
            End::Closes,
        ),
    ]
}

fn lengths() -> Vec<Case> {
    let bare = String::from_utf8(good().bytes()).unwrap().replace("\r\n", "\n");
    let mut cases = vec![case(14, "bare LF", bare, &[ACCEPTED], End::Stays)];
    for (row, length) in [
        (15, "7\r\nContent-Length: 8"),
        (16, "7, 7"),
        (16, "+7"),
        (16, "-1"),
        (16, "0x7"),
        (16, "18446744073709551616"),
    ] {
        let request = good().set("content-length", length).bytes();
        cases.push(case(row, length, request, &[(400, EMPTY)], End::Closes));
    }
    let again = good().value("content-length");
    let shorter = good().set("content-length", "20").bytes();
    let large = [(413, "body_too_large")];
    let big_head = good().set("content-length", "262145");
    cases.extend([
        case(
            17,
            "twice the same",
            good().with("Content-Length", again).bytes(),
            &[ACCEPTED],
            End::Stays,
        ),
        case(
            18,
            "and chunked",
            good().chunked().with("Content-Length", "50").bytes(),
            &[ACCEPTED],
            End::Closes,
        ),
        case(
            19,
            "longer, then FIN",
            good().set("content-length", "999").bytes(),
            &[(400, "body_truncated")],
            End::Fin,
        ),
        case(21, "shorter", shorter, &[(401, "bad_signature"), (400, EMPTY)], End::Closes),
        case(
            22,
            "none",
            good().without("content-length").bytes(),
            &[(400, "empty_body")],
            End::Closes,
        ),
        case(23, "0, signed", Hook::body("").bytes(), &[(400, "empty_body")], End::Closes),
        case(24, "262,145, before reading", big_head.head(), &large, End::Closes),
        case(25, "262,144", padded(262_144).bytes(), &[ACCEPTED], End::Stays),
        case(26, "300,000 in chunks", padded(300_000).chunked().bytes(), &large, End::Closes),
        case(
            27,
            "expects 100",
            big_head.with("Expect", "100-continue").head(),
            &large,
            End::Closes,
        ),
        case(
            28,
            "expects banana",
            good().with("Expect", "banana").bytes(),
            &[(417, "expectation_failed")],
            End::Closes,
        ),
    ]);
    cases
}

/// A good event whose body has exactly so many bytes.
fn padded(bytes: usize) -> Hook {
    let key = fresh_key();
    let empty = event_json(&key, r#""content":"""#).len();
    let content = format!(r#""content":"{}""#, "a".repeat(bytes - empty));
    Hook::keyed(&key, event_json(&key, &content))
}

fn chunks() -> Vec<Case> {
    let raw = |chunks: &str| {
        good()
            .without("content-length")
            .with("Transfer-Encoding", "chunked")
            .carrying(chunks)
            .bytes()
    };
    let bad = [(400, "bad_body")];
    let extension = format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(20_000));
    let coded =
        |coding: &str| good().without("content-length").with("Transfer-Encoding", coding).bytes();
    let signature = good().value("x-wp-signature");
    let trailers = String::from_utf8(good().without("x-wp-signature").chunked().bytes()).unwrap();
    let trailers =
        format!("{}X-WP-Signature: {signature}\r\n\r\n", trailers.strip_suffix("\r\n").unwrap());
    let three =
        [good().bytes(), good().set("x-wp-signature", "00").bytes(), good().bytes()].concat();
    vec![
        case(29, "size zz", raw("zz\r\nabc\r\n0\r\n\r\n"), &bad, End::Closes),
        case(29, "size overflows", raw("fffffffffffffffff\r\nabc"), &bad, End::Closes),
        case(29, "20 KB extension", raw(&extension), &bad, End::Closes),
        case(29, "cut", raw("5\r\nabc"), &bad, End::Fin),
        case(30, "identity", coded("identity"), &[(400, EMPTY)], End::Closes),
        case(30, "xchunked", coded("xchunked"), &[(400, EMPTY)], End::Closes),
        case(
            31,
            "gzip, chunked",
            good().chunked().set("Transfer-Encoding", "gzip, chunked").bytes(),
            &[(400, "unsupported_transfer_encoding")],
            End::Closes,
        ),
        case(40, "signature in trailers", trailers, &[(400, "missing_header")], End::Stays),
        case(41, "three at once", three, &[ACCEPTED, (401, "bad_signature"), ACCEPTED], End::Stays),
    ]
}

fn heads() -> Vec<Case> {
    let many = |count| (0..count).fold(good(), |hook, _| hook.with("A", "b"));
    let wide = |bytes| good().with("A", "a".repeat(bytes));
    let long = |bytes: usize| {
        let query = "a".repeat(bytes - "/webhooks/news?".len());
        good().to(&format!("/webhooks/news?{query}")).bytes()
    };
    let upgrade = good()
        .with("Connection", "Upgrade, HTTP2-Settings")
        .with("Upgrade", "h2c")
        .with("HTTP2-Settings", "AAMAAABkAAQAAP__");
    vec![
        case(36, "64 headers", many(57).bytes(), &[ACCEPTED], End::Stays),
        case(36, "65 headers", many(58).bytes(), &[(431, EMPTY)], End::Closes),
        case(37, "15 KB", wide(15_000).bytes(), &[ACCEPTED], End::Stays),
        case(37, "over 16 KiB", wide(16_400).bytes(), &[(431, EMPTY)], End::Closes),
        case(38, "2,048 bytes", long(2_048), &[ACCEPTED], End::Stays),
        case(38, "2,049 bytes", long(2_049), &[(414, "uri_too_long")], End::Closes),
        case(42, "h2c", upgrade.bytes(), &[ACCEPTED], End::Stays),
    ]
}

fn paths() -> Vec<Case> {
    let not_found = [(404, "not_found")];
    let mut cases = Vec::new();
    for (row, path) in [
        (127, "/webhooks/..%2f..%2fetc"),
        (128, "/webhooks/%00"),
        (128, "/webhooks/%0d%0aPUB%20x"),
        (128, "/webhooks/%20"),
        (128, "/webhooks/%09"),
        (129, "/webhooks/*"),
        (129, "/webhooks/%3e"),
        (129, "/webhooks/a.b"),
        (129, "/webhooks/$JS"),
        (129, "/webhooks/_INBOX"),
        (131, "/webhooks/%ff"),
        (132, "/webhooks/\u{e9}"),
        (132, "/webhooks/%zz"),
        (132, "/webhooks/n%65ws"),
        (133, "/webhooks/../admin"),
        (133, "//webhooks/news"),
        (133, "/webhooks/news/"),
        (133, "/webhooks/NEWS"),
        (133, "/api/v1/status"),
        (134, "/webhooks/"),
        (134, "/webhooks"),
    ] {
        cases.push(case(row, path, good().to(path).bytes(), &not_found, End::Closes));
    }
    // Row 38 comes before the look-up of the name.
    let long = format!("/webhooks/{}", "a".repeat(10_000));
    cases.push(case(
        134,
        "10,000",
        good().to(&long).bytes(),
        &[(414, "uri_too_long")],
        End::Closes,
    ));
    cases.push(case(130, "raw >", good().to("/webhooks/>").bytes(), &[(400, EMPTY)], End::Closes));
    let query = good().to("/webhooks/news?site=other").bytes();
    cases.push(case(135, "?site=other", query, &[ACCEPTED], End::Stays));
    cases
}
