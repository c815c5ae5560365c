//! What one post's work leaves behind: spans, counts and log lines of its events.
//!
//! Each event is followed from its intake record: `process cd.in` is a child of the span that
//! appended the record, so that one event is one trace, whoever works on it. The context of the
//! run at work stands in each decision: after a crash the run goes on in the same span. Waits are
//! spans with their reason. Coalesced events and replays have traces of their own, with links.
//!
//! Decided events are noted before the append and told after it: what is not durable did not
//! happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use copydesk_core::post::{End, Incoming, IntakePosition, PostEvent, Run, RunId, Step, Wait};
use copydesk_proto::{PostKey, Timestamp, TraceContext};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use tracing::{debug, warn};

use super::load::RunTail;
use crate::World;
use crate::records::{Intake, end_name};
use crate::telemetry::{Close, Open, Telemetry, names, since_epoch};

/// Events of one burst that are linked from the run that took their place; a person reads fewer.
pub(super) const LINKS_MAX: usize = 32;

/// Intake records at hand.
pub(super) type Intakes = BTreeMap<IntakePosition, Arc<Intake>>;

/// The trail of one post.
#[derive(Debug, Default)]
pub(super) struct Trail {
    work: Option<Work>,
    /// When the last run ended: who came before that has waited for it.
    last_end: Option<Timestamp>,
    noted: Vec<Noted>,
}

/// The run at work.
#[derive(Debug)]
struct Work {
    run: RunId,
    /// What its requests carry.
    trace: Option<TraceContext>,
    open: Option<Open>,
    began: SystemTime,
    about: About,
    links: Vec<(TraceContext, &'static str)>,
    /// Steps that failed and will be tried again: since when, and why.
    failed: Vec<(Step, SystemTime, String)>,
    is_recovered: bool,
}

/// An event, as spans and lines name it.
#[derive(Debug, Clone)]
struct About {
    position: IntakePosition,
    event: Arc<str>,
    event_type: Arc<str>,
    received_at: Timestamp,
}

/// An event at its end, to be told once that is durable.
#[derive(Debug)]
struct Noted {
    span: Option<(Open, Close)>,
    ended: Ended,
}

/// How it ended.
#[derive(Debug)]
struct Ended {
    about: About,
    outcome: &'static str,
    /// Of a dead letter: its code.
    code: Option<String>,
    trace: Option<TraceContext>,
}

impl About {
    fn new(position: IntakePosition, received_at: Timestamp, intake: Option<&Intake>) -> Self {
        Self {
            position,
            event: intake.map_or("", |i| &i.event_id).into(),
            event_type: intake.map_or("", |i| &i.event_type).into(),
            received_at,
        }
    }

    /// Times of the log are whole milliseconds: the next one is not before the append began.
    fn came(&self) -> SystemTime {
        since_epoch(self.received_at.after_ms(1))
    }
}

impl Work {
    fn new(
        run: RunId,
        open: Option<Open>,
        trace: Option<TraceContext>,
        about: About,
        links: Vec<(TraceContext, &'static str)>,
    ) -> Self {
        let (began, failed) = (SystemTime::now(), Vec::new());
        Self { run, trace, open, began, about, links, failed, is_recovered: false }
    }
}

impl Trail {
    /// Goes on where an earlier sequencer of the post, here or in another process, was ended.
    pub(super) fn go_on(&mut self, world: &World, run: &Run, intakes: &Intakes, tail: RunTail) {
        let intake = intakes.get(&run.id.0).map(Arc::as_ref);
        let about = About::new(run.id.0, run.incoming.received_at, intake);
        let came = intake.and_then(|i| i.trace);
        let trace = tail.trace.or(came);
        // Of another trace than its event: a dead letter that was tried again.
        let is_replay = trace.map(|t| t.trace_id) != came.map(|t| t.trace_id);
        let began = tail.began.map_or_else(|| about.came(), since_epoch);
        // Nobody traced it when it began: its context is still the event's own.
        let own = trace.filter(|trace| Some(*trace) != came);
        let open = own.map(|own| Open::continued(own, came.filter(|_| !is_replay), began));
        let replay = came.filter(|_| is_replay).map(|came| (came, "replay"));
        let absorbed = tail.absorbed.iter().filter(|(_, by)| *by == run.id.0);
        let absorbed = absorbed.filter_map(|(position, _)| intakes.get(position)?.trace);
        let coalesced = absorbed.map(|trace| (trace, "coalesced")).take(LINKS_MAX);
        let links = replay.into_iter().chain(coalesced).collect();
        let failed = tail.failed.into_iter().map(|(s, at, code)| (s, since_epoch(at), code));
        let (failed, is_recovered) = (failed.collect(), tail.owner != world.owner);
        self.work =
            Some(Work { run: run.id, trace, open, began, about, links, failed, is_recovered });
    }

