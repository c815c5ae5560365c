//! Every rule about a post. Knows nothing it was not given.
//!
//! Over 500 lines on purpose: the rules call each other in one turn, and are read as one.

use copydesk_proto::{ContentHash, ProviderId, RouteId, SourceId, Timestamp};

use super::event::{
    Asked, End, Incoming, Input, IntakePosition, NoticeNumber, PlanStep, PostEvent, Redo, RunId,
    SourceVersion, Step, WriteNumber,
};
use super::policy::Policy;
use super::state::{DeadLetter, Effective, Phase, PostState, Progress, Run, evolve};
use crate::budget::Withheld;
use crate::content::{Answer, Field, FieldWrite, Mode, PostText};
use crate::failure::{Failure, FailureClass};
use crate::holds::{Hold, HoldScope};
use crate::limits;
use crate::routes::Coalesce;
use crate::sanitise::sanitise;
use crate::subscribers::notice_wait_ms;

/// Something is asked of a post.
#[derive(Debug, Clone)]
pub enum PostCommand {
    /// Take a webhook from the intake log.
    Accept(Incoming),
    /// The post was read.
    Read {
        /// For which run.
        run: RunId,
        /// What was read, or why not.
        result: Result<ReadResult, Failure>,
    },
    /// An enrichment was answered.
    Enriched {
        /// For which run.
        run: RunId,
        /// The place in the plan.
        step: u8,
        /// The text it was asked about.
        input: ContentHash,
        /// Who was asked, when it was not the plan's provider: one that took over.
        by: Option<ProviderId>,
        /// The answer, or why not.
        result: Result<Answer, Failure>,
    },
    /// There is no money for a step that was asked for.
    Withheld {
        /// For which run.
        run: RunId,
        /// Which step.
        step: Step,
        /// By which budget, and until when.
        withheld: Withheld,
    },
    /// A write was answered.
    Written {
        /// For which run.
        run: RunId,
        /// The write.
        write: WriteNumber,
        /// What became of it, or why not.
        result: Result<WriteResult, Failure>,
    },
    /// The notices of a run's end are in the log.
    Told {
        /// Of which end.
        notice: NoticeNumber,
    },
    /// Time has passed, or a hold was released.
    Tick,
    /// An operator wants a dead letter tried again.
    Retry {
        /// Which.
        run: RunId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// From where, and with what changed.
        redo: Redo,
    },
    /// An operator gives a dead letter up.
    Drop {
        /// Which.
        run: RunId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// An operator gives up what waits, up to a place in the log. What is under way goes on.
    DropWaiting {
        /// The newest event that may be dropped.
        up_to: IntakePosition,
        /// Only events of this source.
        source: Option<SourceId>,
        /// Only events of this route.
        route: Option<RouteId>,
        /// Who.
        by: String,
    },
    /// An operator wants the post's content forgotten: everything open is dropped, answers go,
    /// and the state without them is written down.
    Erase {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Write the whole state down, so that older records may be trimmed.
    Checkpoint,
}

/// What reading a post gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadResult {
    /// The text.
    Found(Input),
    /// There is no such post, or it is in the bin.
    Gone,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteResult {
    /// It stands.
    Applied {
        /// What WordPress stores now, by hash.
        stored: Vec<(Field, ContentHash)>,
        /// Fields left alone.
        kept: Vec<Field>,
        /// Fields whose value waits for an editor.
        suggested: Vec<Field>,
    },
    /// The post's text is no longer the one enriched.
    Changed,
    /// A newer write stands already.
    Stale,
    /// There is no such post any more.
    Gone,
}

/// Why a command changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The intake record was considered before.
    #[error("this event was considered before")]
    AlreadyConsidered,
    /// The queue is full; the event stays in the intake log until there is room.
    #[error("this post's queue is full")]
    QueueFull,
    /// Nobody waits for this answer.
    #[error("nothing waits for this answer")]
    NotAsked,
    /// No such dead letter.
    #[error("this post has no such dead letter")]
    NoSuchDeadLetter,
    /// A checkpoint is only taken of a post at rest.
    #[error("the post is at work")]
    Busy,
    /// No such step in the run's plan.
    #[error("the run has no such step")]
    NoSuchStep,
    /// The value cannot be written to its field.
    #[error("the value cannot be written to its field: it is empty, too long, or no plain text")]
    UnfitValue,
    /// Nothing of what was named waits.
    #[error("nothing waits")]
    NothingWaits,
}

/// What follows from a command: events to append, or why there are none.
///
/// # Errors
/// A [`Rejection`]; the state is as before.
pub fn decide(
    state: &PostState,
    command: PostCommand,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<PostEvent>, Rejection> {
    let mut turn = Turn::new(state.clone(), policy, now);
    turn.take(command)?;
    Ok(turn.finish().1)
}

/// Several commands decided as one: their events are appended as one record.
#[derive(Debug)]
pub struct Turn<'p> {
    pub(super) state: PostState,
    pub(super) events: Vec<PostEvent>,
    pub(super) policy: &'p Policy,
    pub(super) now: Timestamp,
}

impl<'p> Turn<'p> {
    /// A turn from this state.
    #[must_use]
    pub const fn new(state: PostState, policy: &'p Policy, now: Timestamp) -> Self {
        Self { state, events: Vec::new(), policy, now }
    }

