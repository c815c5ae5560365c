//! The counts. Every label is a name of the configuration or a word of a closed set; a source that
//! is not configured counts as `unknown`, and the SDK caps what grows all the same.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use opentelemetry::{KeyValue, StringValue};

use super::names;

/// Seconds, for what takes from a millisecond to a minute: requests, appends, AI calls.
const SECONDS: [f64; 16] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0,
];

/// Seconds, for the whole way of an event: it may wait for an operator.
const RUN_SECONDS: [f64; 12] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 86_400.0];

/// A node's counts.
#[derive(Debug)]
pub struct Metrics {
    webhooks: Counter<u64>,
    requests: Histogram<f64>,
    runs: Counter<u64>,
    run_duration: Histogram<f64>,
    ai_calls: Counter<u64>,
    ai_duration: Histogram<f64>,
    ai_tokens: Counter<u64>,
    ai_cost: Counter<u64>,
    deliveries: Counter<u64>,
    delivery_duration: Histogram<f64>,
    breakers: Gauge<u64>,
    appends: Histogram<f64>,
    snapshots: Counter<u64>,
}

/// One request to the public listener.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// `GET`, `POST` or `_OTHER`.
    pub method: &'static str,
    /// The route, never the path.
    pub route: &'static str,
    /// The answer.
    pub status: u16,
    /// From the head to the answer.
    pub took: Duration,
}

/// One AI call that was made.
#[derive(Debug, Clone)]
pub struct AiCall {
    /// The provider's name in the configuration.
    pub provider: StringValue,
    /// The model asked for.
    pub model: StringValue,
    /// `ok`, or the failure's code.
    pub outcome: StringValue,
    /// Prompt tokens.
    pub input_tokens: u32,
    /// Answer tokens.
    pub output_tokens: u32,
    /// What it cost.
    pub cost_microdollars: u64,
    /// How long it took.
    pub took: Duration,
}

impl Metrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let count = |name, unit, what| {
            meter.u64_counter(name).with_unit(unit).with_description(what).build()
        };
        let time = |name, what, bounds: &[f64]| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(bounds.to_vec()).build()
        };
        Self {
            webhooks: count("copydesk.webhooks", "{webhook}", "Webhooks by what became of them"),
            requests: time(
                "http.server.request.duration",
                "Requests to the public listener",
                &SECONDS,
            ),
            runs: count("copydesk.runs", "{event}", "Events that reached their end, by which"),
            run_duration: time(
                "copydesk.run.duration",
                "From receipt to the end of an event",
                &RUN_SECONDS,
            ),
            ai_calls: count("copydesk.ai.calls", "{call}", "Calls to AI services"),
            ai_duration: time("gen_ai.client.operation.duration", "Calls to AI services", &SECONDS),
            ai_tokens: count("copydesk.ai.tokens", "{token}", "Tokens by direction"),
            ai_cost: count(
                "copydesk.ai.cost.microdollars",
                "{microdollar}",
                "Spent on AI calls, in millionths of a dollar",
            ),
            deliveries: count(
                "copydesk.deliveries",
                "{request}",
                "Reads and writes of sites by what became of them",
            ),
            delivery_duration: time(
                "copydesk.delivery.duration",
                "Reads and writes of sites, with their wait for a place",
                &SECONDS,
            ),
            breakers: meter
                .u64_gauge("copydesk.breaker.state")
                .with_description("0 closed, 1 half open, 2 open")
                .build(),
            appends: time("copydesk.log.append.duration", "Appends to the log", &SECONDS),
            snapshots: count(
                "copydesk.snapshot.loads",
                "{load}",
                "Posts loaded, with a snapshot (hit) or without (miss)",
            ),
        }
    }

    /// A webhook was taken in, known already, or refused.
    pub fn webhook(
        &self,
        source: impl Into<StringValue>,
        outcome: &'static str,
        code: &'static str,
    ) {
        self.webhooks.add(
            1,
            &[
                KeyValue::new(names::SOURCE, source.into()),
                KeyValue::new(names::OUTCOME, outcome),
                KeyValue::new(names::CODE, code),
            ],
        );
    }

    /// A request was answered.
    pub fn request(&self, request: Request) {
        self.requests.record(
            request.took.as_secs_f64(),
            &[
                KeyValue::new(names::HTTP_METHOD, request.method),
                KeyValue::new(names::HTTP_ROUTE, request.route),
                KeyValue::new(names::HTTP_STATUS, i64::from(request.status)),
            ],
        );
    }

    /// An event reached its end.
    pub fn run(&self, site: impl Into<StringValue>, outcome: &'static str, took: Duration) {
        let attributes =
            [KeyValue::new(names::SITE, site.into()), KeyValue::new(names::OUTCOME, outcome)];
        self.runs.add(1, &attributes);
        self.run_duration.record(took.as_secs_f64(), &attributes[1..]);
    }

    /// An AI call ended.
    pub fn ai_call(&self, call: AiCall) {
        let face = [
            KeyValue::new(names::PROVIDER, call.provider),
            KeyValue::new(names::GEN_AI_REQUEST_MODEL, call.model),
        ];
        let with = |more: KeyValue| {
            let [provider, model] = face.clone();
            [provider, model, more]
        };
        let outcome = KeyValue::new(names::OUTCOME, call.outcome);
        self.ai_calls.add(1, &with(outcome));
        self.ai_duration.record(call.took.as_secs_f64(), &face);
        for (tokens, direction) in [(call.input_tokens, "input"), (call.output_tokens, "output")] {
            if tokens > 0 {
                let direction = KeyValue::new(names::GEN_AI_TOKEN_TYPE, direction);
                self.ai_tokens.add(u64::from(tokens), &with(direction));
            }
        }
        if call.cost_microdollars > 0 {
            self.ai_cost.add(call.cost_microdollars, &face);
        }
    }

    /// A read or write of a site ended; `outcome`: what became of it, or the failure's code.
    pub fn delivery(
        &self,
        site: impl Into<StringValue>,
        kind: &'static str,
        outcome: impl Into<StringValue>,
        took: Duration,
    ) {
        let site = KeyValue::new(names::SITE, site.into());
        let kind = KeyValue::new(names::KIND, kind);
        self.delivery_duration.record(took.as_secs_f64(), &[site.clone(), kind.clone()]);
        let outcome = KeyValue::new(names::OUTCOME, outcome.into());
        self.deliveries.add(1, &[site, kind, outcome]);
    }

    /// A breaker of a `provider` or `site` stands so: 0 closed, 1 half open, 2 open.
    pub fn breaker(&self, kind: &'static str, name: impl Into<StringValue>, state: u64) {
        let name = KeyValue::new(names::NAME, name.into());
        self.breakers.record(state, &[KeyValue::new(names::KIND, kind), name]);
    }

    /// An append to `in` or `ev` ended, well or not.
    pub fn append(&self, kind: &'static str, stored: bool, took: Duration) {
        let outcome = if stored { "ok" } else { "failed" };
        self.appends.record(
            took.as_secs_f64(),
            &[KeyValue::new(names::KIND, kind), KeyValue::new(names::OUTCOME, outcome)],
        );
    }

    /// A post was loaded.
    pub fn load(&self, from_snapshot: bool) {
        let outcome = if from_snapshot { "hit" } else { "miss" };
        self.snapshots.add(1, &[KeyValue::new(names::OUTCOME, outcome)]);
    }
}
