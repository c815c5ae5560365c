//! A site with an ingest route: upserts by external id under a write number, remembers
//! idempotency keys, fails on demand before or after the write, and keeps a history.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Random, marked};

/// One request that arrived whole.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) external_id: String,
    pub(crate) version: u64,
    pub(crate) status: String,
    pub(crate) key: String,
    pub(crate) number: u64,
    pub(crate) outcome: Outcome,
    pub(crate) traceparent: Option<String>,
    pub(crate) at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    Already,
    Stale,
    /// Refused before anything was stored.
    Failed,
}

#[derive(Debug, Default)]
struct Rows {
    numbers: HashMap<String, u64>,
    keys: HashMap<String, u64>,
    history: Vec<Arrival>,
}

#[derive(Debug)]
struct Service {
    rows: Mutex<Rows>,
    failing_percent: u64,
    random: Mutex<Random>,
    /// Answers 503 while set.
    down: AtomicBool,
}

/// A running site.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    service: Arc<Service>,
    /// `url` for the configuration.
    pub(crate) url: String,
}

impl Site {
    /// Starts one that fails so many of a hundred requests, half of them after the write.
    pub(crate) async fn start(failing_percent: u64, seed: u64) -> Self {
        Self::start_on("127.0.0.1", failing_percent, seed).await
    }

    /// The same on this address of the machine.
    pub(crate) async fn start_on(host: &str, failing_percent: u64, seed: u64) -> Self {
        let service = Arc::new(Service {
            rows: Mutex::default(),
            failing_percent,
            random: Mutex::new(Random::new(seed)),
            down: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/wp-json/ai-guy/v1/ingest", post(ingest))
            .with_state(Arc::clone(&service));
        let listener = tokio::net::TcpListener::bind((host, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { service, url }
    }

    /// Answers 503 from now on, or works again.
    pub(crate) fn set_down(&self, down: bool) {
        self.service.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn history(&self) -> Vec<Arrival> {
        self.service.rows.lock().unwrap().history.clone()
    }
}

async fn ingest(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let text =
        |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let mut arrival = Arrival {
        external_id: body["external_id"].as_str().unwrap_or_default().to_owned(),
        version: marked(body["summary"].as_str().unwrap_or_default()).map_or(0, |(_, v)| v),
        status: body["status"].as_str().unwrap_or_default().to_owned(),
        key: text("idempotency-key"),
        number: text("x-copydesk-write").parse().unwrap_or(0),
        outcome: Outcome::Failed,
        traceparent: headers.get("traceparent").map(|v| v.to_str().unwrap().to_owned()),
        at: Instant::now(),
    };
    let (fails, after, names_its_time) = {
        let mut random = service.random.lock().unwrap();
        (random.percent(service.failing_percent), random.percent(50), random.percent(10))
    };
    let down = service.down.load(Ordering::SeqCst);
    if down || (fails && !after) {
        service.rows.lock().unwrap().history.push(arrival);
        let mut busy = (StatusCode::SERVICE_UNAVAILABLE, "busy").into_response();
        if names_its_time && !down {
            busy.headers_mut().insert("retry-after", "1".parse().unwrap());
        }
        return busy;
    }
    let current = {
        let mut rows = service.rows.lock().unwrap();
        let current = rows.numbers.get(&arrival.external_id).copied().unwrap_or(0);
        arrival.outcome = if rows.keys.contains_key(&arrival.key) {
            Outcome::Already
        } else if arrival.number <= current {
            Outcome::Stale
        } else {
            rows.numbers.insert(arrival.external_id.clone(), arrival.number);
            rows.keys.insert(arrival.key.clone(), arrival.number);
            Outcome::Applied
        };
        rows.history.push(arrival.clone());
        current
    };
    match (arrival.outcome, fails) {
        (Outcome::Stale, _) => {
            (StatusCode::CONFLICT, Json(json!({"code": "stale_write", "current": current})))
                .into_response()
        }
        (_, true) => (StatusCode::BAD_GATEWAY, "<html>lost</html>").into_response(),
        (outcome, false) => {
            let result = if outcome == Outcome::Applied { "applied" } else { "already" };
            Json(json!({"result": result, "external_id": arrival.external_id})).into_response()
        }
    }
}
