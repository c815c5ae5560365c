//! What taking a webhook in costs: HTTP, signature, fields, durable append, 202.
//!
//! The node may work on one post at a time, and the AI service does not answer: so after the
//! first event nothing runs but the ingress. `cargo bench --bench ingress -- [--events N]
//! [--per-second N] [--log embedded|nats://…]`; without a pace it sends as fast as 32 senders can.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench talks and stops at trouble")]
#![expect(dead_code, reason = "the stand-ins are the tests', which use more of them")]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::ai::Ai;
use support::node::{Node, Parts, SECRET};
use support::sender::{Sender, update};
use support::site::Site;

const SENDERS: u64 = 32;

fn main() {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(run());
}

fn option(name: &str) -> Option<String> {
    let mut words = std::env::args().skip_while(|word| word != name);
    words.nth(1)
}

async fn run() {
    let events: u64 = option("--events").map_or(20_000, |text| text.parse().unwrap());
    let pace: Option<u64> = option("--per-second").map(|text| text.parse().unwrap());
    let log = option("--log").unwrap_or_else(|| "embedded".to_owned());
    let ai = Ai::start(0, Duration::from_secs(3_600), 1).await;
    let site = Site::start(0, 1).await;
    let site_table = format!(
        "url = \"{}\"\nuser = \"u\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"",
        site.url
    );
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\nmodel = \"m\"",
        ai.base_url
    );
    let parts = Parts { log: &log, site: &site_table, provider: &provider, route: "" };
    let mut node = Node::new(&parts)
        .with_env("COPYDESK_LIMITS_POSTS_BUSY_MAX", "1")
        .with_env("COPYDESK_HTTP_BACKLOG_MAX", "10000000");
    let url = format!("{}/webhooks/news", node.start().await);

    let before = node.usage();
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..SENDERS)
        .map(|_| tokio::spawn(send_share(url.clone(), Arc::clone(&next), events, pace, began)))
        .collect();
    let mut times: Vec<Duration> = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let took = began.elapsed().as_secs_f64();
    let used = node.usage().cpu - before.cpu;
    times.sort_unstable();
    let count = times.len() as f64;
    let ms = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!("{count} webhooks, log {log}: {:.0}/s", count / took);
    println!("node: {:.0} µs CPU per webhook", used.as_secs_f64() * 1e6 / count);
    println!("202 after p50 {:.2} ms, p99 {:.2} ms", ms(50), ms(99));
    node.kill();
}

async fn send_share(
    url: String,
    next: Arc<AtomicU64>,
    events: u64,
    pace: Option<u64>,
    began: Instant,
) -> Vec<Duration> {
    let sender = Sender::new(SECRET);
    let mut times = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= events {
            return times;
        }
        if let Some(pace) = pace {
            let due = began + Duration::from_micros(number * 1_000_000 / pace);
            tokio::time::sleep_until(due.into()).await;
        }
        let body = update(number + 1, 1, &format!("key-{number}"));
        let start = Instant::now();
        let answer = sender.send(&url, &body).await;
        assert_eq!(answer.map(|a| a.0), Some(202));
        times.push(start.elapsed());
    }
}