    /// Decides one command.
    ///
    /// # Errors
    /// A [`Rejection`]; the turn is as before.
    pub fn take(&mut self, command: PostCommand) -> Result<(), Rejection> {
        match command {
            PostCommand::Accept(incoming) => self.accept(incoming)?,
            PostCommand::Read { run, result } => self.read(run, result)?,
            PostCommand::Enriched { run, step, input, by, result } => {
                self.enriched(run, step, input, by, result)?;
            }
            PostCommand::Written { run, write, result } => self.written(run, write, result)?,
            PostCommand::Withheld { run, step, withheld } => {
                self.asked(run, step)?;
                self.emit(PostEvent::StepHeld { run, step, withheld });
            }
            PostCommand::Told { notice } => {
                if !self.state.owed.iter().any(|owed| owed.notice == notice) {
                    return Err(Rejection::NotAsked);
                }
                self.emit(PostEvent::NoticePosted { notice });
            }
            PostCommand::Tick => {}
            PostCommand::Retry { run, by, reason, redo } => {
                let redo = fit(&self.dead_letter(run)?.run, redo)?;
                self.emit(PostEvent::RetryRequested { run, by, reason, redo });
            }
            PostCommand::Drop { run, by, reason } => {
                self.dead_letter(run)?;
                self.emit(PostEvent::DeadLetterDropped { run, by, reason });
            }
            PostCommand::DropWaiting { up_to, source, route, by } => {
                self.drop_waiting(up_to, source.as_ref(), route.as_ref(), &by)?;
            }
            PostCommand::Erase { by, reason } => return self.erase(&by, &reason),
            PostCommand::Checkpoint => {
                if !self.state.is_idle() {
                    return Err(Rejection::Busy);
                }
                self.emit(PostEvent::Checkpointed(Box::new(self.state.clone())));
            }
        }
        self.advance();
        Ok(())
    }

    /// The state after the turn, and the events that led there.
    #[must_use]
    pub fn finish(self) -> (PostState, Vec<PostEvent>) {
        (self.state, self.events)
    }

    fn emit(&mut self, event: PostEvent) {
        if let Some(owed) = self.owed_for(&event) {
            self.apply(owed);
        }
        self.apply(event);
    }

    fn apply(&mut self, event: PostEvent) {
        self.state = evolve(std::mem::take(&mut self.state), &event);
        self.events.push(event);
    }

    fn accept(&mut self, incoming: Incoming) -> Result<(), Rejection> {
        if incoming.position <= self.state.considered {
            return Err(Rejection::AlreadyConsidered);
        }
        if let Some(end) = self.ignored_as(&incoming) {
            self.emit(PostEvent::Ignored { incoming, end });
            return Ok(());
        }
        if self.state.waiting.len() >= limits::WAITING_MAX {
            return Err(Rejection::QueueFull);
        }
        self.emit(PostEvent::Accepted(incoming));
        Ok(())
    }

