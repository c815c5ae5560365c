//! One post's records against its promises.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use copydesk_core::limits::{DEAD_LETTERS_MAX, PAID_ANSWERS_MAX};
use copydesk_core::post::{
    Effective, End, Incoming, IntakePosition, PostEvent, PostState, RunId, SourceVersion, Step,
    WriteNumber, evolve,
};
use copydesk_eventlog::{Record, Sequence};
use copydesk_proto::{ContentHash, EnrichmentId, PostKey, v1};
use sha2::{Digest, Sha256};

use super::keys::Keys;
use super::report::Findings;
use crate::records::{Decision, Intake, end_name, summarise};

/// What is known of one post so far.
#[derive(Debug, Default)]
pub(super) struct PostAudit {
    state: PostState,
    /// Events so far, trimmed ones included; `None` before the first decision.
    events: Option<u64>,
    /// The sequence of its last decision.
    last: Sequence,
    /// The newest lease under which it was decided about.
    epoch: u64,
    /// Nothing more can be said about its decisions: one of them is missing or unreadable.
    blind: bool,
    /// Webhooks not considered yet, in the log's order.
    pending: VecDeque<Incoming>,
    /// Events considered that the log does not hold, with the record that did. Not wrong if a
    /// checkpoint follows: the webhooks before one may be trimmed before the decisions are.
    missing: Vec<(IntakePosition, Sequence)>,
    /// Events accepted and not ended.
    open: BTreeMap<IntakePosition, Open>,
    keys: Keys,
    /// What is paid for and kept, oldest first, by enrichment: text and prompt version.
    paid: HashMap<EnrichmentId, VecDeque<(ContentHash, u32)>>,
    last_applied: WriteNumber,
    effect: Effect,
}

#[derive(Debug, Default)]
struct Open {
    is_dead: bool,
    /// Joined the queue before events that came earlier, because of its version.
    overtook: bool,
}

/// The event that took effect last.
#[derive(Debug, Default)]
struct Effect {
    position: IntakePosition,
    version: Option<SourceVersion>,
    overtook: bool,
}

impl PostAudit {
    pub(super) fn intake(&mut self, record: &Record, findings: &mut Findings) {
        findings.report.events += 1;
        let intake = match Intake::read(record) {
            Ok(intake) => intake,
            Err(bad) => return findings.add("readable", bad.to_string()),
        };
        if Sha256::digest(&intake.body).as_slice() != intake.body_hash {
            let text = "its body does not have the hash that was verified".to_owned();
            findings.add("body", text);
        }
        self.pending.push_back(intake.incoming(IntakePosition(record.sequence.0)));
    }

    pub(super) fn decision(&mut self, record: &Record, findings: &mut Findings) {
        self.last = record.sequence;
        if self.blind {
            return;
        }
        let decision = match Decision::read(record) {
            Ok(decision) => decision,
            Err(bad) => {
                self.blind = true;
                return findings.add("readable", bad.to_string());
            }
        };
        self.silent_zombies(&decision, findings);
        let count = u64::try_from(decision.events.len()).unwrap_or(u64::MAX);
        let total = decision.summary.events;
        // Before a checkpoint, some may be trimmed: of a log that was read meanwhile, the middle.
        let goes_on = self.events.map_or(total <= count, |before| before + count == total);
        let events = if goes_on { Some(decision.events.as_slice()) } else { self.adopt(&decision) };
        let Some(events) = events else {
            self.blind = true;
            let text = format!("events of this post are missing before its event {total}");
            return findings.add("whole", text);
        };
        self.events = Some(total);
        for event in events {
            self.see(event, findings);
        }
        self.compare(&decision.summary, findings);
    }

    /// Whoever was replaced decides no more. Without a lease (0) an operator decided on another node.
    fn silent_zombies(&mut self, decision: &Decision, findings: &mut Findings) {
        let epoch = decision.epoch;
        if epoch != 0 && epoch < self.epoch {
            let text = format!("it was decided in epoch {epoch}, after epoch {}", self.epoch);
            findings.add("owner", text);
        }
        self.epoch = self.epoch.max(epoch);
    }

