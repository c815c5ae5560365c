//! What happens, as it happens: server-sent events.
//!
//! The id of an event is the position of its record in the log, and stands on the record's last
//! line only: a client that comes again with `Last-Event-ID` misses nothing and gets a record it
//! had in part once more, as a whole.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use copydesk_actors::World;
use copydesk_actors::desk::TokenBook;
use copydesk_core::access::Reach;
use copydesk_proto::PostKey;
use futures::{FutureExt, StreamExt, stream};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{bad, narrowed};
use crate::admin::api::Office;
use crate::admin::caller::{Caller, Wanted};
use crate::admin::{FollowLine, Refusal};

/// How often a quiet stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often a stream asks whether its token has expired; a revocation ends it at once.
const EXPIRY_LOOK: Duration = Duration::from_secs(1);

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// What is followed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Followed {
    /// Only of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub site: Option<String>,
    /// Only of this post, `site/post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}/([1-9][0-9]{0,17}|x[a-z2-7]{25}[aeimquy4])$")]
    pub post: Option<String>,
    /// Begin after this position in the log; a `Last-Event-ID` goes before it. Without either,
    /// from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// What happens, as it happens, until either side goes: `text/event-stream`, each event with the
/// kind of what happened, a `FollowLine` as its data, and the position in the log as its id. Ten
/// streams for each token; ends when the token does.
#[utoipa::path(get, path = "/events/stream", operation_id = "follow_events", tag = "events",
    params(Followed, ("Last-Event-ID" = Option<u64>, Header, description = "Go on after this id")),
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = FollowLine)))]
async fn follow(
    State(office): State<Office>,
    caller: Caller,
    headers: HeaderMap,
    Wanted(Followed { site, post, after }): Wanted<Followed>,
) -> Result<Response, Refusal> {
    let post: Option<PostKey> = post.map(|post| post.parse()).transpose().map_err(bad)?;
    let reach = narrowed(&caller.reach, site)?;
    let after = last_event_id(&headers)?.or(after);
    let place = office.pace.stream(&caller.id)?;
    let events = office
        .desk
        .follow(after)
        .await?
        .flat_map(move |record| stream::iter(events(record, &reach, post.as_ref())))
        .take_until(ended(Arc::clone(&office.book), caller.id).boxed())
        .take_until(async move { office.drain.begun().await }.boxed())
        .map(move |event| {
            let _held_while_streaming = &place;
            Ok::<_, Infallible>(event)
        });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let id = id.to_str().ok().and_then(|id| id.parse().ok());
    id.map(Some).ok_or_else(|| Refusal::bad("Last-Event-ID is the id of an event of this stream"))
}

fn events(record: Vec<FollowLine>, reach: &Reach, post: Option<&PostKey>) -> Vec<Event> {
    let wanted = |line: &FollowLine| {
        let key: Result<PostKey, _> = line.post.parse();
        key.is_ok_and(|key| reach.has_post(&key) && post.is_none_or(|post| *post == key))
    };
    let lines: Vec<FollowLine> = record.into_iter().filter(wanted).collect();
    let last = lines.len().saturating_sub(1);
    lines
        .iter()
        .enumerate()
        .filter_map(|(place, line)| {
            let event = Event::default().event(&line.line.kind).json_data(line).ok()?;
            let id = line.line.position.to_string();
            Some(if place == last { event.id(id) } else { event })
        })
        .collect()
}

/// Returns when the token is revoked or expires.
pub(super) async fn ended(book: Arc<TokenBook>, id: String) {
    let mut changes = book.changes();
    let live = || book.look(|tokens| tokens.get(&id).is_some_and(|t| t.is_live(World::now())));
    while live() {
        let _either = tokio::time::timeout(EXPIRY_LOOK, changes.changed()).await;
    }
}
