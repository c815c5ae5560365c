//! What an operator needs on a bad day, with the real program and shortened times.
//! `COPYDESK_SCENARIO_TIMES=N` lets the bad days last N times as long, for the figures in
//! `docs/operations/scenarios.md`, which the tests print.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use copydesk_core::limits::BREAKER_FAILURES_MAX;
use serde_json::json;

use crate::support::ai::{Ai, Usage};
use crate::support::node::{Node, Parts, SECRET};
use crate::support::sender::{Sender, update};
use crate::support::site::{Outcome, Site};
use crate::support::{eventually, figure, times};

/// A site that takes writes at 16 at once.
fn site_table(site: &Site) -> String {
    format!(
        "url = \"{}\"\nuser = \"copydesk\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"\nconcurrency = 16",
        site.url
    )
}

fn provider_table(ai: &Ai, more: &str) -> String {
    format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\n\
         model = \"m\"\nconcurrency = 64\n{more}",
        ai.base_url
    )
}

fn node(site: &Site, ai: &Ai, more: &str) -> Node {
    let (site, provider) = (site_table(site), provider_table(ai, more));
    Node::new(&Parts { log: "embedded", site: &site, provider: &provider, route: "" })
}

/// Sends one event each of these posts and insists on a 202.
async fn send(url: &str, posts: RangeInclusive<u64>, version: u64) {
    let sender = Sender::new(SECRET);
    for post in posts {
        let body = update(post, version, &format!("scenario-{post}-{version}"));
        eventually("an event is accepted", async || {
            sender.send(url, &body).await.filter(|(status, _)| *status == 202)
        })
        .await;
    }
}

async fn in_state(node: &Node, state: &str) -> usize {
    node.get(&format!("/posts?limit=200&state={state}")).await["rows"].as_array().unwrap().len()
}

fn applied(site: &Site) -> u64 {
    let history = site.history();
    history.iter().filter(|a| a.outcome == Outcome::Applied).count().try_into().unwrap()
}

/// How long a breaker stays open, in seconds: what is usual on long days, less on short ones.
fn breaker_open_s() -> u64 {
    if times() < 60 { 2 } else { 30 }
}

/// Probes to wait for, on a day that takes so many seconds in `scripts/test`.
fn probes_in(day_s: u64) -> usize {
    usize::try_from(day_s * u64::from(times()) / breaker_open_s()).unwrap()
}

const TOKEN_MICRODOLLARS: u64 = 10;

/// $5.00 a day, 64 calls at once, a node that is killed in the middle and at the end: what the AI
/// service bills never passes the cap; the work that is left waits and goes on when it is raised.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_never_passed_by_64_calls_at_once() {
    const POSTS: u64 = 260;
    let usage = Usage { prompt: 2_000, completion: 600 };
    let ai = Ai::start_billing(usage, 0, Duration::from_millis(400), 11).await;
    let site = Site::start(0, 11).await;
    let prices = "input_price = \"10\"\noutput_price = \"10\"\nday_budget = \"5.00\"";
    let mut node = node(&site, &ai, prices);
    let url = format!("{}/webhooks/news", node.start().await);
    send(&url, 1..=POSTS, 1).await;
    let rests = async |node: &Node| {
        eventually("everything is done or held", async || {
            let held = in_state(node, "budget").await;
            (held > 0 && u64::try_from(held).unwrap() + applied(&site) == POSTS).then_some(())
        })
        .await;
    };
    rests(&node).await;
    let billed = || ai.billed_tokens() * TOKEN_MICRODOLLARS;
    assert!(billed() <= 5_000_000, "{} microdollars were billed", billed());
    assert!(billed() > 4_900_000, "{}: the budget is used as far as calls fit", billed());
    assert!(ai.most_in_flight() > 32, "{} calls at once", ai.most_in_flight());
    assert_eq!(node.get("/status").await["dead_letters"], 0);

    figure(&format!(
        "${:.2} of $5.00 spent, {} calls at once at most",
        billed() as f64 / 1e6,
        ai.most_in_flight()
    ));

    // The books are in the log: a kill does not grant the cap again.
    let before = ai.calls().len();
    node.kill();
    node.start().await;
    rests(&node).await;
    assert_eq!(ai.calls().len(), before, "nothing is asked while there is no money");

    node.kill();
    node.configure(|text| text.replace("day_budget = \"5.00\"", "day_budget = \"50.00\""));
    node.start().await;
    node.quiet().await;
    assert_eq!(applied(&site), POSTS, "held work goes on when the cap is raised");
    let report: serde_json::Value =
        serde_json::from_slice(&node.run(&["verify", "--json"]).stdout).unwrap();
    assert_eq!(report["violations"], json!([]));
}

