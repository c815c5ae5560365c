//! What lists and looks show, as their JSON has it.

use copydesk_actors::desk::trace::{Node, Trace};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
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

/// An AI service. Its key is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderRow {
    /// Its name.
    pub provider: String,
    /// `openai`, `anthropic` or `builtin`.
    pub kind: String,
    /// The model that is asked for; empty for `builtin`.
    pub model: String,
    /// Whether it has a key.
    pub key_set: bool,
    /// `closed` (fine), `open` or `half-open`.
    pub breaker: String,
    /// Requests under way.
    pub in_flight: u64,
    /// Spent since the start, in millionths of a dollar.
    pub cost_microdollars: u64,
}

/// One of the nodes that share the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// Whether it is the one that answers.
    pub this: bool,
    /// `works`, `leaves`, or `silent`: without a sign of life for longer than three renewals, soon
    /// to be replaced.
    pub state: String,
    /// Partitions of the log that it works on.
    pub partitions: Vec<u16>,
    /// Accepted events of those that have not ended, by its last renewal.
    pub backlog: u64,
    /// Milliseconds since its last renewal was seen here.
    pub lease_age_ms: u64,
    /// Copydesk's version there.
    pub version: String,
    /// Milliseconds since 1970 of its joining, by its own clock.
    pub joined_at: i64,
}

/// A WordPress site. Its password is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteRow {
    /// Its name.
    pub site: String,
    /// Its address, without a user.
    pub url: String,
    /// How results are written: `auto`, `core`, `plugin` or `ingest`.
    pub delivery: String,
    /// Whether it has an application password.
    pub password_set: bool,
    /// `closed` (fine), `open` or `half-open`.
    pub breaker: String,
    /// Requests under way.
    pub in_flight: u64,
}

/// Who may send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceRow {
    /// Its name.
    pub source: String,
    /// The site its posts belong to.
    pub site: String,
    /// How it proves itself: `wp-relay`, `github`, …; `api` where nothing is signed.
    pub scheme: String,
    /// Event types of its own.
    pub events: Vec<String>,
    /// Its live secrets, newest first.
    pub keys: Vec<KeyRow>,
    /// A secret without a last use proved nothing since, in milliseconds since 1970; `null` where
    /// the whole log was looked through.
    pub looked_back_to: Option<i64>,
    /// When its events come by themselves; absent where someone sends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleRow>,
}

/// A schedule and its last tick. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleRow {
    /// Five fields of cron.
    pub cron: String,
    /// The time zone they are in.
    pub timezone: String,
    /// The next tick; absent when there is none.
    pub next_at: Option<i64>,
    /// The last tick, or when the schedule began; absent before that.
    pub last_at: Option<i64>,
    /// Whether that one is done.
    pub done: bool,
    /// Posts whose turn it brought.
    pub posts: u64,
}

/// A live secret. Never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyRow {
    /// Its id.
    pub id: String,
    /// When it last proved a webhook, in milliseconds since 1970.
    pub used_at: Option<i64>,
}

/// What became of an event that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SentRow {
    /// Its id; of the first copy when this is a repeat.
    pub event_id: String,
    /// `site/post`.
    pub post: String,
    /// Its place in the log.
    pub position: u64,
    /// Whether it was there before.
    pub duplicate: bool,
    /// Where it stands; see the events. Not looked at without a wait: `accepted`.
    pub state: String,
    /// Why, in plain words; empty when the state says it.
    pub cause: String,
    /// Whether it has ended: nothing more happens to it by itself.
    pub ended: bool,
}

/// A route: which events of a source ask for which enrichments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteRow {
    /// Its name.
    pub route: String,
    /// Whose events.
    pub source: String,
    /// The site its posts belong to.
    pub site: String,
    /// Which types; `*` for every type.
    pub events: Vec<String>,
    /// The enrichments, in order.
    pub enrich: Vec<String>,
    /// `every` or `latest`.
    pub coalesce: String,
    /// `continue` or `block`.
    pub on_dead_letter: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Where it stands: `waiting`, `working`, `dead`, `applied`, `superseded`, …
    pub state: String,
    /// Why it stands there, in plain words; empty when the state says it.
    pub cause: String,
}

