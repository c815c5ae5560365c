use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use copydesk_core::breaker::{BreakerPolicy, BreakerState};
use copydesk_core::content::FieldValue;
use copydesk_core::failure::{Failure, FailureClass};
use futures::future::BoxFuture;
use ractor::{Actor, ActorRef, call_t};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::question;
use crate::cluster::{Lease, Partitions};
use crate::enrichment::builtin::Builtin;
use crate::enrichment::provider::{Provider, Question, Reply};
use crate::enrichment::recipe::Recipe;
use crate::enrichment::{
    Ask, EnrichmentActor, EnrichmentArguments, EnrichmentMessage, Limits, Status, ask,
};

type Answers = Box<dyn Fn(usize) -> Result<Reply, Failure> + Send + Sync>;

/// A provider that waits for a permit per call, then answers by the call's number from 0.
struct Scripted {
    permits: Semaphore,
    calls: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
    answers: Answers,
}

impl Scripted {
    fn new(
        permits: usize,
        answers: impl Fn(usize) -> Result<Reply, Failure> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            permits: Semaphore::new(permits),
            calls: AtomicUsize::new(0),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            answers: Box::new(answers),
        })
    }
}

impl Provider for Scripted {
    fn cost_max_microdollars(&self, _: &Question) -> u64 {
        0
    }

    fn ask<'a>(&'a self, _question: &'a Question) -> BoxFuture<'a, Result<Reply, Failure>> {
        Box::pin(async {
            let number = self.calls.fetch_add(1, Ordering::SeqCst);
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            self.permits.acquire().await.unwrap().forget();
            self.now.fetch_sub(1, Ordering::SeqCst);
            (self.answers)(number)
        })
    }
}

fn reply() -> Reply {
    Reply {
        value: FieldValue::Text("Words.".to_owned()),
        model: "m".to_owned(),
        input_tokens: 10,
        output_tokens: 5,
        cost_microdollars: 3,
        finish_reason: "stop",
    }
}

fn limits() -> Limits {
    Limits {
        concurrency: 4,
        shared: false,
        requests_per_minute: None,
        tokens_per_minute: None,
        breaker: BreakerPolicy { failures_max: 3, open_ms: 30_000 },
    }
}

async fn spawn(
    provider: Arc<dyn Provider>,
    limits: Limits,
) -> (ActorRef<EnrichmentMessage>, JoinHandle<()>) {
    let arguments = EnrichmentArguments::new("main".parse().unwrap(), provider, limits);
    Actor::spawn(None, EnrichmentActor, arguments).await.unwrap()
}

fn send(actor: &ActorRef<EnrichmentMessage>) -> oneshot::Receiver<Result<Reply, Failure>> {
    send_under(actor, Lease::default())
}

fn send_under(
    actor: &ActorRef<EnrichmentMessage>,
    lease: Lease,
) -> oneshot::Receiver<Result<Reply, Failure>> {
    ask_of(actor, question(Recipe::Summary), lease)
}

fn ask_of(
    actor: &ActorRef<EnrichmentMessage>,
    question: Question,
    lease: Lease,
) -> oneshot::Receiver<Result<Reply, Failure>> {
    let (reply, answer) = oneshot::channel();
    actor
        .cast(EnrichmentMessage::Ask(Box::new(Ask {
            question,
            since: std::time::SystemTime::now(),
            lease,
            reply,
        })))
        .unwrap();
    answer
}

async fn status(actor: &ActorRef<EnrichmentMessage>) -> Status {
    call_t!(actor, EnrichmentMessage::Status, 5_000).unwrap()
}

