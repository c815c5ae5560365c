//! The real WordPress that `scripts/test` has brought up.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::node::{Node, Parts, SECRET};
use crate::support::site::{Arrival, Outcome};
use crate::support::{client, eventually, marked};

/// The relay and the failures are settings of the whole site: one test at a time, also in one
/// process. None of them outlives its test.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Rows of the ingest route's books in one answer.
const PAGE_ROWS: usize = 10_000;

/// So often, 50 ms apart, nothing must be seen to happen.
const QUIET_LOOKS: u32 = 20;

/// A WordPress of one's own for as long as this lives.
#[derive(Debug)]
pub(crate) struct WordPress {
    pub(super) facts: Value,
    _alone: MutexGuard<'static, ()>,
}

impl WordPress {
    /// Waits until no other test uses it.
    pub(crate) async fn alone() -> Self {
        let alone = ALONE.lock().await;
        let file = std::env::var("COPYDESK_TEST_WORDPRESS").expect(
            "COPYDESK_TEST_WORDPRESS must name the state.json of a site from \
             `scripts/wordpress/up DIR 0 --plugin wordpress/copydesk --mu tests/wordpress/mu-plugins`; scripts/test does it all",
        );
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("COPYDESK_TEST_WORDPRESS={file}: {error}"));
        let facts = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("COPYDESK_TEST_WORDPRESS={file}: {error}"));
        let wordpress = Self { facts, _alone: alone };
        wordpress.reset();
        wordpress
    }

    pub(super) fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().unwrap_or_else(|| panic!("state.json has no {name}"))
    }

    pub(crate) fn url(&self) -> &str {
        self.fact("url")
    }

    pub(crate) fn password(&self) -> &str {
        self.fact("application_password")
    }

    /// The `[sites.news]` table.
    pub(crate) fn table(&self, url: &str, delivery: &str) -> String {
        format!(
            "url = \"{url}\"\nuser = \"{}\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
             delivery = \"{delivery}\"\nconcurrency = 4",
            self.fact("user"),
        )
    }

    /// A node that writes to this site.
    pub(crate) fn node(&self, log: &str, delivery: &str, provider: &str) -> Node {
        self.node_with(log, delivery, provider, "")
    }

    /// The same with further lines at the end of its configuration.
    pub(crate) fn node_with(&self, log: &str, delivery: &str, provider: &str, more: &str) -> Node {
        let site = self.table(self.url(), delivery);
        let parts = Parts { log, site: &site, provider, route: more };
        Node::new(&parts).with_env("NEWS_APP_PASSWORD", self.password())
    }

    /// Runs PHP inside the site and returns what it printed.
    pub(crate) fn eval(&self, code: &str, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/wordpress/eval");
        let mut command = Command::new(script);
        command.arg(self.fact("dir")).args(["--user", "desk", "-e", code]).args(arguments);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{code}: {said}{errors}");
        said
    }

    /// Webhooks for every publish and update go to this address from now on.
    pub(crate) fn relay_to(&self, url: &str) {
        self.eval(
            "update_option('COPYDESK_TEST_RELAY_SITE', 'news');
             update_option('COPYDESK_TEST_RELAY_URL', $args[0]);
             update_option('COPYDESK_TEST_RELAY_SECRET', $args[1]);",
            &[url, SECRET],
        );
    }

    /// So much of a hundred ingest requests is refused, and as much loses its answer.
    pub(crate) fn ingest_fails(&self, percent: u32) {
        let share = f64::from(percent) / 100.0;
        let bad_day = json!({"before": share, "after": share, "status": 503});
        self.eval("update_option('cd_ingest_fail', $args[0]);", &[&bad_day.to_string()]);
    }

    fn reset(&self) {
        self.eval(
            "delete_option('COPYDESK_TEST_RELAY_URL'); delete_option('cd_ingest_fail');
             delete_option('copydesk_settings'); delete_option('copydesk_secrets');
             get_user_by('login', $args[0])->set_role('editor');",
            &[self.fact("user")],
        );
    }

    /// Publishes a post and returns its number. `excerpt`: a person's own, or nothing.
    pub(crate) fn publish(&self, text: &str, excerpt: &str) -> u64 {
        self.insert("publish", text, excerpt)
    }

    /// A new post in this status; `future` is due in a week.
    pub(crate) fn insert(&self, status: &str, text: &str, excerpt: &str) -> u64 {
        let id = self.eval(
            "$due = $args[0] === 'future' ? ['post_date' => wp_date('Y-m-d H:i:s', time() + WEEK_IN_SECONDS)] : [];
             echo wp_insert_post(['post_title' => 'A post', 'post_status' => $args[0],
                 'post_content' => $args[1], 'post_excerpt' => $args[2]] + $due);",
            &[status, text, excerpt],
        );
        id.parse().unwrap_or_else(|_| panic!("no post was made: {id}"))
    }

    /// Changes a post's text.
    pub(crate) fn update(&self, post: u64, text: &str) {
        let said = self.eval(
            "echo wp_update_post(['ID' => (int) $args[0], 'post_content' => $args[1]]);",
            &[&post.to_string(), text],
        );
        assert_eq!(said, post.to_string(), "the post was not changed");
    }

    /// The excerpt as it is stored.
    pub(crate) fn excerpt(&self, post: u64) -> String {
        self.eval("echo get_post((int) $args[0])->post_excerpt;", &[&post.to_string()])
    }

    /// What the relay has sent about a post: event and status.
    pub(crate) fn relayed(&self, post: u64) -> Vec<(String, u64)> {
        let sent = |line: Value| {
            (line["event"].as_str().unwrap().to_owned(), line["status"].as_u64().unwrap())
        };
        self.relay_log(post).into_iter().map(sent).collect()
    }

    /// The `traceparent` of each webhook about a post.
    pub(crate) fn traceparents(&self, post: u64) -> Vec<String> {
        let sent = |line: Value| line["traceparent"].as_str().unwrap().to_owned();
        self.relay_log(post).into_iter().map(sent).collect()
    }

    fn relay_log(&self, post: u64) -> Vec<Value> {
        let path = PathBuf::from(self.fact("logs")).join("relay.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["post"] == post).collect()
    }

    /// Waits until the relay has sent so many webhooks about the post and the node has ended them
    /// all, then looks on whether more follows.
    pub(crate) async fn settled(&self, node: &Node, post: u64, webhooks: usize) {
        eventually("the relay has sent its webhooks", async || {
            (self.relayed(post).len() >= webhooks).then_some(())
        })
        .await;
        let quiet = Cell::new(0);
        eventually("the node is quiet", async || {
            let relayed = self.relayed(post);
            assert!(relayed.len() <= webhooks, "a loop: {relayed:?}");
            let status = node.get("/status").await;
            let idle = status["backlog"] == 0 && status["busy_posts"] == 0;
            quiet.set(if idle { quiet.get() + 1 } else { 0 });
            (quiet.get() == QUIET_LOOKS).then_some(())
        })
        .await;
    }

    /// What the ingest route's books say about posts of this range, in their order.
    pub(crate) async fn ingested(&self, posts: std::ops::RangeInclusive<u64>) -> Vec<Arrival> {
        let client = client();
        let (mut history, mut after) = (Vec::new(), 0);
        loop {
            let route = format!("ai-guy/v1/ingest/log?after={after}&limit={PAGE_ROWS}");
            let request = client
                .get(format!("{}/{route}", self.fact("rest_url")))
                .basic_auth(self.fact("user"), Some(self.password()));
            let response = request.send().await.unwrap().error_for_status().unwrap();
            let rows: Vec<Value> = response.json().await.unwrap();
            let Some(last) = rows.last() else { return history };
            after = last["id"].as_u64().unwrap();
            let of_posts = |row: &&Value| {
                let id: Option<u64> = row["external_id"].as_str().and_then(|id| id.parse().ok());
                id.is_some_and(|id| posts.contains(&id))
            };
            history.extend(rows.iter().filter(of_posts).map(arrival));
        }
    }

    /// The text that stands in the ingest route's own table, by post.
    pub(crate) fn stands(&self, posts: std::ops::RangeInclusive<u64>) -> HashMap<u64, String> {
        let rows = self.eval(
            "echo wp_json_encode($wpdb->get_results($wpdb->prepare(
                 \"SELECT external_id, summary FROM {$wpdb->prefix}cd_ingest
                  WHERE CAST(external_id AS UNSIGNED) BETWEEN %d AND %d\", $args)));",
            &[&posts.start().to_string(), &posts.end().to_string()],
        );
        let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        rows.iter()
            .map(|row| (text(row, "external_id").parse().unwrap(), text(row, "summary")))
            .collect()
    }
}

impl Drop for WordPress {
    fn drop(&mut self) {
        // A failed test must not end the process by failing again.
        if !std::thread::panicking() {
            self.reset();
        }
    }
}

fn arrival(row: &Value) -> Arrival {
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    Arrival {
        external_id: text("external_id"),
        version: marked(&text("summary")).map_or(0, |(_, version)| version),
        status: row["status"].as_str().unwrap_or_default().to_owned(),
        key: text("idempotency_key"),
        number: row["write_number"].as_u64().unwrap(),
        outcome: match row["result"].as_str().unwrap() {
            "applied" => Outcome::Applied,
            "already" => Outcome::Already,
            "stale" => Outcome::Stale,
            "refused" => Outcome::Failed,
            other => panic!("the ingest route's books say {other:?}"),
        },
        traceparent: Some(text("traceparent")),
        at: Instant::now(),
    }
}
