//! The routes, one file a noun: what is asked, what is answered, and who is told what.

mod dead_letters;
mod events;
mod holds;
mod look;
mod posts;
mod stream;
mod tokens;
mod verify;

pub use dead_letters::DeadLetterList;
pub use events::EventList;
pub use holds::{HoldList, HoldRequest};
pub use posts::PostList;
pub use stream::Followed;
pub use tokens::{NewToken, TokenRequest, TokenRow};

use axum::Json;
use copydesk_core::access::Reach;
use copydesk_proto::PostKey;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::api::Office;
use super::caller::Caller;
use super::{Filter, Page, ROWS_DEFAULT, ROWS_MAX, Refusal};

type Answer<T> = Result<Json<T>, Refusal>;

/// Every route.
pub(super) fn all() -> OpenApiRouter<Office> {
    let nouns = OpenApiRouter::new()
        .merge(look::routes())
        .merge(events::routes())
        .merge(stream::routes())
        .merge(posts::routes())
        .merge(dead_letters::routes())
        .merge(holds::routes())
        .merge(verify::routes())
        .merge(tokens::routes());
    OpenApiRouter::new().nest("/api/v1", nouns)
}

/// A list, or a part of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Rows<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The cursor of the next part; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> From<Page<T>> for Rows<T> {
    fn from(page: Page<T>) -> Self {
        Self { rows: page.rows, next: page.next.map(|cursor| cursor.to_string()) }
    }
}

impl<T> From<Vec<T>> for Rows<T> {
    fn from(rows: Vec<T>) -> Self {
        Self { rows, next: None }
    }
}

/// Who acts and why.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActRequest {
    /// The person behind the token; recorded beside the token's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub by: Option<String>,
    /// Why, for whoever finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// What was asked for is done, and durable.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Done {
    done: bool,
}

const DONE: Json<Done> = Json(Done { done: true });

/// One post, in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct PostPath {
    /// The site.
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    site: String,
    /// The post: its number, or `x` and the hash of a foreign id.
    #[param(pattern = "^([1-9][0-9]{0,17}|x[a-z2-7]{25}[aeimquy4])$")]
    post: String,
}

impl PostPath {
    /// What is no post is not there.
    fn key(&self) -> Result<PostKey, Refusal> {
        let site = self.site.parse().map_err(|_| Refusal::not_found())?;
        let post = self.post.parse().map_err(|_| Refusal::not_found())?;
        Ok(PostKey { site, post })
    }
}

/// The part of a list's query that all lists have.
struct Part {
    site: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

impl Part {
    /// The filter of this part, narrowed to what the caller may see.
    fn filter(self, caller: &Caller) -> Result<Filter, Refusal> {
        let limit = self.limit.unwrap_or(ROWS_DEFAULT);
        if !(1..=ROWS_MAX).contains(&limit) {
            return Err(Refusal::bad(format!("limit must be 1 to {ROWS_MAX}")));
        }
        let before = self.cursor.map(|cursor| cursor.parse()).transpose().map_err(bad)?;
        let reach = narrowed(&caller.reach, self.site)?;
        Ok(Filter { reach, before, limit, ..Filter::default() })
    }
}

fn narrowed(reach: &Reach, site: Option<String>) -> Result<Reach, Refusal> {
    let site = site.map(|site| site.parse()).transpose().map_err(bad)?;
    Ok(reach.narrowed(site))
}

fn bad(error: impl std::fmt::Display) -> Refusal {
    Refusal::bad(error.to_string())
}