    fn ignored_as(&self, incoming: &Incoming) -> Option<End> {
        let fresh = |at: Timestamp| incoming.received_at.since_ms(at) < limits::IDEMPOTENCY_TTL_MS;
        let seen = self.state.seen.iter().find(|s| s.key == incoming.key && fresh(s.at));
        if let Some(seen) = seen {
            return Some(if seen.body == incoming.body {
                End::Duplicate { of: seen.position }
            } else {
                End::Filtered { rule: "key_reused".to_owned() }
            });
        }
        if incoming.route.is_none() {
            return Some(End::Filtered { rule: "no_route".to_owned() });
        }
        self.superseded(incoming)
    }

    /// Superseded when the event's own version is older than the newest that took effect.
    fn superseded(&self, incoming: &Incoming) -> Option<End> {
        let Effective { position, version } = self.state.effective?;
        let older = incoming.version?.is_older_than(version?);
        older.then_some(End::Superseded { by: position })
    }

    fn dead_letter(&self, run: RunId) -> Result<&DeadLetter, Rejection> {
        self.state.dead.iter().find(|d| d.run.id == run).ok_or(Rejection::NoSuchDeadLetter)
    }

    fn drop_waiting(
        &mut self,
        up_to: IntakePosition,
        source: Option<&SourceId>,
        route: Option<&RouteId>,
        by: &str,
    ) -> Result<(), Rejection> {
        let wanted = |i: &Incoming| {
            i.position <= up_to
                && source.is_none_or(|s| *s == i.source)
                && (route.is_none() || route == i.route.as_ref())
        };
        let waiting = self.state.waiting.iter().filter(|i| wanted(i)).map(|i| i.position);
        let mut events: Vec<PostEvent> = waiting
            .map(|position| PostEvent::Ended { position, end: End::Dropped { by: by.to_owned() } })
            .collect();
        let rests = |run: &&Run| !run.all_steps().any(|(_, p)| p.phase == Phase::Asked);
        let run = self.state.run.iter().filter(rests).chain(&self.state.resumed);
        events.extend(run.filter(|run| wanted(&run.incoming)).map(|run| PostEvent::RunEnded {
            run: run.id,
            end: End::Dropped { by: by.to_owned() },
        }));
        if events.is_empty() {
            return Err(Rejection::NothingWaits);
        }
        events.into_iter().for_each(|event| self.emit(event));
        Ok(())
    }

    /// Nothing may advance after it: a new run would bring the content back.
    fn erase(&mut self, by: &str, reason: &str) -> Result<(), Rejection> {
        if self
            .state
            .run
            .as_ref()
            .is_some_and(|r| r.all_steps().any(|(_, p)| p.phase == Phase::Asked))
            || !self.state.owed.is_empty()
        {
            return Err(Rejection::Busy);
        }
        let dropped = || End::Dropped { by: by.to_owned() };
        let waiting = self.state.waiting.iter().map(|i| i.position);
        let mut events: Vec<PostEvent> =
            waiting.map(|position| PostEvent::Ended { position, end: dropped() }).collect();
        let runs = self.state.run.iter().chain(&self.state.resumed).map(|run| run.id);
        events.extend(runs.map(|run| PostEvent::RunEnded { run, end: dropped() }));
        let (by, reason) = (by.to_owned(), reason.to_owned());
        events.extend(self.state.dead.iter().map(|dead| PostEvent::DeadLetterDropped {
            run: dead.run.id,
            by: by.clone(),
            reason: reason.clone(),
        }));
        // Not `emit`: nobody is told of what is to be forgotten.
        events.into_iter().for_each(|event| self.apply(event));
        self.emit(PostEvent::Erased { by, reason });
        self.emit(PostEvent::Checkpointed(Box::new(self.state.clone())));
        Ok(())
    }

    /// The run, if it waits for an answer to this step.
    fn asked(&self, run: RunId, step: Step) -> Result<&Run, Rejection> {
        let waits =
            |r: &&Run| r.id == run && r.progress(step).is_some_and(|p| p.phase == Phase::Asked);
        self.state.run.as_ref().filter(waits).ok_or(Rejection::NotAsked)
    }

