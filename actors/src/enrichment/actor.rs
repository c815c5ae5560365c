//! The actor of one provider: starts calls as its limits allow, and answers every ask.
//!
//! Order of the checks before a call: pause (a Retry-After), breaker, rates, calls in flight.
//! Waits are short: an ask that could not start within [`START_WAIT_MS_MAX`] is answered
//! "unavailable, come back in …" at once, so that the wait is the post's, where it is durable and
//! visible, and not this queue's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use copydesk_core::breaker::{Breaker, BreakerPolicy, BreakerState};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::fair::FairQueue;
use copydesk_core::rate::{BadRate, RateLimit};
use copydesk_proto::{ProviderId, SiteId, Timestamp};
use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::call::Call;
use super::message::{Ask, EnrichmentMessage, Finished, RATE_LIMITED, Spent, Status};
use super::provider::{Provider, Question, Reply, estimate_tokens};
use crate::cluster::Sharers;
use crate::telemetry::{Mailbox, Telemetry};

/// Longest wait in this actor for a rate or the breaker; longer ones go back to the post.
pub const START_WAIT_MS_MAX: u64 = 10_000;

/// Asks that wait here at most. Callers' credits keep the number far below; past it an ask is
/// turned away.
pub const WAITING_MAX: usize = 10_000;

/// How long a stopping actor lets its calls finish: they are paid for.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// When a turned-away ask may come back if nothing else is known.
const BUSY_RETRY_AFTER_MS: u64 = 1_000;

/// The actor; its state is [`State`].
#[derive(Debug, Clone, Copy, Default)]
pub struct EnrichmentActor;

/// What one provider may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Calls in flight; at least 1.
    pub concurrency: usize,
    /// Whether several sites ask. One of them alone leaves a quarter of the places to the others,
    /// so that their posts need not wait for its calls to end.
    pub shared: bool,
    /// Requests per minute; `None` for no limit.
    pub requests_per_minute: Option<u32>,
    /// Prompt and answer tokens per minute, by estimate; `None` for no limit.
    pub tokens_per_minute: Option<u32>,
    /// When the breaker opens.
    pub breaker: BreakerPolicy,
}

/// What the actor starts with.
#[derive(Clone)]
pub struct EnrichmentArguments {
    /// The provider's name, for logs.
    pub id: ProviderId,
    /// The service.
    pub provider: Arc<dyn Provider>,
    /// Its limits.
    pub limits: Limits,
    /// Where spans and counts go.
    pub telemetry: Telemetry,
    /// The nodes that share its limits.
    pub sharers: Sharers,
}

impl EnrichmentArguments {
    /// A provider that tells nobody of its calls.
    #[must_use]
    pub fn new(id: ProviderId, provider: Arc<dyn Provider>, limits: Limits) -> Self {
        let (telemetry, sharers) = (Telemetry::default(), Sharers::default());
        Self { id, provider, limits, telemetry, sharers }
    }
}

impl std::fmt::Debug for EnrichmentArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrichmentArguments").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The actor's state.
pub struct State {
    id: ProviderId,
    provider: Arc<dyn Provider>,
    concurrency: usize,
    shared: bool,
    breaker: Breaker,
    requests: Option<RateLimit>,
    tokens: Option<RateLimit>,
    /// The service asked for quiet until then.
    paused_until: Timestamp,
    /// Asks that wait; sites take turns, live work first.
    waiting: FairQueue<Ask>,
    in_flight: usize,
    /// The same for each site that has any.
    in_flight_of: HashMap<SiteId, usize>,
    calls: TaskTracker,
    wake_at: Option<Timestamp>,
    clock: Clock,
    counts: Counts,
    telemetry: Telemetry,
    sharers: Sharers,
    /// What the first in line waits for, or waited for last.
    blocked_by: &'static str,
    /// The breaker as metrics have it.
    shown: Option<u64>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Counts {
    calls: u64,
    failures: u64,
    turned_away: u64,
    input_tokens: u64,
    output_tokens: u64,
    cost_microdollars: u64,
}

/// Wall time at the start, monotonic from there on: limits must not feel a clock that jumps.
struct Clock {
    start: Timestamp,
    started: Instant,
}

impl Clock {
    fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
        Self { start, started: Instant::now() }
    }

