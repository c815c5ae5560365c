//! What durable events ask of the world.

use super::event::{PostEvent, RunId, Step};
use super::state::{Phase, PostState};

/// Work for the world, as data. Effects happen at least once; the run and the step name them, so
/// the receiver can tell a repeat: reads are harmless, AI calls carry run and step, writes carry
/// their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Effect {
    /// For which run.
    pub run: RunId,
    /// Which step of it.
    pub step: Step,
    /// Which try, from 1.
    pub attempt: u32,
}

/// What a new event asks for. Called once, after the event is durable.
#[must_use]
pub fn react(event: &PostEvent) -> Option<Effect> {
    match event {
        PostEvent::StepAsked { run, step, attempt, at: _ } => {
            Some(Effect { run: *run, step: *step, attempt: *attempt })
        }
        PostEvent::Accepted(_)
        | PostEvent::Ignored { .. }
        | PostEvent::Ended { .. }
        | PostEvent::RunStarted { .. }
        | PostEvent::PostRead { .. }
        | PostEvent::StepSkipped { .. }
        | PostEvent::EnrichmentAnswered { .. }
        | PostEvent::StepHeld { .. }
        | PostEvent::WriteIntended { .. }
        | PostEvent::WriteApplied { .. }
        | PostEvent::WriteRefused { .. }
        | PostEvent::AttemptFailed { .. }
        | PostEvent::RunEnded { .. }
        | PostEvent::DeadLettered { .. }
        | PostEvent::RetryRequested { .. }
        | PostEvent::RunResumed { .. }
        | PostEvent::DeadLetterDropped { .. }
        | PostEvent::Erased { .. }
        | PostEvent::Checkpointed(_) => None,
    }
}

/// What was asked for and not answered. Called once, after recovery.
#[must_use]
pub fn outstanding(state: &PostState) -> Vec<Effect> {
    let Some(run) = &state.run else { return Vec::new() };
    run.all_steps()
        .filter(|(_, progress)| progress.phase == Phase::Asked)
        .map(|(step, progress)| Effect { run: run.id, step, attempt: progress.attempts })
        .collect()
}
