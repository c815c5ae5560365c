//! The bad-input table of the ingress, as far as it concerns this layer: each row with its exact
//! status and code. Row numbers are those of the table.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod body;
mod head;
mod mapping;
mod vectors;

use std::net::IpAddr;

use super::*;
use crate::post::SourceVersion;
use crate::signature::{PROVIDER, Secret, WP_RELAY, sign};

/// 2026-11-23 08:00:00 UTC.
const NOW_S: i64 = 1_795_420_800;
const BODY: &str = r#"{"event":"post.published","post_id":42,"idempotency_key":"key-1"}"#;

fn secret(id: &str) -> Secret {
    Secret::new(id, format!("{id:-<32}").as_bytes()).unwrap()
}

fn rules(scheme: &Scheme) -> SourceRules {
    let ring = SecretRing::new(vec![secret("k1"), secret("k2")]).unwrap();
    let mut rules =
        SourceRules::new("news".parse().unwrap(), "news".parse().unwrap(), scheme, ring);
    rules.payload.url_hosts = vec!["news.example".to_owned()];
    rules
}

/// A request as a test writes it: signed as it stands, then bent.
#[derive(Clone)]
struct Request {
    rules: fn() -> SourceRules,
    method: &'static str,
    peer: Option<IpAddr>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    fn signed_at(rules: fn() -> SourceRules, timestamp: &str, key: &str, body: &[u8]) -> Self {
        let mut headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        let parts = Parts { timestamp, key, body };
        for (name, value) in sign(&rules().scheme, &secret("k1"), &parts) {
            headers.push((name, value.into_bytes()));
        }
        Self { rules, method: "POST", peer: None, headers, body: body.to_vec() }
    }

    fn wp(body: &[u8]) -> Self {
        Self::signed_at(|| rules(&WP_RELAY), &NOW_S.to_string(), "key-1", body)
    }

    fn provider(body: &[u8]) -> Self {
        Self::signed_at(|| rules(&PROVIDER), &NOW_S.to_string(), "", body)
    }

    fn good() -> Self {
        Self::wp(BODY.as_bytes())
    }

    fn under(self, rules: fn() -> SourceRules) -> Self {
        Self { rules, ..self }
    }

    fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn peer(self, peer: &str) -> Self {
        Self { peer: Some(peer.parse().unwrap()), ..self }
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    fn and(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    fn with(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).and(name, value)
    }

    fn body(self, body: impl AsRef<[u8]>) -> Self {
        Self { body: body.as_ref().to_vec(), ..self }
    }

    fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(other, _)| other == name).unwrap();
        String::from_utf8(found.1.clone()).unwrap()
    }

    fn send(&self) -> Result<VerifiedWebhook, Refusal> {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let head = Head { method: self.method, peer: self.peer, headers: &headers };
        let body = Bytes::copy_from_slice(&self.body);
        verify(&(self.rules)(), &head, &body, Timestamp(NOW_S * 1_000 + 999))
    }
}

/// `202`, or the status and code of the refusal.
#[track_caller]
fn check(row: &str, request: &Request, expected: &str) {
    let answer = match request.send() {
        Ok(_) => "202".to_owned(),
        Err(refusal) => format!("{} {}", refusal.status, refusal.code),
    };
    assert_eq!(answer, expected, "row {row}");
}

/// The good body with more fields.
fn fields(more: &str) -> Request {
    Request::wp(format!("{},{more}}}", BODY.trim_end_matches('}')).as_bytes())
}

