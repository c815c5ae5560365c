//! Judging a comment: its status, with the reason.
//!
//! The plugin does it behind its fence and shows the reason in the comments list. Without it,
//! WordPress's own route sets the status; the reason then stands in the log alone. A comment whose
//! status is not what it was when it was judged has been decided by a person, and is left alone.

use copydesk_core::content::{Field, FieldValue, FieldWrite, Judgement, Mode};
use copydesk_core::failure::Failure;
use copydesk_core::webhook::COMMENT;
use copydesk_proto::{ContentHash, Timestamp};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::{SiteClient, write_headers};
use super::core_rest::is_gone;
use super::fault;
use super::ingest::stored_whole;
use super::message::{Write, WriteOutcome};
use super::transport::{ANSWER_BYTES_MAX, Place, Request};
use super::way::Way;

/// What WordPress shows of a comment to whoever may edit it. Unlike a post's, its `content` is given
/// whole or not at all.
const QUERY: &str = "context=edit&_fields=id,status,author_name,content";

#[derive(Debug, Deserialize)]
struct CoreComment {
    id: u64,
    status: String,
    #[serde(default)]
    author_name: String,
    content: Raw,
}

#[derive(Debug, Deserialize)]
struct Raw {
    raw: String,
}

/// The number of the comment that a write is to judge.
///
/// # Errors
/// The item is no comment.
pub(super) fn number(write: &Write) -> Result<Option<u64>, Failure> {
    if !write.fields.iter().any(|field| field.field == Field::Comment) {
        return Ok(None);
    }
    let id = write.external_id.as_deref().and_then(|id| id.strip_prefix(COMMENT)?.parse().ok());
    id.map(Some).ok_or_else(|| {
        fault::terminal("not_a_comment", "only a comment of WordPress can be moderated")
    })
}

/// The judgement of a write.
fn judgement_of(write: &Write) -> Result<(&FieldWrite, Judgement<'_>), Failure> {
    let field = write.fields.iter().find(|field| field.field == Field::Comment);
    let judged = field.and_then(|field| match &field.value {
        FieldValue::Text(text) => Some((field, Judgement::read(text)?)),
        FieldValue::List(_) => None,
    });
    judged.ok_or_else(|| {
        fault::terminal("judgement_without_reason", "the answer gives no verdict with a reason")
    })
}

impl SiteClient {
    /// Gives a comment its status. Sending the same write again is safe.
    pub(super) async fn judge_comment(
        &self,
        way: Way,
        id: u64,
        write: &Write,
    ) -> Result<WriteOutcome, Failure> {
        let (field, judgement) = judgement_of(write)?;
        let outcome = match way {
            // It takes a comment's field as it takes a post's.
            Way::Plugin => self.write_plugin(write).await,
            // Only the plugin has a place for a suggestion.
            Way::Core | Way::Ingest if field.mode == Mode::Suggest => {
                Ok(stored_whole(write, false))
            }
            Way::Core => self.judge_by_core(id, write, field, judgement).await,
            Way::Ingest => self.write_ingest(write).await,
        };
        // There is no comment to read: the new words come with an event of their own.
        let outcome = outcome?;
        let is_edited = matches!(outcome, WriteOutcome::Changed { .. });
        Ok(if is_edited { left_alone(field) } else { outcome })
    }

    async fn judge_by_core(
        &self,
        id: u64,
        write: &Write,
        field: &FieldWrite,
        judgement: Judgement<'_>,
    ) -> Result<WriteOutcome, Failure> {
        let wanted = match judgement.verdict {
            "approve" => "approved",
            "hold" => "hold",
            "spam" => "spam",
            _ => {
                return Err(fault::terminal(
                    "unknown_verdict",
                    "a verdict is approve, hold or spam",
                ));
            }
        };
        let route = format!("/wp/v2/comments/{id}");
        let reply = self.send(Request::get(&route, QUERY).traced(write.trace)).await?;
        if is_gone(&reply) {
            return Ok(WriteOutcome::Gone);
        }
        let before: CoreComment = reply.parse()?;
        if before.status == "trash" {
            return Ok(WriteOutcome::Gone);
        }
        let hash = ContentHash::of(&[&before.author_name, &before.content.raw]);
        if write.input_hash.is_some_and(|judged| judged != hash) {
            return Ok(WriteOutcome::Changed { input_hash: hash });
        }
        if before.status == wanted {
            return Ok(stored_whole(write, true));
        }
        if write.event_status.as_deref().is_some_and(|seen| seen != before.status) {
            return Ok(left_alone(field));
        }
        let request = Request {
            method: Method::POST,
            place: Place::Route(&route),
            query: QUERY,
            headers: write_headers(write)?,
            body: Some(json!({ "status": wanted }).to_string().into()),
            answer_bytes_max: ANSWER_BYTES_MAX,
            signed: true,
            trace: write.trace,
        };
        let reply = self.send(request).await?;
        if is_gone(&reply) {
            return Ok(WriteOutcome::Gone);
        }
        let after: CoreComment = reply.parse()?;
        // WordPress answers 200 and changes nothing for a status it does not know.
        if after.id != id || after.status != wanted {
            return Err(fault::unexpected_answer());
        }
        Ok(stored_whole(write, false))
    }
}

/// A person has decided; ours is not carried out.
fn left_alone(write: &FieldWrite) -> WriteOutcome {
    WriteOutcome::Applied {
        stored: Vec::new(),
        kept: vec![write.field.clone()],
        suggested: Vec::new(),
        already: false,
        modified_at: Timestamp::default(),
    }
}
