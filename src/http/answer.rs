//! The answers of the ingress.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use copydesk_core::refusal::Refusal;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::intake::Receipt;

pub(super) type Answer = Response<Full<Bytes>>;

/// A refusal on its way out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    refusal: Refusal,
    closes: bool,
}

impl Refused {
    /// Closes the connection after the answer: the rest of the request was not read.
    pub(super) fn closing(refusal: Refusal) -> Self {
        Self { refusal, closes: true }
    }

    pub(super) fn code(&self) -> &'static str {
        self.refusal.code
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, closes: false }
    }
}

/// 202: stored, now or before.
pub(super) fn accepted(receipt: &Receipt) -> Answer {
    #[derive(Serialize)]
    struct Accepted<'a> {
        status: &'static str,
        event_id: &'a str,
    }
    let status = if receipt.duplicate { "duplicate" } else { "accepted" };
    let body = serde_json::to_vec(&Accepted { status, event_id: &receipt.event_id });
    answer(StatusCode::ACCEPTED, "application/json", body.unwrap_or_default())
}

/// 200 of the health paths.
pub(super) fn healthy() -> Answer {
    answer(StatusCode::OK, "application/json", &br#"{"status":"ok"}"#[..])
}

/// 200 of the path for load balancers, with the partitions that this node works on.
pub(super) fn ready(partitions: Option<usize>) -> Answer {
    let Some(partitions) = partitions else { return healthy() };
    let body = format!(r#"{{"status":"ok","partitions":{partitions}}}"#);
    answer(StatusCode::OK, "application/json", body)
}

/// A refusal as RFC 9457 has it. Nothing of the request is in it.
pub(super) fn problem(refused: Refused, request_id: &RequestId) -> Answer {
    let Refused { refusal, closes } = refused;
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = refusal.problem_json(&request_id.to_string());
    let mut answer = answer(status, "application/problem+json", body);
    let headers = answer.headers_mut();
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Names one request in an answer and in our log.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(u64);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Makes request ids: a random start for each process, then counting.
#[derive(Debug)]
pub(super) struct RequestIds(AtomicU64);

impl RequestIds {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(uuid::Uuid::new_v4().as_u64_pair().0))
    }

    pub(super) fn next(&self) -> RequestId {
        RequestId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}
