//! One trace from an editor's save in a real WordPress to the write in it, through the plugin's
//! outbox, both logs and a node that is killed on the way.

use std::path::PathBuf;
use std::time::Duration;

use copydesk_eventlog::testing::NatsServer;
use serde_json::{Value, json};

use super::site::WordPress;
use super::{FIRST, states};
use crate::support::ai::Ai;
use crate::support::eventually;
use crate::support::node::{Node, SECRET};
use crate::support::otlp::{Collector, Span};
use crate::traces::{is_inside, is_whole, one};

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_one_trace_on_the_embedded_log() {
    a_save_is_one_trace("embedded", "copydesk_log", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_one_trace_on_jetstream() {
    let nats = NatsServer::start();
    a_save_is_one_trace(&nats.url(), "nats", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_one_trace_past_a_kill_on_the_embedded_log() {
    a_save_is_one_trace("embedded", "copydesk_log", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_one_trace_past_a_kill_on_jetstream() {
    let nats = NatsServer::start();
    a_save_is_one_trace(&nats.url(), "nats", true).await;
}

/// `is_killed`: with `kill -9`, while the AI service is asked.
async fn a_save_is_one_trace(log: &str, system: &str, is_killed: bool) {
    let wordpress = WordPress::with_plugin().await;
    let collector = Collector::start().await;
    let ai = Ai::start(0, Duration::from_secs(if is_killed { 600 } else { 0 }), 1).await;
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\nmodel = \"m-1\"",
        ai.base_url
    );
    let mut node = wordpress
        .node(log, "auto", &provider)
        .with_env("COPYDESK_TELEMETRY_OTLP_ENDPOINT", &collector.grpc)
        .with_env("OTEL_METRIC_EXPORT_INTERVAL", "500")
        .with_env("RUST_LOG", "debug,hyper=info,h2=info,opentelemetry=off");
    wordpress.plugin_sends_to(&format!("{}/webhooks/news", node.start().await));

    let saved = json!({"title": "A canary in the title", "content": FIRST.join(" ")});
    let post = wordpress.save(None, saved).await;
    let sent = "SELECT traceparent FROM {p}copydesk_outbox WHERE post_id = %d";
    let sent = wordpress.rows(sent, &[&post.to_string()])[0]["traceparent"].clone();
    let sent = sent.as_str().unwrap();
    let (trace_id, save_id) = (&sent[3..35], &sent[36..52]);
    if is_killed {
        eventually("the AI service is asked and the first spans have arrived", async || {
            let arrived = collector.trace(trace_id);
            let has = |name| arrived.iter().any(|span: &Span| span.name == name);
            let is_asked = !asked(&ai, trace_id).is_empty();
            (has("save post") && has("publish cd.in") && is_asked).then_some(())
        })
        .await;
        node.kill();
        ai.become_so(0, Duration::ZERO);
        wordpress.plugin_sends_to(&format!("{}/webhooks/news", node.start().await));
    }
    eventually("the event has ended", async || {
        (states(&node, post).await == ["applied"]).then_some(())
    })
    .await;
    let trace = eventually("the event's end arrives at the collector", async || {
        let trace = collector.trace(trace_id);
        let has = |name| trace.iter().any(|span: &Span| span.name == name);
        (has("process cd.in") && has("save post")).then_some(trace)
    })
    .await;

    every_hop_is_there(&trace, save_id, system);
    let process = one(&trace, "process cd.in");
    assert_eq!(process.attribute("copydesk.recovered"), if is_killed { "true" } else { "" });
    let asked = asked(&ai, trace_id);
    assert_eq!(asked.len(), if is_killed { 2 } else { 1 });
    assert_eq!(
        asked[asked.len() - 1],
        carried(one(&trace, "chat m-1")),
        "what the AI service was sent"
    );
    let received = wordpress.traced_requests(trace_id);
    let written = |request: &Value| request["method"] == "POST" && request["status"] == 200;
    let writes: Vec<_> = received.iter().filter(|request| written(request)).collect();
    assert_eq!(writes.len(), 1, "{received:#?}");
    let write = one(&trace, "POST /copydesk/v1/posts/{id}/apply");
    assert_eq!(writes[0]["traceparent"], carried(write), "what WordPress was sent");
    nothing_is_told(&wordpress, &mut node, &collector).await;
}

/// The hops of a save whose text came with the webhook.
fn every_hop_is_there(trace: &[Span], save_id: &str, system: &str) {
    is_whole(trace);
    let save = one(trace, "save post");
    assert_eq!((save.service.as_str(), save.span_id.as_str()), ("wordpress", save_id));
    let mut parent = save;
    let way = ["POST /webhooks/{source}", "publish cd.in", "process cd.in", "enrich summary"];
    for name in way {
        let span = one(trace, name);
        assert_eq!(span.parent_id, parent.span_id, "{name} in {trace:#?}");
        parent = span;
    }
    let (process, enrich) = (one(trace, "process cd.in"), parent);
    assert_eq!(process.attribute("messaging.system"), system);
    assert_eq!(process.attribute("copydesk.outcome"), "applied");
    let (chat, write) = (one(trace, "chat m-1"), one(trace, "write post"));
    let apply = one(trace, "POST /copydesk/v1/posts/{id}/apply");
    for (inner, outer) in [(enrich, process), (chat, enrich), (write, process), (apply, write)] {
        assert_eq!(inner.parent_id, outer.span_id, "{trace:#?}");
        is_inside(inner, outer);
    }
    assert!(enrich.end_ns <= write.start_ns, "what is written was answered before");
    let event_id = process.attribute("copydesk.event.id");
    assert!(!event_id.is_empty());
    for name in ["POST /webhooks/{source}", "publish cd.in", "enrich summary", "write post"] {
        assert_eq!(one(trace, name).attribute("copydesk.event.id"), event_id, "{name}");
    }
}

/// What the AI service was sent for this save: the site may have older events to send.
fn asked(ai: &Ai, trace_id: &str) -> Vec<String> {
    let sent = ai.calls().into_iter().filter_map(|call| call.traceparent);
    sent.filter(|traceparent| traceparent.contains(trace_id)).collect()
}

/// The header of a request whose span this is.
fn carried(span: &Span) -> String {
    format!("00-{}-{}-01", span.trace_id, span.span_id)
}

/// No secret, no word of the post or of its summary, nobody's name in a span, a metric or a line.
async fn nothing_is_told(wordpress: &WordPress, node: &mut Node, collector: &Collector) {
    eventually("metrics have arrived", async || {
        collector.metrics().iter().any(|name| name == "copydesk.runs").then_some(())
    })
    .await;
    let (shown, (_, token)) = (node.metrics().await, node.access());
    assert!(node.stop().success());
    let said = std::fs::read_to_string(node.log_file()).unwrap();
    let words = ["canary in the title", FIRST[0], "Marker post-", "desk@"];
    let secrets = [wordpress.password(), SECRET, &token];
    for canary in words.into_iter().chain(secrets) {
        assert!(!collector.has_seen(canary), "{canary} is in a span or a metric");
        assert!(!shown.contains(canary), "{canary} is in a metric");
        assert!(!said.contains(canary), "{canary} is in a line");
    }
}

impl WordPress {
    /// The REST requests that carried this trace.
    fn traced_requests(&self, trace_id: &str) -> Vec<Value> {
        let path = PathBuf::from(self.fact("logs")).join("requests.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains(trace_id));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