    fn now(&self) -> Timestamp {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.start.after_ms(ms)
    }
}

/// Why the first ask in line cannot start.
enum Blocked {
    /// For this long, in milliseconds, and then one after another at about this pace.
    Rate(u64),
    /// All of them for this long, in milliseconds.
    Breaker(u64),
    /// All of them for this long: the service asked for it.
    Paused(u64),
}

impl Actor for EnrichmentActor {
    type Msg = EnrichmentMessage;
    type State = State;
    type Arguments = EnrichmentArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let EnrichmentArguments { id, provider, limits, telemetry, sharers } = arguments;
        let clock = Clock::start();
        let now = clock.now();
        // A burst of a tenth of a minute smooths the start without passing the limit by much.
        let rate = |per_minute: Option<u32>| -> Result<Option<RateLimit>, BadRate> {
            per_minute.map(|n| RateLimit::new(n, n.div_ceil(10), now)).transpose()
        };
        Ok(State {
            id,
            provider,
            concurrency: limits.concurrency.max(1),
            shared: limits.shared,
            breaker: Breaker::new(limits.breaker),
            requests: rate(limits.requests_per_minute)?,
            tokens: rate(limits.tokens_per_minute)?,
            paused_until: now,
            waiting: FairQueue::default(),
            in_flight: 0,
            in_flight_of: HashMap::new(),
            calls: TaskTracker::new(),
            wake_at: None,
            clock,
            counts: Counts::default(),
            telemetry,
            sharers,
            blocked_by: "limit",
            shown: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EnrichmentMessage::Ask(ask) => {
                state.telemetry.taken(Mailbox::Providers);
                state.take(*ask);
            }
            EnrichmentMessage::Hold(true) => state.breaker.force_open(),
            EnrichmentMessage::Hold(false) => state.breaker.release(),
            EnrichmentMessage::Status(port) => {
                // The asker may have given up: nothing to tell then.
                let _ = port.send(state.status());
                return Ok(());
            }
            EnrichmentMessage::Finished(finished) => state.finish(finished),
            EnrichmentMessage::Wake => state.wake_at = None,
        }
        state.start_what_may(&myself);
        state.show_breaker();
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        while let Some(ask) = state.waiting.pop() {
            state.turn_away(ask, "node_stopping", "this node is stopping", BUSY_RETRY_AFTER_MS);
        }
        state.calls.close();
        if tokio::time::timeout(STOP_GRACE, state.calls.wait()).await.is_err() {
            warn!(provider = %state.id, calls = state.calls.len(), "stopped with calls still out");
        }
        Ok(())
    }
}

impl State {
    fn take(&mut self, ask: Ask) {
        if self.waiting.len() >= WAITING_MAX {
            let cause = "too many posts wait for this provider";
            self.turn_away(ask, "provider_busy", cause, BUSY_RETRY_AFTER_MS);
        } else {
            self.queue(ask);
        }
    }

    fn queue(&mut self, ask: Ask) {
        let Question { site, lane, .. } = &ask.question;
        let (site, lane) = (site.clone(), *lane);
        self.waiting.push(&site, lane, ask);
    }

    fn start_what_may(&mut self, myself: &ActorRef<EnrichmentMessage>) {
        let places = self.sharers.of_places(self.concurrency);
        let of_one = if self.shared && places > 1 { places - places.div_ceil(4) } else { places };
        while self.in_flight < places {
            let next = self.waiting.peek_of(has_room(&self.in_flight_of, of_one));
            let Some(ask) = next else { return };
            if !ask.is_wanted() {
                self.waiting.pop_of(has_room(&self.in_flight_of, of_one));
                continue;
            }
            let now = self.clock.now();
            if let Err(blocked) = self.admit(now, tokens(&ask.question)) {
                self.blocked_by = match blocked {
                    Blocked::Rate(_) | Blocked::Paused(_) => "limit",
                    Blocked::Breaker(_) => "breaker",
                };
                self.wait(&blocked, now, myself);
                return;
            }
            if let Some(ask) = self.waiting.pop_of(has_room(&self.in_flight_of, of_one)) {
                self.telemetry.waited(ask.question.trace, ask.since, self.blocked_by);
                self.start(ask, myself.clone());
            }
            self.blocked_by = "limit";
        }
    }

