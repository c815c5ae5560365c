//! What a post waits for, in the order in which it matters to a person.

use copydesk_proto::Timestamp;

use super::decide::{ask_at, needs_of, needs_of_start, start_at};
use super::event::Step;
use super::policy::Policy;
use super::state::{Phase, PostState, Run};
use crate::budget::Withheld;
use crate::failure::Failure;
use crate::holds::Hold;

/// Why a post does not go on at this moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// An operator holds it.
    Hold(Hold),
    /// A budget has no room.
    Budget(Withheld),
    /// An earlier run is a dead letter, and its route stops the post until someone acts.
    DeadLetter,
    /// The other side failed, is down, limits us, or is left alone by its breaker: the failure's
    /// code says which.
    Retry {
        /// The step.
        step: Step,
        /// The last failure; unknown in the states of early releases.
        because: Option<Failure>,
        /// Not before.
        until: Timestamp,
    },
    /// The post has asked for as many AI calls as it may in an hour.
    AskLimit {
        /// The end of the hour.
        until: Timestamp,
    },
    /// A quiet period, or a gap in the versions.
    Quiet {
        /// Its end.
        until: Timestamp,
    },
    /// The world was asked and has not answered.
    Answer {
        /// The step.
        step: Step,
    },
}

/// What the post waits for; `None` when nothing of it waits or runs, or when it goes on at once.
#[must_use]
pub fn waits(state: &PostState, policy: &Policy, now: Timestamp) -> Option<Reason> {
    if let Some(run) = &state.run {
        return run_waits(state, run, policy, now);
    }
    if state.is_idle() {
        return None;
    }
    if state.dead.iter().any(|dead| dead.run.blocks) && state.resumed.is_empty() {
        return Some(Reason::DeadLetter);
    }
    let needs = state.waiting.front().map_or_else(Vec::new, needs_of_start);
    if let Some(hold) = policy.held(&needs) {
        return Some(Reason::Hold(hold.clone()));
    }
    start_at(state, policy).filter(|at| *at > now).map(|until| Reason::Quiet { until })
}

fn run_waits(state: &PostState, run: &Run, policy: &Policy, now: Timestamp) -> Option<Reason> {
    let asked = run.all_steps().find(|(_, p)| p.phase == Phase::Asked);
    if let Some((step, _)) = asked {
        return Some(Reason::Answer { step });
    }
    run.all_steps().find_map(|(step, progress)| {
        let open = matches!(progress.phase, Phase::Idle | Phase::Waiting { .. } | Phase::Held(_));
        if !open {
            return None;
        }
        if let Some(hold) = policy.held(&needs_of(run, step)) {
            return Some(Reason::Hold(hold.clone()));
        }
        let at = ask_at(state, run, step, progress, policy);
        match &progress.phase {
            Phase::Held(withheld) if at.is_none_or(|at| at > now) => {
                Some(Reason::Budget(withheld.clone()))
            }
            Phase::Waiting { until, because } if *until > now => {
                Some(Reason::Retry { step, because: because.clone(), until: *until })
            }
            Phase::Idle
            | Phase::Asked
            | Phase::Waiting { .. }
            | Phase::Held(_)
            | Phase::Done
            | Phase::Failed(_) => at.filter(|at| *at > now).map(|until| Reason::AskLimit { until }),
        }
    })
}