    fn read(&mut self, run: RunId, result: Result<ReadResult, Failure>) -> Result<(), Rejection> {
        // A run that recovers from a crash reads again without being asked: the text it worked on
        // was only in memory.
        let current = self.state.run.as_ref().filter(|r| r.id == run).ok_or(Rejection::NotAsked)?;
        match result {
            Ok(ReadResult::Found(input)) => {
                if current.input.map(|i| i.hash) == Some(input.hash) {
                    return Err(Rejection::NotAsked);
                }
                self.emit(PostEvent::PostRead { run, input });
            }
            Ok(ReadResult::Gone) => self.emit(PostEvent::RunEnded { run, end: End::Gone }),
            Err(failure) => {
                self.asked(run, Step::Read)?;
                self.fail(run, Step::Read, None, failure);
            }
        }
        Ok(())
    }

    fn enriched(
        &mut self,
        run: RunId,
        place: u8,
        input: ContentHash,
        by: Option<ProviderId>,
        result: Result<Answer, Failure>,
    ) -> Result<(), Rejection> {
        let step = Step::Enrich(place);
        let current = self.asked(run, step)?;
        if current.input.map(|i| i.hash) != Some(input) {
            return Err(Rejection::NotAsked);
        }
        match result {
            Ok(answer) => {
                let of = asked_of(current, step, by);
                let step = place;
                self.emit(PostEvent::EnrichmentAnswered { run, step, answer, reused: false, of });
            }
            Err(failure) => self.fail(run, step, by, failure),
        }
        Ok(())
    }

    fn written(
        &mut self,
        run: RunId,
        write: WriteNumber,
        result: Result<WriteResult, Failure>,
    ) -> Result<(), Rejection> {
        let current = self.asked(run, Step::Write)?;
        if current.write.as_ref().map(|w| w.number) != Some(write) {
            return Err(Rejection::NotAsked);
        }
        let end = |end: End| PostEvent::RunEnded { run, end };
        match result {
            Ok(WriteResult::Applied { stored, kept, suggested }) => {
                let outcome = match (&stored[..], &suggested[..], &kept[..]) {
                    ([], [_, ..], _) => End::Suggested,
                    ([], [], [_, ..]) => End::Kept,
                    ([_, ..], _, _) | ([], [], []) => End::Applied,
                };
                self.emit(PostEvent::WriteApplied { run, write, stored, kept, suggested });
                self.emit(end(outcome));
            }
            Ok(WriteResult::Changed) => self.text_changed(run, write),
            Ok(WriteResult::Stale) => {
                let by = self.state.considered;
                self.emit(end(End::Superseded { by }));
            }
            Ok(WriteResult::Gone) => self.emit(end(End::Gone)),
            Err(failure) => self.fail(run, Step::Write, None, failure),
        }
        Ok(())
    }

    /// The text changed under the run: a waiting event will bring the new one; else work on it now.
    fn text_changed(&mut self, run: RunId, write: WriteNumber) {
        if let Some(next) = self.state.waiting.front() {
            let by = next.position;
            self.emit(PostEvent::RunEnded { run, end: End::Superseded { by } });
            return;
        }
        let restarts = self.state.run.as_ref().map_or(0, |r| r.restarts);
        if restarts < limits::RESTARTS_MAX {
            self.emit(PostEvent::WriteRefused { run, write });
            return;
        }
        let cause = "the post's text changed each time it was about to be written; \
                     retry when the editing has ended";
        let failure = Failure::new(FailureClass::Terminal, "text_keeps_changing", cause);
        self.fail(run, Step::Write, None, failure);
    }

    fn fail(&mut self, run: RunId, step: Step, by: Option<ProviderId>, failure: Failure) {
        let Some(progress) = self.state.run.as_ref().and_then(|r| r.progress(step)) else { return };
        let retry_at = self.retry_at(run, step, progress, &failure);
        let attempt = progress.attempts;
        let of = self.state.run.as_ref().and_then(|r| asked_of(r, step, by));
        let at = self.now;
        self.emit(PostEvent::AttemptFailed { run, step, attempt, failure, retry_at, at, of });
    }

