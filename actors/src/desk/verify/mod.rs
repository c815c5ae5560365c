//! Checks that a log keeps the promises it can show by itself: reads it from start to end, a large one
//! several times, folds every post, and compares what it says with what it should say.
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
//! Where older records were trimmed, a post is checked from its checkpoint on. Memory: the states of
//! the posts that are checked at once (7 KB each, more for posts with thousands of events in 30
//! days), and their webhooks not considered yet, without their bodies.

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
use crate::records::{DECISIONS, INTAKE, PARTITIONS, partition_in, post_of};

/// Records read at a time; of the largest, 96 MiB, of usual ones half a megabyte.
const PAGE: usize = 256;

/// A log with more records is read several times, each time for some of its partitions: what is known
/// of a post takes up to 7 KB, and a million of them must not be known at once.
const RECORDS_OF_A_PASS: u64 = if cfg!(test) { 50 } else { 250_000 };

/// Reads the log up to its present end. `progress` is told the records read so far, page by page; of
/// a log that is read several times, their share of all of it.
///
/// # Errors
/// [`ReadError`] when the log cannot be read; what it cannot even read whole it does not judge.
pub async fn verify(
    log: &dyn EventLog,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Report, ReadError> {
    let mut end = log.last_sequence().await?;
    let passes = (end.0 / RECORDS_OF_A_PASS + 1).min(PARTITIONS);
    let mut findings = Findings::default();
    for pass in 0..passes {
        let mut audit = Audit { findings, pass, passes, ..Audit::default() };
        let mut after = Sequence(0);
        while after < end {
            let page = log.read(after, Filter(None), PAGE).await?;
            let Some(last) = page.last() else { break };
            // What was trimmed meanwhile is told by a checkpoint, perhaps behind the end so far.
            let sequences = page.iter().map(|record| record.sequence.0);
            if (after.0 + 1..).zip(sequences).any(|(expected, sequence)| expected != sequence) {
                end = log.last_sequence().await?;
            }
            after = last.sequence;
            page.iter().filter(|r| r.sequence <= end).for_each(|record| audit.see(record));
            progress((pass * end.0 + after.0.min(end.0)) / passes);
        }
        findings = audit.finish();
    }
    Ok(findings.report)
}

/// The books of one pass.
#[derive(Debug)]
struct Audit {
    posts: HashMap<PostKey, PostAudit>,
    findings: Findings,
    last: Sequence,
    pass: u64,
    passes: u64,
}

impl Default for Audit {
    /// Of the only pass.
    fn default() -> Self {
        let (posts, findings) = (HashMap::new(), Findings::default());
        Self { posts, findings, last: Sequence(0), pass: 0, passes: 1 }
    }
}

impl Audit {
    fn see(&mut self, record: &Record) {
        let key = post_of(&record.subject);
        if self.pass == 0 {
            self.findings.report.records += 1;
            self.findings.at(key.as_ref(), record.sequence);
            if record.sequence <= self.last {
                self.findings.add("log_order", format!("it comes after record {}", self.last));
            }
            self.last = self.last.max(record.sequence);
        }
        let partition = partition_in(&record.subject).map_or(0, u64::from);
        let Some(key) = key.filter(|_| partition % self.passes == self.pass) else { return };
        self.findings.at(Some(&key), record.sequence);
        let post = self.posts.entry(key).or_default();
        if INTAKE.matches(&record.subject) {
            post.intake(record, &mut self.findings);
        } else if DECISIONS.matches(&record.subject) {
            post.decision(record, &mut self.findings);
        }
    }

    fn finish(self) -> Findings {
        let mut findings = self.findings;
        findings.report.posts += u64::try_from(self.posts.len()).unwrap_or(u64::MAX);
        for (key, post) in self.posts {
            post.finish(&key, &mut findings);
        }
        findings
    }
}
