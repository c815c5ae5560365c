//! How a dead letter begins again.

use super::event::{Redo, Step};
use super::state::{PaidAnswer, Phase, Progress, Run, RunStep, start_over};
use crate::content::Answer;

/// Makes a dead letter ready to be resumed in the way the operator wants.
pub(super) fn begin_again(run: &mut Run, answers: &mut Vec<PaidAnswer>, redo: &Redo) {
    for (place, provider) in &redo.providers {
        if let Some(step) = run.steps.get_mut(usize::from(*place)) {
            step.plan.provider = provider.clone();
        }
    }
    match redo.from {
        None => {}
        Some(Step::Read) => {
            let restarts = run.restarts;
            run.input = None;
            start_over(run);
            run.restarts = restarts;
        }
        Some(Step::Enrich(place)) => {
            if let Some(step) = run.steps.get_mut(usize::from(place)) {
                *step = RunStep::idle(&step.plan);
                let (name, input) = (&step.plan.enrichment, run.input.map(|i| i.hash));
                answers.retain(|paid| paid.answer.enrichment != *name || Some(paid.input) != input);
            }
            forget_write(run);
        }
        Some(Step::Write) => forget_write(run),
    }
    for (place, value) in &redo.values {
        let Some(step) = run.steps.get_mut(usize::from(*place)) else { continue };
        step.progress = Progress { phase: Phase::Done, ..Progress::default() };
        step.answer = Some(Answer {
            enrichment: step.plan.enrichment.clone(),
            value: value.clone(),
            model: String::new(),
            input_tokens: 0,
            output_tokens: 0,
            cost_microdollars: 0,
        });
        forget_write(run);
    }
}

/// The next write gets a number of its own: it may hold other values.
fn forget_write(run: &mut Run) {
    run.write = None;
    run.write_progress = Progress::default();
}

/// The run, with what failed as if it had never been tried.
pub(super) fn forget_failures(mut run: Run) -> Run {
    let steps = run.steps.iter_mut().map(|s| &mut s.progress);
    for progress in steps.chain([&mut run.read, &mut run.write_progress]) {
        if progress.phase != Phase::Done {
            *progress = Progress::default();
        }
    }
    run
}
