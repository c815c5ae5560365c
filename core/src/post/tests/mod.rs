//! The rules, one sentence each: given a history, when a command comes, then these events follow.

mod again;
mod holds;
mod operator;
mod suggestions;

use copydesk_proto::Timestamp;

use super::testing::{START, answer, fold, incoming, policy, text, versioned};
use super::*;
use crate::content::{Answer, Field, FieldValue};
use crate::failure::{Failure, FailureClass};

/// A post driven by commands; `line` is what tests read.
pub(super) struct Desk {
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
    pub(super) history: Vec<PostEvent>,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self { policy: policy(), now: START, history: Vec::new() }
    }

    pub(super) fn state(&self) -> PostState {
        fold(&self.history)
    }

    pub(super) fn later(&mut self, ms: u64) -> &mut Self {
        self.now = self.now.after_ms(ms);
        self
    }

    /// Decides, appends, and says what happened, one word per event.
    pub(super) fn when(&mut self, command: PostCommand) -> Result<String, Rejection> {
        let events = decide(&self.state(), command, &self.policy, self.now)?;
        let words: Vec<String> = events.iter().map(word).collect();
        self.history.extend(events);
        Ok(words.join(" "))
    }

    pub(super) fn accept(&mut self, mut event: Incoming) -> String {
        event.received_at = self.now;
        self.when(PostCommand::Accept(event)).unwrap()
    }

    pub(super) fn tick(&mut self) -> String {
        self.when(PostCommand::Tick).unwrap()
    }

    pub(super) fn found(&mut self, run: u64, body: &str) -> Result<String, Rejection> {
        let input = Input { hash: text(body), modified_at: None };
        self.when(PostCommand::Read { run: id(run), result: Ok(ReadResult::Found(input)) })
    }

    pub(super) fn enriched(&mut self, run: u64, step: u8, body: &str) -> String {
        let name = ["summary", "tags"][usize::from(step)];
        self.when(enriched(run, step, body, Ok(answer(name, body)))).unwrap()
    }

    pub(super) fn failed(&mut self, run: u64, step: u8, body: &str, class: FailureClass) -> String {
        let result = Err(Failure::new(class, "code", "cause"));
        self.when(enriched(run, step, body, result)).unwrap()
    }

    pub(super) fn written(
        &mut self,
        run: u64,
        write: u64,
        result: WriteResult,
    ) -> Result<String, Rejection> {
        let write = WriteNumber(write);
        self.when(PostCommand::Written { run: id(run), write, result: Ok(result) })
    }

    pub(super) fn applied(&mut self, run: u64, write: u64, body: &str) -> String {
        let stored = vec![(Field::Excerpt, FieldValue::Text(body.to_owned()).hash())];
        self.written(run, write, WriteResult::Applied { stored, kept: vec![], suggested: vec![] })
            .unwrap()
    }

    /// One event from acceptance to the write.
    pub(super) fn whole_run(&mut self, run: u64, write: u64, body: &str) {
        self.accept(incoming(run, "every", Some(body)));
        self.enriched(run, 0, body);
        self.enriched(run, 1, body);
        assert_eq!(self.applied(run, write, body), "applied ended:Applied");
    }
}

pub(super) fn id(position: u64) -> RunId {
    RunId(IntakePosition(position))
}

pub(super) fn enriched(
    run: u64,
    step: u8,
    body: &str,
    result: Result<Answer, Failure>,
) -> PostCommand {
    PostCommand::Enriched { run: id(run), step, input: text(body), by: None, result }
}

pub(super) fn retry(run: u64) -> PostCommand {
    let (by, reason) = ("ann".to_owned(), String::new());
    PostCommand::Retry { run: id(run), by, reason, redo: Redo::default() }
}

fn dropped(run: u64) -> PostCommand {
    PostCommand::Drop { run: id(run), by: "ann".to_owned(), reason: String::new() }
}

fn end_word(end: &End) -> String {
    match end {
        End::Superseded { by } => format!("Superseded({})", by.0),
        End::Duplicate { of } => format!("Duplicate({})", of.0),
        End::Filtered { rule } => format!("Filtered({rule})"),
        End::Dropped { by } => format!("Dropped({by})"),
        End::Applied | End::Kept | End::Suggested | End::Unchanged | End::Gone => {
            format!("{end:?}")
        }
    }
}

