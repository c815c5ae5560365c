//! A sender of signed webhooks.

use std::sync::Arc;

use copydesk_core::signature::{Parts, Scheme, Secret, WP_RELAY, sign};
use serde_json::{Value, json};

use super::now_ms;

/// Signs with one secret and sends to one source.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    client: reqwest::Client,
    scheme: &'static Scheme,
    secret: Arc<Secret>,
}

/// What a node answered; `None` when no answer came.
pub(crate) type Answer = Option<(u16, Value)>;

impl Sender {
    pub(crate) fn new(secret: &str) -> Self {
        Self::signing(&WP_RELAY, secret)
    }

    pub(crate) fn signing(scheme: &'static Scheme, secret: &str) -> Self {
        let secret = Arc::new(Secret::of(scheme, "k1", secret.as_bytes()).unwrap());
        Self { client: super::client(), scheme, secret }
    }

    /// Sends the body under its own idempotency key, signed.
    pub(crate) async fn send(&self, url: &str, body: &Value) -> Answer {
        let bytes = body.to_string().into_bytes();
        let timestamp = (now_ms() / 1_000).to_string();
        let key = body["idempotency_key"].as_str().unwrap_or_default().to_owned();
        let parts = Parts { timestamp: &timestamp, key: &key, body: &bytes };
        let mut request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("traceparent", format!("00-{}-{SAVE_ID}-01", trace_id(&key)));
        for (name, value) in sign(self.scheme, &self.secret, &parts) {
            request = request.header(name, value);
        }
        let response = request.body(bytes).send().await.ok()?;
        let status = response.status().as_u16();
        let says_when = response.headers().contains_key("retry-after");
        assert!(says_when || !matches!(status, 429 | 503), "{status} without Retry-After");
        Some((status, response.json().await.unwrap_or(Value::Null)))
    }
}

/// The event "post N was updated to version V", with its text.
pub(crate) fn update(post: u64, version: u64, key: &str) -> Value {
    json!({
        "event": "post.updated", "post_id": post, "sequence": version, "idempotency_key": key,
        "title": format!("Title of post {post}"), "content": super::mark(post, version),
    })
}

/// The id of the save's span, in every trace.
pub(crate) const SAVE_ID: &str = "0000000000000007";

/// A trace id that can be found again from the key.
pub(crate) fn trace_id(key: &str) -> String {
    let mix = |hash: u128, byte| (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:032x}", key.bytes().fold(1_u128, mix))
}
