//! What a post's decisions cost: accept, ask, answer, write, end; pure, in one thread.
//!
//! `cargo bench --bench decide -- [LIVES]` prints the time of one event's whole life.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench talks and stops at trouble")]

mod life;

use std::time::Instant;

use copydesk_core::post::{Incoming, IntakePosition, Lane, PostState, Turn, codec};
use copydesk_proto::{ContentHash, Timestamp};

/// Events of one post in a row; a busy post's state holds as many keys.
const EVENTS_PER_POST: u64 = 100;

const SUMMARY: &str = "Three short sentences. About a post. No more.";

fn main() {
    let wanted = std::env::args().skip(1).find_map(|word| word.parse::<u64>().ok());
    let lives = wanted.unwrap_or(200_000);
    let policy = life::policy();
    let mut state = PostState::default();
    let mut stored_bytes = 0;
    let began = Instant::now();
    for life in 1..=lives {
        if life % EVENTS_PER_POST == 0 {
            state = PostState::default();
        }
        for command in life::commands(incoming(life), SUMMARY, state.write_number) {
            let mut turn = Turn::new(state, &policy, Timestamp(0));
            turn.take(command).unwrap();
            let (next, events) = turn.finish();
            state = next;
            stored_bytes +=
                events.iter().map(|e| size_of_val(&codec::encode_event(e))).sum::<usize>();
        }
    }
    let each = began.elapsed() / u32::try_from(lives).unwrap();
    println!("{lives} events: {each:?} each for three decisions and their encoding");
    assert!(stored_bytes > 0 && state.is_idle());
}

fn incoming(position: u64) -> Incoming {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&position.to_be_bytes());
    Incoming {
        position: IntakePosition(position),
        key,
        body: [0; 8],
        source: "news".parse().unwrap(),
        route: Some("r1".parse().unwrap()),
        version: None,
        text: Some(ContentHash::of(&[&position.to_string()])),
        again: false,
        received_at: Timestamp(0),
        lane: Lane::Live,
    }
}