    /// Takes one call from every limit, or from none.
    fn admit(&mut self, now: Timestamp, token_count: u32) -> Result<(), Blocked> {
        let paused_ms = self.paused_until.since_ms(now);
        if paused_ms > 0 {
            return Err(Blocked::Paused(paused_ms));
        }
        let (mut requests, mut tokens) = (self.requests.clone(), self.tokens.clone());
        if let Some(requests) = &mut requests {
            requests.admit(now, self.sharers.cells(1)).map_err(Blocked::Rate)?;
        }
        if let Some(tokens) = &mut tokens {
            tokens.admit(now, self.sharers.cells(token_count)).map_err(Blocked::Rate)?;
        }
        // Last, because being admitted by a half-open breaker makes this call the probe.
        self.breaker.admit(now).map_err(|open| Blocked::Breaker(open.wait_ms))?;
        (self.requests, self.tokens) = (requests, tokens);
        Ok(())
    }

    /// Turns away whoever would wait too long, and wakes up for the others.
    fn wait(&mut self, blocked: &Blocked, now: Timestamp, myself: &ActorRef<EnrichmentMessage>) {
        let (wait_ms, stay, code, cause) = match *blocked {
            Blocked::Rate(ms) => {
                let places = START_WAIT_MS_MAX / ms.max(1);
                let places = usize::try_from(places).unwrap_or(usize::MAX);
                (ms, places, RATE_LIMITED, "our own rate limit for this provider is used up")
            }
            Blocked::Breaker(ms) => {
                let stay = if ms <= START_WAIT_MS_MAX { usize::MAX } else { 0 };
                (
                    ms,
                    stay,
                    "provider_breaker_open",
                    "this provider keeps failing; calls are stopped",
                )
            }
            Blocked::Paused(ms) => {
                let stay = if ms <= START_WAIT_MS_MAX { usize::MAX } else { 0 };
                (ms, stay, RATE_LIMITED, "this provider asked us to wait")
            }
        };
        if self.waiting.len() > stay {
            // Those whose turn comes first stay, so a site with one ask is not turned away for
            // another's thousand.
            let mut all = std::mem::take(&mut self.waiting);
            for place in 0.. {
                let Some(ask) = all.pop() else { break };
                if place < stay {
                    self.queue(ask);
                } else {
                    self.turn_away(ask, code, cause, wait_ms);
                }
            }
        }
        let wake_at = now.after_ms(wait_ms);
        let sooner = self.wake_at.is_none_or(|at| wake_at < at);
        if !self.waiting.is_empty() && sooner {
            self.wake_at = Some(wake_at);
            // The timer runs by itself; an early or late one finds nothing to do.
            drop(myself.send_after(Duration::from_millis(wait_ms), || EnrichmentMessage::Wake));
        }
    }

    fn turn_away(&mut self, ask: Ask, code: &str, cause: &str, wait_ms: u64) {
        self.counts.turned_away += 1;
        let failure = Failure::new(FailureClass::Unavailable, code, cause)
            .retry_after_ms(Some(wait_ms.max(1)));
        // Nobody waits: nothing to tell.
        let _ = ask.reply.send(Err(failure));
    }

    fn start(&mut self, ask: Ask, myself: ActorRef<EnrichmentMessage>) {
        self.in_flight += 1;
        let site = ask.question.site.clone();
        *self.in_flight_of.entry(site.clone()).or_default() += 1;
        let provider = Arc::clone(&self.provider);
        let (id, telemetry) = (self.id.clone(), self.telemetry.clone());
        self.calls.spawn(async move {
            if !ask.is_wanted() {
                let _ = myself.cast(EnrichmentMessage::Finished(Finished { site, outcome: None }));
                return;
            }
            let Ask { mut question, reply, .. } = ask;
            let call = Call::begin(&telemetry, &mut question);
            let answer = answer(provider.as_ref(), &question).await;
            call.end(&telemetry, &id, provider.face(), answer.as_ref());
            let outcome = answer.as_ref().map(Spent::of).map_err(Clone::clone);
            // Nobody waits any more: the post has a new owner, which asks again.
            let _ = reply.send(answer);
            // The actor has stopped: there is nobody to count for.
            let finished = Finished { site, outcome: Some(outcome) };
            let _ = myself.cast(EnrichmentMessage::Finished(finished));
        });
    }

