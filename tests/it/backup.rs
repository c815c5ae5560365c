//! `copydesk backup` and `restore`: a node goes on from the backup, and its writes are not taken for
//! those of the log it replaces. Backups are made while it runs.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::pipeline::{all_is_well, node_between, the_log_is_clean};
use crate::support::ai::Ai;
use crate::support::eventually;
use crate::support::load::{Load, Plan};
use crate::support::node::{Node, SECRET};
use crate::support::sender::{Sender, update};
use crate::support::site::{Outcome, Site};

const POSTS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_on_from_its_backup() {
    let ai = Ai::start(0, Duration::ZERO, 1).await;
    let site = Site::start(0, 1).await;
    let mut node = node_between("embedded", &site, &ai);
    let kept = node.data_dir().with_file_name("kept");
    let kept = kept.to_str().unwrap();

    send_all(&mut node, 1, 0).await;
    succeeds(&node, &["backup", kept]);
    // Accepted after the backup: lost with the old log, as docs/operations/backup.md says.
    send_all(&mut node, 1, POSTS).await;

    assert!(!node.run(&["restore", kept]).status.success(), "a log is there");
    let log = node.data_dir().join("log");
    std::fs::rename(&log, log.with_file_name("log.old")).unwrap();
    succeeds(&node, &["restore", kept]);
    let lines = succeeds(&node, &["export", kept]);
    assert_eq!(lines.lines().filter(|line| line.contains("\"webhook\"")).count(), 20);

    send_all(&mut node, 2, 0).await;
    succeeds(&node, &["verify"]);
    let history = site.history();
    let applied: Vec<_> = history.iter().filter(|a| a.outcome == Outcome::Applied).collect();
    assert_eq!(applied.len(), 3 * 20, "twenty before, twenty lost, twenty after");
    let keys: BTreeSet<_> = applied.iter().map(|arrival| &arrival.key).collect();
    assert_eq!(keys.len(), applied.len(), "a delivery id was used twice");
    let last = &applied[2 * 20..];
    assert!(last.iter().all(|arrival| arrival.number == 2 && arrival.version == 2), "{last:?}");
    let log_of = |key: &str| key.split('-').next().unwrap().parse::<u64>().unwrap();
    assert!(log_of(&last[0].key) > log_of(&applied[0].key), "a later incarnation");
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_of_a_node_under_load_hold_what_was_accepted_before_them() {
    let ai = Ai::start(2, Duration::from_millis(5), 2).await;
    let site = Site::start(2, 2).await;
    let mut node = node_between("embedded", &site, &ai);
    // What a debug build keeps up with beside the backups, so that little is left to do after them.
    let pause = Duration::from_millis(100);
    let plan = Plan { after_post: 0, posts: 20, updates: u64::MAX, pause, seed: 2 };
    let load = Load::start(node.start().await, plan);
    let file = |round: usize| node.data_dir().with_file_name(format!("kept-{round}"));
    for round in 1..=3 {
        eventually("more is written", async || (written(&site).len() >= round * 100).then_some(()))
            .await;
        let before = written(&site);
        let file = file(round);
        let kept = file.to_str().unwrap();
        tokio::task::block_in_place(|| succeeds(&node, &["backup", kept]));
        let sent: BTreeSet<(u64, u64)> =
            succeeds(&node, &["export", kept]).lines().filter_map(of_webhook).collect();
        let missing: Vec<_> = before.difference(&sent).collect();
        assert!(missing.is_empty(), "written before the backup and not in it: {missing:?}");
        let copy = tempfile::tempdir().unwrap();
        let restored = node.run_in(copy.path(), &["restore", kept]);
        let said = String::from_utf8_lossy(&restored.stderr).into_owned();
        assert!(restored.status.success(), "every promise is checked by restore: {said}");
    }
    let last = file(3);
    let sent = load.stop().await;
    node.quiet().await;
    all_is_well(&mut node, &sent, &site.history(), &ai).await;
    // A node goes on from one that was made in the middle of its work.
    let log = node.data_dir().join("log");
    std::fs::rename(&log, log.with_file_name("log.old")).unwrap();
    succeeds(&node, &["restore", last.to_str().unwrap()]);
    node.start().await;
    node.quiet().await;
    the_log_is_clean(&node);
    assert!(node.stop().success());
}

/// Posts and versions that stand at the site, or stood there.
fn written(site: &Site) -> BTreeSet<(u64, u64)> {
    let history = site.history();
    let applied = history.iter().filter(|arrival| arrival.outcome == Outcome::Applied);
    applied.map(|arrival| (arrival.external_id.parse().unwrap(), arrival.version)).collect()
}

/// The post and version of an exported webhook.
fn of_webhook(line: &str) -> Option<(u64, u64)> {
    let line: Value = serde_json::from_str(line).unwrap();
    let body: Value = serde_json::from_str(line["webhook"]["body"].as_str()?).unwrap();
    Some((body["post_id"].as_u64().unwrap(), body["sequence"].as_u64().unwrap()))
}

/// One update of each of twenty posts, to its end; then the node is stopped.
async fn send_all(node: &mut Node, version: u64, after_post: u64) {
    let url = format!("{}/webhooks/news", node.start().await);
    let sender = Sender::new(SECRET);
    for post in after_post + 1..=after_post + POSTS {
        let event = update(post, version, &format!("{post}-{version}"));
        assert_eq!(sender.send(&url, &event).await.map(|answer| answer.0), Some(202));
    }
    node.quiet().await;
    assert!(node.stop().success());
}

#[track_caller]
fn succeeds(node: &Node, arguments: &[&str]) -> String {
    let output = node.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
