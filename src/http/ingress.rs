//! `POST /webhooks/{source}`: from the first byte to the 202.
//!
//! Order: path known, host, method, framing, size, body, and then the [`Intake`], which verifies
//! before it parses. Paths are matched raw and whole, so that no encoding of a name is a name, and
//! without a router: this path is all the public listener has besides health.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use copydesk_actors::telemetry::{Request as Counted, Telemetry};
use copydesk_core::limits::{BODY_BYTES_MAX, BODY_TIMEOUT_MS, URI_BYTES_MAX};
use copydesk_core::refusal::{Code, Refusal};
use copydesk_core::webhook::Head;
use copydesk_eventlog::crash_point;
use copydesk_proto::SourceId;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{Method, Request, Uri, Version, request};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use opentelemetry::StringValue;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::debug;

use super::answer::{self, Answer, Refused, RequestIds};
use super::intake::{Arrival, Intake, Receipt, Storing};
use super::server::{Drain, Handler};
use super::suspects::Suspects;

/// The public listener's handler.
pub struct Ingress {
    intake: Arc<dyn Intake>,
    public_hosts: Vec<String>,
    drain: Drain,
    ids: RequestIds,
    suspects: Suspects,
    telemetry: Telemetry,
    sources: BTreeSet<SourceId>,
}

impl Ingress {
    /// `public_hosts`: names we answer to, without port; empty: any.
    #[must_use]
    pub fn new(intake: Arc<dyn Intake>, public_hosts: Vec<String>, drain: Drain) -> Self {
        let (ids, suspects) = (RequestIds::new(), Suspects::default());
        let (telemetry, sources) = (Telemetry::default(), BTreeSet::new());
        Self { intake, public_hosts, drain, ids, suspects, telemetry, sources }
    }

    /// Counts what the public listener answers.
    #[must_use]
    pub fn counted_by(mut self, telemetry: Telemetry, sources: BTreeSet<SourceId>) -> Self {
        (self.telemetry, self.sources) = (telemetry, sources);
        self
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        arrival: Arrival,
    ) -> Result<Answer, Refused> {
        // What is left unread of a refused request must not be taken for the next one.
        let refused = |refusal: Refusal, body: &Incoming| {
            let read = body.is_end_stream() && refusal.code != Code::EmptyBody.as_str();
            if read { Refused::from(refusal) } else { Refused::closing(refusal) }
        };
        match request.uri().path() {
            "/livez" | "/healthz" => return Ok(answer::healthy()),
            "/readyz" => {
                let ready =
                    if self.drain.has_begun() { Err(draining()) } else { self.intake.ready() };
                return ready
                    .map(|()| answer::ready(self.intake.partitions()))
                    .map_err(|refusal| refused(refusal, request.body()));
            }
            _ => {}
        }
        let source = self.check(&request).map_err(|refusal| refused(refusal, request.body()))?;
        let peer = self.intake.client(peer, request.headers());
        if let Some(seconds) = self.suspects.silenced_s(peer) {
            let refusal = Code::RateLimited.refuse("too many wrong signatures from this address");
            return Err(Refused::closing(refusal.retry_after_s(seconds)));
        }
        let Some(busy) = self.drain.enter() else { return Err(Refused::closing(draining())) };
        let (parts, body) = request.into_parts();
        let body = read(body, &parts).await.map_err(Refused::closing)?;

        let storing = {
            let head = &parts.headers;
            let headers: Vec<(&str, &[u8])> =
                head.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            let head = Head { method: parts.method.as_str(), peer: Some(peer), headers: &headers };
            self.intake.receive(&source, &head, body, arrival).inspect_err(|refusal| {
                if refusal.status == 401 {
                    self.suspects.wrong(peer);
                }
            })?
        };
        let receipt = Finishing { storing: Some(storing), busy: Some(busy) }.await?;
        crash_point("ingress.stored");
        let outcome = if receipt.duplicate { "duplicate" } else { "accepted" };
        self.telemetry.metrics().webhook(self.counted_as(&source), outcome, "");
        Ok(answer::accepted(&receipt))
    }

    /// Any well-formed name is a source to the outside; only configured ones are labels.
    fn counted_as(&self, source: &SourceId) -> StringValue {
        let known = self.sources.get(source);
        known.map_or(UNKNOWN.into(), |source| source.to_shared().into())
    }

