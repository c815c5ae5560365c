//! Reading and writing by the routes of Copydesk's own plugin; `docs/wordpress-plugin.md` is the
//! contract.
//!
//! The plugin holds the fence: one row per post, locked for the whole write, which takes a
//! (log, epoch, write) once and refuses an older one. So a repeat after a lost answer is safe, and
//! so is a write that arrives late. What we check here is that the answer is the plugin's own and
//! is about our write: status, JSON, `delivery_id` and `write` must all fit.

use std::collections::HashMap;
use std::time::SystemTime;

use copydesk_core::content::{Field, FieldValue, FieldWrite, Mode, PostText};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_proto::{ContentHash, PostId, PostKey, Timestamp};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::error;

use super::client::{SiteClient, write_headers};
use super::core_rest::is_gone;
use super::ingest::{current_of, item_of, stored_whole};
use super::message::{PostStatus, Read, ReadPost, Write, WriteOutcome};
use super::plan::text_of;
use super::site::DeliveryKind;
use super::transport::{ANSWER_BYTES_MAX, Place, READ_BYTES_MAX, Reply, Request};
use super::{comment, exchange, fault};

/// The root of the plugin's routes.
const ROOT: &str = "/copydesk/v1";
/// Counts the owners of one log. A log has one owner at a time, whom it fences itself, so this
/// stays 0; it is there so that a later release can count.
const EPOCH: u32 = 0;
/// Writes of one request. Ten take WordPress a quarter of a second; fifty would hold one of its
/// few workers for more than one.
pub(super) const BATCH_MAX: usize = 10;

/// A post as `GET posts/{id}` shows it.
#[derive(Debug, Deserialize)]
struct PluginPost {
    id: u64,
    status: String,
    modified_gmt: String,
    #[serde(default)]
    language: String,
    title: String,
    content: String,
    #[serde(default)]
    excerpt: String,
    input_hash: String,
}

/// The body of `apply`.
#[derive(Debug, Serialize)]
struct Apply<'w> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    delivery_id: &'w str,
    /// As text: PHP and JavaScript would round a large number.
    log: String,
    epoch: u32,
    write: u64,
    sequence: Option<u64>,
    input_hash: Option<String>,
    fields: Vec<ApplyField<'w>>,
}

#[derive(Debug, Serialize)]
struct ApplyField<'w> {
    field: String,
    value: Value,
    mode: &'static str,
    base_hash: Option<String>,
    enrichment: &'w str,
    model: &'w str,
    prompt_version: u32,
}

/// The answer to a write that was carried out, or had been.
#[derive(Debug, Deserialize)]
struct Applied {
    status: AppliedStatus,
    write: u64,
    delivery_id: String,
    #[serde(default)]
    modified_gmt: Option<String>,
    /// By field's name; PHP makes `[]` of an empty map.
    #[serde(default)]
    fields: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AppliedStatus {
    Applied,
    Already,
}

/// What became of one field.
#[derive(Debug, Deserialize)]
struct FieldOutcome {
    outcome: Outcome,
    #[serde(default)]
    hash: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Applied,
    Already,
    Suggested,
    Kept,
}

impl SiteClient {
    pub(super) async fn read_plugin(&self, read: &Read) -> Result<ReadPost, Failure> {
        let PostId::Number(id) = read.key.post else {
            return Err(fault::terminal(
                "not_a_wordpress_post",
                "the item has a foreign id and no post number, so there is no post to read: its \
                 event must carry the text",
            ));
        };
        let route = format!("{ROOT}/posts/{id}");
        let mut request = Request::get(&route, "").traced(read.trace);
        request.answer_bytes_max = READ_BYTES_MAX;
        let reply = self.send(request).await?;
        if is_gone(&reply) {
            return Ok(ReadPost::default());
        }
        let post: PluginPost = reply.parse().map_err(|failure| self.told(&reply, failure))?;
        if post.id != id {
            return Err(fault::unexpected_answer());
        }
        let PluginPost { status, language, title, content, excerpt, .. } = post;
        let mut text = PostText { title, content, excerpt, language, terms: Vec::new() };
        if text.input_hash().to_string() != post.input_hash {
            return Err(fault::terminal(
                "wordpress_text_not_utf8",
                "the post's text does not survive the way to us: it holds bytes that are no UTF-8; \
                 save it again in WordPress",
            ));
        }
        if read.with_terms {
            text.terms = self.term_names(read.trace).await?;
        }
        let modified_gmt = modified(&post.modified_gmt)?;
        Ok(ReadPost { found: true, text, modified_gmt, status })
    }

    /// Writes one post or one provider event. The same bytes go out at every try.
    pub(super) async fn write_plugin(&self, write: &Write) -> Result<WriteOutcome, Failure> {
        let (route, body) = match (&write.key.post, comment::number(write)?) {
            (PostId::Number(id), _) => {
                (format!("{ROOT}/posts/{id}/apply"), json!(apply(write, None)))
            }
            (PostId::External(_) | PostId::Notices { .. }, Some(id)) => {
                let mut body = json!(apply(write, None));
                body["seen"] = json!(write.event_status);
                (format!("{ROOT}/comments/{id}/apply"), body)
            }
            (PostId::External(_) | PostId::Notices { .. }, None) => {
                (format!("{ROOT}/events"), event(write)?)
            }
        };
        let mut request = post(&route, &body).traced(write.trace);
        request.headers = write_headers(write)?;
        let reply = self.send(request).await?;
        self.outcome(write, &reply)
    }

