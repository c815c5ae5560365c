//! Money: the budgets, and what AI calls cost.

use axum::Json;
use axum::extract::State;
use copydesk_actors::ledger::{CostFilter, CostKey};
use copydesk_core::budget::BudgetName;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ActRequest, Answer, PostPath, Rows, bad, narrowed};
use crate::admin::api::Office;
use crate::admin::caller::{At, Caller, Told, Wanted};
use crate::admin::{BudgetRow, CapsOrder, CostRow, DeskError, Refusal};

/// The most that a cap may be: a million dollars. A larger one is a slip of the finger.
const CAP_MAX: u64 = 1_000_000_000_000;

/// What rows are told by when nothing is said.
const BY: [CostKey; 3] = [CostKey::Site, CostKey::Provider, CostKey::Model];

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new()
        .routes(routes!(budgets, set_caps))
        .routes(routes!(costs))
        .routes(routes!(post_costs))
}

/// How the budgets stand. One without a cap counts what is spent.
#[utoipa::path(get, path = "/budgets", operation_id = "list_budgets", tag = "money",
    responses((status = 200, description = "By name", body = Rows<BudgetRow>)))]
async fn budgets(State(office): State<Office>) -> Answer<Rows<BudgetRow>> {
    Ok(Json(office.desk.budgets().await?.into()))
}

/// Other caps, in millionths of a dollar. One that is left out is no limit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CapsRequest {
    /// `provider:main` or `site:news`.
    #[schema(pattern = "^(provider|site):[a-z0-9][a-z0-9_-]{0,31}$")]
    pub budget: String,
    /// The most that a day (UTC) may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000_000_000u64)]
    pub day_cap: Option<u64>,
    /// The most that a calendar month may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000_000_000u64)]
    pub month_cap: Option<u64>,
    /// Give the configuration's caps back; the two above are left out then.
    #[serde(default)]
    pub configured: bool,
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

/// Sets a budget's caps in place of the configuration's; work that was held for money looks again.
#[utoipa::path(post, path = "/budgets", operation_id = "set_caps", tag = "money",
    request_body = CapsRequest,
    responses((status = 200, description = "How it stands now", body = BudgetRow)))]
async fn set_caps(
    State(office): State<Office>,
    caller: Caller,
    Told(request): Told<CapsRequest>,
) -> Answer<BudgetRow> {
    let CapsRequest { budget, day_cap, month_cap, configured, by, reason } = request;
    let budget: BudgetName = budget.parse().map_err(bad)?;
    if day_cap.max(month_cap).is_some_and(|cap| cap > CAP_MAX) {
        return Err(Refusal::bad("a cap is at most 1000000000000"));
    }
    let order = match (configured, day_cap, month_cap) {
        (true, None, None) => CapsOrder::Configured,
        (false, day, month) => CapsOrder::Set { day, month },
        (true, _, _) => {
            let why = "configured goes without day_cap and month_cap".to_owned();
            return Err(DeskError::Refused(why).into());
        }
    };
    let act = caller.sign(ActRequest { by, reason })?;
    Ok(Json(office.desk.set_caps(budget, order, act).await?))
}

/// Which costs a list shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CostList {
    /// From this day (UTC) on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = Date)]
    pub since: Option<String>,
    /// Before this day (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = Date)]
    pub until: Option<String>,
    /// Only of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub site: Option<String>,
    /// Only of this provider.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<32, _>"
    )]
    #[param(max_length = 32)]
    pub provider: Option<String>,
    /// Only for this field.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<100, _>"
    )]
    #[param(max_length = 100)]
    pub field: Option<String>,
    /// Only of this model.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<100, _>"
    )]
    #[param(max_length = 100)]
    pub model: Option<String>,
    /// What the rows are told by, with commas between: day, site, provider, enrichment, field,
    /// model. Left out: site, provider and model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(
        pattern = "^(day|site|provider|enrichment|field|model)(,(day|site|provider|enrichment|field|model)){0,5}$"
    )]
    pub by: Option<String>,
}

/// What AI calls cost, for about the last hundred days.
#[utoipa::path(get, path = "/costs", operation_id = "list_costs", tag = "money",
    params(CostList),
    responses((status = 200, description = "Sums by what was asked for", body = Rows<CostRow>)))]
async fn costs(
    State(office): State<Office>,
    caller: Caller,
    Wanted(list): Wanted<CostList>,
) -> Answer<Rows<CostRow>> {
    let CostList { since, until, site, provider, field, model, by } = list;
    let reach = narrowed(&caller.reach, site)?;
    let by = match by {
        None => BY.to_vec(),
        Some(by) => by.split(',').map(key).collect::<Result<_, _>>()?,
    };
    let filter = CostFilter {
        since_day: since.as_deref().map(day).transpose()?,
        until_day: until.as_deref().map(day).transpose()?,
        site: None,
        provider,
        field,
        model,
    };
    Ok(Json(office.desk.costs(filter, reach, by).await?.into()))
}

/// What AI calls for one post cost, as far as its history is kept.
#[utoipa::path(get, path = "/posts/{site}/{post}/costs", operation_id = "show_post_costs",
    tag = "money", params(PostPath),
    responses((status = 200, description = "By day, provider, enrichment and model", body = Rows<CostRow>)))]
async fn post_costs(State(office): State<Office>, At(path): At<PostPath>) -> Answer<Rows<CostRow>> {
    Ok(Json(office.desk.post_costs(path.key()?).await?.into()))
}

fn key(name: &str) -> Result<CostKey, Refusal> {
    Ok(match name {
        "day" => CostKey::Day,
        "site" => CostKey::Site,
        "provider" => CostKey::Provider,
        "enrichment" => CostKey::Enrichment,
        "field" => CostKey::Field,
        "model" => CostKey::Model,
        _ => return Err(Refusal::bad("by takes day, site, provider, enrichment, field and model")),
    })
}

/// Days since 1970.
fn day(text: &str) -> Result<i32, Refusal> {
    let date: jiff::civil::Date =
        text.parse().map_err(|_| Refusal::bad("a day is written 2026-11-25"))?;
    let epoch = jiff::civil::date(1970, 1, 1);
    let days = epoch.until((jiff::Unit::Day, date)).map_err(bad)?.get_days();
    Ok(days)
}