fn word(event: &PostEvent) -> String {
    let step = |step: &Step| match step {
        Step::Read => "read".to_owned(),
        Step::Enrich(place) => format!("enrich{place}"),
        Step::Write => "write".to_owned(),
    };
    match event {
        PostEvent::Accepted(_) => "accepted".to_owned(),
        PostEvent::Ignored { end, .. } => format!("ignored:{}", end_word(end)),
        PostEvent::Ended { position, end } => format!("{}:{}", position.0, end_word(end)),
        PostEvent::RunStarted { run, .. } => format!("run{}", run.0.0),
        PostEvent::StepAsked { step: s, attempt, .. } => format!("{}?{attempt}", step(s)),
        PostEvent::PostRead { .. } => "text".to_owned(),
        PostEvent::StepSkipped { step, .. } => format!("skip{step}"),
        PostEvent::EnrichmentAnswered { step, reused, .. } => {
            format!("{}{step}", if *reused { "reused" } else { "answer" })
        }
        PostEvent::WriteIntended { write, fields, .. } => {
            format!("intend{}x{}", write.0, fields.len())
        }
        PostEvent::WriteApplied { .. } => "applied".to_owned(),
        PostEvent::WriteRefused { .. } => "refused".to_owned(),
        PostEvent::StepHeld { step: s, .. } => format!("{}$", step(s)),
        PostEvent::AttemptFailed { step: s, attempt, retry_at, .. } => {
            format!("{}!{attempt}{}", step(s), if retry_at.is_some() { "~" } else { "" })
        }
        PostEvent::NoticeOwed { kind, to, .. } => format!("owed:{}x{}", kind.name(), to.len()),
        PostEvent::NoticePosted { .. } => "posted".to_owned(),
        PostEvent::RunEnded { end, .. } => format!("ended:{}", end_word(end)),
        PostEvent::DeadLettered { step: s, .. } => format!("dead:{}", step(s)),
        PostEvent::RetryRequested { .. } => "retry".to_owned(),
        PostEvent::RunResumed { .. } => "resumed".to_owned(),
        PostEvent::DeadLetterDropped { .. } => "dropped".to_owned(),
        PostEvent::Erased { .. } => "erased".to_owned(),
        PostEvent::Checkpointed(_) => "checkpoint".to_owned(),
    }
}

#[test]
fn an_event_with_text_goes_from_acceptance_to_the_write() {
    let mut desk = Desk::new();
    assert_eq!(desk.accept(incoming(1, "every", Some("a"))), "accepted run1 enrich0?1 enrich1?1");
    assert_eq!(desk.enriched(1, 1, "a"), "answer1");
    assert_eq!(desk.enriched(1, 0, "a"), "answer0 intend1x2 write?1");
    assert_eq!(desk.applied(1, 1, "a"), "applied ended:Applied");
    assert!(desk.state().is_idle());
    assert!(outstanding(&desk.state()).is_empty());
}

#[test]
fn an_event_without_text_reads_the_post_first() {
    let mut desk = Desk::new();
    assert_eq!(desk.accept(incoming(1, "every", None)), "accepted run1 read?1");
    assert_eq!(desk.found(1, "a"), Ok("text enrich0?1 enrich1?1".to_owned()));
}

#[test]
fn a_route_without_enrichments_hands_the_event_on() {
    let mut desk = Desk::new();
    assert_eq!(desk.accept(incoming(1, "pass", None)), "accepted run1 intend1x0 write?1");
    assert_eq!(desk.applied(1, 1, "a"), "applied ended:Applied");
}

#[test]
fn our_own_writes_webhook_ends_unchanged_without_an_ai_call() {
    let mut desk = Desk::new();
    desk.whole_run(1, 1, "a");
    assert_eq!(desk.accept(incoming(2, "every", None)), "accepted run2 read?1");
    assert_eq!(desk.found(2, "a"), Ok("text skip0 skip1 ended:Unchanged".to_owned()));
}

#[test]
fn an_edit_taken_back_is_written_again_but_not_paid_again() {
    let mut desk = Desk::new();
    desk.whole_run(1, 1, "a");
    desk.whole_run(2, 2, "b");
    let said = desk.accept(incoming(3, "every", Some("a")));
    assert_eq!(said, "accepted run3 reused0 reused1 intend3x2 write?1");
}

