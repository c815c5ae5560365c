//! Dead letters: what waits for a person, and what the person decides.

use axum::Json;
use axum::extract::State;
use copydesk_core::content::FieldValue;
use copydesk_proto::PostKey;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ActRequest, Answer, DONE, Done, Part, Rows, bad};
use crate::admin::api::Office;
use crate::admin::caller::{At, Caller, Told, Wanted};
use crate::admin::{DeadLetterGroupRow, DeadLetterRow, Filter, ROWS_MAX, RedoOrder, Refusal};

pub(super) fn routes() -> OpenApiRouter<Office> {
    OpenApiRouter::new()
        .routes(routes!(dead_letters))
        .routes(routes!(groups))
        .routes(routes!(dead_letter))
        .routes(routes!(retry))
        .routes(routes!(give_up))
}

/// Which dead letters a list shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterList {
    /// Only of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub site: Option<String>,
    /// Only of this post, `site/post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}/([1-9][0-9]{0,17}|x[a-z2-7]{25}[aeimquy4])$")]
    pub post: Option<String>,
    /// Only with this code.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::at_most::<64, _>"
    )]
    #[param(max_length = 64)]
    pub code: Option<String>,
    /// The `next` of the part before; not taken by groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")]
    pub cursor: Option<String>,
    /// At most so many rows; 50 when nothing is said. Groups are answered whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<usize>,
}

impl DeadLetterList {
    fn filter(self, caller: &Caller) -> Result<Filter, Refusal> {
        let Self { site, post, code, cursor, limit } = self;
        let post = post.map(|post| post.parse()).transpose().map_err(bad)?;
        let filter = Part { site, cursor, limit }.filter(caller)?;
        Ok(Filter { post, code, ..filter })
    }
}

/// What waits for a person.
#[utoipa::path(get, path = "/dead-letters", operation_id = "list_dead_letters",
    tag = "dead letters", params(DeadLetterList),
    responses((status = 200, description = "The post last touched first", body = Rows<DeadLetterRow>)))]
async fn dead_letters(
    State(office): State<Office>,
    caller: Caller,
    Wanted(list): Wanted<DeadLetterList>,
) -> Answer<Rows<DeadLetterRow>> {
    Ok(Json(office.desk.dead_letters(list.filter(&caller)?).await?.into()))
}

/// What waits for a person, by site and cause: one trouble seldom strikes one post.
#[utoipa::path(get, path = "/dead-letters/groups", operation_id = "group_dead_letters",
    tag = "dead letters", params(DeadLetterList),
    responses((status = 200, description = "The largest first, at most 200", body = Rows<DeadLetterGroupRow>)))]
async fn groups(
    State(office): State<Office>,
    caller: Caller,
    Wanted(list): Wanted<DeadLetterList>,
) -> Answer<Rows<DeadLetterGroupRow>> {
    Ok(Json(office.desk.dead_letter_groups(list.filter(&caller)?).await?.into()))
}

/// One dead letter, in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct RunPath {
    /// The site.
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    site: String,
    /// The post: its number, or `x` and the hash of a foreign id.
    #[param(pattern = "^([1-9][0-9]{0,17}|x[a-z2-7]{25}[aeimquy4])$")]
    post: String,
    /// The run, as the list shows it.
    #[param(minimum = 1, maximum = 9223372036854775807i64)]
    run: u64,
}

impl RunPath {
    fn key(&self) -> Result<PostKey, Refusal> {
        let site = self.site.parse().map_err(|_| Refusal::not_found())?;
        let post = self.post.parse().map_err(|_| Refusal::not_found())?;
        Ok(PostKey { site, post })
    }
}

/// One dead letter.
#[utoipa::path(get, path = "/dead-letters/{site}/{post}/{run}", operation_id = "show_dead_letter",
    tag = "dead letters", params(RunPath),
    responses((status = 200, description = "The dead letter", body = DeadLetterRow)))]
async fn dead_letter(State(office): State<Office>, At(path): At<RunPath>) -> Answer<DeadLetterRow> {
    // A post has at most 64 dead letters.
    let filter = Filter { post: Some(path.key()?), limit: ROWS_MAX, ..Filter::default() };
    let rows = office.desk.dead_letters(filter).await?.rows;
    let row = rows.into_iter().find(|row| row.run == path.run);
    row.map(Json).ok_or_else(Refusal::not_found)
}

/// How to try again, who wants it and why. Without more than that, what failed is tried again and
/// everything paid for is kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// Begin at this step: `read`, `write`, or an enrichment's name. It and what depends on it is
    /// done anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub from: Option<String>,
    /// Words in place of answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "super::objects")]
    #[schema(max_items = 16)]
    pub answers: Vec<RetryAnswer>,
    /// Other AI services than the plan's.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "super::objects")]
    #[schema(max_items = 16)]
    pub providers: Vec<RetryProvider>,
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

/// A person's words in place of an answer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryAnswer {
    /// The enrichment.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub enrichment: String,
    /// The words; they are cleaned and cut as a model's are.
    pub value: Words,
}

/// A text, or a list of terms.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Words {
    /// A text.
    Text(String),
    /// Terms.
    List(Vec<String>),
}

/// Another AI service for an enrichment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryProvider {
    /// The enrichment.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub enrichment: String,
    /// The AI service.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub provider: String,
}

/// Steps that one order may change; a plan has at most so many.
const STEPS_MAX: usize = 16;

impl RetryRequest {
    fn order(self) -> Result<(RedoOrder, ActRequest), Refusal> {
        let Self { from, answers, providers, by, reason } = self;
        if answers.len().max(providers.len()) > STEPS_MAX {
            return Err(Refusal::bad(format!("answers and providers are at most {STEPS_MAX}")));
        }
        let answers = answers.into_iter().map(|RetryAnswer { enrichment, value }| {
            let value = match value {
                Words::Text(text) => FieldValue::Text(text),
                Words::List(terms) => FieldValue::List(terms),
            };
            (enrichment, value)
        });
        let providers = providers.into_iter().map(|RetryProvider { enrichment, provider }| {
            Ok((enrichment, provider.parse().map_err(bad)?))
        });
        let answers = answers.collect();
        let providers = providers.collect::<Result<_, Refusal>>()?;
        Ok((RedoOrder { from, answers, providers }, ActRequest { by, reason }))
    }
}

/// Tries a dead letter again; what was paid for is kept.
#[utoipa::path(post, path = "/dead-letters/{site}/{post}/{run}/retry",
    operation_id = "retry_dead_letter", tag = "dead letters", params(RunPath),
    request_body = RetryRequest,
    responses((status = 200, description = "It is tried again", body = Done)))]
async fn retry(
    State(office): State<Office>,
    caller: Caller,
    At(path): At<RunPath>,
    Told(request): Told<RetryRequest>,
) -> Answer<Done> {
    let (redo, act) = request.order()?;
    office.desk.retry(path.key()?, path.run, redo, caller.sign(act)?).await?;
    Ok(DONE)
}

/// Gives a dead letter up; the post's later events go on.
#[utoipa::path(post, path = "/dead-letters/{site}/{post}/{run}/drop",
    operation_id = "drop_dead_letter", tag = "dead letters", params(RunPath),
    request_body = ActRequest,
    responses((status = 200, description = "It is given up", body = Done)))]
async fn give_up(
    State(office): State<Office>,
    caller: Caller,
    At(path): At<RunPath>,
    Told(act): Told<ActRequest>,
) -> Answer<Done> {
    office.desk.drop_dead_letter(path.key()?, path.run, caller.sign(act)?).await?;
    Ok(DONE)
}
