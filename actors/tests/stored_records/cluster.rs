//! What nodes that share a log store: decisions under a lease, and the roster.

use std::collections::BTreeMap;

use copydesk_actors::records::Decision;
use copydesk_core::roster::{Lease, Member, Roster};
use copydesk_proto::NodeName;

use super::{AT, Stored, events, summary};

pub(super) fn examples() -> impl Iterator<Item = (String, Stored)> {
    let leased = Decision {
        summary: summary(),
        events: events().into_iter().map(|(_, event)| event).take(1).collect(),
        decided_at: AT,
        trace: None,
        owner: 7,
        epoch: 1_764_064_800_123,
    };
    let others = [
        ("decision_leased", Stored::Decision(Box::new(leased))),
        ("roster", Stored::Roster(Box::new(roster()))),
    ];
    others.into_iter().map(|(name, stored)| (name.to_owned(), stored))
}

fn roster() -> Roster {
    let member = |leaving| Member {
        incarnation: 0x0123_4567_89ab_cdef,
        beat: 41,
        leaving,
        release: "1.2.3".to_owned(),
        joined_at: AT,
        backlog: 12,
    };
    let name = |text: &str| text.parse::<NodeName>().unwrap();
    let lease = |holder: &str, epoch| Lease { holder: Some(name(holder)), epoch, since: AT };
    let leases = vec![lease("desk-1", 8), lease("desk-2", 9), Lease::default()];
    let members = BTreeMap::from([(name("desk-1"), member(false)), (name("desk-2"), member(true))]);
    Roster { epoch: 9, members, leases }
}