#[test]
fn the_same_key_is_a_duplicate_for_thirty_days() {
    let mut desk = Desk::new();
    desk.whole_run(1, 1, "a");
    let again = |position| Incoming {
        position: IntakePosition(position),
        ..incoming(1, "every", Some("a"))
    };
    desk.later(30 * 24 * 3_600_000 - 1);
    assert_eq!(desk.accept(again(2)), "ignored:Duplicate(1)");
    desk.later(1);
    assert_eq!(desk.accept(again(3)), "accepted run3 skip0 skip1 ended:Unchanged");
    desk.later(1);
    assert_eq!(desk.accept(again(4)), "ignored:Duplicate(3)");
}

#[test]
fn the_same_key_with_another_body_is_filtered() {
    let mut desk = Desk::new();
    desk.whole_run(1, 1, "a");
    let other =
        Incoming { position: IntakePosition(2), body: [1; 8], ..incoming(1, "every", None) };
    assert_eq!(desk.accept(other), "ignored:Filtered(key_reused)");
}

#[test]
fn a_record_read_twice_is_considered_once() {
    let mut desk = Desk::new();
    desk.accept(incoming(5, "every", Some("a")));
    let again = PostCommand::Accept(incoming(5, "every", Some("a")));
    assert_eq!(desk.when(again), Err(Rejection::AlreadyConsidered));
}

#[test]
fn an_event_that_no_route_wants_is_filtered() {
    let mut desk = Desk::new();
    let stray = Incoming { route: None, ..incoming(1, "every", None) };
    assert_eq!(desk.accept(stray), "ignored:Filtered(no_route)");
}

#[test]
fn events_of_a_post_take_effect_one_after_the_other() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    assert_eq!(desk.accept(incoming(2, "every", Some("b"))), "accepted");
    desk.enriched(1, 0, "a");
    desk.enriched(1, 1, "a");
    assert_eq!(desk.applied(1, 1, "a"), "applied ended:Applied run2 enrich0?1 enrich1?1");
}

#[test]
fn an_older_version_is_superseded_by_a_newer_that_took_effect() {
    let mut desk = Desk::new();
    desk.accept(versioned(1, "every", 5));
    desk.enriched(1, 0, "v5");
    desk.enriched(1, 1, "v5");
    assert_eq!(desk.accept(versioned(2, "every", 4)), "accepted");
    assert_eq!(desk.applied(1, 1, "v5"), "applied ended:Applied 2:Superseded(1)");
    assert_eq!(desk.accept(versioned(3, "every", 4)), "ignored:Superseded(1)");
    assert_eq!(desk.accept(versioned(4, "every", 5)), "accepted run4 skip0 skip1 ended:Unchanged");
}

#[test]
fn waiting_events_stand_in_the_order_of_their_versions() {
    let mut desk = Desk::new();
    desk.accept(versioned(1, "every", 1));
    desk.accept(versioned(2, "every", 3));
    desk.accept(versioned(3, "every", 2));
    desk.enriched(1, 0, "v1");
    desk.enriched(1, 1, "v1");
    assert_eq!(desk.applied(1, 1, "v1"), "applied ended:Applied run3 enrich0?1 enrich1?1");
}

#[test]
fn a_gap_is_waited_for_and_then_not() {
    let mut desk = Desk::new();
    assert_eq!(desk.accept(versioned(1, "gap", 2)), "accepted");
    assert_eq!(next_wake(&desk.state(), &desk.policy), Some(START.after_ms(2_000)));
    assert_eq!(
        desk.later(1_000).accept(versioned(2, "gap", 1)),
        "accepted run2 enrich0?1 enrich1?1"
    );

    let mut desk = Desk::new();
    desk.accept(versioned(1, "gap", 2));
    assert_eq!(desk.later(1_999).tick(), "");
    assert_eq!(desk.later(1).tick(), "run1 enrich0?1 enrich1?1");
}

#[test]
fn latest_waits_for_quiet_and_takes_the_newest() {
    let mut desk = Desk::new();
    assert_eq!(desk.accept(incoming(1, "latest", Some("a"))), "accepted");
    assert_eq!(desk.later(900).accept(incoming(2, "latest", Some("b"))), "accepted");
    assert_eq!(desk.later(999).tick(), "");
    assert_eq!(desk.later(1).tick(), "1:Superseded(2) run2 enrich0?1 enrich1?1");
}

