//! What a site is asked for, and what it answers.

use copydesk_core::content::{Field, FieldWrite, PostText};
use copydesk_core::failure::Failure;
use copydesk_proto::{ContentHash, EnrichmentId, PostKey, SourceId, Timestamp, TraceContext};
use serde::Serialize;
use tokio::sync::oneshot;

/// Read one post as its editors see it.
#[derive(Debug, Clone)]
pub struct Read {
    /// Which post; only numbered posts can be read.
    pub key: PostKey,
    /// Whether [`PostText::terms`] is wanted: the names of the site's tags, then of its
    /// categories, most used first, at most 1,000 of each, up to ten minutes old.
    pub with_terms: bool,
    /// The trace this belongs to.
    pub trace: Option<TraceContext>,
}

/// A post as read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadPost {
    /// `false` when the post is deleted or in the trash; the rest is empty then.
    pub found: bool,
    /// Raw texts, not rendered.
    pub text: PostText,
    /// When WordPress last changed it.
    pub modified_gmt: Timestamp,
    /// WordPress's status: `publish`, `draft`, `future`, `private`, …
    pub status: String,
}

/// Write the results of one run into one post, in one request.
#[derive(Debug, Clone)]
pub struct Write {
    /// Which post.
    pub key: PostKey,
    /// Counts the writes of this post; minted by an append to the log.
    pub write_number: u64,
    /// Sent as `Idempotency-Key`, the same for every try: visible ASCII.
    pub delivery_id: String,
    /// The log the number was minted in; a later log has a greater one. With the number it is the
    /// fence on the other side.
    pub log: u64,
    /// Who sent the event.
    pub source: SourceId,
    /// Hash of the text the results were made from; `None` when no text was read.
    pub input_hash: Option<ContentHash>,
    /// The event's own sequence, when its sender counts.
    pub sequence: Option<u64>,
    /// The item's foreign id; the post number when `None` (provider events).
    pub external_id: Option<String>,
    /// The event's own status, passed on (provider events); a comment's when it was judged.
    pub event_status: Option<String>,
    /// What to write.
    pub fields: Vec<FieldWrite>,
    /// What made the values.
    pub made: Vec<Made>,
    /// The event's own `metadata`, passed on (provider events).
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The trace this belongs to.
    pub trace: Option<TraceContext>,
}

/// Which enrichment made a field's value, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The field.
    pub field: Field,
    /// The enrichment.
    pub enrichment: EnrichmentId,
    /// The model, as its provider names it.
    pub model: String,
    /// The prompt.
    pub prompt_version: u32,
}

/// What became of a [`Write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The post holds what it may hold of our values.
    Applied {
        /// Fields that hold our value, each with the hash of the value as WordPress stores it:
        /// the `base` of the next write.
        stored: Vec<(Field, ContentHash)>,
        /// Fields left alone: a person's words, a mode that forbids, terms that do not exist.
        kept: Vec<Field>,
        /// Fields whose value waits as a suggestion.
        suggested: Vec<Field>,
        /// `true` when the values were there already and nothing was sent.
        already: bool,
        /// When WordPress last changed the post; zero when it does not say.
        modified_at: Timestamp,
    },
    /// The post's text is no longer the one the results were made from. Nothing was written.
    Changed {
        /// Hash of the text it has now.
        input_hash: ContentHash,
    },
    /// A newer write was there first. Nothing was written.
    Stale {
        /// Its number; 0 when the site does not say.
        current: u64,
    },
    /// The post is deleted or in the trash. Nothing was written.
    Gone,
}

/// What [`DeliveryActor`](super::DeliveryActor) understands. An answer port that is dropped means
/// that the actor stopped: the outcome is unknown, and the same request may be sent again.
#[derive(Debug)]
pub enum DeliveryMessage {
    /// Read a post.
    Read(Read, oneshot::Sender<Result<ReadPost, Failure>>),
    /// Write to a post.
    Write(Box<Write>, oneshot::Sender<Result<WriteOutcome, Failure>>),
    /// Show how an event ended in the site's list of posts. Never answered: what cannot be told
    /// soon is dropped.
    Tell(PostStatus),
    /// Send what is to be told; sent by the actor's own timer.
    TellNow,
    /// Tell how the site is doing.
    Status(oneshot::Sender<DeliveryStatus>),
    /// A request ended; sent by the actor's own tasks.
    Finished(Finished),
    /// The rate allows another request; sent by the actor's own timer.
    Wake,
}

/// How an event ended that brought no write, or why it waits, for the site's list of posts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PostStatus {
    /// The post's number.
    pub id: u64,
    /// The event's own sequence.
    pub sequence: u64,
    /// `unchanged`, `superseded`, `kept`, `filtered`, `failed`, `held`.
    pub state: &'static str,
    /// Why, in words; empty when the state says it.
    pub cause: String,
    /// When, in milliseconds since 1970.
    pub at: Timestamp,
}

/// How a request ended, as far as the site's health goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished(pub(super) Option<Failure>);

/// How a site is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// Requests in flight.
    pub running: usize,
    /// Requests waiting for a place.
    pub waiting: usize,
    /// Requests that may be in flight at once now; grows back to the setting after an outage.
    pub allowed: usize,
    /// Milliseconds until the site is tried again; `None` while it is in use.
    pub paused_ms: Option<u64>,
    /// The last failure that spoke against the site, until a request succeeds.
    pub last_failure: Option<Failure>,
}
