//! Finished history goes after its time. What is unfinished is never dropped by age: a post is
//! trimmed only when nothing of it waits, runs or is a dead letter, and only after its whole state
//! stands in the log as one checkpoint. Where there is an archive, only what is in it goes.

use std::time::Duration;

use copydesk_core::post::PostEvent;
use copydesk_eventlog::{ReadError, Record, Sequence};
use copydesk_proto::{PostKey, Timestamp};
use futures::StreamExt;
use tracing::{info, warn};

use crate::desk::{Desk, OperateError};
use crate::records::{DECISIONS, Decision, Subjects, partition_of, post_of};
use crate::sequencer::Operation;
use crate::{World, archive};

/// How often the log is looked through; a day more or less does not matter.
pub const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// Decisions that may follow a checkpoint before it is looked for.
const CHECKPOINT_PAGE: usize = 64;

/// Sweeps again and again, for as long as it is polled.
pub async fn sweep_for_ever(desk: Desk, keep: Duration, archives: bool) {
    let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let before = Timestamp(World::now().0.saturating_sub(keep_ms));
        match sweep(&desk, before, archives).await {
            Ok(0) => {}
            Ok(posts) => info!(posts, "finished history past its time was trimmed"),
            Err(error) => warn!(%error, "retention: the log could not be read; next time"),
        }
    }
}

/// Trims the posts whose last decision is older than `before`, and where `archives` says that there
/// is an archive, has it behind it. Returns how many.
///
/// # Errors
/// [`ReadError`] when the log cannot be read; what was trimmed by then stays so.
pub async fn sweep(desk: &Desk, before: Timestamp, archives: bool) -> Result<u64, ReadError> {
    let log = &desk.world().log;
    let end = if archives { archive::archived(&**log).await? } else { Sequence(u64::MAX) };
    let mut trimmed = 0;
    let mut last_decisions = log.last_per_subject(DECISIONS);
    while let Some(record) = last_decisions.next().await {
        let record = record?;
        // Each node trims the posts it works on.
        let is_mine = |key: &PostKey| desk.world().partitions.holds(partition_of(key));
        let finished = post_of(&record.subject).filter(|_| is_finished(&record, before));
        let Some(key) = finished.filter(is_mine) else { continue };
        let newest = log.last(&Subjects::of(&key).intake).await?;
        if newest.is_some_and(|newest| newest.sequence > end) {
            continue;
        }
        trimmed += u64::from(trim(desk, key, record.sequence).await?);
    }
    Ok(trimmed)
}

/// Whether a post's last decision leaves nothing open, is old, and is no checkpoint already.
fn is_finished(record: &Record, before: Timestamp) -> bool {
    Decision::read(record).is_ok_and(|decision| {
        decision.summary.waiting == 0
            && decision.summary.dead == 0
            && decision.decided_at < before
            && !matches!(decision.events.as_slice(), [PostEvent::Checkpointed(_)])
    })
}

async fn trim(desk: &Desk, key: PostKey, last: Sequence) -> Result<bool, ReadError> {
    let log = &desk.world().log;
    let subjects = Subjects::of(&key);
    match desk.operate(key, Operation::Checkpoint).await {
        Ok(()) => {}
        // An event came in between: another time.
        Err(OperateError::Rejected(_) | OperateError::NoAnswer) => return Ok(false),
    }
    for record in log.history(&subjects.decisions, last, CHECKPOINT_PAGE).await? {
        let Ok(decision) = Decision::read(&record) else { return Ok(false) };
        if let Some(PostEvent::Checkpointed(state)) = decision.events.first() {
            log.trim(&subjects.decisions, record.sequence).await?;
            log.trim(&subjects.intake, Sequence(state.considered.0)).await?;
            return Ok(true);
        }
    }
    Ok(false)
}