#[test]
fn latest_waits_no_longer_than_its_maximum() {
    let mut desk = Desk::new();
    for position in 1..=6 {
        assert_eq!(desk.accept(incoming(position, "latest", Some("a"))), "accepted");
        desk.later(900);
    }
    assert_eq!(next_wake(&desk.state(), &desk.policy), Some(START.after_ms(5_000)));
    assert!(desk.tick().ends_with("5:Superseded(6) run6 enrich0?1 enrich1?1"));
}

#[test]
fn a_started_run_is_not_absorbed() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "latest", Some("a")));
    desk.later(1_000).tick();
    assert_eq!(desk.accept(incoming(2, "latest", Some("b"))), "accepted");
    desk.enriched(1, 0, "a");
    desk.enriched(1, 1, "a");
    let said = desk.written(1, 1, WriteResult::Changed).unwrap();
    assert_eq!(said, "ended:Superseded(2)", "its result is discarded at the fence");
}

#[test]
fn a_failed_try_is_repeated_and_nothing_overtakes_it() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 1, "a");
    assert_eq!(desk.failed(1, 0, "a", FailureClass::Retry), "enrich0!1~");
    assert_eq!(desk.accept(incoming(2, "every", Some("b"))), "accepted");
    assert_eq!(desk.later(1_000).tick(), "enrich0?2");
    assert_eq!(desk.failed(1, 0, "a", FailureClass::Retry), "enrich0!2~");
    assert_eq!(desk.later(1_000).tick(), "enrich0?3");
    let said = desk.failed(1, 0, "a", FailureClass::Retry);
    assert_eq!(said, "enrich0!3 dead:enrich0 run2 enrich0?1 enrich1?1");
}

#[test]
fn an_unavailable_service_uses_up_no_tries_until_its_time_is_over() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 1, "a");
    for _ in 0..30 {
        assert!(desk.failed(1, 0, "a", FailureClass::Unavailable).ends_with('~'));
        assert!(desk.later(1_900).tick().starts_with("enrich0?"));
    }
    desk.later(3_001);
    assert!(desk.failed(1, 0, "a", FailureClass::Unavailable).ends_with("dead:enrich0"));
}

#[test]
fn retry_after_is_obeyed() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    let failure = Failure::new(FailureClass::Unavailable, "c", "c").retry_after_ms(Some(20_000));
    desk.when(enriched(1, 0, "a", Err(failure))).unwrap();
    assert_eq!(desk.later(19_999).tick(), "");
    assert!(next_wake(&desk.state(), &desk.policy) >= Some(START.after_ms(20_000)));
}

#[test]
fn a_dead_letter_keeps_what_was_paid_for() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 0, "a");
    assert_eq!(desk.failed(1, 1, "a", FailureClass::Terminal), "enrich1!1 dead:enrich1");
    assert_eq!(desk.when(retry(1)), Ok("retry resumed enrich1?1".to_owned()));
    assert_eq!(desk.when(retry(1)), Err(Rejection::NoSuchDeadLetter));
    assert_eq!(desk.enriched(1, 1, "a"), "answer1 intend1x2 write?1");
}

#[test]
fn a_failure_waits_for_answers_under_way_so_that_they_are_kept() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    assert_eq!(desk.failed(1, 1, "a", FailureClass::Terminal), "enrich1!1");
    assert_eq!(desk.enriched(1, 0, "a"), "answer0 dead:enrich1");
    assert_eq!(desk.state().answers.len(), 1);
}

#[test]
fn a_blocking_route_stops_the_post_at_a_dead_letter() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "block", Some("a")));
    desk.failed(1, 0, "a", FailureClass::Terminal);
    assert_eq!(desk.enriched(1, 1, "a"), "answer1 dead:enrich0");
    assert_eq!(desk.accept(incoming(2, "block", Some("b"))), "accepted");
    assert_eq!(next_wake(&desk.state(), &desk.policy), None);
    assert_eq!(desk.when(dropped(1)), Ok("dropped run2 enrich0?1 enrich1?1".to_owned()));
}

