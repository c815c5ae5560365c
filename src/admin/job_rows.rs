//! What jobs and money look like, as their JSON has it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::JobFilter;

/// What a job would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct JobPlanRow {
    /// Posts.
    pub posts: u64,
    /// Dead letters, or posts for verbs on posts.
    pub targets: u64,
    /// AI calls, at most: unchanged text and kept answers save some.
    pub calls: u64,
    /// What these calls cost by the average so far, in millionths of a dollar.
    pub cost_microdollars: u64,
    /// Calls of enrichments that were never paid for, and so are not in the cost.
    pub calls_unpriced: u64,
}

/// A job and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobRow {
    /// Its id.
    pub id: String,
    /// What it does.
    pub verb: String,
    /// To what.
    pub filter: JobFilter,
    /// `running`, `paused`, `done` or `cancelled`.
    pub state: String,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Milliseconds since 1970 of its start.
    pub created_at: i64,
    /// Milliseconds since 1970 of its last progress.
    pub at: i64,
    /// Targets found so far.
    pub targets: u64,
    /// Done.
    pub done: u64,
    /// Found done already, or gone.
    pub skipped: u64,
    /// Refused; the results say why.
    pub failed: u64,
}

/// What became of one target of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobResultRow {
    /// `site/post`.
    pub post: String,
    /// The dead letter's run; 0 for verbs on posts.
    pub run: u64,
    /// `done`, `skipped` or `failed`.
    pub outcome: String,
    /// Why, where it is not done.
    pub detail: String,
}

/// How a budget stands. Amounts are in millionths of a dollar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetRow {
    /// `provider:main` or `site:news`.
    pub budget: String,
    /// The most that a day may cost; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day_cap: Option<u64>,
    /// The most that a calendar month may cost; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month_cap: Option<u64>,
    /// Spent this day (UTC).
    pub day_spent: u64,
    /// Spent this month.
    pub month_spent: u64,
    /// Reserved for calls under way.
    pub reserved: u64,
}

/// What AI calls cost. Names that the rows are not told by are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostRow {
    /// The day, `2026-11-25`.
    pub day: String,
    /// Whose posts.
    pub site: String,
    /// Who was asked.
    pub provider: String,
    /// For which enrichment; empty for calls that failed.
    pub enrichment: String,
    /// Where the answers went.
    pub field: String,
    /// The model that answered; empty for calls that failed.
    pub model: String,
    /// Calls answered.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// The price, in millionths of a dollar.
    pub cost_microdollars: u64,
}

/// One try of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptRow {
    /// The event that led the run, by its place in the log.
    pub run: u64,
    /// `read`, `write`, or the enrichment's name.
    pub step: String,
    /// Which try, from 1.
    pub attempt: u32,
    /// Milliseconds since 1970 when the other side was asked.
    pub asked_at: i64,
    /// The same when it was over; absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// `asked`, `answered`, `read`, `applied`, `changed`, `held`, `failed` or `ended`.
    pub outcome: String,
    /// The failure's code; else empty.
    pub code: String,
    /// Why, in words; empty when the outcome says it.
    pub cause: String,
    /// The head of what the other side said, of a failure. It may repeat the post's text.
    pub response: String,
    /// What it cost, in millionths of a dollar.
    pub cost_microdollars: u64,
    /// Milliseconds since 1970 when the step is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<i64>,
}
