//! What is no longer kept forgives what it covers, and nothing else.

use copydesk_core::limits::{DEAD_LETTERS_MAX, DEDUPE_RING_MAX};
use copydesk_core::post::{IntakePosition, PostCommand, PostEvent, Redo, Step};
use copydesk_eventlog::{EventLog as _, Filter, Record, Sequence};

use super::{Audit, POST, accepted, applied, asked, check, intended, report, started};
use crate::desk::journey::testing::{Newsroom, now, run};
use crate::records::{DECISIONS, Decision, Intake, Subjects};

#[test]
fn a_trimmed_post_is_checked_from_its_checkpoint_on() {
    let (mut room, _) = applied();
    let dead = room.dead_letter(POST, "b");
    room.turn(POST, vec![PostCommand::Checkpoint]).unwrap();
    let subjects = Subjects::of(&POST.parse().unwrap());
    let checkpoint = room.post(POST).last;
    // The webhooks go first: the decisions about them are still there.
    now(room.log.trim(&subjects.intake, checkpoint)).unwrap();
    check(&room, &[]);
    now(room.log.trim(&subjects.decisions, checkpoint)).unwrap();
    check(&room, &[]);
    assert_eq!(report(&room).dead, 1);
    let by = "ann".to_owned();
    room.turn(
        POST,
        vec![PostCommand::Retry {
            run: run(dead),
            by,
            reason: String::new(),
            redo: Redo::default(),
        }],
    )
    .unwrap();
    room.settle(POST);
    room.webhook(POST, "c");
    room.settle(POST);
    check(&room, &[]);
    assert_eq!((report(&room).applied, report(&room).dead), (2, 0));

    // What the checkpoint remembers still holds: keys, answers, numbers.
    let (position, event) =
        accepted(&mut room, |intake| intake.idempotency_key = "key-1".to_owned());
    let text = [started(position, "a"), asked(position, Step::Enrich(0)), intended(position, 9)];
    room.raw(POST, std::iter::once(event).chain(text).collect());
    check(
        &room,
        &[
            ("key", "seen before"),
            ("paid_once", "asked for again"),
            ("write_number", "write 9 comes after write 3"),
        ],
    );
}

/// A backup is read page by page while posts are trimmed: an early page has what a later one lacks.
#[test]
fn a_hole_right_before_a_checkpoint_is_a_trim_and_any_other_is_a_loss() {
    let (mut room, _) = applied();
    room.turn(POST, vec![PostCommand::Checkpoint]).unwrap();
    room.webhook(POST, "b");
    room.settle(POST);
    let records = now(room.log.read(Sequence(0), Filter(None), 99)).unwrap();
    let decisions: Vec<u64> = records
        .iter()
        .filter(|record| DECISIONS.matches(&record.subject))
        .map(|record| record.sequence.0)
        .collect();
    let is_checkpoint = |record: &&Record| {
        let events = Decision::read(record).map(|decision| decision.events);
        events.is_ok_and(|events| matches!(events[..], [PostEvent::Checkpointed(_)]))
    };
    let checkpoint = records.iter().find(is_checkpoint).unwrap().sequence.0;
    // What is missing at the end, nothing shows.
    let (_, decisions) = decisions.split_last().unwrap();
    for hole in decisions.iter().skip(1).filter(|sequence| **sequence != checkpoint) {
        let mut audit = Audit::default();
        let missing = |sequence: u64| match *hole < checkpoint {
            // A trim takes all from here on.
            true => (*hole..checkpoint).contains(&sequence),
            false => sequence == *hole,
        };
        records.iter().filter(|r| !missing(r.sequence.0)).for_each(|record| audit.see(record));
        let found = audit.finish().report.violations;
        assert_eq!(found.is_empty(), *hole < checkpoint, "a hole at {hole}: {found:?}");
    }
}

#[test]
fn decisions_after_a_checkpoint_do_not_forgive_phantoms_after_it() {
    let (mut room, _) = applied();
    room.turn(POST, vec![PostCommand::Checkpoint]).unwrap();
    let intake = room.intake(None);
    let elsewhere = IntakePosition(room.store("news/2", &intake));
    room.raw(POST, vec![PostEvent::Accepted(intake.incoming(elsewhere))]);
    check(&room, &[("phantom", &format!("the log holds no webhook {}", elsewhere.0))]);
}

#[test]
fn a_key_beyond_those_remembered_may_count_again() {
    let (mut room, _) = applied();
    for n in 1..=DEDUPE_RING_MAX {
        let intake = room.intake(None);
        room.store(POST, &Intake { route: None, ..intake });
        if n % 500 == 0 || n == DEDUPE_RING_MAX {
            room.consider(POST);
        }
    }
    let (_, event) = accepted(&mut room, |intake| intake.idempotency_key = "key-1".to_owned());
    room.raw(POST, vec![event]);
    check(&room, &[]);
}

#[test]
fn dead_letters_beyond_those_kept_are_not_lost() {
    let mut room = Newsroom::new();
    for n in 0..DEAD_LETTERS_MAX + 3 {
        room.dead_letter(POST, &format!("text {n}"));
    }
    let newest = room.post(POST).state.dead.back().unwrap().run.id;
    room.turn(
        POST,
        vec![PostCommand::Drop { run: newest, by: "ann".to_owned(), reason: String::new() }],
    )
    .unwrap();
    check(&room, &[]);
    assert_eq!(report(&room).dead, u64::try_from(DEAD_LETTERS_MAX).unwrap() - 1);
}
