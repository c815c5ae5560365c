//! The accept loop both listeners share: caps, timers, and an end that loses no answer.
//!
//! Hyper is driven directly because the limits are below what `axum::serve` lets one set: a silent
//! client is closed 5 s after accept, a kept connection after 30 s of silence, and each connection
//! after 1,000 requests.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use copydesk_core::limits::{
    CONNECTION_REQUESTS_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT_MS, HEADERS_MAX, IDLE_TIMEOUT_MS,
};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, warn};

use super::connections::{Connections, Place};

/// How long requests under way may take once the end has begun; orchestrators kill after 30 s.
pub const DRAIN_MAX: Duration = Duration::from_secs(20);
/// How long answers already made may take to leave.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Pause after an accept that failed for want of file handles: at once it would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The answer's body.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// One answer. Dropped when the client hangs up.
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The end of the process, as the listeners see it: first new requests are refused, then requests
/// under way are waited for, then connections close.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    begun: CancellationToken,
    busy: TaskTracker,
}

impl Drain {
    /// Begins the end.
    pub fn begin(&self) {
        self.begun.cancel();
        self.busy.close();
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits for the end to begin.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits until no request is under way. Never before the end has begun.
    pub async fn over(&self) {
        self.busy.wait().await;
    }

    /// Marks a request under way until the token drops; `None` once the end has begun.
    #[must_use]
    pub fn enter(&self) -> Option<TaskTrackerToken> {
        // The token comes first: a request is either counted or sees the end.
        let token = self.busy.token();
        (!self.has_begun()).then_some(token)
    }
}

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    connections: Arc<Connections>,
    drain: Drain,
}

impl Server {
    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    /// What the system says: the address is taken, or not this machine's.
    pub async fn bind(
        address: SocketAddr,
        connections_max: usize,
        per_address_max: usize,
        drain: Drain,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            listener,
            connections: Connections::new(connections_max, per_address_max),
            drain,
        })
    }

    /// The bound address.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the drain is over: at most [`DRAIN_MAX`] and 2 s after it began.
    pub async fn run<H: Handler>(self, handler: Arc<H>) {
        let closing = CancellationToken::new();
        let open = TaskTracker::new();
        let drained = async {
            self.drain.begun.cancelled().await;
            if tokio::time::timeout(DRAIN_MAX, self.drain.busy.wait()).await.is_err() {
                warn!(requests = self.drain.busy.len(), "requests were cut off by the end");
            }
        };
        let mut drained = pin!(drained);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut drained => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = self.connections.admit(peer.ip()) else {
                        debug!("a connection over the limit was closed");
                        continue;
                    };
                    let connection =
                        connection(stream, peer.ip(), Arc::clone(&handler), closing.clone(), place);
                    open.spawn(connection);
                }
                Err(error) => {
                    warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        closing.cancel();
        open.close();
        // The tasks of what is still open end with the runtime.
        let _late = tokio::time::timeout(CLOSE_MAX, open.wait()).await;
    }
}

async fn connection<H: Handler>(
    stream: TcpStream,
    peer: IpAddr,
    handler: Arc<H>,
    closing: CancellationToken,
    _place: Place,
) {
    // An answer is one small write; waiting to fill a packet would only delay it.
    let _slower = stream.set_nodelay(true);
    let requests = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&requests);
    let service = service_fn(move |request| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        let handler = Arc::clone(&handler);
        async move {
            let mut response = handler.handle(request, peer).await;
            if number >= CONNECTION_REQUESTS_MAX {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // From one answer to the end of the next head.
        .header_read_timeout(Duration::from_millis(IDLE_TIMEOUT_MS))
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut first_head = pin!(tokio::time::sleep(Duration::from_millis(HEAD_TIMEOUT_MS)));
    let mut closed = pin!(closing.cancelled_owned());
    let (mut waits, mut serves) = (true, true);
    loop {
        tokio::select! {
            biased;
            result = &mut connection => {
                if let Err(error) = result {
                    debug!(%error, "a connection ended early");
                }
                return;
            }
            () = &mut first_head, if waits => {
                waits = false;
                if requests.load(Ordering::Relaxed) == 0 {
                    return;
                }
            }
            () = &mut closed, if serves => {
                serves = false;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
