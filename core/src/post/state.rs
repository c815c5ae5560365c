//! What a post is, as far as decisions need it; and how events change it. No rule lives here.

use std::collections::{BTreeMap, VecDeque};

use copydesk_proto::{ContentHash, EnrichmentId, Timestamp};

use super::event::{
    End, Incoming, Input, IntakePosition, NoticeNumber, PlanStep, PostEvent, RunId, SourceVersion,
    Step, WriteNumber,
};
use super::notice::Owed;
use super::redo::{begin_again, forget_failures};
use crate::budget::Withheld;
use crate::content::{Answer, Field, FieldWrite};
use crate::failure::Failure;
use crate::limits;

/// The fold of a post's events.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PostState {
    /// Highest intake position that a decision has covered.
    pub considered: IntakePosition,
    /// Accepted events that no run has taken yet, oldest first.
    pub waiting: VecDeque<Incoming>,
    /// The run at work.
    pub run: Option<Run>,
    /// Dead-lettered runs an operator wants tried again, in order.
    pub resumed: VecDeque<Run>,
    /// Runs waiting for an operator, oldest first.
    pub dead: VecDeque<DeadLetter>,
    /// Idempotency keys seen, oldest first.
    pub seen: VecDeque<SeenKey>,
    /// Newest event that took effect.
    pub effective: Option<Effective>,
    /// Last write number minted.
    pub write_number: WriteNumber,
    /// Hash of the value we last stored, by field.
    pub written: BTreeMap<Field, ContentHash>,
    /// Text and prompt version whose result stands, by enrichment.
    pub settled: BTreeMap<EnrichmentId, (ContentHash, u32)>,
    /// Answers paid for, newest last, a few per enrichment.
    pub answers: Vec<PaidAnswer>,
    /// AI calls asked for in the present hour.
    pub asks: AskWindow,
    /// Last number of a told end.
    pub notice_number: NoticeNumber,
    /// Ends that subscribers are still to be told of, oldest first.
    pub owed: VecDeque<Owed>,
}

/// A run: the work one event asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// The event that leads it.
    pub incoming: Incoming,
    /// The enrichments, each with how far it is.
    pub steps: Vec<RunStep>,
    /// The text; `None` until read.
    pub input: Option<Input>,
    /// How far reading is.
    pub read: Progress,
    /// The write, once it has its number.
    pub write: Option<Write>,
    /// How far the write is.
    pub write_progress: Progress,
    /// Whether a dead letter of this run stops the post.
    pub blocks: bool,
    /// Whether the site takes suggestions.
    pub suggests: bool,
    /// How often the text changed under the run.
    pub restarts: u32,
}

/// One enrichment of a run and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStep {
    /// The plan.
    pub plan: PlanStep,
    /// How far.
    pub progress: Progress,
    /// The answer, once there.
    pub answer: Option<Answer>,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// Where it stands.
    pub phase: Phase,
    /// Tries so far.
    pub attempts: u32,
    /// Tries that count against the maximum: not those where the other side was unavailable.
    pub counted: u32,
    /// First failure of the present row of failures.
    pub failing_since: Option<Timestamp>,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Phase {
    /// Not asked for.
    #[default]
    Idle,
    /// The world has been asked and has not answered.
    Asked,
    /// To be asked again.
    Waiting {
        /// Not before.
        until: Timestamp,
        /// What the last try failed with; unknown in the states of early releases.
        because: Option<Failure>,
    },
    /// To be asked when there is money.
    Held(Withheld),
    /// Answered, or not needed.
    Done,
    /// Out of tries.
    Failed(Failure),
}

/// A numbered write.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Its number.
    pub number: WriteNumber,
    /// What to write.
    pub fields: Vec<FieldWrite>,
}

/// A run that waits for an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The run as it stood.
    pub run: Run,
    /// The step that failed.
    pub step: Step,
    /// Why.
    pub failure: Failure,
    /// When.
    pub at: Timestamp,
}

/// An idempotency key, remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenKey {
    /// Hash of the key.
    pub key: [u8; 16],
    /// Hash of the body it came with.
    pub body: [u8; 8],
    /// The event it came with.
    pub position: IntakePosition,
    /// When.
    pub at: Timestamp,
}

