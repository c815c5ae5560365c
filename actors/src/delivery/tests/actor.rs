//! The pace of a site, seen from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_proto::{PostId, PostKey, Timestamp};
use futures::future::join_all;
use ractor::{Actor as _, ActorRef};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::super::{
    DeliveryActor, DeliveryKind, DeliveryMessage, DeliveryStatus, PostStatus, ReadPost, Site,
    SiteClient, Write, WriteOutcome, deliver,
};
use super::stub::{Answer, Stub};
use super::{excerpt, index, is_index, key, post, read, site, write};

async fn start(settings: Site) -> ActorRef<DeliveryMessage> {
    let client = SiteClient::new(settings).unwrap();
    DeliveryActor::spawn(None, DeliveryActor, Arc::new(client)).await.unwrap().0
}

async fn read_by(actor: &ActorRef<DeliveryMessage>) -> Result<ReadPost, Failure> {
    deliver(actor, |reply| DeliveryMessage::Read(read(), reply)).await
}

async fn status_of(actor: &ActorRef<DeliveryMessage>) -> DeliveryStatus {
    let (reply, status) = oneshot::channel();
    actor.cast(DeliveryMessage::Status(reply)).unwrap();
    status.await.unwrap()
}

async fn until(actor: &ActorRef<DeliveryMessage>, seen: impl Fn(&DeliveryStatus) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !seen(&status_of(actor).await) {
        assert!(Instant::now() < deadline, "{:?}", status_of(actor).await);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_allowed() {
    let slow = Answer::Slow(Box::new(Answer::json(200, post(""))));
    let stub = Stub::start(move |_| slow.clone()).await;
    let actor = start(Site { concurrency: 3, ..site(&stub.url()) }).await;
    let answers = join_all((0..30).map(|_| read_by(&actor))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(stub.busiest(), 3);
    let idle =
        DeliveryStatus { running: 0, waiting: 0, allowed: 3, paused_ms: None, last_failure: None };
    until(&actor, |status| *status == idle).await;
    actor.stop(None);
}

#[tokio::test]
async fn a_refused_password_is_not_tried_again_at_once() {
    let stub =
        Stub::start(|s| if is_index(s) { index() } else { Answer::error(401, "rest_cannot_edit") })
            .await;
    let actor = start(Site { concurrency: 1, ..site(&stub.url()) }).await;
    let answers = join_all((0..10).map(|_| read_by(&actor))).await;
    let asked = stub.seen().iter().filter(|s| !is_index(s)).count();
    assert_eq!(asked, 1);
    for failure in answers.into_iter().map(Result::unwrap_err) {
        assert_eq!(failure.class, FailureClass::Unavailable);
        assert_eq!(failure.code, "wordpress_unauthorized");
        assert!(failure.retry_after_ms.unwrap() > 290_000);
    }
    let status = status_of(&actor).await;
    assert!(status.paused_ms.unwrap() > 290_000 && status.allowed == 1);
    actor.stop(None);
}

#[tokio::test]
async fn an_outage_costs_five_requests() {
    let up = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&up);
    let stub = Stub::start(move |_| {
        if shared.load(Ordering::SeqCst) { Answer::json(200, post("")) } else { Answer::html(502) }
    })
    .await;
    let actor = start(Site { concurrency: 1, ..site(&stub.url()) }).await;
    let answers = join_all((0..50).map(|_| read_by(&actor))).await;
    assert_eq!(stub.seen().len(), 5);
    let class = |class| answers.iter().filter(|a| a.as_ref().unwrap_err().class == class).count();
    assert_eq!((class(FailureClass::Retry), class(FailureClass::Unavailable)), (5, 45));
    up.store(true, Ordering::SeqCst);
    let failure = read_by(&actor).await.unwrap_err();
    assert_eq!(failure.code, "wordpress_gateway", "it says why the site is left alone");
    assert_eq!(stub.seen().len(), 5);
    actor.stop(None);
}

#[tokio::test]
async fn what_finds_no_place_comes_back_later() {
    let stub = Stub::start(|_| Answer::Hang).await;
    let actor = start(Site { timeout: Duration::from_secs(60), ..site(&stub.url()) }).await;
    let mut answers: Vec<_> = (0..1_030)
        .map(|_| {
            let (reply, answer) = oneshot::channel();
            actor.cast(DeliveryMessage::Read(read(), reply)).unwrap();
            answer
        })
        .collect();
    for answer in answers.split_off(1_026) {
        let failure = answer.await.unwrap().unwrap_err();
        let found = (failure.class, failure.code.as_str(), failure.retry_after_ms);
        assert_eq!(found, (FailureClass::Unavailable, "delivery_busy", Some(5_000)));
    }
    until(&actor, |s| (s.running, s.waiting) == (2, 1_024)).await;
    actor.stop(None);
    for answer in answers.split_off(2) {
        assert!(answer.await.is_err(), "a port that closes says: unknown");
    }
}

#[tokio::test]
async fn a_stopped_actor_is_an_outage() {
    let stub = Stub::start(|_| Answer::json(200, post(""))).await;
    let actor = start(site(&stub.url())).await;
    actor.stop_and_wait(None, None).await.unwrap();
    let failure = read_by(&actor).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (FailureClass::Unavailable, "delivery_stopped")
    );
}

#[tokio::test]
async fn an_asker_that_left_does_not_stop_the_work() {
    let stub = Stub::start(|_| Answer::json(200, post(""))).await;
    let actor = start(site(&stub.url())).await;
    let (reply, answer) = oneshot::channel();
    drop(answer);
    actor.cast(DeliveryMessage::Read(read(), reply)).unwrap();
    let request = Box::new(write(vec![excerpt("Ours")]));
    let outcome = deliver(&actor, |reply| DeliveryMessage::Write(request, reply)).await;
    // The stub stores nothing, so the write is found not to have been.
    assert_eq!(outcome.unwrap_err().code, "wordpress_field_not_stored");
    until(&actor, |s| s.running == 0).await;
    actor.stop(None);
}

#[tokio::test]
async fn a_rate_spreads_requests() {
    let stub = Stub::start(|_| Answer::json(200, post(""))).await;
    // 600 a minute: two at once, then one each 100 ms.
    let actor = start(Site { per_minute: Some(600), ..site(&stub.url()) }).await;
    let begun = Instant::now();
    let answers = join_all((0..6).map(|_| read_by(&actor))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(begun.elapsed() >= Duration::from_millis(390), "{:?}", begun.elapsed());
    actor.stop(None);
}

#[tokio::test]
async fn a_panic_costs_one_try() {
    let key = super::key();
    let work = async { panic!("on purpose") };
    let outcome: Result<WriteOutcome, Failure> = super::super::actor::guarded(&key, work).await;
    let failure = outcome.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Retry, "delivery_panicked"));
}