    fn retry_at(
        &self,
        run: RunId,
        step: Step,
        progress: &Progress,
        failure: &Failure,
    ) -> Option<Timestamp> {
        let tries = &self.policy.tries;
        let policy = match step {
            Step::Read => &tries.read,
            Step::Enrich(_) => &tries.enrich,
            Step::Write => &tries.write,
        };
        let give_up = match failure.class {
            FailureClass::Terminal => true,
            // A notice's schedule says itself when it is over.
            FailureClass::Retry if self.policy.key.subscriber().is_some() => false,
            FailureClass::Retry => progress.counted + 1 >= policy.attempts_max,
            FailureClass::Unavailable => {
                let since = progress.failing_since.unwrap_or(self.now);
                self.now.since_ms(since) >= tries.unavailable_max_ms
            }
        };
        if give_up {
            return None;
        }
        let entropy = jitter(run, step, progress.attempts);
        if self.policy.key.subscriber().is_some() && failure.class == FailureClass::Retry {
            let wait_ms = notice_wait_ms(progress.counted + 1, entropy, failure.retry_after_ms)?;
            return Some(self.now.after_ms(wait_ms));
        }
        // Waits for a service to come back stay short, and do not lengthen those after it is back.
        let failures = match failure.class {
            FailureClass::Unavailable => progress.attempts.min(limits::UNAVAILABLE_DOUBLINGS_MAX),
            FailureClass::Retry | FailureClass::Terminal => progress.counted,
        };
        let delay_ms = policy.delay_ms(failures, entropy, failure.retry_after_ms);
        Some(self.now.after_ms(delay_ms))
    }

    /// Takes the run, and after it the next, as far as they go without an answer from outside.
    fn advance(&mut self) {
        loop {
            let before = self.events.len();
            if self.state.run.is_some() {
                self.advance_run();
            } else {
                self.start_next();
            }
            if self.events.len() == before {
                return;
            }
        }
    }

    fn start_next(&mut self) {
        if let Some(run) = self.state.resumed.front() {
            let run_id = run.id;
            let newer = self.state.effective.filter(|e| overtook(*e, run));
            self.emit(match newer {
                Some(e) => {
                    PostEvent::RunEnded { run: run_id, end: End::Superseded { by: e.position } }
                }
                None => PostEvent::RunResumed { run: run_id },
            });
            return;
        }
        if self.state.dead.iter().any(|d| d.run.blocks) {
            return;
        }
        let Some(head) = self.state.waiting.front() else { return };
        let position = head.position;
        if let Some(end) = self.superseded(head) {
            self.emit(PostEvent::Ended { position, end });
            return;
        }
        let Some(route) = &head.route else { return };
        let Some(plan) = self.policy.plans.get(route) else {
            let end = End::Filtered { rule: "no_route".to_owned() };
            self.emit(PostEvent::Ended { position, end });
            return;
        };
        let held = self.policy.held(&needs_of_start(head)).is_some();
        if held || start_at(&self.state, self.policy).is_none_or(|at| at > self.now) {
            return;
        }
        let group = group_len(&self.state, plan.coalesce);
        let Some(leader) = self.state.waiting.get(group - 1).cloned() else { return };
        // The head may have named no version, and the last of its group one that is too old.
        if let Some(end) = self.superseded(&leader) {
            self.emit(PostEvent::Ended { position: leader.position, end });
            return;
        }
        // The wish of one that is absorbed goes over to the leader.
        let again = self.state.waiting.iter().take(group).any(|w| w.again);
        let absorbed: Vec<_> =
            self.state.waiting.iter().take(group - 1).map(|w| w.position).collect();
        for position in absorbed {
            let end = End::Superseded { by: leader.position };
            self.emit(PostEvent::Ended { position, end });
        }
        self.emit(PostEvent::RunStarted {
            run: RunId(leader.position),
            plan: plan.steps.clone(),
            blocks: plan.blocks,
            suggests: self.policy.suggests,
            input: leader.text.map(|hash| Input { hash, modified_at: None }),
            again,
        });
    }