/// The newest event that took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    /// Its place.
    pub position: IntakePosition,
    /// Its version, when it named one.
    pub version: Option<SourceVersion>,
}

/// An answer paid for, and what for.
#[derive(Debug, Clone, PartialEq)]
pub struct PaidAnswer {
    /// The text it was made from.
    pub input: ContentHash,
    /// The prompt it was made with.
    pub prompt_version: u32,
    /// The answer.
    pub answer: Answer,
}

/// AI calls asked for since `since`, at most one hour ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskWindow {
    /// Start of the hour.
    pub since: Timestamp,
    /// Calls.
    pub count: u32,
}

impl RunStep {
    pub(super) fn idle(plan: &PlanStep) -> Self {
        Self { plan: plan.clone(), progress: Progress::default(), answer: None }
    }
}

impl Run {
    /// The progress of a step; `None` for a place outside the plan.
    #[must_use]
    pub fn progress(&self, step: Step) -> Option<&Progress> {
        match step {
            Step::Read => Some(&self.read),
            Step::Enrich(place) => self.steps.get(usize::from(place)).map(|s| &s.progress),
            Step::Write => Some(&self.write_progress),
        }
    }

    fn progress_mut(&mut self, step: Step) -> Option<&mut Progress> {
        match step {
            Step::Read => Some(&mut self.read),
            Step::Enrich(place) => self.steps.get_mut(usize::from(place)).map(|s| &mut s.progress),
            Step::Write => Some(&mut self.write_progress),
        }
    }

    /// Every step with its progress, in the order they are done.
    pub fn all_steps(&self) -> impl Iterator<Item = (Step, &Progress)> {
        let enrich = (0u8..).zip(&self.steps).map(|(i, s)| (Step::Enrich(i), &s.progress));
        std::iter::once((Step::Read, &self.read))
            .chain(enrich)
            .chain(std::iter::once((Step::Write, &self.write_progress)))
    }
}

impl PostState {
    /// Whether nothing waits, runs or is owed. Dead letters do not count: they are an operator's.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.run.is_none()
            && self.resumed.is_empty()
            && self.owed.is_empty()
    }

    /// A kept answer for this text and prompt.
    #[must_use]
    pub fn paid_answer(&self, plan: &PlanStep, input: ContentHash) -> Option<&Answer> {
        let fits = |paid: &&PaidAnswer| {
            paid.input == input
                && paid.prompt_version == plan.prompt_version
                && paid.answer.enrichment == plan.enrichment
        };
        self.answers.iter().rev().find(fits).map(|paid| &paid.answer)
    }
}

