//! Jobs: one verb on everything that a filter means, in the background.

use axum::Json;
use axum::extract::State;
use copydesk_core::access::{Reach, Role};
use copydesk_proto::{PostKey, SiteId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ActRequest, Answer, Rows, bad};
use crate::admin::api::Office;
use crate::admin::caller::{At, Caller, Told, Wanted};
use crate::admin::{JobPlanRow, JobResultRow, JobRow, JobTurn, Refusal};

/// The verb that takes the role admin.
const ERASE: &str = "erase";

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new()
        .routes(routes!(jobs, start))
        .routes(routes!(plan))
        .routes(routes!(job))
        .routes(routes!(results))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancel))
}

/// Which posts and dead letters a job means. What is left out wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobFilter {
    /// Only of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub site: Option<String>,
    /// Only this post, `site/post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}/([1-9][0-9]{0,17}|x[a-z2-7]{25}[aeimquy4])$")]
    pub post: Option<String>,
    /// Only of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub source: Option<String>,
    /// Only what took this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub route: Option<String>,
    /// Only dead letters with this code.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<64, _>"
    )]
    #[schema(max_length = 64)]
    pub code: Option<String>,
    /// Only posts of which a stored webhook names this author: WordPress's user id, or the name of
    /// a comment's author. For `replay`, `replay-force` and `erase`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<200, _>"
    )]
    #[schema(max_length = 200)]
    pub author: Option<String>,
    /// Only what died, or was received last, at this time or later: milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// Only what died, or was received last, before this time: milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

/// What a job is to do, and to what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobOrder {
    /// `retry` or `drop` dead letters, `replay` posts (`replay-force`: and ask AI services anew),
    /// `drop-waiting` or `erase`.
    #[schema(pattern = "^(retry|drop|replay|replay-force|drop-waiting|erase)$")]
    pub verb: String,
    /// To what.
    #[serde(deserialize_with = "super::object")]
    pub filter: JobFilter,
}

/// An order, by whom and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// `retry` or `drop` dead letters, `replay` posts (`replay-force`: and ask AI services anew),
    /// `drop-waiting` or `erase`.
    #[schema(pattern = "^(retry|drop|replay|replay-force|drop-waiting|erase)$")]
    pub verb: String,
    /// To what.
    #[serde(deserialize_with = "super::object")]
    pub filter: JobFilter,
    /// The person behind the token; recorded beside the token's name.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<100, _>"
    )]
    #[schema(max_length = 100)]
    pub by: Option<String>,
    /// Why, for whoever finds it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<200, _>"
    )]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// Which part of a job's results is shown.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobResultList {
    /// The `next` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")]
    pub cursor: Option<String>,
}

/// Narrows an order to what the caller reaches: one site must be named, unless there is one only.
fn narrow(caller: &Caller, mut order: JobOrder) -> Result<JobOrder, Refusal> {
    let Reach::Sites(sites) = &caller.reach else { return Ok(order) };
    if let Some(post) = &order.filter.post {
        caller.see_post(post)?;
        return Ok(order);
    }
    match (&order.filter.site, sites.iter().next()) {
        (Some(site), _) => {
            let site: SiteId = site.parse().map_err(bad)?;
            caller.see(&site)?;
        }
        (None, Some(only)) if sites.len() == 1 => order.filter.site = Some(only.to_string()),
        (None, _) => return Err(Refusal::bad("filter: name the site; the token reaches several")),
    }
    Ok(order)
}

/// Whether the caller reaches all that a job may touch.
fn reaches(caller: &Caller, filter: &JobFilter) -> bool {
    let of_post = filter.post.as_ref().and_then(|post| post.parse::<PostKey>().ok());
    let site = of_post.map(|key| key.site);
    let site = site.or_else(|| filter.site.as_ref().and_then(|site| site.parse().ok()));
    match (&caller.reach, site) {
        (Reach::Desk, _) => true,
        (Reach::Sites(_), Some(site)) => caller.reach.has(&site),
        (Reach::Sites(_), None) => false,
    }
}

async fn seen(office: &Office, caller: &Caller, id: String) -> Result<JobRow, Refusal> {
    let job = office.desk.job(id).await?;
    if reaches(caller, &job.filter) { Ok(job) } else { Err(Refusal::not_found()) }
}

/// The jobs, with those that have ended.
#[utoipa::path(get, path = "/jobs", operation_id = "list_jobs", tag = "jobs",
    responses((status = 200, description = "Newest first", body = Rows<JobRow>)))]
async fn jobs(State(office): State<Office>, caller: Caller) -> Answer<Rows<JobRow>> {
    let mut rows = office.desk.jobs().await?;
    rows.retain(|job| reaches(&caller, &job.filter));
    Ok(Json(rows.into()))
}

