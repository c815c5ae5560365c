//! The ways of events as trees with times, from the log.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Answer, PostPath, Rows};
use crate::admin::api::Office;
use crate::admin::caller::{At, Caller};
use crate::admin::{TraceOf, TraceRow};

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new().routes(routes!(event_trace)).routes(routes!(post_traces))
}

/// The way of one event, by the id its sender was told.
#[utoipa::path(get, path = "/traces/{event_id}", operation_id = "show_trace", tag = "events",
    params(("event_id" = String, Path, description = "The id its sender was told")),
    responses((status = 200, description = "One row", body = Rows<TraceRow>)))]
async fn event_trace(
    State(office): State<Office>,
    caller: Caller,
    At(event_id): At<String>,
) -> Answer<Rows<TraceRow>> {
    let rows = office.desk.traces(TraceOf::Event(event_id)).await?;
    rows.iter().try_for_each(|trace| caller.see_post(&trace.post))?;
    Ok(Json(rows.into_iter().map(TraceRow::from).collect::<Vec<_>>().into()))
}

/// The ways of a post's newest events, oldest first.
#[utoipa::path(get, path = "/traces/{site}/{post}", operation_id = "list_traces", tag = "posts",
    params(PostPath),
    responses((status = 200, description = "At most 20", body = Rows<TraceRow>)))]
async fn post_traces(
    State(office): State<Office>,
    At(path): At<PostPath>,
) -> Answer<Rows<TraceRow>> {
    let rows = office.desk.traces(TraceOf::Post(path.key()?)).await?;
    Ok(Json(rows.into_iter().map(TraceRow::from).collect::<Vec<_>>().into()))
}
