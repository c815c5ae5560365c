//! What the tests of this module share: a policy, incoming events, a fold.

use std::collections::HashMap;
use std::sync::Arc;

use copydesk_proto::{ContentHash, Timestamp};

use super::{
    Incoming, IntakePosition, Lane, PlanStep, Policy, PostEvent, PostState, RoutePlan,
    SourceVersion, Tries, evolve,
};
use crate::content::{Answer, Field, FieldValue, Mode};
use crate::holds::Holds;
use crate::retry::RetryPolicy;
use crate::routes::Coalesce;

/// One minute past the epoch: no test depends on the day.
pub(super) const START: Timestamp = Timestamp(60_000);

pub(super) fn step(enrichment: &str, field: Field) -> PlanStep {
    PlanStep {
        enrichment: enrichment.parse().unwrap(),
        provider: "main".parse().unwrap(),
        field,
        mode: Mode::Apply,
        prompt_version: 1,
    }
}

pub(super) fn route(coalesce: Coalesce) -> RoutePlan {
    let steps = vec![step("summary", Field::Excerpt), step("tags", Field::Tags)];
    RoutePlan { steps, coalesce, blocks: false, gap_wait_ms: 0 }
}

/// Routes: `every`, `latest` (quiet 1 s, at most 5 s), `block`, `gap` (waits 2 s for a gap),
/// `pass` (no enrichment), `suggest` (the results are suggestions).
pub(super) fn policy() -> Policy {
    let latest = Coalesce::Latest { quiet_ms: 1_000, max_wait_ms: 5_000 };
    let every = || route(Coalesce::Every);
    let suggested = every().steps.into_iter();
    let suggested = suggested.map(|step| PlanStep { mode: Mode::Suggest, ..step }).collect();
    let plans = HashMap::from([
        ("every".parse().unwrap(), every()),
        ("latest".parse().unwrap(), route(latest)),
        ("block".parse().unwrap(), RoutePlan { blocks: true, ..every() }),
        ("pass".parse().unwrap(), RoutePlan { steps: vec![], ..every() }),
        ("gap".parse().unwrap(), RoutePlan { gap_wait_ms: 2_000, ..every() }),
        ("suggest".parse().unwrap(), RoutePlan { steps: suggested, ..every() }),
    ]);
    let retry = RetryPolicy { attempts_max: 3, base_ms: 100, cap_ms: 1_000 };
    Policy {
        key: "news/42".parse().unwrap(),
        plans: Arc::new(plans),
        holds: Arc::new(Holds::default()),
        budgets_changed_at: Timestamp::default(),
        tries: Tries {
            read: retry,
            enrich: retry,
            write: retry,
            unavailable_max_ms: 60_000,
            asks_per_hour_max: 1_000,
        },
        suggests: false,
        subscriptions: Arc::default(),
        closed: None,
    }
}

pub(super) fn text(name: &str) -> ContentHash {
    ContentHash::of(&[name])
}

/// An event at a position, under its own key, carrying its text.
pub(super) fn incoming(position: u64, route: &str, body: Option<&str>) -> Incoming {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&position.to_be_bytes());
    Incoming {
        position: IntakePosition(position),
        key,
        body: [0; 8],
        source: "news".parse().unwrap(),
        route: Some(route.parse().unwrap()),
        version: None,
        text: body.map(text),
        again: false,
        received_at: START,
        lane: Lane::Live,
    }
}

pub(super) fn versioned(position: u64, route: &str, sequence: u64) -> Incoming {
    let version = Some(SourceVersion::Sequence(sequence));
    Incoming { version, ..incoming(position, route, Some(&format!("v{sequence}"))) }
}

pub(super) fn answer(enrichment: &str, value: &str) -> Answer {
    Answer {
        enrichment: enrichment.parse().unwrap(),
        value: FieldValue::Text(value.to_owned()),
        model: "m".to_owned(),
        input_tokens: 10,
        output_tokens: 2,
        cost_microdollars: 7,
    }
}

pub(super) fn fold<'e>(events: impl IntoIterator<Item = &'e PostEvent>) -> PostState {
    events.into_iter().fold(PostState::default(), evolve)
}
