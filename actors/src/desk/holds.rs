//! Holds are events of the desk's own subject, so they outlive the process and name who and why.

use std::sync::Arc;

use copydesk_core::holds::{Hold, HoldScope, Holds, TooManyHolds};
use copydesk_eventlog::{AppendError, EventLog, NewRecord, ReadError, Sequence, Subject};
use copydesk_proto::{SCHEMA_VERSION, Timestamp, v1};
use v1::desk_event::Kind;

use crate::World;
use crate::records::DESK_SUBJECT;

/// Records read at a time.
const PAGE: usize = 256;

/// Tries against other operators acting at the same moment.
const TRIES_MAX: u32 = 8;

/// Why a hold was not set or released.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The log did not take the event.
    #[error("the log did not take it")]
    Append(#[source] AppendError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The desk's history holds what this release does not know.
    #[error("the desk's history is not readable by this release")]
    Unreadable,
    /// Too many holds.
    #[error(transparent)]
    TooMany(#[from] TooManyHolds),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

fn subject() -> Subject {
    Subject::new(DESK_SUBJECT).expect("a constant of plain tokens")
}

/// The holds in force by the log, and the last sequence of the desk's subject.
///
/// # Errors
/// [`HoldError`] when the history cannot be read.
pub async fn load_holds(log: &dyn EventLog) -> Result<(Holds, Sequence), HoldError> {
    let (mut holds, mut last) = (Holds::default(), Sequence(0));
    loop {
        let page = log.history(&subject(), last, PAGE).await?;
        for record in &page {
            let stored: v1::DeskDecision = copydesk_proto::decode(record.payload.clone())
                .map_err(|_| HoldError::Unreadable)?;
            for event in stored.events {
                evolve(&mut holds, event.kind.ok_or(HoldError::Unreadable)?)?;
            }
            last = record.sequence;
        }
        if page.len() < PAGE {
            return Ok((holds, last));
        }
    }
}

fn evolve(holds: &mut Holds, event: Kind) -> Result<(), HoldError> {
    let scope = |text: &str| text.parse::<HoldScope>().map_err(|_| HoldError::Unreadable);
    match event {
        Kind::Held(held) => {
            let at = Timestamp(held.at_ms);
            holds.insert(Hold::new(scope(&held.scope)?, &held.by, &held.reason, at))?;
        }
        Kind::Released(released) => {
            holds.remove(&scope(&released.scope)?);
        }
    }
    Ok(())
}

pub(super) async fn hold(world: &World, hold: Hold) -> Result<(), HoldError> {
    let event = v1::Held {
        scope: hold.scope.to_string(),
        by: hold.by,
        reason: hold.reason,
        at_ms: hold.at.0,
    };
    append(world, |_| Some(Kind::Held(event.clone()))).await.map(|_| ())
}

pub(super) async fn release(
    world: &World,
    scope: &HoldScope,
    by: &str,
    reason: &str,
) -> Result<bool, HoldError> {
    let event = v1::Released {
        scope: scope.to_string(),
        by: by.to_owned(),
        at_ms: World::now().0,
        reason: reason.to_owned(),
    };
    let held = |holds: &Holds| holds.iter().any(|hold| hold.scope == *scope);
    append(world, |holds| held(holds).then(|| Kind::Released(event.clone()))).await
}

/// Appends what `decide` says about the holds as the log has them, and puts the result in force.
/// `false` when there was nothing to append.
async fn append(world: &World, decide: impl Fn(&Holds) -> Option<Kind>) -> Result<bool, HoldError> {
    let mut tries = 0;
    loop {
        let (mut holds, last) = load_holds(&*world.log).await?;
        let Some(kind) = decide(&holds) else { return Ok(false) };
        evolve(&mut holds, kind.clone())?;
        let stored = v1::DeskDecision {
            schema_version: SCHEMA_VERSION,
            events: vec![v1::DeskEvent { kind: Some(kind) }],
        };
        let record = NewRecord {
            subject: subject(),
            message_id: None,
            expected_last: Some(last),
            headers: Vec::new(),
            payload: copydesk_proto::encode(&stored),
        };
        match world.log.append(record).await {
            Ok(_) => {
                world.holds.store(Arc::new(holds));
                return Ok(true);
            }
            Err(AppendError::WrongLastSequence { .. }) if tries < TRIES_MAX => tries += 1,
            Err(error) => return Err(HoldError::Append(error)),
        }
    }
}
