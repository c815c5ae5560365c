//! One planted violation a test, so that all rules stand side by side.

mod kept;
mod laws;

use copydesk_core::post::{
    Effective, End, Input, IntakePosition, PostEvent, SourceVersion, Step, WriteNumber,
};
use copydesk_eventlog::{NewRecord, Subject};
use copydesk_proto::{ContentHash, Timestamp, v1};
use sha2::{Digest, Sha256};

use super::*;
use crate::desk::journey::testing::{Newsroom, answer, now, plan, run};
use crate::records::{Decision, Intake, Subjects};

const POST: &str = "news/1";

fn report(room: &Newsroom) -> Report {
    now(verify(&room.log, |_| {})).unwrap()
}

/// The log has these faults, by rule and by a part of their words, and no other.
#[track_caller]
fn check(room: &Newsroom, expected: &[(&str, &str)]) {
    let found = report(room).violations;
    let fits = |(violation, (rule, text)): (&Violation, &(&str, &str))| {
        violation.rule == *rule && violation.text.contains(text)
    };
    let all = found.len() == expected.len() && found.iter().zip(expected).all(fits);
    assert!(all, "expected {expected:?}, found {found:#?}");
    assert!(found.iter().all(|v| v.post == Some(POST.parse().unwrap()) && v.position > 0));
}

/// A post with one event applied, and its position.
fn applied() -> (Newsroom, u64) {
    let mut room = Newsroom::new();
    let position = room.webhook(POST, "a");
    room.settle(POST);
    (room, position)
}

/// Another webhook as `Accepted` says it, not considered yet.
fn accepted(room: &mut Newsroom, edit: impl FnOnce(&mut Intake)) -> (u64, PostEvent) {
    let mut intake = room.intake(Some("b"));
    edit(&mut intake);
    let position = room.store(POST, &intake);
    (position, PostEvent::Accepted(intake.incoming(IntakePosition(position))))
}

fn started(position: u64, text: &str) -> PostEvent {
    let input = Some(Input { hash: ContentHash::of(&[text]), modified_at: None });
    PostEvent::RunStarted {
        run: run(position),
        plan: plan(),
        blocks: false,
        suggests: false,
        input,
        again: false,
    }
}

fn ended(position: u64, end: End) -> PostEvent {
    PostEvent::RunEnded { run: run(position), end }
}

fn asked(position: u64, step: Step) -> PostEvent {
    PostEvent::StepAsked { run: run(position), step, attempt: 1, at: Timestamp(0) }
}

fn answered(position: u64, reused: bool) -> PostEvent {
    let answer = answer("summary");
    PostEvent::EnrichmentAnswered { run: run(position), step: 0, answer, reused, of: None }
}

fn intended(position: u64, write: u64) -> PostEvent {
    PostEvent::WriteIntended { run: run(position), write: WriteNumber(write), fields: vec![] }
}

fn written(position: u64, write: u64) -> PostEvent {
    let write = WriteNumber(write);
    PostEvent::WriteApplied {
        run: run(position),
        write,
        stored: vec![],
        kept: vec![],
        suggested: vec![],
    }
}

#[test]
fn a_clean_log_is_counted() {
    let (mut room, first) = applied();
    room.webhook(POST, "a");
    let again = Intake { idempotency_key: "key-1".to_owned(), ..room.intake(None) };
    let again = Intake { body: "x".into(), body_hash: [9; 32], ..again };
    let again = Intake { body_hash: Sha256::digest(&again.body).into(), ..again };
    room.store(POST, &again);
    let routeless = room.intake(None);
    room.store(POST, &Intake { route: None, ..routeless });
    room.consider(POST);
    room.dead_letter(POST, "c");
    room.webhook("news/2", "d");
    let late = room.intake(None);
    room.store("news/2", &late);
    let mut heard = Vec::new();
    let found = now(verify(&room.log, |records| heard.push(records))).unwrap();
    assert!(found.is_clean(), "{found:?}");
    let records = now(room.log.last_sequence()).unwrap().0;
    let expected = Report {
        records,
        posts: 2,
        events: 7,
        accepted: 4,
        applied: 1,
        unchanged: 1,
        filtered: 2,
        dead: 1,
        waiting: 1,
        unconsidered: 1,
        ..Report::default()
    };
    assert_eq!(found, expected);
    assert_eq!((first, heard), (1, vec![records]));
    let empty = Newsroom::new();
    assert_eq!(report(&empty), Report::default());
}

