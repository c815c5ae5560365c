//! Events in plain words. Names, numbers, hashes and causes only: never a post's or an answer's
//! text.

use std::fmt::Display;

use copydesk_core::budget::{Period, Withheld};
use copydesk_core::content::{Answer, Field, Mode};
use copydesk_core::failure::Failure;
use copydesk_core::post::{End, Incoming, PlanStep, PostEvent, Redo, RunId, SourceVersion, Step};
use copydesk_proto::Timestamp;

use crate::records::{Intake, rfc3339, rule_words};

/// An event's kind and sentence; `plan` is its run's, empty when that is not known.
pub(in crate::desk) fn told(event: &PostEvent, plan: &[PlanStep]) -> (&'static str, String) {
    let enriched = |place: u8| step_name(plan, Step::Enrich(place));
    match event {
        PostEvent::Accepted(incoming) => ("accepted", accepted(incoming)),
        PostEvent::Ignored { incoming, end } => {
            ("ended", format!("event {} ended: {}", incoming.position.0, end_words(end)))
        }
        PostEvent::Ended { position, end } => {
            ("ended", format!("event {} ended: {}", position.0, end_words(end)))
        }
        PostEvent::RunStarted { run, plan, again, .. } => ("started", started(*run, plan, *again)),
        PostEvent::StepAsked { step, attempt, .. } => ("asked", asked(plan, *step, *attempt)),
        PostEvent::PostRead { input, .. } => (
            "read",
            match input.modified_at {
                Some(at) => format!("post read, last changed {}", rfc3339(at)),
                None => "post read".to_owned(),
            },
        ),
        PostEvent::StepSkipped { step, .. } => {
            ("skipped", format!("{} of this text stands already: nothing asked", enriched(*step)))
        }
        PostEvent::EnrichmentAnswered { step, answer, reused, .. } => {
            ("answered", answered(&enriched(*step), answer, *reused))
        }
        PostEvent::WriteIntended { write, fields, .. } if fields.is_empty() => {
            ("prepared", format!("write {} prepared: the event's own words", write.0))
        }
        PostEvent::WriteIntended { write, fields, .. } => (
            "prepared",
            format!("write {} prepared: {}", write.0, list(fields.iter().map(|f| &f.field))),
        ),
        PostEvent::WriteApplied { write, stored, kept, suggested, .. } => {
            let stored: Vec<&Field> = stored.iter().map(|(field, _)| field).collect();
            ("written", written(write.0, &stored, kept, suggested, plan))
        }
        PostEvent::WriteRefused { write, .. } => (
            "refused",
            format!("write {} refused: the text has changed and is read again", write.0),
        ),
        PostEvent::StepHeld { step, withheld, .. } => {
            ("held", format!("{} held: {}", step_name(plan, *step), withheld_words(withheld)))
        }
        PostEvent::AttemptFailed { step, failure, retry_at, .. } => {
            ("failed", format!("{} failed: {}", step_name(plan, *step), failed(failure, *retry_at)))
        }
        PostEvent::NoticeOwed { kind, to, .. } => {
            ("telling", format!("{} to be told to {}", kind.name(), list(to.iter())))
        }
        PostEvent::NoticePosted { .. } => {
            ("told", "the notices to subscribers are in the log".to_owned())
        }
        PostEvent::RunEnded { run, end } => {
            ("ended", format!("event {} ended: {}", run.0.0, end_words(end)))
        }
        PostEvent::DeadLettered { run, step, failure, .. } => {
            let step = step_name(plan, *step);
            ("dead", format!("dead letter: event {}, {step}: {}", run.0.0, because(failure)))
        }
        PostEvent::RetryRequested { run, by, reason, redo } => {
            let (run, how) = (run.0.0, redo_words(redo, plan));
            ("retried", format!("event {run} is to be tried again{how}, says {by}{}", why(reason)))
        }
        PostEvent::RunResumed { run } => ("resumed", format!("work on event {} goes on", run.0.0)),
        PostEvent::DeadLetterDropped { run, by, reason } => {
            ("ended", format!("event {} ended: dropped by {by}{}", run.0.0, why(reason)))
        }
        PostEvent::Erased { by, reason } => {
            ("erased", format!("its content was erased, says {by}{}", why(reason)))
        }
        PostEvent::Checkpointed(_) => {
            ("checkpoint", "state written down; older records may go".to_owned())
        }
    }
}