/// The state after one more event. Total: an event that does not fit changes nothing.
#[must_use]
pub fn evolve(mut state: PostState, event: &PostEvent) -> PostState {
    match event {
        PostEvent::Accepted(incoming) => {
            consider(&mut state, incoming);
            let before = |w: &Incoming| match (incoming.version, w.version) {
                (Some(new), Some(old)) => new.is_older_than(old),
                (None, _) | (_, None) => false,
            };
            let place = state.waiting.iter().position(before).unwrap_or(state.waiting.len());
            state.waiting.insert(place, incoming.clone());
        }
        PostEvent::Ignored { incoming, end: _ } => consider(&mut state, incoming),
        PostEvent::Ended { position, end: _ } => state.waiting.retain(|w| w.position != *position),
        PostEvent::RunStarted { run, plan, blocks, suggests, input, again } => {
            if *again {
                forget_results(&mut state, plan);
            }
            start_run(&mut state, *run, plan, *blocks, *suggests, *input);
        }
        PostEvent::StepAsked { run, step, attempt, at } => {
            if matches!(step, Step::Enrich(_)) {
                count_ask(&mut state.asks, *at);
            }
            if let Some(progress) = current(&mut state, *run).and_then(|r| r.progress_mut(*step)) {
                progress.phase = Phase::Asked;
                progress.attempts = *attempt;
            }
        }
        PostEvent::PostRead { run, input } => read(&mut state, *run, *input),
        PostEvent::StepSkipped { run, step } => {
            if let Some(p) =
                current(&mut state, *run).and_then(|r| r.progress_mut(Step::Enrich(*step)))
            {
                p.phase = Phase::Done;
            }
        }
        PostEvent::EnrichmentAnswered { run, step, answer, reused, of: _ } => {
            answered(&mut state, *run, *step, answer, *reused);
        }
        PostEvent::WriteIntended { run, write, fields } => {
            state.write_number = *write;
            if let Some(run) = current(&mut state, *run) {
                run.write = Some(Write { number: *write, fields: fields.clone() });
            }
        }
        PostEvent::WriteApplied { run, write: _, stored, kept: _, suggested: _ } => {
            state.written.extend(stored.iter().cloned());
            if let Some(run) = current(&mut state, *run) {
                run.write_progress.phase = Phase::Done;
            }
        }
        PostEvent::WriteRefused { run, write: _ } => {
            if let Some(run) = current(&mut state, *run) {
                run.input = None;
                start_over(run);
            }
        }
        PostEvent::StepHeld { run, step, withheld } => {
            if let Some(p) = current(&mut state, *run).and_then(|r| r.progress_mut(*step)) {
                p.attempts = p.attempts.saturating_sub(1);
                p.phase = Phase::Held(withheld.clone());
            }
        }
        PostEvent::AttemptFailed { run, step, attempt: _, failure, retry_at, at, of: _ } => {
            if let Some(p) = current(&mut state, *run).and_then(|r| r.progress_mut(*step)) {
                p.failing_since.get_or_insert(*at);
                p.counted += u32::from(failure.class != crate::failure::FailureClass::Unavailable);
                p.phase = match retry_at {
                    Some(until) => {
                        Phase::Waiting { until: *until, because: Some(failure.in_short()) }
                    }
                    None => Phase::Failed(failure.in_short()),
                };
            }
        }
        PostEvent::NoticeOwed { notice, run, .. } => {
            state.notice_number = *notice;
            let runs = state.run.iter().chain(&state.resumed);
            let owed = runs.filter(|r| r.id == *run).find_map(|run| Owed::of(run, event));
            state.owed.extend(owed);
        }
        PostEvent::NoticePosted { notice } => state.owed.retain(|owed| owed.notice != *notice),
        PostEvent::RunEnded { run, end } => end_run(&mut state, *run, end),
        PostEvent::DeadLettered { run, step, failure, at } => {
            if let Some(run) = state.run.take_if(|r| r.id == *run) {
                if state.dead.len() >= limits::DEAD_LETTERS_MAX {
                    state.dead.pop_front();
                }
                state.dead.push_back(DeadLetter {
                    run,
                    step: *step,
                    failure: failure.in_short(),
                    at: *at,
                });
            }
        }
        PostEvent::RetryRequested { run, by: _, reason: _, redo } => {
            if let Some(place) = state.dead.iter().position(|d| d.run.id == *run)
                && let Some(mut dead) = state.dead.remove(place)
            {
                begin_again(&mut dead.run, &mut state.answers, redo);
                state.resumed.push_back(dead.run);
            }
        }
        PostEvent::RunResumed { run } => {
            if let Some(place) = state.resumed.iter().position(|r| r.id == *run) {
                state.run = state.resumed.remove(place).map(forget_failures);
            }
        }
        PostEvent::DeadLetterDropped { run, by: _, reason: _ } => {
            state.dead.retain(|d| d.run.id != *run)
        }
        PostEvent::Erased { .. } => {
            state.answers.clear();
            state.owed.clear();
        }
        PostEvent::Checkpointed(checkpoint) => state = (**checkpoint).clone(),
    }
    state
}

fn consider(state: &mut PostState, incoming: &Incoming) {
    state.considered = state.considered.max(incoming.position);
    let now = incoming.received_at;
    while state.seen.front().is_some_and(|s| {
        now.since_ms(s.at) >= limits::IDEMPOTENCY_TTL_MS
            || state.seen.len() >= limits::DEDUPE_RING_MAX
    }) {
        state.seen.pop_front();
    }
    if state.seen.iter().any(|s| s.key == incoming.key) {
        return;
    }
    state.seen.push_back(SeenKey {
        key: incoming.key,
        body: incoming.body,
        position: incoming.position,
        at: incoming.received_at,
    });
}