/// One post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostRow {
    /// `site/post`.
    pub post: String,
    /// `idle`, `waiting`, `reading`, `enriching`, `writing`, `retrying` or `dead`.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostView {
    /// How it stands.
    pub row: PostRow,
    /// What happened, oldest first: at most the newest 10,000 records.
    pub journey: Vec<JourneyLine>,
}

/// One thing that happened to a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JourneyLine {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// A short word: `received`, `answered`, `written`, `dead`, …
    pub kind: String,
    /// A sentence for people, without the post's text.
    pub text: String,
    /// Its place in the log.
    pub position: u64,
}

/// One thing that happens to some post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FollowLine {
    /// `site/post`.
    pub post: String,
    /// What happened.
    #[serde(flatten)]
    pub line: JourneyLine,
}

/// A run that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterRow {
    /// `site/post`.
    pub post: String,
    /// Its number among the post's runs.
    pub run: u64,
    /// The step that failed: `read`, `write` or an enrichment.
    pub step: String,
    /// Stable code of the failure.
    pub code: String,
    /// What failed and how to mend it.
    pub cause: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Answers that are paid for and will be used when it is tried again.
    pub paid: u64,
}

/// Dead letters of one site with one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterGroupRow {
    /// The whole in a line: `412 posts of news: …`.
    pub title: String,
    /// The site.
    pub site: String,
    /// Stable code of the failure.
    pub code: String,
    /// What failed and how to mend it, in the words of the newest.
    pub cause: String,
    /// How many posts.
    pub posts: u64,
    /// How many dead letters.
    pub letters: u64,
    /// Milliseconds since 1970 of the first.
    pub first_at: i64,
    /// Milliseconds since 1970 of the last.
    pub last_at: i64,
    /// One of the posts, to look at.
    pub example: String,
}

/// A hold in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct VerifyReport {
    /// Records read.
    pub checked_records: u64,
    /// Posts they belong to.
    pub posts: u64,
    /// Broken invariants, each with its post and position; empty when all is well.
    pub violations: Vec<String>,
}

/// The way of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceRow {
    /// The id its sender was told.
    pub event_id: String,
    /// `site/post`.
    pub post: String,
    /// `post.published`, …
    pub event_type: String,
    /// Its place in the log.
    pub position: u64,
    /// To open it by in a tracing backend; empty when it has none.
    pub trace_id: String,
    /// How it ended, with the reason; empty while it has not.
    pub outcome: String,
    /// What happened, oldest first.
    pub nodes: Vec<TraceNodeRow>,
}

/// One thing that took its time, and what it consisted of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceNodeRow {
    /// `save post`, `store`, `wait`, `process`, `enrich summary #1`, …
    pub name: String,
    /// When it began, in milliseconds since 1970.
    pub at_ms: i64,
    /// How long it took; `null` while it lasts.
    pub took_ms: Option<u64>,
    /// What came of it, without content.
    pub said: String,
    /// Whether it failed.
    pub failed: bool,
    /// What it consisted of.
    #[schema(no_recursion)]
    pub nodes: Vec<Self>,
}

impl From<Trace> for TraceRow {
    fn from(trace: Trace) -> Self {
        let Trace { event_id, post, event_type, position, trace_id, outcome, nodes } = trace;
        let nodes = nodes.into_iter().map(TraceNodeRow::from).collect();
        Self { event_id, post, event_type, position, trace_id, outcome, nodes }
    }
}

impl From<Node> for TraceNodeRow {
    fn from(node: Node) -> Self {
        let Node { name, at_ms, took_ms, said, failed, nodes } = node;
        let nodes = nodes.into_iter().map(Self::from).collect();
        Self { name, at_ms, took_ms, said, failed, nodes }
    }
}
