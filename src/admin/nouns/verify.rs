//! The check of the whole log.

use axum::Json;
use axum::extract::State;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answer;
use crate::admin::api::Office;
use crate::admin::{Refusal, VerifyReport};

/// Checks at once: one reads as fast as the disk.
static ONE: Semaphore = Semaphore::const_new(1);

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new().routes(routes!(verify))
}

/// Reads the whole log and checks the promises. Takes minutes for a large log.
#[utoipa::path(post, path = "/verify", operation_id = "verify", tag = "look",
    responses((status = 200, description = "What was found", body = VerifyReport)))]
async fn verify(State(office): State<Office>) -> Answer<VerifyReport> {
    let _one = ONE.try_acquire().map_err(|_| Refusal::busy("the log is being checked", 10_000))?;
    Ok(Json(office.desk.verify().await?))
}
