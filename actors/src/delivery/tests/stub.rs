//! A stand-in for a site: one function from request to answer, and a list of what came.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What a slow answer takes: long enough for other requests to come in.
const LATENCY: Duration = Duration::from_millis(5);

/// What the site does.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Http {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Ends the connection without a word.
    Close,
    /// Never answers.
    Hang,
    /// Takes its time.
    Slow(Box<Self>),
}

impl Answer {
    pub(crate) fn json(status: u16, body: impl ToString) -> Self {
        let headers = vec![("content-type", "application/json; charset=UTF-8".to_owned())];
        Self::Http { status, headers, body: body.to_string() }
    }

    pub(crate) fn html(status: u16) -> Self {
        let headers = vec![("content-type", "text/html; charset=UTF-8".to_owned())];
        Self::Http { status, headers, body: "<html>a page</html>".to_owned() }
    }

    /// WordPress's own error.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let body = serde_json::json!({
            "code": code, "message": "Words.", "data": {"status": status},
        });
        Self::json(status, body)
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Http { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// A running stand-in; it ends with the test's runtime.
pub(crate) struct Stub {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    busiest: Arc<AtomicUsize>,
}

/// Requests being served, and the most there were.
#[derive(Default)]
struct Load {
    now: AtomicUsize,
    busiest: Arc<AtomicUsize>,
}

impl Stub {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (list, answer) = (Arc::clone(&seen), Arc::new(answer));
        let load = Arc::new(Load::default());
        let busiest = Arc::clone(&load.busiest);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (list, answer) = (Arc::clone(&list), Arc::clone(&answer));
                let load = Arc::clone(&load);
                tokio::spawn(async move {
                    let service = service_fn(async |request| {
                        load.busiest.fetch_max(
                            load.now.fetch_add(1, Ordering::SeqCst) + 1,
                            Ordering::SeqCst,
                        );
                        let response = serve(request, &list, &*answer).await;
                        load.now.fetch_sub(1, Ordering::SeqCst);
                        response
                    });
                    // A connection the stub ends on purpose is an error here.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, seen, busiest }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The most requests that were served at once.
    pub(crate) fn busiest(&self) -> usize {
        self.busiest.load(Ordering::SeqCst)
    }

    /// How many requests of a method came.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|s| s.method == method).count()
    }
}

async fn serve(
    request: http::Request<Incoming>,
    list: &Mutex<Vec<Seen>>,
    answer: &(impl Fn(&Seen) -> Answer + Send + Sync),
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let text = |v: &http::HeaderValue| v.to_str().unwrap_or_default().to_owned();
    let seen = Seen {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: head.headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let mut answer = answer(&seen);
    list.lock().unwrap().push(seen);
    if let Answer::Slow(late) = answer {
        tokio::time::sleep(LATENCY).await;
        answer = *late;
    }
    match answer {
        Answer::Slow(_) => Err(io::Error::other("slow twice")),
        Answer::Close => Err(io::Error::other("closed on purpose")),
        Answer::Hang => {
            let never: Result<Infallible, Infallible> = std::future::pending().await;
            match never {}
        }
        Answer::Http { status, headers, body } => {
            let mut response = Response::new(Full::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            Ok(response)
        }
    }
}
