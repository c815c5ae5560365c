//! The way of an event as a tree with times, read from the log: what a backend would show, for
//! events whose spans are no longer kept or were never exported. Times are those of the records,
//! in whole milliseconds; requests below a step are in the exported trace only.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use copydesk_core::failure::Failure;
use copydesk_core::post::{End, PlanStep, PostEvent, RunId, Step};
use copydesk_eventlog::{EventLog, ReadError, Record, Sequence};
use copydesk_proto::{PostKey, Timestamp};
use serde::{Deserialize, Serialize};

use super::journey::walk::walk;
use super::journey::words::{because, end_words, run_of, step_name, withheld_words};
use crate::records::{Decision, Intake, Subjects};

/// Newest events of a post that are told of at once.
pub const TRACES_MAX: usize = 20;

/// Tries of one step that are told of, and branches below one node: a step that failed for a day
/// has more than a person reads.
const BRANCHES_MAX: usize = 100;

/// The way of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The id its sender was told.
    pub event_id: String,
    /// `site/post`.
    pub post: String,
    /// `post.published`, …
    pub event_type: String,
    /// Its place in the log.
    pub position: u64,
    /// To open it by in a tracing backend; empty when it has none.
    pub trace_id: String,
    /// How it ended, with the reason; empty while it has not.
    pub outcome: String,
    /// What happened, oldest first.
    pub nodes: Vec<Node>,
}

/// One thing that took its time, and what it consisted of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// `save post`, `store`, `wait`, `process`, `enrich summary #1`, …
    pub name: String,
    /// When it began, in milliseconds since 1970.
    pub at_ms: i64,
    /// How long it took; `None` while it lasts.
    pub took_ms: Option<u64>,
    /// What came of it, without content.
    pub said: String,
    /// Whether it failed.
    pub failed: bool,
    /// What it consisted of.
    pub nodes: Vec<Self>,
}

impl Node {
    fn new(name: impl Into<String>, at: Timestamp, end: Option<Timestamp>) -> Self {
        Self {
            name: name.into(),
            at_ms: at.0,
            took_ms: end.map(|end| end.since_ms(at)),
            said: String::new(),
            failed: false,
            nodes: Vec::new(),
        }
    }

    fn end(&mut self, at: Timestamp, said: impl Into<String>) {
        self.took_ms = Some(at.since_ms(Timestamp(self.at_ms)));
        self.said = said.into();
    }
}

