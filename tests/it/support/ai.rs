//! An AI service that speaks `/chat/completions`: repeats the post's mark as its summary.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::{Random, marked, now_ms};

/// Every post, for [`Ai::poison`].
pub(crate) const ALL: u64 = u64::MAX;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) at_ms: i64,
    pub(crate) post: u64,
    pub(crate) version: u64,
    pub(crate) answered: bool,
    pub(crate) traceparent: Option<String>,
}

#[derive(Debug)]
struct Service {
    calls: Mutex<Vec<Call>>,
    failing_percent: AtomicU64,
    latency_ms: AtomicU64,
    random: Mutex<Random>,
    declines: AtomicBool,
    usage: Usage,
    /// Answers 429 with this Retry-After in seconds, while not 0.
    limits: AtomicU64,
    /// Refuses whatever is asked about this post, while not 0.
    poisoned: AtomicU64,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

/// Tokens that an answer is billed with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
}

/// A running service.
#[derive(Debug, Clone)]
pub(crate) struct Ai {
    service: Arc<Service>,
    /// `base_url` for the configuration.
    pub(crate) base_url: String,
}

impl Ai {
    /// Starts one that answers after a while, and so many of a hundred requests with 429 or 500.
    pub(crate) async fn start(failing_percent: u64, latency: Duration, seed: u64) -> Self {
        let usage = Usage { prompt: 50, completion: 10 };
        Self::start_billing(usage, failing_percent, latency, seed).await
    }

    /// The same on this address of the machine.
    pub(crate) async fn start_on(host: &str, latency: Duration, seed: u64) -> Self {
        let usage = Usage { prompt: 50, completion: 10 };
        Self::start_at(host, usage, 0, latency, seed).await
    }

    /// The same, with so many tokens billed for each answer.
    pub(crate) async fn start_billing(
        usage: Usage,
        failing_percent: u64,
        latency: Duration,
        seed: u64,
    ) -> Self {
        Self::start_at("127.0.0.1", usage, failing_percent, latency, seed).await
    }

    async fn start_at(
        host: &str,
        usage: Usage,
        failing_percent: u64,
        latency: Duration,
        seed: u64,
    ) -> Self {
        let service = Arc::new(Service {
            calls: Mutex::default(),
            failing_percent: AtomicU64::new(failing_percent),
            latency_ms: AtomicU64::new(u64::try_from(latency.as_millis()).unwrap()),
            random: Mutex::new(Random::new(seed)),
            declines: AtomicBool::new(false),
            usage,
            limits: AtomicU64::new(0),
            poisoned: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/v1/chat/completions", post(chat))
            .with_state(Arc::clone(&service));
        let listener = tokio::net::TcpListener::bind((host, 0)).await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { service, base_url }
    }

    /// Tokens billed so far: of every answer that was sent, seen or not.
    pub(crate) fn billed_tokens(&self) -> u64 {
        let answered = self.calls().iter().filter(|call| call.answered).count();
        let Usage { prompt, completion } = self.service.usage;
        u64::try_from(answered).unwrap() * (prompt + completion)
    }

    /// Answers 429 with this Retry-After from now on; with 0 it answers again.
    pub(crate) fn limit(&self, retry_after_s: u64) {
        self.service.limits.store(retry_after_s, Ordering::SeqCst);
    }

    /// Refuses to work on this post from now on; 0 is none, and [`ALL`] is every one.
    pub(crate) fn poison(&self, post: u64) {
        self.service.poisoned.store(post, Ordering::SeqCst);
    }

    /// Most calls that were out at one moment.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.service.most_in_flight.load(Ordering::SeqCst)
    }

    /// From now on, so many of a hundred requests fail, and each takes so long.
    pub(crate) fn become_so(&self, failing_percent: u64, latency: Duration) {
        self.service.failing_percent.store(failing_percent, Ordering::Relaxed);
        let ms = u64::try_from(latency.as_millis()).unwrap();
        self.service.latency_ms.store(ms, Ordering::Relaxed);
    }

    /// From now on, declines to work on what it is asked.
    pub(crate) fn declines(&self, declines: bool) {
        self.service.declines.store(declines, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.service.calls.lock().unwrap().clone()
    }
}

async fn chat(State(service): State<Arc<Service>>, headers: HeaderMap, body: String) -> Response {
    let (post, version) = marked(&body).unwrap_or((0, 0));
    let (fails, kind) = {
        let mut random = service.random.lock().unwrap();
        (random.percent(service.failing_percent.load(Ordering::Relaxed)), random.below(10))
    };
    let limits = service.limits.load(Ordering::SeqCst);
    let poison = service.poisoned.load(Ordering::SeqCst);
    let poisoned = poison == ALL || (post != 0 && post == poison);
    let fails = fails || limits > 0 || poisoned;
    let traceparent = headers.get("traceparent").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let call = Call { at_ms: now_ms(), post, version, answered: !fails, traceparent };
    service.calls.lock().unwrap().push(call);
    let out = service.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    service.most_in_flight.fetch_max(out, Ordering::SeqCst);
    let latency_ms = service.latency_ms.load(Ordering::Relaxed);
    if latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(latency_ms)).await;
    }
    service.in_flight.fetch_sub(1, Ordering::SeqCst);
    if service.declines.load(Ordering::Relaxed) {
        return axum::Json(answer(post, version, "content_filter", service.usage)).into_response();
    }
    if limits > 0 {
        let after = [("retry-after", limits.to_string())];
        return (StatusCode::TOO_MANY_REQUESTS, after, "slow down").into_response();
    }
    if poisoned {
        return (StatusCode::BAD_REQUEST, "no").into_response();
    }
    match (fails, kind) {
        (true, 0) => {
            let error = json!({"error": {"message": "slow down", "type": "rate_limit"}});
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], error.to_string())
                .into_response()
        }
        (true, 1..=4) => (StatusCode::TOO_MANY_REQUESTS, "slow down").into_response(),
        // Some services repeat what they were asked: the prompt must not get further from here.
        (true, _) => (StatusCode::INTERNAL_SERVER_ERROR, body).into_response(),
        (false, _) => axum::Json(answer(post, version, "stop", service.usage)).into_response(),
    }
}

fn answer(post: u64, version: u64, finish_reason: &str, usage: Usage) -> Value {
    let Usage { prompt, completion } = usage;
    let summary = json!({"summary": super::mark(post, version)});
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "stand-in-1",
        "choices": [{
            "index": 0, "finish_reason": finish_reason,
            "message": {"role": "assistant", "content": summary.to_string()},
        }],
        "usage": {
            "prompt_tokens": prompt, "completion_tokens": completion,
            "total_tokens": prompt + completion,
        },
    })
}