#[test]
fn changed_text_is_read_and_done_again_with_a_new_write_number() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", None));
    desk.found(1, "a").unwrap();
    desk.enriched(1, 0, "a");
    desk.enriched(1, 1, "a");
    assert_eq!(desk.written(1, 1, WriteResult::Changed), Ok("refused read?1".to_owned()));
    assert_eq!(desk.found(1, "b"), Ok("text enrich0?1 enrich1?1".to_owned()));
    desk.enriched(1, 0, "b");
    assert_eq!(desk.enriched(1, 1, "b"), "answer1 intend2x2 write?1");
}

#[test]
fn text_that_never_stands_still_is_a_dead_letter() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", None));
    for round in 1..=6 {
        let body = format!("t{round}");
        desk.found(1, &body).unwrap();
        desk.enriched(1, 0, &body);
        desk.enriched(1, 1, &body);
        let said = desk.written(1, round, WriteResult::Changed).unwrap();
        assert_eq!(said, if round < 6 { "refused read?1" } else { "write!1 dead:write" });
    }
}

#[test]
fn a_recovered_run_that_finds_other_text_starts_over() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", None));
    desk.found(1, "a").unwrap();
    desk.enriched(1, 0, "a");
    assert_eq!(desk.found(1, "a"), Err(Rejection::NotAsked), "the same text: go on");
    assert_eq!(desk.found(1, "b"), Ok("text enrich0?1 enrich1?1".to_owned()));
    let late = enriched(1, 1, "a", Ok(answer("tags", "a")));
    assert_eq!(desk.when(late), Err(Rejection::NotAsked), "an answer about the old text");
}

#[test]
fn a_persons_words_end_the_run_as_kept() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 0, "a");
    desk.enriched(1, 1, "a");
    let result =
        WriteResult::Applied { stored: vec![], kept: vec![Field::Excerpt], suggested: vec![] };
    assert_eq!(desk.written(1, 1, result), Ok("applied ended:Kept".to_owned()));
}

#[test]
fn a_deleted_post_ends_its_run() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", None));
    let gone = PostCommand::Read { run: id(1), result: Ok(ReadResult::Gone) };
    assert_eq!(desk.when(gone), Ok("ended:Gone".to_owned()));
}

#[test]
fn an_old_version_leads_no_group_behind_an_event_without_one() {
    let mut desk = Desk::new();
    desk.accept(versioned(1, "every", 2));
    desk.accept(incoming(2, "latest", Some("b")));
    assert_eq!(desk.accept(versioned(3, "latest", 1)), "accepted");
    desk.enriched(1, 0, "v2");
    desk.enriched(1, 1, "v2");
    desk.later(1_000);
    let said = desk.applied(1, 1, "v2");
    assert_eq!(said, "applied ended:Applied 3:Superseded(1) run2 enrich0?1 enrich1?1");
}

#[test]
fn a_loop_that_changes_the_text_each_time_is_stopped_for_the_hour() {
    let mut desk = Desk::new();
    desk.policy.tries.asks_per_hour_max = 2;
    desk.whole_run(1, 1, "a");
    assert_eq!(desk.accept(incoming(2, "every", Some("b"))), "accepted run2");
    assert_eq!(next_wake(&desk.state(), &desk.policy), Some(START.after_ms(3_600_000)));
    assert_eq!(desk.later(3_600_000).tick(), "enrich0?1 enrich1?1");
}

#[test]
fn a_full_queue_leaves_events_in_the_intake_log() {
    let mut desk = Desk::new();
    let last = 2 + u64::try_from(crate::limits::WAITING_MAX).unwrap();
    for position in 1..last {
        desk.accept(incoming(position, "every", Some("a")));
    }
    let one_more = PostCommand::Accept(incoming(last, "every", Some("a")));
    assert_eq!(desk.when(one_more), Err(Rejection::QueueFull));
}

#[test]
fn a_checkpoint_stands_for_everything_before_it() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    assert_eq!(desk.when(PostCommand::Checkpoint), Err(Rejection::Busy));
    desk.enriched(1, 0, "a");
    desk.enriched(1, 1, "a");
    desk.applied(1, 1, "a");
    assert_eq!(desk.when(PostCommand::Checkpoint), Ok("checkpoint".to_owned()));
    assert_eq!(fold(desk.history.last()), desk.state());
}