/// An AI service that answers 429 for a while: after the breaker is open only probes go out, no
/// event is lost or dead-lettered, and all is done soon after.
#[tokio::test(flavor = "multi_thread")]
async fn an_ai_service_that_limits_us_is_left_alone_and_nothing_is_lost() {
    const POSTS: u64 = 200;
    let ai = Ai::start(0, Duration::from_millis(5), 12).await;
    let site = Site::start(0, 12).await;
    let mut node = node(&site, &ai, "");
    let open_s = breaker_open_s();
    node.configure(|text| format!("{text}\n[limits]\nbreaker_open = \"{open_s}s\"\n"));
    let url = format!("{}/webhooks/news", node.start().await);
    ai.limit(open_s);
    let began = Instant::now();
    send(&url, 1..=POSTS, 1).await;
    eventually("the breaker is open", async || {
        let status = node.get("/status").await;
        let rows = status["providers"].as_array().unwrap().clone();
        rows.iter().any(|row| row["provider"] == "main" && row["breaker"] == "open").then_some(())
    })
    .await;
    let (opened, wasted) = (Instant::now(), ai.calls().len());
    let probed = usize::try_from((opened - began).as_secs() / open_s).unwrap();
    let wanted = probes_in(8);
    eventually("probes", async || (ai.calls().len() >= wasted + wanted).then_some(())).await;
    let (probes, lasted) = (ai.calls().len() - wasted, opened.elapsed());
    let most = lasted.as_secs() / open_s + 2;
    assert!(u64::try_from(probes).unwrap() <= most, "{probes} calls, at most {most} probes");
    // Those that opened it, and those that were out at that moment.
    let most = 64 + usize::try_from(BREAKER_FAILURES_MAX).unwrap() + probed;
    assert!(wasted <= most, "{wasted} calls before the breaker was seen open");
    assert_eq!(node.get("/status").await["dead_letters"], 0);
    ai.limit(0);
    let healed = Instant::now();
    node.quiet().await;
    assert_eq!(applied(&site), POSTS);
    figure(&format!(
        "429 for {lasted:?}: {wasted} calls until the breaker was open, then {probes} probes; \
         {POSTS} posts done {:?} after the end, no dead letter",
        healed.elapsed()
    ));
}

/// A site that answers 503 for a while: at most one probe a breaker period, nothing lost, and
/// what waits is written in order when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_down_is_probed_and_drained_in_order() {
    const POSTS: u64 = 100;
    let ai = Ai::start(0, Duration::from_millis(5), 13).await;
    let site = Site::start(0, 13).await;
    let mut node = node(&site, &ai, "");
    let open_s = breaker_open_s();
    node.configure(|text| format!("{text}\n[limits]\nbreaker_open = \"{open_s}s\"\n"));
    let url = format!("{}/webhooks/news", node.start().await);
    site.set_down(true);
    send(&url, 1..=POSTS, 1).await;
    send(&url, 1..=POSTS, 2).await;
    eventually("the site is left alone", async || {
        let status = node.get("/status").await;
        (status["sites"][0]["breaker"] == "open").then_some(())
    })
    .await;
    let (opened, tried) = (Instant::now(), site.history().len());
    let wanted = probes_in(6);
    eventually("probes", async || (site.history().len() >= tried + wanted).then_some(())).await;
    let (probes, lasted) = (site.history().len() - tried, opened.elapsed());
    let most = lasted.as_secs() / open_s + 2;
    assert!(u64::try_from(probes).unwrap() <= most, "{probes} tries, at most {most} probes");
    site.set_down(false);
    let healed = Instant::now();
    node.quiet().await;
    let drained = healed.elapsed();
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for arrival in site.history().iter().filter(|a| a.outcome == Outcome::Applied) {
        let last = versions.entry(arrival.external_id.clone()).or_default();
        assert!(arrival.version > *last, "{arrival:?} after {last}");
        *last = arrival.version;
    }
    assert_eq!(versions.len() as u64, POSTS);
    assert!(versions.values().all(|version| *version == 2));
    assert_eq!(node.get("/status").await["dead_letters"], 0);
    figure(&format!(
        "503 for {lasted:?}: {probes} probes, one each {open_s} s at most; {POSTS} posts' two events \
         written in order {drained:?} after the end, no dead letter"
    ));
}

/// Held, restarted, released: nothing moves while it is held, and each post's events take effect
/// in their order afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_outlives_a_restart_and_its_release_keeps_order() {
    const POSTS: u64 = 20;
    let ai = Ai::start(0, Duration::ZERO, 14).await;
    let site = Site::start(0, 14).await;
    let mut node = node(&site, &ai, "");
    let url = format!("{}/webhooks/news", node.start().await);
    node.post("/holds", &json!({"scope": "site:news", "by": "ann", "reason": "an import"})).await;
    for version in 1..=5 {
        send(&url, 1..=POSTS, version).await;
    }
    node.kill();
    let url = format!("{}/webhooks/news", node.start().await);
    send(&url, 1..=POSTS, 6).await;
    eventually("the events are in the posts' queues", async || {
        let rows = node.get("/posts?limit=200").await["rows"].as_array().unwrap().clone();
        (rows.len() as u64 == POSTS && rows.iter().all(|row| row["waiting"] == 6)).then_some(())
    })
    .await;
    assert_eq!((ai.calls().len(), site.history().len()), (0, 0), "held is held");
    node.post("/holds/release", &json!({"scope": "site:news"})).await;
    node.quiet().await;
    let mut versions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for arrival in site.history().iter().filter(|a| a.outcome == Outcome::Applied) {
        versions.entry(arrival.external_id.clone()).or_default().push(arrival.version);
    }
    assert_eq!(versions.len() as u64, POSTS);
    for (post, versions) in versions {
        assert_eq!(versions, [1, 2, 3, 4, 5, 6], "post {post}");
    }
}

