//! Holds and caps are events of the desk's own subject, so they outlive the process and name who
//! and why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use copydesk_core::budget::{BudgetName, Caps};
use copydesk_core::holds::{Hold, HoldScope, Holds, TooManyHolds};
use copydesk_eventlog::{AppendError, EventLog, NewRecord, ReadError, Sequence, Subject};
use copydesk_proto::{SCHEMA_VERSION, Timestamp, v1};
use v1::desk_event::Kind;

use crate::World;
use crate::records::DESK_SUBJECT;
use crate::treasury::TreasuryMessage;

/// Records read at a time.
const PAGE: usize = 256;

/// Tries against other operators acting at the same moment.
const TRIES_MAX: u32 = 8;

/// Why a hold or a cap was not set or released.
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

/// What operators have decided, by the log.
#[derive(Debug, Clone, Default)]
pub struct Office {
    /// What is held.
    pub holds: Holds,
    /// Caps in place of the configured ones.
    pub caps: BTreeMap<BudgetName, CapsSet>,
}

/// Caps that an operator set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapsSet {
    /// The caps.
    pub caps: Caps,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl Office {
    /// The caps in force: an operator's where there are some, else the configured ones.
    #[must_use]
    pub fn caps(&self, configured: Vec<(BudgetName, Caps)>) -> Vec<(BudgetName, Caps)> {
        let mut caps: BTreeMap<BudgetName, Caps> = configured.into_iter().collect();
        caps.extend(self.caps.iter().map(|(name, set)| (name.clone(), set.caps)));
        caps.into_iter().collect()
    }

    fn evolve(&mut self, event: Kind) -> Result<(), HoldError> {
        let scope = |text: &str| text.parse::<HoldScope>().map_err(|_| HoldError::Unreadable);
        match event {
            Kind::Held(held) => {
                let at = Timestamp(held.at_ms);
                self.holds.insert(Hold::new(scope(&held.scope)?, &held.by, &held.reason, at))?;
            }
            Kind::Released(released) => {
                self.holds.remove(&scope(&released.scope)?);
            }
            Kind::CapsSet(set) => {
                let name = set.budget.parse().map_err(|_| HoldError::Unreadable)?;
                let caps = Caps {
                    day_microdollars: set.day_microdollars,
                    month_microdollars: set.month_microdollars,
                };
                if set.configured {
                    self.caps.remove(&name);
                } else {
                    let (by, reason, at) = (set.by, set.reason, Timestamp(set.at_ms));
                    self.caps.insert(name, CapsSet { caps, by, reason, at });
                }
            }
        }
        Ok(())
    }
}

fn subject() -> Subject {
    Subject::new(DESK_SUBJECT).expect("a constant of plain tokens")
}

/// What operators have decided by the log, and the last sequence of the desk's subject.
///
/// # Errors
/// [`HoldError`] when the history cannot be read.
pub async fn load_office(log: &dyn EventLog) -> Result<(Office, Sequence), HoldError> {
    let (mut office, mut last) = (Office::default(), Sequence(0));
    loop {
        let page = log.history(&subject(), last, PAGE).await?;
        for record in &page {
            let stored: v1::DeskDecision = copydesk_proto::decode(record.payload.clone())
                .map_err(|_| HoldError::Unreadable)?;
            for event in stored.events {
                office.evolve(event.kind.ok_or(HoldError::Unreadable)?)?;
            }
            last = record.sequence;
        }
        if page.len() < PAGE {
            return Ok((office, last));
        }
    }
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
    let held = |office: &Office| office.holds.iter().any(|hold| hold.scope == *scope);
    append(world, |office| held(office).then(|| Kind::Released(event.clone()))).await
}

/// Puts an operator's caps in force; `None` gives the configured ones back.
pub(super) async fn set_caps(
    world: &World,
    name: &BudgetName,
    caps: Option<Caps>,
    by: &str,
    reason: &str,
) -> Result<(), HoldError> {
    let now = World::now();
    let set = caps.unwrap_or_default();
    let event = v1::CapsSet {
        budget: name.to_string(),
        day_microdollars: set.day_microdollars,
        month_microdollars: set.month_microdollars,
        by: by.to_owned(),
        reason: reason.to_owned(),
        at_ms: now.0,
        configured: caps.is_none(),
    };
    append(world, |_| Some(Kind::CapsSet(event.clone()))).await?;
    let configured = world.caps.get(name).copied().unwrap_or_default();
    let message = TreasuryMessage::SetCaps(name.clone(), caps.unwrap_or(configured));
    world.treasury.cast(message).map_err(|_| HoldError::Stopped)?;
    // One more than the clock: work withheld in this very millisecond looks again, too.
    world.budgets_changed_at.store(World::now().0 + 1, Ordering::Relaxed);
    Ok(())
}

/// Appends what `decide` says about the desk as the log has it, and puts the result in force.
/// `false` when there was nothing to append.
async fn append(
    world: &World,
    decide: impl Fn(&Office) -> Option<Kind>,
) -> Result<bool, HoldError> {
    let mut tries = 0;
    loop {
        let (mut office, last) = load_office(&*world.log).await?;
        let Some(kind) = decide(&office) else { return Ok(false) };
        office.evolve(kind.clone())?;
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
                world.holds.store(Arc::new(office.holds));
                return Ok(true);
            }
            Err(AppendError::WrongLastSequence { .. }) if tries < TRIES_MAX => tries += 1,
            Err(error) => return Err(HoldError::Append(error)),
        }
    }
}
