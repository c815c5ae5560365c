//! What operators and budgets do to a post: given a history, when a command comes, then these
//! events follow.

use super::*;
use crate::budget::{Period, Withheld};
use crate::content::FieldValue;
use crate::failure::FailureClass;
use crate::holds::{Hold, HoldScope};

fn withheld(desk: &Desk, until_ms: Option<u64>) -> Withheld {
    let until = until_ms.map(|ms| desk.now.after_ms(ms));
    let budget = "provider:main".parse().unwrap();
    Withheld { budget, period: Period::Day, until, since: desk.now }
}

fn hold_step(desk: &mut Desk, step: u8, until_ms: Option<u64>) -> String {
    let (run, step, withheld) = (id(1), Step::Enrich(step), withheld(desk, until_ms));
    desk.when(PostCommand::Withheld { run, step, withheld }).unwrap()
}

fn held(desk: &mut Desk, scope: &str) {
    let mut holds = crate::holds::Holds::default();
    let scope: HoldScope = scope.parse().unwrap();
    holds.insert(Hold::new(scope, "ann", "a reason", desk.now)).unwrap();
    desk.policy.holds = std::sync::Arc::new(holds);
}

fn redo(redo: Redo) -> PostCommand {
    let PostCommand::Retry { run, by, reason, .. } = retry(1) else { unreachable!() };
    PostCommand::Retry { run, by, reason, redo }
}

/// A run whose second enrichment is a dead letter; the first is answered.
fn dead() -> Desk {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 0, "a");
    desk.failed(1, 1, "a", FailureClass::Terminal);
    desk
}

#[test]
fn work_without_money_waits_for_the_next_period_and_is_no_try() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 1, "a");
    assert_eq!(hold_step(&mut desk, 0, Some(5_000)), "enrich0$");
    let wait = waits(&desk.state(), &desk.policy, desk.now);
    assert_eq!(wait, Some(Reason::Budget(withheld(&desk, Some(5_000)))));
    assert_eq!(next_wake(&desk.state(), &desk.policy), Some(START.after_ms(5_000)));
    assert_eq!(desk.later(4_999).tick(), "");
    assert_eq!(desk.later(1).tick(), "enrich0?1", "the first try still");
    assert_eq!(desk.enriched(1, 0, "a"), "answer0 intend1x2 write?1");
}

#[test]
fn work_without_money_never_becomes_a_dead_letter() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 1, "a");
    for _ in 0..20 {
        hold_step(&mut desk, 0, Some(100_000));
        assert_eq!(desk.later(100_000).tick(), "enrich0?1");
    }
}

#[test]
fn a_raised_cap_lets_withheld_work_go_on() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 1, "a");
    hold_step(&mut desk, 0, None);
    assert_eq!(next_wake(&desk.state(), &desk.policy), None, "only a higher cap helps");
    assert_eq!(desk.later(1_000_000).tick(), "");
    desk.policy.budgets_changed_at = desk.now;
    assert_eq!(desk.tick(), "enrich0?1");
}

#[test]
fn an_answer_that_comes_after_all_is_not_waited_for() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    hold_step(&mut desk, 0, None);
    let step = Step::Enrich(0);
    let again = PostCommand::Withheld { run: id(1), step, withheld: withheld(&desk, None) };
    assert_eq!(desk.when(again), Err(Rejection::NotAsked));
}

#[test]
fn held_deliveries_let_reading_and_enriching_go_on() {
    let mut desk = Desk::new();
    held(&mut desk, "deliveries");
    assert_eq!(desk.accept(incoming(1, "every", None)), "accepted run1 read?1");
    desk.found(1, "a").unwrap();
    desk.enriched(1, 0, "a");
    assert_eq!(desk.enriched(1, 1, "a"), "answer1 intend1x2");
    let wait = waits(&desk.state(), &desk.policy, desk.now);
    assert!(matches!(wait, Some(Reason::Hold(hold)) if hold.scope == HoldScope::Deliveries));
    desk.policy.holds = std::sync::Arc::default();
    assert_eq!(desk.tick(), "write?1");
}

#[test]
fn a_post_held_by_its_source_does_not_wake_by_itself() {
    for scope in ["source:news", "route:every", "site:news", "post:news/42", "all"] {
        let mut desk = Desk::new();
        held(&mut desk, scope);
        assert_eq!(desk.accept(incoming(1, "every", Some("a"))), "accepted", "{scope}");
        assert_eq!(next_wake(&desk.state(), &desk.policy), None, "{scope}");
        assert!(matches!(waits(&desk.state(), &desk.policy, desk.now), Some(Reason::Hold(_))));
    }
}

#[test]
fn an_open_breaker_is_the_reason_a_post_waits() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 1, "a");
    let failure = crate::failure::Failure::new(
        FailureClass::Unavailable,
        "provider_breaker_open",
        "this provider keeps failing; calls are stopped",
    );
    let result = Err(failure.clone().response("never in a state"));
    desk.when(enriched(1, 0, "a", result)).unwrap();
    let Some(Reason::Retry { step: Step::Enrich(0), because, until }) =
        waits(&desk.state(), &desk.policy, desk.now)
    else {
        panic!("it waits for a retry")
    };
    assert_eq!(because, Some(failure));
    assert_eq!(next_wake(&desk.state(), &desk.policy), Some(until));
}

