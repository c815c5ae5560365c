//! Holds: what they stop, and what is said to stand in the way.

use super::super::testing::{START, incoming, policy};
use super::Desk;
use crate::holds::{Hold, HoldScope};
use crate::post::{held, next_wake};

#[test]
fn a_hold_stops_what_it_names_and_release_lets_it_go_in_order() {
    let hold = |desk: &mut Desk, scope: HoldScope| {
        let holds = std::sync::Arc::make_mut(&mut desk.policy.holds);
        let (by, reason) = ("ann".to_owned(), "test".to_owned());
        holds.insert(Hold { scope, by, reason, at: START }).unwrap();
    };
    let mut desk = Desk::new();
    hold(&mut desk, HoldScope::Site("news".parse().unwrap()));
    assert_eq!(desk.accept(incoming(1, "every", Some("a"))), "accepted");
    assert_eq!(desk.accept(incoming(2, "every", Some("b"))), "accepted");
    assert_eq!(next_wake(&desk.state(), &desk.policy), None);
    let in_the_way = |desk: &Desk| {
        held(&desk.state(), &desk.policy).map(|(event, hold)| (event.0, hold.scope.to_string()))
    };
    assert_eq!(in_the_way(&desk), Some((2, "site:news".to_owned())), "of the newest event");
    desk.policy = policy();
    assert_eq!(desk.tick(), "run1 enrich0?1 enrich1?1");
    assert_eq!(in_the_way(&desk), None);

    let mut desk = Desk::new();
    hold(&mut desk, HoldScope::Enrichment("tags".parse().unwrap()));
    assert_eq!(desk.accept(incoming(1, "every", Some("a"))), "accepted run1 enrich0?1");
    assert_eq!(in_the_way(&desk), Some((1, "enrichment:tags".to_owned())));
    desk.policy = policy();
    assert_eq!(desk.tick(), "enrich1?1");

    let mut desk = Desk::new();
    desk.whole_run(1, 1, "a");
    hold(&mut desk, HoldScope::Enrichment("tags".parse().unwrap()));
    assert_eq!(in_the_way(&desk), None, "nothing waits");
}
