//! Sinks of the real program: a folder, a store (here on a disk, through the code that S3 takes) and
//! a NATS subject of a real server are told the same, in order, while the node is killed again and
//! again; replay and erasing.

use std::path::Path;

use copydesk_eventlog::testing::{ForeignStream, NatsServer};
use serde_json::{Value, json};

use super::{ended, first_times, node_with, send};
use crate::support::eventually;
use crate::support::node::Node;
use crate::support::site::Site;

const POSTS: u64 = 4;
const SUBJECT: &str = "newsroom.notices";

/// A node that tells three sinks, and what they hold.
struct Room {
    node: Node,
    sinks: tempfile::TempDir,
    bus: ForeignStream,
    // Last: they are used until the end.
    _nats: NatsServer,
    _site: Site,
}

impl Room {
    async fn new(log: &str, seed: u64) -> Self {
        let (site, nats) = (Site::start(0, seed).await, NatsServer::start());
        let bus = ForeignStream::make(&nats.url(), SUBJECT).await;
        let sinks = tempfile::tempdir().unwrap();
        let path = |name: &str| sinks.path().join(name).display().to_string();
        let more = format!(
            "[subscribers.files]\nfolder = \"{}\"\n[subscribers.lake]\nstore = {{ url = \"{}\" }}\n\
             [subscribers.bus]\nnats = {{ url = \"{}\", subject = \"{SUBJECT}\" }}",
            path("files"),
            path("lake"),
            nats.url(),
        );
        let node = node_with(log, &site, &more);
        Self { node, sinks, bus, _nats: nats, _site: site }
    }

    /// What each sink holds, in its order: id and notice.
    async fn told(&self) -> [Vec<(String, Value)>; 3] {
        let messages = self.bus.messages().await.into_iter();
        let message = |(id, trace, body): (String, Option<String>, bytes::Bytes)| {
            assert!(trace.is_some_and(|trace| trace.starts_with("00-")), "{id} has no trace");
            (id, serde_json::from_slice(&body).unwrap())
        };
        let bus = messages.map(message).collect();
        [
            lines_below(&self.sinks.path().join("files")),
            lines_below(&self.sinks.path().join("lake")),
            bus,
        ]
    }

    /// Waits until each sink has had so many notices.
    async fn have(&self, count: usize) {
        eventually("every sink has every notice", async || {
            let told = self.told().await;
            told.iter().all(|sink| ids(sink).len() >= count).then_some(())
        })
        .await;
    }
}

fn ids(told: &[(String, Value)]) -> std::collections::BTreeSet<&str> {
    told.iter().map(|(id, _)| id.as_str()).collect()
}

/// The lines of all files below a folder, in the order of their paths.
fn lines_below(folder: &Path) -> Vec<(String, Value)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut lines = Vec::new();
    for path in paths {
        if path.is_dir() {
            lines.extend(lines_below(&path));
        } else if path.extension().is_some_and(|end| end == "jsonl") {
            let text = std::fs::read_to_string(path).unwrap();
            lines.extend(text.lines().filter(|line| !line.is_empty()).map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                (line["id"].as_str().unwrap().to_owned(), line)
            }));
        }
    }
    lines
}

async fn check(log: &str, seed: u64) {
    let mut room = Room::new(log, seed).await;
    let mut url = room.node.start().await;
    let mut version = 0;
    for _ in 0..4 {
        for _ in 0..3 {
            version += 1;
            for post in 1..=POSTS {
                assert!(send(&url, post, version).await);
            }
        }
        room.node.kill();
        url = room.node.start().await;
    }
    version += 1;
    for post in 1..=POSTS {
        assert!(send(&url, post, version).await);
    }
    room.node.quiet().await;
    let owed = ended(&room.node).await.len();
    room.have(owed).await;
    room.node.quiet().await;
    for (sink, told) in ["files", "lake", "bus"].into_iter().zip(room.told().await) {
        assert_eq!(ids(&told).len(), owed, "{sink}");
        if sink == "bus" {
            assert_eq!(told.len(), owed, "a stream keeps an id once");
        }
        for (post, sequences) in first_times(told) {
            let fits = sequences.is_sorted() && sequences.last() == Some(&version);
            assert!(fits, "{sink}: post {post}: {sequences:?}");
        }
    }
    let report = room.node.json(&["verify", "--json"]);
    assert_eq!(report["violations"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sink_is_told_everything_in_order() {
    check("embedded", 41).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sink_is_told_everything_in_order_on_jetstream() {
    let server = NatsServer::start();
    check(&server.url(), 42).await;
}

/// A replay is the same notices under the same ids; of an erased post there are none to replay.
#[tokio::test(flavor = "multi_thread")]
async fn notices_are_replayed_and_those_of_an_erased_post_are_gone() {
    let mut room = Room::new("embedded", 43).await;
    let url = room.node.start().await;
    for version in 1..=2 {
        for post in 1..=POSTS {
            assert!(send(&url, post, version).await);
        }
    }
    room.node.quiet().await;
    let owed = ended(&room.node).await.len();
    room.have(owed).await;
    let before = room.told().await;
    let replay = async |name: &str| {
        let said = room.node.json(&["subscribers", "replay", name, "--hours", "1", "--json"]);
        said["notices"].as_u64().unwrap()
    };
    for name in ["files", "lake", "bus"] {
        assert_eq!(replay(name).await, owed as u64, "{name}");
    }
    room.node.quiet().await;
    eventually("files and store have the repeats", async || {
        let [files, lake, _] = room.told().await;
        (files.len() == 2 * owed && lake.len() == 2 * owed).then_some(())
    })
    .await;
    let after = room.told().await;
    for (sink, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(ids(before), ids(after), "sink {sink}: a replay has the same ids");
    }
    assert_eq!(after[2].len(), owed, "within two minutes the stream knows an id again");

    let of_the_first = before[0].iter().filter(|(_, line)| line["data"]["post"] == "1").count();
    assert!(of_the_first > 0);
    let job = ["jobs", "start", "erase", "--post", "news/1", "--reason", "a request"];
    let erased = room.node.run(&job);
    assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    assert_eq!(replay("files").await, (owed - of_the_first) as u64, "nothing of the erased post");
    room.node.quiet().await;
    let report = room.node.json(&["verify", "--json"]);
    assert_eq!(report["violations"], json!([]));
}
