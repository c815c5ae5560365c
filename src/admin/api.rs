//! The admin API of one node: the door, the routes behind it, and what they share.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use copydesk_actors::desk::TokenBook;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tower::ServiceExt;
use tracing::warn;

use super::guard::{self, Guard, METRICS};
use super::pace::Pace;
use super::policy;
use super::{Desk, Refusal, nouns, openapi};
use crate::http::{Drain, Handler};
use crate::telemetry::Scrape;

/// Largest request, in bytes. The largest real one is a filter with hundreds of posts.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// The admin API of one node.
#[derive(Debug)]
pub struct AdminApi {
    pub(super) router: Router,
    guard: Guard,
}

/// How the listener is set up.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// The bound address.
    pub address: SocketAddr,
    /// Further host names a request may carry.
    pub hosts: Vec<String>,
    /// Requests a second that one token may make.
    pub requests_per_second: u32,
}

/// The table of policies and the routes do not fit: a fault of the program.
#[derive(Debug, thiserror::Error)]
#[error("the admin API does not start: {}", .0.join(", "))]
pub struct Unruled(Vec<String>);

impl AdminApi {
    /// # Errors
    /// [`Unruled`] when a route has no policy.
    pub fn new(
        desk: Arc<dyn Desk>,
        book: Arc<TokenBook>,
        settings: &AdminSettings,
        drain: Drain,
    ) -> Result<Self, Unruled> {
        let pace = Arc::new(Pace::new(settings.requests_per_second));
        let guard =
            Guard::new(Arc::clone(&book), settings.address, &settings.hosts, Arc::clone(&pace));
        let (router, document) = nouns::all().split_for_parts();
        let gaps = policy::gaps(&document);
        if !gaps.is_empty() {
            return Err(Unruled(gaps));
        }
        let document = openapi::finish(document).into();
        let router = router
            // The guard answers what no route takes; this is for methods it lets through.
            .fallback(async || Refusal::not_found())
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .layer(from_fn_with_state(guard.clone(), guard::check))
            .with_state(Office { desk, book, pace, drain, document });
        Ok(Self { router, guard })
    }

    /// Shows the metrics at `/metrics`, beside the API.
    #[must_use]
    pub fn showing(mut self, scrape: Scrape) -> Self {
        let show = async move || match scrape.text() {
            Ok(text) => ([(CONTENT_TYPE, Scrape::CONTENT_TYPE)], text).into_response(),
            Err(error) => {
                warn!(%error, "metrics cannot be shown");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        };
        let guard = from_fn_with_state(self.guard.clone(), guard::check);
        self.router = self.router.merge(Router::new().route(METRICS, get(show)).layer(guard));
        self
    }
}

impl Handler for AdminApi {
    type Body = Body;

    async fn handle(&self, request: Request<Incoming>, _peer: IpAddr) -> Response {
        let answer = self.router.clone().oneshot(request.map(Body::new)).await;
        match answer {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// What handlers share.
#[derive(Clone)]
pub(super) struct Office {
    pub(super) desk: Arc<dyn Desk>,
    pub(super) book: Arc<TokenBook>,
    pub(super) pace: Arc<Pace>,
    pub(super) drain: Drain,
    /// `openapi.json` as it is answered.
    pub(super) document: Arc<str>,
}
