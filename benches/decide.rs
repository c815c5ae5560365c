//! What a post's decisions cost: accept, ask, answer, write, end; pure, in one thread.
//!
//! `cargo bench --bench decide -- [LIVES]` prints the time of one event's whole life.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench talks and stops at trouble")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use copydesk_core::content::{Answer, Field, FieldValue, Mode};
use copydesk_core::holds::Holds;
use copydesk_core::post::{
    Incoming, IntakePosition, PlanStep, Policy, PostCommand, PostState, RoutePlan, RunId, Tries,
    Turn, WriteNumber, WriteResult, codec,
};
use copydesk_core::retry::RetryPolicy;
use copydesk_core::routes::Coalesce;
use copydesk_proto::{ContentHash, Timestamp};

/// Events of one post in a row; a busy post's state holds as many keys.
const EVENTS_PER_POST: u64 = 100;

fn main() {
    let wanted = std::env::args().skip(1).find_map(|word| word.parse::<u64>().ok());
    let lives = wanted.unwrap_or(200_000);
    let policy = policy();
    let mut state = PostState::default();
    let mut stored_bytes = 0;
    let began = Instant::now();
    for life in 1..=lives {
        if life % EVENTS_PER_POST == 0 {
            state = PostState::default();
        }
        for command in commands(life, state.write_number) {
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

/// Accept with text, one answer, one write.
fn commands(position: u64, last: WriteNumber) -> [PostCommand; 3] {
    let run = RunId(IntakePosition(position));
    let input = ContentHash::of(&[&position.to_string()]);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&position.to_be_bytes());
    let incoming = Incoming {
        position: run.0,
        key,
        body: [0; 8],
        source: "news".parse().unwrap(),
        route: Some("r1".parse().unwrap()),
        version: None,
        text: Some(input),
        again: false,
        received_at: Timestamp(0),
        lane: copydesk_core::post::Lane::Live,
    };
    let value = FieldValue::Text("Three short sentences. About a post. No more.".to_owned());
    let stored = vec![(Field::Excerpt, value.hash())];
    let answer = Answer {
        enrichment: "summary".parse().unwrap(),
        value,
        model: "m".to_owned(),
        input_tokens: 700,
        output_tokens: 60,
        cost_microdollars: 140,
    };
    let write = WriteNumber(last.0 + 1);
    let applied = WriteResult::Applied { stored, kept: Vec::new(), suggested: Vec::new() };
    [
        PostCommand::Accept(incoming),
        PostCommand::Enriched { run, step: 0, input, by: None, result: Ok(answer) },
        PostCommand::Written { run, write, result: Ok(applied) },
    ]
}

fn policy() -> Policy {
    let plan = PlanStep {
        enrichment: "summary".parse().unwrap(),
        provider: "main".parse().unwrap(),
        field: Field::Excerpt,
        mode: Mode::Apply,
        prompt_version: 1,
    };
    let route =
        RoutePlan { steps: vec![plan], coalesce: Coalesce::Every, blocks: false, gap_wait_ms: 0 };
    let tries = RetryPolicy { attempts_max: 8, base_ms: 500, cap_ms: 60_000 };
    Policy {
        key: "news/42".parse().unwrap(),
        plans: Arc::new(HashMap::from([("r1".parse().unwrap(), route)])),
        budgets_changed_at: Timestamp::default(),
        holds: Arc::new(Holds::default()),
        tries: Tries {
            read: tries,
            enrich: tries,
            write: tries,
            unavailable_max_ms: 86_400_000,
            asks_per_hour_max: u32::MAX,
        },
        suggests: false,
        subscriptions: Arc::default(),
        closed: None,
    }
}
