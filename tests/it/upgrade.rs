//! From one release to the next, with work unfinished. `proto/fixtures/first-log.tar.gz` is the log
//! folder that commit eec38d2 left when it was killed (132 records of 20 posts: ended, between two
//! tries of a write or of an AI call, just taken in); it is never made anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use copydesk_actors::records::Subjects;
use copydesk_eventlog::embedded::Settings;
use copydesk_eventlog::testing::NatsServer;
use copydesk_eventlog::{
    EmbeddedLog, EventLog, Filter, JetStreamLog, NewRecord, Record, Sequence, jetstream,
};
use copydesk_proto::{SCHEMA_VERSION, v1};

use crate::pipeline::{
    newest_stands_and_order_holds, node_between, nothing_is_doubled, open_events, the_log_is_clean,
};
use crate::support::ai::Ai;
use crate::support::load::Sent;
use crate::support::node::Node;
use crate::support::site::Site;

/// The newest versions that the old release accepted of posts that it did not finish.
fn unfinished() -> BTreeMap<u64, u64> {
    (1..=6).map(|post| (post, 3)).chain((9..=20).map(|post| (post, 1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_folder_of_the_first_release_goes_on() {
    let (ai, site) = (Ai::start(0, Duration::ZERO, 1).await, Site::start(0, 1).await);
    let node = node_between("embedded", &site, &ai);
    unpack(&node.data_dir());
    goes_on(node, &site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_the_first_release_goes_on() {
    let nats = NatsServer::start();
    let (ai, site) = (Ai::start(0, Duration::ZERO, 1).await, Site::start(0, 1).await);
    let folder = tempfile::tempdir().unwrap();
    unpack(folder.path());
    let records = records(folder.path()).await;
    let stream = JetStreamLog::connect(jetstream::Settings::new(&nats.url())).await.unwrap();
    for record in records {
        let stored = stream.append(again(&record)).await.unwrap().sequence();
        assert_eq!(stored, record.sequence, "decisions name webhooks by their places");
    }
    stream.close().await;
    goes_on(node_between(&nats.url(), &site, &ai), &site).await;
}

/// Finishes what was unfinished and nothing else; every promise is kept over both releases.
async fn goes_on(mut node: Node, site: &Site) {
    node.start().await;
    node.quiet().await;
    let events = node.get("/events?limit=200").await;
    let rows = events["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 34, "all that the old release accepted");
    let accepted = rows.iter().map(|row| row["event_id"].as_str().unwrap().to_owned()).collect();
    let sent = Sent { accepted, newest: unfinished(), ..Sent::default() };
    assert_eq!(open_events(&node, &sent).await, [""; 0], "events without an end");
    let history = site.history();
    newest_stands_and_order_holds(&sent, &history);
    nothing_is_doubled(&history);
    let written = |post: &str| history.iter().any(|arrival| arrival.external_id == post);
    assert!(!written("7") && !written("8"), "what had ended is not done again");
    the_log_is_clean(&node);
    assert!(node.stop().success());
}

/// The way back: an older release refuses a log with records that it does not know, says so, and
/// leaves it as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_records_of_a_later_release_is_refused_and_left_as_it_is() {
    let (ai, site) = (Ai::start(0, Duration::ZERO, 1).await, Site::start(0, 1).await);
    let mut node = node_between("embedded", &site, &ai);
    unpack(&node.data_dir());
    let subject = Subjects::of(&"news/20".parse().unwrap()).decisions;
    let later = v1::Decision { schema_version: SCHEMA_VERSION + 1, ..v1::Decision::default() };
    let log = open(&node.data_dir());
    let last = log.last(&subject).await.unwrap().unwrap().sequence;
    let record = NewRecord {
        subject,
        message_id: None,
        expected_last: Some(last),
        headers: Vec::new(),
        payload: copydesk_proto::encode(&later),
    };
    log.append(record).await.unwrap();
    log.close().await;
    let before = records(&node.data_dir()).await;

    let status = node.try_start().await.unwrap_err();
    assert_eq!(status.code(), Some(78), "a restart does not help");
    let said = std::fs::read_to_string(node.log_file()).unwrap();
    assert!(said.contains("133") && said.contains("later release"), "{said}");
    assert_eq!(records(&node.data_dir()).await, before, "nothing is lost, nothing is added");
    assert_eq!(site.history().len(), 0, "nothing is done");
}

fn unpack(data_dir: &Path) {
    std::fs::create_dir_all(data_dir).unwrap();
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/fixtures/first-log.tar.gz");
    let status = Command::new("tar").arg("-xzf").arg(packed).arg("-C").arg(data_dir).status();
    assert!(status.unwrap().success());
}

fn open(data_dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(&data_dir.join("log"), Settings::default()).unwrap()
}

async fn records(data_dir: &Path) -> Vec<Record> {
    let log = open(data_dir);
    let records = log.read(Sequence(0), Filter(None), 1_000).await.unwrap();
    log.close().await;
    records
}

/// The record as it was appended.
fn again(record: &Record) -> NewRecord {
    // Headers have static names; a test may leak a few.
    let name = |name: &String| -> &'static str { String::leak(name.clone()) };
    let headers = record.headers.iter().map(|(n, value)| (name(n), value.clone())).collect();
    let (subject, payload) = (record.subject.clone(), record.payload.clone());
    NewRecord { subject, message_id: None, expected_last: None, headers, payload }
}
