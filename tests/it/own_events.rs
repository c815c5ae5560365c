//! Ways in without a signature: events of one's own, and what is known of those who sign.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::client;
use crate::support::node::{Node, Parts, SECRET};
use crate::support::site::{Outcome, Site};

const MORE: &str = r#"
[sources.desk]
scheme = "api"
site = "news"
about = "item"
events = ["desk.rewrite", "desk.lead"]
require = { "desk.rewrite" = ["/words"] }
map = { text = "/words" }

[[routes]]
name = "rewrite"
source = "desk"
events = ["desk.rewrite"]
enrich = ["summary"]

[enrichments.lead]

[[routes]]
name = "leads"
source = "desk"
events = ["desk.lead"]
enrich = ["lead"]

[sources.old]
scheme = "token"
site = "news"
secrets = [{ id = "k2", value = "env:NEWS_SECRET" }, { id = "k1", value = "env:OLD_SECRET" }]
"#;

async fn node(site: &Site) -> (Node, String) {
    let table = format!(
        "url = \"{}\"\nuser = \"copydesk\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"",
        site.url
    );
    let parts = Parts { log: "embedded", site: &table, provider: "", route: MORE };
    let node = Node::new(&parts).with_env("OLD_SECRET", &SECRET.replace("test", "old"));
    let mut node = node;
    let url = node.start().await;
    (node, url)
}

/// Sends an event through the admin API: the status and what was answered.
async fn send(node: &Node, event: &Value, wait_s: u64) -> (u16, Value) {
    let url = format!("http://{}/api/v1/events", node.admin_address());
    let body = json!({ "source": "desk", "event": event, "wait_s": wait_s });
    let response = client().post(url).bearer_auth(node.token()).json(&body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_ones_own_is_sent_and_waited_for() {
    let site = Site::start(0, 1).await;
    let (node, url) = node(&site).await;
    let event = json!({
        "event": "desk.rewrite", "external_id": "page/7", "idempotency_key": "once",
        "words": "The harbour reopened on Monday. Ships may enter again. The storm has passed.",
    });
    let (status, answer) = send(&node, &event, 30).await;
    assert_eq!(
        (status, &answer["state"], &answer["ended"]),
        (200, &json!("applied"), &json!(true))
    );
    let applied = || site.history().iter().filter(|a| a.outcome == Outcome::Applied).count();
    assert_eq!((applied(), site.history()[0].external_id.as_str()), (1, "page/7"));

    let (status, again) = send(&node, &event, 30).await;
    assert_eq!((status, &again["duplicate"]), (200, &json!(true)));
    assert_eq!((&again["event_id"], applied()), (&answer["event_id"], 1));
    let other =
        json!({ "event": "desk.rewrite", "external_id": "page/8", "words": "Other words." });
    let (status, answer) = send(&node, &other, 0).await;
    assert_eq!((status, &answer["state"]), (202, &json!("accepted")));

    for (event, why) in [
        (json!({ "event": "desk.told", "external_id": "a", "words": "x" }), "unknown_event"),
        (json!({ "event": "desk.rewrite", "external_id": "a" }), "invalid_event"),
    ] {
        let (status, problem) = send(&node, &event, 0).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_request")));
        assert!(problem["detail"].as_str().unwrap().starts_with(why), "{problem}");
    }
    let of_sender = json!({ "source": "news", "event": { "event": "post.deleted", "post_id": 1 } });
    let admin = format!("http://{}/api/v1/events", node.admin_address());
    let forged = client().post(admin).bearer_auth(node.token()).json(&of_sender).send().await;
    assert_eq!(forged.unwrap().status(), 404, "nobody speaks for a sender that signs");
    let webhook = async |source: &str| {
        let url = format!("{url}/webhooks/{source}");
        client().post(url).json(&event).send().await.unwrap().status()
    };
    let answers = (webhook("desk").await, webhook("a-source-that-never-was").await);
    assert!(answers.0.is_client_error() && answers.0 == answers.1, "{answers:?}");

    // A lead is classified, with the reason, and nothing of it goes to WordPress.
    let lead =
        json!({ "event": "desk.lead", "external_id": "lead/1", "words": "200 seats, please." });
    let sent = site.history().len();
    let (status, answer) = send(&node, &lead, 30).await;
    assert_eq!((status, &answer["state"]), (200, &json!("suggested")));
    assert_eq!(site.history().len(), sent);
    let attempts = format!("/posts/{}/attempts", answer["post"].as_str().unwrap());
    let cause = node.get(&attempts).await["rows"][0]["cause"].clone();
    assert!(cause.as_str().unwrap().starts_with("other: "), "{cause}");

    let event = r#"{"event":"desk.rewrite","external_id":"page/9","words":"The ferry sails again on Tuesday. Tickets are sold at the harbour. The storm has passed."}"#;
    let sent = node.json(&["events", "send", "--source", "desk", "--wait", "30", event, "--json"]);
    assert_eq!(sent["state"], "applied");
    let post = node.get(&format!("/posts/{}", sent["post"].as_str().unwrap())).await;
    let told = post["journey"][0]["text"].as_str().unwrap();
    assert!(told.starts_with("desk.rewrite to desk, says "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_of_each_key_is_known_and_survives_a_restart() {
    let site = Site::start(0, 1).await;
    let (mut node, url) = node(&site).await;
    let uses = |node: &Node| -> BTreeMap<String, Value> {
        let rows = node.json(&["keys", "list", "old", "--json"]);
        let rows = rows.as_array().unwrap().clone();
        rows.into_iter()
            .map(|row| (row["id"].as_str().unwrap().to_owned(), row["used_at"].clone()))
            .collect()
    };
    assert_eq!(
        uses(&node),
        BTreeMap::from([("k1".to_owned(), Value::Null), ("k2".to_owned(), Value::Null)])
    );
    let send = async |secret: &str, key: &str| {
        let body = json!({ "event": "post.deleted", "post_id": 1, "idempotency_key": key });
        let request = client().post(format!("{url}/webhooks/old")).json(&body);
        let sent = request.header("X-Copydesk-Token", secret).send().await.unwrap();
        assert_eq!(sent.status(), 202);
    };
    send(&SECRET.replace("test", "old"), "a").await;
    send(SECRET, "b").await;
    let known = uses(&node);
    assert!(known["k1"].as_i64().unwrap() > 0 && known["k2"].as_i64() >= known["k1"].as_i64());
    node.quiet().await;
    assert!(node.stop().success());
    node.start().await;
    assert_eq!(uses(&node), known);
    let text = String::from_utf8(node.run(&["keys", "list"]).stdout).unwrap();
    let of_news = text.lines().find(|line| line.starts_with("news")).unwrap();
    assert!(of_news.trim_end().ends_with("none"), "{text}");
    assert!(node.stop().success());
    let text = String::from_utf8(node.run(&["keys", "list"]).stdout).unwrap();
    assert!(text.contains("unknown: no node runs"), "{text}");
}
