//! Subscribers of a whole node: over real HTTP, and over days on virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::outbound::Rules;
use copydesk_core::signature::{
    Parts, STANDARD_WEBHOOKS, Secret, SecretRing, derive, verify as verify_signature,
};
use copydesk_core::subscribers::Spec;
use copydesk_eventlog::{EventLog, Filter, MemoryLog, Record, Sequence};
use copydesk_proto::{PostKey, SubscriberId, Timestamp};
use serde_json::Value;
use url::Url;

use super::outlet::TestOutlet;
use super::{Added, Parcel, Settings, Way};
use crate::World;
use crate::delivery::tests::stub::{Answer, Seen, Stub};
use crate::desk::query;
use crate::desk::verify::verify;
use crate::node::testing::{send, settings, text_of};
use crate::node::{Bounds, Node};
use crate::sim::clock;

const MASTER: [u8; 32] = [9; 32];

fn key(id: &str) -> Secret {
    let text = derive(&MASTER, "crm", id);
    Secret::of(&STANDARD_WEBHOOKS, id, text.as_bytes()).unwrap()
}

fn spec(id: &str) -> Spec {
    Spec {
        id: id.parse().unwrap(),
        events: vec!["*".to_owned()],
        sites: Vec::new(),
        matches: Vec::new(),
        fields: Vec::new(),
    }
}

fn webhook(id: &str, url: &str) -> Settings {
    let way = Way::Webhook { url: url.parse().unwrap(), rules: Rules::trusting() };
    Settings { spec: spec(id), way, keys: vec![key("k2"), key("k1")], places: 4 }
}

fn told(
    id: &str,
    hand: impl Fn(&Parcel) -> Result<u16, Failure> + Send + Sync + 'static,
) -> Settings {
    let way = Way::Test(TestOutlet(Arc::new(hand)));
    Settings { spec: spec(id), way, keys: Vec::new(), places: 4 }
}

async fn node(log: &MemoryLog, subscribers: Vec<Settings>) -> Node {
    let mut settings = settings(log);
    settings.subscribers = subscribers;
    settings.bounds = Bounds { posts_busy_max: 64, posts_idle_max: 64, backlog_max: 100_000 };
    Node::start(settings).await.unwrap()
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn is_clean(log: &MemoryLog) {
    let report = verify(log, |_| {}).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);
}

fn ok() -> Answer {
    Answer::Http { status: 204, headers: Vec::new(), body: String::new() }
}

fn status(status: u16) -> Answer {
    Answer::Http { status, headers: Vec::new(), body: "x".repeat(100_000) }
}

/// Which key signed, of those the ring holds.
fn signed_by(seen: &Seen, ring: &[&str]) -> Option<String> {
    let header = |name: &str| seen.headers[name].as_str();
    let parts = Parts {
        timestamp: header("webhook-timestamp"),
        key: header("webhook-id"),
        body: seen.body.as_bytes(),
    };
    let ring = SecretRing::new(ring.iter().map(|id| key(id)).collect()).unwrap();
    let signature = header("webhook-signature");
    verify_signature(&STANDARD_WEBHOOKS, &ring, &parts, signature, None).map(str::to_owned)
}

