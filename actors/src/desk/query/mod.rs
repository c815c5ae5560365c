//! Lists of events, posts and dead letters. Each answer is read from the log anew; none holds
//! what a post or an answer says. Times are the writers' clocks: for display, never for order.

mod events;
mod groups;
mod outcome;
mod posts;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

pub use events::{EventFilter, event, events};
pub use groups::{DeadLetterGroup, dead_letter_groups};
pub use outcome::standing;
pub use posts::{PostFilter, dead_letters, each_dead_letter, post, posts, state};

use copydesk_proto::{PostKey, Timestamp};

/// Most rows of one answer.
pub const ROWS_MAX: usize = 1_000;

/// A part of a list, and where the rest of it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<Row> {
    /// The rows.
    pub rows: Vec<Row>,
    /// What the next look takes as `before`; `None` when this was the last part.
    pub next: Option<Place>,
}

/// A place in a list: a position in the log, and the run for lists with several rows of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub u64, pub u64);

/// One event: a verified webhook and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// UUID version 7, as answered to the sender.
    pub event_id: String,
    /// Its post.
    pub post: PostKey,
    /// Who sent it; empty when the record is unreadable, as are the texts below.
    pub source: String,
    /// `post.published`, …
    pub event_type: String,
    /// Its sequence in the log.
    pub position: u64,
    /// When it was received.
    pub received_at: Timestamp,
    /// Foreign id as sent; empty for WordPress posts.
    pub external_id: String,
    /// `unconsidered` (no decision yet), `accepted` (in the queue), `working`, `waiting` (for its
    /// next try), `held` (for money), `dead` (for an operator); or how it ended: `applied`, `kept`, `suggested`,
    /// `unchanged`, `superseded`, `duplicate`, `filtered`, `gone`, `dropped`; or `ended` when the
    /// decisions about it are trimmed, and `unreadable` when this release cannot read it.
    pub state: &'static str,
    /// Why, in plain words; empty when the state says it.
    pub cause: String,
}

/// One post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostRow {
    /// Which.
    pub key: PostKey,
    /// `idle`, `waiting`, `reading`, `enriching`, `writing`, `budget`, `retrying`, `dead`; `unreadable`
    /// when this release cannot read its last decision, and then the numbers are 0.
    pub state: String,
    /// Highest intake position considered.
    pub considered: u64,
    /// Events accepted and not ended, the one at work included.
    pub waiting: u32,
    /// Dead letters.
    pub dead: u32,
    /// Things that have happened to it.
    pub events: u64,
    /// When the last one did.
    pub last_at: Timestamp,
    /// When it goes on without being asked; `None`: not by itself.
    pub wake_at: Option<Timestamp>,
}

/// One post with its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostDetail {
    /// The post.
    pub row: PostRow,
    /// The run at work.
    pub run: Option<RunDetail>,
    /// Events that wait for their turn, by position, in the order they will be taken.
    pub queued: Vec<u64>,
    /// Dead letters that are to be tried again, by position.
    pub resumed: Vec<u64>,
    /// Dead letters, oldest first.
    pub dead: Vec<DeadLetterRow>,
    /// Writes to WordPress so far.
    pub writes: u64,
}

/// A run and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDetail {
    /// The position of the event that leads it.
    pub run: u64,
    /// Its steps in the order they are done.
    pub steps: Vec<StepDetail>,
    /// How often the text changed under it.
    pub restarts: u32,
}

/// A step and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepDetail {
    /// `read`, `write`, or the enrichment's name.
    pub name: String,
    /// `idle`, `asked`, `waiting`, `held`, `done` or `failed`.
    pub phase: &'static str,
    /// Tries so far.
    pub attempts: u32,
    /// When it is tried again; only while `waiting` or `held`.
    pub until: Option<Timestamp>,
    /// Why it is `waiting`, `held` or `failed`; else empty.
    pub cause: String,
}

/// A run that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// Its post.
    pub post: PostKey,
    /// The position of the event that led it: what retry and drop are told.
    pub run: u64,
    /// The step that failed.
    pub step: String,
    /// Stable code of the failure.
    pub code: String,
    /// What failed and how to mend it.
    pub cause: String,
    /// When.
    pub at: Timestamp,
    /// Answers paid for that another try will use.
    pub paid: usize,
    /// Enrichments that another try may have to ask for.
    pub unpaid: Vec<String>,
    /// Who sent the event.
    pub source: String,
    /// The route it took.
    pub route: String,
}
