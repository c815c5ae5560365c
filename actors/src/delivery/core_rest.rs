//! Reading and writing by WordPress's own `wp/v2` routes.

use copydesk_core::content::{Field, PostText};
use copydesk_core::failure::Failure;
use copydesk_proto::{PostId, PostKey, Timestamp, TraceContext};
use http::{HeaderMap, Method, StatusCode};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use super::client::{SiteClient, write_headers};
use super::fault;
use super::message::{Read, ReadPost, Write, WriteOutcome};
use super::plan::{Plan, taxonomy_of};
use super::terms::Taxonomy;
use super::transport::{ANSWER_BYTES_MAX, Place, READ_BYTES_MAX, Reply, Request};

/// `content.raw` without `content.rendered`: WordPress then does not run the site's content
/// filters, most of a read's cost.
const READ_QUERY: &str = "context=edit&_fields=id,status,modified_gmt,title.raw,content.raw,\
                          excerpt.raw,tags,categories,meta";
const WRITE_QUERY: &str =
    "context=edit&_fields=id,status,modified_gmt,excerpt.raw,tags,categories,meta";

/// A text field of a post; `raw` only shows in `context=edit`.
#[derive(Debug, Deserialize)]
struct Raw {
    raw: String,
}

/// A post of `wp/v2/posts`, as far as we asked for it. What is `None` the post type lacks.
#[derive(Debug, Deserialize)]
pub(super) struct CorePost {
    id: u64,
    status: String,
    modified_gmt: String,
    title: Option<Raw>,
    content: Option<Raw>,
    excerpt: Option<Raw>,
    tags: Option<Vec<u64>>,
    categories: Option<Vec<u64>>,
    #[serde(default)]
    meta: Value,
}

impl CorePost {
    /// The raw text of an excerpt or a meta field.
    pub(super) fn text_of(&self, field: &Field) -> Result<&str, Failure> {
        let Field::Meta(key) = field else {
            return self.excerpt.as_ref().map(|e| e.raw.as_str()).ok_or_else(|| missing(field));
        };
        match self.meta.get(key) {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Null) => Ok(""),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(fault::terminal(
                    "meta_not_text",
                    format!(
                        "the meta key {key} is not a single text: register it with type string and single true"
                    ),
                ))
            }
            None => Err(fault::terminal(
                "meta_not_registered",
                format!(
                    "WordPress does not know the meta key {key} and would drop it silently: \
                     register_post_meta('post', '{key}', ['type' => 'string', 'single' => true, \
                     'show_in_rest' => true]); a key that starts with _ needs an auth_callback too"
                ),
            )),
        }
    }

    /// The ids of a post's terms.
    pub(super) fn terms_of(&self, taxonomy: Taxonomy) -> Result<&[u64], Failure> {
        let (ids, field) = match taxonomy {
            Taxonomy::Tags => (&self.tags, Field::Tags),
            Taxonomy::Categories => (&self.categories, Field::Categories),
        };
        ids.as_deref().ok_or_else(|| missing(&field))
    }

    fn modified(&self) -> Result<Timestamp, Failure> {
        let time: DateTime = self.modified_gmt.parse().map_err(|_| fault::unexpected_answer())?;
        let zoned = time.to_zoned(TimeZone::UTC).map_err(|_| fault::unexpected_answer())?;
        Ok(Timestamp(zoned.timestamp().as_millisecond()))
    }

    fn text(&mut self) -> PostText {
        let take = |raw: &mut Option<Raw>| raw.take().map(|r| r.raw).unwrap_or_default();
        PostText {
            title: take(&mut self.title),
            content: take(&mut self.content),
            excerpt: self.excerpt.as_ref().map(|e| e.raw.clone()).unwrap_or_default(),
            language: String::new(),
            terms: Vec::new(),
        }
    }
}

fn missing(field: &Field) -> Failure {
    fault::terminal(
        "wordpress_field_missing",
        format!("WordPress shows no {field} on this post: its post type does not have it"),
    )
}

fn route_of(key: &PostKey) -> Result<String, Failure> {
    match key.post {
        PostId::Number(id) => Ok(format!("/wp/v2/posts/{id}")),
        PostId::External(_) | PostId::Notices { .. } => Err(fault::terminal(
            "not_a_wordpress_post",
            "the item has a foreign id and no post number: it needs Copydesk's plugin, or \
             delivery = \"ingest\"",
        )),
    }
}