    fn advance_run(&mut self) {
        let Some(run) = &self.state.run else { return };
        if let Some((step, failure)) = settled_failure(run) {
            let event = PostEvent::DeadLettered {
                run: run.id,
                step,
                failure: failure.clone(),
                at: self.now,
            };
            self.emit(event);
            return;
        }
        if run.steps.is_empty() {
            self.advance_write();
            return;
        }
        let Some(input) = run.input else {
            self.ask_if_due(Step::Read);
            return;
        };
        for place in (0u8..).take(run.steps.len()) {
            self.advance_enrichment(place, input.hash);
        }
        let Some(run) = &self.state.run else { return };
        if run.steps.iter().all(|s| s.progress.phase == Phase::Done) {
            self.advance_write();
        }
    }

    fn advance_enrichment(&mut self, place: u8, input: ContentHash) {
        let Some(run) = &self.state.run else { return };
        let Some(step) = run.steps.get(usize::from(place)) else { return };
        if step.progress.phase != Phase::Idle {
            self.ask_if_due(Step::Enrich(place));
            return;
        }
        let current = run;
        let run = run.id;
        let stands = self.state.settled.get(&step.plan.enrichment);
        if stands == Some(&(input, step.plan.prompt_version)) {
            self.emit(PostEvent::StepSkipped { run, step: place });
        } else if let Some(answer) = self.state.paid_answer(&step.plan, input).cloned() {
            let (step, reused, of) = (place, true, asked_of(current, Step::Enrich(place), None));
            self.emit(PostEvent::EnrichmentAnswered { run, step, answer, reused, of });
        } else {
            self.ask_if_due(Step::Enrich(place));
        }
    }

    fn advance_write(&mut self) {
        let Some(run) = &self.state.run else { return };
        let id = run.id;
        if run.write.is_some() {
            self.ask_if_due(Step::Write);
            return;
        }
        let answered = run.steps.iter().filter_map(|s| s.answer.as_ref().map(|a| (&s.plan, a)));
        let said = answered.clone().filter(|(_, answer)| !answer.value.is_empty());
        let write = |plan: &PlanStep, answer: &Answer| FieldWrite {
            field: plan.field.clone(),
            value: answer.value.clone(),
            mode: plan.mode,
            base: self.state.written.get(&plan.field).copied(),
        };
        let fields: Vec<FieldWrite> = said
            .clone()
            .filter(|(plan, _)| plan.mode != Mode::Suggest || run.suggests)
            .map(|(plan, answer)| write(plan, answer))
            .collect();
        // A route without enrichments hands the event's own words on; the shell adds them.
        if !fields.is_empty() || run.steps.is_empty() {
            let write = WriteNumber(self.state.write_number.0 + 1);
            self.emit(PostEvent::WriteIntended { run: id, write, fields });
        } else if said.count() > 0 {
            self.emit(PostEvent::RunEnded { run: id, end: End::Suggested });
        } else if answered.count() > 0 {
            let end = End::Filtered { rule: "nothing_to_say".to_owned() };
            self.emit(PostEvent::RunEnded { run: id, end });
        } else {
            self.emit(PostEvent::RunEnded { run: id, end: End::Unchanged });
        }
    }

