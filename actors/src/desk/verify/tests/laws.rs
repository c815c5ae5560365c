//! Whatever the decisions make of what happens is found clean.

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::post::{PostCommand, Redo, outstanding};
use copydesk_eventlog::{EventLog as _, Sequence};
use proptest::prelude::*;

use super::{POST, report};
use crate::desk::journey::testing::{Newsroom, now, refused};
use crate::records::Subjects;

/// One thing that happens to one of two posts.
#[derive(Debug, Clone)]
enum Move {
    Webhook { route: usize, text: Option<u8>, key: Option<u8>, again: bool },
    Consider,
    Answer { which: usize, how: u8 },
    Wait { ms: i64 },
    Operate { which: usize, retry: bool },
    Checkpoint { trim: bool },
}

fn moves() -> impl Strategy<Value = Vec<(bool, Move)>> {
    let text = prop_oneof![Just(None), (0u8..3).prop_map(Some)];
    let key = prop_oneof![3 => Just(None), 1 => (0u8..4).prop_map(Some)];
    let one = prop_oneof![
        4 => (0usize..4, text, key, prop::bool::weighted(0.2))
            .prop_map(|(route, text, key, again)| Move::Webhook { route, text, key, again }),
        3 => Just(Move::Consider),
        9 => (any::<usize>(), 0u8..10).prop_map(|(which, how)| Move::Answer { which, how }),
        2 => (1i64..4_000).prop_map(|ms| Move::Wait { ms }),
        1 => (any::<usize>(), any::<bool>())
            .prop_map(|(which, retry)| Move::Operate { which, retry }),
        1 => any::<bool>().prop_map(|trim| Move::Checkpoint { trim }),
    ];
    prop::collection::vec((any::<bool>(), one), 1..80)
}

fn play(room: &mut Newsroom, post: &str, happens: &Move) {
    match *happens {
        Move::Webhook { route, text, key, again } => {
            let text = text.map(|n| format!("text {n}"));
            let mut intake = room.intake(text.as_deref());
            intake.route = ["every", "latest", "block"].get(route).map(|r| r.parse().unwrap());
            intake.idempotency_key = key.map_or(intake.idempotency_key, |n| format!("again-{n}"));
            intake.again = again;
            room.store(post, &intake);
        }
        Move::Consider => room.consider(post),
        Move::Answer { which, how } => {
            let open = outstanding(&room.post(post).state);
            if open.is_empty() {
                return;
            }
            let failure = match how {
                0 => Some(Failure::new(FailureClass::Retry, "code", "cause")),
                1 => Some(Failure::new(FailureClass::Unavailable, "code", "cause")),
                2 => Some(refused()),
                _ => None,
            };
            room.reply(post, open[which % open.len()], failure);
        }
        Move::Wait { ms } => {
            room.wait(ms);
            room.turn(post, vec![PostCommand::Tick]).unwrap();
        }
        Move::Operate { which, retry } => {
            let dead = room.post(post).state.dead.clone();
            if dead.is_empty() {
                return;
            }
            let (run, by) = (dead[which % dead.len()].run.id, "ann".to_owned());
            let operate = if retry {
                PostCommand::Retry { run, by, reason: String::new(), redo: Redo::default() }
            } else {
                PostCommand::Drop { run, by, reason: String::new() }
            };
            room.turn(post, vec![operate]).unwrap();
        }
        Move::Checkpoint { trim } => {
            let taken = room.turn(post, vec![PostCommand::Checkpoint]);
            if taken.is_ok() && trim {
                let subjects = Subjects::of(&post.parse().unwrap());
                let last = room.post(post).last;
                let considered = room.post(post).state.considered.0;
                now(room.log.trim(&subjects.intake, Sequence(considered + 1))).unwrap();
                now(room.log.trim(&subjects.decisions, last)).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_the_decisions_make_is_clean(moves in moves()) {
        let mut room = Newsroom::new();
        for (first, happens) in &moves {
            play(&mut room, if *first { POST } else { "other/2" }, happens);
        }
        let found = report(&room);
        prop_assert!(found.is_clean(), "{:#?}", found.violations);
        for post in [POST, "other/2"] {
            room.consider(post);
            room.settle(post);
        }
        let found = report(&room);
        prop_assert!(found.is_clean(), "{:#?}", found.violations);
        prop_assert_eq!(found.unconsidered, 0);
    }
}
