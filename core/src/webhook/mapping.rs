//! Where a source keeps what Copydesk needs to know, when not under WordPress's own names.

use copydesk_proto::PostId;
use serde_json::{Map, Value};

use super::key::IdempotencyKey;
use super::payload::{BAD_KEY, PayloadRules, Subject, VersionRule, is_event_type};
use super::payload::{invalid, present, text_of};
use super::time;
use crate::pointer::Pointer;
use crate::post::SourceVersion;
use crate::refusal::{Code, Refusal};
use crate::routes::EventPattern;

use super::payload::EVENT_TYPES;

/// The event type of a sync trigger: a request with nothing but a post's id.
pub const SYNC_EVENT: &str = "post.sync";

/// The event type of a schedule: a post whose turn it is.
pub const SCHEDULE_EVENT: &str = "post.scheduled";

/// Names under which plugins send a post's id and nothing else.
const TRIGGER_NAMES: [&str; 3] = ["post_id", "ID", "id"];

/// Where a source keeps what Copydesk needs to know. What is `None` stands under its usual name:
/// `event`, `post_id`, `external_id`, `sequence` or `modified_gmt`, `idempotency_key`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The event type.
    pub event: Option<Pointer>,
    /// The event type where the payload names none.
    pub event_default: Option<String>,
    /// The post's number.
    pub post: Option<Pointer>,
    /// The foreign item's id.
    pub external_id: Option<Pointer>,
    /// How new the payload is: a number that grows, or a time.
    pub version: Option<Pointer>,
    /// The idempotency key.
    pub key: Option<Pointer>,
    /// The text that enrichments read; the post's `content`.
    pub text: Option<Pointer>,
    /// The heading of that text; the post's `title`.
    pub title: Option<Pointer>,
}

/// Fields an event type must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Of which events.
    pub events: EventPattern,
    /// The fields; each is there, not `null` and not empty.
    pub fields: Vec<Pointer>,
}

fn at<'f>(
    fields: &'f Map<String, Value>,
    pointer: Option<&Pointer>,
    name: &str,
) -> Option<&'f Value> {
    match pointer {
        Some(pointer) => pointer.find(fields),
        None => fields.get(name),
    }
}

pub(super) fn event_type(
    rules: &PayloadRules,
    fields: &Map<String, Value>,
) -> Result<String, Refusal> {
    let default = rules.map.event_default.as_ref();
    let name = match (at(fields, rules.map.event.as_ref(), "event"), rules.subject) {
        (Some(Value::String(name)), _) => name,
        (Some(Value::Null) | None, _) if default.is_some() => return Ok(default_of(rules)),
        (None, _) if is_trigger(rules, fields) => return Ok(SYNC_EVENT.to_owned()),
        (None, Subject::Item) if rules.map.event.is_none() => {
            return Ok(event_of_status(text_of(fields, "status")?).to_owned());
        }
        (None, _) => return Err(invalid("event is missing")),
        (Some(_), _) => return Err(invalid("event is text")),
    };
    if !is_event_type(name) {
        return Err(invalid("event is words of a-z 0-9 _ joined by dots, such as post.published"));
    }
    let known = EVENT_TYPES.contains(&name.as_str()) || rules.own_events.contains(name);
    if !rules.accept_unknown_events && !known {
        return Err(Code::UnknownEvent.refuse("this source takes only the documented event types"));
    }
    Ok(name.clone())
}

fn default_of(rules: &PayloadRules) -> String {
    rules.map.event_default.clone().unwrap_or_default()
}

fn is_trigger(rules: &PayloadRules, fields: &Map<String, Value>) -> bool {
    rules.trigger && trigger_id(rules, fields).is_some()
}

fn trigger_id<'f>(rules: &PayloadRules, fields: &'f Map<String, Value>) -> Option<&'f Value> {
    match &rules.map.post {
        Some(pointer) => pointer.find(fields),
        None => TRIGGER_NAMES.iter().find_map(|name| fields.get(*name)),
    }
}

/// What a provider means that names no event. The words are those of OpenAI, Replicate and the
/// seed's ingest route.
fn event_of_status(status: Option<&str>) -> &'static str {
    match status {
        Some("completed" | "succeeded" | "done") => "provider.completed",
        Some("failed" | "error" | "canceled" | "cancelled") => "provider.failed",
        Some(_) | None => "provider.updated",
    }
}