    /// Asks for a step that is idle or whose wait is over, unless it is held.
    fn ask_if_due(&mut self, step: Step) {
        let Some(run) = &self.state.run else { return };
        let Some(progress) = run.progress(step) else { return };
        if ask_at(&self.state, run, step, progress, self.policy).is_none_or(|at| at > self.now) {
            return;
        }
        let attempt = progress.attempts + 1;
        self.emit(PostEvent::StepAsked { run: run.id, step, attempt, at: self.now });
    }
}

/// Whether newer work took effect while the run was a dead letter: by version where both name
/// one, else by place in the log.
fn overtook(effective: Effective, run: &Run) -> bool {
    match (run.incoming.version, effective.version) {
        (Some(mine), Some(its)) if mine.is_older_than(its) => true,
        (Some(mine), Some(its)) if its.is_older_than(mine) => false,
        (Some(_) | None, Some(_) | None) => effective.position > run.id.0,
    }
}

/// When a step may be asked for: `None` while it is not to be asked, or held.
pub(super) fn ask_at(
    state: &PostState,
    run: &Run,
    step: Step,
    progress: &Progress,
    policy: &Policy,
) -> Option<Timestamp> {
    let due = match &progress.phase {
        Phase::Idle => Timestamp::default(),
        Phase::Waiting { until, because: _ } => *until,
        // A cap that was raised since, or a start with another configuration, opens it early.
        Phase::Held(withheld) if policy.budgets_changed_at > withheld.since => Timestamp::default(),
        Phase::Held(withheld) => withheld.until?,
        Phase::Asked | Phase::Done | Phase::Failed(_) => return None,
    };
    if policy.held(&needs_of(run, step)).is_some() {
        return None;
    }
    if !matches!(step, Step::Enrich(_)) {
        return Some(due);
    }
    let spent = state.asks.count >= policy.tries.asks_per_hour_max;
    let hour_end = state.asks.since.after_ms(limits::ASK_WINDOW_MS);
    Some(if spent { due.max(hour_end) } else { due })
}

/// What an operator may have on hold that this step needs, beside the post and its site.
pub(super) fn needs_of(run: &Run, step: Step) -> Vec<HoldScope> {
    match step {
        Step::Read => Vec::new(),
        Step::Write => vec![HoldScope::Deliveries],
        Step::Enrich(place) => run.steps.get(usize::from(place)).map_or_else(Vec::new, |step| {
            vec![
                HoldScope::Provider(step.plan.provider.clone()),
                HoldScope::Enrichment(step.plan.enrichment.clone()),
            ]
        }),
    }
}

/// What an operator may have on hold that a new run needs, beside the post and its site.
pub(super) fn needs_of_start(head: &Incoming) -> Vec<HoldScope> {
    let source = HoldScope::Source(head.source.clone());
    std::iter::once(source).chain(head.route.clone().map(HoldScope::Route)).collect()
}

/// Who was asked: the plan's provider, or who took over for it.
fn asked_of(run: &Run, step: Step, by: Option<ProviderId>) -> Option<Asked> {
    let Step::Enrich(place) = step else { return None };
    let plan = &run.steps.get(usize::from(place))?.plan;
    let provider = by.unwrap_or_else(|| plan.provider.clone());
    Some(Asked { provider, field: plan.field.clone() })
}

/// The operator's wish, with values as they may be written.
fn fit(run: &Run, redo: Redo) -> Result<Redo, Rejection> {
    let known = |place: u8| usize::from(place) < run.steps.len();
    let mut places = redo.providers.iter().map(|(place, _)| *place);
    let from = match redo.from {
        Some(Step::Enrich(place)) => known(place),
        None | Some(Step::Read | Step::Write) => true,
    };
    if !from || !places.all(known) {
        return Err(Rejection::NoSuchStep);
    }
    let values = redo.values.into_iter().map(|(place, value)| {
        let step = run.steps.get(usize::from(place)).ok_or(Rejection::NoSuchStep)?;
        let value = sanitise(&step.plan.field, &value, &PostText::default())
            .map_err(|_| Rejection::UnfitValue)?;
        if value.is_empty() { Err(Rejection::UnfitValue) } else { Ok((place, value)) }
    });
    Ok(Redo { values: values.collect::<Result<_, _>>()?, ..redo })
}

/// The hold that keeps the post's work waiting, and the newest event that waits for its end.
#[must_use]
pub fn held<'p>(state: &PostState, policy: &'p Policy) -> Option<(IntakePosition, &'p Hold)> {
    let is_wanted =
        |p: &Progress| matches!(p.phase, Phase::Idle | Phase::Waiting { .. } | Phase::Held(_));
    let hold = match (&state.run, state.waiting.front()) {
        (Some(run), _) => {
            let wanted = run
                .all_steps()
                .filter(|(step, progress)| matches!(step, Step::Enrich(_)) && is_wanted(progress));
            policy.held(&wanted.flat_map(|(step, _)| needs_of(run, step)).collect::<Vec<_>>())
        }
        (None, Some(head)) => policy.held(&needs_of_start(head)),
        (None, None) => None,
    }?;
    let newest = state.waiting.back().map(|incoming| incoming.position);
    Some((newest.or(state.run.as_ref().map(|run| run.id.0))?, hold))
}

