//! A real Prometheus scrapes a real node that has had work of every kind, loads the alert rules,
//! and is asked every query of the dashboard: each has an answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::ai::Ai;
use crate::support::node::{Node, Parts, SECRET};
use crate::support::sender::{Sender, update};
use crate::support::site::Site;
use crate::support::{client, eventually};

/// Queries without an answer as long as nothing is wrong: what only counts trouble.
const MAY_BE_EMPTY: [&str; 1] = ["copydesk_telemetry_lost_total"];

fn docker(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker").join(path)
}

/// `prometheus` and `promtool` of the Debian package; `scripts/test` installs it.
fn run_to_end(program: &str, arguments: &[&str]) -> String {
    let ended = Command::new(program).args(arguments).output();
    let ended = ended.unwrap_or_else(|error| panic!("{program}: {error}: apt install prometheus"));
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    said
}

struct Prometheus {
    child: Child,
    url: String,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _collected = self.child.wait();
    }
}

impl Prometheus {
    /// One that scrapes this address each second. It says which port it took in its log.
    async fn start(scraped: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n  - job_name: copydesk\n    static_configs: [{{ targets: [\"{scraped}\"] }}]\n",
            docker("prometheus/rules.yaml").display()
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let log = std::fs::File::create(folder.path().join("prometheus.log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let this = Self { child, url, http: client(), _folder: folder };
        eventually("prometheus is ready", async || {
            let ready = this.http.get(format!("{}/-/ready", this.url)).send().await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        this
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), query).unwrap();
        let answer: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{query:?}: {answer}");
        answer["data"].clone()
    }

    async fn rows(&self, query: &str) -> usize {
        let data = self.get("/api/v1/query", &[("query", query)]).await;
        data["result"].as_array().unwrap().len()
    }
}

/// Prometheus cannot be asked for a free port; this one was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Every query of the dashboard, with the windows of a test.
fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(docker("grafana/copydesk.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let query =
        |target: &Value| target["expr"].as_str().unwrap().replace("$__rate_interval", "30s");
    targets.map(query).collect()
}

/// The names of our metrics in a query.
fn metrics_of(query: &str) -> BTreeSet<&str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |word: &&str| {
        ["copydesk_", "http_server_", "gen_ai_client_"].iter().any(|p| word.starts_with(p))
            && ["_total", "_bucket", "_count", "_seconds", "_state"]
                .iter()
                .any(|s| word.ends_with(s))
    };
    words.filter(ours).collect()
}

async fn work(node: &Node, url: &str, ai: &Ai) {
    let sender = Sender::new(SECRET);
    let send = async |post: u64, key: &str| {
        let (status, _) = sender.send(url, &update(post, 1, key)).await.unwrap();
        status
    };
    for post in 1..=20 {
        assert_eq!(send(post, &format!("prometheus-{post}")).await, 202);
    }
    assert_eq!(send(1, "prometheus-1").await, 202, "a duplicate");
    let forged = Sender::new("a-secret-that-nobody-gave-the-forger");
    let (status, _) = forged.send(url, &update(1, 2, "prometheus-forged")).await.unwrap();
    assert_eq!(status, 401);
    node.quiet().await;
    ai.declines(true);
    assert_eq!(send(21, "prometheus-dead").await, 202);
    node.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_dashboard_and_alerts_has_an_answer() {
    let rules = docker("prometheus/rules.yaml");
    let said = run_to_end("promtool", &["check", "rules", rules.to_str().unwrap()]);
    assert!(said.contains("SUCCESS"), "{said}");

    let ai = Ai::start(0, Duration::from_millis(5), 1).await;
    let site = Site::start(0, 1).await;
    let site_table = format!(
        "url = \"{}\"\nuser = \"copydesk\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"",
        site.url
    );
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\n\
         model = \"m-1\"\ninput_price = \"1.00\"\noutput_price = \"2.00\"",
        ai.base_url
    );
    let parts = Parts { log: "embedded", site: &site_table, provider: &provider, route: "" };
    let mut node = Node::new(&parts);
    // Once, so that posts are loaded again after the restart.
    let url = format!("{}/webhooks/news", node.start().await);
    let first = Sender::new(SECRET).send(&url, &update(1, 1, "prometheus-0")).await;
    assert_eq!(first.map(|(status, _)| status), Some(202));
    node.quiet().await;
    assert!(node.stop().success());
    let url = format!("{}/webhooks/news", node.start().await);
    let prometheus = Prometheus::start(&node.access().0).await;
    eventually("the first scrape", async || {
        (prometheus.rows("up{job=\"copydesk\"} == 1").await == 1).then_some(())
    })
    .await;
    work(&node, &url, &ai).await;

    let queries = dashboard();
    assert!(queries.len() > 25, "{queries:#?}");
    for query in queries {
        let may_be_empty = MAY_BE_EMPTY.iter().any(|metric| query.contains(metric));
        let what = format!("an answer to {query}");
        eventually(&what, async || {
            let answered = prometheus.rows(&query).await > 0;
            (answered || may_be_empty).then_some(())
        })
        .await;
    }
    let groups = prometheus.get("/api/v1/rules", &[]).await["groups"].clone();
    let rules = groups[0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), 10);
    for rule in rules {
        let (name, query) = (rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap());
        assert_eq!(rule["health"], "ok", "{name}: {}", rule["lastError"]);
        for metric in metrics_of(query) {
            let there = prometheus.rows(metric).await > 0;
            let may_be_empty = metric.starts_with("copydesk_telemetry_");
            assert!(there || may_be_empty, "{name} looks at {metric}, which is not there");
        }
    }
    // One that is true of this node, and one that is not.
    let alerts = async |name: &str| {
        let all = prometheus.get("/api/v1/alerts", &[]).await["alerts"].clone();
        let all = all.as_array().unwrap().clone();
        all.iter().any(|alert| alert["labels"]["alertname"] == name)
    };
    eventually("the dead letter is noticed", async || {
        alerts("CopydeskDeadLetters").await.then_some(())
    })
    .await;
    assert!(!alerts("CopydeskDown").await);
    labels_are_few(&node.metrics().await);
    assert!(node.stop().success());
}

/// No label has an id, a URL or a word of a payload.
fn labels_are_few(shown: &str) {
    for canary in ["prometheus-1", "news/1", "http://", "Marker", "Title of post"] {
        assert!(!shown.contains(canary), "{canary} is in a label: {shown}");
    }
    assert!(shown.lines().count() < 1_000, "{}", shown.lines().count());
}
