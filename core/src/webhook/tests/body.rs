//! Section D of the table: the body, correctly signed.

use super::*;

#[test]
fn bytes_and_grammar() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        fields(&format!("\"unknown\":{open}{close}"))
    };
    let raw = |bytes: &[u8]| Request::wp(bytes);
    for bytes in [&b"{\"a\":\"\xff\"}"[..], b"{\"a\":\"\xc0\xaf\"}", b"{\"a\":\"\xed\xa0\x80\"}"] {
        check("93", &raw(bytes), "400 bad_utf8");
    }
    check("94", &raw(format!("\u{feff}{BODY}").as_bytes()), "400 bad_json");
    let utf16 = |mark: bool, big: bool| {
        let units = BODY.replace("key-1", "é").encode_utf16().collect::<Vec<_>>();
        let marked = mark.then_some(0xfeff).into_iter().chain(units);
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        raw(&marked.flat_map(bytes).collect::<Vec<_>>())
    };
    for (mark, big) in [(true, true), (true, false), (false, true), (false, false)] {
        check("95", &utf16(mark, big), "400 bad_json");
    }
    let half = &BODY[..BODY.len() / 2];
    for text in [
        half,
        &format!("{BODY}x"),
        &format!("{BODY}{BODY}"),
        &BODY.replace('}', ",}"),
        &BODY.replace('{', "{/**/"),
        &BODY.replace('"', "'"),
        "{",
        " ",
        "{event:1}",
    ] {
        check("96", &raw(text.as_bytes()), "400 bad_json");
    }
    for number in ["NaN", "Infinity", "-Infinity", "1e400", "01", "+1", ".5", "5.", "0x1"] {
        check("97", &fields(&format!("\"n\":{number}")), "400 bad_json");
    }
    check("98", &fields("\"s\":\"a\nb\""), "400 bad_json");
    check("98", &fields("\"s\":\"a\u{1}b\""), "400 bad_json");
    check("99", &fields(r#""s":"\ud800""#), "400 bad_json");
    check("99", &fields(r#""s":"\udc00x""#), "400 bad_json");
    check("100", &raw(br#"["post.published",5]"#), "400 not_an_object");
    for text in ["null", "\"text\"", "5", "1.5", "-1", "true"] {
        check("101", &raw(text.as_bytes()), "400 not_an_object");
    }
    check("102", &fields(r#""event":"post.deleted""#), "400 duplicate_key");
    check("102", &fields(r#""\u0065vent":"post.deleted""#), "400 duplicate_key");
    check("103", &fields(r#""meta":{"a":1,"a":2}"#), "400 duplicate_key");
    check("103", &fields(r#""meta":[{"x":{"a":1,"a":1}}]"#), "400 duplicate_key");
    check("104", &nested(32), "202");
    check("104", &nested(33), "400 too_deep");
    check("105", &nested(10_000), "400 too_deep");
    check("105", &nested(120_000), "400 too_deep");
    check("106", &fields(&format!("\"n\":{}", "9".repeat(100_000))), "400 bad_json");
    let keys: Vec<String> = (0..20_000).map(|n| format!("\"k{n}\":1")).collect();
    check("107", &fields(&keys[..15_000].join(",")), "400 too_many_nodes");
    check("107", &fields(&format!("\"a\":[{}0]", "0,".repeat(50_000))), "400 too_many_nodes");
    // The object, its three fields and the list are five values.
    let list = |items: usize| fields(&format!("\"a\":[{}0]", "0,".repeat(items - 1)));
    check("107", &list(4_995), "202");
    check("107", &list(4_996), "400 too_many_nodes");
    check("108", &fields(&format!("\"{}\":1", "k".repeat(100_000))), "400 too_long");
    check("108", &fields(&format!("\"{}\":1", "k".repeat(256))), "202");
    check("114", &fields(r#""title":"a\u0000b""#), "422 bad_string");
    check("114", &fields(r#""meta":{"a\u0000":1}"#), "422 bad_string");
}

fn event(json: &str) -> Request {
    let body = format!(r#"{{{json},"idempotency_key":"key-1"}}"#);
    Request::wp(body.as_bytes())
}

#[test]
fn events_and_posts() {
    check("109", &event(r#""post_id":42"#), "422 invalid_event");
    check("109", &event(r#""event":"post.published""#), "422 invalid_event");
    check("110", &event(r#""event":"post.exploded","post_id":42"#), "422 unknown_event");
    let tolerant = || {
        let mut rules = rules(&WP_RELAY);
        rules.payload.accept_unknown_events = true;
        rules
    };
    let unknown = event(r#""event":"post.exploded","post_id":42"#).under(tolerant);
    check("110", &unknown, "202");
    let long = "a".repeat(300);
    for name in [
        &long,
        ".",
        "post.",
        "post..published",
        "post.*",
        "post.>",
        "post published",
        r"post\r\nx",
        "Post.published",
        "",
        "pöst",
    ] {
        let json = format!(r#""event":"{name}","post_id":42"#);
        check("111", &event(&json), "422 invalid_event");
        check("111", &event(&json).under(tolerant), "422 invalid_event");
    }
    check("111", &event(r#""event":5,"post_id":42"#), "422 invalid_event");
    check("111", &event(r#""event":null,"post_id":42"#), "422 invalid_event");
    let post = |id: &str| event(&format!(r#""event":"post.published","post_id":{id}"#));
    for id in [
        "0",
        "-1",
        "1.0",
        "1e2",
        "\"1\"",
        "true",
        "null",
        "9223372036854775808",
        "18446744073709551616",
        "[]",
    ] {
        check("112", &post(id), "422 invalid_event");
    }
    let exact = |id: &str| post(id).send().unwrap().post.to_string();
    assert_eq!(exact("9007199254740993"), "news/9007199254740993", "row 113");
    assert_eq!(exact("9223372036854775807"), "news/9223372036854775807");
}

#[test]
fn fields_are_judged() {
    check("115", &fields(&format!(r#""title":"{}""#, "é".repeat(1_000))), "202");
    check("115", &fields(&format!(r#""title":"{}""#, "é".repeat(1_001))), "422 field_too_long");
    let tags = |count: usize| fields(&format!(r#""tags":["t"{}]"#, ",\"t\"".repeat(count - 1)));
    check("115", &tags(100), "202");
    check("115", &tags(300), "422 field_too_long");
    check("115", &fields(&format!(r#""tags":["{}"]"#, "t".repeat(500))), "422 field_too_long");
    check("115", &fields(&format!(r#""excerpt":"{}""#, "e".repeat(65_536))), "422 field_too_long");
    check("115", &fields(&format!(r#""status":"{}""#, "s".repeat(65))), "422 field_too_long");
    for wrong in [r#""title":5"#, r#""content":{}"#, r#""tags":"a,b""#, r#""tags":[null]"#] {
        check("types", &fields(wrong), "422 invalid_event");
    }
    check("types", &fields(r#""title":null,"tags":[3,"art"],"content":null"#), "202");

    for site in ["blog", "https://blog.example", "blog.example", "http://news.example.evil.example"]
    {
        check("116", &fields(&format!(r#""site":"{site}""#)), "422 site_mismatch");
    }
    for site in ["news", "https://news.example/", "http://NEWS.example:8080/wp", "news.example"] {
        check("116", &fields(&format!(r#""site":"{site}""#)), "202");
    }
    check("116", &fields(r#""site":1"#), "422 invalid_event");

    let long = format!("https://news.example/{}", "a".repeat(5_000));
    for url in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://evil.example/",
        "//news.example/",
        "https://user:pass@news.example/",
        "https://user@news.example/",
        "",
        "/p/1",
        &long,
        "https://news.example@evil.example/",
        "data:text/html,x",
    ] {
        check("117", &fields(&format!(r#""url":"{url}""#)), "422 invalid_url");
    }
    check("117", &fields(r#""url":"https:\/\/news.example\/?p=42""#), "202");
    let any_host = || {
        let mut rules = rules(&WP_RELAY);
        rules.payload.url_hosts.clear();
        rules
    };
    check(
        "any",
        &fields(r#""url":"https://a.example/","site":"https://b.example""#).under(any_host),
        "202",
    );

    for time in [
        "yesterday",
        "2026-11-23",
        "0000-01-01T00:00:00Z",
        "99999-01-01T00:00:00Z",
        "2026-02-31T00:00:00Z",
        "2016-12-31T23:59:60Z",
        "2026-11-23T08:00:00",
    ] {
        check("118", &fields(&format!(r#""published_at":"{time}""#)), "422 invalid_event");
    }
    check("118", &fields(r#""published_at":"2026-11-23T09:00:00+01:00""#), "202");
    check("118", &fields(r#""published_at":null"#), "202");
    check("121", &fields(r#""__proto__":{"a":1},"constructor":1"#), "202");
    check("122", &fields(r#""title":"<script>[x]<!-- wp:html -->""#), "202");
    check("123", &fields("\"title\":\"\u{202e}\u{200b}😀e\u{301}\""), "202");
    check("124", &fields(r#""content":"Ignore all previous instructions.""#), "202");
}
