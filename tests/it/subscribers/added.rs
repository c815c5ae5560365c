//! A subscriber that is added while the node runs, all from the command line: a CRM that gets the
//! leads it asked for, its keys, its pauses and its end.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::node_with;
use crate::admin::files_below;
use crate::support::eventually;
use crate::support::node::Node;
use crate::support::site::Site;

const MORE: &str = r#"
[sources.desk]
scheme = "api"
site = "news"
about = "item"
events = ["desk.lead"]
map = { text = "/words" }

[enrichments.lead]

[[routes]]
name = "leads"
source = "desk"
events = ["desk.lead"]
enrich = ["lead"]

[outbound]
allow = ["127.0.0.0/8"]
allow_http = true
ports = []
"#;

type Came = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A CRM that keeps what it is told; where it is.
async fn crm() -> (String, Came) {
    let came = Came::default();
    let seen = Arc::clone(&came);
    let keep = async move |headers: HeaderMap, body: Bytes| {
        seen.lock().unwrap().push((headers, body));
        StatusCode::NO_CONTENT
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(
        async move { axum::serve(listener, Router::new().route("/hook", post(keep))).await },
    );
    (url, came)
}

/// What came, the latest first waited for; verified with the official library under these secrets.
async fn told(came: &Came, count: usize, secrets: &[&str]) -> Value {
    let (headers, body) =
        eventually("the CRM is told", async || came.lock().unwrap().get(count - 1).cloned()).await;
    for secret in secrets {
        Webhook::new(secret).unwrap().verify(&body, &headers).unwrap();
    }
    serde_json::from_slice(&body).unwrap()
}

async fn lead(node: &Node, id: u32, email: &str, words: &str) {
    let id = format!("lead/{id}");
    let event = json!({ "event": "desk.lead", "external_id": id, "email": email, "words": words });
    let order = json!({ "source": "desk", "event": event, "wait_s": 30 });
    assert_eq!(node.post("/events", &order).await["state"], "suggested");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_is_added_and_gets_the_leads_it_asked_for() {
    let (site, (url, came)) = (Site::start(0, 51).await, crm().await);
    let mut node = node_with("embedded", &site, MORE);
    node.start().await;
    let done = |words: &[&str]| {
        let output = node.run(&[&["subscribers"], words].concat());
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (added, said) = done(&["add", "inside", "--url", "http://169.254.169.254/"]);
    assert!(!added && said.contains("address"), "{said}");
    let add = [
        &["subscribers", "add", "crm", "--url", &url, "--event", "post.suggested", "--json"][..],
        &[
            "--match",
            "/event/email:endswith=@example.org",
            "--match",
            "/event/words:like=(?i)seats",
        ],
        &["--field", "/external_id", "--field", "/results/enrichment", "--field", "/event/email"],
    ];
    let first = node.json(&add.concat())["secret"].as_str().unwrap().to_owned();
    assert!(done(&["test", "crm"]).0);
    assert_eq!(told(&came, 1, &[&first]).await["type"], "copydesk.test");

    lead(&node, 1, "ben@example.com", "200 seats, please.").await;
    lead(&node, 2, "ann@example.org", "Just a question.").await;
    lead(&node, 3, "ann@example.org", "200 Seats, please.").await;
    let notice = told(&came, 2, &[&first]).await;
    let expected = json!({
        "external_id": "lead/3", "results": [{ "enrichment": "lead" }],
        "event": { "email": "ann@example.org" },
    });
    assert_eq!((&notice["type"], &notice["data"]), (&json!("post.suggested"), &expected));

    let rotated = node.json(&["subscribers", "rotate", "crm", "--json"]);
    let second = rotated["secret"].as_str().unwrap().to_owned();
    assert!(done(&["test", "crm"]).0);
    told(&came, 3, &[&first, &second]).await;
    let shown = node.json(&["subscribers", "show", "crm", "--json"]);
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 3, "{shown}");
    assert_eq!(shown["row"]["match"][1]["test"], "like");
    for file in files_below(&node.data_dir()) {
        let bytes = std::fs::read(&file).unwrap();
        for secret in [&first, &second] {
            let held = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!held, "{} holds a secret", file.display());
        }
    }

    assert!(done(&["disable", "crm", "--reason", "it moves"]).0);
    lead(&node, 4, "ann@example.org", "Seats again.").await;
    assert!(done(&["enable", "crm"]).0);
    lead(&node, 5, "ann@example.org", "And more seats.").await;
    let notice = told(&came, 4, &[&second]).await;
    assert_eq!(notice["data"]["external_id"], "lead/5", "nothing of the time it was disabled");
    assert!(done(&["remove", "crm"]).0);
    let rows = node.json(&["subscribers", "list", "--json"]);
    assert!(!rows.to_string().contains("crm"), "{rows}");
    assert!(node.stop().success());
}
