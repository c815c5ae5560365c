//! The main promise on both logs: 200 posts, 5 updates each, many senders, duplicates, forgeries,
//! an AI service and a site that fail, and a node that is killed: nothing missing, nothing out of
//! order, nothing doubled, nothing forged, nothing paid twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use copydesk_eventlog::testing::NatsServer;
use serde_json::Value;

use crate::support::ai::Ai;
use crate::support::load::{FORGED, Load, Plan, Sent};
use crate::support::node::{Node, Parts, SECRET};
use crate::support::sender::{Sender, update};
use crate::support::site::{Arrival, Outcome, Site};
use crate::support::{Random, eventually};

pub(crate) const POSTS: u64 = 200;
pub(crate) const UPDATES: u64 = 5;

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
    let mut node = node_between(run.log, &site, &ai);
    let sent = drive(&mut node, &run).await;
    node.quiet().await;
    all_is_well(&mut node, &sent, &site.history(), &ai).await;
}

/// A node that takes from senders and asks this AI service for this site.
pub(crate) fn node_between(log: &str, site: &Site, ai: &Ai) -> Node {
    let site = format!(
        "url = \"{}\"\nuser = \"copydesk\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"\nconcurrency = 16",
        site.url
    );
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\n\
         model = \"m\"\nconcurrency = 64",
        ai.base_url
    );
    let node = Node::new(&Parts { log, site: &site, provider: &provider, route: "" });
    // A soak saves each of its posts more often than any editor.
    node.configure(|text| format!("{text}\n[limits]\ncalls_per_post_hour = 1000000\n"));
    node
}

/// Waits until all accepted events have ended, by the log: what one node has read back, another that
/// is to work on it may not have.
pub(crate) async fn all_end(node: &Node, sent: &Sent) {
    for id in open_events(node, sent).await {
        eventually("an event ends", async || {
            let event = node.get(&format!("/events/{id}")).await;
            is_an_end(event["state"].as_str().unwrap()).then_some(())
        })
        .await;
    }
}

/// The zeros, once nothing waits any more: by what the site and the AI service saw, and by
/// Copydesk's own books.
pub(crate) async fn all_is_well(node: &mut Node, sent: &Sent, history: &[Arrival], ai: &Ai) {
    let repeats = all_is_well_but_repeats(node, sent, history, ai).await;
    assert_eq!(repeats, [""; 0], "asked about after its answer");
    assert!(node.stop().success());
}

/// The same, and which texts were asked about after their answers.
pub(crate) async fn all_is_well_but_repeats(
    node: &Node,
    sent: &Sent,
    history: &[Arrival],
    ai: &Ai,
) -> Vec<String> {
    let missing = open_events(node, sent).await;
    assert!(missing.is_empty(), "{} accepted events have no end: {missing:?}", missing.len());
    newest_stands_and_order_holds(sent, history);
    nothing_is_doubled(history);
    nothing_is_stale(history);
    nothing_is_forged(history, ai);
    each_event_is_one_trace(history, ai);
    the_log_is_clean(node);
    paid_twice(node, ai).await
}

/// Accepted events that have no end.
pub(crate) async fn open_events(node: &Node, sent: &Sent) -> Vec<String> {
    let events = outcomes(node).await;
    sent.accepted.iter().filter(|id| !is_terminal(&events, id)).cloned().collect()
}

/// Copydesk's own books.
pub(crate) fn the_log_is_clean(node: &Node) {
    let verified = node.run(&["verify", "--json"]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "verify: {said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["violations"], serde_json::json!([]));
}

/// Sends everything while the node is killed and started again.
pub(crate) async fn drive(node: &mut Node, run: &Run<'_>) -> Sent {
    let plan = Plan {
        after_post: run.after_post,
        posts: POSTS,
        updates: UPDATES,
        pause: Duration::ZERO,
        seed: run.seed,
    };
    let load = Load::start(node.start().await, plan);
    let spread = Duration::from_millis(150 + Random::new(run.seed).below(250));
    for _ in 0..run.kills {
        tokio::time::sleep(spread).await;
        node.kill();
        load.move_to(node.start().await);
    }
    load.finish().await
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
    events.get(id).is_some_and(|state| is_an_end(state))
}

fn is_an_end(state: &str) -> bool {
    ["applied", "superseded", "unchanged", "duplicate", "kept"].contains(&state)
}

pub(crate) fn newest_stands_and_order_holds(sent: &Sent, history: &[Arrival]) {
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
    let shows = |post: &u64| last.get(post.to_string().as_str()).map(|(version, _)| *version);
    let old: Vec<_> = sent.newest.iter().filter(|(post, v)| shows(post) != Some(**v)).collect();
    assert!(old.is_empty(), "posts that end with old text: {old:?}");
}

pub(crate) fn nothing_is_doubled(history: &[Arrival]) {
    let mut seen = BTreeSet::new();
    for arrival in history.iter().filter(|a| a.outcome == Outcome::Applied) {
        let text = (arrival.external_id.clone(), arrival.version);
        assert!(seen.insert(text), "a text was written under two numbers: {arrival:?}");
    }
}

fn nothing_is_stale(history: &[Arrival]) {
    let stale = history.iter().filter(|a| a.outcome == Outcome::Stale).count();
    assert_eq!(stale, 0, "writes that came behind a newer one");
}

pub(crate) fn nothing_is_forged(history: &[Arrival], ai: &Ai) {
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

/// Texts about which a call was made after the answer was recorded.
async fn paid_twice(node: &Node, ai: &Ai) -> Vec<String> {
    let mut found = Vec::new();
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
            let late = at.iter().filter(|at| *at > recorded);
            found.extend(late.map(|_| format!("post {post} v{version}")));
        }
    }
    found
}

/// A node that is asked to stop under load finishes in order and loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_nothing() {
    let ai = Ai::start(0, Duration::from_millis(20), 5).await;
    let site = Site::start(0, 5).await;
    let mut node = node_between("embedded", &site, &ai);
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
