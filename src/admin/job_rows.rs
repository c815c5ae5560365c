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
