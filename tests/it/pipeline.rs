//! The main promise on both logs: 200 posts, 5 updates each, many senders, duplicates, forgeries,
//! an AI service and a site that fail, and a node that is killed: nothing missing, nothing out of
//! order, nothing doubled, nothing forged, nothing paid twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use copydesk_eventlog::testing::NatsServer;
use serde_json::Value;

use crate::support::ai::Ai;
use crate::support::node::{Node, Parts, SECRET};
use crate::support::sender::{Sender, update};
use crate::support::site::{Arrival, Outcome, Site};
use crate::support::{Random, eventually};

pub(crate) const POSTS: u64 = 200;
pub(crate) const UPDATES: u64 = 5;
const SENDERS: u64 = 16;
const FORGED: u64 = 1_000_000;

/// What one run looks like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run<'a> {
    pub(crate) log: &'a str,
    pub(crate) failing_percent: u64,
    pub(crate) kills: u32,
    pub(crate) seed: u64,
    /// Posts are numbered from here on, so that runs against one site do not meet.
    pub(crate) after_post: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_on_the_embedded_log() {
    check(Run { log: "embedded", failing_percent: 0, kills: 0, seed: 1, ..Run::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_on_jetstream() {
    let nats = NatsServer::start();
    check(Run { log: &nats.url(), failing_percent: 0, kills: 0, seed: 2, ..Run::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_ai_and_site_fail_and_the_node_is_killed_on_the_embedded_log() {
    check(Run { log: "embedded", failing_percent: 20, kills: 20, seed: 3, ..Run::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_ai_and_site_fail_and_the_node_is_killed_on_jetstream() {
    let nats = NatsServer::start();
    check(Run { log: &nats.url(), failing_percent: 20, kills: 20, seed: 4, ..Run::default() })
        .await;
}

async fn check(run: Run<'_>) {
    let ai = Ai::start(run.failing_percent, Duration::from_millis(5), run.seed).await;
    let site = Site::start(run.failing_percent, run.seed).await;
    let site_table = format!(
        "url = \"{}\"\nuser = \"copydesk\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"\nconcurrency = 16",
        site.url
    );
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\n\
         model = \"m\"\nconcurrency = 64",
        ai.base_url
    );
    let parts = Parts { log: run.log, site: &site_table, provider: &provider, route: "" };
    let mut node = Node::new(&parts);
    let accepted = drive(&mut node, &run).await;
    node.quiet().await;
    all_is_well(&mut node, &accepted, &site.history(), &ai).await;
}

/// The zeros, once nothing waits any more: by what the site and the AI service saw, and by
/// Copydesk's own books.
pub(crate) async fn all_is_well(
    node: &mut Node,
    accepted: &BTreeSet<String>,
    history: &[Arrival],
    ai: &Ai,
) {
    let events = outcomes(node).await;
    let missing: Vec<_> = accepted.iter().filter(|id| !is_terminal(&events, id)).collect();
    assert!(missing.is_empty(), "{} accepted events have no end: {missing:?}", missing.len());
    newest_stands_and_order_holds(history);
    nothing_is_doubled(history);
    nothing_is_forged(history, ai);
    each_event_is_one_trace(history, ai);
    nothing_is_paid_twice(node, ai).await;
    let verified = node.run(&["verify", "--json"]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "verify: {said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["violations"], serde_json::json!([]));
    assert!(node.stop().success());
}

/// Sends everything, from many senders, each event until it is accepted, while the node is
/// killed and started again. Returns the ids of all accepted events.
pub(crate) async fn drive(node: &mut Node, run: &Run<'_>) -> BTreeSet<String> {
    let url = Arc::new(std::sync::Mutex::new(node.start().await));
    let senders: Vec<_> = (0..SENDERS)
        .map(|number| {
            let url = Arc::clone(&url);
            let random = Random::new(run.seed * 1_000 + number);
            tokio::spawn(send_share(number, run.after_post, url, random))
        })
        .collect();
    let mut random = Random::new(run.seed);
    let spread = Duration::from_millis(150 + random.below(250));
    for _ in 0..run.kills {
        tokio::time::sleep(spread).await;
        node.kill();
        *url.lock().unwrap() = node.start().await;
    }
    let mut accepted = BTreeSet::new();
    for sender in senders {
        accepted.extend(sender.await.unwrap());
    }
    accepted
}

/// One sender's share of the events, with 20 % sent twice and 10 % forgeries between them.
async fn send_share(
    number: u64,
    after_post: u64,
    url: Arc<std::sync::Mutex<String>>,
    mut random: Random,
) -> BTreeSet<String> {
    let honest = Sender::new(SECRET);
    let forger = Sender::new("a-secret-that-nobody-gave-the-forger");
    let mut accepted = BTreeSet::new();
    let address = || format!("{}/webhooks/news", url.lock().unwrap());
    for event in (0..POSTS * UPDATES).filter(|event| event % SENDERS == number) {
        let (post, version) = (after_post + event % POSTS + 1, event / POSTS + 1);
        let body = update(post, version, &format!("event-{event}"));
        let copies = if random.percent(20) { 2 } else { 1 };
        for _ in 0..copies {
            accepted.insert(until_accepted(&honest, &address, &body).await);
        }
        if random.percent(10) {
            let forged = update(post, FORGED, &format!("forged-{event}"));
            if let Some((status, _)) = forger.send(&address(), &forged).await {
                assert_eq!(status, 401, "a forgery was taken");
            }
        }
    }
    accepted
}

/// As a good sender does: the same key and body again until a 202.
async fn until_accepted(sender: &Sender, address: &impl Fn() -> String, body: &Value) -> String {
    eventually("an event is accepted", async || match sender.send(&address(), body).await {
        Some((202, answer)) => Some(answer["event_id"].as_str().unwrap().to_owned()),
        Some((429 | 503, _)) | None => None,
        Some((status, answer)) => panic!("refused with {status}: {answer}"),
    })
    .await
}

/// Every event of the log with its state, page by page.
async fn outcomes(node: &Node) -> HashMap<String, String> {
    let mut events = HashMap::new();
    let mut cursor = String::new();
    loop {
        let page = node.get(&format!("/events?limit=200{cursor}")).await;
        for row in page["rows"].as_array().unwrap() {
            let field = |name: &str| row[name].as_str().unwrap().to_owned();
            events.insert(field("event_id"), field("state"));
        }
        let Some(next) = page["next"].as_str() else { return events };
        cursor = format!("&cursor={next}");
    }
}

fn is_terminal(events: &HashMap<String, String>, id: &str) -> bool {
    let ends = ["applied", "superseded", "unchanged", "duplicate", "kept"];
    events.get(id).is_some_and(|state| ends.contains(&state.as_str()))
}

fn newest_stands_and_order_holds(history: &[Arrival]) {
    let mut last: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for arrival in history.iter().filter(|a| a.outcome == Outcome::Applied) {
        let seen = last.entry(&arrival.external_id).or_default();
        assert!(
            arrival.version > seen.0,
            "post {}: {} after {}",
            arrival.external_id,
            arrival.version,
            seen.0
        );
        assert!(arrival.number > seen.1, "write numbers go backwards");
        *seen = (arrival.version, arrival.number);
    }
    assert_eq!(last.len() as u64, POSTS, "posts that were written");
    let old: Vec<_> = last.iter().filter(|(_, (version, _))| *version != UPDATES).collect();
    assert!(old.is_empty(), "posts that end with old text: {old:?}");
}

fn nothing_is_doubled(history: &[Arrival]) {
    let mut seen = BTreeSet::new();
    for arrival in history.iter().filter(|a| a.outcome == Outcome::Applied) {
        let text = (arrival.external_id.clone(), arrival.version);
        assert!(seen.insert(text), "a text was written under two numbers: {arrival:?}");
    }
    let stale = history.iter().filter(|a| a.outcome == Outcome::Stale).count();
    assert_eq!(stale, 0, "writes that came behind a newer one");
}

fn nothing_is_forged(history: &[Arrival], ai: &Ai) {
    assert!(history.iter().all(|arrival| arrival.version != FORGED));
    assert!(ai.calls().iter().all(|call| call.version != FORGED));
}

/// The sender's trace id goes on to the AI service and to the site.
fn each_event_is_one_trace(history: &[Arrival], ai: &Ai) {
    let trace_id = |traceparent: &Option<String>| traceparent.as_ref().unwrap()[3..35].to_owned();
    let asked: BTreeSet<(u64, u64, String)> = ai
        .calls()
        .iter()
        .map(|call| (call.post, call.version, trace_id(&call.traceparent)))
        .collect();
    for arrival in history.iter().filter(|a| a.outcome == Outcome::Applied) {
        let post = arrival.external_id.parse().unwrap();
        let hop = (post, arrival.version, trace_id(&arrival.traceparent));
        assert!(asked.contains(&hop), "the write and its AI call are of two traces: {arrival:?}");
    }
}

/// No call is made about a text after its answer was recorded.
async fn nothing_is_paid_twice(node: &Node, ai: &Ai) {
    let mut calls: HashMap<(u64, u64), Vec<i64>> = HashMap::new();
    for call in ai.calls().iter().filter(|call| call.answered) {
        calls.entry((call.post, call.version)).or_default().push(call.at_ms);
    }
    let repeated: BTreeSet<u64> =
        calls.iter().filter(|(_, at)| at.len() > 1).map(|((post, _), _)| *post).collect();
    for post in repeated {
        let view = node.get(&format!("/posts/news/{post}")).await;
        let answered: Vec<i64> = view["journey"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|line| line["kind"] == "answered")
            .map(|line| line["at_ms"].as_i64().unwrap())
            .collect();
        // Answers come in the order of the versions that were asked about.
        let mut versions: Vec<_> =
            calls.iter().filter(|((p, _), _)| *p == post).map(|((_, v), at)| (*v, at)).collect();
        versions.sort_unstable();
        for ((version, at), recorded) in versions.iter().zip(&answered) {
            let late = at.iter().filter(|at| *at > recorded).count();
            assert_eq!(late, 0, "post {post} v{version} was asked about after its answer");
        }
    }
}

/// A node that is asked to stop under load finishes in order and loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_nothing() {
    let ai = Ai::start(0, Duration::from_millis(20), 5).await;
    let site = Site::start(0, 5).await;
    let site_table = format!(
        "url = \"{}\"\nuser = \"copydesk\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"",
        site.url
    );
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\nmodel = \"m\"",
        ai.base_url
    );
    let parts = Parts { log: "embedded", site: &site_table, provider: &provider, route: "" };
    let mut node = Node::new(&parts);
    let url = format!("{}/webhooks/news", node.start().await);
    let sender = Sender::new(SECRET);
    for post in 1..=50 {
        let answer = sender.send(&url, &update(post, 1, &format!("stop-{post}"))).await;
        assert_eq!(answer.map(|a| a.0), Some(202));
    }
    assert!(node.stop().success(), "it ends with code 0");
    node.start().await;
    node.quiet().await;
    let applied = site.history().iter().filter(|a| a.outcome == Outcome::Applied).count();
    assert_eq!(applied, 50);
}
