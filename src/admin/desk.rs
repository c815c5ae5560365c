//! What a node can tell and do for an operator, as the admin API sees it.

use std::time::Duration;

use bytes::Bytes;
use copydesk_actors::desk::trace::Trace;
use copydesk_actors::ledger::{CostFilter, CostKey};
use copydesk_core::access::Reach;
use copydesk_core::budget::BudgetName;
use copydesk_core::content::FieldValue;
use copydesk_core::holds::HoldScope;
use copydesk_eventlog::ReadError;
use copydesk_proto::{PostKey, ProviderId, SourceId};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::{
    AttemptRow, BudgetRow, CostRow, Cursor, DeadLetterGroupRow, DeadLetterRow, EventRow,
    FollowLine, HoldRow, JobOrder, JobPlanRow, JobResultRow, JobRow, NewSubscriber, NodeRow,
    NoticeAttemptRow, PostRow, PostView, ProviderRow, RouteRow, SentRow, SiteRow, SourceRow,
    Status, SubscriberRequest, SubscriberView, VerifyReport,
};

/// Rows a list has when nothing is said.
pub const ROWS_DEFAULT: usize = 50;
/// Rows a list may have. A page that is longer is not read by anyone and slows the node.
pub const ROWS_MAX: usize = 200;

/// An answer that is on its way.
pub type Asked<'d, T> = BoxFuture<'d, Result<T, DeskError>>;

/// The journeys of posts after a place in the log, in its order, until the listener goes; all
/// lines of one record at once.
pub type Following = BoxStream<'static, Vec<FollowLine>>;

/// A backup, part by part; after an error there is no more, and what came is no backup.
pub type BackupParts = BoxStream<'static, Result<Bytes, ReadError>>;

/// The node behind the admin API. It does as it is told: who may tell it what is decided before.
/// Lists are newest first and no longer than the filter says.
pub trait Desk: Send + Sync + 'static {
    /// How the node is.
    fn status(&self) -> Asked<'_, Status>;
    /// The newest events.
    fn events(&self, filter: Filter) -> Asked<'_, Page<EventRow>>;
    /// One event, by the id its sender was told.
    fn event(&self, event_id: String) -> Asked<'_, EventRow>;
    /// Stores an event of one's own, and waits for its end as long as the order says. Durable when
    /// answered.
    fn send_event(&self, order: EventOrder) -> Asked<'_, SentRow>;
    /// What happens after a position, or from now on.
    fn follow(&self, after: Option<u64>) -> Asked<'_, Following>;
    /// The posts last touched.
    fn posts(&self, filter: Filter) -> Asked<'_, Page<PostRow>>;
    /// One post and its journey, oldest first.
    fn post(&self, post: PostKey) -> Asked<'_, PostView>;
    /// The ways of a post's newest events, or of the one by this id, from the log.
    fn traces(&self, of: TraceOf) -> Asked<'_, Vec<Trace>>;
    /// What waits for a person.
    fn dead_letters(&self, filter: Filter) -> Asked<'_, Page<DeadLetterRow>>;
    /// What waits for a person, by site and cause, the largest group first.
    fn dead_letter_groups(&self, filter: Filter) -> Asked<'_, Vec<DeadLetterGroupRow>>;
    /// Tries a dead letter again; what it has paid for is kept, unless the order says otherwise.
    /// Durable when answered.
    fn retry(&self, post: PostKey, run: u64, redo: RedoOrder, act: Act) -> Asked<'_, ()>;
    /// Gives a dead letter up. Durable when answered.
    fn drop_dead_letter(&self, post: PostKey, run: u64, act: Act) -> Asked<'_, ()>;
    /// The holds in force.
    fn holds(&self) -> Asked<'_, Vec<HoldRow>>;
    /// Holds a scope; a hold that is there stands and is answered. Durable when answered.
    fn hold(&self, scope: HoldScope, act: Act) -> Asked<'_, HoldRow>;
    /// Releases a scope; work goes on in order. Durable when answered.
    fn release(&self, scope: HoldScope, act: Act) -> Asked<'_, ()>;
    /// The jobs, newest first, with those that have ended.
    fn jobs(&self) -> Asked<'_, Vec<JobRow>>;
    /// One job.
    fn job(&self, id: String) -> Asked<'_, JobRow>;
    /// What a job would do; changes nothing.
    fn plan_job(&self, order: JobOrder) -> Asked<'_, JobPlanRow>;
    /// Starts a job. Durable when answered.
    fn start_job(&self, order: JobOrder, act: Act) -> Asked<'_, JobRow>;
    /// Pauses a job, lets it go on, or ends it. Durable when answered.
    fn turn_job(&self, id: String, turn: JobTurn, act: Act) -> Asked<'_, JobRow>;
    /// What became of a job's targets, in the order they were done.
    fn job_results(&self, id: String, after: Option<Cursor>) -> Asked<'_, Page<JobResultRow>>;
    /// The budgets, by name.
    fn budgets(&self) -> Asked<'_, Vec<BudgetRow>>;
    /// Sets a budget's caps. Durable when answered.
    fn set_caps(&self, budget: BudgetName, order: CapsOrder, act: Act) -> Asked<'_, BudgetRow>;
    /// What AI calls for posts of these sites cost, summed by these names.
    fn costs(&self, filter: CostFilter, reach: Reach, by: Vec<CostKey>) -> Asked<'_, Vec<CostRow>>;
    /// What AI calls for a post cost.
    fn post_costs(&self, post: PostKey) -> Asked<'_, Vec<CostRow>>;
    /// Every reading, AI call and write of a post.
    fn attempts(&self, post: PostKey) -> Asked<'_, Vec<AttemptRow>>;
    /// The nodes that share the log, by name; this one alone where none do.
    fn nodes(&self) -> Asked<'_, Vec<NodeRow>>;
    /// Who is told how events end, by name, each with its last attempts.
    fn subscribers(&self) -> Asked<'_, Vec<SubscriberView>>;
    /// Adds a subscriber. Durable when answered; its secret is not shown again.
    fn add_subscriber(&self, order: SubscriberRequest, act: Act) -> Asked<'_, NewSubscriber>;
    /// Enables, disables or removes one. Durable when answered.
    fn turn_subscriber(&self, id: String, turn: SubscriberTurn, act: Act) -> Asked<'_, ()>;
    /// Gives an added one a new secret. Durable when answered.
    fn rotate_subscriber(&self, id: String, act: Act) -> Asked<'_, String>;
    /// Sends it a test notice.
    fn ping_subscriber(&self, id: String) -> Asked<'_, NoticeAttemptRow>;
    /// Sends notices of a time once more; how many.
    fn replay_notices(&self, id: String, order: ReplayOrder, act: Act) -> Asked<'_, u64>;
    /// The WordPress sites, by name.
    fn sites(&self) -> Asked<'_, Vec<SiteRow>>;
    /// Who may send, by name.
    fn sources(&self) -> Asked<'_, Vec<SourceRow>>;
    /// The AI services, by name.
    fn providers(&self) -> Asked<'_, Vec<ProviderRow>>;
    /// The routes, in the order they are tried.
    fn routes(&self) -> Asked<'_, Vec<RouteRow>>;
    /// Reads the whole log and checks the invariants.
    fn verify(&self) -> Asked<'_, VerifyReport>;
    /// The whole log up to its present end, as a file.
    fn backup(&self) -> BackupParts;
}

