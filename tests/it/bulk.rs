//! Much at once, with the real program: bulk retry, a hot post among quiet ones, many events that
//! wait. Small here; `COPYDESK_SCENARIO_TIMES=N` makes each N times as large, for the figures in
//! `docs/operations/scenarios.md`, which each test prints.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};

use crate::support::ai::{ALL, Ai};
use crate::support::node::{Node, Parts, SECRET};
use crate::support::sender::{Sender, update};
use crate::support::site::{Outcome, Site};
use crate::support::{eventually, figure, times};

/// Webhooks on their way at once.
const SENDERS: usize = 32;

async fn room(seed: u64) -> (Ai, Site, Node) {
    let ai = Ai::start(0, Duration::ZERO, seed).await;
    let site = Site::start(0, seed).await;
    let of_site = format!(
        "url = \"{}\"\nuser = \"copydesk\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"\nconcurrency = 16",
        site.url
    );
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\n\
         model = \"m\"\nconcurrency = 32",
        ai.base_url
    );
    let node =
        Node::new(&Parts { log: "embedded", site: &of_site, provider: &provider, route: "" });
    // One post is saved more often than any editor could.
    node.configure(|text| {
        text.replace(
            "[log]",
            "[limits]\nposts_busy_max = 200\ncalls_per_post_hour = 1000000\n[log]",
        )
    });
    (ai, site, node)
}

/// Sends these posts' versions, many at once, and insists on a 202 for each.
async fn send(url: &str, events: impl Iterator<Item = (u64, u64)>) {
    let sender = &Sender::new(SECRET);
    futures::stream::iter(events)
        .for_each_concurrent(SENDERS, |(post, version)| async move {
            let body = update(post, version, &format!("bulk-{post}-{version}"));
            eventually("an event is accepted", async || {
                sender.send(url, &body).await.filter(|(status, _)| *status == 202)
            })
            .await;
        })
        .await;
}

fn applied(site: &Site) -> u64 {
    let history = site.history();
    history.iter().filter(|a| a.outcome == Outcome::Applied).count().try_into().unwrap()
}

/// Every post is refused until the key is renewed: one group, one dry run, one job, one result each.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_retried_in_bulk_with_progress() {
    let posts = 200 * u64::from(times());
    let (ai, site, mut node) = room(31).await;
    let url = format!("{}/webhooks/news", node.start().await);
    ai.poison(ALL);
    send(&url, (1..=posts).map(|post| (post, 1))).await;
    node.quiet().await;
    let groups = node.get("/dead-letters/groups").await["rows"].clone();
    assert_eq!((&groups[0]["posts"], groups.as_array().unwrap().len()), (&json!(posts), 1));

    let order = json!({ "verb": "retry", "filter": { "site": "news" } });
    let plan = node.post("/jobs/plan", &order).await;
    assert_eq!((&plan["targets"], &plan["calls"]), (&json!(posts), &json!(posts)));
    ai.poison(0);
    let began = Instant::now();
    let job = node.post("/jobs", &order).await;
    let path = format!("/jobs/{}", job["id"].as_str().unwrap());
    let seen = Mutex::new(Vec::new());
    let job = eventually("the job has ended", async || {
        let job = node.get(&path).await;
        seen.lock().unwrap().push(job["done"].as_u64().unwrap());
        (job["state"] == "done").then_some(job)
    })
    .await;
    let (took, mut seen) = (began.elapsed(), seen.into_inner().unwrap());
    assert!(seen.is_sorted(), "progress goes forward: {seen:?}");
    assert_eq!((&job["done"], &job["failed"]), (&json!(posts), &json!(0)));
    node.quiet().await;
    assert_eq!(applied(&site), posts);
    assert_eq!(node.get("/status").await["dead_letters"], 0);
    let mut results = 0;
    let mut cursor = Some(String::new());
    while let Some(from) = cursor {
        let query = if from.is_empty() { String::new() } else { format!("?cursor={from}") };
        let part: Value = node.get(&format!("{path}/results{query}")).await;
        results += part["rows"].as_array().unwrap().len() as u64;
        cursor = part["next"].as_str().map(str::to_owned);
    }
    assert_eq!(results, posts);
    seen.dedup();
    figure(&format!("{posts} dead letters asked for in {took:?}, {} steps seen", seen.len()));
}

/// One post is saved again and again: its events take effect in order, and posts that are quiet
/// are done long before it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_hot_post_does_not_hold_up_quiet_ones() {
    let (hot, quiet) = (200 * u64::from(times()), 20 * u64::from(times().min(50)));
    let (_ai, site, mut node) = room(32).await;
    let url = format!("{}/webhooks/news", node.start().await);
    let began = Instant::now();
    for version in 1..=hot {
        // One at a time: the sender's order is the order it is sent in.
        send(&url, std::iter::once((1, version))).await;
    }
    send(&url, (2..=quiet + 1).map(|post| (post, 1))).await;
    let all_quiet = eventually("the quiet posts are written", async || {
        let history = site.history();
        let done = history.iter().filter(|a| a.external_id != "1").count() as u64;
        (done == quiet).then(|| began.elapsed())
    })
    .await;
    node.quiet().await;
    let took = began.elapsed();
    let versions: Vec<u64> = site
        .history()
        .iter()
        .filter(|a| a.external_id == "1" && a.outcome == Outcome::Applied)
        .map(|a| a.version)
        .collect();
    assert_eq!(versions, (1..=hot).collect::<Vec<_>>(), "each, in order");
    figure(&format!("{hot} events of one post in {took:?}; {quiet} quiet ones by {all_quiet:?}"));
}

/// Everything is held while events come in: memory stays flat, a kill loses none, and all of it is
/// drained.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_events_cost_no_memory_and_are_drained() {
    let (posts, events) = (100 * u64::from(times()), 1_000 * u64::from(times()));
    let versions = |of: RangeInclusive<u64>| {
        of.flat_map(move |version| (1..=posts).map(move |post| (post, version)))
    };
    let (_ai, site, mut node) = room(33).await;
    node.configure(|text| text.replace("[http]", &format!("[http]\nbacklog_max = {}", 2 * events)));
    let url = format!("{}/webhooks/news", node.start().await);
    node.post("/holds", &json!({ "scope": "all", "reason": "a scenario" })).await;
    send(&url, versions(1..=5)).await;
    let half = node.usage().resident_mb;
    send(&url, versions(6..=10)).await;
    let whole = node.usage().resident_mb;
    // What caches may still take, and what the log keeps of its tables.
    let allowed = 24.0 + 0.00005 * events as f64;
    assert!(whole - half < allowed, "{half} MB with half of the events, {whole} MB with all");
    node.kill();
    node.start().await;
    let began = Instant::now();
    node.post("/holds/release", &json!({ "scope": "all" })).await;
    node.quiet().await;
    assert_eq!(applied(&site), events);
    let (took, peak) = (began.elapsed(), node.usage().peak_mb);
    figure(&format!(
        "{events} events of {posts} posts waited: {half:.0} MB at half, {whole:.0} MB at all; drained in {took:?}, \
         peak {peak:.0} MB"
    ));
}