/// The ways of a post's newest events, oldest first; or of the one at a place in the log.
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub async fn traces(
    log: &dyn EventLog,
    key: &PostKey,
    only: Option<u64>,
) -> Result<Vec<Trace>, ReadError> {
    let subjects = Subjects::of(key);
    let mut events: BTreeMap<u64, Telling> = BTreeMap::new();
    let before = Sequence(only.map_or(0, |position| position.saturating_sub(1)));
    walk(log, &subjects.intake, before, |record| {
        if only.is_some_and(|position| position != record.sequence.0) {
            return ControlFlow::Break(());
        }
        events.extend(Telling::of(record, key).map(|told| (record.sequence.0, told)));
        if events.len() > TRACES_MAX {
            events.pop_first();
        }
        ControlFlow::Continue(())
    })
    .await?;
    // Nothing is decided about an event before it is there.
    let after = events.keys().next().copied().unwrap_or(u64::MAX);
    walk(log, &subjects.decisions, Sequence(after), |record| {
        if let Ok(decision) = Decision::read(record) {
            for event in &decision.events {
                let place = position_of(event);
                if let Some(told) = place.and_then(|place| events.get_mut(&place)) {
                    told.tell(event, decision.decided_at);
                }
            }
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(events.into_values().map(Telling::finish).collect())
}

/// An event whose way is being told.
struct Telling {
    trace: Trace,
    received_at: Timestamp,
    plan: Vec<PlanStep>,
    run: Option<Node>,
    /// Steps that were asked for and have no answer yet.
    open: Vec<(Step, Node)>,
    /// Steps that wait for their next try.
    waits: Vec<(Step, Node)>,
}

impl Telling {
    fn of(record: &Record, key: &PostKey) -> Option<Self> {
        let intake = Intake::read(record).ok()?;
        let received_at = intake.received_at;
        let saved_at = saved_at(&intake.body).filter(|at| *at <= received_at);
        let stored_at = Timestamp(record.time_ms).max(received_at);
        let save = saved_at.map(|at| Node::new("save post", at, Some(received_at)));
        let store = Node::new("store", received_at, Some(stored_at));
        let trace = Trace {
            event_id: intake.event_id,
            post: key.to_string(),
            event_type: intake.event_type,
            position: record.sequence.0,
            trace_id: intake.trace.map(|t| t.trace_id().to_string()).unwrap_or_default(),
            outcome: String::new(),
            nodes: save.into_iter().chain([store]).collect(),
        };
        let (plan, open, waits) = (Vec::new(), Vec::new(), Vec::new());
        Some(Self { trace, received_at: stored_at, plan, run: None, open, waits })
    }

    fn tell(&mut self, event: &PostEvent, at: Timestamp) {
        match event {
            PostEvent::RunStarted { plan, .. } => {
                self.plan.clone_from(plan);
                self.trace.nodes.push(Node::new("wait", self.received_at, Some(at)));
                self.run = Some(Node::new("process", at, None));
            }
            PostEvent::RunResumed { .. } => self.run = Some(Node::new("replay", at, None)),
            PostEvent::StepAsked { step, attempt, .. } => self.asked(*step, *attempt, at),
            PostEvent::PostRead { .. } => self.answered(Step::Read, at, "read"),
            PostEvent::StepSkipped { step, .. } => {
                self.at_once(Step::Enrich(*step), at, "stands already");
            }
            PostEvent::EnrichmentAnswered { step, reused: true, .. } => {
                self.at_once(Step::Enrich(*step), at, "answered before, at no cost");
            }
            PostEvent::EnrichmentAnswered { step, answer, .. } => {
                let said = format!(
                    "{}, {} + {} tokens, {} microdollars",
                    answer.model,
                    answer.input_tokens,
                    answer.output_tokens,
                    answer.cost_microdollars
                );
                self.answered(Step::Enrich(*step), at, said);
            }
            PostEvent::WriteApplied { .. } => self.answered(Step::Write, at, "applied"),
            PostEvent::WriteRefused { .. } => {
                self.answered(Step::Write, at, "the text had changed")
            }
            PostEvent::StepHeld { step, withheld, .. } => {
                self.answered(*step, at, format!("held: {}", withheld_words(withheld)));
            }
            PostEvent::AttemptFailed { step, failure, retry_at, .. } => {
                self.failed(*step, failure, at);
                if retry_at.is_some() {
                    let mut wait = Node::new(format!("wait for {}", self.name(*step)), at, None);
                    wait.said.clone_from(&failure.code);
                    self.waits.push((*step, wait));
                }
            }
            PostEvent::RunEnded { end, .. }
            | PostEvent::Ignored { end, .. }
            | PostEvent::Ended { end, .. } => self.ended(at, end),
            PostEvent::DeadLettered { step, failure, .. } => {
                let cause = because(failure);
                let said = format!("dead letter: {}: {cause}", self.name(*step));
                self.close_run(at, &said, true);
                self.trace.outcome = said;
            }
            PostEvent::DeadLetterDropped { by, .. } => {
                self.trace.outcome = format!("dropped by {by}");
            }
            PostEvent::Accepted(_)
            | PostEvent::WriteIntended { .. }
            | PostEvent::RetryRequested { .. }
            | PostEvent::Erased { .. }
            | PostEvent::NoticeOwed { .. }
            | PostEvent::NoticePosted { .. }
            | PostEvent::Checkpointed(_) => {}
        }
    }

    fn name(&self, step: Step) -> String {
        match step {
            Step::Read => "read post".to_owned(),
            Step::Write => "write post".to_owned(),
            Step::Enrich(_) => format!("enrich {}", step_name(&self.plan, step)),
        }
    }

    fn asked(&mut self, step: Step, attempt: u32, at: Timestamp) {
        if let Some(place) = self.waits.iter().position(|(waits, _)| *waits == step) {
            let (_, mut wait) = self.waits.swap_remove(place);
            let said = std::mem::take(&mut wait.said);
            wait.end(at, said);
            self.branch(wait);
        }
        self.open.push((step, Node::new(format!("{} #{attempt}", self.name(step)), at, None)));
    }

    fn answered(&mut self, step: Step, at: Timestamp, said: impl Into<String>) {
        if let Some(place) = self.open.iter().position(|(open, _)| *open == step) {
            let (_, mut node) = self.open.swap_remove(place);
            node.end(at, said);
            self.branch(node);
        }
    }

    fn failed(&mut self, step: Step, failure: &Failure, at: Timestamp) {
        if let Some(place) = self.open.iter().position(|(open, _)| *open == step) {
            let (_, mut node) = self.open.swap_remove(place);
            node.end(at, because(failure));
            node.failed = true;
            self.branch(node);
        }
    }

    fn at_once(&mut self, step: Step, at: Timestamp, said: &str) {
        let mut node = Node::new(self.name(step), at, Some(at));
        said.clone_into(&mut node.said);
        self.branch(node);
    }

    fn branch(&mut self, node: Node) {
        if let Some(run) = self.run.as_mut().filter(|run| run.nodes.len() < BRANCHES_MAX) {
            run.nodes.push(node);
        }
    }

    fn ended(&mut self, at: Timestamp, end: &End) {
        let said = end_words(end);
        if self.run.is_none() && self.trace.outcome.is_empty() {
            self.trace.nodes.push(Node::new("wait", self.received_at, Some(at)));
        }
        self.close_run(at, &said, false);
        self.trace.outcome = said;
    }

    fn close_run(&mut self, at: Timestamp, said: &str, failed: bool) {
        // What ended the run itself has no answer of its own: the post was gone, or a newer write
        // was there.
        for (_, mut node) in std::mem::take(&mut self.open) {
            node.end(at, said);
            self.branch(node);
        }
        if let Some(mut run) = self.run.take() {
            run.end(at, said);
            run.failed = failed;
            self.trace.nodes.push(run);
        }
    }

    fn finish(mut self) -> Trace {
        let unfinished = self.open.into_iter().chain(self.waits).map(|(_, node)| node);
        if let Some(mut run) = self.run.take() {
            run.nodes.extend(unfinished);
            self.trace.nodes.push(run);
        }
        self.trace
    }
}

fn position_of(event: &PostEvent) -> Option<u64> {
    if let PostEvent::Ignored { incoming, .. } = event {
        return Some(incoming.position.0);
    }
    if let PostEvent::Ended { position, .. } = event {
        return Some(position.0);
    }
    run_of(event).map(|RunId(position)| position.0)
}

fn saved_at(body: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Saved {
        saved_at: i64,
    }
    serde_json::from_slice::<Saved>(body).ok().map(|saved| Timestamp(saved.saved_at))
}
