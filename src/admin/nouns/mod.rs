//! The routes, one file a noun: what is asked, what is answered, and who is told what.

mod backup;
mod dead_letters;
mod events;
mod holds;
mod jobs;
mod look;
mod money;
mod posts;
mod sources;
mod stream;
mod subscribers;
mod tokens;
mod traces;
mod verify;

pub use dead_letters::{DeadLetterList, RetryAnswer, RetryProvider, RetryRequest, Words};
pub use events::{EventList, EventRequest};
pub use holds::{HoldList, HoldRequest};
pub use jobs::{JobFilter, JobOrder, JobRequest, JobResultList};
pub use money::{CapsRequest, CostList};
pub use posts::PostList;
pub use stream::Followed;
pub use subscribers::{ReplayRequest, Replayed};
pub use tokens::{NewToken, TokenRequest, TokenRow};

use axum::Json;
use copydesk_core::access::Reach;
use copydesk_proto::PostKey;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
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
        .merge(sources::routes())
        .merge(dead_letters::routes())
        .merge(holds::routes())
        .merge(jobs::routes())
        .merge(money::routes())
        .merge(traces::routes())
        .merge(verify::routes())
        .merge(backup::routes())
        .merge(subscribers::routes())
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
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "at_most::<100, _>"
    )]
    #[schema(max_length = 100)]
    pub by: Option<String>,
    /// Why, for whoever finds it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "at_most::<200, _>"
    )]
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
    /// The post: its number, or `x` and the hash of a foreign id; after `to-<subscriber>-` the
    /// notices about it.
    #[param(
        pattern = "^(to-[a-z0-9][a-z0-9_-]{0,31}-)?([1-9][0-9]{0,17}|x[a-z2-7]{25}[aeimquy4])$"
    )]
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

/// Text of up to so many characters, where there is any.
fn at_most<'de, const CHARS: usize, D>(text: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(text)?;
    if text.as_ref().is_some_and(|text| text.chars().count() > CHARS) {
        return Err(D::Error::custom(format!("a text is longer than {CHARS} characters")));
    }
    Ok(text)
}

/// A struct that is written as an object: serde alone would take an array of its fields, too.
fn object<'de, T: DeserializeOwned, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let fields = Map::<String, Value>::deserialize(from)?;
    T::deserialize(Value::Object(fields)).map_err(D::Error::custom)
}

/// A list of such structs.
fn objects<'de, T: DeserializeOwned, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::<Map<String, Value>>::deserialize(from)?;
    list.into_iter()
        .map(|fields| T::deserialize(Value::Object(fields)).map_err(D::Error::custom))
        .collect()
}

fn bad(error: impl std::fmt::Display) -> Refusal {
    Refusal::bad(error.to_string())
}
