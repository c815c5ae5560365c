//! Senders that are not ours: a shell script that signs as GitHub does, the official library of
//! Standard Webhooks, and an AI provider whose updates overtake each other.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use copydesk_core::signature::{PROVIDER, SCHEMES};
use copydesk_eventlog::testing::NatsServer;
use serde_json::json;
use standardwebhooks::Webhook;

use crate::support::node::{Node, Parts, SECRET};
use crate::support::sender::Sender;
use crate::support::site::{Outcome, Site};
use crate::support::{Random, client, now_ms};

const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const MORE: &str = r#"
[sources.github]
scheme = "github"
secrets = [{ id = "k1", value = "env:NEWS_SECRET" }]
site = "news"
about = "item"
unknown_events = "accept"
map = { event_default = "github.issue", external_id = "/issue/node_id", version = "/issue/updated_at" }

[sources.standard]
scheme = "standard-webhooks"
secrets = [{ id = "k1", value = "env:STANDARD_SECRET" }]
site = "news"
about = "item"
unknown_events = "accept"
map = { event = "/type", external_id = "/data/id" }

[sources.limited]
scheme = "token"
token_header = "Authorization"
secrets = [{ id = "k1", value = "env:NEWS_SECRET" }]
site = "news"
requests_per_minute = 6

[sources.jobs]
scheme = "provider"
secrets = [{ id = "k1", value = "env:NEWS_SECRET" }]
site = "news"

[[routes]]
source = "jobs"
events = ["provider.*"]
"#;

