use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use copydesk_core::content::FieldValue;
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_eventlog::MemoryLog;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;
use crate::desk::query::{DeadLetterGroup, PostFilter, dead_letter_groups};
use crate::enrichment::provider::{Provider, Question, Reply};
use crate::node::Node;
use crate::node::testing::{node_with, send};

const PATIENCE: Duration = Duration::from_secs(60);

/// Refuses everything, or answers at $0.000010 a call.
#[derive(Debug, Default)]
struct Moody {
    refuses: std::sync::atomic::AtomicBool,
    calls: AtomicU64,
}

impl Provider for Moody {
    fn ask<'a>(&'a self, _: &'a Question) -> BoxFuture<'a, Result<Reply, Failure>> {
        async {
            self.calls.fetch_add(1, Ordering::SeqCst);
            if self.refuses.load(Ordering::SeqCst) {
                return Err(Failure::new(FailureClass::Terminal, "no_key", "set the key"));
            }
            Ok(Reply {
                value: FieldValue::Text("A summary.".to_owned()),
                model: "m".to_owned(),
                input_tokens: 8,
                output_tokens: 2,
                cost_microdollars: 10,
                finish_reason: "stop",
            })
        }
        .boxed()
    }

    fn cost_max_microdollars(&self, _: &Question) -> u64 {
        10
    }
}

struct Room {
    node: Node,
    moody: std::sync::Arc<Moody>,
}

impl Room {
    async fn new(log: &MemoryLog, refuses: bool) -> Self {
        let moody = std::sync::Arc::new(Moody::default());
        moody.refuses.store(refuses, Ordering::SeqCst);
        let node =
            node_with(log, std::sync::Arc::clone(&moody) as std::sync::Arc<dyn Provider>).await;
        Self { node, moody }
    }

    async fn quiet(&self) {
        let world = self.node.desk.world();
        until(async || world.backlog() == 0).await;
    }

    async fn dead(&self) -> u64 {
        self.groups().await.iter().map(|group| group.letters).sum()
    }

    async fn groups(&self) -> Vec<DeadLetterGroup> {
        let log = &self.node.desk.world().log;
        dead_letter_groups(&**log, &PostFilter::default()).await.unwrap()
    }

    async fn ended(&self, job: &Job) -> Job {
        let desk = &self.node.desk;
        until(async || desk.job(&job.id).await.unwrap().unwrap().state == JobState::Done).await;
        desk.job(&job.id).await.unwrap().unwrap()
    }
}