    /// The trace of a run's requests, and the id of its event.
    pub(super) fn of(&self, run: RunId) -> (Option<TraceContext>, Arc<str>) {
        match self.work.as_ref().filter(|work| work.run == run) {
            Some(work) => (work.trace, Arc::clone(&work.about.event)),
            None => (None, "".into()),
        }
    }

    /// Notes what was decided. Returns the context that the decision's record carries.
    pub(super) fn note(
        &mut self,
        world: &World,
        key: &PostKey,
        events: &[PostEvent],
        intakes: &Intakes,
        now: Timestamp,
    ) -> Option<TraceContext> {
        let telemetry = &world.telemetry;
        let mut absorbed: Vec<(IntakePosition, Noted)> = Vec::new();
        let mut last = None;
        for event in events {
            match event {
                PostEvent::RunStarted { run, .. } => {
                    let intake = intakes.get(&run.0).map(Arc::as_ref);
                    self.begin(telemetry, key, *run, intake, now);
                    self.take_over(&mut absorbed, *run);
                }
                PostEvent::RunResumed { run } => {
                    self.resume(telemetry, *run, intakes.get(&run.0).map(Arc::as_ref), now);
                }
                PostEvent::StepAsked { step, .. } => self.asked(telemetry, key, *step),
                PostEvent::AttemptFailed { step, failure, retry_at: Some(_), .. } => {
                    if let Some(work) = &mut self.work {
                        work.failed.push((*step, SystemTime::now(), failure.code.clone()));
                    }
                }
                PostEvent::RunEnded { run, end } => {
                    last = self.end(*run, end_name(end), None, now).or(last);
                }
                PostEvent::DeadLettered { run, failure, .. } => {
                    last = self.end(*run, "dead_letter", Some(failure.code.clone()), now).or(last);
                }
                PostEvent::Ignored { incoming, end } => {
                    let intake = intakes.get(&incoming.position).map(Arc::as_ref);
                    let Incoming { position, received_at, .. } = incoming;
                    let noted = unworked(telemetry, *position, *received_at, intake, end);
                    last = noted.ended.trace.or(last);
                    self.noted.push(noted);
                }
                PostEvent::Ended { position, end } => {
                    let intake = intakes.get(position).map(Arc::as_ref);
                    let received_at = intake.map_or(now, |intake| intake.received_at);
                    let noted = unworked(telemetry, *position, received_at, intake, end);
                    match end {
                        End::Superseded { by } => absorbed.push((*by, noted)),
                        End::Applied
                        | End::Kept
                        | End::Suggested
                        | End::Unchanged
                        | End::Duplicate { .. }
                        | End::Filtered { .. }
                        | End::Gone
                        | End::Dropped { .. } => self.noted.push(noted),
                    }
                }
                PostEvent::Accepted(_)
                | PostEvent::PostRead { .. }
                | PostEvent::StepSkipped { .. }
                | PostEvent::EnrichmentAnswered { .. }
                | PostEvent::WriteIntended { .. }
                | PostEvent::WriteApplied { .. }
                | PostEvent::WriteRefused { .. }
                | PostEvent::AttemptFailed { .. }
                | PostEvent::StepHeld { .. }
                | PostEvent::NoticeOwed { .. }
                | PostEvent::NoticePosted { .. }
                | PostEvent::Erased { .. }
                | PostEvent::RetryRequested { .. }
                | PostEvent::DeadLetterDropped { .. }
                | PostEvent::Checkpointed(_) => {}
            }
        }
        self.noted.extend(absorbed.into_iter().map(|(_, noted)| noted));
        self.work.as_ref().map_or(last, |work| work.trace)
    }

    fn begin(
        &mut self,
        telemetry: &Telemetry,
        key: &PostKey,
        run: RunId,
        intake: Option<&Intake>,
        now: Timestamp,
    ) {
        let received_at = intake.map_or(now, |i| i.received_at);
        let about = About::new(run.0, received_at, intake);
        let came = intake.and_then(|i| i.trace);
        let waited = match telemetry.waits().of(key) {
            Some((wait @ (Wait::Quiet | Wait::Gap | Wait::Hold | Wait::DeadLetter), _)) => {
                wait.name()
            }
            Some(_) | None if self.last_end.is_some_and(|end| end > received_at) => "order",
            Some(_) | None => "turn",
        };
        telemetry.waited(came, about.came(), waited);
        let open = telemetry.open(came);
        let trace = open.map(|open| open.context).or(came);
        self.work = Some(Work::new(run, open, trace, about, Vec::new()));
    }

    /// The events whose place a run takes and the run point at each other.
    fn take_over(&mut self, absorbed: &mut Vec<(IntakePosition, Noted)>, run: RunId) {
        let Some(work) = &mut self.work else { return };
        for (_, mut noted) in absorbed.extract_if(.., |(by, _)| *by == run.0) {
            if let (Some(own), Some(came)) = (work.trace, noted.ended.trace)
                && work.links.len() < LINKS_MAX
            {
                work.links.push((came, "coalesced"));
                if let Some((_, close)) = &mut noted.span {
                    close.links.push((own, "coalesced"));
                }
            }
            self.noted.push(noted);
        }
    }

