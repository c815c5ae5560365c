//! Subscribers of the real program: the receiver of `docs/subscribers.md`, which verifies with the
//! official library, a node that dies at every place where a notice is on its way, and two nodes of
//! which one is killed; `sinks`: the same notices in files and messages; `added`: a subscriber's life
//! from the command line.

mod added;
mod sinks;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use copydesk_eventlog::testing::NatsServer;
use serde_json::Value;

use crate::crash::ABORTED;
use crate::support::eventually;
use crate::support::node::{Node, Parts, SECRET};
use crate::support::sender::{Sender, update};
use crate::support::site::Site;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The receiver of the documents, on a port of its own.
struct Receiver {
    child: Child,
    port: u16,
    /// `webhook-id` and body of what was verified, as it came.
    came: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The only Python of the document.
fn receiver_of_the_document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/subscribers.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, after) = text.split_once("```python\n").unwrap();
    after.split("```").next().unwrap().to_owned()
}

impl Receiver {
    fn start(key: &str) -> Self {
        let library = std::env::var_os("COPYDESK_STANDARDWEBHOOKS")
            .expect("COPYDESK_STANDARDWEBHOOKS: scripts/lib/standardwebhooks-install.sh prints it");
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", library);
        command.args(["-c", &receiver_of_the_document()]);
        command.env("CRM_SECRET", key).env("PORT", "0").stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let port = first.rsplit(' ').next().unwrap().parse().unwrap();
        let came = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&came);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let (id, body) = line.split_once(' ').unwrap();
                list.lock().unwrap().push((id.to_owned(), serde_json::from_str(body).unwrap()));
            }
        });
        Self { child, port, came }
    }

    fn came(&self) -> Vec<(String, Value)> {
        self.came.lock().unwrap().clone()
    }
}

/// A node for this site, with more tables.
fn node_with(log: &str, site: &Site, more: &str) -> Node {
    let table = format!(
        "url = \"{}\"\nuser = \"copydesk\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"\nconcurrency = 16",
        site.url
    );
    Node::new(&Parts { log, site: &table, provider: "", route: more })
}

