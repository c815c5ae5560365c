//! An AI service on a port of its own, which plays a list of answers and remembers what it was
//! asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// What the service does with one request.
pub(super) enum Play {
    /// Answers.
    Answer(u16, Vec<(&'static str, String)>, Bytes),
    /// Never answers.
    Hang,
}

/// What the service was asked.
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(super) struct Stub {
    pub(super) base_url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    _until_dropped: DropGuard,
}

impl Stub {
    /// Plays the answers in order, the last one for ever.
    pub(super) async fn start(plays: Vec<Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let plays = Arc::new(Mutex::new(VecDeque::from(plays)));
        let seen = Arc::clone(&asked);
        let dropped = CancellationToken::new();
        let end = dropped.clone();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = end.run_until_cancelled(listener.accept()).await {
                let (seen, plays) = (Arc::clone(&seen), Arc::clone(&plays));
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, &seen, &plays));
                    // A client that hangs up is part of the tests.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let base_url = format!("http://{address}/v1").parse().unwrap();
        Self { base_url, asked, _until_dropped: dropped.drop_guard() }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: &Mutex<Vec<Asked>>,
    plays: &Mutex<VecDeque<Play>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    seen.lock().unwrap().push(Asked {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    let play = {
        let mut plays = plays.lock().unwrap();
        let last = plays.len() == 1;
        match plays.front() {
            Some(Play::Answer(status, headers, body)) if last => {
                Play::Answer(*status, headers.clone(), body.clone())
            }
            Some(Play::Hang) if last => Play::Hang,
            _ => plays.pop_front().unwrap(),
        }
    };
    match play {
        Play::Hang => std::future::pending().await,
        Play::Answer(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::new(body)).unwrap())
        }
    }
}

fn json_answer(status: u16, body: &Value) -> Play {
    let headers = vec![("content-type", "application/json".to_owned())];
    Play::Answer(status, headers, Bytes::from(body.to_string()))
}

/// A chat completion as OpenAI words it.
pub(super) fn openai(content: &str, finish_reason: &str) -> Play {
    json_answer(
        200,
        &json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-test-2026",
            "choices": [{"index": 0, "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        }),
    )
}

/// The same without a word on tokens.
pub(super) fn openai_without_usage(content: &str) -> Play {
    json_answer(
        200,
        &json!({"choices": [{"finish_reason": "stop",
            "message": {"role": "assistant", "content": content}}]}),
    )
}

/// A message as Anthropic words it.
pub(super) fn anthropic(content: &str, stop_reason: &str) -> Play {
    json_answer(
        200,
        &json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test-2026",
            "content": [{"type": "text", "text": content}], "stop_reason": stop_reason,
            "usage": {"input_tokens": 90, "output_tokens": 10},
        }),
    )
}

/// An error as both word it.
pub(super) fn error(status: u16, message: &str) -> Play {
    json_answer(status, &json!({"error": {"message": message, "type": "x", "code": message}}))
}

pub(super) fn error_with(status: u16, name: &'static str, value: &str) -> Play {
    Play::Answer(status, vec![(name, value.to_owned())], Bytes::from_static(b"no"))
}