    /// Writes several posts with one request, each in its own transaction and with its own answer.
    pub(super) async fn write_batch(&self, writes: &[Write]) -> Vec<Result<WriteOutcome, Failure>> {
        match self.send_batch(writes).await {
            Ok(replies) => {
                let one = |(write, reply): (&Write, Option<Reply>)| match reply {
                    Some(reply) => self.outcome(write, &reply),
                    None => Err(fault::unexpected_answer()),
                };
                writes.iter().zip(replies).map(one).collect()
            }
            // The request as a whole was refused, say for its size: that is nobody's own failure.
            Err(failure) if failure.class == FailureClass::Terminal => {
                let mut outcomes = Vec::with_capacity(writes.len());
                for write in writes {
                    outcomes.push(self.write_plugin(write).await);
                }
                outcomes
            }
            Err(failure) => writes.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    /// The answers in the order of the writes; `None` for one that has none.
    async fn send_batch(&self, writes: &[Write]) -> Result<Vec<Option<Reply>>, Failure> {
        #[derive(Deserialize)]
        struct Results {
            results: Vec<OneResult>,
        }
        #[derive(Deserialize)]
        struct OneResult {
            id: u64,
            status: u16,
            body: Value,
        }
        let body = json!({
            "writes": writes.iter().map(|w| apply(w, number(&w.key))).collect::<Vec<_>>(),
        });
        let route = format!("{ROOT}/posts/apply");
        // One request in the trace of the first write; the others point at it.
        let began = SystemTime::now();
        let first = writes.first().and_then(|write| write.trace);
        let reply = self.send(post(&route, &body).traced(first)).await;
        for write in writes.iter().skip(1) {
            let telemetry = &self.site.telemetry;
            exchange::shared(telemetry, write.trace, first, began, &route, reply.as_ref().err());
        }
        let reply = reply?;
        let answer: Results = reply.parse().map_err(|failure| self.told(&reply, failure))?;
        let mut replies: HashMap<u64, Reply> = HashMap::with_capacity(answer.results.len());
        for OneResult { id, status, body } in answer.results {
            let status = StatusCode::from_u16(status).map_err(|_| fault::unexpected_answer())?;
            replies.insert(id, Reply::of_json(status, &body));
        }
        Ok(writes.iter().map(|w| replies.remove(&number(&w.key)?)).collect())
    }

    /// Shows how events ended in the posts list.
    pub(super) async fn tell_plugin(&self, statuses: &[PostStatus]) -> Result<(), Failure> {
        let route = format!("{ROOT}/posts/statuses");
        let reply = self.send(post(&route, &json!({ "statuses": statuses }))).await?;
        match reply.parse::<Map<String, Value>>() {
            Ok(_) => Ok(()),
            Err(failure) => Err(self.told(&reply, failure)),
        }
    }

    fn outcome(&self, write: &Write, reply: &Reply) -> Result<WriteOutcome, Failure> {
        if is_gone(reply) {
            return Ok(WriteOutcome::Gone);
        }
        let code = fault::code_of(reply);
        match (reply.status, code.as_str()) {
            (StatusCode::CONFLICT, "copydesk_stale") => {
                Ok(WriteOutcome::Stale { current: current_of(reply) })
            }
            (StatusCode::PRECONDITION_FAILED, "copydesk_changed") => changed(reply),
            (StatusCode::CONFLICT, "copydesk_fenced" | "copydesk_conflict") => {
                // Someone must look: the site has a second master, or we have a bug.
                error!(post = %write.key, write = write.write_number, code, "write refused");
                Err(disowned(&code))
            }
            (StatusCode::LOCKED, _) => Err(fault::locked(reply)),
            (_, _) => {
                let applied =
                    reply.parse::<Applied>().map_err(|failure| self.told(reply, failure))?;
                applied_outcome(write, &applied)
            }
        }
    }

    /// A failure as it reads when the plugin's routes were asked. A route that is gone makes `auto`
    /// look again.
    fn told(&self, reply: &Reply, failure: Failure) -> Failure {
        match fault::code_of(reply).as_str() {
            "rest_no_route" => {
                self.forget_way();
                let cause = match self.site.kind {
                    DeliveryKind::Auto => "Copydesk's plugin was switched off; looking again",
                    DeliveryKind::Plugin | DeliveryKind::Core | DeliveryKind::Ingest => {
                        "Copydesk's plugin is not there: install and activate it in WordPress"
                    }
                };
                Failure::new(FailureClass::Unavailable, "wordpress_plugin_missing", cause)
            }
            "rest_forbidden" | "rest_cannot_edit" if reply.status == StatusCode::FORBIDDEN => {
                fault::terminal(
                    fault::FORBIDDEN,
                    "the plugin does not let us write to this post: give the user the role \
                     copydesk, and choose the post's type in the plugin's settings",
                )
            }
            _ => failure,
        }
    }
}

fn post<'a>(route: &'a str, body: &Value) -> Request<'a> {
    Request {
        method: Method::POST,
        place: Place::Route(route),
        body: Some(body.to_string().into()),
        answer_bytes_max: ANSWER_BYTES_MAX,
        ..Request::get(route, "")
    }
}

const fn number(key: &PostKey) -> Option<u64> {
    match key.post {
        PostId::Number(id) => Some(id),
        PostId::External(_) | PostId::Notices { .. } => None,
    }
}

fn apply(write: &Write, id: Option<u64>) -> Apply<'_> {
    Apply {
        id,
        delivery_id: &write.delivery_id,
        log: write.log.to_string(),
        epoch: EPOCH,
        write: write.write_number,
        sequence: write.sequence,
        input_hash: write.input_hash.map(|hash| hash.to_string()),
        fields: write.fields.iter().map(|field| apply_field(write, field)).collect(),
    }
}

