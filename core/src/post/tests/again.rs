//! "Enrich again": a person wants new results for a text that has its results already.

use super::super::testing::incoming;
use super::{Desk, retry};
use crate::failure::FailureClass;
use crate::post::{Incoming, WriteResult};

fn again(position: u64, route: &str, body: Option<&str>) -> Incoming {
    Incoming { again: true, ..incoming(position, route, body) }
}

#[test]
fn an_unchanged_text_is_asked_about_and_written_anew() {
    let mut desk = Desk::new();
    desk.whole_run(1, 1, "a");
    let said = desk.accept(again(2, "every", Some("a")));
    assert_eq!(said, "accepted run2 enrich0?1 enrich1?1");
    desk.enriched(2, 0, "a");
    assert_eq!(desk.enriched(2, 1, "a"), "answer1 intend2x2 write?1");
    assert_eq!(desk.applied(2, 2, "a"), "applied ended:Applied");
    let said = desk.accept(incoming(3, "every", Some("a")));
    assert_eq!(said, "accepted run3 skip0 skip1 ended:Unchanged", "the wish is granted once");
}

#[test]
fn also_where_the_post_must_be_read_first() {
    let mut desk = Desk::new();
    desk.whole_run(1, 1, "a");
    assert_eq!(desk.accept(again(2, "every", None)), "accepted run2 read?1");
    assert_eq!(desk.found(2, "a"), Ok("text enrich0?1 enrich1?1".to_owned()));
}

#[test]
fn an_answer_paid_for_under_the_wish_is_kept() {
    let mut desk = Desk::new();
    desk.whole_run(1, 1, "a");
    desk.accept(again(2, "every", Some("a")));
    desk.enriched(2, 0, "a");
    desk.enriched(2, 1, "a");
    assert_eq!(desk.written(2, 2, WriteResult::Changed), Ok("refused read?1".to_owned()));
    assert_eq!(desk.found(2, "a"), Ok("text reused0 reused1 intend3x2 write?1".to_owned()));
}

#[test]
fn the_wish_outlives_a_dead_letter() {
    let mut desk = Desk::new();
    desk.whole_run(1, 1, "a");
    desk.accept(again(2, "every", Some("a")));
    desk.enriched(2, 0, "a");
    assert_eq!(desk.failed(2, 1, "a", FailureClass::Terminal), "enrich1!1 dead:enrich1");
    let retry = retry(2);
    assert_eq!(desk.when(retry), Ok("retry resumed enrich1?1".to_owned()));
}

#[test]
fn an_event_that_takes_its_place_takes_the_wish_too() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "latest", Some("a")));
    desk.later(1_000).tick();
    desk.enriched(1, 0, "a");
    desk.enriched(1, 1, "a");
    desk.applied(1, 1, "a");
    assert_eq!(desk.accept(again(2, "latest", Some("a"))), "accepted");
    assert_eq!(desk.accept(incoming(3, "latest", Some("a"))), "accepted");
    assert_eq!(desk.later(1_000).tick(), "2:Superseded(3) run3 enrich0?1 enrich1?1");
}

#[test]
fn other_enrichments_of_the_post_keep_their_results() {
    let mut desk = Desk::new();
    desk.whole_run(1, 1, "a");
    desk.accept(again(2, "pass", Some("a")));
    desk.applied(2, 2, "a");
    let said = desk.accept(incoming(3, "every", Some("a")));
    assert_eq!(said, "accepted run3 skip0 skip1 ended:Unchanged");
}

#[test]
fn it_stays_within_the_asks_of_an_hour() {
    let mut desk = Desk::new();
    desk.policy.tries.asks_per_hour_max = 2;
    desk.whole_run(1, 1, "a");
    assert_eq!(desk.accept(again(2, "every", Some("a"))), "accepted run2");
}