    fn resume(
        &mut self,
        telemetry: &Telemetry,
        run: RunId,
        intake: Option<&Intake>,
        now: Timestamp,
    ) {
        let about = About::new(run.0, intake.map_or(now, |i| i.received_at), intake);
        let came = intake.and_then(|i| i.trace);
        let open = telemetry.open_anew(came);
        let trace = open.map(|open| open.context).or(came);
        let links = came.map(|came| (came, "replay")).into_iter().collect();
        self.work = Some(Work::new(run, open, trace, about, links));
    }

    fn asked(&mut self, telemetry: &Telemetry, key: &PostKey, step: Step) {
        let Some(work) = &mut self.work else { return };
        if let Some(place) = work.failed.iter().position(|(failed, ..)| *failed == step) {
            let (_, since, code) = work.failed.swap_remove(place);
            telemetry.waited(work.trace, since, waited_for(&code));
        } else if let Some((wait @ (Wait::Hold | Wait::Budget), since)) = telemetry.waits().of(key)
            && since >= work.began
        {
            telemetry.waited(work.trace, since, wait.name());
        }
    }

    fn end(
        &mut self,
        run: RunId,
        outcome: &'static str,
        code: Option<String>,
        now: Timestamp,
    ) -> Option<TraceContext> {
        let work = self.work.take_if(|work| work.run == run)?;
        self.last_end = Some(now);
        let trace = work.trace;
        let span = work.open.map(|open| {
            let mut close = processed(&work.about, outcome);
            close.links = work.links;
            close.error = code.clone().map(Into::into);
            if work.is_recovered {
                close.attributes.push(KeyValue::new(names::RECOVERED, true));
            }
            (open, close)
        });
        let ended = Ended { about: work.about, outcome, code, trace };
        self.noted.push(Noted { span, ended });
        trace
    }

    /// Tells what was noted, now that it is durable.
    pub(super) fn tell(&mut self, world: &World, key: &PostKey, now: Timestamp) {
        for Noted { span, ended } in self.noted.drain(..) {
            told(world, key, &ended, now);
            let Some((open, mut close)) = span else { continue };
            if key.subscriber().is_some() {
                close.name = "process notice".into();
            }
            let system = KeyValue::new(names::MESSAGING_SYSTEM, world.messaging_system);
            close.attributes.extend([system, KeyValue::new(names::POST, key.to_string())]);
            world.telemetry.close(open, close);
        }
    }
}

/// An event that ends without a run of its own.
fn unworked(
    telemetry: &Telemetry,
    position: IntakePosition,
    received_at: Timestamp,
    intake: Option<&Intake>,
    end: &End,
) -> Noted {
    let about = About::new(position, received_at, intake);
    let trace = intake.and_then(|i| i.trace);
    let outcome = end_name(end);
    let open = telemetry.open(trace).map(|open| open.from(about.came()));
    let span = open.map(|open| (open, processed(&about, outcome)));
    Noted { span, ended: Ended { about, outcome, code: None, trace } }
}

fn processed(about: &About, outcome: &'static str) -> Close {
    let mut close = Close::named("process cd.in", SpanKind::Consumer);
    close.is_last = true;
    close.attributes = Vec::with_capacity(9);
    close.attributes.extend([
        KeyValue::new(names::MESSAGING_OPERATION, "process"),
        KeyValue::new(names::MESSAGING_DESTINATION, "cd.in"),
        KeyValue::new(names::MESSAGING_MESSAGE, about.position.0.to_string()),
        KeyValue::new(names::EVENT_ID, Arc::clone(&about.event)),
        KeyValue::new(names::EVENT_TYPE, Arc::clone(&about.event_type)),
        KeyValue::new(names::OUTCOME, outcome),
    ]);
    close
}

fn told(world: &World, key: &PostKey, ended: &Ended, now: Timestamp) {
    let Ended { about, outcome, code, trace } = ended;
    let took = Duration::from_millis(now.since_ms(about.received_at));
    if key.subscriber().is_none() {
        world.telemetry.metrics().run(key.site.to_shared(), outcome, took);
    }
    let trace_id = trace.map(|trace| trace.trace_id()).unwrap_or_default();
    match code {
        Some(code) => warn!(
            post = %key, event_id = %about.event, %trace_id, code,
            "an event is a dead letter and waits for an operator"
        ),
        None => debug!(
            post = %key, event_id = %about.event, %trace_id, outcome, "an event reached its end"
        ),
    }
}

/// What a step that failed so waits for.
fn waited_for(code: &str) -> &'static str {
    match code {
        "provider_breaker_open" | "site_paused" => "breaker",
        "provider_rate_limited" | "provider_busy" | "delivery_busy" => "limit",
        _ => "retry",
    }
}