fn sequences(seen: &[Seen]) -> BTreeMap<u64, Vec<u64>> {
    let mut of: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for one in seen {
        let data = &one.json()["data"];
        let post = data["post_id"].as_u64().unwrap();
        of.entry(post).or_default().push(data["sequence"].as_u64().unwrap());
    }
    of
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_told_in_order_signed_by_all_keys_and_without_the_payload() {
    let stub = Stub::start(|_| ok()).await;
    let log = MemoryLog::new();
    let node = node(&log, vec![webhook("crm", &stub.url())]).await;
    for version in 1..=3 {
        for post in 1..=5 {
            send(&node, post, version).await;
        }
    }
    eventually("all are told", async || (stub.seen().len() >= 15).then_some(())).await;
    let seen = stub.seen();
    assert_eq!(seen.len(), 15);
    let ids: BTreeSet<&str> = seen.iter().map(|one| one.headers["webhook-id"].as_str()).collect();
    assert_eq!(ids.len(), 15);
    for one in &seen {
        assert_eq!(signed_by(one, &["k1"]).as_deref(), Some("k1"), "while it is rotated");
        assert_eq!(signed_by(one, &["k2"]).as_deref(), Some("k2"));
        assert_eq!(signed_by(one, &["other"]), None);
        let body = one.json();
        assert_eq!(
            (body["type"].as_str(), &body["data"]["site"]),
            (Some("post.suggested"), &"news".into())
        );
        assert_eq!(body["data"]["results"][0]["field"], "excerpt");
        assert_eq!(body["data"]["results"][0]["outcome"], "suggested");
        assert_eq!(body["data"].get("event"), None, "a sender's payload only by name");
    }
    for (post, versions) in sequences(&seen) {
        assert!(versions.is_sorted(), "post {post}: {versions:?}");
    }
    let standing = node.desk.world().subscribers.standings().remove(0);
    assert_eq!((standing.attempts.len(), standing.attempts[0].status), (15, 204));
    is_clean(&log).await;
    assert!(node.stop(Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_and_matchers_say_what_goes_out() {
    let stub = Stub::start(|_| ok()).await;
    let log = MemoryLog::new();
    let mut crm = webhook("crm", &stub.url());
    crm.spec.fields =
        vec!["/post_id".to_owned(), "/sequence".to_owned(), "/event/title".to_owned()];
    crm.spec.matches = vec![copydesk_core::subscribers::MatchSpec {
        field: "/event/post_id".to_owned(),
        test: "is".to_owned(),
        text: "2".to_owned(),
    }];
    let node = node(&log, vec![crm]).await;
    for post in 1..=3 {
        send(&node, post, 1).await;
    }
    eventually("it is told", async || (!stub.seen().is_empty()).then_some(())).await;
    assert!(node.stop(Duration::from_secs(10)).await);
    let seen = stub.seen();
    assert_eq!(seen.len(), 1);
    let expected =
        serde_json::json!({ "post_id": 2, "sequence": 1, "event": { "title": "A title" } });
    assert_eq!(seen[0].json()["data"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_says_gone_is_disabled_and_what_waits_goes_on_when_it_is_enabled() {
    let gone = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&gone);
    let stub =
        Stub::start(move |_| if says.load(Ordering::Relaxed) { status(410) } else { ok() }).await;
    let log = MemoryLog::new();
    let node = node(&log, vec![webhook("crm", &stub.url())]).await;
    let crm: SubscriberId = "crm".parse().unwrap();
    send(&node, 1, 1).await;
    let roster = Arc::clone(&node.desk.world().subscribers);
    eventually("it is disabled", async || roster.standings()[0].disabled.clone()).await;
    let (by, reason, _) = roster.standings()[0].disabled.clone().unwrap();
    assert_eq!((by.as_str(), reason.as_str()), ("copydesk", "it answered 410 Gone"));
    // Nothing more is told, and nothing more is kept for it.
    send(&node, 1, 2).await;
    let first = "news/1".parse().unwrap();
    eventually("the second event has ended", async || {
        let state = query::state(&log, &first).await.unwrap()?;
        (state.is_idle() && state.considered.0 > 1 && state.notice_number.0 == 1).then_some(())
    })
    .await;
    assert_eq!(stub.seen().len(), 1);
    gone.store(false, Ordering::Relaxed);
    assert!(node.desk.switch_subscriber(&crm, true, "ann", "mended").await.unwrap());
    assert!(!node.desk.switch_subscriber(&crm, true, "ann", "mended").await.unwrap());
    send(&node, 1, 3).await;
    eventually("what waited and the next are told", async || {
        (stub.seen().len() == 3).then_some(())
    })
    .await;
    let seen = stub.seen();
    let of = |n: usize| seen[n].json()["data"]["sequence"].as_u64();
    assert_eq!((of(0), of(1), of(2)), (Some(1), Some(1), Some(3)));
    assert_eq!(seen[0].headers["webhook-id"], seen[1].headers["webhook-id"]);
    is_clean(&log).await;
}

/// What a subscriber was told of an erased post is erased, too.
#[tokio::test(flavor = "multi_thread")]
async fn erasing_a_post_erases_its_notices() {
    let log = MemoryLog::new();
    let mut crm = told("crm", |_| Ok(200));
    crm.spec.fields = vec!["/event".to_owned()];
    let node = node(&log, vec![crm]).await;
    send(&node, 1, 1).await;
    send(&node, 2, 1).await;
    let roster = Arc::clone(&node.desk.world().subscribers);
    eventually("both are told", async || (roster.standings()[0].attempts.len() == 2).then_some(()))
        .await;
    let holding = async |post: u64| {
        let records = log.read(Sequence(0), Filter(None), 1_000).await.unwrap();
        let words = text_of(post, 1);
        let holds = |record: &&Record| {
            record.payload.windows(words.len()).any(|window| window == words.as_bytes())
        };
        records.iter().filter(holds).map(|record| record.subject.to_string()).collect::<Vec<_>>()
    };
    let of_notices = |subjects: Vec<String>| subjects.iter().any(|s| s.contains("to-crm"));
    assert!(of_notices(holding(1).await), "a notice has the words");
    node.desk.erase(&"news/1".parse().unwrap(), "ann", "a request").await.unwrap();
    assert_eq!(holding(1).await, [""; 0]);
    assert!(of_notices(holding(2).await), "another post's stay");
    is_clean(&log).await;
}

/// A subscriber that hangs and one that is well: the second and the posts do not notice.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_holds_nobody_up() {
    let hanging = Stub::start(|_| Answer::Hang).await;
    let well = Stub::start(|_| ok()).await;
    let log = MemoryLog::new();
    let subscribers = vec![webhook("hangs", &hanging.url()), webhook("well", &well.url())];
    let node = node(&log, subscribers).await;
    for post in 1..=200 {
        send(&node, post, 1).await;
    }
    eventually("the other is told", async || (well.seen().len() == 200).then_some(())).await;
    assert_eq!(node.desk.world().backlog(), 0, "notices are no backlog");
    assert!(hanging.seen().len() <= 4, "it has its own places only: {}", hanging.seen().len());
    eventually("only it is busy", async || {
        node.desk.status().await.filter(|status| status.busy <= 4)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_added_pinged_given_new_keys_and_removed() {
    let stub = Stub::start(|_| ok()).await;
    let log = MemoryLog::new();
    let node = node(&log, Vec::new()).await;
    let roster = Arc::clone(&node.desk.world().subscribers);
    let crm: SubscriberId = "crm".parse().unwrap();
    let added = |url: &str| Added {
        spec: spec("crm"),
        url: url.parse::<Url>().unwrap(),
        keys: std::collections::VecDeque::new(),
        by: "ann".to_owned(),
        reason: "a new CRM".to_owned(),
        at: Timestamp(7),
    };
    let first = roster.add(added(&stub.url())).await.unwrap();
    assert!(roster.add(added(&stub.url())).await.is_err(), "there is one");
    assert!(roster.ping(&crm).await.unwrap().0.code.is_empty());
    let second = roster.rotate(&crm, "ann", "").await.unwrap();
    assert!(roster.ping(&crm).await.unwrap().0.code.is_empty());
    send(&node, 1, 1).await;
    eventually("it is told", async || (stub.seen().len() == 3).then_some(())).await;
    let seen = stub.seen();
    let signs = |one: &Seen, text: &str| {
        let secret = Secret::of(&STANDARD_WEBHOOKS, "k", text.as_bytes()).unwrap();
        let ring = SecretRing::new(vec![secret]).unwrap();
        let header = |name: &str| one.headers[name].as_str();
        let (timestamp, key) = (header("webhook-timestamp"), header("webhook-id"));
        let parts = Parts { timestamp, key, body: one.body.as_bytes() };
        let signature = header("webhook-signature");
        verify_signature(&STANDARD_WEBHOOKS, &ring, &parts, signature, None).is_some()
    };
    assert!(signs(&seen[0], &first) && !signs(&seen[0], &second));
    assert!(signs(&seen[2], &first) && signs(&seen[2], &second), "both for a day");
    // Another process knows it from the log, its key included.
    drop(node);
    let node = self::node(&log, Vec::new()).await;
    send(&node, 2, 1).await;
    eventually("it is told", async || (stub.seen().len() == 4).then_some(())).await;
    assert!(signs(&stub.seen()[3], &second));
    let roster = Arc::clone(&node.desk.world().subscribers);
    roster.remove(&crm, "ann", "").await.unwrap();
    assert!(roster.remove(&crm, "ann", "").await.is_err());
    assert!(roster.standings().is_empty() && roster.ping(&crm).await.is_none());
}

/// What came, by post.
type Came = Arc<Mutex<Vec<(PostKey, u64, String)>>>;

fn came(parcel: &Parcel) -> (PostKey, u64, String) {
    let body: Value = serde_json::from_slice(&parcel.body).unwrap();
    let data = &body["data"];
    let post = format!("news/{}", data["post"].as_str().unwrap()).parse().unwrap();
    (post, data["sequence"].as_u64().unwrap(), parcel.id.clone())
}

/// Lets so many hours pass on the wall clock, five minutes at a time; the dispatcher looks around
/// twice in between.
async fn hours(count: u32) {
    for _ in 0..count * 12 {
        clock::jump(300_000);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// One life, on a runtime of its own: dropping it is the death of all that runs in it. Timers run
/// when nothing else does.
fn life(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        clock::life_begins(Arc::default());
        test.await;
        clock::life_ends();
    });
}

/// Down for a day, with processes that die meanwhile: everything comes, in order, each under one
/// id.
#[test]
fn one_that_is_down_for_a_day_gets_everything_in_order() {
    clock::begin();
    let (log, seen, tries) = (MemoryLog::new(), Came::default(), Arc::new(AtomicU64::new(0)));
    let back = World::now().after_ms(24 * 3_600_000);
    let crm = || {
        let (seen, tries) = (Arc::clone(&seen), Arc::clone(&tries));
        told("crm", move |parcel| {
            tries.fetch_add(1, Ordering::Relaxed);
            if World::now() < back {
                return Err(Failure::new(FailureClass::Retry, "down", "it is down"));
            }
            seen.lock().unwrap().push(came(parcel));
            Ok(200)
        })
    };
    let posts = 20;
    for part in 0..3 {
        life(async {
            let node = node(&log, vec![crm()]).await;
            for version in 1..=4 {
                for post in 1..=posts {
                    send(&node, post, part * 4 + version).await;
                }
                hours(2).await;
            }
        });
    }
    life(async {
        let node = node(&log, vec![crm()]).await;
        hours(30).await;
        is_clean(&log).await;
        assert!(node.stop(Duration::from_secs(60)).await);
    });
    let seen = seen.lock().unwrap().clone();
    for post in 1..=posts {
        let key: PostKey = format!("news/{post}").parse().unwrap();
        let of: Vec<u64> = seen.iter().filter(|(k, ..)| *k == key).map(|(_, n, _)| *n).collect();
        assert_eq!(of, (1..=12).collect::<Vec<_>>(), "post {post}");
    }
    let ids: BTreeSet<_> = seen.iter().map(|(.., id)| id).collect();
    assert_eq!(ids.len(), seen.len(), "each once, as nobody died after it was told");
    // The first of each post: at once, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h; then it is well. The
    // others at once, when their turn comes.
    let tries = tries.load(Ordering::Relaxed);
    assert!(tries <= posts * (7 + 12 + 3), "{tries} tries");
}

#[test]
fn one_that_fails_for_five_days_is_disabled_and_its_notices_are_dead_letters_before() {
    clock::begin();
    life(async {
        let log = MemoryLog::new();
        let crm = told("crm", |_| Err(Failure::new(FailureClass::Retry, "down", "it is down")));
        let node = node(&log, vec![crm]).await;
        let notices: PostKey = "news/to-crm-1".parse().unwrap();
        send(&node, 1, 1).await;
        hours(75).await;
        let state = query::state(&log, &notices).await.unwrap().unwrap();
        assert_eq!(state.dead.len(), 0, "24 hours after the last but one");
        hours(15).await;
        let state = query::state(&log, &notices).await.unwrap().unwrap();
        assert_eq!(state.dead.len(), 1, "ten tries and three days");
        assert_eq!(state.dead[0].run.write_progress.attempts, 10);
        let roster = Arc::clone(&node.desk.world().subscribers);
        assert_eq!(roster.standings()[0].disabled, None);
        for version in 2..=6 {
            send(&node, 1, version).await;
            hours(10).await;
        }
        let (by, reason, at) = roster.standings()[0].disabled.clone().unwrap();
        assert_eq!(
            (by.as_str(), reason.as_str()),
            ("copydesk", "every try has failed for five days")
        );
        let days = (at.0 - World::now().0).abs() / 86_400_000;
        assert!(days <= 1, "{days}");
        is_clean(&log).await;
    });
}
