//! Nodes in one process on one log and one register in memory.

use std::time::Duration;

use copydesk_core::holds::{Hold, HoldScope};
use copydesk_core::post::IntakePosition;
use copydesk_eventlog::{
    EventLog, Filter, MemoryLog, MemoryRegister, NewRecord, Register, Sequence,
};
use copydesk_proto::{SCHEMA_VERSION, v1};
use tokio::time::Instant;

use super::*;
use crate::World;
use crate::desk::query::{EventFilter, events};
use crate::desk::verify::verify;
use crate::node::Node;
use crate::node::testing::{send, settings};
use crate::records::{DECISIONS, INTAKE, Subjects, partition_of};
use crate::sequencer::Operation;

const PATIENCE: Duration = Duration::from_secs(60);

async fn node(log: &MemoryLog, register: &MemoryRegister, name: &str) -> Node {
    let mut settings = settings(log);
    settings.cluster = Some(ClusterSettings {
        name: name.parse().unwrap(),
        register: Arc::new(register.clone()),
        release: "1.0.0".to_owned(),
    });
    Node::start(settings).await.unwrap()
}

fn held(node: &Node) -> usize {
    node.desk.world().partitions.held().len()
}

/// Looks until it is so. Returns how long that took.
async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !look().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

async fn open_events(log: &MemoryLog) -> (usize, usize) {
    let rows = events(log, &EventFilter::default(), 1_000).await.unwrap().rows;
    let open = ["unconsidered", "accepted", "working", "waiting"];
    (rows.iter().filter(|row| open.contains(&row.state)).count(), rows.len())
}

async fn is_clean(log: &MemoryLog) {
    let report = verify(log, |_| {}).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);
}

#[test]
fn what_another_node_works_on_waits_until_it_is_read_back_in_either_order() {
    let partitions = Partitions::leased();
    partitions.stored(Sequence(3));
    partitions.stored(Sequence(5));
    assert_eq!(partitions.backlog(), 2, "two are stored and not read back");
    partitions.read_back(7, Sequence(3));
    assert_eq!(partitions.backlog(), 1);
    // The reader was quicker than the answer to the append, and the idle node looked in between.
    partitions.read_back(8, Sequence(6));
    partitions.nothing_waits();
    partitions.stored(Sequence(6));
    assert_eq!(partitions.backlog(), 0, "all has been read");
}