    /// All that can be judged before the body.
    fn check(&self, request: &Request<Incoming>) -> Result<SourceId, Refusal> {
        let uri = request.uri();
        if uri_bytes(uri) > URI_BYTES_MAX {
            return Err(Code::UriTooLong.refuse("the target may have 2048 bytes"));
        }
        let Some(source) = self.intake.knows(uri.path()) else {
            return Err(Code::NotFound.refuse("no source receives webhooks at this path"));
        };
        self.check_host(request)?;
        if request.method() != Method::POST {
            return Err(Code::MethodNotAllowed.refuse("webhooks are posted"));
        }
        let headers = request.headers();
        if headers
            .get_all(EXPECT)
            .iter()
            .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            return Err(Code::ExpectationFailed.refuse("only 100-continue is understood"));
        }
        if headers
            .get_all(TRANSFER_ENCODING)
            .iter()
            .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked"))
        {
            return Err(Code::UnsupportedTransferEncoding.refuse("send the body as it is"));
        }
        let size = request.body().size_hint();
        if size.lower() > BODY_BYTES_MAX as u64 {
            return Err(too_large());
        }
        if size.upper() == Some(0) {
            return Err(empty());
        }
        Ok(source)
    }

    /// RFC 9112, section 3.2: exactly one Host, equal to the host of an absolute target.
    fn check_host(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().unwrap_or_default(),
            (None, None) if request.version() == Version::HTTP_10 => return Ok(()),
            (None | Some(_), _) => return Err(Code::BadHost.refuse("send exactly one Host header")),
        };
        let target = request.uri().authority();
        if host.is_empty()
            || target.is_some_and(|target| !target.as_str().eq_ignore_ascii_case(host))
        {
            return Err(Code::BadHost.refuse("the Host header and the target name one host"));
        }
        let name = name_of(host);
        let served = self.public_hosts.is_empty()
            || self.public_hosts.iter().any(|own| own.eq_ignore_ascii_case(name));
        if served { Ok(()) } else { Err(Code::MisdirectedHost.refuse("see http.public_hosts")) }
    }
}

impl Handler for Ingress {
    type Body = http_body_util::Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        let request_id = self.ids.next();
        let began = Instant::now();
        let arrival = Arrival { at: SystemTime::now(), request_id };
        let method = match *request.method() {
            Method::GET => "GET",
            Method::POST => "POST",
            _ => "_OTHER",
        };
        let path = request.uri().path();
        let (route, source) = match path {
            "/livez" | "/healthz" | "/readyz" => ("health", None),
            _ => match self.intake.knows(path) {
                Some(source) => (WEBHOOKS, Some(source)),
                None => ("unknown", None),
            },
        };
        let answer = match self.answer(request, peer, arrival).await {
            Ok(answer) => answer,
            Err(refused) => {
                let code = refused.code();
                debug!(%request_id, code, "a request was refused");
                let source =
                    source.as_ref().map_or(UNKNOWN.into(), |source| self.counted_as(source));
                self.telemetry.metrics().webhook(source, "refused", code);
                answer::problem(refused, &request_id)
            }
        };
        let (status, took) = (answer.status().as_u16(), began.elapsed());
        self.telemetry.metrics().request(Counted { method, route, status, took });
        answer
    }
}

/// Every path that sources post to.
const WEBHOOKS: &str = "/webhooks/{source}";

/// Whoever posts to a path of no source.
const UNKNOWN: &str = "unknown";
/// Storing goes on when the client hangs up and this future is dropped: a sender with a short
/// timeout must still find its event stored.
struct Finishing {
    storing: Option<Storing>,
    busy: Option<TaskTrackerToken>,
}

impl Future for Finishing {
    type Output = Result<Receipt, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(storing) = &mut self.storing else { return Poll::Pending };
        let result = ready!(storing.as_mut().poll(context));
        self.storing = None;
        Poll::Ready(result)
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        let busy = self.busy.take();
        if let Some(storing) = self.storing.take() {
            tokio::spawn(async move {
                // Nobody is left to be told.
                let _result = storing.await;
                drop(busy);
            });
        }
    }
}

/// The whole body, if it is small enough and in time.
async fn read(body: Incoming, parts: &request::Parts) -> Result<Bytes, Refusal> {
    let limit = Duration::from_millis(BODY_TIMEOUT_MS);
    let has_length = parts.headers.contains_key(CONTENT_LENGTH);
    let chunked = parts.headers.contains_key(TRANSFER_ENCODING);
    match tokio::time::timeout(limit, collect(body)).await {
        Ok(Ok(body)) if body.is_empty() => Err(empty()),
        Ok(Ok(body)) => Ok(body),
        Ok(Err(Collecting::TooLarge)) => Err(too_large()),
        Ok(Err(Collecting::Broken)) if has_length && !chunked => {
            Err(Code::BodyTruncated.refuse("fewer bytes came than Content-Length says"))
        }
        Ok(Err(Collecting::Broken)) => Err(Code::BadBody.refuse("the chunks could not be read")),
        Err(_) => Err(Code::BodyTimeout.refuse("the whole body must come within 15 seconds")),
    }
}

enum Collecting {
    TooLarge,
    Broken,
}

async fn collect(mut body: Incoming) -> Result<Bytes, Collecting> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers are read to their end and never used.
        let Ok(data) = frame.map_err(|_| Collecting::Broken)?.into_data() else { continue };
        if first.len() + more.len() + data.len() > BODY_BYTES_MAX {
            return Err(Collecting::TooLarge);
        }
        // Most bodies are one frame: no copy.
        if first.is_empty() && more.is_empty() {
            first = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&data);
        }
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}

fn uri_bytes(uri: &Uri) -> usize {
    uri.path().len() + uri.query().map_or(0, |query| query.len() + 1)
}

/// A Host value without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

fn draining() -> Refusal {
    Code::Draining.refuse("send it again: another node or the next start takes it")
}

fn too_large() -> Refusal {
    Code::BodyTooLarge.refuse("a webhook has at most 262,144 bytes")
}

fn empty() -> Refusal {
    Code::EmptyBody.refuse("a webhook has a JSON object as its body")
}
