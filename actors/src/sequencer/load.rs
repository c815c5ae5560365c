//! A post's state from its snapshot and the tail of its history.

use copydesk_core::post::{End, IntakePosition, PostEvent, PostState, Step, codec, evolve};
use copydesk_eventlog::{EventLog, ReadError, Sequence, Snapshot, SnapshotStore, crash_point};
use copydesk_proto::{PostKey, Timestamp, TraceContext};
use tracing::warn;

use crate::mistakes::{Mistake, makes};
use crate::records::{BadRecord, Decision, Subjects};

/// Records read at a time.
const PAGE: usize = 256;

/// A post as its log holds it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loaded {
    /// The fold.
    pub state: PostState,
    /// Last sequence of its decisions, 0 for none.
    pub last: Sequence,
    /// Events so far.
    pub events: u64,
    /// Events that the snapshot does not hold.
    pub unsaved: u64,
    /// Whether a snapshot was of use.
    pub from_snapshot: bool,
    /// What the records say of the run at work beside its state.
    pub run: RunTail,
}

/// What the trail of a run needs to go on, as far as the records after the snapshot have it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunTail {
    /// Its context, by the last decision.
    pub trace: Option<TraceContext>,
    /// Which process decided last.
    pub owner: u64,
    /// When it began.
    pub began: Option<Timestamp>,
    /// Steps that failed and wait for their next try: since when, and the failure's code.
    pub failed: Vec<(Step, Timestamp, String)>,
    /// Events whose place it took.
    pub absorbed: Vec<(IntakePosition, IntakePosition)>,
}

impl RunTail {
    fn take(&mut self, decision: &Decision) {
        (self.trace, self.owner) = (decision.trace, decision.owner);
        for event in &decision.events {
            if let PostEvent::RunStarted { .. } | PostEvent::RunResumed { .. } = event {
                self.began = Some(decision.decided_at);
                self.failed.clear();
            } else if let PostEvent::AttemptFailed {
                step, failure, at, retry_at: Some(_), ..
            } = event
            {
                self.failed.push((*step, *at, failure.code.clone()));
            } else if let PostEvent::StepAsked { step, .. } = event {
                self.failed.retain(|(failed, ..)| failed != step);
            } else if let PostEvent::Ended { position, end: End::Superseded { by } } = event {
                // Only those of the newest run are of use.
                self.absorbed.retain(|(_, place)| place == by);
                self.absorbed.push((*position, *by));
            }
        }
    }
}

/// Why a post cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The log cannot be read at present.
    #[error("its history cannot be read")]
    Read(#[source] ReadError),
    /// The post stays held until a release that can read it runs.
    #[error("its history is not readable by this release")]
    Record(#[source] BadRecord),
}

/// Folds the post. A snapshot that does not fit is left aside, never trusted over the log.
pub(crate) async fn load(
    log: &dyn EventLog,
    snapshots: &dyn SnapshotStore,
    key: &PostKey,
    subjects: &Subjects,
) -> Result<Loaded, LoadError> {
    let mut post = Loaded::default();
    if let Some((state, sequence)) = from_snapshot(log, snapshots, key) {
        // The record the snapshot was taken after must be there: a log that lost it (a power cut
        // in a profile that allows it) makes the snapshot a story that never happened.
        let before = Sequence(sequence.0.saturating_sub(1));
        let page = log.history(&subjects.decisions, before, 1).await.map_err(LoadError::Read)?;
        if let Some(record) = page.first().filter(|r| r.sequence == sequence) {
            let decision = Decision::read(record).map_err(LoadError::Record)?;
            let (events, from_snapshot) = (decision.summary.events, true);
            post = Loaded { state, last: sequence, events, from_snapshot, ..Loaded::default() };
            post.run.take(&decision);
        }
    }
    loop {
        let page =
            log.history(&subjects.decisions, post.last, PAGE).await.map_err(LoadError::Read)?;
        for record in &page {
            let decision = Decision::read(record).map_err(LoadError::Record)?;
            post.state = decision.events.iter().fold(std::mem::take(&mut post.state), evolve);
            post.last = record.sequence;
            post.run.take(&decision);
            post.events = decision.summary.events;
            post.unsaved += u64::try_from(decision.events.len()).unwrap_or(u64::MAX);
        }
        if page.len() < PAGE {
            if makes(Mistake::ForgetConsidered) {
                post.state.considered = IntakePosition(0);
            }
            return Ok(post);
        }
    }
}

fn from_snapshot(
    log: &dyn EventLog,
    snapshots: &dyn SnapshotStore,
    key: &PostKey,
) -> Option<(PostState, Sequence)> {
    let Snapshot { sequence, bytes } = snapshots.get(&name(log, key))?;
    let stored = copydesk_proto::decode(bytes).ok()?;
    match codec::decode_state(&stored) {
        Ok(state) => Some((state, sequence)),
        Err(error) => {
            warn!(post = %key, %error, "snapshot left aside");
            None
        }
    }
}

/// Snapshots are of one incarnation of the log: those of another are never found.
fn name(log: &dyn EventLog, key: &PostKey) -> Vec<u8> {
    format!("{}/{key}", log.id().0).into_bytes()
}

/// Saves the state as of `last`.
pub(crate) fn save(
    log: &dyn EventLog,
    snapshots: &dyn SnapshotStore,
    key: &PostKey,
    state: &PostState,
    last: Sequence,
) {
    let bytes = copydesk_proto::encode(&codec::encode_state(state));
    crash_point("sequencer.saving");
    snapshots.put(&name(log, key), &Snapshot { sequence: last, bytes });
    crash_point("sequencer.saved");
}