/// A webhook's kind and sentence.
pub(super) fn received(intake: &Intake) -> (&'static str, String) {
    let Intake { event_type, source, event_id, sent_by, replay, .. } = intake;
    if let Some(schedule) = replay.as_ref().filter(|replay| replay.job.is_empty()) {
        return ("scheduled", format!("{event_type} by {}, id {event_id}", schedule.by));
    }
    if let Some(replay) = replay {
        return ("replayed", format!("{event_type} once more, says {}, id {event_id}", replay.by));
    }
    if !sent_by.is_empty() {
        return ("sent", format!("{event_type} to {source}, says {sent_by}, id {event_id}"));
    }
    ("received", format!("{event_type} from {source}, id {event_id}"))
}

/// The run an event belongs to.
pub(in crate::desk) const fn run_of(event: &PostEvent) -> Option<RunId> {
    match event {
        PostEvent::RunStarted { run, .. }
        | PostEvent::StepAsked { run, .. }
        | PostEvent::PostRead { run, .. }
        | PostEvent::StepSkipped { run, .. }
        | PostEvent::StepHeld { run, .. }
        | PostEvent::EnrichmentAnswered { run, .. }
        | PostEvent::WriteIntended { run, .. }
        | PostEvent::WriteApplied { run, .. }
        | PostEvent::WriteRefused { run, .. }
        | PostEvent::AttemptFailed { run, .. }
        | PostEvent::NoticeOwed { run, .. }
        | PostEvent::RunEnded { run, .. }
        | PostEvent::DeadLettered { run, .. }
        | PostEvent::RetryRequested { run, .. }
        | PostEvent::RunResumed { run }
        | PostEvent::DeadLetterDropped { run, .. } => Some(*run),
        PostEvent::Accepted(_)
        | PostEvent::Ignored { .. }
        | PostEvent::Ended { .. }
        | PostEvent::Erased { .. }
        | PostEvent::NoticePosted { .. }
        | PostEvent::Checkpointed(_) => None,
    }
}

/// A step by its enrichment's name, or by its number when the plan is not known.
pub(in crate::desk) fn step_name(plan: &[PlanStep], step: Step) -> String {
    match step {
        Step::Read => "read".to_owned(),
        Step::Write => "write".to_owned(),
        Step::Enrich(place) => match plan.get(usize::from(place)) {
            Some(step) => step.enrichment.to_string(),
            None => format!("step {}", u32::from(place) + 1),
        },
    }
}

/// How an event ended, with the reason.
pub(in crate::desk) fn end_words(end: &End) -> String {
    match end {
        End::Applied => "applied".to_owned(),
        End::Kept => "kept: what stands in WordPress was left alone".to_owned(),
        End::Suggested => "suggested: no field was changed".to_owned(),
        End::Unchanged => "unchanged: this text was worked on before".to_owned(),
        End::Superseded { by } => format!("superseded by event {}", by.0),
        End::Duplicate { of } => format!("duplicate of event {}", of.0),
        End::Filtered { rule } => format!("filtered: {}", rule_words(rule)),
        End::Gone => "gone: WordPress no longer has the post".to_owned(),
        End::Dropped { by } => format!("dropped by {by}"),
    }
}

/// A failure and what follows from it.
pub(in crate::desk) fn failed(failure: &Failure, retry_at: Option<Timestamp>) -> String {
    match retry_at {
        Some(at) => format!("{}, again at {}", because(failure), time_of_day(at)),
        None => format!("{}, not tried again", because(failure)),
    }
}

/// A failure's code and cause.
pub(in crate::desk) fn because(failure: &Failure) -> String {
    format!("{}: {}", failure.code, failure.cause)
}

