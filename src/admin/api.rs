//! `/api/v1`: routes, and the forms of what is asked and answered.
//!
//! Reads are GET and change nothing; changes are POST and durable when answered. Lists answer
//! `{"rows": […]}`. `/events/follow` answers JSON lines for as long as both sides stay, with an
//! empty line every 15 s so that the quiet is known from the end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use copydesk_actors::desk::trace::Trace;
use copydesk_core::holds::HoldScope;
use copydesk_proto::PostKey;
use futures::{FutureExt, StreamExt};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tracing::warn;

use super::guard::{self, Guard, METRICS};
use super::{
    Access, DeadLetterRow, Desk, EventRow, Filter, HoldRow, PostRow, PostView, Problem,
    ROWS_DEFAULT, ROWS_MAX, Status, TraceOf, VerifyReport,
};
use crate::http::{Drain, Handler};
use crate::telemetry::Scrape;

/// Largest request, in bytes. The largest real one is a hold with its reason, under 1 KiB.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Listeners to journeys at once; each costs the node a copy of every line.
const FOLLOWERS_MAX: usize = 10;
/// Checks of the whole log at once: one reads as fast as the disk.
const VERIFIERS_MAX: usize = 1;
/// How often a quiet stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The admin API of one node.
pub struct AdminApi {
    pub(super) router: Router,
    guard: Guard,
}

impl AdminApi {
    /// `hosts`: further host names a request may carry.
    #[must_use]
    pub fn new(desk: Arc<dyn Desk>, access: &Access, hosts: &[String], drain: Drain) -> Self {
        let office = Office {
            desk,
            drain,
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            verifiers: Arc::new(Semaphore::new(VERIFIERS_MAX)),
        };
        let guard = Guard::new(access.token.clone(), access.address, hosts);
        let router = Router::new()
            .nest("/api/v1", routes())
            .fallback(async || Problem::not_found())
            .method_not_allowed_fallback(async || Problem::method())
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .layer(from_fn_with_state(guard.clone(), guard::check))
            .with_state(office);
        Self { router, guard }
    }
}

impl AdminApi {
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

#[derive(Clone)]
struct Office {
    desk: Arc<dyn Desk>,
    drain: Drain,
    followers: Arc<Semaphore>,
    verifiers: Arc<Semaphore>,
}

fn routes() -> Router<Office> {
    Router::new()
        .route("/status", get(status))
        .route("/events", get(events))
        .route("/events/follow", get(follow))
        .route("/events/{event_id}", get(event))
        .route("/posts", get(posts))
        .route("/posts/{site}/{post}", get(one_post))
        .route("/traces/{event_id}", get(event_traces))
        .route("/traces/{site}/{post}", get(post_traces))
        .route("/dead-letters", get(dead_letters))
        .route("/dead-letters/{site}/{post}/{run}/retry", post(retry))
        .route("/dead-letters/{site}/{post}/{run}/drop", post(drop_dead_letter))
        .route("/holds", get(holds).post(hold))
        .route("/holds/release", post(release))
        .route("/verify", post(verify))
}

/// What a list route is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Only of this post, `site/post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only what comes after this row; see [`Filter::before`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// What `/events/follow` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Followed {
    /// Only of this post, `site/post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
}

/// What is held or released.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// `all`, `site:news`, `post:news/42`, …
    pub scope: String,
    /// Who asks; not looked at for a release.
    #[serde(default)]
    pub by: String,
    /// Why; not looked at for a release.
    #[serde(default)]
    pub reason: String,
}

#[derive(Serialize)]
struct Rows<T> {
    rows: Vec<T>,
}

type Answer<T> = Result<Json<T>, Problem>;
type ListQuery = Result<Query<List>, QueryRejection>;
type RunPath = Result<Path<(String, String, u64)>, PathRejection>;

async fn status(State(office): State<Office>) -> Answer<Status> {
    Ok(Json(office.desk.status().await?))
}

async fn events(State(office): State<Office>, query: ListQuery) -> Answer<Rows<EventRow>> {
    Ok(Json(Rows { rows: office.desk.events(filter(query)?).await? }))
}

async fn event(
    State(office): State<Office>,
    path: Result<Path<String>, PathRejection>,
) -> Answer<EventRow> {
    let Path(event_id) = path?;
    Ok(Json(office.desk.event(event_id).await?))
}

async fn posts(State(office): State<Office>, query: ListQuery) -> Answer<Rows<PostRow>> {
    Ok(Json(Rows { rows: office.desk.posts(filter(query)?).await? }))
}