#[test]
fn records_that_repeat_or_go_back_are_found() {
    let (room, _) = applied();
    let records = now(room.log.read(Sequence(0), Filter(None), 99)).unwrap();
    let mut audit = Audit::default();
    records.iter().for_each(|record| audit.see(record));
    audit.see(&Record { subject: Subject::new("cd.desk.holds").unwrap(), ..records[0].clone() });
    let found = audit.finish().report.violations;
    let rules: Vec<_> = found.iter().map(|v| (v.rule, v.post.is_none(), v.position)).collect();
    assert_eq!(rules, [("log_order", true, 1)]);
}

#[test]
fn unreadable_records_are_found() {
    let (mut room, _) = applied();
    let broken = |record: NewRecord| NewRecord { payload: b"\xff".as_slice().into(), ..record };
    let intake = room.intake(None).record(&POST.parse().unwrap());
    room.append(broken(intake));
    check(&room, &[("readable", "unreadable")]);
    let last = room.post(POST).last;
    let decision = room.decision(POST, vec![]);
    let subject = Subjects::of(&POST.parse().unwrap()).decisions;
    room.append(broken(decision.record(&subject, last)));
    check(&room, &[("readable", "unreadable"), ("readable", "unreadable")]);
}

#[test]
fn a_body_that_was_not_signed_is_found() {
    let (mut room, _) = applied();
    let intake = Intake { body: "other words".into(), ..room.intake(None) };
    room.store(POST, &intake);
    check(&room, &[("body", "hash")]);
}

#[test]
fn a_decision_of_an_owner_that_was_replaced_is_found() {
    let (mut room, _) = applied();
    for (epoch, expected) in
        [(7, &[][..]), (0, &[]), (9, &[]), (7, &[("owner", "in epoch 7, after epoch 9")])]
    {
        let (_, event) = accepted(&mut room, |_| {});
        let decision = Decision { epoch, ..room.decision(POST, vec![event]) };
        room.decide(POST, &decision);
        check(&room, expected);
    }
}

#[test]
fn a_gap_in_the_decisions_is_found() {
    let (mut room, _) = applied();
    let (_, event) = accepted(&mut room, |_| {});
    let mut decision = room.decision(POST, vec![event]);
    decision.summary.events += 1;
    room.decide(POST, &decision);
    check(&room, &[("whole", "missing")]);
}

#[test]
fn decisions_trimmed_without_a_checkpoint_are_found() {
    let (room, _) = applied();
    let subject = Subjects::of(&POST.parse().unwrap()).decisions;
    now(room.log.trim(&subject, Sequence(4))).unwrap();
    check(&room, &[("whole", "missing")]);
}

#[test]
fn an_event_passed_over_is_found() {
    let (mut room, _) = applied();
    let (skipped, _) = accepted(&mut room, |_| {});
    room.wait(1);
    let (position, event) = accepted(&mut room, |_| {});
    room.raw(POST, vec![event]);
    let text = format!("event {skipped} is passed over by event {position}");
    check(&room, &[("considered", &text)]);
}

#[test]
fn an_event_considered_twice_is_found() {
    let (mut room, _) = applied();
    let (position, event) = accepted(&mut room, |_| {});
    let PostEvent::Accepted(incoming) = event.clone() else { unreachable!() };
    let end = End::Duplicate { of: IntakePosition(position) };
    room.raw(POST, vec![event, PostEvent::Ignored { incoming, end }]);
    let text = format!("event {position} is considered after event {position}");
    check(&room, &[("considered", &text)]);
}

#[test]
fn phantoms_are_found() {
    let (mut room, _) = applied();
    let intake = room.intake(None);
    let phantom = intake.incoming(IntakePosition(900));
    room.raw(POST, vec![PostEvent::Accepted(phantom)]);
    check(&room, &[("phantom", "event 900 is considered before its webhook can be there")]);

    let (mut room, _) = applied();
    let elsewhere = room.intake(None);
    let elsewhere = IntakePosition(room.store("news/2", &elsewhere));
    let intake = room.intake(None);
    room.raw(POST, vec![PostEvent::Accepted(intake.incoming(elsewhere))]);
    check(&room, &[("phantom", &format!("the log holds no webhook {}", elsewhere.0))]);

    let (mut room, _) = applied();
    let (_, event) = accepted(&mut room, |_| {});
    let PostEvent::Accepted(incoming) = event else { unreachable!() };
    room.raw(
        POST,
        vec![PostEvent::Accepted(copydesk_core::post::Incoming { text: None, ..incoming })],
    );
    check(&room, &[("phantom", "is not what its webhook says")]);
}

