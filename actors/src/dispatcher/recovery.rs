//! Which posts have unfinished work, from the last record of each subject.

use std::collections::HashMap;

use copydesk_eventlog::{EventLog, Filter, ReadError, Sequence};
use copydesk_proto::{PostKey, v1};
use futures::StreamExt;

use crate::records::{BadRecord, DECISIONS, Decision, INTAKE, post_of};
use crate::sequencer::Remembered;

/// What a start needs to know.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Posts with unfinished work, each with its last intake record.
    pub unfinished: HashMap<PostKey, Sequence>,
    /// Events that decisions cover and that have not ended.
    pub backlog: i64,
    /// Runs that wait for an operator.
    pub dead_letters: i64,
    /// Where the log ended before this was found out: follow it from here.
    pub end: Sequence,
}

/// Why a start cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// A record is not what it should be.
    #[error("the log holds a record that is not readable by this release")]
    Record(#[from] BadRecord),
}

/// Finds the unfinished posts: those whose last decision says so, and those with intake records
/// that no decision covers. Tells where the history of each post ends.
///
/// # Errors
/// [`RecoveryError`] when the log cannot be read; nothing is skipped.
pub async fn recover(
    log: &dyn EventLog,
    remembered: &Remembered,
) -> Result<Recovery, RecoveryError> {
    let mut recovery = Recovery { end: log.last_sequence().await?, ..Recovery::default() };
    let mut considered: HashMap<PostKey, u64> = HashMap::new();
    let mut decisions = log.last_per_subject(Filter(Some(DECISIONS)));
    while let Some(record) = decisions.next().await {
        let record = record?;
        let Some(key) = post_of(&record.subject) else { continue };
        let v1::Summary { considered: covered, waiting, dead, .. } =
            Decision::read(&record)?.summary;
        remembered.ends_at(&key, record.sequence);
        recovery.backlog += i64::from(waiting);
        recovery.dead_letters += i64::from(dead);
        if waiting > 0 {
            recovery.unfinished.insert(key.clone(), Sequence(covered));
        }
        considered.insert(key, covered);
    }
    let mut intake = log.last_per_subject(Filter(Some(INTAKE)));
    while let Some(record) = intake.next().await {
        let record = record?;
        let Some(key) = post_of(&record.subject) else { continue };
        if considered.get(&key).copied().unwrap_or(0) < record.sequence.0 {
            recovery.unfinished.insert(key, record.sequence);
        }
    }
    Ok(recovery)
}
