//! Payloads of senders that are not WordPress: fields by pointer, forms, triggers.

use copydesk_proto::PostId;

use super::*;
use crate::signature::{TOKEN, sign};

const TOKEN_VALUE: &[u8] = b"a-token-of-thirty-two-bytes-12345";

/// A source with a token and these further rules.
fn source(with: impl Fn(&mut SourceRules)) -> SourceRules {
    let ring = SecretRing::new(vec![Secret::of(&TOKEN, "k1", TOKEN_VALUE).unwrap()]).unwrap();
    let mut rules = SourceRules::new("crm".parse().unwrap(), "news".parse().unwrap(), &TOKEN, ring);
    with(&mut rules);
    rules
}

fn send_at(
    rules: &SourceRules,
    kind: &str,
    body: &str,
    ms: i64,
) -> Result<VerifiedWebhook, String> {
    let secret = Secret::of(&TOKEN, "k1", TOKEN_VALUE).unwrap();
    let parts = Parts { timestamp: "", key: "", body: body.as_bytes() };
    let made = sign(&TOKEN, &secret, &parts);
    let mut headers: Vec<(&str, &[u8])> =
        made.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    headers.push(("content-type", kind.as_bytes()));
    let head = Head { method: "POST", peer: None, headers: &headers };
    let body = Bytes::copy_from_slice(body.as_bytes());
    verify(rules, &head, &body, Timestamp(ms)).map_err(|refusal| refusal.code.to_owned())
}

