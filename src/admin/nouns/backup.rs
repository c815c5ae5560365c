//! The whole log as a file, while the node runs.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, StreamExt};
use http::header::CONTENT_TYPE;
use tokio::sync::Semaphore;
use tracing::info;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::stream::ended;
use crate::admin::Refusal;
use crate::admin::api::Office;
use crate::admin::caller::Caller;

/// Backups at once: one reads as fast as it is taken.
static ONE: Semaphore = Semaphore::const_new(1);

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new().routes(routes!(backup))
}

/// Reads the whole log as one file, as `copydesk restore` takes it. Webhooks are taken meanwhile; a
/// file that breaks off is no backup, and its missing end shows it. It holds what posts say.
#[utoipa::path(get, path = "/backup", operation_id = "backup", tag = "look",
    responses((status = 200, description = "The file", content_type = "application/octet-stream", body = [u8])))]
async fn backup(State(office): State<Office>, caller: Caller) -> Result<Response, Refusal> {
    let one = ONE.try_acquire().map_err(|_| Refusal::busy("a backup is being made", 10_000))?;
    info!(by = %caller.id, "a backup is made");
    let parts = office
        .desk
        .backup()
        .take_until(ended(Arc::clone(&office.book), caller.id).boxed())
        .take_until(async move { office.drain.begun().await }.boxed())
        .map(move |part| {
            let _held_while_streaming = &one;
            part
        });
    Ok(([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(parts)).into_response())
}
