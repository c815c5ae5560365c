//! Delivery against a stand-in for WordPress; its answers are those of WordPress 7.1.4.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod actor;
mod comments;
mod core_rest;
mod failures;
mod ingest;
mod plugin;
mod probe;
pub(crate) mod stub;

use std::time::Duration;

use copydesk_core::content::{Field, FieldValue, FieldWrite, Mode};
use copydesk_proto::{PostId, PostKey};
use serde_json::{Map, Value, json};

use super::{DeliveryKind, Read, Site, SiteClient, Write};
use stub::{Answer, Seen, Stub};

const PASSWORD: &str = "abcdEFGHijklMNOPqrstUVWX";

fn site(url: &str) -> Site {
    // reqwest panics without one; the second install is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let id = "news".parse().unwrap();
    let site = Site::new(id, url.parse().unwrap(), "desk".to_owned(), PASSWORD.to_owned().into());
    Site { timeout: Duration::from_millis(500), ..site }
}

fn core(stub: &Stub) -> SiteClient {
    SiteClient::new(site(&stub.url())).unwrap()
}

fn ingest(stub: &Stub) -> SiteClient {
    SiteClient::new(Site { kind: DeliveryKind::Ingest, ..site(&stub.url()) }).unwrap()
}

fn key() -> PostKey {
    PostKey { site: "news".parse().unwrap(), post: PostId::number(42).unwrap() }
}

fn read() -> Read {
    Read { key: key(), with_terms: false, trace: None }
}

fn write(fields: Vec<FieldWrite>) -> Write {
    Write {
        key: key(),
        write_number: 3,
        delivery_id: "log-news-42-3".to_owned(),
        log: 17,
        source: "relay".parse().unwrap(),
        input_hash: None,
        sequence: Some(12),
        external_id: None,
        event_status: None,
        fields,
        made: Vec::new(),
        metadata: Map::new(),
        trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
    }
}

fn text(field: Field, text: &str) -> FieldWrite {
    FieldWrite { field, value: FieldValue::Text(text.to_owned()), mode: Mode::Apply, base: None }
}

fn excerpt(words: &str) -> FieldWrite {
    text(Field::Excerpt, words)
}

fn tags(names: &[&str]) -> FieldWrite {
    let value = FieldValue::List(names.iter().map(|n| (*n).to_owned()).collect());
    FieldWrite { field: Field::Tags, value, mode: Mode::Apply, base: None }
}

/// A post as WordPress 7.1.4 shows it in `context=edit`.
fn post(excerpt: &str) -> Value {
    json!({
        "id": 42, "status": "publish", "modified_gmt": "2026-11-23T08:09:58",
        "title": {"raw": "Title"}, "content": {"raw": "<p>Text</p>"}, "excerpt": {"raw": excerpt},
        "tags": [3], "categories": [1], "meta": {"seo": ""},
    })
}

/// The index of a site that takes application passwords.
fn index() -> Answer {
    Answer::json(
        200,
        json!({
            "name": "News", "namespaces": ["oembed/1.0", "wp/v2"],
            "authentication": {"application-passwords": {"endpoints": {}}},
        }),
    )
}

fn is_index(seen: &Seen) -> bool {
    seen.target.starts_with("/wp-json/?")
}
