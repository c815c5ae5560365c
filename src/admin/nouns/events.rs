//! Events: webhooks that were taken in, and what became of them.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Answer, Part, Rows, bad};
use crate::admin::api::Office;
use crate::admin::caller::{At, Caller, Wanted};
use crate::admin::{EventRow, Filter};

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new().routes(routes!(events)).routes(routes!(event))
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