/// Whether the answer says that the post is no more.
pub(super) fn is_gone(reply: &Reply) -> bool {
    let code = || fault::code_of(reply);
    match reply.status {
        StatusCode::NOT_FOUND => {
            matches!(
                code().as_str(),
                "rest_post_invalid_id" | "rest_comment_invalid_id" | "copydesk_gone"
            )
        }
        StatusCode::GONE => !code().is_empty(),
        _ => false,
    }
}

impl SiteClient {
    pub(super) async fn read_core(&self, read: &Read) -> Result<ReadPost, Failure> {
        let Some(mut post) = self.get_post(&read.key, read.trace).await? else {
            return Ok(ReadPost::default());
        };
        let modified_gmt = post.modified()?;
        let mut text = post.text();
        if read.with_terms {
            text.terms = self.term_names(read.trace).await?;
        }
        Ok(ReadPost { found: true, text, modified_gmt, status: post.status })
    }

    /// The names of the site's tags, then of its categories.
    pub(super) async fn term_names(
        &self,
        trace: Option<TraceContext>,
    ) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for taxonomy in [Taxonomy::Tags, Taxonomy::Categories] {
            let terms = self.terms.get(&self.transport, taxonomy, trace).await?;
            names.extend_from_slice(&terms.names);
        }
        Ok(names)
    }

    async fn get_post(
        &self,
        key: &PostKey,
        trace: Option<TraceContext>,
    ) -> Result<Option<CorePost>, Failure> {
        let route = route_of(key)?;
        let mut request = Request::get(&route, READ_QUERY).traced(trace);
        request.answer_bytes_max = READ_BYTES_MAX;
        let reply = self.send(request).await?;
        if is_gone(&reply) {
            return Ok(None);
        }
        let post: CorePost = reply.parse()?;
        if key.post != PostId::Number(post.id) || post.title.is_none() || post.content.is_none() {
            return Err(fault::unexpected_answer());
        }
        Ok(Some(post).filter(|post| post.status != "trash"))
    }

    /// Looks first, then writes what may be written in one request.
    pub(super) async fn write_core(&self, write: &Write) -> Result<WriteOutcome, Failure> {
        let route = route_of(&write.key)?;
        let headers = write_headers(write)?;
        let Some(mut before) = self.get_post(&write.key, write.trace).await? else {
            return Ok(WriteOutcome::Gone);
        };
        let input_hash = before.text().input_hash();
        if write.input_hash.is_some_and(|hash| hash != input_hash) {
            return Ok(WriteOutcome::Changed { input_hash });
        }
        let mut plan = self.plan(write, &before).await?;
        if plan.body.is_empty() {
            let already = !plan.stored.is_empty();
            let modified_at = before.modified()?;
            return Ok(WriteOutcome::Applied {
                stored: plan.stored,
                kept: plan.kept,
                suggested: plan.suggested,
                already,
                modified_at,
            });
        }
        let Some(after) = self.post(&route, headers, &plan, write.trace).await? else {
            return Ok(WriteOutcome::Gone);
        };
        if after.id != before.id {
            return Err(fault::unexpected_answer());
        }
        for taxonomy in plan.confirm(&before, &after)? {
            self.terms.forget(taxonomy);
        }
        Ok(WriteOutcome::Applied {
            stored: plan.stored,
            kept: plan.kept,
            suggested: plan.suggested,
            already: false,
            modified_at: after.modified()?,
        })
    }

    async fn plan(&self, write: &Write, before: &CorePost) -> Result<Plan, Failure> {
        let mut plan = Plan::default();
        for field in &write.fields {
            let ids = match (taxonomy_of(field), &field.value) {
                (Some(taxonomy), copydesk_core::content::FieldValue::List(names)) => {
                    self.terms.get(&self.transport, taxonomy, write.trace).await?.ids_of(names)
                }
                _ => Vec::new(),
            };
            plan.add(field, before, &ids)?;
        }
        Ok(plan)
    }

    async fn post(
        &self,
        route: &str,
        headers: HeaderMap,
        plan: &Plan,
        trace: Option<TraceContext>,
    ) -> Result<Option<CorePost>, Failure> {
        let body = serde_json::to_vec(&plan.body).map_err(|_| fault::unexpected_answer())?;
        let request = Request {
            method: Method::POST,
            place: Place::Route(route),
            query: WRITE_QUERY,
            headers,
            body: Some(body.into()),
            answer_bytes_max: ANSWER_BYTES_MAX,
            signed: true,
            trace,
        };
        let reply = self.send(request).await?;
        if is_gone(&reply) { Ok(None) } else { reply.parse().map(Some) }
    }
}
