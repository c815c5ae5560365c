#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use proptest::prelude::*;

use super::*;

const PARTITIONS: Partition = 64;

fn name(number: u8) -> NodeName {
    format!("n{number}").parse().unwrap()
}

fn member(incarnation: u64, leaving: bool) -> Member {
    Member {
        incarnation,
        beat: 0,
        leaving,
        release: "1.0.0".to_owned(),
        joined_at: Timestamp(0),
        backlog: 0,
    }
}

fn of(number: u8) -> Turn {
    Turn {
        me: name(number),
        member: member(u64::from(number), false),
        dead: BTreeSet::new(),
        released: BTreeSet::new(),
        renewed: BTreeSet::new(),
        now: Timestamp(0),
    }
}

/// Each node gives up what it must and takes what it may, until nothing moves.
fn settle(roster: &Roster, nodes: &[u8]) -> Roster {
    let mut roster = roster.clone();
    for _ in 0..4 {
        for number in nodes {
            let released = roster.surplus(&name(*number)).into_iter().collect();
            roster = roster.turn(&Turn { released, ..of(*number) }).unwrap();
        }
    }
    roster
}

fn counts(roster: &Roster) -> Vec<usize> {
    roster.members.keys().map(|name| roster.held_by(name).len()).collect()
}

#[test]
fn a_node_alone_holds_everything_at_once() {
    let roster = Roster::new(PARTITIONS, 100).turn(&of(1)).unwrap();
    assert_eq!(counts(&roster), [64]);
    assert!(roster.leases.iter().all(|lease| lease.epoch > 100));
}

#[test]
fn a_second_and_a_third_node_get_their_shares() {
    let one = settle(&Roster::new(PARTITIONS, 0), &[1]);
    let two = settle(&one, &[1, 2]);
    assert_eq!(counts(&two), [32, 32]);
    let three = settle(&two, &[1, 2, 3]);
    assert_eq!(counts(&three), [22, 22, 20]);
    let stayed = |n: u8| three.held_by(&name(n)).iter().all(|p| two.held_by(&name(n)).contains(p));
    assert!(stayed(1) && stayed(2), "only the surplus moves");
}

#[test]
fn the_living_share_what_a_dead_node_held() {
    let three = settle(&Roster::new(PARTITIONS, 0), &[1, 2, 3]);
    let dead = BTreeSet::from([name(3)]);
    let first = three.turn(&Turn { dead: dead.clone(), ..of(1) }).unwrap();
    let both = first.turn(&Turn { dead, ..of(2) }).unwrap();
    assert_eq!(counts(&both), [32, 32]);
}

#[test]
fn a_process_that_comes_back_under_its_name_has_its_partitions_at_once() {
    let two = settle(&Roster::new(PARTITIONS, 0), &[1, 2]);
    let held = two.held_by(&name(1));
    let back = two.turn(&Turn { member: member(99, false), ..of(1) }).unwrap();
    assert_eq!(back.held_by(&name(1)), held);
    let epoch = |roster: &Roster| roster.leases[usize::from(held[0])].epoch;
    assert!(epoch(&back) > two.epoch, "and under new epochs");
}

#[test]
fn a_node_that_leaves_keeps_nothing_when_another_stays() {
    let two = settle(&Roster::new(PARTITIONS, 0), &[1, 2]);
    let leaving = Turn { member: member(1, true), ..of(1) };
    let told = two.turn(&leaving).unwrap();
    assert_eq!(told.surplus(&name(1)).len(), 32);
    let released = told.surplus(&name(1)).into_iter().collect();
    let given = told.turn(&Turn { released, ..leaving }).unwrap();
    let taken = given.turn(&of(2)).unwrap();
    assert_eq!(counts(&taken), [0, 64]);
    assert_eq!(counts(&taken.without(&name(1), Timestamp(0))), [64]);
}

#[test]
fn the_last_node_leaves_with_its_partitions() {
    let one = settle(&Roster::new(PARTITIONS, 0), &[1]);
    let told = one.turn(&Turn { member: member(1, true), ..of(1) }).unwrap();
    assert_eq!(told.surplus(&name(1)), Vec::<Partition>::new(), "nobody would take them");
    assert_eq!(told.without(&name(1), Timestamp(0)).free().len(), 64);
}

#[test]
fn one_node_too_many_is_refused() {
    let mut roster = Roster::new(PARTITIONS, 0);
    for number in 0..NODES_MAX {
        roster = roster.turn(&of(u8::try_from(number).unwrap())).unwrap();
    }
    assert_eq!(roster.turn(&of(200)), Err(NoPlace::Full));
}

#[test]
fn a_roster_is_read_as_it_was_written() {
    let roster = settle(&Roster::new(PARTITIONS, 7), &[1, 2]);
    assert_eq!(Roster::decode(roster.encode()), Ok(roster));
    assert_eq!(Roster::decode(bytes::Bytes::from_static(&[0xff])), Err(UnreadableRoster));
}

/// What may happen to a node.
#[derive(Debug, Clone)]
enum Step {
    /// Its turn, giving up what it must.
    Turn,
    /// The same, keeping what it should give up for now.
    Slow,
    /// It is killed and comes back as another process.
    Restart,
    /// The next node holds it for dead.
    Dies,
    Leaves,
}

fn steps() -> impl Strategy<Value = Vec<(u8, Step)>> {
    let step = prop_oneof![
        6 => Just(Step::Turn),
        2 => Just(Step::Slow),
        1 => Just(Step::Restart),
        1 => Just(Step::Dies),
        1 => Just(Step::Leaves),
    ];
    proptest::collection::vec((0..5_u8, step), 0..60)
}

proptest! {
    #[test]
    fn whatever_happens_epochs_grow_and_everything_is_shared_in_the_end(steps in steps()) {
        let mut roster = Roster::new(PARTITIONS, 1);
        let mut incarnation = 1_000;
        let mut lives: BTreeMap<u8, u64> = BTreeMap::new();
        for (number, step) in steps {
            let before = roster.clone();
            let life = *lives.entry(number).or_insert(u64::from(number));
            let mut turn = Turn { member: member(life, false), ..of(number) };
            match step {
                Step::Turn => turn.released = roster.surplus(&name(number)).into_iter().collect(),
                Step::Slow => {}
                Step::Restart => {
                    incarnation += 1;
                    lives.insert(number, incarnation);
                    turn.member.incarnation = incarnation;
                }
                Step::Dies => {
                    turn = Turn { dead: BTreeSet::from([name(number)]), ..of((number + 1) % 5) };
                    let life = lives.entry((number + 1) % 5).or_insert(u64::from((number + 1) % 5));
                    turn.member.incarnation = *life;
                }
                Step::Leaves => turn.member.leaving = true,
            }
            roster = roster.turn(&turn).unwrap();
            for (old, new) in before.leases.iter().zip(&roster.leases) {
                prop_assert!(new.epoch > before.epoch || new == old, "a change without an epoch");
            }
            let held = roster.leases.iter().filter_map(|lease| lease.holder.as_ref());
            prop_assert!(held.clone().all(|name| roster.members.contains_key(name)));
        }
        let nodes: Vec<u8> = (0..5).filter(|n| roster.members.contains_key(&name(*n))).collect();
        prop_assume!(!nodes.is_empty());
        let settled = settle(&roster, &nodes);
        prop_assert_eq!(settled.free(), Vec::<Partition>::new());
        prop_assert!(counts(&settled).iter().all(|count| *count <= settled.share()));
        prop_assert!(settle(&settled, &nodes).same_but_for_beats(&settled), "it rests");
    }
}
