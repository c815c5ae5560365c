//! How the node and what it works with are: status, sites, providers, routes, and who asks.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use copydesk_core::access::Reach;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Answer, Rows};
use crate::admin::api::Office;
use crate::admin::caller::{At, Caller};
use crate::admin::{NodeRow, ProviderRow, Refusal, RouteRow, SiteRow, Status};

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new()
        .routes(routes!(openapi))
        .routes(routes!(me))
        .routes(routes!(status))
        .routes(routes!(nodes))
        .routes(routes!(sites))
        .routes(routes!(site))
        .routes(routes!(providers))
        .routes(routes!(desk_routes))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "look",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
async fn openapi(State(office): State<Office>) -> Response {
    let mut response = office.document.to_string().into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// The token that asks.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
struct Me {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// What it may do.
    role: String,
    /// The sites it reaches; absent for the whole desk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sites: Option<Vec<String>>,
}

/// Who asks, and what that token may do.
#[utoipa::path(get, path = "/me", operation_id = "me", tag = "look",
    responses((status = 200, description = "The token that asks", body = Me)))]
async fn me(caller: Caller) -> Json<Me> {
    let sites = match &caller.reach {
        Reach::Desk => None,
        Reach::Sites(sites) => Some(sites.iter().map(ToString::to_string).collect()),
    };
    Json(Me { id: caller.id, name: caller.name, role: caller.role.to_string(), sites })
}

/// How the node is.
#[utoipa::path(get, path = "/status", operation_id = "status", tag = "look",
    responses((status = 200, description = "How the node is", body = Status)))]
async fn status(State(office): State<Office>) -> Answer<Status> {
    Ok(Json(office.desk.status().await?))
}

/// The nodes that share the log, and what each works on.
#[utoipa::path(get, path = "/nodes", operation_id = "list_nodes", tag = "look",
    responses((status = 200, description = "By name", body = Rows<NodeRow>)))]
async fn nodes(State(office): State<Office>) -> Answer<Rows<NodeRow>> {
    Ok(Json(office.desk.nodes().await?.into()))
}

/// The WordPress sites.
#[utoipa::path(get, path = "/sites", operation_id = "list_sites", tag = "look",
    responses((status = 200, description = "By name", body = Rows<SiteRow>)))]
async fn sites(State(office): State<Office>, caller: Caller) -> Answer<Rows<SiteRow>> {
    let mut rows = office.desk.sites().await?;
    rows.retain(|row| row.site.parse().is_ok_and(|site| caller.reach.has(&site)));
    Ok(Json(rows.into()))
}

/// One WordPress site.
#[utoipa::path(get, path = "/sites/{site}", operation_id = "show_site", tag = "look",
    params(("site" = String, Path, description = "Its name", pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")),
    responses((status = 200, description = "The site", body = SiteRow)))]
async fn site(State(office): State<Office>, At(name): At<String>) -> Answer<SiteRow> {
    let rows = office.desk.sites().await?;
    let row = rows.into_iter().find(|row| row.site == name);
    row.map(Json).ok_or_else(Refusal::not_found)
}

/// The AI services.
#[utoipa::path(get, path = "/providers", operation_id = "list_providers", tag = "look",
    responses((status = 200, description = "By name", body = Rows<ProviderRow>)))]
async fn providers(State(office): State<Office>) -> Answer<Rows<ProviderRow>> {
    Ok(Json(office.desk.providers().await?.into()))
}

/// The routes, in the order they are tried.
#[utoipa::path(get, path = "/routes", operation_id = "list_routes", tag = "look",
    responses((status = 200, description = "In the order they are tried", body = Rows<RouteRow>)))]
async fn desk_routes(State(office): State<Office>, caller: Caller) -> Answer<Rows<RouteRow>> {
    let mut rows = office.desk.routes().await?;
    rows.retain(|row| row.site.parse().is_ok_and(|site| caller.reach.has(&site)));
    Ok(Json(rows.into()))
}
