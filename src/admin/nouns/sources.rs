//! Sources: who may send, and which of their secrets are in use.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Answer, Rows};
use crate::admin::SourceRow;
use crate::admin::api::Office;
use crate::admin::caller::Caller;

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new().routes(routes!(sources))
}

/// The sources, each with its secrets by id and when each last proved a webhook. No secret is
/// shown, nor where one is kept.
#[utoipa::path(get, path = "/sources", operation_id = "list_sources", tag = "look",
    responses((status = 200, description = "By name", body = Rows<SourceRow>)))]
async fn sources(State(office): State<Office>, caller: Caller) -> Answer<Rows<SourceRow>> {
    let mut rows = office.desk.sources().await?;
    rows.retain(|row| row.site.parse().is_ok_and(|site| caller.reach.has(&site)));
    Ok(Json(rows.into()))
}