    /// Starts from the checkpoint in a decision; what follows it is left to see.
    fn adopt<'d>(&mut self, decision: &'d Decision) -> Option<&'d [PostEvent]> {
        let place = decision.events.iter().position(|e| matches!(e, PostEvent::Checkpointed(_)))?;
        let (PostEvent::Checkpointed(state), rest) = decision.events.get(place..)?.split_first()?
        else {
            return None;
        };
        self.covered(state);
        self.keys = Keys::of(state);
        self.open.clear();
        self.paid.clear();
        for paid in &state.answers {
            self.pay(&paid.answer.enrichment, (paid.input, paid.prompt_version));
        }
        for position in living(state) {
            self.open.insert(position, Open::default());
        }
        for dead in &state.dead {
            self.open.insert(dead.run.id.0, Open { is_dead: true, overtook: false });
        }
        if let Some(Effective { position, version }) = state.effective {
            // Whether it overtook others is not known any more.
            self.effect = Effect { position, version, overtook: true };
        }
        self.state = (**state).clone();
        Some(rest)
    }

    /// A checkpoint stands for the webhooks it covers.
    fn covered(&mut self, state: &PostState) {
        self.pending.retain(|incoming| incoming.position > state.considered);
        self.missing.retain(|(position, _)| *position > state.considered);
    }

    fn see(&mut self, event: &PostEvent, findings: &mut Findings) {
        self.check(event, findings);
        self.state = evolve(std::mem::take(&mut self.state), event);
        if let PostEvent::Accepted(incoming) = event {
            let overtook = self.state.waiting.back().map(|w| w.position) != Some(incoming.position);
            self.open.insert(incoming.position, Open { is_dead: false, overtook });
        }
    }

    fn check(&mut self, event: &PostEvent, findings: &mut Findings) {
        match event {
            PostEvent::Accepted(incoming) => {
                findings.report.accepted += 1;
                self.consider(incoming, findings);
                if self.keys.must_know(incoming) {
                    let position = incoming.position.0;
                    let text = format!("event {position} is accepted under a key seen before");
                    findings.add("key", text);
                }
                self.keys.add(incoming.key, incoming.received_at);
            }
            PostEvent::Ignored { incoming, end } => {
                self.consider(incoming, findings);
                self.keys.add(incoming.key, incoming.received_at);
                findings.count(end);
            }
            PostEvent::Ended { position, end } => self.end(*position, end, findings),
            PostEvent::RunStarted { run, plan, again, .. } => {
                self.start(*run, findings);
                if *again {
                    self.paid.retain(|paid, _| !plan.iter().any(|p| p.enrichment == *paid));
                }
            }
            PostEvent::StepAsked { run, step, .. } => self.ask(*run, *step, findings),
            PostEvent::EnrichmentAnswered { run, step, reused, .. } => {
                self.answer(*run, *step, *reused, findings);
            }
            PostEvent::WriteIntended { run, write, .. } => {
                self.at_work(*run, "a write is numbered", findings);
                if write.0 != self.state.write_number.0 + 1 {
                    let (number, last) = (write.0, self.state.write_number.0);
                    let text = format!("write {number} comes after write {last}");
                    findings.add("write_number", text);
                }
            }
            PostEvent::WriteApplied { run, write, .. } => self.apply(*run, *write, findings),
            PostEvent::RunEnded { run, end } => self.end_run(*run, end, findings),
            PostEvent::DeadLettered { run, .. } => {
                self.at_work(*run, "it becomes a dead letter", findings);
                // A post keeps so many; the oldest is only in the log from here on.
                if self.state.dead.len() >= DEAD_LETTERS_MAX
                    && let Some(oldest) = self.state.dead.front()
                {
                    self.open.remove(&oldest.run.id.0);
                }
                self.open.entry(run.0).and_modify(|open| open.is_dead = true);
            }
            PostEvent::RetryRequested { run, redo, .. } => {
                self.paid_anew(*run, redo.from);
                self.open.entry(run.0).and_modify(|open| open.is_dead = false);
            }
            PostEvent::RunResumed { run } => {
                if self.state.run.is_some() || !self.state.resumed.iter().any(|r| r.id == *run) {
                    let text = format!("event {} goes on, which nobody could ask for", run.0.0);
                    findings.add("run", text);
                }
            }
            PostEvent::DeadLetterDropped { run, by, .. } => {
                self.end(run.0, &End::Dropped { by: by.clone() }, findings);
            }
            PostEvent::Erased { .. } => self.paid.clear(),
            PostEvent::NoticeOwed { notice, .. } => {
                if notice.0 != self.state.notice_number.0 + 1 {
                    let (number, last) = (notice.0, self.state.notice_number.0);
                    findings.add("notice_number", format!("notice {number} comes after {last}"));
                }
            }
            PostEvent::NoticePosted { notice } => {
                if !self.state.owed.iter().any(|owed| owed.notice == *notice) {
                    findings.add("notice", format!("notice {} is told and not owed", notice.0));
                }
            }
            PostEvent::Checkpointed(state) => {
                if **state != self.state {
                    let text = "the checkpoint is not what the events before it give".to_owned();
                    findings.add("checkpoint", text);
                }
                self.covered(state);
            }
            PostEvent::PostRead { run, .. }
            | PostEvent::StepSkipped { run, .. }
            | PostEvent::WriteRefused { run, .. }
            | PostEvent::StepHeld { run, .. }
            | PostEvent::AttemptFailed { run, .. } => {
                self.at_work(*run, "it is answered", findings);
            }
        }
    }

    fn consider(&mut self, incoming: &Incoming, findings: &mut Findings) {
        let position = incoming.position;
        if position <= self.state.considered {
            let considered = self.state.considered.0;
            let text = format!("event {} is considered after event {considered}", position.0);
            return findings.add("considered", text);
        }
        while let Some(next) = self.pending.front().filter(|next| next.position <= position) {
            if next.position < position {
                let text =
                    format!("event {} is passed over by event {}", next.position.0, position.0);
                findings.add("considered", text);
                self.pending.pop_front();
                continue;
            }
            if next != incoming {
                let text = format!("event {} is not what its webhook says", position.0);
                findings.add("phantom", text);
            }
            self.pending.pop_front();
            return;
        }
        if position.0 >= self.last.0 {
            let text =
                format!("event {} is considered before its webhook can be there", position.0);
            return findings.add("phantom", text);
        }
        self.missing.push((position, self.last));
    }

    fn start(&mut self, run: RunId, findings: &mut Findings) {
        let waits = self.state.waiting.iter().any(|w| w.position == run.0);
        if let Some(other) = &self.state.run {
            let text = format!("event {} starts while event {} is at work", run.0.0, other.id.0.0);
            findings.add("run", text);
        } else if !waits {
            findings.add("run", format!("event {} starts and does not wait", run.0.0));
        }
    }

    fn at_work(&self, run: RunId, what: &str, findings: &mut Findings) {
        if self.state.run.as_ref().is_none_or(|r| r.id != run) {
            findings.add("run", format!("event {} is not at work, and {what}", run.0.0));
        }
    }

    /// What an enrichment of the run at work is paid for by: its name, text and prompt.
    fn price_tag(&self, run: RunId, place: u8) -> Option<(EnrichmentId, (ContentHash, u32))> {
        let run = self.state.run.as_ref().filter(|r| r.id == run)?;
        let plan = &run.steps.get(usize::from(place))?.plan;
        Some((plan.enrichment.clone(), (run.input?.hash, plan.prompt_version)))
    }

    fn is_paid(&self, enrichment: &EnrichmentId, work: (ContentHash, u32)) -> bool {
        self.paid.get(enrichment).is_some_and(|paid| paid.contains(&work))
    }

    fn pay(&mut self, enrichment: &EnrichmentId, work: (ContentHash, u32)) {
        let paid = self.paid.entry(enrichment.clone()).or_default();
        if paid.len() >= PAID_ANSWERS_MAX {
            paid.pop_front();
        }
        paid.push_back(work);
    }

    /// An operator may ask for an enrichment once more: its answer for this text is not at hand.
    fn paid_anew(&mut self, run: RunId, from: Option<Step>) {
        let Some(Step::Enrich(place)) = from else { return };
        let Some(dead) = self.state.dead.iter().find(|d| d.run.id == run) else { return };
        let Some(step) = dead.run.steps.get(usize::from(place)) else { return };
        let hash = dead.run.input.map(|input| input.hash);
        if let Some(paid) = self.paid.get_mut(&step.plan.enrichment) {
            paid.retain(|(paid, _)| Some(*paid) != hash);
        }
    }

    fn ask(&self, run: RunId, step: Step, findings: &mut Findings) {
        self.at_work(run, "a step of it is asked for", findings);
        let Step::Enrich(place) = step else { return };
        let Some((enrichment, work)) = self.price_tag(run, place) else { return };
        if self.is_paid(&enrichment, work) {
            let text = format!("{enrichment} is asked for again, with its answer at hand");
            findings.add("paid_once", text);
        }
    }

    fn answer(&mut self, run: RunId, place: u8, reused: bool, findings: &mut Findings) {
        self.at_work(run, "it is answered", findings);
        let Some((enrichment, work)) = self.price_tag(run, place) else { return };
        match (reused, self.is_paid(&enrichment, work)) {
            (false, true) => {
                let text = format!("{enrichment} is paid for again, with its answer at hand");
                findings.add("paid_once", text);
            }
            (true, false) => {
                let text = format!("{enrichment} takes an answer that nobody kept");
                findings.add("paid_once", text);
            }
            (false, false) => self.pay(&enrichment, work),
            (true, true) => {}
        }
    }

    fn apply(&mut self, run: RunId, write: WriteNumber, findings: &mut Findings) {
        let current = self.state.run.as_ref().filter(|r| r.id == run);
        if current.and_then(|r| r.write.as_ref()).map(|w| w.number) != Some(write) {
            let text =
                format!("write {} is applied, which event {} did not ask for", write.0, run.0.0);
            findings.add("write_number", text);
        }
        if write <= self.last_applied {
            let text = format!("write {} is applied after write {}", write.0, self.last_applied.0);
            findings.add("write_number", text);
        }
        self.last_applied = self.last_applied.max(write);
    }

    fn end_run(&mut self, run: RunId, end: &End, findings: &mut Findings) {
        let is_resumed = self.state.resumed.iter().any(|r| r.id == run);
        if !is_resumed {
            self.at_work(run, "it ends", findings);
        }
        let current = self.state.run.as_ref().filter(|r| r.id == run);
        if let Some(current) = current
            && matches!(end, End::Applied | End::Kept | End::Suggested | End::Unchanged)
        {
            let version = current.incoming.version;
            let overtook = self.open.get(&run.0).is_some_and(|open| open.overtook);
            self.effect.follow(Effect { position: run.0, version, overtook }, findings);
        }
        self.end(run.0, end, findings);
    }

    fn end(&mut self, position: IntakePosition, end: &End, findings: &mut Findings) {
        findings.count(end);
        if self.open.remove(&position).is_none() {
            let (position, end) = (position.0, end_name(end));
            let text = format!("event {position} ended ({end}) before, or was never accepted");
            findings.add("one_end", text);
        }
    }

    fn compare(&self, summary: &v1::Summary, findings: &mut Findings) {
        let folded = summarise(&self.state, None, summary.events);
        let told = |s: &v1::Summary| {
            let v1::Summary { considered, waiting, dead, state, owed, .. } = s;
            format!("considered {considered}, waiting {waiting}, dead {dead}, owed {owed}, {state}")
        };
        if told(&folded) != told(summary) {
            let text = format!("it says {}; its events say {}", told(summary), told(&folded));
            findings.add("summary", text);
        }
    }

    /// What shows only at the end of the log.
    pub(super) fn finish(self, key: &PostKey, findings: &mut Findings) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        findings.report.unconsidered += count(self.pending.len());
        findings.report.dead += count(self.state.dead.len());
        if self.blind {
            return;
        }
        for (position, sequence) in &self.missing {
            findings.at(Some(key), *sequence);
            findings.add("phantom", format!("the log holds no webhook {}", position.0));
        }
        findings.at(Some(key), self.last);
        let alive: BTreeSet<IntakePosition> =
            living(&self.state).chain(self.state.dead.iter().map(|dead| dead.run.id.0)).collect();
        for (position, open) in &self.open {
            findings.report.waiting += u64::from(!open.is_dead);
            if !alive.contains(position) {
                let text = format!("event {} has not ended, and nothing waits for it", position.0);
                findings.add("lost", text);
            }
        }
        for position in alive.iter().filter(|position| !self.open.contains_key(*position)) {
            let text = format!("event {} has ended, and is waited for", position.0);
            findings.add("one_end", text);
        }
    }
}

/// The events of a state that wait or are at work.
fn living(state: &PostState) -> impl Iterator<Item = IntakePosition> {
    let waiting = state.waiting.iter().map(|incoming| incoming.position);
    let runs = state.run.iter().chain(&state.resumed).map(|run| run.id.0);
    waiting.chain(runs)
}

impl Effect {
    /// Takes this one's place: by version where both name one, else by position. One that
    /// overtook others does not hold them to its position.
    fn follow(&mut self, next: Self, findings: &mut Findings) {
        let order = self.version.zip(next.version);
        let is_older = order.is_some_and(|(last, next)| next.is_older_than(last));
        let is_newer = order.is_some_and(|(last, next)| last.is_older_than(next));
        if is_older {
            let text = format!("event {} takes effect after a newer version", next.position.0);
            findings.add("order", text);
        } else if !is_newer && !self.overtook && next.position < self.position {
            let (position, last) = (next.position.0, self.position.0);
            findings.add("order", format!("event {position} takes effect after event {last}"));
        }
        *self = next;
    }
}
