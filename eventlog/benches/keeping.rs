//! What a large embedded log costs to hold, to open, to scan and to trim.
//! `cargo bench -p copydesk-eventlog --bench keeping [RECORDS]`.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed bench")]
#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use copydesk_eventlog::embedded::Settings;
use copydesk_eventlog::{
    EmbeddedLog, EventLog, Filter, MessageId, NewRecord, Sequence, SledSnapshots, Snapshot,
    SnapshotStore, Subject,
};
use futures::StreamExt;
use tempfile::TempDir;

/// Posts; each has an `.in` and an `.ev` subject.
const POSTS: usize = 100_000;

/// Each step is a process of its own, so that its memory is what the step needs.
const STEPS: [&str; 5] = ["fill", "use", "trim", "verify", "snapshots"];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let first = arguments.next().unwrap_or_else(|| "1000000".to_owned());
    if STEPS.contains(&first.as_str()) {
        let folder = PathBuf::from(arguments.next().unwrap());
        return step(&first, &folder, arguments.next().unwrap().parse().unwrap());
    }
    let folder = TempDir::new().unwrap();
    for step in STEPS {
        println!("{step}");
        let mut command = Command::new(std::env::current_exe().unwrap());
        let status = command.arg(step).arg(folder.path()).arg(&first).status().unwrap();
        assert!(status.success(), "{status}");
    }
}

#[tokio::main(worker_threads = 2)]
async fn step(step: &str, folder: &Path, records: usize) {
    if step == "snapshots" {
        return snapshots(&folder.join("snapshots"));
    }
    let log = open(folder);
    match step {
        "fill" => fill(&log, records).await,
        "use" => {
            scan(&log, None).await;
            scan(&log, Some("cd.*.*.*.ev")).await;
            read(&log).await;
            look(&log, records).await;
        }
        "trim" => trim(&log, records).await,
        _ => {
            scan(&log, Some("cd.*.*.*.ev")).await;
            read(&log).await;
            let start = Instant::now();
            let verified = log.verify(|_| {}).await.unwrap();
            say(&format!("verify {verified:?}"), start, records);
        }
    }
    let start = Instant::now();
    log.close().await;
    say("close", start, 1);
}

async fn fill(log: &EmbeddedLog, records: usize) {
    let start = Instant::now();
    for part in (0..records).step_by(1000) {
        let appends = (part..part + 1000).map(|n| log.append(record(n)));
        for answer in futures::future::join_all(appends).await {
            answer.unwrap();
        }
    }
    say(&format!("append {records} records of 1 KB, {} subjects", 2 * POSTS), start, records);
}

async fn trim(log: &EmbeddedLog, records: usize) {
    let start = Instant::now();
    for n in 0..2 * POSTS {
        log.trim(&record(n).subject, Sequence(records as u64 / 2)).await.unwrap();
    }
    say("trim every subject's first half", start, 2 * POSTS);
}

fn snapshots(folder: &Path) {
    const COUNT: u64 = 20_000;
    let store = SledSnapshots::open(folder).unwrap();
    let key = |n: u64| format!("post-{n}").into_bytes();
    let start = Instant::now();
    for n in 0..COUNT {
        let bytes = Bytes::from(n.to_string().repeat(4096 / n.to_string().len()));
        store.put(&key(n), &Snapshot { sequence: Sequence(n), bytes });
    }
    say(&format!("put {COUNT} snapshots of 4 KB"), start, 20_000);
    let start = Instant::now();
    for n in 0..COUNT {
        assert!(store.get(&key(n * 7919 % COUNT)).is_some());
    }
    say(&format!("get them, {} MB on disk", store.size_bytes() / 1_000_000), start, 20_000);
    let start = Instant::now();
    store.flush();
    say("flush", start, 1);
}

fn open(folder: &Path) -> EmbeddedLog {
    let start = Instant::now();
    let log = EmbeddedLog::open(folder, Settings::default()).unwrap();
    say("open", start, 1);
    log
}

fn record(n: usize) -> NewRecord {
    let (post, kind) = (n / 2 % POSTS, if n.is_multiple_of(2) { "in" } else { "ev" });
    let text = format!("{{\"id\":{n},\"title\":\"post {}\",\"text\":\"{:x}\"}}", n * 31, n * 7919);
    NewRecord {
        subject: Subject::new(&format!("cd.{}.news.{post}.{kind}", post % 64)).unwrap(),
        message_id: (kind == "in").then(|| MessageId((n as u128 + 1).to_be_bytes())),
        expected_last: None,
        headers: vec![("ce-id", format!("e-{n}"))],
        payload: Bytes::from(text.repeat(1024 / text.len() + 1)).slice(..1024),
    }
}

async fn scan(log: &EmbeddedLog, last: Option<&'static str>) {
    let start = Instant::now();
    let found =
        log.last_per_subject(Filter(last)).fold(0, |n, r| async move { n + r.map(|_| 1).unwrap() });
    let found = found.await;
    say(&format!("last record of {found} subjects ({})", last.unwrap_or("all")), start, found);
}

async fn read(log: &EmbeddedLog) {
    let (start, mut after, mut count) = (Instant::now(), Sequence(0), 0);
    loop {
        let page = log.read(after, Filter(None), 1000).await.unwrap();
        let Some(newest) = page.last() else { break };
        (after, count) = (newest.sequence, count + page.len());
    }
    say(&format!("read {count} records"), start, count);
}

async fn look(log: &EmbeddedLog, records: usize) {
    let start = Instant::now();
    for n in 0..2000 {
        let found = log.history(&record(n * 97 % records).subject, Sequence(0), 100).await.unwrap();
        assert!(!found.is_empty());
    }
    say("2000 histories", start, 2000);
    let start = Instant::now();
    for n in 0..2000 {
        assert!(log.last(&record(n * 89 % records).subject).await.unwrap().is_some());
    }
    say("2000 last records", start, 2000);
}

fn say(what: &str, start: Instant, count: usize) {
    let took = start.elapsed();
    let each = took.as_secs_f64() * 1e6 / count.max(1) as f64;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let rss: u64 = rss.split_whitespace().next().unwrap().parse().unwrap();
    println!(
        "{:>9.0} ms {each:>9.2} us each {:>5} MB  {what}",
        took.as_secs_f64() * 1e3,
        rss / 1024
    );
}