/// Which budget has no room, and until when.
pub(in crate::desk) fn withheld_words(withheld: &Withheld) -> String {
    let period = match withheld.period {
        Period::Day => "day",
        Period::Month => "month",
    };
    let budget = &withheld.budget;
    match withheld.until {
        Some(at) => {
            format!("the {period}'s budget of {budget} is used up, again from {}", rfc3339(at))
        }
        None => format!("one call may cost more than the {period}'s budget of {budget}: raise it"),
    }
}

/// An operator's reason, as the end of a sentence.
fn why(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn redo_words(redo: &Redo, plan: &[PlanStep]) -> String {
    let from = redo.from.map(|step| format!(" from {}", step_name(plan, step)));
    let named = |place: u8| step_name(plan, Step::Enrich(place));
    let values = redo.values.iter().map(|(place, _)| format!(", with words for {}", named(*place)));
    let providers = redo.providers.iter();
    let providers =
        providers.map(|(place, provider)| format!(", asking {provider} for {}", named(*place)));
    from.into_iter().chain(values).chain(providers).collect()
}

fn accepted(incoming: &Incoming) -> String {
    let position = incoming.position.0;
    let route = incoming.route.as_ref().map(|route| format!(", route {route}"));
    let version = incoming.version.map(|version| match version {
        SourceVersion::Sequence(n) => format!(", version {n}"),
        SourceVersion::Modified(ms) => format!(", as of {}", rfc3339(Timestamp(ms))),
    });
    let (route, version) = (route.unwrap_or_default(), version.unwrap_or_default());
    format!("event {position} accepted{route}{version}")
}

fn started(run: RunId, plan: &[PlanStep], again: bool) -> String {
    let run = run.0.0;
    if plan.is_empty() {
        return format!("work on event {run} began: its own words are handed on");
    }
    let anew = if again { ", anew as a person asked" } else { "" };
    format!("work on event {run} began{anew}: {}", list(plan.iter().map(|step| &step.enrichment)))
}

fn asked(plan: &[PlanStep], step: Step, attempt: u32) -> String {
    let what = match step {
        Step::Read => "asked WordPress for the post".to_owned(),
        Step::Write => "asked WordPress to write".to_owned(),
        Step::Enrich(place) => match plan.get(usize::from(place)) {
            Some(step) => format!("asked {} for {}", step.provider, step.enrichment),
            None => format!("asked for {}", step_name(plan, step)),
        },
    };
    if attempt > 1 { format!("{what} (try {attempt})") } else { what }
}

fn answered(name: &str, answer: &Answer, reused: bool) -> String {
    if reused {
        return format!("{name} answered as before for this text, at no cost");
    }
    let Answer { input_tokens, output_tokens, cost_microdollars, model, .. } = answer;
    let (dollars, rest) = (cost_microdollars / 1_000_000, cost_microdollars % 1_000_000);
    format!(
        "{name} answered: {input_tokens} tokens in, {output_tokens} out, ${dollars}.{rest:06}, \
         model {model}"
    )
}

fn written(
    number: u64,
    stored: &[&Field],
    kept: &[Field],
    suggested: &[Field],
    plan: &[PlanStep],
) -> String {
    let applied = match stored {
        [] if kept.is_empty() && suggested.is_empty() => format!("write {number} applied"),
        [] => format!("write {number} changed nothing"),
        stored => format!("write {number} applied: {}", list(stored)),
    };
    let kept = kept.iter().map(|field| {
        let step = plan.iter().find(|step| step.field == *field);
        let reason = match step.map(|step| step.mode) {
            Some(Mode::ApplyIfEmpty) => "it was not empty",
            Some(Mode::Apply) => "a person's words",
            Some(Mode::Suggest) | None => "left as it was",
        };
        format!("; {field} kept: {reason}")
    });
    let suggested = suggested.iter().map(|field| format!("; {field} suggested"));
    std::iter::once(applied).chain(kept).chain(suggested).collect()
}

/// `12:01:05 UTC`.
fn time_of_day(at: Timestamp) -> String {
    format!("{} UTC", rfc3339(at).get(11..19).unwrap_or("00:00:00"))
}

fn list(items: impl IntoIterator<Item: Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}
