//! Events: webhooks that were taken in, and what became of them.

use std::time::Duration;

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use copydesk_core::limits::BODY_BYTES_MAX;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ActRequest, Answer, Part, Rows, bad};
use crate::admin::api::Office;
use crate::admin::caller::{At, Caller, Told, Wanted};
use crate::admin::{EventOrder, EventRow, Filter, Refusal, SentRow};

/// Longest wait for the end of an event, in seconds: an AI call and its retries. What takes longer
/// is looked at later.
const WAIT_S_MAX: u64 = 60;

/// Largest request, in bytes: the largest event, and what stands around it.
const SEND_BYTES_MAX: usize = BODY_BYTES_MAX + 4 * 1024;

pub(super) fn routes() -> OpenApiRouter<Office> {
    let sending = OpenApiRouter::new()
        .routes(routes!(events, send))
        .layer(DefaultBodyLimit::max(SEND_BYTES_MAX));
    OpenApiRouter::new().merge(sending).routes(routes!(event))
}

/// An event of one's own.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventRequest {
    /// The source it belongs to; one with `scheme = "api"`.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub source: String,
    /// What happened, as a webhook of this source would say it: `event`, `post_id`, …
    #[schema(value_type = Object)]
    pub event: Map<String, Value>,
    /// Seconds to wait for its end; 0 when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 60)]
    pub wait_s: Option<u64>,
    /// The person behind the token; recorded beside the token's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub by: Option<String>,
}

/// Sends an event of one's own. It is durable when answered: 202, or 200 when it has ended within
/// the wait. With an `idempotency_key` in it, a repeat has no effect and is answered with the first.
#[utoipa::path(post, path = "/events", operation_id = "send_event", tag = "events",
    request_body = EventRequest,
    responses((status = 200, description = "It has ended", body = SentRow),
        (status = 202, description = "It is taken in", body = SentRow)))]
async fn send(
    State(office): State<Office>,
    caller: Caller,
    Told(EventRequest { source, event, wait_s, by }): Told<EventRequest>,
) -> Result<(StatusCode, Json<SentRow>), Refusal> {
    let wait_s = wait_s.unwrap_or_default();
    if wait_s > WAIT_S_MAX {
        return Err(Refusal::bad(format!("wait_s must be 0 to {WAIT_S_MAX}")));
    }
    // Who waits looks at the log again and again, as a stream does.
    let _place = (wait_s > 0).then(|| office.pace.stream(&caller.id)).transpose()?;
    let order = EventOrder {
        source: source.parse().map_err(bad)?,
        body: serde_json::to_vec(&event).map_err(bad)?.into(),
        wait: Duration::from_secs(wait_s),
        by: caller.sign(ActRequest { by, reason: None })?.by,
        reach: caller.reach,
    };
    let row = office.desk.send_event(order).await?;
    let status = if row.ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(row)))
}

/// Which events a list shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventList {
    /// Only of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub site: Option<String>,
    /// Only of this post, `site/post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}/([1-9][0-9]{0,17}|x[a-z2-7]{25}[aeimquy4])$")]
    pub post: Option<String>,
    /// Only in this state.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<64, _>"
    )]
    #[param(max_length = 64)]
    pub state: Option<String>,
    /// The `next` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")]
    pub cursor: Option<String>,
    /// At most so many rows; 50 when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<usize>,
}

/// The newest events. A part may have no rows and still a next one: each look goes through a
/// million records at most.
#[utoipa::path(get, path = "/events", operation_id = "list_events", tag = "events",
    params(EventList),
    responses((status = 200, description = "Newest first", body = Rows<EventRow>)))]
async fn events(
    State(office): State<Office>,
    caller: Caller,
    Wanted(list): Wanted<EventList>,
) -> Answer<Rows<EventRow>> {
    let EventList { site, post, state, cursor, limit } = list;
    let post = post.map(|post| post.parse()).transpose().map_err(bad)?;
    let filter = Part { site, cursor, limit }.filter(&caller)?;
    Ok(Json(office.desk.events(Filter { post, state, ..filter }).await?.into()))
}

/// One event, by the id that its sender was told.
#[utoipa::path(get, path = "/events/{event_id}", operation_id = "show_event", tag = "events",
    params(("event_id" = String, Path, description = "As the sender was told")),
    responses((status = 200, description = "The event", body = EventRow)))]
async fn event(
    State(office): State<Office>,
    caller: Caller,
    At(event_id): At<String>,
) -> Answer<EventRow> {
    let row = office.desk.event(event_id).await?;
    caller.see_post(&row.post)?;
    Ok(Json(row))
}