/// One post the AI service refuses: it alone becomes a dead letter, and the posts after it take as
/// long as those before.
#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_post_stops_only_itself() {
    let half = 40 * u64::from(times());
    let ai = Ai::start(0, Duration::from_millis(5), 15).await;
    let site = Site::start(0, 15).await;
    let mut node = node(&site, &ai, "");
    let url = format!("{}/webhooks/news", node.start().await);
    let before = live_times(&url, &site, 1..=half).await;
    let poisoned = half + 1;
    ai.poison(poisoned);
    send(&url, poisoned..=poisoned, 1).await;
    let after = live_times(&url, &site, poisoned + 1..=2 * half + 1).await;
    node.quiet().await;
    let dead = node.get("/dead-letters").await["rows"].as_array().unwrap().clone();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["post"], format!("news/{poisoned}"));
    assert_eq!(applied(&site), 2 * half);
    ai.poison(0);
    let run = dead[0]["run"].as_u64().unwrap();
    node.post(&format!("/dead-letters/news/{poisoned}/{run}/retry"), &json!({})).await;
    node.quiet().await;
    assert_eq!(applied(&site), 2 * half + 1, "retried, it is done");
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100];
    figure(&format!(
        "p99 of {half} posts before a poisoned one {:?}, of {half} after it {:?}; 1 dead letter",
        p99(&before),
        p99(&after)
    ));
}

/// Two sites on one AI service: while one imports, the other's live posts are as quick as without.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_one_site_does_not_slow_anothers_live_posts() {
    const IMPORT: u64 = 800;
    const LIVE: u64 = 30;
    let ai = Ai::start(0, Duration::from_millis(50), 16).await;
    let (site, blog) = (Site::start(0, 16).await, Site::start(0, 17).await);
    let mut node = node(&site, &ai, "");
    node.configure(|text| {
        format!(
            "{text}\n[sites.blog]\n{}\n[sources.blog]\nscheme = \"wp-relay\"\n\
             secrets = [{{ id = \"k1\", value = \"env:NEWS_SECRET\" }}]\nsite = \"blog\"\n\
             [[routes]]\nsource = \"blog\"\nenrich = [\"summary\"]\n",
            site_table(&blog)
        )
        .replace("concurrency = 64", "concurrency = 4")
        .replace("[log]", "[limits]\nposts_busy_max = 400\n[log]")
    });
    let address = node.start().await;
    let (news, blog_url) = (format!("{address}/webhooks/news"), format!("{address}/webhooks/blog"));
    let alone = median(&live_times(&blog_url, &blog, 1..=LIVE).await);
    let import = tokio::spawn(async move { send(&news, 1..=IMPORT, 1).await });
    eventually("the import fills the AI service's queue", async || {
        (node.get("/status").await["backlog"].as_u64() > Some(300)).then_some(())
    })
    .await;
    let beside = median(&live_times(&blog_url, &blog, LIVE + 1..=2 * LIVE).await);
    let left = node.get("/status").await["backlog"].as_u64().unwrap();
    assert!(left > 0, "the import went on all the while");
    import.await.unwrap();
    // One more turn at the AI service is the price of not being alone: half a call on average.
    let allowed = alone + Duration::from_millis(100);
    assert!(beside <= allowed, "median {beside:?} beside an import, {alone:?} alone");
    node.quiet().await;
    assert_eq!(applied(&site), IMPORT);
    figure(&format!("a live post: {alone:?} alone, {beside:?} beside an import (medians)"));
}

fn median(times: &[Duration]) -> Duration {
    times[times.len() / 2]
}

/// Sends posts one at a time and returns the times from sending to the write, shortest first.
async fn live_times(url: &str, site: &Site, posts: RangeInclusive<u64>) -> Vec<Duration> {
    let mut times = Vec::new();
    for post in posts {
        let began = Instant::now();
        send(url, post..=post, 1).await;
        let written = loop {
            let id = post.to_string();
            let history = site.history();
            if let Some(arrival) = history.iter().find(|arrival| arrival.external_id == id) {
                break arrival.at;
            }
            assert!(began.elapsed() < crate::support::PATIENCE, "post {post} is never written");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        times.push(written.duration_since(began));
    }
    times.sort_unstable();
    times
}
