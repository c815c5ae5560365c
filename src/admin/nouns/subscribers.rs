//! Subscribers: who is told how events end.

use axum::Json;
use axum::extract::State;
use copydesk_actors::World;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ActRequest, Answer, DONE, Done, Rows};
use crate::admin::api::Office;
use crate::admin::caller::{At, Caller, Told};
use crate::admin::{
    DeskError, NewSubscriber, NoticeAttemptRow, Refusal, ReplayOrder, SubscriberRequest,
    SubscriberRow, SubscriberTurn, SubscriberView,
};

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new()
        .routes(routes!(subscribers, add))
        .routes(routes!(subscriber))
        .routes(routes!(test))
        .routes(routes!(replay))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .routes(routes!(rotate))
        .routes(routes!(remove))
}

/// The subscribers of the configuration and those that were added.
#[utoipa::path(get, path = "/subscribers", operation_id = "list_subscribers", tag = "subscribers",
    responses((status = 200, description = "By name", body = Rows<SubscriberRow>)))]
async fn subscribers(State(office): State<Office>) -> Answer<Rows<SubscriberRow>> {
    let views = office.desk.subscribers().await?;
    Ok(Json(views.into_iter().map(|view| view.row).collect::<Vec<_>>().into()))
}

/// Adds a subscriber. Its secret is shown this once.
#[utoipa::path(post, path = "/subscribers", operation_id = "add_subscriber", tag = "subscribers",
    request_body = SubscriberRequest,
    responses((status = 201, description = "It is told from now on", body = NewSubscriber)))]
async fn add(
    State(office): State<Office>,
    caller: Caller,
    Told(request): Told<SubscriberRequest>,
) -> Result<(StatusCode, Json<NewSubscriber>), Refusal> {
    let (by, reason) = (request.by.clone(), request.reason.clone());
    let act = caller.sign(ActRequest { by, reason })?;
    let new = office.desk.add_subscriber(request, act).await?;
    Ok((StatusCode::CREATED, Json(new)))
}

/// One subscriber and its last attempts.
#[utoipa::path(get, path = "/subscribers/{subscriber}", operation_id = "show_subscriber",
    tag = "subscribers", params(("subscriber" = String, Path, description = "Its name", pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")),
    responses((status = 200, description = "The subscriber", body = SubscriberView)))]
async fn subscriber(State(office): State<Office>, At(id): At<String>) -> Answer<SubscriberView> {
    let views = office.desk.subscribers().await?;
    let view = views.into_iter().find(|view| view.row.name == id);
    Ok(Json(view.ok_or_else(Refusal::not_found)?))
}

/// Sends a test notice (`copydesk.test`), once. What the other side says is not shown.
#[utoipa::path(post, path = "/subscribers/{subscriber}/test", operation_id = "test_subscriber",
    tag = "subscribers", params(("subscriber" = String, Path, description = "Its name", pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")),
    request_body = ActRequest,
    responses((status = 200, description = "What came of it", body = NoticeAttemptRow)))]
async fn test(
    State(office): State<Office>,
    caller: Caller,
    At(id): At<String>,
    Told(act): Told<ActRequest>,
) -> Answer<NoticeAttemptRow> {
    let _signed = caller.sign(act)?;
    Ok(Json(office.desk.ping_subscriber(id).await?))
}

/// Notices of a time.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Milliseconds since 1970: not before.
    #[schema(minimum = 0)]
    pub since: i64,
    /// Before; until now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub until: Option<i64>,
    /// The person behind the token; recorded beside the token's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub by: Option<String>,
    /// Why, for whoever finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// Notices that are on their way once more.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// How many.
    pub notices: u64,
}

/// Sends the notices of a time once more, each under its id; at most 10,000.
#[utoipa::path(post, path = "/subscribers/{subscriber}/replay", operation_id = "replay_notices",
    tag = "subscribers", params(("subscriber" = String, Path, description = "Its name", pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")),
    request_body = ReplayRequest,
    responses((status = 200, description = "They are on their way", body = Replayed)))]
async fn replay(
    State(office): State<Office>,
    caller: Caller,
    At(id): At<String>,
    Told(request): Told<ReplayRequest>,
) -> Answer<Replayed> {
    let ReplayRequest { since, until, by, reason } = request;
    let act = caller.sign(ActRequest { by, reason })?;
    let until = until.unwrap_or_else(|| World::now().0);
    if since < 0 || until < since {
        let why = "since is a time before until, both in milliseconds since 1970".to_owned();
        return Err(DeskError::Refused(why).into());
    }
    let notices = office.desk.replay_notices(id, ReplayOrder { since, until }, act).await?;
    Ok(Json(Replayed { notices }))
}

/// Tells it again. What was owed before it was disabled goes on, in order.
#[utoipa::path(post, path = "/subscribers/{subscriber}/enable", operation_id = "enable_subscriber",
    tag = "subscribers", params(("subscriber" = String, Path, description = "Its name", pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")),
    request_body = ActRequest,
    responses((status = 200, description = "It is told", body = Done)))]
async fn enable(
    office: State<Office>,
    caller: Caller,
    id: At<String>,
    act: Told<ActRequest>,
) -> Answer<Done> {
    turn(office, caller, id, act, SubscriberTurn::Enable).await
}

/// Tells it nothing more, and keeps nothing for it. What is owed by now waits.
#[utoipa::path(post, path = "/subscribers/{subscriber}/disable", operation_id = "disable_subscriber",
    tag = "subscribers", params(("subscriber" = String, Path, description = "Its name", pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")),
    request_body = ActRequest,
    responses((status = 200, description = "It is not told", body = Done)))]
async fn disable(
    office: State<Office>,
    caller: Caller,
    id: At<String>,
    act: Told<ActRequest>,
) -> Answer<Done> {
    turn(office, caller, id, act, SubscriberTurn::Disable).await
}

/// Gives one that was added a new secret, shown this once. The old one signs, too, for a day.
#[utoipa::path(post, path = "/subscribers/{subscriber}/rotate", operation_id = "rotate_subscriber",
    tag = "subscribers", params(("subscriber" = String, Path, description = "Its name", pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")),
    request_body = ActRequest,
    responses((status = 200, description = "The secret", body = NewSubscriber)))]
async fn rotate(
    State(office): State<Office>,
    caller: Caller,
    At(id): At<String>,
    Told(act): Told<ActRequest>,
) -> Answer<NewSubscriber> {
    let act = caller.sign(act)?;
    let secret = office.desk.rotate_subscriber(id, act).await?;
    Ok(Json(NewSubscriber { secret, row: None }))
}

/// Forgets one that was added. What waits for it is dropped.
#[utoipa::path(post, path = "/subscribers/{subscriber}/remove", operation_id = "remove_subscriber",
    tag = "subscribers", params(("subscriber" = String, Path, description = "Its name", pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")),
    request_body = ActRequest,
    responses((status = 200, description = "It is gone", body = Done)))]
async fn remove(
    office: State<Office>,
    caller: Caller,
    id: At<String>,
    act: Told<ActRequest>,
) -> Answer<Done> {
    turn(office, caller, id, act, SubscriberTurn::Remove).await
}

async fn turn(
    State(office): State<Office>,
    caller: Caller,
    At(id): At<String>,
    Told(act): Told<ActRequest>,
    turn: SubscriberTurn,
) -> Answer<Done> {
    let act = caller.sign(act)?;
    office.desk.turn_subscriber(id, turn, act).await?;
    Ok(DONE)
}
