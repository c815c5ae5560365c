//! Every AI call, reading and write of a post: when, with what outcome, and what the other side
//! said. For operators who may see the post: a response may repeat its text.

use std::collections::HashMap;
use std::ops::ControlFlow;

use copydesk_core::content::{Answer, Field, FieldValue, Judgement};
use copydesk_core::post::{End, PlanStep, PostEvent, RunId, Step};
use copydesk_eventlog::{ReadError, Record, Sequence};
use copydesk_proto::{PostKey, Timestamp};

use super::Desk;
use super::journey::walk::{corrupt, walk};
use super::journey::words::{end_words, step_name, withheld_words};
use crate::records::{Decision, Subjects};

/// Attempts of one post that are listed, newest kept.
const ATTEMPTS_MAX: usize = 1_000;

/// One try of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// The position of the event that led the run.
    pub run: u64,
    /// `read`, `write`, or the enrichment's name.
    pub step: String,
    /// Which try, from 1.
    pub attempt: u32,
    /// When the other side was asked.
    pub asked_at: Timestamp,
    /// When it was over; `None` while it is not.
    pub ended_at: Option<Timestamp>,
    /// `asked`, `answered`, `read`, `applied`, `changed`, `held`, `failed`, or `ended` when the
    /// run ended with it.
    pub outcome: &'static str,
    /// The failure's code; else empty.
    pub code: String,
    /// Why, in words; of a judgement, the verdict and its reason; empty when the outcome says it.
    pub cause: String,
    /// The head of what the other side said, of a failure.
    pub response: String,
    /// What it cost, in microdollars.
    pub cost_microdollars: u64,
    /// When the step is tried again.
    pub retry_at: Option<Timestamp>,
}

impl Desk {
    /// The attempts of a post, oldest first, as far as its history is kept.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read, or this release cannot read the history.
    pub async fn attempts(&self, post: &PostKey) -> Result<Vec<AttemptRow>, ReadError> {
        let mut seen = Seen::default();
        let mut unreadable = None;
        let subject = Subjects::of(post).decisions;
        walk(&*self.world.log, &subject, Sequence(0), |record| match seen.read(record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(bad) => {
                unreadable = Some(bad);
                ControlFlow::Break(())
            }
        })
        .await?;
        match unreadable {
            Some(bad) => Err(corrupt(bad)),
            None => Ok(seen.rows),
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    rows: Vec<AttemptRow>,
    plans: HashMap<RunId, Vec<PlanStep>>,
}

impl Seen {
    fn read(&mut self, record: &Record) -> Result<(), crate::records::BadRecord> {
        let decision = Decision::read(record)?;
        for event in &decision.events {
            self.see(event, decision.decided_at);
        }
        if self.rows.len() > ATTEMPTS_MAX {
            self.rows.drain(..self.rows.len() - ATTEMPTS_MAX);
        }
        Ok(())
    }

    fn see(&mut self, event: &PostEvent, now: Timestamp) {
        match event {
            PostEvent::RunStarted { run, plan, .. } => {
                self.plans.insert(*run, plan.clone());
            }
            PostEvent::StepAsked { run, step, attempt, at } => self.ask(*run, *step, *attempt, *at),
            PostEvent::PostRead { run, .. } => self.end(*run, Step::Read, "read", now, |_| {}),
            PostEvent::EnrichmentAnswered { run, step, answer, reused: false, .. } => {
                let judged = self.judged(*run, *step, answer);
                self.end(*run, Step::Enrich(*step), "answered", now, |row| {
                    row.cost_microdollars = answer.cost_microdollars;
                    row.cause = judged;
                });
            }
            PostEvent::WriteApplied { run, .. } => {
                self.end(*run, Step::Write, "applied", now, |_| {});
            }
            PostEvent::WriteRefused { run, .. } => {
                self.end(*run, Step::Write, "changed", now, |_| {});
            }
            PostEvent::StepHeld { run, step, withheld } => {
                self.end(*run, *step, "held", now, |row| {
                    row.cause = withheld_words(withheld);
                    row.retry_at = withheld.until;
                });
            }
            PostEvent::AttemptFailed { run, step, failure, retry_at, at, .. } => {
                self.end(*run, *step, "failed", *at, |row| {
                    row.code.clone_from(&failure.code);
                    row.cause.clone_from(&failure.cause);
                    failure.response.as_str().clone_into(&mut row.response);
                    row.cost_microdollars = failure.cost_microdollars;
                    row.retry_at = *retry_at;
                });
            }
            PostEvent::RunEnded { run, end } => self.end_run(*run, end, now),
            PostEvent::DeadLetterDropped { run, .. } => {
                self.plans.remove(run);
            }
            PostEvent::Accepted(_)
            | PostEvent::Ignored { .. }
            | PostEvent::Ended { .. }
            | PostEvent::StepSkipped { .. }
            | PostEvent::EnrichmentAnswered { .. }
            | PostEvent::WriteIntended { .. }
            | PostEvent::DeadLettered { .. }
            | PostEvent::RetryRequested { .. }
            | PostEvent::RunResumed { .. }
            | PostEvent::Erased { .. }
            | PostEvent::NoticeOwed { .. }
            | PostEvent::NoticePosted { .. }
            | PostEvent::Checkpointed(_) => {}
        }
    }

    /// A verdict with its reason, where the answer is one; else empty.
    fn judged(&self, run: RunId, step: u8, answer: &Answer) -> String {
        let plan = self.plans.get(&run).and_then(|plan| plan.get(usize::from(step)));
        let field = plan.map(|plan| &plan.field);
        match (field, &answer.value) {
            (Some(Field::Comment | Field::Status), FieldValue::Text(text)) => {
                Judgement::read(text).map(|judgement| judgement.to_string()).unwrap_or_default()
            }
            (_, FieldValue::Text(_) | FieldValue::List(_)) => String::new(),
        }
    }

    fn name(&self, run: RunId, step: Step) -> String {
        step_name(self.plans.get(&run).map_or(&[], Vec::as_slice), step)
    }

    fn ask(&mut self, run: RunId, step: Step, attempt: u32, asked_at: Timestamp) {
        let step = self.name(run, step);
        self.rows.push(AttemptRow {
            run: run.0.0,
            step,
            attempt,
            asked_at,
            ended_at: None,
            outcome: "asked",
            code: String::new(),
            cause: String::new(),
            response: String::new(),
            cost_microdollars: 0,
            retry_at: None,
        });
    }

    fn end(
        &mut self,
        run: RunId,
        step: Step,
        outcome: &'static str,
        at: Timestamp,
        fill: impl FnOnce(&mut AttemptRow),
    ) {
        let step = self.name(run, step);
        let open = |row: &&mut AttemptRow| {
            row.run == run.0.0 && row.step == step && row.ended_at.is_none()
        };
        if let Some(row) = self.rows.iter_mut().rev().find(open) {
            row.outcome = outcome;
            row.ended_at = Some(at);
            fill(row);
        }
    }

    /// What was still out when the run ended was its last answer: gone, stale.
    fn end_run(&mut self, run: RunId, end: &End, at: Timestamp) {
        for row in self.rows.iter_mut().filter(|row| row.run == run.0.0 && row.ended_at.is_none()) {
            row.outcome = "ended";
            row.ended_at = Some(at);
            row.cause = end_words(end);
        }
        self.plans.remove(&run);
    }
}
