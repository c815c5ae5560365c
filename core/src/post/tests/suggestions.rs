//! Suggestions: where they go, and how a run ends that only makes some.

use super::super::testing::{incoming, text};
use super::Desk;
use crate::content::{Field, Mode};
use crate::post::WriteResult;

#[test]
fn suggestions_stay_with_us_where_the_site_takes_none() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "suggest", Some("a")));
    desk.enriched(1, 0, "a");
    assert_eq!(desk.enriched(1, 1, "a"), "answer1 ended:Suggested");
}

#[test]
fn suggestions_go_to_a_site_that_takes_them() {
    let mut desk = Desk::new();
    desk.policy.suggests = true;
    desk.accept(incoming(1, "suggest", Some("a")));
    desk.enriched(1, 0, "a");
    assert_eq!(desk.enriched(1, 1, "a"), "answer1 intend1x2 write?1");
    let fields = desk.state().run.unwrap().write.unwrap().fields;
    assert!(fields.iter().all(|field| field.mode == Mode::Suggest));
    let suggested = vec![Field::Excerpt, Field::Tags];
    let result = WriteResult::Applied { stored: vec![], kept: vec![], suggested };
    assert_eq!(desk.written(1, 1, result), Ok("applied ended:Suggested".to_owned()));
    assert_eq!(
        desk.accept(incoming(2, "suggest", Some("a"))),
        "accepted run2 skip0 skip1 ended:Unchanged"
    );
}

#[test]
fn what_a_run_does_with_suggestions_is_settled_when_it_starts() {
    let mut desk = Desk::new();
    desk.accept(incoming(1, "suggest", Some("a")));
    desk.enriched(1, 0, "a");
    desk.policy.suggests = true;
    assert_eq!(desk.enriched(1, 1, "a"), "answer1 ended:Suggested");
}

#[test]
fn a_write_ends_by_the_most_that_it_did() {
    let stored = || vec![(Field::Excerpt, text("a"))];
    let (tags, title) = (|| vec![Field::Tags], || vec![Field::Title]);
    let check = |stored, kept, suggested, expected: &str| {
        let mut desk = Desk::new();
        desk.accept(incoming(1, "pass", None));
        let result = WriteResult::Applied { stored, kept, suggested };
        assert_eq!(desk.written(1, 1, result), Ok(format!("applied ended:{expected}")));
    };
    check(stored(), tags(), title(), "Applied");
    check(vec![], tags(), title(), "Suggested");
    check(vec![], tags(), vec![], "Kept");
    check(vec![], vec![], vec![], "Applied");
}
