//! What the desk's tests share: posts that live in a log in memory, by the real decisions.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use copydesk_core::content::{Answer, Field, FieldValue, Mode};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::holds::Holds;
use copydesk_core::post::{
    Effect, Input, IntakePosition, PlanStep, Policy, PostCommand, PostEvent, PostState, ReadResult,
    Rejection, RoutePlan, RunId, Step, Tries, Turn, WriteResult, evolve, next_wake, outstanding,
};
use copydesk_core::retry::RetryPolicy;
use copydesk_core::routes::Coalesce;
use copydesk_eventlog::{EventLog, LogId, MemoryLog, NewRecord, Sequence};
use copydesk_proto::{ContentHash, PostKey, Timestamp};
use futures::FutureExt;
use sha2::{Digest, Sha256};

use crate::records::{Decision, Intake, Subjects, summarise};

/// 2026-11-23 12:00:00 UTC.
pub(in crate::desk) const NOON: i64 = 1_795_435_200_000;

/// What a text of a post or an answer is called in these tests: no view may show it.
pub(in crate::desk) const SECRET: &str = "the-words-of-a-post";

/// The log in memory never waits.
pub(in crate::desk) fn now<T>(ready: impl Future<Output = T>) -> T {
    ready.now_or_never().unwrap()
}

pub(in crate::desk) fn run(position: u64) -> RunId {
    RunId(IntakePosition(position))
}

pub(in crate::desk) fn plan() -> Vec<PlanStep> {
    let step = |name: &str, field, mode| PlanStep {
        enrichment: name.parse().unwrap(),
        provider: "main".parse().unwrap(),
        field,
        mode,
        prompt_version: 1,
    };
    vec![
        step("summary", Field::Excerpt, Mode::Apply),
        step("keywords", Field::Tags, Mode::ApplyIfEmpty),
    ]
}

pub(in crate::desk) fn answer(enrichment: &str) -> Answer {
    Answer {
        enrichment: enrichment.parse().unwrap(),
        value: FieldValue::Text(SECRET.to_owned()),
        model: "small-1".to_owned(),
        input_tokens: 31,
        output_tokens: 12,
        cost_microdollars: 7,
    }
}

