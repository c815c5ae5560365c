use copydesk_core::content::{Field, FieldWrite, Mode};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::post::{
    End, Incoming, Input, IntakePosition, PostEvent, PostState, Redo, SourceVersion, Step,
    WriteNumber,
};
use copydesk_proto::ContentHash;
use futures::FutureExt;

use super::testing::{NOON, Newsroom, SECRET, answer, now, plan, refused, run};
use super::*;
use crate::records::Intake;

fn incoming(newsroom: &mut Newsroom, version: Option<SourceVersion>) -> Incoming {
    let intake = Intake { version, ..newsroom.intake(None) };
    intake.incoming(IntakePosition(17))
}

#[track_caller]
fn told(event: &PostEvent, kind: &str, text: &str) {
    assert_eq!(words::told(event, &plan()), (kind_of(kind), text.to_owned()));
}

/// Only the kinds the type promises.
fn kind_of(kind: &str) -> &'static str {
    const KINDS: [&str; 15] = [
        "accepted",
        "started",
        "asked",
        "read",
        "skipped",
        "answered",
        "prepared",
        "written",
        "refused",
        "failed",
        "ended",
        "dead",
        "retried",
        "resumed",
        "checkpoint",
    ];
    KINDS.into_iter().find(|known| *known == kind).unwrap()
}

#[test]
fn queueing_in_words() {
    let room = &mut Newsroom::new();
    let accepted = PostEvent::Accepted(incoming(room, Some(SourceVersion::Sequence(3))));
    told(&accepted, "accepted", "event 17 accepted, route every, version 3");
    let accepted = PostEvent::Accepted(incoming(room, Some(SourceVersion::Modified(NOON))));
    told(&accepted, "accepted", "event 17 accepted, route every, as of 2026-11-23T12:00:00Z");
    let of = IntakePosition(12);
    let ignored = PostEvent::Ignored { incoming: incoming(room, None), end: End::Duplicate { of } };
    told(&ignored, "ended", "event 17 ended: duplicate of event 12");
    let end = End::Superseded { by: IntakePosition(17) };
    let ended = PostEvent::Ended { position: of, end };
    told(&ended, "ended", "event 12 ended: superseded by event 17");
}

#[test]
fn a_run_in_words() {
    let run = run(17);
    let started = |plan, again| PostEvent::RunStarted {
        run,
        plan,
        blocks: false,
        suggests: false,
        input: None,
        again,
    };
    told(&started(plan(), false), "started", "work on event 17 began: summary, keywords");
    let anew = "work on event 17 began, anew as a person asked: summary, keywords";
    told(&started(plan(), true), "started", anew);
    assert_eq!(
        words::told(&started(vec![], false), &[]).1,
        "work on event 17 began: its own words are handed on"
    );
    let asked = |step, attempt| PostEvent::StepAsked { run, step, attempt, at: Timestamp(NOON) };
    told(&asked(Step::Read, 1), "asked", "asked WordPress for the post");
    told(&asked(Step::Enrich(0), 2), "asked", "asked main for summary (try 2)");
    told(&asked(Step::Write, 3), "asked", "asked WordPress to write (try 3)");
    assert_eq!(words::told(&asked(Step::Enrich(1), 1), &[]).1, "asked for step 2");
    let hash = ContentHash::of(&["x"]);
    let read = |modified_at| PostEvent::PostRead { run, input: Input { hash, modified_at } };
    told(&read(None), "read", "post read");
    told(&read(Some(Timestamp(NOON))), "read", "post read, last changed 2026-11-23T12:00:00Z");
    let skipped = PostEvent::StepSkipped { run, step: 0 };
    told(&skipped, "skipped", "summary of this text stands already: nothing asked");
    let answered = |reused, cost_microdollars| PostEvent::EnrichmentAnswered {
        run,
        step: 1,
        answer: copydesk_core::content::Answer { cost_microdollars, ..answer("keywords") },
        reused,
        of: None,
    };
    told(
        &answered(false, 2_000_007),
        "answered",
        "keywords answered: 31 tokens in, 12 out, $2.000007, model small-1",
    );
    told(&answered(true, 7), "answered", "keywords answered as before for this text, at no cost");
    let failure = Failure::new(FailureClass::Retry, "provider_down", "it answers 500");
    let failed = |retry_at| PostEvent::AttemptFailed {
        run,
        step: Step::Enrich(0),
        attempt: 1,
        failure: failure.clone(),
        retry_at,
        at: Timestamp(NOON),
        of: None,
    };
    let again = "summary failed: provider_down: it answers 500, again at 12:01:05 UTC";
    told(&failed(Some(Timestamp(NOON + 65_000))), "failed", again);
    told(&failed(None), "failed", "summary failed: provider_down: it answers 500, not tried again");
}