async fn one_post(
    State(office): State<Office>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer<PostView> {
    let Path((site, post)) = path?;
    Ok(Json(office.desk.post(key(&site, &post)?).await?))
}

async fn event_traces(
    State(office): State<Office>,
    path: Result<Path<String>, PathRejection>,
) -> Answer<Rows<Trace>> {
    let Path(event_id) = path?;
    Ok(Json(Rows { rows: office.desk.traces(TraceOf::Event(event_id)).await? }))
}

async fn post_traces(
    State(office): State<Office>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer<Rows<Trace>> {
    let Path((site, post)) = path?;
    Ok(Json(Rows { rows: office.desk.traces(TraceOf::Post(key(&site, &post)?)).await? }))
}

async fn dead_letters(
    State(office): State<Office>,
    query: ListQuery,
) -> Answer<Rows<DeadLetterRow>> {
    Ok(Json(Rows { rows: office.desk.dead_letters(filter(query)?).await? }))
}

async fn retry(State(office): State<Office>, path: RunPath) -> Answer<Done> {
    let Path((site, post, run)) = path?;
    office.desk.retry(key(&site, &post)?, run).await?;
    Ok(Json(Done { done: true }))
}

async fn drop_dead_letter(State(office): State<Office>, path: RunPath) -> Answer<Done> {
    let Path((site, post, run)) = path?;
    office.desk.drop_dead_letter(key(&site, &post)?, run).await?;
    Ok(Json(Done { done: true }))
}

async fn holds(State(office): State<Office>) -> Answer<Rows<HoldRow>> {
    Ok(Json(Rows { rows: office.desk.holds().await? }))
}

async fn hold(
    State(office): State<Office>,
    request: Result<Json<HoldRequest>, JsonRejection>,
) -> Answer<HoldRow> {
    let Json(HoldRequest { scope, by, reason }) = request?;
    Ok(Json(office.desk.hold(parse_scope(&scope)?, by, reason).await?))
}

async fn release(
    State(office): State<Office>,
    request: Result<Json<HoldRequest>, JsonRejection>,
) -> Answer<Done> {
    let Json(request) = request?;
    office.desk.release(parse_scope(&request.scope)?).await?;
    Ok(Json(Done { done: true }))
}

async fn verify(State(office): State<Office>) -> Answer<VerifyReport> {
    let _one = Arc::clone(&office.verifiers)
        .try_acquire_owned()
        .map_err(|_| Problem::busy("the log is being checked"))?;
    Ok(Json(office.desk.verify().await?))
}

async fn follow(
    State(office): State<Office>,
    query: Result<Query<Followed>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Followed { post }) = query?;
    let post = post.map(|post| post.parse()).transpose().map_err(bad)?;
    let place = Arc::clone(&office.followers)
        .try_acquire_owned()
        .map_err(|_| Problem::busy("ten are following already"))?;
    let lines = office.desk.follow(post).await?.map(|line| {
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Bytes::from(text)
    });
    let quiet = futures::stream::unfold((), async |()| {
        tokio::time::sleep(HEARTBEAT).await;
        Some((Bytes::from_static(b"\n"), ()))
    });
    // The stream ends when the desk's does, or when the node begins to end.
    let lines = lines.map(Some).chain(futures::stream::once(async { None }));
    let drain = office.drain.clone();
    let body = futures::stream::select(lines, Box::pin(quiet).map(Some))
        .take_while(|line| futures::future::ready(line.is_some()))
        .take_until(async move { drain.begun().await }.boxed())
        .filter_map(futures::future::ready)
        .map(move |line| {
            let _held_while_streaming = &place;
            Ok::<_, std::convert::Infallible>(line)
        });
    let mut response = Body::from_stream(body).into_response();
    let json_lines = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, json_lines);
    Ok(response)
}

#[derive(Serialize)]
struct Done {
    done: bool,
}

fn filter(query: ListQuery) -> Result<Filter, Problem> {
    let Query(List { site, post, state, before, limit }) = query?;
    let limit = limit.unwrap_or(ROWS_DEFAULT);
    if !(1..=ROWS_MAX).contains(&limit) {
        return Err(Problem::bad(format!("limit must be 1 to {ROWS_MAX}")));
    }
    Ok(Filter {
        site: site.map(|site| site.parse()).transpose().map_err(bad)?,
        post: post.map(|post| post.parse()).transpose().map_err(bad)?,
        state,
        before,
        limit,
    })
}

fn key(site: &str, post: &str) -> Result<PostKey, Problem> {
    Ok(PostKey { site: site.parse().map_err(bad)?, post: post.parse().map_err(bad)? })
}

fn parse_scope(text: &str) -> Result<HoldScope, Problem> {
    text.parse().map_err(bad)
}

fn bad(error: impl std::fmt::Display) -> Problem {
    Problem::bad(error.to_string())
}