/// Polls until the status is as wanted.
async fn until(actor: &ActorRef<EnrichmentMessage>, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut last = status(actor).await;
    for _ in 0..10_000 {
        if wanted(&last) {
            return last;
        }
        tokio::task::yield_now().await;
        last = status(actor).await;
    }
    panic!("never came to be as wanted: {last:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_run_together_up_to_the_limit() {
    let provider = Scripted::new(0, |_| Ok(reply()));
    let (actor, _task) = spawn(Arc::clone(&provider) as _, limits()).await;
    let answers: Vec<_> = (0..10).map(|_| send(&actor)).collect();
    let now = until(&actor, |status| status.in_flight == 4 && status.waiting == 6).await;
    assert_eq!(now.calls, 0);
    provider.permits.add_permits(10);
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Ok(reply()));
    }
    let now = until(&actor, |status| status.calls == 10).await;
    assert_eq!((now.input_tokens, now.output_tokens, now.cost_microdollars), (100, 50, 30));
    assert_eq!(provider.most.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn one_site_alone_leaves_places_to_the_others() {
    let provider = Scripted::new(0, |_| Ok(reply()));
    let (actor, _task) =
        spawn(Arc::clone(&provider) as _, Limits { shared: true, ..limits() }).await;
    let import: Vec<_> = (0..10).map(|_| send(&actor)).collect();
    until(&actor, |status| status.in_flight == 3 && status.waiting == 7).await;
    let site = "another".parse().unwrap();
    let other = Question { site, ..question(Recipe::Summary) };
    let other = ask_of(&actor, other, Lease::default());
    until(&actor, |status| status.in_flight == 4 && status.waiting == 7).await;
    provider.permits.add_permits(11);
    for answer in import.into_iter().chain([other]) {
        assert_eq!(answer.await.unwrap(), Ok(reply()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_429_opens_the_breaker_and_is_waited_out() {
    let limited = || {
        Err(Failure::new(FailureClass::Unavailable, "provider_rate_limited", "slow down")
            .retry_after_ms(Some(20_000)))
    };
    let provider =
        Scripted::new(1_000, move |number| if number < 3 { limited() } else { Ok(reply()) });
    let (actor, _task) =
        spawn(Arc::clone(&provider) as _, Limits { concurrency: 1, ..limits() }).await;
    let first = send(&actor).await.unwrap().unwrap_err();
    assert_eq!(first.retry_after_ms, Some(20_000));
    // The service asked for quiet: the others are told at once how long, and none is sent.
    for _ in 0..50 {
        let away = send(&actor).await.unwrap().unwrap_err();
        assert_eq!(
            (away.class, away.code.as_str()),
            (FailureClass::Unavailable, "provider_rate_limited")
        );
        assert!(away.retry_after_ms.unwrap() <= 20_000);
    }
    assert_eq!(provider.calls.load(Ordering::SeqCst), 1);
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(send(&actor).await.unwrap().is_err());
    }
    let open = until(&actor, |status| matches!(status.breaker, BreakerState::Open { .. })).await;
    assert_eq!(open.turned_away, 50);
    // Quiet is over, the breaker has 9 s left: short enough to wait here, and the first call finds
    // out that the service is back.
    tokio::time::advance(Duration::from_secs(21)).await;
    assert_eq!(send(&actor).await.unwrap(), Ok(reply()));
    let closed = until(&actor, |status| status.calls == 4).await;
    assert_eq!(closed.breaker, BreakerState::Closed { failures: 0 });
    assert_eq!(closed.turned_away, 50);
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_and_long_waits_go_back() {
    let provider = Scripted::new(1_000, |_| Ok(reply()));
    let limits = Limits { requests_per_minute: Some(10), concurrency: 100, ..limits() };
    let (actor, _task) = spawn(Arc::clone(&provider) as _, limits).await;
    // A burst of one, then one every six seconds: the second waits here, the rest go back.
    let answers: Vec<_> = (0..5).map(|_| send(&actor)).collect();
    let mut outcomes = Vec::new();
    for answer in answers {
        outcomes.push(answer.await.unwrap().map_err(|failure| failure.code));
    }
    let away = || Err("provider_rate_limited".to_owned());
    assert_eq!(outcomes, [Ok(reply()), Ok(reply()), away(), away(), away()]);
    assert_eq!(provider.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_limited_by_estimate() {
    let provider = Scripted::new(1_000, |_| Ok(reply()));
    // One question takes about 617 tokens: 600 of answer and its 70 bytes of text.
    let limits = Limits { tokens_per_minute: Some(700), ..limits() };
    let (actor, _task) = spawn(Arc::clone(&provider) as _, limits).await;
    assert!(send(&actor).await.unwrap().is_ok());
    let away = send(&actor).await.unwrap().unwrap_err();
    assert!(away.retry_after_ms.unwrap() > 40_000, "{away:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_stops_all_calls_at_once_and_terminal_failures_none() {
    let provider = Scripted::new(1_000, |number| {
        let (class, code) = match number {
            0..=9 => (FailureClass::Terminal, "provider_refused_content"),
            _ => (FailureClass::Unavailable, "provider_unauthorized"),
        };
        Err(Failure::new(class, code, "no"))
    });
    let (actor, _task) = spawn(Arc::clone(&provider) as _, limits()).await;
    for _ in 0..10 {
        assert_eq!(send(&actor).await.unwrap().unwrap_err().code, "provider_refused_content");
    }
    assert_eq!(send(&actor).await.unwrap().unwrap_err().code, "provider_unauthorized");
    until(&actor, |status| matches!(status.breaker, BreakerState::Open { .. })).await;
    assert_eq!(send(&actor).await.unwrap().unwrap_err().code, "provider_breaker_open");
    assert_eq!(provider.calls.load(Ordering::SeqCst), 11);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_provider_fails_its_call_only() {
    let provider =
        Scripted::new(1_000, |number| if number == 0 { panic!("poison") } else { Ok(reply()) });
    let (actor, _task) = spawn(Arc::clone(&provider) as _, limits()).await;
    let failure = send(&actor).await.unwrap().unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Retry, "provider_panicked"));
    assert_eq!(send(&actor).await.unwrap(), Ok(reply()));
    let now = until(&actor, |status| status.calls == 2).await;
    assert_eq!((now.failures, now.in_flight), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_ask_nobody_waits_for_is_not_started() {
    let provider = Scripted::new(0, |_| Ok(reply()));
    let (actor, _task) =
        spawn(Arc::clone(&provider) as _, Limits { concurrency: 1, ..limits() }).await;
    let first = send(&actor);
    drop(send(&actor));
    let third = send(&actor);
    provider.permits.add_permits(3);
    assert!(first.await.unwrap().is_ok());
    assert!(third.await.unwrap().is_ok());
    until(&actor, |status| status.calls == 2 && status.waiting == 0).await;
    assert_eq!(provider.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_calls_finish_and_sends_the_rest_back() {
    let provider = Scripted::new(0, |_| Ok(reply()));
    let (actor, task) =
        spawn(Arc::clone(&provider) as _, Limits { concurrency: 1, ..limits() }).await;
    let (running, waiting) = (send(&actor), send(&actor));
    until(&actor, |status| status.in_flight == 1 && status.waiting == 1).await;
    actor.stop(None);
    assert_eq!(waiting.await.unwrap().unwrap_err().code, "node_stopping");
    provider.permits.add_permits(1);
    assert_eq!(running.await.unwrap(), Ok(reply()));
    task.await.unwrap();
    let late = ask(&actor, question(Recipe::Summary), Lease::default()).await.unwrap_err();
    assert_eq!((late.class, late.code.as_str()), (FailureClass::Unavailable, "provider_stopped"));
}

#[tokio::test(start_paused = true)]
async fn what_is_another_nodes_by_its_turn_is_not_asked() {
    let provider = Scripted::new(0, |_| Ok(reply()));
    let (actor, _task) =
        spawn(Arc::clone(&provider) as _, Limits { concurrency: 1, ..limits() }).await;
    let partitions = Arc::new(Partitions::all());
    let lease = |partition| Lease::of(Arc::clone(&partitions), partition);
    let running = send(&actor);
    let (lost, kept) = (send_under(&actor, lease(7)), send_under(&actor, lease(8)));
    until(&actor, |status| status.in_flight == 1 && status.waiting == 2).await;
    partitions.lose(7);
    provider.permits.add_permits(3);
    assert_eq!(running.await.unwrap(), Ok(reply()));
    assert!(lost.await.is_err(), "nobody is told: its owner is elsewhere");
    assert_eq!(kept.await.unwrap(), Ok(reply()));
    assert_eq!(until(&actor, |status| status.in_flight == 0).await.calls, 2);
}

#[tokio::test(start_paused = true)]
async fn an_operator_holds_and_releases() {
    let (actor, _task) = spawn(Arc::new(Builtin), limits()).await;
    actor.cast(EnrichmentMessage::Hold(true)).unwrap();
    let held = ask(&actor, question(Recipe::Summary), Lease::default()).await.unwrap_err();
    assert_eq!(held.code, "provider_breaker_open");
    actor.cast(EnrichmentMessage::Hold(false)).unwrap();
    let answered = ask(&actor, question(Recipe::Summary), Lease::default()).await.unwrap();
    let words = "The harbour reopened on Monday after a storm.";
    assert_eq!(answered.value, FieldValue::Text(words.to_owned()));
}
