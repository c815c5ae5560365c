//! What durable events ask of the world.

use super::event::{NoticeNumber, PostEvent, RunId, Step};
use super::state::{Phase, PostState};

/// Work for the world, as data. Effects happen at least once; the run and the step name them, so
/// the receiver can tell a repeat: reads are harmless, AI calls carry run and step, writes carry
/// their number, notices their id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// Do a step of a run.
    Do {
        /// For which run.
        run: RunId,
        /// Which step of it.
        step: Step,
        /// Which try, from 1.
        attempt: u32,
    },
    /// Put the notices of a run's end into the log.
    Tell(NoticeNumber),
}

/// What a new event asks for. Called once, after the event is durable.
#[must_use]
pub fn react(event: &PostEvent) -> Option<Effect> {
    match event {
        PostEvent::StepAsked { run, step, attempt, at: _ } => {
            Some(Effect::Do { run: *run, step: *step, attempt: *attempt })
        }
        PostEvent::NoticeOwed { notice, .. } => Some(Effect::Tell(*notice)),
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
        | PostEvent::NoticePosted { .. }
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
    let steps = state.run.iter().flat_map(|run| {
        let asked = run.all_steps().filter(|(_, progress)| progress.phase == Phase::Asked);
        let run = run.id;
        asked.map(move |(step, progress)| Effect::Do { run, step, attempt: progress.attempts })
    });
    steps.chain(state.owed.iter().map(|owed| Effect::Tell(owed.notice))).collect()
}