#[test]
fn an_event_that_ends_twice_is_found() {
    let (mut room, first) = applied();
    room.raw(POST, vec![PostEvent::Ended { position: IntakePosition(first), end: End::Gone }]);
    check(&room, &[("one_end", "event 1 ended (gone) before")]);
}

#[test]
fn an_event_that_ends_and_goes_on_is_found() {
    let (mut room, _) = applied();
    let (position, event) = accepted(&mut room, |_| {});
    let ended = PostEvent::Ended { position: IntakePosition(position), end: End::Gone };
    room.raw(POST, vec![event, started(position, "b"), ended]);
    check(&room, &[("one_end", "has ended, and is waited for")]);
}

#[test]
fn a_run_that_pushes_another_out_is_found() {
    let (mut room, _) = applied();
    let (first, one) = accepted(&mut room, |_| {});
    let (second, other) = accepted(&mut room, |_| {});
    room.raw(POST, vec![one, other, started(first, "b"), started(second, "b")]);
    let pushed = format!("event {second} starts while event {first} is at work");
    check(&room, &[("run", &pushed), ("lost", "nothing waits for it")]);
}

#[test]
fn a_run_of_nothing_and_answers_to_nothing_are_found() {
    let (mut room, first) = applied();
    room.raw(POST, vec![started(first, "a")]);
    room.raw(POST, vec![answered(first, false)]);
    room.raw(POST, vec![PostEvent::RunResumed { run: run(first) }]);
    let not_at_work = "is not at work, and it is answered";
    let resumed = "goes on, which nobody could ask for";
    check(&room, &[("run", "starts and does not wait"), ("run", not_at_work), ("run", resumed)]);
}

#[test]
fn a_key_that_counts_twice_is_found() {
    let again = |intake: &mut Intake| intake.idempotency_key = "key-1".to_owned();
    let (mut room, _) = applied();
    let (position, event) = accepted(&mut room, again);
    room.raw(POST, vec![event]);
    let text = format!("event {position} is accepted under a key seen before");
    check(&room, &[("key", &text)]);
    // After 30 days a key is new again.
    let (mut room, _) = applied();
    room.wait(30 * 24 * 3_600 * 1_000);
    let (_, event) = accepted(&mut room, again);
    room.raw(POST, vec![event]);
    check(&room, &[]);
}

#[test]
fn write_numbers_that_skip_or_repeat_are_found() {
    let (mut room, _) = applied();
    let (position, event) = accepted(&mut room, |_| {});
    room.raw(POST, vec![event, started(position, "b"), intended(position, 3)]);
    check(&room, &[("write_number", "write 3 comes after write 1")]);
    room.raw(POST, vec![intended(position, 3)]);
    let third = "write 3 comes after write";
    check(&room, &[("write_number", third), ("write_number", third)]);
}

#[test]
fn a_write_applied_twice_or_unasked_is_found() {
    let (mut room, _) = applied();
    let (position, event) = accepted(&mut room, |_| {});
    room.raw(POST, vec![event, started(position, "b"), intended(position, 2)]);
    room.raw(POST, vec![written(position, 2), written(position, 2)]);
    check(&room, &[("write_number", "write 2 is applied after write 2")]);
    let (mut room, _) = applied();
    let (position, event) = accepted(&mut room, |_| {});
    room.raw(POST, vec![event, started(position, "b"), intended(position, 2)]);
    room.raw(POST, vec![written(position, 4)]);
    check(&room, &[("write_number", "did not ask for")]);
}

#[test]
fn an_answer_bought_twice_is_found() {
    let (mut room, _) = applied();
    let (position, event) = accepted(&mut room, |_| {});
    let enrich = || asked(position, Step::Enrich(0));
    room.raw(POST, vec![event, started(position, "a"), enrich(), answered(position, false)]);
    check(
        &room,
        &[("paid_once", "summary is asked for again"), ("paid_once", "summary is paid for again")],
    );
    let (mut room, _) = applied();
    let (position, event) = accepted(&mut room, |_| {});
    room.raw(POST, vec![event, started(position, "b"), answered(position, true)]);
    check(&room, &[("paid_once", "nobody kept")]);
}