fn apply_field<'w>(write: &'w Write, field: &FieldWrite) -> ApplyField<'w> {
    let made = write.made.iter().find(|made| made.field == field.field);
    ApplyField {
        field: field.field.to_string(),
        value: match (&field.field, &field.value) {
            (Field::Tags | Field::Categories, FieldValue::List(items)) => json!(items),
            // Of several ideas the first is suggested; all of them stand in the answer.
            (Field::Title, FieldValue::List(items)) => json!(items.first()),
            (_, value) => json!(text_of(value)),
        },
        mode: match field.mode {
            Mode::Suggest => "suggest",
            Mode::ApplyIfEmpty => "apply_if_empty",
            Mode::Apply => "apply",
        },
        base_hash: field.base.map(|hash| hash.to_string()),
        // The event's own words were made by nobody we know.
        enrichment: made.map_or("event", |made| made.enrichment.as_str()),
        model: made.map_or("", |made| &made.model),
        prompt_version: made.map_or(0, |made| made.prompt_version),
    }
}

/// The body of `events`.
fn event(write: &Write) -> Result<Value, Failure> {
    let mut body = json!(item_of(write)?);
    body["delivery_id"] = json!(write.delivery_id);
    body["log"] = json!(write.log.to_string());
    body["epoch"] = json!(EPOCH);
    body["write"] = json!(write.write_number);
    Ok(body)
}

fn applied_outcome(write: &Write, applied: &Applied) -> Result<WriteOutcome, Failure> {
    if applied.write != write.write_number || applied.delivery_id != write.delivery_id {
        return Err(fault::unexpected_answer());
    }
    let already = applied.status == AppliedStatus::Already;
    if number(&write.key).is_none() && comment::number(write)?.is_none() {
        return Ok(stored_whole(write, already));
    }
    let (mut stored, mut kept, mut suggested) = (Vec::new(), Vec::new(), Vec::new());
    for FieldWrite { field, value, .. } in &write.fields {
        let told = applied.fields.get(field.to_string()).ok_or_else(fault::unexpected_answer)?;
        let told = FieldOutcome::deserialize(told).map_err(|_| fault::unexpected_answer())?;
        match told.outcome {
            Outcome::Applied | Outcome::Already => {
                let hash = told.hash.map_or_else(|| Ok(value.hash()), |hash| parsed(&hash))?;
                stored.push((field.clone(), hash));
            }
            Outcome::Suggested => suggested.push(field.clone()),
            Outcome::Kept => kept.push(field.clone()),
        }
    }
    let modified_at = applied.modified_gmt.as_deref().map(modified).transpose()?;
    let modified_at = modified_at.unwrap_or_default();
    Ok(WriteOutcome::Applied { stored, kept, suggested, already, modified_at })
}

fn changed(reply: &Reply) -> Result<WriteOutcome, Failure> {
    let error: Value =
        serde_json::from_slice(&reply.body).map_err(|_| fault::unexpected_answer())?;
    let hash = error["data"]["input_hash"].as_str().ok_or_else(fault::unexpected_answer)?;
    Ok(WriteOutcome::Changed { input_hash: parsed(hash)? })
}

fn parsed(hash: &str) -> Result<ContentHash, Failure> {
    hash.parse().map_err(|_| fault::unexpected_answer())
}

fn modified(time: &str) -> Result<Timestamp, Failure> {
    let time: jiff::Timestamp = time.parse().map_err(|_| fault::unexpected_answer())?;
    Ok(Timestamp(time.as_millisecond()))
}

/// The site does not take this log for its master. Nothing was written.
fn disowned(code: &str) -> Failure {
    if code == "copydesk_fenced" {
        return fault::terminal(
            "wordpress_fenced",
            "a newer log of Copydesk has written to this post: this one is out of date, a restored \
             backup or a second Copydesk for the same site; end the wrong one",
        );
    }
    fault::terminal(
        "wordpress_write_conflict",
        "this write's number came before with other words: two Copydesks work on copies of one \
         log; end one of them, then retry",
    )
}