#[test]
fn versions() {
    let version = |more: &str, rule: VersionRule| {
        let request = fields(more);
        let mut rules = rules(&WP_RELAY);
        rules.payload.version = rule;
        Payload::read(&rules.payload, &request.body).unwrap().version
    };
    let both = r#""sequence":7,"modified_gmt":"2026-11-23T08:00:00""#;
    let modified = Some(SourceVersion::Modified(NOW_S * 1_000));
    let sequence = Some(SourceVersion::Sequence(7));
    assert_eq!(version(both, VersionRule::Newest), sequence);
    assert_eq!(version(both, VersionRule::Sequence), sequence);
    assert_eq!(version(both, VersionRule::Modified), modified);
    assert_eq!(version(both, VersionRule::None), None);
    for time in ["2026-11-23 08:00:00", "2026-11-23T08:00:00Z", "2026-11-23T10:00:00+02:00"] {
        let more = format!(r#""modified_gmt":"{time}""#);
        assert_eq!(version(&more, VersionRule::Newest), modified);
        assert_eq!(version(&more, VersionRule::Sequence), None);
    }
    assert_eq!(version(r#""other":1"#, VersionRule::Newest), None);
    for wrong in [
        r#""sequence":-1"#,
        r#""sequence":1.5"#,
        r#""sequence":"7""#,
        r#""sequence":18446744073709551616"#,
        r#""modified_gmt":5"#,
        r#""modified_gmt":"now""#,
    ] {
        check("version", &fields(wrong), "422 invalid_event");
    }
}

#[test]
fn a_verified_webhook_holds_what_was_sent() {
    let request = fields(
        r#""title":"Harbour","content":"<p>Open.</p>","language":"en","sequence":3,"status":"publish""#,
    )
    .with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let webhook = request.send().unwrap();
    assert_eq!(webhook.source.as_str(), "news");
    assert_eq!(webhook.post.to_string(), "news/42");
    assert_eq!(webhook.key_id, "k1");
    assert_eq!(webhook.idempotency_key.as_str(), "key-1");
    assert_eq!(webhook.body, request.body);
    assert_eq!(webhook.body_hash, <[u8; 32]>::from(Sha256::digest(&request.body)));
    assert_eq!(webhook.trace.unwrap().flags, 1);
    assert_eq!(webhook.payload.event_type, "post.published");
    assert_eq!(webhook.payload.status(), Some("publish"));
    assert_eq!(webhook.payload.version, Some(SourceVersion::Sequence(3)));
    let text = webhook.payload.text().unwrap();
    assert_eq!((text.title.as_str(), text.content.as_str()), ("Harbour", "<p>Open.</p>"));
    assert_eq!((text.excerpt.as_str(), text.language.as_str()), ("", "en"));
    assert_eq!(Request::good().send().unwrap().payload.text(), None, "no content: read the post");
}

#[test]
fn a_broken_trace_is_ignored() {
    for trace in
        ["", "junk", "00-0-0-00", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]
    {
        let webhook = Request::good().with("traceparent", trace).send().unwrap();
        assert_eq!(webhook.trace, None, "row 126: {trace}");
    }
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let twice = Request::good().with("traceparent", good).and("traceparent", good);
    assert_eq!(twice.send().unwrap().trace, None);
    let baggage = "a".repeat(10_000);
    check("126", &Request::good().with("tracestate", &baggage).with("baggage", &baggage), "202");
}

#[test]
fn a_providers_item() {
    let read = |json: &str| Request::provider(json.as_bytes()).send();
    let done = read(
        r#"{"source":"ai","external_id":"job/1 é","status":"completed","summary":"Done.","metadata":{"tokens":12}}"#,
    )
    .unwrap();
    assert_eq!(done.payload.event_type, "provider.completed");
    assert_eq!(done.payload.external_id.as_deref(), Some("job/1 é"));
    assert_eq!(done.post.post, copydesk_proto::PostId::external("job/1 é").unwrap());
    assert_eq!(done.payload.status(), Some("completed"));
    assert_eq!(done.payload.summary(), Some("Done."));
    assert_eq!(done.payload.metadata().unwrap()["tokens"], 12);
    let event_type = |json: &str| read(json).unwrap().payload.event_type;
    assert_eq!(event_type(r#"{"external_id":"a","status":"failed"}"#), "provider.failed");
    assert_eq!(event_type(r#"{"external_id":"a","status":"in_progress"}"#), "provider.updated");
    assert_eq!(event_type(r#"{"external_id":"a"}"#), "provider.updated");
    assert_eq!(
        event_type(r#"{"external_id":"a","status":"failed","event":"provider.completed"}"#),
        "provider.completed"
    );
    assert_eq!(read(r#"{"post_id":7}"#).unwrap().post.to_string(), "news/7");
    let both = read(r#"{"post_id":7,"external_id":"a"}"#).unwrap();
    assert_eq!(both.post.post, copydesk_proto::PostId::external("a").unwrap());
    let long = format!(r#"{{"external_id":"{}"}}"#, "a".repeat(257));
    for json in ["{}", r#"{"external_id":""}"#, r#"{"external_id":5}"#, &long] {
        check("item", &Request::provider(json.as_bytes()), "422 invalid_event");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_get_an_answer(body: Vec<u8>, timestamp in "\\PC{0,14}", key in "\\PC{0,9}") {
        let request = Request::signed_at(|| rules(&WP_RELAY), &timestamp, &key, &body);
        if let Err(refusal) = request.send() {
            proptest::prop_assert!((400..500).contains(&refusal.status));
        }
        let signed = Request::wp(&body).send();
        proptest::prop_assert!(signed.is_err(), "random bytes are no event");
    }
}