#[test]
fn writing_in_words() {
    let (run, write) = (run(17), WriteNumber(3));
    let field = |field| FieldWrite {
        field,
        value: copydesk_core::content::FieldValue::Text(SECRET.to_owned()),
        mode: Mode::Apply,
        base: None,
    };
    let intended = |fields| PostEvent::WriteIntended { run, write, fields };
    let fields = vec![field(Field::Excerpt), field(Field::Meta("seo".to_owned()))];
    told(&intended(fields), "prepared", "write 3 prepared: excerpt, meta:seo");
    told(&intended(vec![]), "prepared", "write 3 prepared: the event's own words");
    let applied = |stored: &[Field], kept: &[Field]| PostEvent::WriteApplied {
        run,
        write,
        stored: stored.iter().map(|f| (f.clone(), ContentHash::of(&[]))).collect(),
        kept: kept.to_vec(),
        suggested: vec![],
    };
    told(&applied(&[Field::Excerpt], &[]), "written", "write 3 applied: excerpt");
    told(&applied(&[], &[]), "written", "write 3 applied");
    told(
        &applied(&[Field::Status], &[Field::Tags]),
        "written",
        "write 3 applied: status; tags kept: it was not empty",
    );
    told(
        &applied(&[], &[Field::Excerpt, Field::Title]),
        "written",
        "write 3 changed nothing; excerpt kept: a person's words; title kept: left as it was",
    );
    let suggested = vec![Field::Title];
    let waits = PostEvent::WriteApplied { run, write, stored: vec![], kept: vec![], suggested };
    told(&waits, "written", "write 3 changed nothing; title suggested");
    let refused = PostEvent::WriteRefused { run, write };
    told(&refused, "refused", "write 3 refused: the text has changed and is read again");
}

#[test]
fn ends_in_words() {
    let run = run(17);
    let by = || "ann".to_owned();
    let rule = |rule: &str| End::Filtered { rule: rule.to_owned() };
    let ends = [
        (End::Applied, "applied"),
        (End::Kept, "kept: what stands in WordPress was left alone"),
        (End::Suggested, "suggested: no field was changed"),
        (End::Unchanged, "unchanged: this text was worked on before"),
        (rule("no_route"), "filtered: no route wants it"),
        (rule("key_reused"), "filtered: its idempotency key came before with another body"),
        (rule("nothing_to_say"), "filtered: the enrichments had nothing to say"),
        (rule("tomorrow"), "filtered: tomorrow"),
        (End::Gone, "gone: WordPress no longer has the post"),
        (End::Dropped { by: by() }, "dropped by ann"),
    ];
    for (end, words) in ends {
        told(&PostEvent::RunEnded { run, end }, "ended", &format!("event 17 ended: {words}"));
    }
    let dead =
        |step| PostEvent::DeadLettered { run, step, failure: refused(), at: Timestamp(NOON) };
    let cause = "provider_key_refused: the key is refused; renew it";
    let text = format!("dead letter: event 17, keywords: {cause}");
    told(&dead(Step::Enrich(1)), "dead", &text);
    told(&dead(Step::Read), "dead", &format!("dead letter: event 17, read: {cause}"));
    let retried =
        PostEvent::RetryRequested { run, by: by(), reason: String::new(), redo: Redo::default() };
    told(&retried, "retried", "event 17 is to be tried again, says ann");
    told(&PostEvent::RunResumed { run }, "resumed", "work on event 17 goes on");
    let dropped = PostEvent::DeadLetterDropped { run, by: by(), reason: String::new() };
    told(&dropped, "ended", "event 17 ended: dropped by ann");
    let checkpoint = PostEvent::Checkpointed(Box::<PostState>::default());
    told(&checkpoint, "checkpoint", "state written down; older records may go");
}

fn texts(lines: &[JourneyLine]) -> Vec<String> {
    lines.iter().map(|line| format!("{} {}: {}", line.position, line.kind, line.text)).collect()
}

