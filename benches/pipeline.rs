//! The whole pipeline on this machine: signed webhooks in, an AI call each, a write each, with
//! stand-ins for AI and WordPress in this process and the real program beside it.
//!
//! `cargo bench --bench pipeline -- [--events N] [--posts N] [--log embedded|nats://…]
//! [--ai-ms MS] [--senders N] [--per-second N] [--tracing off|on|dead|hanging]` prints events/s, the
//! program's CPU per event, its memory (once a minute, too), latencies, and how long a restart takes.
//! Without a pace it sends as fast as the senders can. `--tracing on` sends every span to a collector
//! in this process; `dead` and `hanging` are collectors as they are on bad days.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench talks and stops at trouble")]
#![expect(dead_code, reason = "the stand-ins are the tests', which use more of them")]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::ai::Ai;
use support::node::{Node, Parts, SECRET};
use support::otlp::Collector;
use support::sender::{Sender, update};
use support::site::{Outcome, Site};

struct Options {
    events: u64,
    posts: u64,
    log: String,
    ai_ms: u64,
    senders: u64,
    per_second: Option<u64>,
    tracing: String,
}

fn options() -> Options {
    let mut options = Options {
        events: 20_000,
        posts: 5_000,
        log: "embedded".to_owned(),
        ai_ms: 0,
        senders: 32,
        per_second: None,
        tracing: "off".to_owned(),
    };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word.as_str() {
            "--events" => options.events = value.parse().unwrap(),
            "--posts" => options.posts = value.parse().unwrap(),
            "--log" => options.log = value,
            "--ai-ms" => options.ai_ms = value.parse().unwrap(),
            "--senders" => options.senders = value.parse().unwrap(),
            "--per-second" => options.per_second = Some(value.parse().unwrap()),
            "--tracing" => options.tracing = value,
            other => panic!("unknown option {other}"),
        }
    }
    options
}

fn main() {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(run());
}

async fn run() {
    let options = options();
    let ai = Ai::start(0, Duration::from_millis(options.ai_ms), 1).await;
    let site = Site::start(0, 1).await;
    let site_table = format!(
        "url = \"{}\"\nuser = \"u\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"\nconcurrency = 64",
        site.url
    );
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\n\
         model = \"m\"\nconcurrency = 512",
        ai.base_url
    );
    let parts = Parts { log: &options.log, site: &site_table, provider: &provider, route: "" };
    let collector = Collector::start().await;
    let endpoint = match options.tracing.as_str() {
        "off" => String::new(),
        "on" => collector.grpc.clone(),
        // Nothing listens on port 1.
        "dead" => "http://127.0.0.1:1".to_owned(),
        "hanging" => Collector::hanging().await,
        other => panic!("unknown --tracing {other}"),
    };
    let mut node = Node::new(&parts).with_env("COPYDESK_TELEMETRY_OTLP_ENDPOINT", &endpoint);
    let url = format!("{}/webhooks/news", node.start().await);
    let before = node.usage();

    let began = Instant::now();
    let sent = tokio::select! {
        sent = send_all(&options, &url, began) => sent,
        never = print_memory(&node, began) => never,
    };
    let accepted_s = began.elapsed().as_secs_f64();
    node.quiet().await;
    let took = began.elapsed().as_secs_f64();
    let used = node.usage();

    let applied: HashMap<(String, u64), Instant> = site
        .history()
        .into_iter()
        .filter(|arrival| arrival.outcome == Outcome::Applied)
        .map(|arrival| ((arrival.external_id, arrival.version), arrival.at))
        .collect();
    let mut whole: Vec<Duration> = Vec::new();
    let mut ingress: Vec<Duration> = Vec::new();
    for (post, version, start, answered) in &sent {
        ingress.push(*answered);
        if let Some(at) = applied.get(&(post.to_string(), *version)) {
            whole.push(at.duration_since(*start));
        }
    }
    let count = |n: usize| n as f64;
    println!(
        "{} events on {} posts, log {}, AI {} ms, {} senders, tracing {}",
        options.events, options.posts, options.log, options.ai_ms, options.senders, options.tracing
    );
    println!(
        "accepted {:>8.0}/s   whole way {:>8.0}/s",
        count(sent.len()) / accepted_s,
        count(sent.len()) / took
    );
    println!("applied {} of {}; AI calls {}", applied.len(), sent.len(), ai.calls().len());
    println!(
        "node: {:.0} µs CPU per event, {:.0} MB memory at the end, {:.0} MB at its peak",
        (used.cpu - before.cpu).as_secs_f64() * 1e6 / count(sent.len()),
        used.resident_mb,
        used.peak_mb
    );
    print_percentiles("202 after", &mut ingress);
    print_percentiles("applied after", &mut whole);
    assert!(node.stop().success(), "the node ends in order");
    let spans = collector.span_count();
    println!("spans: {spans}, {:.1} an event", count(spans) / count(sent.len()));
    let began = Instant::now();
    node.start().await;
    println!(
        "started again with {} posts in {:.2} s",
        options.posts,
        began.elapsed().as_secs_f64()
    );
}

/// A line a minute, for as long as the run goes on.
async fn print_memory<T>(node: &Node, began: Instant) -> T {
    loop {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let (minutes, memory_mb) = (began.elapsed().as_secs() / 60, node.usage().resident_mb);
        println!("after {minutes:>3} min: {memory_mb:.0} MB memory");
    }
}

async fn send_all(
    options: &Options,
    url: &str,
    began: Instant,
) -> Vec<(u64, u64, Instant, Duration)> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..options.senders {
        let (next, url) = (Arc::clone(&next), url.to_owned());
        let (events, posts, pace) = (options.events, options.posts, options.per_second);
        let sender = Sender::new(SECRET);
        tasks.push(tokio::spawn(async move {
            let mut sent = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return sent;
                }
                if let Some(pace) = pace {
                    let due = began + Duration::from_secs_f64(number as f64 / pace as f64);
                    tokio::time::sleep_until(due.into()).await;
                }
                let (post, version) = (number % posts + 1, number / posts + 1);
                let mut body = update(post, version, &format!("key-{number}"));
                body["saved_at"] = support::now_ms().into();
                let start = Instant::now();
                let answer = sender.send(&url, &body).await;
                assert_eq!(answer.map(|a| a.0), Some(202));
                sent.push((post, version, start, start.elapsed()));
            }
        }));
    }
    let mut sent = Vec::new();
    for task in tasks {
        sent.extend(task.await.unwrap());
    }
    sent
}

fn print_percentiles(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len().saturating_sub(1) * share / 100);
    let ms = |time: Option<&Duration>| time.map_or(0.0, |t| t.as_secs_f64() * 1e3);
    println!("{what:<14} p50 {:>8.2} ms   p99 {:>8.2} ms", ms(at(50)), ms(at(99)));
}