    fn finish(&mut self, finished: Finished) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Entry::Occupied(mut count) = self.in_flight_of.entry(finished.site) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        let Some(outcome) = finished.outcome else { return };
        self.counts.calls += 1;
        let now = self.clock.now();
        match outcome {
            Ok(spent) => {
                self.breaker.success();
                self.counts.input_tokens += u64::from(spent.input_tokens);
                self.counts.output_tokens += u64::from(spent.output_tokens);
                self.counts.cost_microdollars += spent.cost_microdollars;
            }
            Err(failure) => {
                self.counts.failures += 1;
                debug!(provider = %self.id, code = failure.code, "call failed");
                self.note_failure(&failure, now);
            }
        }
    }

    fn note_failure(&mut self, failure: &Failure, now: Timestamp) {
        let opened = match failure.class {
            // The service works; it is this post it cannot do.
            FailureClass::Terminal => {
                self.breaker.success();
                false
            }
            FailureClass::Unavailable if failure.code == "provider_unauthorized" => {
                self.breaker.open(now);
                true
            }
            FailureClass::Retry | FailureClass::Unavailable => self.breaker.failure(now),
        };
        if opened {
            warn!(provider = %self.id, code = failure.code, cause = failure.cause, "breaker opened");
        }
        if let (FailureClass::Unavailable, Some(ms)) = (failure.class, failure.retry_after_ms) {
            self.paused_until = self.paused_until.max(now.after_ms(ms));
        }
    }

    fn show_breaker(&mut self) {
        let state = match self.breaker.state() {
            BreakerState::Closed { .. } => 0,
            BreakerState::HalfOpen { .. } => 1,
            BreakerState::Open { .. } | BreakerState::Forced => 2,
        };
        if self.shown.replace(state) != Some(state) {
            self.telemetry.metrics().breaker("provider", self.id.to_shared(), state);
        }
    }

    fn status(&self) -> Status {
        Status {
            in_flight: self.in_flight,
            waiting: self.waiting.len(),
            breaker: self.breaker.state(),
            calls: self.counts.calls,
            failures: self.counts.failures,
            turned_away: self.counts.turned_away,
            input_tokens: self.counts.input_tokens,
            output_tokens: self.counts.output_tokens,
            cost_microdollars: self.counts.cost_microdollars,
        }
    }
}

impl Spent {
    const fn of(reply: &Reply) -> Self {
        Self {
            input_tokens: reply.input_tokens,
            output_tokens: reply.output_tokens,
            cost_microdollars: reply.cost_microdollars,
        }
    }
}

/// Whether a site may have another call in flight.
fn has_room(in_flight_of: &HashMap<SiteId, usize>, most: usize) -> impl Fn(&SiteId) -> bool {
    move |site| in_flight_of.get(site).is_none_or(|count| *count < most)
}

/// Asks; a panic of the provider is a failure of this call and of nothing else.
async fn answer(provider: &dyn Provider, question: &Question) -> Result<Reply, Failure> {
    // Unwind safe: the provider is shared by reference, and nothing of ours is half changed.
    let call = AssertUnwindSafe(async { provider.ask(question).await });
    call.catch_unwind().await.unwrap_or_else(|_panic| {
        Err(Failure::new(
            FailureClass::Retry,
            "provider_panicked",
            "the provider's code failed unexpectedly; the log has the details",
        ))
    })
}

/// What the call will take from the token rate, at most.
fn tokens(question: &Question) -> u32 {
    let text = super::builtin::clip(&question.text.content, super::recipe::INPUT_BYTES_MAX);
    estimate_tokens(text).saturating_add(question.max_output_tokens)
}