fn node_telling(log: &str, site: &Site, port: u16) -> Node {
    let more = format!(
        "[subscribers.crm]\nurl = \"http://127.0.0.1:{port}/\"\n\
         secrets = [{{ id = \"k2\", value = \"env:NEW_KEY\" }}, {{ id = \"k1\", value = \"env:CRM_SECRET\" }}]"
    );
    let node = node_with(log, site, &more).with_env("CRM_SECRET", KEY);
    node.with_env("NEW_KEY", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
}

async fn send(url: &str, post: u64, version: u64) -> bool {
    let body = update(post, version, &format!("post-{post}-{version}"));
    let answer = Sender::new(SECRET).send(&format!("{url}/webhooks/news"), &body).await;
    answer.is_some_and(|(status, _)| status == 202)
}

/// Post and sequence of the events that ended by a run of their own.
async fn ended(node: &Node) -> BTreeSet<(String, u64)> {
    let mut ended = BTreeSet::new();
    let rows = node.get("/posts?limit=200").await;
    for row in rows["rows"].as_array().unwrap() {
        let post = row["post"].as_str().unwrap();
        let journey = node.get(&format!("/posts/{post}")).await;
        let lines = journey["journey"].as_array().unwrap().clone();
        for line in lines {
            if line["kind"] == "telling" {
                ended.insert((post.to_owned(), line["position"].as_u64().unwrap()));
            }
        }
    }
    ended
}

/// What was tried and how it ended, of all notices.
async fn stuck(node: &Node, posts: u64) -> String {
    let mut all = String::new();
    for post in 1..=posts {
        let attempts = node.get(&format!("/posts/news/to-crm-{post}/attempts")).await;
        let journey = node.get(&format!("/posts/news/to-crm-{post}")).await;
        all = format!("{all}\n{attempts}\n{journey}");
    }
    all
}

/// All of them were under way when the node died, so none waits for minutes.
const PATIENCE: Duration = Duration::from_secs(60);

const PLACES: [&str; 6] = [
    "notice.appending",
    "notice.appended",
    "notice.sending",
    "notice.answered",
    "sequencer.appended",
    "effect.answered",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_official_library_verifies_and_no_death_loses_a_notice() {
    no_death_loses_a_notice("embedded", &[1, 4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_death_loses_a_notice_on_jetstream() {
    let server = NatsServer::start();
    no_death_loses_a_notice(&server.url(), &[2]).await;
}

/// Every run's end reaches a subscriber that verifies with the official library, whenever the node
/// dies: at least once, under one id, and the first time in the order of the post's ends.
async fn no_death_loses_a_notice(log: &str, passings: &[u32]) {
    let site = Site::start(0, 31).await;
    let receiver = Receiver::start(KEY);
    let mut node = node_telling(log, &site, receiver.port);
    let (mut version, posts) = (0, 6);
    for place in PLACES {
        for passing in passings {
            node.set_env("EVENTLOG_CRASH_AT", &format!("{place}:{passing}"));
            let status = match node.try_start().await {
                Ok(url) => {
                    version += 1;
                    for post in 1..=posts {
                        send(&url, post, version).await;
                    }
                    node.dies().await
                }
                Err(status) => status,
            };
            assert_eq!(status.signal(), Some(ABORTED), "{place}:{passing}: {status}");
        }
    }
    node.set_env("EVENTLOG_CRASH_AT", "");
    let mut url = node.start().await;
    for _ in 0..3 {
        version += 1;
        for post in 1..=posts {
            send(&url, post, version).await;
        }
        node.kill();
        url = node.start().await;
    }
    version += 1;
    for post in 1..=posts {
        assert!(send(&url, post, version).await);
    }
    node.quiet().await;
    all_is_told(&node, &receiver, posts, version).await;
}

/// What was owed has come: each notice at least once, and of each post the first time in order, up
/// to its newest version.
async fn all_is_told(node: &Node, receiver: &Receiver, posts: u64, version: u64) {
    let owed = ended(node).await;
    assert!(owed.len() > 20, "{owed:?}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ids: BTreeSet<String> = receiver.came().into_iter().map(|(id, _)| id).collect();
        if ids.len() >= owed.len() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{} of {}: {}",
            ids.len(),
            owed.len(),
            stuck(node, posts).await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.quiet().await;
    let of = first_times(receiver.came());
    for (post, told) in &of {
        assert!(told.is_sorted() && told.last() == Some(&version), "post {post}: {told:?}");
    }
    assert_eq!(of.values().map(Vec::len).sum::<usize>(), owed.len(), "each once, by its id");
    let report: Value = serde_json::from_slice(&node.run(&["verify", "--json"]).stdout).unwrap();
    assert_eq!(report["violations"], serde_json::json!([]));
}

/// The sequences that each post's notices tell of, in the order in which their ids came first.
fn first_times(came: Vec<(String, Value)>) -> BTreeMap<String, Vec<u64>> {
    let (mut known, mut of) = (BTreeSet::new(), BTreeMap::<_, Vec<u64>>::new());
    for (id, body) in came {
        if known.insert(id) {
            let data = &body["data"];
            let post = data["post"].as_str().unwrap().to_owned();
            of.entry(post).or_default().push(data["sequence"].as_u64().unwrap());
        }
    }
    of
}

/// Two nodes on one log; one dies with notices under way, and the other hands them over.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_leaves_its_notices_to_the_other() {
    let (site, server) = (Site::start(0, 32).await, NatsServer::start());
    let receiver = Receiver::start(KEY);
    let mut nodes = Vec::new();
    for number in 0..2 {
        let mut node = node_telling(&server.url(), &site, receiver.port);
        node.configure(|text| {
            text.replace("[sites.news]", &format!("[cluster]\nnode = \"n{number}\"\n[sites.news]"))
        });
        let url = node.start().await;
        nodes.push((node, url));
    }
    shared_by(&nodes[1].0, 2).await;
    let (posts, mut version) = (12, 0);
    for death in 0..3 {
        for _ in 0..3 {
            version += 1;
            for post in 1..=posts {
                let number = usize::try_from(post + version).unwrap() % 2;
                assert!(send(&nodes[number].1, post, version).await);
            }
        }
        if death < 2 {
            nodes[death].0.kill();
            nodes[death].1 = nodes[death].0.start().await;
        }
    }
    nodes[0].0.kill();
    let left = &nodes[1].0;
    shared_by(left, 1).await;
    left.quiet().await;
    // By the log: what this node has not read yet is no backlog of it.
    let all = usize::try_from(posts * version).unwrap();
    eventually("every event has ended", async || (ended(left).await.len() == all).then_some(()))
        .await;
    all_is_told(left, &receiver, posts, version).await;
}

/// Waits until so many nodes hold all partitions.
async fn shared_by(node: &Node, count: usize) {
    eventually("the partitions are shared", async || {
        let rows = node.get("/nodes").await["rows"].as_array().unwrap().clone();
        let held = rows.iter().map(|row| row["partitions"].as_array().unwrap().len());
        let working = held.clone().filter(|held| *held > 0).count();
        (working == count && held.sum::<usize>() == 64).then_some(())
    })
    .await;
}