#[test]
fn a_journey_is_the_posts_own_in_log_order_and_without_its_words() {
    let mut room = Newsroom::new();
    let first = room.intake(None);
    room.store("news/1", &first);
    room.webhook("news/2", SECRET);
    room.consider("news/1");
    room.settle("news/1");
    let lines = now(journey(&room.log, &"news/1".parse().unwrap())).unwrap();
    assert_eq!(
        texts(&lines),
        [
            format!("1 received: post.updated from blog, id {}", first.event_id).as_str(),
            "4 accepted: event 1 accepted, route every",
            "4 started: work on event 1 began: summary, keywords",
            "4 asked: asked WordPress for the post",
            "5 read: post read",
            "5 asked: asked main for summary",
            "5 asked: asked main for keywords",
            "6 answered: summary answered: 31 tokens in, 12 out, $0.000007, model small-1",
            "7 answered: keywords answered: 31 tokens in, 12 out, $0.000007, model small-1",
            "7 prepared: write 1 prepared: excerpt, tags",
            "7 asked: asked WordPress to write",
            "8 written: write 1 applied: excerpt, tags",
            "8 ended: event 1 ended: applied",
        ]
    );
    assert!(lines.iter().all(|line| line.post.to_string() == "news/1" && line.at.0 == NOON));
    assert!(!format!("{lines:?}").contains(SECRET));
    assert!(now(journey(&room.log, &"news/3".parse().unwrap())).unwrap().is_empty());
}

#[test]
fn a_retried_dead_letter_keeps_its_steps_names() {
    let mut room = Newsroom::new();
    let dead = room.dead_letter("news/1", "a");
    room.webhook("news/1", "b");
    room.settle("news/1");
    room.webhook("news/1", "c");
    let by = "ann".to_owned();
    let retry = copydesk_core::post::PostCommand::Retry {
        run: run(dead),
        by,
        reason: String::new(),
        redo: Redo::default(),
    };
    room.turn("news/1", vec![retry]).unwrap();
    room.settle("news/1");
    let lines = now(journey(&room.log, &"news/1".parse().unwrap())).unwrap();
    assert!(lines.iter().any(|line| line.kind == "retried"));
    assert!(lines.iter().all(|line| !line.text.contains("step ")), "{lines:?}");
}

#[test]
fn only_the_newest_records_are_told() {
    let mut room = Newsroom::new();
    let records = u64::try_from(JOURNEY_RECORDS_MAX).unwrap() + 50;
    for _ in 0..records {
        let intake = room.intake(None);
        room.store("news/1", &intake);
    }
    let lines = now(journey(&room.log, &"news/1".parse().unwrap())).unwrap();
    let ends = (lines.first().unwrap().position, lines.last().unwrap().position);
    assert_eq!((lines.len(), ends), (JOURNEY_RECORDS_MAX, (51, records)));
}

#[test]
fn following_tells_what_the_journeys_tell_and_then_waits() {
    let mut room = Newsroom::new();
    room.webhook("news/1", "a");
    room.webhook("other/2", "b");
    let mut live = follow(&room.log, Sequence(0));
    let mut heard = Vec::new();
    for _ in 0..2 {
        while let Some(record) = live.next().now_or_never() {
            heard.extend(record.unwrap().unwrap());
        }
        room.settle("news/1");
        room.settle("other/2");
    }
    while let Some(record) = live.next().now_or_never() {
        heard.extend(record.unwrap().unwrap());
    }
    let mut all = now(journey(&room.log, &"news/1".parse().unwrap())).unwrap();
    all.extend(now(journey(&room.log, &"other/2".parse().unwrap())).unwrap());
    all.sort_by_key(|line| line.position);
    assert!(heard.len() > 20);
    assert_eq!(texts(&heard), texts(&all));
}

#[test]
fn following_from_the_middle_counts_steps() {
    let mut room = Newsroom::new();
    room.webhook("news/1", "a");
    let end = now(room.log.last_sequence()).unwrap();
    room.answer_next("news/1", None);
    let mut live = follow(&room.log, end);
    let line = now(live.next()).unwrap().unwrap().remove(0);
    assert_eq!(line.text, "step 1 answered: 31 tokens in, 12 out, $0.000007, model small-1");
}

#[test]
fn an_unreadable_record_is_a_line_and_a_failed_read_ends_it() {
    let mut room = Newsroom::new();
    let intake = room.intake(None);
    let record = intake.record(&"news/1".parse().unwrap());
    room.append(copydesk_eventlog::NewRecord { payload: b"\xff".as_slice().into(), ..record });
    let mut live = follow(&room.log, Sequence(0));
    let line = now(live.next()).unwrap().unwrap().remove(0);
    assert_eq!((line.kind, line.position), ("unreadable", 1));
    room.log.faults().next_read(ReadError::Unavailable("gone".to_owned()));
    let error = now(live.next()).unwrap();
    assert!(matches!(error, Err(ReadError::Unavailable(_))), "{error:?}");
    assert!(now(live.next()).is_none());
}

#[test]
fn nothing_from_outside_moves_a_cursor() {
    assert_eq!(plain("a\u{1b}[2Jb\r\nc"), "a [2Jb  c");
    assert_eq!(plain(&"é".repeat(5_000)).chars().count(), 1_000);
}