fn send(rules: &SourceRules, kind: &str, body: &str) -> Result<VerifiedWebhook, String> {
    send_at(rules, kind, body, NOW_S * 1_000)
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn mapped(rules: &mut SourceRules) {
    let at = |text: &str| Some(text.parse().unwrap());
    rules.payload.subject = Subject::Item;
    rules.payload.accept_unknown_events = true;
    rules.payload.map = Mapping {
        event: at("/type"),
        event_default: None,
        post: at("/data/post"),
        external_id: at("/data/object/id"),
        version: at("/created"),
        key: at("/id"),
        ..Mapping::default()
    };
}

#[test]
fn a_foreign_payload_is_read_where_the_source_says() {
    let rules = source(mapped);
    let body = r#"{"id":"evt_1","type":"invoice.paid","created":1795420800,
        "data":{"object":{"id":"in_1"},"post":"42"}}"#;
    let webhook = send(&rules, JSON, body).unwrap();
    assert_eq!(webhook.payload.event_type, "invoice.paid");
    assert_eq!(webhook.payload.external_id.as_deref(), Some("in_1"));
    assert_eq!(webhook.post.post, PostId::external("in_1").unwrap());
    assert_eq!(webhook.idempotency_key.as_str(), "evt_1");
    assert_eq!(webhook.payload.version, Some(SourceVersion::Sequence(1_795_420_800)));
    // The log holds the bytes; what they mean is the same at every reading.
    assert_eq!(Payload::read(&rules.payload, &webhook.body).unwrap(), webhook.payload);

    let only_post = r#"{"type":"a.b","created":"2026-11-23T08:00:00","data":{"post":"42"}}"#;
    let webhook = send(&rules, JSON, only_post).unwrap();
    assert_eq!(webhook.post.post, PostId::number(42).unwrap());
    assert_eq!(webhook.payload.version, Some(SourceVersion::Modified(NOW_S * 1_000)));
    assert_eq!(webhook.idempotency_key.as_str().len(), 64, "derived from the body");

    for (body, code) in [
        (r#"{"data":{"object":{"id":"a"}}}"#, "invalid_event"),
        (r#"{"type":7,"data":{"object":{"id":"a"}}}"#, "invalid_event"),
        (r#"{"type":"A B","data":{"object":{"id":"a"}}}"#, "invalid_event"),
        (r#"{"type":"a.b","data":{"object":{"id":[]}}}"#, "invalid_event"),
        (r#"{"type":"a.b","data":{"post":"+42"}}"#, "invalid_event"),
        (r#"{"type":"a.b","data":{}}"#, "invalid_event"),
        (r#"{"type":"a.b","created":"soon","data":{"post":1}}"#, "invalid_event"),
        (r#"{"type":"a.b","created":-1,"data":{"post":1}}"#, "invalid_event"),
        (r#"{"type":"a.b","id":"a b","data":{"post":1}}"#, "bad_idempotency_key"),
    ] {
        assert_eq!(send(&rules, JSON, body).unwrap_err(), code, "{body}");
    }
}

#[test]
fn an_event_type_can_be_the_sources_own() {
    let rules = source(|rules| {
        rules.payload.subject = Subject::Item;
        rules.payload.map.event_default = Some("lead.created".to_owned());
        rules.payload.map.external_id = Some("/entry_id".parse().unwrap());
        rules.payload.form = true;
        rules.payload.required = vec![Requirement {
            events: "lead.*".parse().unwrap(),
            fields: vec!["/email".parse().unwrap()],
        }];
    });
    let webhook = send(&rules, JSON, r#"{"entry_id":12,"email":"r@example.com"}"#).unwrap();
    assert_eq!(webhook.payload.event_type, "lead.created");
    assert_eq!(webhook.payload.external_id.as_deref(), Some("12"));
    for body in [r#"{"entry_id":1}"#, r#"{"entry_id":1,"email":null}"#] {
        assert_eq!(send(&rules, JSON, body).unwrap_err(), "invalid_event", "{body}");
    }
    assert_eq!(send(&rules, FORM, "entry_id=1&email=").unwrap_err(), "invalid_event");

    let form = send(&rules, FORM, "entry_id=12&email=r%40example.com&tags%5B%5D=a&tags%5B%5D=b");
    let fields = form.unwrap().payload.fields;
    assert_eq!(fields["email"], "r@example.com");
    assert_eq!(fields["tags"], serde_json::json!(["a", "b"]));
}

#[test]
fn forms_are_read_only_where_the_source_says_and_as_strictly_as_json() {
    let plain = source(|_| {});
    assert_eq!(send(&plain, FORM, "event=a").unwrap_err(), "unsupported_media_type");
    let rules = source(|rules| rules.payload.form = true);
    let good = "event=post.updated&post_id=42&sequence=7&idempotency_key=k-1&content=a+b";
    let webhook = send(&rules, FORM, good).unwrap();
    assert_eq!(webhook.post.post, PostId::number(42).unwrap());
    assert_eq!(webhook.payload.version, Some(SourceVersion::Sequence(7)));
    assert_eq!(webhook.payload.text().unwrap().content, "a b");
    let many = "a=1&".repeat(5_001);
    for (body, code) in [
        ("event=post.updated&post_id=42&post_id=43", "duplicate_key"),
        ("event=post.updated&post_id=4%002", "bad_string"),
        ("event=post.updated&post_id=42&title=%ff", "bad_utf8"),
        ("event=post.updated&post_id=-1", "invalid_event"),
        ("event=post.updated&post_id=%2B1", "invalid_event"),
        ("post_id=42", "invalid_event"),
        ("=", "invalid_event"),
        (&format!("{}=1", "a".repeat(257)), "too_long"),
        (&many, "duplicate_key"),
    ] {
        assert_eq!(send(&rules, FORM, body).unwrap_err(), code, "{body:.60}");
    }
}

#[test]
fn a_sync_trigger_is_a_post_and_nothing_else() {
    let rules = source(|rules| {
        rules.payload.trigger = true;
        rules.payload.form = true;
    });
    for (kind, body) in [
        (FORM, "ID=123456"),
        (FORM, "id=123456"),
        (FORM, "post_id=123456"),
        (JSON, r#"{"ID":123456}"#),
        (JSON, r#"{"post_id":"123456"}"#),
        (JSON, r#"{"id":123456,"content":"not the post's text"}"#),
    ] {
        let webhook = send(&rules, kind, body).unwrap();
        assert_eq!(webhook.payload.event_type, SYNC_EVENT, "{body}");
        assert_eq!(webhook.post.post, PostId::number(123_456).unwrap(), "{body}");
        assert_eq!(webhook.payload.text(), None, "the post is read: {body}");
    }
    // The same bytes a moment later tell of another change.
    let key = |ms| send_at(&rules, FORM, "ID=1", ms).unwrap().idempotency_key;
    assert_ne!(key(1_795_420_800_000), key(1_795_420_800_001));
    for body in ["ID=", "ID=0", "ID=abc", "other=1"] {
        assert_eq!(send(&rules, FORM, body).unwrap_err(), "invalid_event", "{body}");
    }
    let not_one = source(|rules| rules.payload.form = true);
    assert_eq!(send(&not_one, FORM, "ID=1").unwrap_err(), "invalid_event");
}

#[test]
fn an_event_of_ones_own_is_declared_and_then_known() {
    let rules = source(|rules| {
        rules.payload.own_events = vec!["desk.asked".to_owned()];
        rules.payload.required = vec![Requirement {
            events: "desk.*".parse().unwrap(),
            fields: vec!["/tone".parse().unwrap()],
        }];
    });
    let by_api = |body: &str| {
        let key = IdempotencyKey::new("k-1").unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        accept(&rules, &body, key, Origin::Api("ann".to_owned())).map_err(|r| r.code)
    };
    let event = by_api(r#"{"event":"desk.asked","post_id":42,"tone":"sober"}"#).unwrap();
    assert_eq!(event.post.post, PostId::number(42).unwrap());
    assert_eq!((event.key_id.as_str(), event.idempotency_key.as_str()), ("", "k-1"));
    assert_eq!(event.origin, Origin::Api("ann".to_owned()));
    let own = r#"{"event":"desk.asked","post_id":42,"tone":"sober","idempotency_key":"mine"}"#;
    assert_eq!(by_api(own).unwrap().idempotency_key.as_str(), "mine");
    for (body, code) in [
        (r#"{"event":"desk.told","post_id":42,"tone":"sober"}"#, "unknown_event"),
        (r#"{"event":"desk.asked","post_id":42}"#, "invalid_event"),
        (r#"{"event":"desk.asked","tone":"sober"}"#, "invalid_event"),
        ("", "empty_body"),
    ] {
        assert_eq!(by_api(body).unwrap_err(), code, "{body}");
    }
    let disabled = SourceRules { disabled: true, ..rules.clone() };
    let key = IdempotencyKey::new("k-1").unwrap();
    let body = Bytes::from_static(b"{}");
    let refused = accept(&disabled, &body, key, Origin::Schedule).unwrap_err();
    assert_eq!(refused.code, "site_disabled");
}

#[test]
fn a_comment_is_an_item_of_its_own_with_its_own_text() {
    let rules = source(|_| {});
    let body = r#"{"event":"comment.created","post_id":42,"title":"Vote","sequence":3,"comment":
        {"id":7,"status":"hold","author_name":"Ann","content":"<b>Well</b> said.","parent":0}}"#;
    let webhook = send(&rules, JSON, body).unwrap();
    assert_eq!(webhook.payload.external_id.as_deref(), Some("comment/7"));
    assert_eq!(webhook.post.post, PostId::external("comment/7").unwrap());
    let text = webhook.payload.text().unwrap();
    assert_eq!((text.title.as_str(), text.content.as_str()), ("Ann", "<b>Well</b> said."));
    for comment in ["7", "{}", r#"{"id":0,"content":"x"}"#, r#"{"id":7}"#, r#"{"id":"7"}"#] {
        let body = format!(r#"{{"event":"comment.updated","post_id":42,"comment":{comment}}}"#);
        assert_eq!(send(&rules, JSON, &body).unwrap_err(), "invalid_event", "{body}");
    }
}

#[test]
fn the_text_may_stand_anywhere() {
    let rules = source(|rules| {
        rules.payload.subject = Subject::Item;
        rules.payload.map.event_default = Some("lead.created".to_owned());
        rules.payload.map.external_id = Some("/id".parse().unwrap());
        rules.payload.map.text = Some("/form/message".parse().unwrap());
        rules.payload.map.title = Some("/form/subject".parse().unwrap());
    });
    let read = |body: &str| send(&rules, JSON, body).unwrap().payload.text();
    let text = read(r#"{"id":1,"form":{"message":"200 seats","subject":"Quote"}}"#).unwrap();
    assert_eq!((text.title.as_str(), text.content.as_str()), ("Quote", "200 seats"));
    assert_eq!(read(r#"{"id":1,"content":"elsewhere"}"#), None);
}

#[test]
fn one_address_is_one_text() {
    let rules = source(|_| {});
    let url = |url: &str| {
        let body = format!(r#"{{"event":"post.updated","post_id":1,"url":"{url}"}}"#);
        send(&rules, JSON, &body).unwrap().payload.fields["url"].as_str().unwrap().to_owned()
    };
    for spelled in ["HTTPS://News.Example.org:443/a/../b", "https://news.example.org/./b"] {
        assert_eq!(url(spelled), "https://news.example.org/b");
    }
}
