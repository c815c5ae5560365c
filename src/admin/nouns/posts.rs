//! Posts, and the journey of each.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Answer, Part, PostPath, Rows};
use crate::admin::api::Office;
use crate::admin::caller::{At, Caller, Wanted};
use crate::admin::{AttemptRow, Filter, PostRow, PostView};

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new().routes(routes!(posts)).routes(routes!(post)).routes(routes!(attempts))
}

/// Which posts a list shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PostList {
    /// Only of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub site: Option<String>,
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

/// The posts that something happened to last.
#[utoipa::path(get, path = "/posts", operation_id = "list_posts", tag = "posts",
    params(PostList),
    responses((status = 200, description = "Last touched first", body = Rows<PostRow>)))]
async fn posts(
    State(office): State<Office>,
    caller: Caller,
    Wanted(list): Wanted<PostList>,
) -> Answer<Rows<PostRow>> {
    let PostList { site, state, cursor, limit } = list;
    let filter = Part { site, cursor, limit }.filter(&caller)?;
    Ok(Json(office.desk.posts(Filter { state, ..filter }).await?.into()))
}

/// One post and its journey.
#[utoipa::path(get, path = "/posts/{site}/{post}", operation_id = "show_post", tag = "posts",
    params(PostPath),
    responses((status = 200, description = "The post", body = PostView)))]
async fn post(State(office): State<Office>, At(path): At<PostPath>) -> Answer<PostView> {
    Ok(Json(office.desk.post(path.key()?).await?))
}

/// Every reading, AI call and write of a post, oldest first, as far as its history is kept: at most
/// the newest 1,000. What the other side said may repeat the post's text.
#[utoipa::path(get, path = "/posts/{site}/{post}/attempts", operation_id = "list_attempts",
    tag = "posts", params(PostPath),
    responses((status = 200, description = "The attempts", body = Rows<AttemptRow>)))]
async fn attempts(
    State(office): State<Office>,
    At(path): At<PostPath>,
) -> Answer<Rows<AttemptRow>> {
    Ok(Json(office.desk.attempts(path.key()?).await?.into()))
}