pub(super) fn subject(
    rules: &PayloadRules,
    event_type: &str,
    fields: &Map<String, Value>,
) -> Result<(PostId, Option<String>), Refusal> {
    if is_comment(rules, event_type) {
        return comment(fields);
    }
    let post = if rules.trigger { trigger_id(rules, fields) } else { None };
    let number = match post.or_else(|| at(fields, rules.map.post.as_ref(), "post_id")) {
        None => None,
        Some(value) => {
            let id = post_number(rules, value).and_then(|id| PostId::number(id).ok());
            Some(id.ok_or(invalid("post_id is a whole number from 1 to 2^63-1"))?)
        }
    };
    let mapped = rules.map.external_id.is_some();
    let external = match at(fields, rules.map.external_id.as_ref(), "external_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(Value::Number(id)) if mapped => Some(id.to_string()),
        Some(_) => return Err(BAD_EXTERNAL),
    };
    let item = external.as_ref().map(|id| PostId::external(id)).transpose();
    let item = item.map_err(|_| BAD_EXTERNAL)?;
    let post = match rules.subject {
        Subject::Post => number.or(item),
        Subject::Item => item.or(number),
    };
    let missing = match rules.subject {
        Subject::Post => invalid("post_id is missing"),
        Subject::Item => invalid("external_id is missing"),
    };
    Ok((post.ok_or(missing)?, external))
}

/// Whether an event is of a comment as our plugin tells of it.
pub(super) fn is_comment(rules: &PayloadRules, event_type: &str) -> bool {
    event_type.starts_with("comment.")
        && rules.subject == Subject::Post
        && rules.map.external_id.is_none()
}

/// A comment is an item of its own, so that work on it neither waits for its post nor stands in
/// the post's way.
fn comment(fields: &Map<String, Value>) -> Result<(PostId, Option<String>), Refusal> {
    const BAD: Refusal = invalid("a comment event has comment.id, a number, and comment.content");
    let comment = fields.get("comment").and_then(Value::as_object).ok_or(BAD)?;
    let id = comment.get("id").and_then(Value::as_u64).filter(|id| *id > 0).ok_or(BAD)?;
    comment.get("content").and_then(Value::as_str).ok_or(BAD)?;
    let external = format!("{COMMENT}{id}");
    Ok((PostId::external(&external).map_err(|_| BAD)?, Some(external)))
}

/// What a comment's id begins with, as an item.
pub const COMMENT: &str = "comment/";

const BAD_EXTERNAL: Refusal = invalid("external_id is 1 to 256 bytes of text");

/// A form has only text, and other systems than WordPress write numbers as text; WordPress's own
/// names hold numbers.
fn post_number(rules: &PayloadRules, value: &Value) -> Option<u64> {
    let text =
        || value.as_str().filter(|_| rules.form || rules.trigger || rules.map.post.is_some());
    value.as_u64().or_else(|| digits(text()?))
}

fn digits(text: &str) -> Option<u64> {
    // Rust's parse takes "+1", which is another text for the same post.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

pub(super) fn version(
    rules: &PayloadRules,
    fields: &Map<String, Value>,
) -> Result<Option<SourceVersion>, Refusal> {
    if let Some(pointer) = &rules.map.version {
        return mapped_version(pointer.find(fields));
    }
    let sequence = match present(fields, "sequence") {
        None => None,
        Some(value) => {
            let text = || value.as_str().filter(|_| rules.form).and_then(digits);
            let number = value.as_u64().or_else(text);
            let number = number.ok_or(invalid("sequence is a whole number from 0"))?;
            Some(SourceVersion::Sequence(number))
        }
    };
    let modified = match text_of(fields, "modified_gmt")? {
        None => None,
        Some(text) => {
            let ms = time::gmt(text).ok_or(invalid("modified_gmt is a time in UTC"))?;
            Some(SourceVersion::Modified(ms))
        }
    };
    Ok(match rules.version {
        VersionRule::Newest => sequence.or(modified),
        VersionRule::Sequence => sequence,
        VersionRule::Modified => modified,
        VersionRule::None => None,
    })
}

fn mapped_version(value: Option<&Value>) -> Result<Option<SourceVersion>, Refusal> {
    const BAD: Refusal = invalid("the version is a whole number from 0 or a time in UTC");
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    if let Some(number) = value.as_u64().or_else(|| digits(value.as_str()?)) {
        return Ok(Some(SourceVersion::Sequence(number)));
    }
    let modified = value.as_str().and_then(time::gmt);
    modified.map(SourceVersion::Modified).map(Some).ok_or(BAD)
}

pub(super) fn signed_key(
    rules: &PayloadRules,
    fields: &Map<String, Value>,
) -> Result<Option<IdempotencyKey>, Refusal> {
    let mapped = rules.map.key.is_some();
    let text = match at(fields, rules.map.key.as_ref(), "idempotency_key") {
        None => return Ok(None),
        Some(Value::Null) if mapped => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if mapped => number.to_string(),
        Some(_) => return Err(invalid("idempotency_key is text")),
    };
    IdempotencyKey::new(&text).map(Some).map_err(|_| BAD_KEY)
}

pub(super) fn check_required(
    rules: &PayloadRules,
    event_type: &str,
    fields: &Map<String, Value>,
) -> Result<(), Refusal> {
    let wanted = rules.required.iter().filter(|r| r.events.matches(event_type));
    let empty = |value: &Value| value.is_null() || value.as_str().is_some_and(str::is_empty);
    for pointer in wanted.flat_map(|requirement| &requirement.fields) {
        if pointer.find(fields).is_none_or(empty) {
            return Err(invalid("a field that this source requires of this event is missing"));
        }
    }
    Ok(())
}
