//! Which posts have unfinished work, from the last record of each subject.

use std::collections::HashMap;

use copydesk_core::roster::Partition;
use copydesk_eventlog::{EventLog, ReadError, Sequence};
use copydesk_proto::{PostKey, v1};
use futures::{StreamExt, TryStreamExt};

use crate::records::{
    BadRecord, DECISIONS, DecisionHead, INTAKE, PARTITIONS, partition_in, partition_subject,
    post_of,
};
use crate::sequencer::Remembered;

/// What a start needs to know.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Posts with unfinished work, each with its last intake record.
    pub unfinished: HashMap<PostKey, Sequence>,
    /// Of each partition: events that decisions cover and that have not ended, and runs that wait
    /// for an operator.
    pub counts: HashMap<Partition, (i64, i64)>,
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

/// Finds the unfinished posts of these partitions, or of all: those whose last decision says so, and
/// those with intake records that no decision covers. Tells where the history of each post ends.
///
/// # Errors
/// [`RecoveryError`] when the log cannot be read; nothing is skipped.
pub async fn recover(
    log: &dyn EventLog,
    remembered: &Remembered,
    partitions: Option<&[Partition]>,
) -> Result<Recovery, RecoveryError> {
    let mut recovery = Recovery { end: log.last_sequence().await?, ..Recovery::default() };
    let mut considered: HashMap<PostKey, u64> = HashMap::new();
    let lasts = |kind| match partitions {
        None => log.last_per_subject(kind),
        // A few dozen parents cost the log more than all subjects.
        Some(some) if some.len() as u64 == PARTITIONS => log.last_per_subject(kind),
        Some(some) => {
            let parents = some.iter().map(|partition| partition_subject(*partition)).collect();
            log.last_below(parents, kind)
        }
    };
    let mut decisions = lasts(DECISIONS);
    while let Some(record) = decisions.next().await {
        let record = record?;
        let Some(key) = post_of(&record.subject) else { continue };
        let v1::Summary { considered: covered, waiting, dead, owed, .. } =
            DecisionHead::read(&record)?.summary;
        let partition = partition_in(&record.subject).unwrap_or_default();
        remembered.ends_at(partition, &key, record.sequence);
        let (backlog, dead_letters) = recovery.counts.entry(partition).or_default();
        if key.subscriber().is_none() {
            *backlog += i64::from(waiting);
        }
        *dead_letters += i64::from(dead);
        if waiting > 0 || owed > 0 {
            recovery.unfinished.insert(key.clone(), Sequence(covered));
        }
        considered.insert(key, covered);
    }
    let mut intake = match partitions {
        None => log.last_sequences(INTAKE),
        Some(_) => lasts(INTAKE).map_ok(|record| (record.subject, record.sequence)).boxed(),
    };
    while let Some((subject, last)) = intake.try_next().await? {
        let Some(key) = post_of(&subject) else { continue };
        if considered.get(&key).copied().unwrap_or(0) < last.0 {
            recovery.unfinished.insert(key, last);
        }
    }
    Ok(recovery)
}
