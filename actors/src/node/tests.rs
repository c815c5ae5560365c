//! A whole node in one process, on a log in memory that fails on demand. The events carry their
//! text and the results are suggestions, so that no site is needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::holds::{Hold, HoldScope};
use copydesk_eventlog::{AppendFault, EventLog, MemoryLog, Sequence, Subject};
use copydesk_proto::{ProviderId, Timestamp, v1};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt};

use super::Node;
use super::testing::{send, settings};
use crate::archive::Archive;
use crate::bucket::Bucket;
use crate::desk::query::{EventFilter, events};
use crate::desk::verify::verify;
use crate::enrichment::provider::{Provider, Question, Reply};
use crate::enrichment::{EnrichmentArguments, RATE_LIMITED};
use crate::ledger::COSTS_SUBJECT;
use crate::records::Subjects;
use crate::{World, retention};

/// Waits until so many events have ended; returns their states, oldest first.
async fn ended(log: &MemoryLog, count: usize) -> Vec<&'static str> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let rows = events(log, &EventFilter::default(), 1_000).await.unwrap().rows;
        let open = ["unconsidered", "accepted", "working", "waiting"];
        let mut states: Vec<&'static str> = rows.iter().map(|row| row.state).collect();
        if states.len() == count && !states.iter().any(|state| open.contains(state)) {
            states.reverse();
            return states;
        }
        assert!(Instant::now() < deadline, "still open: {states:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until no post is busy.
async fn at_rest(node: &Node) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while node.desk.status().await.unwrap().busy > 0 {
        assert!(Instant::now() < deadline, "a post is still busy");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn is_clean(log: &MemoryLog) {
    let report = verify(log, |_| {}).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_end_in_order_while_the_log_loses_answers() {
    let log = MemoryLog::new();
    let node = Node::start(settings(&log)).await.unwrap();
    for version in 1..=3 {
        for post in 1..=8 {
            let fault = [AppendFault::UnknownStored, AppendFault::UnknownNotStored];
            log.faults().next_append(fault[usize::try_from(post % 2).unwrap()]);
            send(&node, post, version).await;
        }
    }
    let states = ended(&log, 24).await;
    assert!(states.iter().all(|state| ["suggested", "superseded"].contains(state)), "{states:?}");
    is_clean(&log).await;
    assert!(node.stop(Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_that_come_one_after_the_other_share_a_sequencer() {
    let log = MemoryLog::new();
    let node = Node::start(settings(&log)).await.unwrap();
    let mut sent = 0;
    for version in 1..=2 {
        for post in 1..=4 {
            send(&node, post, version).await;
            sent += 1;
            assert_eq!(ended(&log, sent).await, vec!["suggested"; sent]);
            at_rest(&node).await;
        }
    }
    assert_eq!(node.desk.status().await.unwrap().idle, 1);
    is_clean(&log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_leaves_no_decision_out_of_the_books() {
    let log = MemoryLog::new();
    let node = Node::start(settings(&log)).await.unwrap();
    send(&node, 1, 1).await;
    assert_eq!(ended(&log, 1).await, ["suggested"]);
    assert!(node.stop(Duration::from_secs(10)).await);
    let log = log.reopened();
    let last = log.last_sequence().await.unwrap();
    let record = log.last(&Subject::new(COSTS_SUBJECT).unwrap()).await.unwrap().unwrap();
    let booked: v1::CostsBooked = copydesk_proto::decode(record.payload).unwrap();
    assert_eq!((record.sequence.0, booked.through), (last.0, last.0 - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_goes_on_where_the_first_was_dropped() {
    let log = MemoryLog::new();
    let first = Node::start(settings(&log)).await.unwrap();
    let all = Hold::new(HoldScope::All, "ann", "test", World::now());
    first.desk.hold(all).await.unwrap();
    for post in 1..=20 {
        send(&first, post, 1).await;
    }
    // Dropped without a stop: its actors and what they hold in memory are nobody's any more.
    drop(first);
    let second = Node::start(settings(&log)).await.unwrap();
    assert_eq!(second.desk.holds().len(), 1, "a hold outlives the process");
    assert!(second.desk.release(&HoldScope::All, "ann", "done").await.unwrap());
    assert_eq!(ended(&log, 20).await, ["suggested"; 20]);
    is_clean(&log).await;
}

/// Answers nothing but its failure, and counts how often it was asked.
#[derive(Debug)]
struct Away(Failure, AtomicU32);

impl Provider for Away {
    fn cost_max_microdollars(&self, _: &Question) -> u64 {
        0
    }

    fn ask<'a>(&'a self, _: &'a Question) -> BoxFuture<'a, Result<Reply, Failure>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Err(self.0.clone())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_provider_takes_over_while_one_is_not_there() {
    let main: ProviderId = "main".parse().unwrap();
    let start = async |log: &MemoryLog, code: &str, fallback: bool| {
        let mut settings = settings(log);
        let failure = Failure::new(FailureClass::Unavailable, code, "it is not there");
        let away = Arc::new(Away(failure, AtomicU32::new(0)));
        let limits = settings.providers[0].limits.clone();
        let provider: Arc<dyn Provider> = away.clone();
        settings.providers.push(EnrichmentArguments::new(main.clone(), provider, limits));
        for plan in settings.plans.values_mut() {
            plan.steps[0].provider = main.clone();
        }
        if fallback {
            settings.fallbacks.insert(main.clone(), "builtin".parse().unwrap());
        }
        (Node::start(settings).await.unwrap(), away)
    };
    let log = MemoryLog::new();
    let (node, away) = start(&log, "provider_unreachable", true).await;
    send(&node, 1, 1).await;
    assert_eq!(ended(&log, 1).await, ["suggested"]);
    assert_eq!(away.1.load(Ordering::Relaxed), 1);

    // One that only asks for patience is waited for; and without a fallback there is no other.
    for (code, fallback) in [(RATE_LIMITED, true), ("provider_unreachable", false)] {
        let log = MemoryLog::new();
        let (node, away) = start(&log, code, fallback).await;
        send(&node, 1, 1).await;
        let deadline = Instant::now() + Duration::from_secs(30);
        while away.1.load(Ordering::Relaxed) < 2 {
            assert!(Instant::now() < deadline, "it was not asked again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_history_is_trimmed_and_what_it_taught_is_kept() {
    let log = MemoryLog::new();
    let node = Node::start(settings(&log)).await.unwrap();
    send(&node, 7, 1).await;
    send(&node, 7, 2).await;
    ended(&log, 2).await;
    let post = Subjects::of(&"news/7".parse().unwrap());
    let count = async || log.history(&post.decisions, Sequence(0), 100).await.unwrap().len();
    assert!(count().await > 1);

    let long_ago = World::now().after_ms(0).0 - 1_000_000;
    assert_eq!(retention::sweep(&node.desk, Timestamp(long_ago), false).await.unwrap(), 0);
    let later = World::now().after_ms(1_000);
    assert_eq!(retention::sweep(&node.desk, later, false).await.unwrap(), 1);
    assert_eq!(count().await, 1, "only the checkpoint is left");
    assert_eq!(retention::sweep(&node.desk, later, false).await.unwrap(), 0, "and it stays");

    // The same text again, after a fresh start: known, so nothing is asked.
    drop(node);
    let node = Node::start(settings(&log)).await.unwrap();
    let before = log.last_sequence().await.unwrap();
    send(&node, 7, 2).await;
    assert!(log.last_sequence().await.unwrap() <= Sequence(before.0 + 1));
    is_clean(&log).await;
}

/// The bodies in the archive, in the order of the log, each as often as it stands there.
async fn archived(store: &dyn ObjectStore) -> Vec<serde_json::Value> {
    let files: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut lines: Vec<serde_json::Value> = Vec::new();
    for file in files {
        let bytes = store.get(&file.location).await.unwrap().bytes().await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
    }
    lines.sort_by_key(|line| line["position"].as_u64());
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_archived_as_they_came_and_before_they_are_trimmed() {
    let (log, folder) = (MemoryLog::new(), tempfile::tempdir().unwrap());
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let mut archive = Archive::new(Bucket::new(store.clone(), "desk".into()));
    archive.gather = Duration::from_millis(20);
    let start = async |log: &MemoryLog, archive: Option<Archive>| {
        let mut settings = settings(log);
        settings.archive = archive;
        Node::start(settings).await.unwrap()
    };
    // Without the archive's task nothing is archived, and so nothing goes.
    let node = start(&log, None).await;
    for post in 1..=8 {
        send(&node, post, 1).await;
    }
    ended(&log, 8).await;
    let later = Timestamp(World::now().0 + 60_000);
    assert_eq!(retention::sweep(&node.desk, later, true).await.unwrap(), 0);
    node.stop(Duration::from_secs(10)).await;

    let log = log.reopened();
    let node = start(&log, Some(archive)).await;
    send(&node, 9, 1).await;
    ended(&log, 9).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while archived(&*store).await.len() < 9 {
        assert!(Instant::now() < deadline, "not archived");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let lines = archived(&*store).await;
    let posts: Vec<&str> = lines.iter().map(|line| line["post"].as_str().unwrap()).collect();
    assert_eq!(posts, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let body: serde_json::Value = serde_json::from_str(lines[8]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["content"], super::testing::text_of(9, 1));
    let deadline = Instant::now() + Duration::from_secs(30);
    while retention::sweep(&node.desk, later, true).await.unwrap() == 0 {
        assert!(Instant::now() < deadline, "never trimmed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
