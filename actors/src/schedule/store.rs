//! The last tick of a schedule as a record of the log, both ways.

use copydesk_core::schedule::Tick;
use copydesk_eventlog::{AppendError, EventLog, NewRecord, ReadError, Sequence, Subject};
use copydesk_proto::{SCHEMA_VERSION, SourceId, Timestamp, v1};

/// How far a tick is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The tick.
    pub tick: Tick,
    /// Posts whose turn was stored by it.
    pub posts: u64,
    /// Which process is at it.
    pub owner: u64,
    /// When it last said so.
    pub at: Timestamp,
}

fn subject(source: &SourceId) -> Subject {
    Subject::new(&format!("cd.desk.{source}.tick")).expect("ids hold only what subjects may hold")
}

/// The last tick, and the sequence of its record; 0 when there was none.
pub(super) async fn load(
    log: &dyn EventLog,
    source: &SourceId,
) -> Result<(Option<Progress>, Sequence), ReadError> {
    let Some(record) = log.last(&subject(source)).await? else { return Ok((None, Sequence(0))) };
    let stored: v1::ScheduleTick =
        copydesk_proto::decode(record.payload.clone()).map_err(|error| ReadError::Corrupt {
            place: format!("record {}", record.sequence),
            reason: error.to_string(),
        })?;
    let v1::ScheduleTick { tick_ms, done, posts, owner, at_ms, .. } = stored;
    let tick = Tick { at: Timestamp(tick_ms), done };
    Ok((Some(Progress { tick, posts, owner, at: Timestamp(at_ms) }), record.sequence))
}

/// Forgets how far earlier ticks were: of a tick that is done, the last word is enough.
pub(super) async fn tidy(
    log: &dyn EventLog,
    source: &SourceId,
    last: Sequence,
) -> Result<(), ReadError> {
    log.trim(&subject(source), last).await
}

/// Writes it down, unless another process has since.
pub(super) async fn append(
    log: &dyn EventLog,
    source: &SourceId,
    progress: Progress,
    last: Sequence,
) -> Result<Sequence, AppendError> {
    let stored = v1::ScheduleTick {
        schema_version: SCHEMA_VERSION,
        tick_ms: progress.tick.at.0,
        done: progress.tick.done,
        posts: progress.posts,
        owner: progress.owner,
        at_ms: progress.at.0,
    };
    let record = NewRecord {
        subject: subject(source),
        message_id: None,
        expected_last: Some(last),
        headers: Vec::new(),
        payload: copydesk_proto::encode(&stored),
    };
    Ok(log.append(record).await?.sequence())
}
