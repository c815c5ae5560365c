//! What a post decides over one event's whole life: accept with text, one answer, one write.

use std::collections::HashMap;
use std::sync::Arc;

use copydesk_core::content::{Answer, Field, FieldValue, Mode};
use copydesk_core::holds::Holds;
use copydesk_core::post::{
    Incoming, PlanStep, Policy, PostCommand, RoutePlan, RunId, Tries, WriteNumber, WriteResult,
};
use copydesk_core::retry::RetryPolicy;
use copydesk_core::routes::Coalesce;
use copydesk_proto::Timestamp;

/// The commands of an event that carries its text; `last` is the post's last write.
pub(crate) fn commands(incoming: Incoming, summary: &str, last: WriteNumber) -> [PostCommand; 3] {
    let (run, input) = (RunId(incoming.position), incoming.text.unwrap());
    let value = FieldValue::Text(summary.to_owned());
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

/// One route, one enrichment.
pub(crate) fn policy() -> Policy {
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