/// Who acts, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Who.
    pub by: String,
    /// Why, in their words; may be empty.
    pub reason: String,
}

/// An event that comes in without a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOrder {
    /// The source it belongs to.
    pub source: SourceId,
    /// Its payload, as a webhook's body.
    pub body: Bytes,
    /// How long its end is waited for.
    pub wait: Duration,
    /// Who sends it.
    pub by: String,
    /// Sites that the sender reaches.
    pub reach: Reach,
}

/// How a dead letter is tried again. Steps go by their names: `read`, `write`, or the enrichment's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedoOrder {
    /// Where to begin; `None`: at what failed.
    pub from: Option<String>,
    /// Values in place of answers, by enrichment.
    pub answers: Vec<(String, FieldValue)>,
    /// Other AI services than the plan's, by enrichment.
    pub providers: Vec<(String, ProviderId)>,
}

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobTurn {
    /// It waits.
    Pause,
    /// It goes on.
    Resume,
    /// It ends.
    Cancel,
}

/// What becomes of a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriberTurn {
    /// It is told.
    Enable,
    /// It is told nothing, and nothing is kept for it.
    Disable,
    /// It is forgotten.
    Remove,
}

/// Which notices are sent once more, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayOrder {
    /// Not before.
    pub since: i64,
    /// Before.
    pub until: i64,
}

/// Caps in millionths of a dollar; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapsOrder {
    /// The configuration's.
    Configured,
    /// These.
    Set {
        /// Of a day.
        day: Option<u64>,
        /// Of a month.
        month: Option<u64>,
    },
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
    /// What was told is not what it should be; says why.
    #[error("{0}")]
    Invalid(String),
    /// It is there, and what was asked for cannot be done to it; says why.
    #[error("{0}")]
    Refused(String),
    /// The log does not answer; says it without a path, an address or a system's own words.
    #[error("{0}")]
    Unavailable(String),
}

/// What a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only of these sites.
    pub reach: Reach,
    /// Only of this post.
    pub post: Option<PostKey>,
    /// Only in this state, by the word the row shows.
    pub state: Option<String>,
    /// Only dead letters with this code.
    pub code: Option<String>,
    /// Only what comes after this place.
    pub before: Option<Cursor>,
    /// At most so many, 1 to [`ROWS_MAX`].
    pub limit: usize,
}

/// A part of a list, and where the rest begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<Row> {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next part begins; `None` at the end.
    pub next: Option<Cursor>,
}