#[test]
fn a_dead_letter_goes_on_with_an_operators_words_in_place_of_an_answer() {
    let mut desk = dead();
    let values = vec![(1, FieldValue::List(vec!["Harbour".to_owned()]))];
    let edited = redo(Redo { values, ..Redo::default() });
    assert_eq!(desk.when(edited), Ok("retry resumed intend1x2 write?1".to_owned()));
}

#[test]
fn an_operators_words_are_cleaned_as_a_models_are() {
    for value in ["", "   "] {
        let values = vec![(1, FieldValue::List(vec![value.to_owned()]))];
        let edited = redo(Redo { values, ..Redo::default() });
        assert_eq!(dead().when(edited), Err(Rejection::UnfitValue), "{value}");
    }
    let values = vec![(9, FieldValue::Text("x".to_owned()))];
    let edited = redo(Redo { values, ..Redo::default() });
    assert_eq!(dead().when(edited), Err(Rejection::NoSuchStep));
}

#[test]
fn a_dead_letter_goes_on_with_another_provider() {
    let mut desk = dead();
    let providers = vec![(1, "other".parse().unwrap())];
    let edited = redo(Redo { providers, ..Redo::default() });
    assert_eq!(desk.when(edited), Ok("retry resumed enrich1?1".to_owned()));
    let state = desk.state();
    assert_eq!(state.run.unwrap().steps[1].plan.provider.as_str(), "other");
}

#[test]
fn a_dead_letter_begins_again_at_a_step() {
    let from = |step| redo(Redo { from: Some(step), ..Redo::default() });
    assert_eq!(
        dead().when(from(Step::Enrich(0))),
        Ok("retry resumed enrich0?1 enrich1?1".to_owned()),
        "asked once more, because an operator says so"
    );
    let mut desk = dead();
    assert_eq!(desk.when(from(Step::Read)), Ok("retry resumed read?1".to_owned()));
    assert_eq!(
        desk.found(1, "a"),
        Ok("text reused0 enrich1?1".to_owned()),
        "what is paid for is kept"
    );
    assert_eq!(dead().when(from(Step::Enrich(2))), Err(Rejection::NoSuchStep));
}

#[test]
fn a_write_done_anew_has_a_number_of_its_own() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 0, "a");
    desk.enriched(1, 1, "a");
    let result = Err(crate::failure::Failure::new(FailureClass::Terminal, "code", "cause"));
    let write = WriteNumber(1);
    desk.when(PostCommand::Written { run: id(1), write, result }).unwrap();
    assert_eq!(desk.when(retry(1)), Ok("retry resumed write?1".to_owned()), "the same number");
    let result = Err(crate::failure::Failure::new(FailureClass::Terminal, "code", "cause"));
    desk.when(PostCommand::Written { run: id(1), write, result }).unwrap();
    let anew = redo(Redo { from: Some(Step::Write), ..Redo::default() });
    assert_eq!(desk.when(anew), Ok("retry resumed intend2x2 write?1".to_owned()));
}

#[test]
fn what_waits_can_be_dropped_up_to_a_place() {
    let mut desk = Desk::new();
    held(&mut desk, "site:news");
    for position in 1..=3 {
        desk.accept(incoming(position, "every", Some("a")));
    }
    let drop = |up_to, route: Option<&str>| PostCommand::DropWaiting {
        up_to: IntakePosition(up_to),
        source: None,
        route: route.map(|route| route.parse().unwrap()),
        by: "ann".to_owned(),
    };
    assert_eq!(desk.when(drop(3, Some("latest"))), Err(Rejection::NothingWaits));
    assert_eq!(desk.when(drop(2, None)), Ok("1:Dropped(ann) 2:Dropped(ann)".to_owned()));
    assert_eq!(desk.state().waiting.len(), 1);
}

#[test]
fn an_erased_post_keeps_no_words() {
    let mut desk = dead();
    held(&mut desk, "all");
    desk.accept(incoming(2, "every", Some("b")));
    let (by, reason) = ("ann".to_owned(), "a request".to_owned());
    let erase = PostCommand::Erase { by, reason };
    assert_eq!(desk.when(erase), Ok("2:Dropped(ann) dropped erased checkpoint".to_owned()));
    let state = desk.state();
    assert!(state.is_idle() && state.answers.is_empty() && state.dead.is_empty());
    assert_eq!(state.considered, IntakePosition(2));
    assert_eq!(state.seen.len(), 2, "duplicates are known all the same");
}

#[test]
fn a_post_with_a_call_out_is_not_erased() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    let (by, reason) = ("ann".to_owned(), String::new());
    assert_eq!(desk.when(PostCommand::Erase { by, reason }), Err(Rejection::Busy));
}

#[test]
fn a_dead_letter_is_not_retried_over_newer_work() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "every", Some("a")));
    desk.enriched(1, 0, "a");
    desk.failed(1, 1, "a", FailureClass::Terminal);
    desk.whole_run(2, 1, "b");
    assert_eq!(desk.when(retry(1)), Ok("retry ended:Superseded(2)".to_owned()));
}