#[test]
fn a_person_may_have_an_answer_bought_again() {
    let (mut room, _) = applied();
    let (position, event) = accepted(&mut room, |intake| intake.again = true);
    let mut begun = started(position, "a");
    if let PostEvent::RunStarted { again, .. } = &mut begun {
        *again = true;
    }
    let enrich = || asked(position, Step::Enrich(0));
    room.raw(POST, vec![event, begun, enrich(), answered(position, false)]);
    check(&room, &[]);
    room.raw(POST, vec![enrich()]);
    check(&room, &[("paid_once", "summary is asked for again")]);
}

#[test]
fn an_answer_no_longer_kept_may_be_bought_again() {
    let mut room = Newsroom::new();
    for text in ["a", "b", "c", "d", "e", "a"] {
        room.webhook(POST, text);
        room.settle(POST);
    }
    check(&room, &[]);
}

#[test]
fn a_summary_that_does_not_fit_is_found() {
    let edits: [fn(&mut v1::Summary); 4] = [
        |summary| summary.considered += 1,
        |summary| summary.waiting += 1,
        |summary| summary.dead += 1,
        |summary| summary.state = "idle".to_owned(),
    ];
    for edit in edits {
        let (mut room, _) = applied();
        let (_, event) = accepted(&mut room, |_| {});
        let mut decision = room.decision(POST, vec![event]);
        edit(&mut decision.summary);
        room.decide(POST, &decision);
        check(&room, &[("summary", "its events say")]);
    }
}

#[test]
fn a_checkpoint_that_does_not_fit_is_found() {
    let (mut room, _) = applied();
    let mut state = room.post(POST).state.clone();
    state.settled.clear();
    room.raw(POST, vec![PostEvent::Checkpointed(Box::new(state))]);
    check(&room, &[("checkpoint", "is not what the events before it give")]);
}

#[test]
fn effects_out_of_order_are_found() {
    let (mut room, _) = applied();
    let (first, one) = accepted(&mut room, |_| {});
    let (second, other) = accepted(&mut room, |_| {});
    room.raw(POST, vec![one, other, started(second, "b"), ended(second, End::Applied)]);
    room.raw(POST, vec![started(first, "b"), ended(first, End::Unchanged)]);
    let text = format!("event {first} takes effect after event {second}");
    check(&room, &[("order", &text)]);
}

fn versioned(version: u64) -> impl Fn(&mut Intake) {
    move |intake| intake.version = Some(SourceVersion::Sequence(version))
}

#[test]
fn an_older_version_after_a_newer_is_found() {
    let (mut room, _) = applied();
    let (first, one) = accepted(&mut room, versioned(9));
    room.raw(POST, vec![one, started(first, "b"), ended(first, End::Applied)]);
    let (second, other) = accepted(&mut room, versioned(8));
    room.raw(POST, vec![other, started(second, "b"), ended(second, End::Kept)]);
    let text = format!("event {second} takes effect after a newer version");
    check(&room, &[("order", &text)]);
}

#[test]
fn an_older_version_may_overtake_a_newer_one_that_waits() {
    let (mut room, _) = applied();
    for version in [3, 2, 1] {
        let intake = room.intake(None);
        let version = Some(SourceVersion::Sequence(version));
        room.store(POST, &Intake { version, ..intake });
    }
    room.consider(POST);
    room.settle(POST);
    let effective = room.post(POST).state.effective;
    let version = Some(SourceVersion::Sequence(3));
    assert!(matches!(effective, Some(Effective { version: v, .. }) if v == version));
    check(&room, &[]);
}

#[test]
fn a_report_lists_so_many_and_counts_the_rest() {
    let (mut room, _) = applied();
    let twice = u64::try_from(VIOLATIONS_MAX).unwrap() + 10;
    let end = |_| PostEvent::Ended { position: IntakePosition(1), end: End::Gone };
    room.raw(POST, (0..twice).map(end).collect());
    let found = report(&room);
    assert_eq!((found.violations.len(), found.unlisted), (VIOLATIONS_MAX, 10));
    assert!(!found.is_clean());
}