async fn until(so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so().await {
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn count(results: &[JobResult]) -> HashMap<JobOutcome, usize> {
    results.iter().fold(HashMap::new(), |mut counts, result| {
        *counts.entry(result.outcome).or_default() += 1;
        counts
    })
}

async fn results(desk: &Desk, job: &Job) -> Vec<JobResult> {
    let (mut all, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let (page, next) = desk.job_results(&job.id, from).await.unwrap();
        all.extend(page);
        after = next;
    }
    all
}

/// 10,000 with COPYDESK_JOB_POSTS=10000, for the figures; enough to need several records here.
fn posts() -> u64 {
    std::env::var("COPYDESK_JOB_POSTS").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_retried_in_bulk_with_progress_and_results() {
    let log = MemoryLog::new();
    let room = Room::new(&log, true).await;
    for post in 1..=posts() {
        send(&room.node, post, 1).await;
    }
    room.quiet().await;
    assert_eq!(room.dead().await, posts());
    let groups = room.groups().await;
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].code.as_str(), groups[0].posts), ("no_key", posts()));

    let desk = &room.node.desk;
    let filter = JobFilter { code: Some("no_key".to_owned()), ..JobFilter::default() };
    let plan = desk.plan_job(JobVerb::Retry, &filter).await.unwrap();
    assert_eq!((plan.posts, plan.targets, plan.calls), (posts(), posts(), posts()));
    assert_eq!(plan.calls_unpriced, posts(), "nothing was ever paid for");

    room.moody.refuses.store(false, Ordering::SeqCst);
    let began = Instant::now();
    let job = desk.start_job(JobVerb::Retry, filter, "ann", "the key is set").await.unwrap();
    let job = room.ended(&job).await;
    let took = began.elapsed();
    assert_eq!((job.done, job.skipped, job.failed), (posts(), 0, 0));
    let results = results(desk, &job).await;
    assert_eq!(count(&results)[&JobOutcome::Done] as u64, posts());
    room.quiet().await;
    assert_eq!(room.dead().await, 0);
    tracing::info!(posts = posts(), ?took, "retried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_after_a_restart_and_does_nothing_twice() {
    let log = MemoryLog::new();
    let room = Room::new(&log, false).await;
    for post in 1..=200 {
        send(&room.node, post, 1).await;
    }
    room.quiet().await;
    let desk = &room.node.desk;
    let job = desk.start_job(JobVerb::ReplayForced, JobFilter::default(), "ann", "").await.unwrap();
    until(async || desk.job(&job.id).await.unwrap().unwrap().done > 0).await;
    let paused = desk.pause_job(&job.id, "ann", "wait").await.unwrap();
    assert_eq!(paused.state, JobState::Paused);
    until(async || {
        // What was at work when it was paused is written down, too.
        desk.job(&job.id).await.unwrap().unwrap().done % 50 == 0
    })
    .await;
    room.node.stop(Duration::from_secs(10)).await;

    let room = Room::new(&log.reopened(), false).await;
    let desk = &room.node.desk;
    assert_eq!(desk.job(&job.id).await.unwrap().unwrap().state, JobState::Paused);
    desk.resume_job(&job.id, "ann", "").await.unwrap();
    let job = room.ended(&job).await;
    assert_eq!(job.done + job.skipped, 200);
    room.quiet().await;
    let all = desk.costs(crate::ledger::CostFilter::default()).await.unwrap();
    let calls: u64 = all.iter().map(|(_, sums)| sums.calls).sum();
    assert_eq!(calls, 400, "each post once, and once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_unchanged_text_costs_nothing_unless_forced() {
    let log = MemoryLog::new();
    let room = Room::new(&log, false).await;
    for post in 1..=20 {
        send(&room.node, post, 1).await;
    }
    room.quiet().await;
    let desk = &room.node.desk;
    let one = JobFilter { post: Some("news/7".parse().unwrap()), ..JobFilter::default() };
    let plan = desk.plan_job(JobVerb::Replay, &one).await.unwrap();
    assert_eq!((plan.posts, plan.calls, plan.cost_microdollars), (1, 1, 10));
    let job = desk.start_job(JobVerb::Replay, JobFilter::default(), "ann", "").await.unwrap();
    assert_eq!(room.ended(&job).await.done, 20);
    room.quiet().await;
    assert_eq!(room.moody.calls.load(Ordering::SeqCst), 20);
    let job = desk.start_job(JobVerb::ReplayForced, one, "ann", "").await.unwrap();
    assert_eq!(room.ended(&job).await.done, 1);
    room.quiet().await;
    assert_eq!(room.moody.calls.load(Ordering::SeqCst), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_post_is_gone_from_the_log_and_works_on() {
    let log = MemoryLog::new();
    let room = Room::new(&log, false).await;
    send(&room.node, 1, 1).await;
    send(&room.node, 2, 1).await;
    room.quiet().await;
    let desk = &room.node.desk;
    desk.erase(&"news/1".parse().unwrap(), "ann", "a request").await.unwrap();
    let all = copydesk_eventlog::EventLog::read(
        &log,
        copydesk_eventlog::Sequence(0),
        copydesk_eventlog::Filter(None),
        1_000,
    );
    let mark = |post: u64| crate::node::testing::text_of(post, 1);
    let holds = |records: &[copydesk_eventlog::Record], words: &str| {
        records.iter().any(|record| {
            record.payload.windows(words.len()).any(|window| window == words.as_bytes())
        })
    };
    let records = all.await.unwrap();
    assert!(!holds(&records, &mark(1)), "the erased post's words");
    assert!(holds(&records, &mark(2)), "another post's words stay");
    room.quiet().await;
    send(&room.node, 1, 2).await;
    room.quiet().await;
    let report = crate::desk::verify::verify(&log, |_| {}).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authors_posts_are_found_by_what_came_in() {
    let log = MemoryLog::new();
    let room = Room::new(&log, false).await;
    for post in 1..=12 {
        send(&room.node, post, 1).await;
    }
    room.quiet().await;
    let desk = &room.node.desk;
    let by = |author: &str| JobFilter { author: Some(author.to_owned()), ..JobFilter::default() };
    let job = desk.start_job(JobVerb::Erase, by("2"), "ann", "a request").await.unwrap();
    let job = room.ended(&job).await;
    let erased = results(desk, &job).await;
    assert_eq!((job.done, erased[0].post.to_string()), (1, "news/2".to_owned()));
    assert_eq!(desk.plan_job(JobVerb::Erase, &by("2")).await.unwrap().posts, 0);
    let refused = desk.plan_job(JobVerb::Retry, &by("2")).await;
    assert!(matches!(refused, Err(JobError::Author)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_dropped_up_to_the_start_of_the_job() {
    let log = MemoryLog::new();
    let room = Room::new(&log, false).await;
    let desk = &room.node.desk;
    let scope = copydesk_core::holds::HoldScope::All;
    desk.hold(copydesk_core::holds::Hold::new(scope.clone(), "ann", "", World::now()))
        .await
        .unwrap();
    for version in 1..=3 {
        send(&room.node, 1, version).await;
    }
    let job = desk.start_job(JobVerb::DropWaiting, JobFilter::default(), "ann", "").await.unwrap();
    assert_eq!(room.ended(&job).await.done, 1);
    send(&room.node, 1, 4).await;
    desk.release(&scope, "ann", "").await.unwrap();
    room.quiet().await;
    assert_eq!(room.moody.calls.load(Ordering::SeqCst), 1, "only the one that came after");
}