/// Routes: `every`, `latest` (quiet 1 s, at most 5 s), `block` (dead letters stop the post).
fn policy() -> Policy {
    let route = |coalesce, blocks| RoutePlan { steps: plan(), coalesce, blocks, gap_wait_ms: 0 };
    let latest = Coalesce::Latest { quiet_ms: 1_000, max_wait_ms: 5_000 };
    let plans = HashMap::from([
        ("every".parse().unwrap(), route(Coalesce::Every, false)),
        ("latest".parse().unwrap(), route(latest, false)),
        ("block".parse().unwrap(), route(Coalesce::Every, true)),
    ]);
    let retry = RetryPolicy { attempts_max: 3, base_ms: 100, cap_ms: 1_000 };
    Policy {
        key: "news/1".parse().unwrap(),
        plans: Arc::new(plans),
        budgets_changed_at: Timestamp::default(),
        holds: Arc::new(Holds::default()),
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

#[derive(Default)]
pub(in crate::desk) struct Post {
    pub(in crate::desk) state: PostState,
    pub(in crate::desk) last: Sequence,
    events: u64,
}

/// Posts, their log and their clock.
pub(in crate::desk) struct Newsroom {
    pub(in crate::desk) log: MemoryLog,
    clock: Arc<AtomicI64>,
    policy: Policy,
    posts: BTreeMap<PostKey, Post>,
    webhooks: u64,
}

impl Newsroom {
    pub(in crate::desk) fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(NOON));
        let read = Arc::clone(&clock);
        let log = MemoryLog::with_clock(LogId(1), Arc::new(move || read.load(Ordering::Relaxed)));
        Self { log, clock, policy: policy(), posts: BTreeMap::new(), webhooks: 0 }
    }

    pub(in crate::desk) fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::Relaxed))
    }

    pub(in crate::desk) fn wait(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    pub(in crate::desk) fn post(&mut self, key: &str) -> &mut Post {
        self.posts.entry(key.parse().unwrap()).or_default()
    }

    pub(in crate::desk) fn append(&self, record: NewRecord) -> Sequence {
        now(self.log.append(record)).unwrap().sequence()
    }

    /// The next webhook, received now, of the route `every`, with the given text, if any.
    pub(in crate::desk) fn intake(&mut self, text: Option<&str>) -> Intake {
        self.webhooks += 1;
        let body = bytes::Bytes::from(format!("{SECRET} {}", self.webhooks));
        let id = (u128::from(self.now().0.unsigned_abs()) << 80) | u128::from(self.webhooks);
        let id = id | (7 << 76) | (2 << 62);
        Intake {
            event_id: uuid::Uuid::from_u128(id).to_string(),
            source: "blog".parse().unwrap(),
            event_type: "post.updated".to_owned(),
            external_id: String::new(),
            idempotency_key: format!("key-{}", self.webhooks),
            body_hash: Sha256::digest(&body).into(),
            version: None,
            text_hash: text.map(|text| ContentHash::of(&[text])),
            again: false,
            received_at: self.now(),
            key_id: "k1".to_owned(),
            sent_by: String::new(),
            trace: None,
            body,
            route: Some("every".parse().unwrap()),
            replay: None,
        }
    }

    /// Stores a webhook; its position. The log's own window for repeats is left out of it.
    pub(in crate::desk) fn store(&self, key: &str, intake: &Intake) -> u64 {
        let record = NewRecord { message_id: None, ..intake.record(&key.parse().unwrap()) };
        self.append(record).0
    }

    /// Stores a webhook and considers all there are; its position.
    pub(in crate::desk) fn webhook(&mut self, key: &str, text: &str) -> u64 {
        let intake = self.intake(Some(text));
        let position = self.store(key, &intake);
        self.consider(key);
        position
    }

    /// Takes the post's webhooks, in one turn.
    pub(in crate::desk) fn consider(&mut self, key: &str) {
        let after = Sequence(self.post(key).state.considered.0);
        let subject = Subjects::of(&key.parse().unwrap()).intake;
        let page = now(self.log.history(&subject, after, 1_000)).unwrap();
        let accept = page.iter().map(|record| {
            let position = IntakePosition(record.sequence.0);
            PostCommand::Accept(Intake::read(record).unwrap().incoming(position))
        });
        self.turn(key, accept.collect()).unwrap();
    }

    /// Decides commands as one turn and appends the record.
    pub(in crate::desk) fn turn(
        &mut self,
        key: &str,
        commands: Vec<PostCommand>,
    ) -> Result<(), Rejection> {
        let policy = Policy { key: key.parse().unwrap(), ..self.policy.clone() };
        let mut turn = Turn::new(self.post(key).state.clone(), &policy, self.now());
        for command in commands {
            turn.take(command)?;
        }
        let events = turn.finish().1;
        if !events.is_empty() {
            self.raw(key, events);
        }
        Ok(())
    }

    /// Appends events as one record, whatever they say, with the summary that fits.
    pub(in crate::desk) fn raw(&mut self, key: &str, events: Vec<PostEvent>) -> u64 {
        let decision = self.decision(key, events);
        self.decide(key, &decision)
    }

    /// The decision these events make.
    pub(in crate::desk) fn decision(&mut self, key: &str, events: Vec<PostEvent>) -> Decision {
        let policy = self.policy.clone();
        let decided_at = self.now();
        let post = self.post(key);
        let state = events.iter().fold(post.state.clone(), evolve);
        let total = post.events + u64::try_from(events.len()).unwrap();
        let summary = summarise(&state, next_wake(&state, &policy), total);
        Decision { summary, events, decided_at, trace: None, owner: 1, epoch: 0 }
    }

    /// Appends a decision as it is.
    pub(in crate::desk) fn decide(&mut self, key: &str, decision: &Decision) -> u64 {
        let subject = Subjects::of(&key.parse().unwrap()).decisions;
        let expected = self.post(key).last;
        let last = self.append(decision.record(&subject, expected));
        let post = self.post(key);
        post.state = decision.events.iter().fold(post.state.clone(), evolve);
        (post.last, post.events) = (last, decision.summary.events);
        last.0
    }

    /// Answers what was asked, well or with this failure.
    pub(in crate::desk) fn reply(&mut self, key: &str, asked: Effect, failure: Option<Failure>) {
        let state = &self.post(key).state;
        let current = state.run.clone().unwrap();
        let input = current.input.map_or(ContentHash::of(&["read"]), |input| input.hash);
        let Effect::Do { run, step: asked, .. } = asked else { panic!("nobody subscribes here") };
        let command = match asked {
            Step::Read => {
                let found = ReadResult::Found(Input { hash: input, modified_at: None });
                PostCommand::Read { run, result: failure.map_or(Ok(found), Err) }
            }
            Step::Enrich(step) => {
                let name = current.steps[usize::from(step)].plan.enrichment.to_string();
                let result = failure.map_or_else(|| Ok(answer(&name)), Err);
                PostCommand::Enriched { run, step, input, by: None, result }
            }
            Step::Write => {
                let write = current.write.unwrap();
                let stored = write.fields.iter().map(|f| (f.field.clone(), f.value.hash()));
                let stored = stored.collect();
                let applied =
                    WriteResult::Applied { stored, kept: Vec::new(), suggested: Vec::new() };
                let result = failure.map_or(Ok(applied), Err);
                PostCommand::Written { run, write: write.number, result }
            }
        };
        self.turn(key, vec![command]).unwrap();
    }

    /// Answers the first thing asked; whether there was one.
    pub(in crate::desk) fn answer_next(&mut self, key: &str, failure: Option<Failure>) -> bool {
        let asked = outstanding(&self.post(key).state).first().copied();
        asked.is_some_and(|asked| {
            self.reply(key, asked, failure);
            true
        })
    }

    /// Lets everything succeed until nothing moves by itself.
    pub(in crate::desk) fn settle(&mut self, key: &str) {
        for _ in 0..10_000 {
            if self.answer_next(key, None) {
                continue;
            }
            let policy = self.policy.clone();
            let Some(at) = next_wake(&self.post(key).state, &policy) else { return };
            self.clock.fetch_max(at.0, Ordering::Relaxed);
            self.turn(key, vec![PostCommand::Tick]).unwrap();
        }
        panic!("the post never comes to rest");
    }

    /// An event that becomes a dead letter at its first step.
    pub(in crate::desk) fn dead_letter(&mut self, key: &str, text: &str) -> u64 {
        let position = self.webhook(key, text);
        self.answer_next(key, Some(refused()));
        while self.answer_next(key, None) {}
        assert!(self.post(key).state.dead.iter().any(|dead| dead.run.id == run(position)));
        position
    }
}

pub(in crate::desk) fn refused() -> Failure {
    Failure::new(FailureClass::Terminal, "provider_key_refused", "the key is refused; renew it")
}
