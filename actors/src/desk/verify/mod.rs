//! Checks that a log keeps the promises it can show by itself: reads it once from start to end,
//! folds every post, and compares what it says with what it should say.
//!
//! | rule | promise |
//! | --- | --- |
//! | `log_order` | sequences grow |
//! | `readable` | every record can be read |
//! | `body` | a webhook's bytes have the hash that was verified |
//! | `owner` | whoever was replaced by a newer lease decides no more |
//! | `whole` | a post's decisions have no gap: they start at its first event or at a checkpoint |
//! | `considered` | each webhook is considered once, in order, none passed over |
//! | `phantom` | decisions speak only of webhooks that the log holds, as it holds them |
//! | `run` | one run at a time, of an event that waits; answers belong to it |
//! | `one_end` | an event ends once |
//! | `lost` | an event that has not ended waits, runs, or is a dead letter |
//! | `key` | one event per idempotency key, while the key is remembered |
//! | `write_number` | writes are numbered 1, 2, 3 … and applied once, in order |
//! | `paid_once` | an answer that is paid for and kept is not asked for again |
//! | `order` | events take effect in order, and no older version after a newer one |
//! | `summary` | the last decision alone tells how the post stands |
//! | `checkpoint` | a checkpoint is what the events before it give |
//!
//! Where older records were trimmed, a post is checked from its checkpoint on. Memory: the state of
//! every post (1 to 2 KB, more for posts with thousands of events in 30 days), and the webhooks
//! not considered yet, without their bodies.

mod keys;
mod post;
mod report;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

use std::collections::HashMap;

use copydesk_eventlog::{EventLog, Filter, ReadError, Record, Sequence};
use copydesk_proto::PostKey;

use self::post::PostAudit;
use self::report::Findings;
pub use self::report::{Report, VIOLATIONS_MAX, Violation};
use crate::records::{DECISIONS, INTAKE, post_of};

/// Records read at a time; of the largest, 96 MiB, of usual ones half a megabyte.
const PAGE: usize = 256;

/// Reads the log up to its present end. `progress` is told the records read so far, page by page.
///
/// # Errors
/// [`ReadError`] when the log cannot be read; what it cannot even read whole it does not judge.
pub async fn verify(
    log: &dyn EventLog,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Report, ReadError> {
    let end = log.last_sequence().await?;
    let mut audit = Audit::default();
    let mut after = Sequence(0);
    while after < end {
        let page = log.read(after, Filter(None), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.sequence;
        page.iter().filter(|record| record.sequence <= end).for_each(|record| audit.see(record));
        progress(audit.findings.report.records);
    }
    Ok(audit.finish())
}

/// The books of one reading.
#[derive(Debug, Default)]
struct Audit {
    posts: HashMap<PostKey, PostAudit>,
    findings: Findings,
    last: Sequence,
}

impl Audit {
    fn see(&mut self, record: &Record) {
        self.findings.report.records += 1;
        let key = post_of(&record.subject);
        self.findings.at(key.as_ref(), record.sequence);
        if record.sequence <= self.last {
            self.findings.add("log_order", format!("it comes after record {}", self.last));
        }
        self.last = self.last.max(record.sequence);
        let Some(key) = key else { return };
        let post = self.posts.entry(key).or_default();
        if Filter(Some(INTAKE)).matches(&record.subject) {
            post.intake(record, &mut self.findings);
        } else if Filter(Some(DECISIONS)).matches(&record.subject) {
            post.decision(record, &mut self.findings);
        }
    }

    fn finish(self) -> Report {
        let mut findings = self.findings;
        findings.report.posts = u64::try_from(self.posts.len()).unwrap_or(u64::MAX);
        for (key, post) in self.posts {
            post.finish(&key, &mut findings);
        }
        findings.report
    }
}
