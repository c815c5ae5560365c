//! What became of some events of one post, from its decisions.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use copydesk_core::post::{End, IntakePosition, PostEvent, PostState};
use copydesk_eventlog::{EventLog, ReadError, Record, Sequence};
use copydesk_proto::PostKey;

use crate::desk::journey::walk::walk;
use crate::desk::journey::words;
use crate::records::{Decision, Subjects, end_name};

/// Decisions of one post that are looked at after the oldest event asked for. An event takes
/// about five; only one that waits for an operator on a very busy post is not followed to its end.
const DECISIONS_MAX: usize = 10_000;

/// How one event stands.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) state: &'static str,
    pub(super) cause: String,
}

/// The events asked for, each with how it stands.
#[derive(Debug)]
pub(super) struct Outcomes {
    events: BTreeMap<IntakePosition, Outcome>,
    open: usize,
}

/// How the event at this position of a post stands, and why; see [`EventRow`](super::EventRow).
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub async fn standing(
    log: &dyn EventLog,
    key: &PostKey,
    position: u64,
) -> Result<(&'static str, String), ReadError> {
    let outcome = outcomes(log, key, &[position]).await?.pop_first();
    Ok(outcome.map_or(("unconsidered", String::new()), |(_, found)| (found.state, found.cause)))
}

/// How the events at these positions of a post stand.
pub(super) async fn outcomes(
    log: &dyn EventLog,
    key: &PostKey,
    positions: &[u64],
) -> Result<BTreeMap<IntakePosition, Outcome>, ReadError> {
    let mut found = Outcomes::new(positions);
    // A decision about an event comes after it.
    let after = Sequence(positions.iter().copied().min().unwrap_or_default());
    let mut left = DECISIONS_MAX;
    walk(log, &Subjects::of(key).decisions, after, |record| {
        found.read(record);
        left -= 1;
        if found.open == 0 || left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await?;
    Ok(found.events)
}

impl Outcomes {
    fn new(positions: &[u64]) -> Self {
        let unconsidered = Outcome { state: "unconsidered", cause: String::new() };
        let event = |position: &u64| (IntakePosition(*position), unconsidered.clone());
        let events: BTreeMap<_, _> = positions.iter().map(event).collect();
        Self { open: events.len(), events }
    }

    fn read(&mut self, record: &Record) {
        match Decision::read(record) {
            Ok(decision) => decision.events.iter().for_each(|event| self.see(event)),
            Err(bad) => {
                let all: Vec<_> = self.events.keys().copied().collect();
                for position in all {
                    self.stands(position, "unreadable", bad.to_string());
                }
            }
        }
    }

    fn see(&mut self, event: &PostEvent) {
        match event {
            PostEvent::Accepted(incoming) => {
                self.stands(incoming.position, "accepted", String::new())
            }
            PostEvent::Ignored { incoming, end } => self.ended(incoming.position, end),
            PostEvent::Ended { position, end } => self.ended(*position, end),
            PostEvent::RunEnded { run, end } => self.ended(run.0, end),
            PostEvent::DeadLetterDropped { run, by, .. } => {
                self.ended(run.0, &End::Dropped { by: by.clone() });
            }
            PostEvent::RunStarted { run, .. }
            | PostEvent::StepAsked { run, .. }
            | PostEvent::RunResumed { run } => self.stands(run.0, "working", String::new()),
            PostEvent::AttemptFailed { run, failure, retry_at, .. } => {
                let state = if retry_at.is_some() { "waiting" } else { "working" };
                self.stands(run.0, state, words::failed(failure, *retry_at));
            }
            PostEvent::DeadLettered { run, failure, .. } => {
                self.stands(run.0, "dead", words::because(failure));
            }
            PostEvent::StepHeld { run, withheld, .. } => {
                self.stands(run.0, "held", words::withheld_words(withheld));
            }
            PostEvent::RetryRequested { run, by, .. } => {
                self.stands(run.0, "waiting", format!("to be tried again, says {by}"));
            }
            PostEvent::Checkpointed(state) => self.checkpoint(state),
            PostEvent::PostRead { .. }
            | PostEvent::StepSkipped { .. }
            | PostEvent::EnrichmentAnswered { .. }
            | PostEvent::WriteIntended { .. }
            | PostEvent::WriteApplied { .. }
            | PostEvent::WriteRefused { .. }
            | PostEvent::NoticeOwed { .. }
            | PostEvent::NoticePosted { .. }
            | PostEvent::Erased { .. } => {}
        }
    }

    /// Events it covers and whose decisions are gone have ended, or wait in it.
    fn checkpoint(&mut self, state: &PostState) {
        let is_covered = |(position, outcome): &(&IntakePosition, &Outcome)| {
            **position <= state.considered && outcome.state == "unconsidered"
        };
        let covered: Vec<_> =
            self.events.iter().filter(is_covered).map(|(position, _)| *position).collect();
        for position in covered {
            if let Some(dead) = state.dead.iter().find(|d| d.run.id.0 == position) {
                self.stands(position, "dead", words::because(&dead.failure));
            } else if state.waiting.iter().any(|w| w.position == position) {
                self.stands(position, "accepted", String::new());
            } else {
                let cause = "the decisions about it are no longer kept".to_owned();
                self.finish(position, Outcome { state: "ended", cause });
            }
        }
    }

    fn stands(&mut self, position: IntakePosition, state: &'static str, cause: String) {
        if let Some(outcome) = self.events.get_mut(&position) {
            *outcome = Outcome { state, cause };
        }
    }

    fn ended(&mut self, position: IntakePosition, end: &End) {
        let outcome = Outcome { state: end_name(end), cause: words::end_words(end) };
        self.finish(position, outcome);
    }

    fn finish(&mut self, position: IntakePosition, outcome: Outcome) {
        if let Some(known) = self.events.get_mut(&position) {
            *known = outcome;
            self.open = self.open.saturating_sub(1);
        }
    }
}
