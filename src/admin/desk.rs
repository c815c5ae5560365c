//! What a node can tell and do for an operator, as the admin API sees it.

use copydesk_actors::desk::trace::Trace;
use copydesk_core::holds::HoldScope;
use copydesk_proto::{PostKey, SiteId};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

/// An answer that is on its way.
pub type Asked<'d, T> = BoxFuture<'d, Result<T, DeskError>>;

/// The journeys of posts from now on, in log order, until the listener goes.
pub type Following = BoxStream<'static, FollowLine>;

/// The node behind the admin API. Lists are newest first and no longer than the filter says.
pub trait Desk: Send + Sync + 'static {
    /// How the node is.
    fn status(&self) -> Asked<'_, Status>;
    /// The newest events.
    fn events(&self, filter: Filter) -> Asked<'_, Vec<EventRow>>;
    /// One event, by the id its sender was told.
    fn event(&self, event_id: String) -> Asked<'_, EventRow>;
    /// What happens from now on; of one post, or of all.
    fn follow(&self, post: Option<PostKey>) -> Asked<'_, Following>;
    /// The posts last touched.
    fn posts(&self, filter: Filter) -> Asked<'_, Vec<PostRow>>;
    /// One post and its journey, oldest first.
    fn post(&self, post: PostKey) -> Asked<'_, PostView>;
    /// The ways of a post's newest events, or of the one by this id, from the log.
    fn traces(&self, of: TraceOf) -> Asked<'_, Vec<Trace>>;
    /// What waits for a person.
    fn dead_letters(&self, filter: Filter) -> Asked<'_, Vec<DeadLetterRow>>;
    /// Tries a dead letter again; what it has paid for is kept. Durable when answered.
    fn retry(&self, post: PostKey, run: u64) -> Asked<'_, ()>;
    /// Gives a dead letter up. Durable when answered.
    fn drop_dead_letter(&self, post: PostKey, run: u64) -> Asked<'_, ()>;
    /// The holds in force.
    fn holds(&self) -> Asked<'_, Vec<HoldRow>>;
    /// Holds a scope; a hold that is there stands and is answered. Durable when answered.
    fn hold(&self, scope: HoldScope, by: String, reason: String) -> Asked<'_, HoldRow>;
    /// Releases a scope; work goes on in order. Durable when answered.
    fn release(&self, scope: HoldScope) -> Asked<'_, ()>;
    /// Reads the whole log and checks the invariants.
    fn verify(&self) -> Asked<'_, VerifyReport>;
}

/// Whose way is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceOf {
    /// Of a post's newest events.
    Post(PostKey),
    /// Of the event by the id its sender was told.
    Event(String),
}

/// Why the desk does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// There is no such event, post, dead letter or hold.
    #[error("there is nothing by this name")]
    NotFound,
    /// It is there, and what was asked for cannot be done to it; says why.
    #[error("{0}")]
    Refused(String),
    /// The log does not answer; says why.
    #[error("{0}")]
    Unavailable(String),
}

/// What a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only of this site.
    pub site: Option<SiteId>,
    /// Only of this post.
    pub post: Option<PostKey>,
    /// Only in this state, by the word the row shows.
    pub state: Option<String>,
    /// Only what comes after this row in the list: an event's position, or the milliseconds of
    /// a post's or a dead letter's time.
    pub before: Option<u64>,
    /// At most so many, 1 to [`ROWS_MAX`](super::ROWS_MAX).
    pub limit: usize,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Copydesk's version.
    pub version: String,
    /// Which log, and what "accepted" survives on it.
    pub log_profile: String,
    /// Whether webhooks are taken in; else why not.
    pub ready: bool,
    /// Accepted events that have not ended.
    pub backlog: u64,
    /// Posts with work under way, or waiting for a time or a person.
    pub busy_posts: u64,
    /// Posts with a history.
    pub known_posts: u64,
    /// Dead letters that wait for a person.
    pub dead_letters: u64,
    /// Milliseconds since 1970 of the start.
    pub started_at: i64,
    /// AI services.
    pub providers: Vec<ProviderRow>,
    /// WordPress sites.
    pub sites: Vec<SiteRow>,
}

/// How an AI service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRow {
    /// Its name.
    pub provider: String,
    /// `closed` (fine), `open` or `half-open`.
    pub breaker: String,
    /// Requests under way.
    pub in_flight: u64,
    /// Spent since the start, in millionths of a dollar.
    pub cost_microdollars: u64,
}

/// How a site is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRow {
    /// Its name.
    pub site: String,
    /// `closed` (fine), `open` or `half-open`.
    pub breaker: String,
    /// Requests under way.
    pub in_flight: u64,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// The id its sender was told.
    pub event_id: String,
    /// `site/post`.
    pub post: String,
    /// Who sent it.
    pub source: String,
    /// Its type.
    pub event_type: String,
    /// Its place in the log.
    pub position: u64,
    /// Milliseconds since 1970.
    pub received_at: i64,
    /// Where it stands: `waiting`, `running`, `applied`, `superseded`, …
    pub state: String,
    /// Why it stands there, in plain words; empty when the state says it.
    pub cause: String,
}

/// One post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostRow {
    /// `site/post`.
    pub post: String,
    /// `idle`, `running`, `waiting`, `held` or `dead`.
    pub status: String,
    /// The newest event that has been considered, by its place in the log.
    pub considered: u64,
    /// Events that wait.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Milliseconds since 1970 of the last thing that happened.
    pub last_at: i64,
}

/// One post and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostView {
    /// How it stands.
    pub row: PostRow,
    /// What happened, oldest first.
    pub journey: Vec<JourneyLine>,
}

/// One thing that happened to a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JourneyLine {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// A short word: `received`, `enriched`, `written`, `dead-letter`, …
    pub kind: String,
    /// A sentence for people, without the post's text.
    pub text: String,
    /// Its place in the log.
    pub position: u64,
}

/// One thing that happens to some post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowLine {
    /// `site/post`.
    pub post: String,
    /// What happened.
    #[serde(flatten)]
    pub line: JourneyLine,
}

/// A run that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterRow {
    /// `site/post`.
    pub post: String,
    /// Its number among the post's runs.
    pub run: u64,
    /// Stable code of the failure.
    pub code: String,
    /// What failed and how to mend it.
    pub cause: String,
    /// Milliseconds since 1970.
    pub at: i64,
}

/// A hold in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRow {
    /// `all`, `site:news`, `post:news/42`, …
    pub scope: String,
    /// Who put it on.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Milliseconds since 1970.
    pub at: i64,
}

/// What a check of the log found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Records read.
    pub checked_records: u64,
    /// Posts they belong to.
    pub posts: u64,
    /// Broken invariants, each with its post and position; empty when all is well.
    pub violations: Vec<String>,
}