/// Erasing cannot be undone, whoever may start other jobs.
fn may(caller: &Caller, verb: &str) -> Result<(), Refusal> {
    if verb == ERASE && caller.role < Role::Admin {
        return Err(Refusal::needs(Role::Admin.as_str()));
    }
    Ok(())
}

/// What a job would do: changes nothing.
#[utoipa::path(post, path = "/jobs/plan", operation_id = "plan_job", tag = "jobs",
    request_body = JobOrder,
    responses((status = 200, description = "How much it would be", body = JobPlanRow)))]
async fn plan(
    State(office): State<Office>,
    caller: Caller,
    Told(order): Told<JobOrder>,
) -> Answer<JobPlanRow> {
    Ok(Json(office.desk.plan_job(narrow(&caller, order)?).await?))
}

/// Starts a job. It goes on by itself, over restarts too.
#[utoipa::path(post, path = "/jobs", operation_id = "start_job", tag = "jobs",
    request_body = JobRequest,
    responses((status = 202, description = "It is at work", body = JobRow)))]
async fn start(
    State(office): State<Office>,
    caller: Caller,
    Told(JobRequest { verb, filter, by, reason }): Told<JobRequest>,
) -> Result<(StatusCode, Json<JobRow>), Refusal> {
    may(&caller, &verb)?;
    let act = caller.sign(ActRequest { by, reason })?;
    let order = narrow(&caller, JobOrder { verb, filter })?;
    Ok((StatusCode::ACCEPTED, Json(office.desk.start_job(order, act).await?)))
}

/// One job and how far it is.
#[utoipa::path(get, path = "/jobs/{job}", operation_id = "show_job", tag = "jobs",
    params(("job" = String, Path, description = "Its id", pattern = "^[0-9a-f]{32}$")),
    responses((status = 200, description = "The job", body = JobRow)))]
async fn job(State(office): State<Office>, caller: Caller, At(id): At<String>) -> Answer<JobRow> {
    Ok(Json(seen(&office, &caller, id).await?))
}

/// What became of each target so far, in the order it was done.
#[utoipa::path(get, path = "/jobs/{job}/results", operation_id = "list_job_results", tag = "jobs",
    params(("job" = String, Path, description = "Its id", pattern = "^[0-9a-f]{32}$"), JobResultList),
    responses((status = 200, description = "A part of the results", body = Rows<JobResultRow>)))]
async fn results(
    State(office): State<Office>,
    caller: Caller,
    At(id): At<String>,
    Wanted(JobResultList { cursor }): Wanted<JobResultList>,
) -> Answer<Rows<JobResultRow>> {
    let cursor = cursor.map(|cursor| cursor.parse()).transpose().map_err(bad)?;
    let job = seen(&office, &caller, id).await?;
    Ok(Json(office.desk.job_results(job.id, cursor).await?.into()))
}

async fn turn(
    office: Office,
    caller: Caller,
    id: String,
    turn: JobTurn,
    act: ActRequest,
) -> Answer<JobRow> {
    let job = seen(&office, &caller, id).await?;
    Ok(Json(office.desk.turn_job(job.id, turn, caller.sign(act)?).await?))
}

/// Pauses a job behind the posts at work.
#[utoipa::path(post, path = "/jobs/{job}/pause", operation_id = "pause_job", tag = "jobs",
    params(("job" = String, Path, description = "Its id", pattern = "^[0-9a-f]{32}$")),
    request_body = ActRequest,
    responses((status = 200, description = "It waits", body = JobRow)))]
async fn pause(
    State(office): State<Office>,
    caller: Caller,
    At(id): At<String>,
    Told(act): Told<ActRequest>,
) -> Answer<JobRow> {
    turn(office, caller, id, JobTurn::Pause, act).await
}

/// Lets a paused job go on.
#[utoipa::path(post, path = "/jobs/{job}/resume", operation_id = "resume_job", tag = "jobs",
    params(("job" = String, Path, description = "Its id", pattern = "^[0-9a-f]{32}$")),
    request_body = ActRequest,
    responses((status = 200, description = "It is at work", body = JobRow)))]
async fn resume(
    State(office): State<Office>,
    caller: Caller,
    At(id): At<String>,
    Told(act): Told<ActRequest>,
) -> Answer<JobRow> {
    turn(office, caller, id, JobTurn::Resume, act).await
}

/// Ends a job early; what is done stays done.
#[utoipa::path(post, path = "/jobs/{job}/cancel", operation_id = "cancel_job", tag = "jobs",
    params(("job" = String, Path, description = "Its id", pattern = "^[0-9a-f]{32}$")),
    request_body = ActRequest,
    responses((status = 200, description = "It has ended", body = JobRow)))]
async fn cancel(
    State(office): State<Office>,
    caller: Caller,
    At(id): At<String>,
    Told(act): Told<ActRequest>,
) -> Answer<JobRow> {
    turn(office, caller, id, JobTurn::Cancel, act).await
}
