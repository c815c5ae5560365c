//! Holds: what is taken in and not worked on.

use axum::Json;
use axum::extract::State;
use copydesk_core::access::Reach;
use copydesk_core::holds::HoldScope;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ActRequest, Answer, DONE, Done, Rows, bad, narrowed};
use crate::admin::api::Office;
use crate::admin::caller::{Caller, Told, Wanted};
use crate::admin::{HoldRow, Refusal};

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new().routes(routes!(holds, hold)).routes(routes!(release))
}

/// Which holds a list shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HoldList {
    /// Only of this site and its posts, with those that hold everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub site: Option<String>,
}

/// What is held or released.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// `all`, `site:news`, `source:news`, `provider:main`, `enrichment:summary`, `route:r1` or
    /// `post:news/42`.
    #[schema(
        pattern = "^(all|(site|source|provider|enrichment|route):[a-z0-9][a-z0-9_-]{0,31}|post:[a-z0-9][a-z0-9_-]{0,31}/([1-9][0-9]{0,17}|x[a-z2-7]{25}[aeimquy4]))$"
    )]
    pub scope: String,
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

/// The site that a scope lies in; `None` when it lies in none.
fn reaches(reach: &Reach, scope: &HoldScope) -> Option<bool> {
    match scope {
        HoldScope::Site(site) => Some(reach.has(site)),
        HoldScope::Post(post) => Some(reach.has_post(post)),
        HoldScope::All
        | HoldScope::Deliveries
        | HoldScope::Source(_)
        | HoldScope::Provider(_)
        | HoldScope::Enrichment(_)
        | HoldScope::Route(_)
        | HoldScope::Subscriber(_) => None,
    }
}

fn may_change(caller: &Caller, scope: &str) -> Result<HoldScope, Refusal> {
    let scope = scope.parse().map_err(bad)?;
    match reaches(&caller.reach, &scope) {
        Some(true) => {}
        Some(false) => return Err(Refusal::not_found()),
        None => caller.see_desk()?,
    }
    Ok(scope)
}

/// What is held.
#[utoipa::path(get, path = "/holds", operation_id = "list_holds", tag = "holds",
    params(HoldList),
    responses((status = 200, description = "By scope", body = Rows<HoldRow>)))]
async fn holds(
    State(office): State<Office>,
    caller: Caller,
    Wanted(HoldList { site }): Wanted<HoldList>,
) -> Answer<Rows<HoldRow>> {
    let reach = narrowed(&caller.reach, site)?;
    let mut rows = office.desk.holds().await?;
    rows.retain(|row| match row.scope.parse::<HoldScope>() {
        // A hold on everything is on the caller's sites too.
        Ok(HoldScope::All) => true,
        Ok(scope) => reaches(&reach, &scope).unwrap_or(reach == Reach::Desk),
        Err(_) => reach == Reach::Desk,
    });
    Ok(Json(rows.into()))
}

/// Holds a scope: webhooks are taken in, nothing of it goes on. A hold that is there stands.
#[utoipa::path(post, path = "/holds", operation_id = "hold", tag = "holds",
    request_body = HoldRequest,
    responses((status = 200, description = "The hold in force", body = HoldRow)))]
async fn hold(
    State(office): State<Office>,
    caller: Caller,
    Told(HoldRequest { scope, by, reason }): Told<HoldRequest>,
) -> Answer<HoldRow> {
    let scope = may_change(&caller, &scope)?;
    let act = caller.sign(ActRequest { by, reason })?;
    Ok(Json(office.desk.hold(scope, act).await?))
}

/// Releases a scope: what waited goes on, in order.
#[utoipa::path(post, path = "/holds/release", operation_id = "release", tag = "holds",
    request_body = HoldRequest,
    responses((status = 200, description = "It goes on", body = Done)))]
async fn release(
    State(office): State<Office>,
    caller: Caller,
    Told(HoldRequest { scope, by, reason }): Told<HoldRequest>,
) -> Answer<Done> {
    let scope = may_change(&caller, &scope)?;
    let act = caller.sign(ActRequest { by, reason })?;
    office.desk.release(scope, act).await?;
    Ok(DONE)
}