fn current(state: &mut PostState, run: RunId) -> Option<&mut Run> {
    state.run.as_mut().filter(|r| r.id == run)
}

fn start_run(
    state: &mut PostState,
    id: RunId,
    plan: &[PlanStep],
    blocks: bool,
    suggests: bool,
    input: Option<Input>,
) {
    let Some(place) = state.waiting.iter().position(|w| w.position == id.0) else { return };
    let Some(incoming) = state.waiting.remove(place) else { return };
    let read = match input {
        Some(_) => Progress { phase: Phase::Done, ..Progress::default() },
        None => Progress::default(),
    };
    state.run = Some(Run {
        id,
        incoming,
        steps: plan.iter().map(RunStep::idle).collect(),
        input,
        read,
        write: None,
        write_progress: Progress::default(),
        blocks,
        suggests,
        restarts: 0,
    });
}

/// The next answers to these enrichments are asked for, whatever the text.
fn forget_results(state: &mut PostState, plan: &[PlanStep]) {
    let is_planned = |enrichment: &EnrichmentId| plan.iter().any(|p| p.enrichment == *enrichment);
    state.settled.retain(|enrichment, _| !is_planned(enrichment));
    state.answers.retain(|paid| !is_planned(&paid.answer.enrichment));
}

fn read(state: &mut PostState, id: RunId, input: Input) {
    let Some(run) = current(state, id) else { return };
    let changed = run.input.is_some_and(|old| old.hash != input.hash);
    run.input = Some(input);
    run.read.phase = Phase::Done;
    if changed {
        start_over(run);
        run.read.phase = Phase::Done;
    }
}

/// Back to before the first step: the text is not the one worked on.
pub(super) fn start_over(run: &mut Run) {
    run.restarts += 1;
    run.read = Progress::default();
    run.write = None;
    run.write_progress = Progress::default();
    for step in &mut run.steps {
        step.progress = Progress::default();
        step.answer = None;
    }
}

fn answered(state: &mut PostState, id: RunId, place: u8, answer: &Answer, reused: bool) {
    let Some(run) = current(state, id) else { return };
    let Some(input) = run.input else { return };
    let Some(step) = run.steps.get_mut(usize::from(place)) else { return };
    step.progress.phase = Phase::Done;
    step.answer = Some(answer.clone());
    let prompt_version = step.plan.prompt_version;
    if reused {
        return;
    }
    let same = |paid: &PaidAnswer| paid.answer.enrichment == answer.enrichment;
    if state.answers.iter().filter(|paid| same(paid)).count() >= limits::PAID_ANSWERS_MAX
        && let Some(oldest) = state.answers.iter().position(same)
    {
        state.answers.remove(oldest);
    }
    state.answers.push(PaidAnswer { input: input.hash, prompt_version, answer: answer.clone() });
}

fn end_run(state: &mut PostState, id: RunId, end: &End) {
    let Some(run) = state.run.take_if(|r| r.id == id) else {
        state.resumed.retain(|r| r.id != id);
        return;
    };
    let took_effect = match end {
        End::Applied | End::Kept | End::Suggested | End::Unchanged => true,
        End::Superseded { .. }
        | End::Duplicate { .. }
        | End::Filtered { .. }
        | End::Gone
        | End::Dropped { .. } => false,
    };
    if !took_effect {
        return;
    }
    if let Some(input) = run.input {
        let settled = run
            .steps
            .iter()
            .map(|s| (s.plan.enrichment.clone(), (input.hash, s.plan.prompt_version)));
        state.settled.extend(settled);
    }
    state.effective = Some(Effective { position: id.0, version: run.incoming.version });
}

fn count_ask(asks: &mut AskWindow, at: Timestamp) {
    if asks.count == 0 || at.since_ms(asks.since) >= limits::ASK_WINDOW_MS {
        *asks = AskWindow { since: at, count: 0 };
    }
    asks.count += 1;
}