#[test]
fn an_event_whose_append_was_never_answered_counts_while_it_waits() {
    let partitions = Partitions::all();
    partitions.looked_through(7, Sequence(2), 0, 0);
    // The sender was answered 503; the record is there all the same, and later it ends.
    partitions.read_back(7, Sequence(3));
    assert_eq!(partitions.backlog(), 1);
    partitions.add_backlog(7, -1);
    partitions.stored(Sequence(4));
    partitions.read_back(7, Sequence(4));
    assert_eq!(partitions.backlog(), 1, "the next one counts in full");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_share_out_and_a_node_that_stops_hands_over_within_a_second() {
    let (log, register) = (MemoryLog::new(), MemoryRegister::default());
    let first = node(&log, &register, "n1").await;
    assert_eq!(held(&first), 64, "alone it has all of them at once");
    let second = node(&log, &register, "n2").await;
    until("they share", async || (held(&first), held(&second)) == (32, 32)).await;
    for post in 1..=40 {
        send(&first, post, 1).await;
        send(&second, post, 2).await;
    }
    until("all is done", async || open_events(&log).await == (0, 80)).await;
    let backlogs = [&first, &second].map(|node| node.desk.world().backlog());
    assert_eq!(backlogs, [0, 0], "each counts what it works on, whoever took it in");

    let began = Instant::now();
    let other = second.desk.clone();
    first.hand_over(Duration::from_secs(10)).await;
    until("the other has all", async || other.world().partitions.held().len() == 64).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    is_clean(&log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_node_left_is_done_by_another() {
    let (log, register) = (MemoryLog::new(), MemoryRegister::default());
    let first = node(&log, &register, "n1").await;
    let second = node(&log, &register, "n2").await;
    until("they share", async || (held(&first), held(&second)) == (32, 32)).await;
    // Cut off from the register only: it must find out by itself that its time is over.
    let cluster = second.cluster.clone().unwrap();
    second.desk.world().partitions.wake.notify_one();
    cluster.phase.send_replace(Phase::Ends);
    until("its keeper has gone", async || *cluster.ended.borrow()).await;
    until("the other has all", async || held(&first) == 64).await;
    // The zombie still thinks that it holds some, for as long as its leases are good.
    for post in 1..=40 {
        send(&second, post, 1).await;
    }
    until("all is done", async || open_events(&log).await == (0, 40)).await;
    is_clean(&log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_from_the_register_a_node_stops_itself_and_goes_on_afterwards() {
    let (log, register) = (MemoryLog::new(), MemoryRegister::default());
    let only = node(&log, &register, "n1").await;
    let epochs = |node: &Node| node.desk.world().partitions.epoch(7);
    let before = epochs(&only).unwrap();
    register.set_down(true);
    let took = until("it has stopped", async || held(&only) == 0).await;
    let fence = Duration::from_millis(copydesk_core::limits::LEASE_FENCE_MS);
    assert!(took < fence + Duration::from_secs(3), "{took:?}");
    send(&only, 1, 1).await;
    assert_eq!(open_events(&log).await, (1, 1), "taken in, and left in the log");
    register.set_down(false);
    until("it goes on", async || open_events(&log).await == (0, 1)).await;
    assert!(epochs(&only).unwrap() > before, "under a new epoch");
    is_clean(&log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_decides_on_one_node_counts_on_the_other() {
    let (log, register) = (MemoryLog::new(), MemoryRegister::default());
    let first = node(&log, &register, "n1").await;
    let second = node(&log, &register, "n2").await;
    until("they share", async || (held(&first), held(&second)) == (32, 32)).await;
    first.desk.hold(Hold::new(HoldScope::All, "ann", "test", World::now())).await.unwrap();
    until("the other holds, too", async || second.desk.holds().len() == 1).await;
    for post in 1..=20 {
        send(&second, post, 1).await;
    }
    // Verbs on posts of both, asked of one: the post's own node finds them in the log.
    let up_to = IntakePosition(log.last_sequence().await.unwrap().0);
    until("all events are considered", async || {
        let rows = events(&log, &EventFilter::default(), 100).await.unwrap().rows;
        rows.iter().all(|row| row.state == "accepted" || row.state == "waiting")
    })
    .await;
    for post in 1..=20 {
        let drop =
            Operation::DropWaiting { up_to, source: None, route: None, by: "ann".to_owned() };
        first.desk.operate(format!("news/{post}").parse().unwrap(), drop).await.unwrap();
    }
    until("all is dropped", async || open_events(&log).await == (0, 20)).await;
    assert!(first.desk.release(&HoldScope::All, "ann", "done").await.unwrap());
    until("the other goes on, too", async || second.desk.holds().is_empty()).await;
    for post in 1..=20 {
        send(&first, post, 2).await;
    }
    until("all is done", async || open_events(&log).await == (0, 40)).await;
    is_clean(&log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_under_a_name_ends_the_first() {
    let (log, register) = (MemoryLog::new(), MemoryRegister::default());
    let first = node(&log, &register, "n1").await;
    let second = node(&log, &register, "n1").await;
    assert_eq!(held(&second), 64, "it need not wait: the first is dead, or will be");
    tokio::time::timeout(PATIENCE, first.failed()).await.unwrap();
    assert_eq!(held(&first), 0);
    send(&second, 1, 1).await;
    until("all is done", async || open_events(&log).await == (0, 1)).await;
    let records = log.read(Sequence(0), DECISIONS, 100).await.unwrap();
    let decisions = records.iter().map(|record| crate::records::Decision::read(record).unwrap());
    let epochs: Vec<u64> = decisions.map(|decision| decision.epoch).collect();
    assert!(epochs.iter().all(|epoch| *epoch > 0) && epochs.is_sorted(), "{epochs:?}");
}

/// What a later release might decide of a post: nobody here can read it.
async fn decide_as_a_later_release(log: &MemoryLog, post: u64) {
    let subjects = Subjects::of(&format!("news/{post}").parse().unwrap());
    let last = log.last(&subjects.decisions).await.unwrap().map_or(Sequence(0), |r| r.sequence);
    let stored = v1::Decision { schema_version: SCHEMA_VERSION + 1, ..v1::Decision::default() };
    let record = NewRecord {
        subject: subjects.decisions,
        message_id: None,
        expected_last: Some(last),
        headers: Vec::new(),
        payload: copydesk_proto::encode(&stored),
    };
    log.append(record).await.unwrap();
}

/// Half of a cluster is upgraded: what the newer nodes wrote waits for a node that can read it, and
/// nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_later_release_can_read_waits_and_keeps_no_other_partition_waiting() {
    let (log, register) = (MemoryLog::new(), MemoryRegister::default());
    decide_as_a_later_release(&log, 1).await;
    let only = node(&log, &register, "n1").await;
    assert_eq!(held(&only), 64);
    let key = |post: u64| format!("news/{post}").parse::<copydesk_proto::PostKey>().unwrap();
    let elsewhere: Vec<u64> =
        (2..40).filter(|post| partition_of(&key(*post)) != partition_of(&key(1))).collect();
    let events = elsewhere.len() + 1;
    for post in elsewhere.into_iter().chain([1]) {
        send(&only, post, 1).await;
    }
    until("the other partitions work", async || {
        open_in_the_log(&log).await == 1 && intakes(&log).await == events
    })
    .await;
    // A post of an open partition: its sequencer cannot read on, and is tried again for ever.
    decide_as_a_later_release(&log, 2).await;
    send(&only, 2, 2).await;
    send(&only, 3, 2).await;
    until("the post beside it works", async || open_in_the_log(&log).await == 2).await;
    assert_eq!(intakes(&log).await, events + 2, "all is there for the release that can read it");
}

async fn intakes(log: &MemoryLog) -> usize {
    log.read(Sequence(0), INTAKE, 1_000).await.unwrap().len()
}

/// Posts whose last event no decision of this release covers.
async fn open_in_the_log(log: &MemoryLog) -> usize {
    let mut open = std::collections::BTreeSet::new();
    for record in log.read(Sequence(0), Filter(None), 10_000).await.unwrap() {
        let Some(key) = crate::records::post_of(&record.subject) else { continue };
        if !DECISIONS.matches(&record.subject) {
            open.insert(key);
        } else if crate::records::Decision::read(&record).is_ok_and(|d| d.summary.waiting == 0) {
            open.remove(&key);
        }
    }
    open.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_of_a_later_release_is_left_alone_until_it_can_be_read() {
    let (log, register) = (MemoryLog::new(), MemoryRegister::default());
    let only = node(&log, &register, "n1").await;
    let there = register.read().await.unwrap();
    let later = v1::Roster { schema_version: SCHEMA_VERSION + 1, ..v1::Roster::default() };
    let later = copydesk_proto::encode(&later);
    let mut revision = there.revision;
    // The node renews meanwhile: its revision moves.
    until("the roster is a later release's", async || {
        match register.write(later.clone(), revision).await {
            Ok(_) => true,
            Err(_) => {
                revision = register.read().await.unwrap().revision;
                false
            }
        }
    })
    .await;
    until("it works on nothing", async || held(&only) == 0).await;
    send(&only, 1, 1).await;
    assert_eq!(open_events(&log).await, (1, 1), "taken in, and left in the log");
    let now = register.read().await.unwrap();
    assert_eq!(now.value, Some(later), "the roster is as the later release wrote it");
    register.write(there.value.unwrap(), now.revision).await.unwrap();
    until("it goes on", async || open_events(&log).await == (0, 1)).await;
    is_clean(&log).await;
}