/// A step that failed for good, once no other step is in flight: what is paid for is kept.
fn settled_failure(run: &Run) -> Option<(Step, &Failure)> {
    if run.all_steps().any(|(_, p)| p.phase == Phase::Asked) {
        return None;
    }
    run.all_steps().find_map(|(step, p)| match &p.phase {
        Phase::Failed(failure) => Some((step, failure)),
        Phase::Idle | Phase::Asked | Phase::Waiting { .. } | Phase::Held(_) | Phase::Done => None,
    })
}

/// How many waiting events the next run takes: one, or all of the same route in a row.
fn group_len(state: &PostState, coalesce: Coalesce) -> usize {
    let route = state.waiting.front().map(|w| &w.route);
    match coalesce {
        Coalesce::Every => 1,
        Coalesce::Latest { .. } => {
            state.waiting.iter().take_while(|w| Some(&w.route) == route).count().max(1)
        }
    }
}

/// When the next run may start; `None` when nothing waits, its route is gone, or too many ends are
/// still to be told.
pub(super) fn start_at(state: &PostState, policy: &Policy) -> Option<Timestamp> {
    if state.owed.len() >= limits::OWED_MAX {
        return None;
    }
    let head = state.waiting.front()?;
    let plan = policy.plans.get(head.route.as_ref()?)?;
    let gap = match (head.version, state.effective.and_then(|e| e.version)) {
        (Some(SourceVersion::Sequence(n)), Some(SourceVersion::Sequence(last))) => n > last + 1,
        (Some(SourceVersion::Sequence(n)), None) => n > 1,
        (Some(SourceVersion::Modified(_)) | None, _) | (Some(_), Some(_)) => false,
    };
    let after_gap = head.received_at.after_ms(if gap { plan.gap_wait_ms } else { 0 });
    let Coalesce::Latest { quiet_ms, max_wait_ms } = plan.coalesce else { return Some(after_gap) };
    let group = group_len(state, plan.coalesce);
    if group >= limits::WAITING_MAX {
        return Some(after_gap);
    }
    let received = || state.waiting.iter().take(group).map(|w| w.received_at);
    let first = received().min()?.after_ms(max_wait_ms);
    let last = received().max()?.after_ms(quiet_ms);
    Some(after_gap.max(first.min(last)))
}

/// When the post should be looked at again without being asked: the earliest retry, or the end
/// of a quiet period. `None`: only an answer, a new event or an operator moves it.
#[must_use]
pub fn next_wake(state: &PostState, policy: &Policy) -> Option<Timestamp> {
    let Some(run) = &state.run else {
        let blocked = state.dead.iter().any(|d| d.run.blocks);
        let needs = state.waiting.front().map_or_else(Vec::new, needs_of_start);
        let stopped = blocked || policy.held(&needs).is_some();
        return if stopped { None } else { start_at(state, policy) };
    };
    run.all_steps()
        .filter(|(_, p)| matches!(p.phase, Phase::Waiting { .. } | Phase::Held(_) | Phase::Idle))
        .filter_map(|(step, p)| ask_at(state, run, step, p, policy))
        .filter(|at| *at > Timestamp::default())
        .min()
}

/// A number that spreads retries, and is the same whenever the same history is decided again.
fn jitter(run: RunId, step: Step, attempt: u32) -> u64 {
    let step = match step {
        Step::Read => 0,
        Step::Enrich(place) => 1 + u64::from(place),
        Step::Write => 300,
    };
    // SplitMix64 (Steele et al., 2014), one round over the three numbers.
    let mut x = run.0.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (step << 32) ^ u64::from(attempt);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Whether `position` may still be decided: for readers that skip what is done.
#[must_use]
pub fn is_new(state: &PostState, position: IntakePosition) -> bool {
    position > state.considered
}