/// The plugin's answer to a write, alone or one of several.
fn applied(id: u64) -> Value {
    json!({
        "status": "applied", "write": 3, "delivery_id": format!("d-{id}"),
        "fields": {"excerpt": {"outcome": "applied"}},
    })
}

#[tokio::test]
async fn writes_that_wait_go_together_and_a_lone_one_goes_at_once() {
    let stub = Stub::start(|seen| {
        let body = seen.json();
        let Some(writes) = body["writes"].as_array() else {
            return Answer::Slow(Box::new(Answer::json(200, applied(1))));
        };
        let id = |write: &Value| write["id"].as_u64().unwrap();
        let one = |w| json!({"id": id(w), "status": 200, "body": applied(id(w))});
        Answer::json(200, json!({"results": writes.iter().map(one).collect::<Vec<_>>()}))
    })
    .await;
    let settings = Site { kind: DeliveryKind::Plugin, concurrency: 1, ..site(&stub.url()) };
    let actor = start(settings).await;
    // The last has nothing to write: it needs no request.
    let writes = (1..=14).map(|id| {
        let key = PostKey { post: PostId::number(id).unwrap(), ..key() };
        let delivery_id = format!("d-{id}");
        let fields = if id == 14 { vec![] } else { vec![excerpt("Ours")] };
        let write = Box::new(Write { key, delivery_id, ..write(fields) });
        deliver(&actor, |reply| DeliveryMessage::Write(write, reply))
    });
    let outcomes = join_all(writes).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let sizes: Vec<Option<usize>> =
        stub.seen().iter().map(|seen| seen.json()["writes"].as_array().map(Vec::len)).collect();
    assert_eq!(sizes, [None, Some(10), Some(2)]);
    actor.stop(None);
}

#[tokio::test]
async fn reports_go_in_one_request_when_there_are_enough() {
    let stub = Stub::start(|_| Answer::json(200, json!({"taken": 1}))).await;
    let actor = start(Site { kind: DeliveryKind::Plugin, ..site(&stub.url()) }).await;
    for id in 1..=100 {
        let cause = String::new();
        let report = PostStatus { id, sequence: 1, state: "unchanged", cause, at: Timestamp(0) };
        actor.cast(DeliveryMessage::Tell(report)).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while stub.seen().is_empty() {
        assert!(Instant::now() < deadline, "never told");
        tokio::task::yield_now().await;
    }
    let seen = stub.seen();
    assert_eq!(seen[0].target, "/wp-json/copydesk/v1/posts/statuses");
    assert_eq!(seen[0].json()["statuses"].as_array().unwrap().len(), 100);
    actor.stop(None);
}
