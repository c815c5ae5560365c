//! What a check of the log found.

use copydesk_core::post::End;
use copydesk_eventlog::Sequence;
use copydesk_proto::PostKey;

/// Most violations a report lists; one fault usually shows in many records.
pub const VIOLATIONS_MAX: usize = 1_000;

/// What a check of the log found. Where older records were trimmed, they are not counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Records read.
    pub records: u64,
    /// Posts they belong to.
    pub posts: u64,
    /// Webhooks in the log.
    pub events: u64,
    /// Events that joined a queue.
    pub accepted: u64,
    /// Events whose results stand in WordPress.
    pub applied: u64,
    /// Events that left a person's words, or another value, as it was.
    pub kept: u64,
    /// Events whose results are suggestions.
    pub suggested: u64,
    /// Events whose text had been worked on before.
    pub unchanged: u64,
    /// Events that a newer one replaced.
    pub superseded: u64,
    /// Events whose idempotency key was seen before.
    pub duplicates: u64,
    /// Events that no work was wanted for.
    pub filtered: u64,
    /// Events whose post is gone.
    pub gone: u64,
    /// Events that an operator gave up.
    pub dropped: u64,
    /// Dead letters at the end of the log.
    pub dead: u64,
    /// Events accepted and not ended at the end of the log, dead letters apart.
    pub waiting: u64,
    /// Webhooks without a decision at the end of the log.
    pub unconsidered: u64,
    /// What is wrong, in the log's order, then what shows only at its end; the first
    /// [`VIOLATIONS_MAX`].
    pub violations: Vec<Violation>,
    /// Violations found and not listed.
    pub unlisted: u64,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The post; `None` for a record of no post.
    pub post: Option<PostKey>,
    /// The sequence of the record that shows it.
    pub position: u64,
    /// Which rule of [`verify`](super::verify).
    pub rule: &'static str,
    /// What is wrong, in plain words.
    pub text: String,
}

impl Report {
    /// Whether every promise was kept.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.unlisted == 0
    }
}

/// The report in the making, and where it is.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) report: Report,
    post: Option<PostKey>,
    position: u64,
}

impl Findings {
    /// What is added from now on is about this record.
    pub(super) fn at(&mut self, post: Option<&PostKey>, sequence: Sequence) {
        self.post = post.cloned();
        self.position = sequence.0;
    }

    pub(super) fn add(&mut self, rule: &'static str, text: String) {
        if self.report.violations.len() >= VIOLATIONS_MAX {
            self.report.unlisted += 1;
            return;
        }
        let violation = Violation { post: self.post.clone(), position: self.position, rule, text };
        self.report.violations.push(violation);
    }

    pub(super) fn count(&mut self, end: &End) {
        let report = &mut self.report;
        let counter = match end {
            End::Applied => &mut report.applied,
            End::Kept => &mut report.kept,
            End::Suggested => &mut report.suggested,
            End::Unchanged => &mut report.unchanged,
            End::Superseded { .. } => &mut report.superseded,
            End::Duplicate { .. } => &mut report.duplicates,
            End::Filtered { .. } => &mut report.filtered,
            End::Gone => &mut report.gone,
            End::Dropped { .. } => &mut report.dropped,
        };
        *counter += 1;
    }
}