/// A node of this site with further lines at the end of its configuration.
fn node_on(log: &str, site: &Site, more: &str) -> Node {
    let table = format!(
        "url = \"{}\"\nuser = \"copydesk\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"\nconcurrency = 16",
        site.url
    );
    let parts = Parts { log, site: &table, provider: "", route: more };
    Node::new(&parts).with_env("STANDARD_SECRET", STANDARD_SECRET)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_made_of_openssl_and_curl_is_taken() {
    let site = Site::start(0, 1).await;
    let mut node = node_on("embedded", &site, MORE);
    let url = format!("{}/webhooks/github", node.start().await);
    let body = node.data_dir().join("issue.json");
    let issue =
        r#"{"action":"opened","issue":{"node_id":"I_1","updated_at":"2026-11-23T08:00:00Z"}}"#;
    std::fs::write(&body, issue).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/senders/github.sh");
    let send = |secret: &str| {
        let output = Command::new(&script).args([&url, secret]).arg(&body).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(send(SECRET), "202");
    assert_eq!(send("another-secret-another-secret-another"), "401");
    let events = node.get("/events").await;
    assert_eq!(events["rows"][0]["event_type"], "github.issue");
    assert_eq!(events["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_library_of_standard_webhooks_is_taken() {
    let site = Site::start(0, 1).await;
    let mut node = node_on("embedded", &site, MORE);
    let url = format!("{}/webhooks/standard", node.start().await);
    let library = Webhook::new(STANDARD_SECRET).unwrap();
    let body = r#"{"type":"invoice.paid","data":{"id":"in_1","note":"Größe"}}"#;
    let send = async |id: &str, at: i64, body: &str, signature: String| {
        let request = client().post(&url).body(body.to_owned()).headers(
            [
                ("content-type", "application/json"),
                ("webhook-id", id),
                ("webhook-timestamp", &at.to_string()),
                ("webhook-signature", &signature),
            ]
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect(),
        );
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<serde_json::Value>().await.unwrap())
    };
    let now = now_ms() / 1_000;
    let signature = |at: i64| library.sign("msg_1", at, body.as_bytes()).unwrap();
    let (status, first) = send("msg_1", now, body, signature(now)).await;
    assert_eq!((status, &first["status"]), (202, &json!("accepted")));
    let (status, again) = send("msg_1", now, body, signature(now)).await;
    assert_eq!((status, &again["status"]), (202, &json!("duplicate")));
    assert_eq!(again["event_id"], first["event_id"]);
    let rotated = format!("v1,{} {}", "A".repeat(43) + "=", signature(now));
    assert_eq!(send("msg_1", now, body, rotated).await.0, 202);
    for (id, at, signed) in [
        ("msg_2", now, signature(now)),
        ("msg_1", now - 1, signature(now)),
        ("msg_1", now - 400, signature(now - 400)),
    ] {
        assert_eq!(send(id, at, body, signed).await.0, 401, "{id} {at}");
    }
    assert_eq!(send("msg_1", now, &body.replace("in_1", "in_2"), signature(now)).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_library_is_taken_too() {
    let library = std::env::var_os("COPYDESK_STANDARDWEBHOOKS")
        .expect("COPYDESK_STANDARDWEBHOOKS: scripts/lib/standardwebhooks-install.sh prints it");
    let site = Site::start(0, 1).await;
    let mut node = node_on("embedded", &site, MORE);
    let url = format!("{}/webhooks/standard", node.start().await);
    let file = |name: &str, body: &str| {
        let path = node.data_dir().join(name);
        std::fs::write(&path, body).unwrap();
        path
    };
    let paid = file("paid.json", r#"{"type":"invoice.paid","data":{"id":"in_7","note":"Größe"}}"#);
    let other = file("other.json", r#"{"type":"invoice.paid","data":{"id":"in_8"}}"#);
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/senders/standard_webhooks.py");
    let send = |secret: &str, sent: &Path| {
        let mut python = Command::new("python3");
        python.arg(&script).args([&url, secret, "msg_7"]).arg(&paid).arg(sent);
        let output = python.env("PYTHONPATH", &library).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(send(STANDARD_SECRET, &paid), "202");
    assert_eq!(send(STANDARD_SECRET, &other), "401");
    assert_eq!(send("whsec_bm90IHRoZSBzZWNyZXQgdGhhdCB3ZSBrbm93", &paid), "401");
    let events = node.get("/events").await;
    assert_eq!(events["rows"][0]["event_type"], "invoice.paid");
    assert_eq!(events["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_sends_too_much_is_told_when_to_come_back() {
    let site = Site::start(0, 1).await;
    let mut node = node_on("embedded", &site, MORE);
    let url = format!("{}/webhooks/limited", node.start().await);
    let send = async |token: &str, key: u32| {
        let body =
            json!({ "event": "post.deleted", "post_id": 1, "idempotency_key": key.to_string() });
        client().post(&url).bearer_auth(token).json(&body).send().await.unwrap()
    };
    for key in 0..20 {
        assert_eq!(send("a-stranger-without-the-token", key).await.status(), 401);
    }
    assert_eq!(send(SECRET, 0).await.status(), 202, "strangers use nothing up");
    let refused = send(SECRET, 1).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_that_overtake_each_other_end_with_the_newest_on_the_embedded_log() {
    updates_end_with_the_newest("embedded", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_that_overtake_each_other_end_with_the_newest_on_jetstream() {
    let nats = NatsServer::start();
    updates_end_with_the_newest(&nats.url(), 2).await;
}

/// 100 items × 5 updates in any order from 16 senders, without an AI call.
async fn updates_end_with_the_newest(log: &str, seed: u64) {
    const ITEMS: u64 = 100;
    const UPDATES: u64 = 5;
    let site = Site::start(10, seed).await;
    let mut node = node_on(log, &site, MORE);
    let url = Arc::new(format!("{}/webhooks/jobs", node.start().await));
    let mut random = Random::new(seed);
    let mut updates: Vec<(u64, u64)> =
        (0..ITEMS * UPDATES).map(|n| (n % ITEMS, n / ITEMS + 1)).collect();
    for place in (1..updates.len()).rev() {
        let other = random.below(place as u64 + 1);
        updates.swap(place, usize::try_from(other).unwrap());
    }
    let shares = updates.chunks(updates.len().div_ceil(16)).map(<[_]>::to_vec);
    let senders: Vec<_> = shares
        .map(|share| {
            let (url, sender) = (Arc::clone(&url), Sender::signing(&PROVIDER, SECRET));
            tokio::spawn(async move {
                for (item, version) in share {
                    let body = json!({
                        "external_id": format!("job/{item}"), "sequence": version,
                        "status": format!("step-{version}"), "summary": format!("Step {version}."),
                        "metadata": { "percent": 20 * version },
                        "idempotency_key": format!("{item}-{version}"),
                    });
                    let (status, answer) = sender.send(&url, &body).await.unwrap();
                    assert_eq!(status, 202, "{answer}");
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    node.quiet().await;
    let mut stands: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for arrival in site.history().into_iter().filter(|a| a.outcome == Outcome::Applied) {
        let version = arrival.status.strip_prefix("step-").unwrap().parse().unwrap();
        let (last, number) = stands.entry(arrival.external_id.clone()).or_default();
        assert!(version > *last && arrival.number > *number, "{arrival:?} after {last}");
        (*last, *number) = (version, arrival.number);
    }
    assert_eq!(stands.len() as u64, ITEMS);
    assert!(stands.values().all(|(version, _)| *version == UPDATES), "{stands:?}");
    assert!(node.run(&["verify"]).status.success());
    assert!(node.stop().success());
}

/// The fenced blocks of a language in `docs/sources.md`.
fn examples(language: &str) -> Vec<&'static str> {
    let open = format!("```{language}\n");
    let text = include_str!("../../docs/sources.md");
    text.split(open.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// What the documentation shows works as it stands, with a source of each scheme.
#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_documentation_can_be_pasted() {
    let (tables, commands) = (examples("toml"), examples("sh"));
    let configuration = tables.join("\n");
    for scheme in SCHEMES.iter().map(|scheme| scheme.name).chain(["custom"]) {
        let named = format!("scheme = \"{scheme}\"");
        assert!(configuration.contains(&named), "{scheme}");
    }
    assert_eq!((tables.len(), commands.len()), (14, 13));

    let site = Site::start(0, 1).await;
    let mut node = node_on("embedded", &site, &configuration);
    let variables: BTreeMap<&str, &str> = configuration
        .split("\"env:")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .map(|name| match name {
            "BILLING_SECRET" => (name, STANDARD_SECRET),
            "CONTACT_SECRET" => (name, "copydesk:a-password-of-twenty-four"),
            _ => (name, SECRET),
        })
        .collect();
    for (name, value) in &variables {
        node = node.with_env(name, value);
    }
    let address = node.start().await;
    let (admin, token) = node.access();
    let admin = format!("http://{admin}");
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-euc", command]).env("COPYDESK", &address).envs(&variables);
        shell.env("COPYDESK_URL", &admin).env("COPYDESK_TOKEN", &token);
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim(), "202", "{command}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The example of a payload, without a node: the route that takes it and what would be done.
#[tokio::test(flavor = "multi_thread")]
async fn a_sample_shows_which_route_would_take_it() {
    let site = Site::start(0, 1).await;
    let more = r#"
match = [{ field = "/type", is = "page" }]
[[routes]]
name = "politics"
source = "news"
match = [{ field = "/categories", contains = "politic" }, { field = "/title", like = "^[A-Z]" }]
enrich = ["summary"]
[subscribers.all]
folder = "/var/lib/notices"
[subscribers.sport]
folder = "/var/lib/notices"
match = [{ field = "/event/categories", contains = "sport" }]
[subscribers.applied]
folder = "/var/lib/notices"
events = ["post.applied"]
match = [{ field = "/route", is = "politics" }, { field = "/results/0/field", is = "excerpt" }]
"#;
    let node = node_on("embedded", &site, more);
    let sample = node.data_dir().with_file_name("sample.json");
    let run = |body: &str| {
        std::fs::write(&sample, body).unwrap();
        let output = node.run(&["routes", "test", sample.to_str().unwrap(), "--json"]);
        let shown = serde_json::from_slice(&output.stdout).unwrap_or(serde_json::Value::Null);
        (output.status.code(), shown, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, shown, _) =
        run(r#"{"event":"post.updated","post_id":42,"title":"Vote","categories":["politics"]}"#);
    assert_eq!((code, &shown["takes"]), (Some(0), &json!("politics")));
    assert_eq!(shown["routes"][0]["verdict"], "/type does not match");
    assert_eq!(
        shown["asked"][0],
        json!({"enrichment": "summary", "provider": "main", "mode": "apply"})
    );
    assert!(shown["written"].as_str().unwrap().starts_with(&site.url));
    let told = shown["subscribers"].as_array().unwrap();
    let verdict = |name: &str| {
        let one = told.iter().find(|one| one["subscriber"] == name).unwrap();
        one["verdict"].as_str().unwrap().to_owned()
    };
    assert!(verdict("all").starts_with("told of post.applied, post.kept, "), "{}", verdict("all"));
    assert_eq!(verdict("sport"), "/event/categories does not match");
    assert_eq!(verdict("applied"), "told of post.applied, if /results/0/field fits then");
    let (code, shown, _) = run(r#"{"event":"post.updated","post_id":42,"title":"vote"}"#);
    assert_eq!((code, &shown["takes"]), (Some(1), &serde_json::Value::Null));
    let (code, _, said) = run(r#"{"event":"post.updated"}"#);
    assert_eq!(code, Some(1));
    assert!(said.contains("422 invalid_event"), "{said}");
}
