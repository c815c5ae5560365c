//! A webhook as bytes: right in everything until a case changes something.

use std::sync::atomic::{AtomicU64, Ordering};

use copydesk_core::signature::{Parts, Secret, WP_RELAY, sign};

use super::CANARY;
use crate::support::now_ms;

/// The secret that signs for `/webhooks/news`.
pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef-new";
/// The secret before it, still live.
pub(super) const OLD: &str = "0123456789abcdef0123456789abcdef-old";
/// The secret of `/webhooks/other`.
pub(super) const OTHER: &str = "0123456789abcdef0123456789abcdef-other";

/// Unlike any key before it.
pub(super) fn fresh_key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("bad-input-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A request under construction. The signature fits what [`Hook::new`] was given; every change
/// after it leaves the signature as it is.
#[derive(Debug, Clone)]
pub(super) struct Hook {
    start: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// How a webhook is signed.
pub(super) struct Signing<'a> {
    pub(super) secret: &'a [u8],
    /// Seconds from now.
    pub(super) age_s: i64,
    /// The key in the header.
    pub(super) key: &'a str,
}

impl Hook {
    /// A good event with these members beside `event`, `post_id` and the key.
    pub(super) fn event(members: &str) -> Self {
        let key = fresh_key();
        Self::keyed(&key, event_json(&key, members))
    }

    /// A signed body, in which `KEY` stands for the key that the header carries.
    pub(super) fn body(body: impl AsRef<[u8]>) -> Self {
        let key = fresh_key();
        let body = replace(body.as_ref(), b"KEY", key.as_bytes());
        Self::keyed(&key, body)
    }

    /// A signed body under this key.
    pub(super) fn keyed(key: &str, body: impl AsRef<[u8]>) -> Self {
        Self::new(&Signing { secret: SECRET.as_bytes(), age_s: 0, key }, body)
    }

    pub(super) fn new(signing: &Signing<'_>, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref().to_vec();
        let secret = Secret::new("k1", signing.secret).unwrap();
        let timestamp = (now_ms() / 1_000 + signing.age_s).to_string();
        let parts = Parts { timestamp: &timestamp, key: signing.key, body: &body };
        let signed = sign(&WP_RELAY, &secret, &parts);
        let length = body.len().to_string();
        let start = "POST /webhooks/news HTTP/1.1".to_owned();
        let mut hook = Self { start, headers: Vec::new(), body }
            .with("Host", "desk")
            .with("Content-Type", "application/json")
            .with("X-Canary", CANARY)
            .with("Content-Length", length);
        for (name, value) in signed {
            if !name.eq_ignore_ascii_case("x-wp-key-id") {
                hook = hook.with(&name, value);
            }
        }
        hook
    }

    /// Another path.
    pub(super) fn to(mut self, path: &str) -> Self {
        self.start = format!("POST {path} HTTP/1.1");
        self
    }

    /// Another request line.
    pub(super) fn start(mut self, start: &str) -> Self {
        start.clone_into(&mut self.start);
        self
    }

    /// One more header line.
    pub(super) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Another value in place of the one it had.
    pub(super) fn set(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).with(name, value)
    }

    /// Without this header.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// A header's value.
    pub(super) fn value(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        String::from_utf8(found.unwrap().1.clone()).unwrap()
    }

    /// Another body under the same headers.
    pub(super) fn carrying(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The body in chunks, without a length.
    pub(super) fn chunked(self) -> Self {
        let chunks = [
            format!("{:x}\r\n", self.body.len()).into_bytes(),
            self.body.clone(),
            b"\r\n0\r\n\r\n".to_vec(),
        ];
        self.without("content-length")
            .with("Transfer-Encoding", "chunked")
            .carrying(chunks.concat())
    }

    /// The request line and headers.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.start).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }
}

/// A good event's body.
pub(super) fn event_json(key: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(
        r#"{{"event":"post.updated","post_id":7,"idempotency_key":"{key}","x":"{CANARY}"{comma}{members}}}"#
    )
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|some| some == from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}
