//! A real WordPress, the real program and both logs: what is published arrives enriched, once per
//! change, a person's words stay, and a thousand updates on a bad day give the same zeros.

mod plugin;
pub(crate) mod site;
mod trace;
mod ways_in;

use std::time::Duration;

use copydesk_eventlog::testing::NatsServer;
use serde_json::Value;

use self::site::WordPress;
use crate::pipeline::{POSTS, Run, UPDATES, all_is_well, drive};
use crate::support::ai::Ai;
use crate::support::node::Node;
use crate::support::site::Outcome;
use crate::support::{eventually, mark, now_ms};

/// Of a hundred ingest requests so many are refused before, and as many lose their answer after
/// the write.
const FAILING_PERCENT: u32 = 10;

const FIRST: [&str; 6] = [
    "The city council of Lindau voted on Tuesday to rebuild the old harbour bridge.",
    "The bridge has been closed to lorries since an inspection found cracks in two of its piers.",
    "Work is to begin in March and to cost eleven million euros, half of it paid by the state.",
    "Shopkeepers on the island had feared that a closed bridge would keep summer visitors away.",
    "A ferry for pedestrians will therefore run every ten minutes while the bridge is rebuilt.",
    "The council expects the new bridge to carry its first lorries two years from now.",
];

const SECOND: [&str; 6] = [
    "A court in Bregenz stopped the plans for the new concert hall on Friday.",
    "Neighbours had complained that the hall would stand eight metres closer than the law permits.",
    "The judges found that the town never measured the distance before it granted the permit.",
    "The orchestra must now play another three winters in the gymnasium of the old school.",
    "Its director called the ruling a disaster for music along the whole shore of the lake.",
    "The town wants to draw new plans and to ask the neighbours before it applies again.",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_post_arrives_enriched_on_the_embedded_log() {
    a_post_arrives_enriched("embedded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_arrives_enriched_on_jetstream() {
    let nats = NatsServer::start();
    a_post_arrives_enriched(&nats.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_excerpt_is_kept_on_the_embedded_log() {
    a_persons_excerpt_is_kept("embedded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_excerpt_is_kept_on_jetstream() {
    let nats = NatsServer::start();
    a_persons_excerpt_is_kept(&nats.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_updates_arrive_on_the_embedded_log() {
    a_thousand_updates_arrive("embedded", 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_updates_arrive_on_jetstream() {
    let nats = NatsServer::start();
    a_thousand_updates_arrive(&nats.url(), 12).await;
}

/// Published, then changed: one enrichment each, and our own writes' webhooks end there.
async fn a_post_arrives_enriched(log: &str) {
    let wordpress = WordPress::alone().await;
    let mut node = wordpress.node(log, "core", "");
    wordpress.relay_to(&format!("{}/webhooks/news", node.start().await));

    let post = wordpress.publish(&FIRST.join(" "), "");
    summary_is_of(&wordpress, post, &FIRST).await;
    wordpress.settled(&node, post, 2).await;

    wordpress.update(post, &SECOND.join(" "));
    summary_is_of(&wordpress, post, &SECOND).await;
    wordpress.settled(&node, post, 4).await;

    let relayed = wordpress.relayed(post);
    let events: Vec<_> = relayed.iter().map(|(event, _)| event.as_str()).collect();
    let echoed = ["post.published", "post.updated", "post.updated", "post.updated"];
    assert_eq!(events, echoed, "a change and its echo, twice");
    assert!(relayed.iter().all(|(_, status)| *status == 202), "{relayed:?}");
    assert_eq!(states(&node, post).await, ["applied", "unchanged", "applied", "unchanged"]);
    assert_eq!(lines(&node, post, "answered").await, 2, "one enrichment per change");
    assert_eq!(lines(&node, post, "written").await, 2, "one write per change");
    assert!(node.stop().success());
}

/// A person's excerpt stands, at the first publishing and after a change of the text.
async fn a_persons_excerpt_is_kept(log: &str) {
    const BY_HAND: &str = "Read what the council has decided, by our own reporter.";
    let wordpress = WordPress::alone().await;
    let mut node = wordpress.node(log, "core", "");
    wordpress.relay_to(&format!("{}/webhooks/news", node.start().await));

    let post = wordpress.publish(&FIRST.join(" "), BY_HAND);
    wordpress.settled(&node, post, 1).await;
    assert_eq!(wordpress.excerpt(post), BY_HAND);
    wordpress.update(post, &SECOND.join(" "));
    wordpress.settled(&node, post, 2).await;
    assert_eq!(wordpress.excerpt(post), BY_HAND);
    assert_eq!(states(&node, post).await, ["kept", "kept"]);
    assert!(node.stop().success());
}

/// 200 posts × 5 updates, 16 senders, duplicates, forgeries, and a site that fails before or after
/// the write.
async fn a_thousand_updates_arrive(log: &str, seed: u64) {
    let wordpress = WordPress::alone().await;
    wordpress.ingest_fails(FAILING_PERCENT);
    let ai = Ai::start(0, Duration::from_millis(5), seed).await;
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\n\
         model = \"m\"\nconcurrency = 64",
        ai.base_url
    );
    let mut node = wordpress.node(log, "ingest", &provider);
    // No two runs are of the same millisecond.
    let run = Run { log, seed, after_post: u64::try_from(now_ms()).unwrap(), ..Run::default() };
    let posts = run.after_post + 1..=run.after_post + POSTS;

    let sent = drive(&mut node, &run).await;
    node.quiet().await;

    let history = wordpress.ingested(posts.clone()).await;
    let failures = history.iter().filter(|arrival| arrival.outcome == Outcome::Failed).count();
    let repeats = history.iter().filter(|arrival| arrival.outcome == Outcome::Already).count();
    assert!(failures > 0 && repeats > 0, "no bad day: {failures} failures, {repeats} repeats");
    all_is_well(&mut node, &sent, &history, &ai).await;
    let stands = wordpress.stands(posts.clone());
    for post in posts {
        assert_eq!(stands.get(&post), Some(&mark(post, UPDATES)), "what stands in WordPress");
    }
}

/// `curl -X POST --data "ID=…"`: whatever state the post is in, it is read and its route run; five
/// triggers in a row are one run.
async fn a_trigger_has_the_post_read(log: &str) {
    const TOKEN: &str = "a-token-of-thirty-two-bytes-12345";
    const MORE: &str = r#"
[sources.sync]
scheme = "token"
secrets = [{ id = "k1", value = "env:SYNC_TOKEN" }]
site = "news"
body = "form"
trigger = true
path = "/hooks/5f1d0c9a7be24c3f"
[[routes]]
source = "sync"
events = ["post.sync"]
enrich = ["summary"]
quiet = "500ms"
max_wait = "5s"
"#;
    let wordpress = WordPress::alone().await;
    let mut node = wordpress.node_with(log, "core", "", MORE).with_env("SYNC_TOKEN", TOKEN);
    let url = format!("{}/hooks/5f1d0c9a7be24c3f", node.start().await);
    let trigger = async |token: &str, body: String| {
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST"]);
        curl.args(["-H", &format!("X-Copydesk-Token: {token}"), "--data", &body, &url]);
        String::from_utf8(curl.output().await.unwrap().stdout).unwrap()
    };
    for status in ["draft", "future", "publish"] {
        let post = wordpress.insert(status, &FIRST.join(" "), "");
        assert_eq!(trigger("not-the-token-not-the-token", format!("ID={post}")).await, "401");
        for _ in 0..5 {
            assert_eq!(trigger(TOKEN, format!("ID={post}")).await, "202");
        }
        summary_is_of(&wordpress, post, &FIRST).await;
        node.quiet().await;
        let mut ended = states(&node, post).await;
        ended.sort();
        assert_eq!(
            ended.iter().filter(|state| *state == "applied").count(),
            1,
            "{status}: {ended:?}"
        );
        assert_eq!(lines(&node, post, "answered").await, 1, "{status}: asked once");
        let superseded = ended.iter().filter(|state| *state == "superseded").count();
        assert!(superseded >= 3, "{status}: the triggers became one run: {ended:?}");
    }
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_has_the_post_read_on_the_embedded_log() {
    a_trigger_has_the_post_read("embedded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_has_the_post_read_on_jetstream() {
    let nats = NatsServer::start();
    a_trigger_has_the_post_read(&nats.url()).await;
}

/// Waits until the excerpt consists of sentences of this text, and of nothing else.
async fn summary_is_of(wordpress: &WordPress, post: u64, sentences: &[&str]) {
    eventually("the excerpt is a summary of the text", async || {
        let excerpt = wordpress.excerpt(post);
        let used: Vec<_> = sentences.iter().filter(|s| excerpt.contains(**s)).copied().collect();
        (!used.is_empty() && used.join(" ") == excerpt).then_some(())
    })
    .await;
}

/// How the post's events ended, oldest first.
async fn states(node: &Node, post: u64) -> Vec<String> {
    let rows = node.get(&format!("/events?post=news/{post}&limit=100")).await;
    let state = |row: &Value| row["state"].as_str().unwrap().to_owned();
    rows["rows"].as_array().unwrap().iter().rev().map(state).collect()
}

/// Lines of a kind in the post's journey.
async fn lines(node: &Node, post: u64, kind: &str) -> usize {
    let view = node.get(&format!("/posts/news/{post}")).await;
    view["journey"].as_array().unwrap().iter().filter(|line| line["kind"] == kind).count()
}
