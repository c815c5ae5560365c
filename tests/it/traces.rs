//! One event is one trace: from the save in WordPress through the log to each AI call and the
//! write, across processes and crashes, as a collector received it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::HeaderMap;
use copydesk_eventlog::testing::NatsServer;
use serde_json::Value;

use crate::support::ai::Ai;
use crate::support::node::{Node, Parts, SECRET};
use crate::support::otlp::{Collector, Span};
use crate::support::sender::{SAVE_ID, Sender, trace_id, update};
use crate::support::site::Site;
use crate::support::{eventually, now_ms};
use crate::wordpress::site::WordPress;

const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// Must be in no span, metric or line.
const CONTENT: &str = "canary-words-of-an-unpublished-post";
const PASSWORD: &str = "canary-password-1234";

struct World {
    node: Node,
    url: String,
    ai: Ai,
    site: Site,
    collector: Collector,
}

impl World {
    async fn start(log: &str, protocol: &str, route: &str, more: &[(&str, &str)]) -> Self {
        let collector = Collector::start().await;
        let ai = Ai::start(0, Duration::from_millis(20), 1).await;
        let site = Site::start(0, 1).await;
        let site_table = format!(
            "url = \"{}\"\nuser = \"copydesk\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
             delivery = \"ingest\"",
            site.url
        );
        let provider = format!(
            "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\n\
             model = \"m-1\"\ninput_price = \"1.00\"",
            ai.base_url
        );
        let parts = Parts { log, site: &site_table, provider: &provider, route };
        let endpoint = if protocol == "grpc" { &collector.grpc } else { &collector.http };
        let mut node = Node::new(&parts)
            .with_env("COPYDESK_TELEMETRY_OTLP_ENDPOINT", endpoint)
            .with_env("COPYDESK_TELEMETRY_OTLP_PROTOCOL", protocol)
            .with_env("OTEL_METRIC_EXPORT_INTERVAL", "500")
            .with_env("RUST_LOG", "debug,hyper=info,h2=info,opentelemetry=off");
        for (name, value) in more {
            node = node.with_env(name, value);
        }
        let url = format!("{}/webhooks/news", node.start().await);
        Self { node, url, ai, site, collector }
    }

    /// Sends one update under this key; returns the event's id.
    async fn send(&self, post: u64, version: u64, key: &str) -> String {
        let mut body = update(post, version, key);
        body["saved_at"] = Value::from(now_ms() - 40);
        let text = format!("{} {CONTENT}", body["content"].as_str().unwrap());
        body["content"] = Value::from(text);
        let (status, answer) = Sender::new(SECRET).send(&self.url, &body).await.unwrap();
        assert_eq!(status, 202, "{answer}");
        answer["event_id"].as_str().unwrap().to_owned()
    }

    /// The trace of a key once its event has come to its end, as the collector has it.
    async fn trace(&self, key: &str) -> Vec<Span> {
        let what = "the event's end arrives at the collector, and with it all spans before";
        eventually(what, async || {
            let trace = self.collector.trace(&trace_id(key));
            let has = |name| trace.iter().any(|span: &Span| span.name == name);
            let whole = ["save post", "POST /webhooks/{source}", "process cd.in"].map(has);
            (whole == [true; 3]).then_some(trace)
        })
        .await
    }
}

/// The only span of this name.
pub(crate) fn one<'t>(trace: &'t [Span], name: &str) -> &'t Span {
    let named: Vec<_> = trace.iter().filter(|span| span.name == name).collect();
    assert_eq!(named.len(), 1, "{name} in {trace:#?}");
    named[0]
}

fn all<'t>(trace: &'t [Span], name: &str) -> Vec<&'t Span> {
    trace.iter().filter(|span| span.name == name).collect()
}

/// Every span but the first has a parent in the trace, and began no earlier.
pub(crate) fn is_whole(trace: &[Span]) {
    for span in trace {
        let parent = trace.iter().find(|other| other.span_id == span.parent_id);
        let first = span.parent_id.is_empty();
        assert!(first || parent.is_some(), "no parent of {span:#?} in {trace:#?}");
        assert!(span.start_ns <= span.end_ns, "{span:#?}");
        // A save's time and the log's are whole milliseconds.
        let early = |p: &&Span| span.start_ns + 1_000_000 < p.start_ns;
        assert_eq!(parent.filter(early).map(|p| &p.name), None, "{} began early", span.name);
    }
    let firsts = trace.iter().filter(|span| span.parent_id.is_empty()).count();
    assert_eq!(firsts, 1, "one beginning: {trace:#?}");
}

pub(crate) fn is_inside(inner: &Span, outer: &Span) {
    let inside = inner.start_ns >= outer.start_ns && inner.end_ns <= outer.end_ns;
    assert!(inside, "{inner:#?} is not inside {outer:#?}");
}

/// The hops of one update of a post that carried its text, from the save to the write.
fn every_hop_is_there(world: &World, trace: &[Span], event_id: &str, system: &str) {
    is_whole(trace);
    let save = one(trace, "save post");
    assert_eq!((save.service.as_str(), save.span_id.as_str()), ("wordpress", SAVE_ID));
    let request = one(trace, "POST /webhooks/{source}");
    assert_eq!((request.kind, &request.parent_id), (SERVER, &save.span_id));
    assert_eq!(save.end_ns, request.start_ns, "the save's span ends at arrival");
    assert_eq!(request.attribute("http.response.status_code"), "202");
    assert_eq!(request.attribute("http.route"), "/webhooks/{source}");
    let publish = one(trace, "publish cd.in");
    assert_eq!((publish.kind, &publish.parent_id), (PRODUCER, &request.span_id));
    assert_eq!(publish.attribute("messaging.system"), system);
    is_inside(publish, request);
    let process = one(trace, "process cd.in");
    assert_eq!((process.kind, &process.parent_id), (CONSUMER, &publish.span_id));
    assert_eq!(process.attribute("copydesk.outcome"), "applied");
    let enrich = *all(trace, "enrich summary").last().unwrap();
    assert_eq!((enrich.kind, &enrich.parent_id), (INTERNAL, &process.span_id));
    let chat = *all(trace, "chat m-1").last().unwrap();
    assert_eq!((chat.kind, &chat.parent_id), (CLIENT, &enrich.span_id));
    is_inside(chat, enrich);
    assert_eq!(chat.attribute("gen_ai.provider.name"), "openai");
    assert_eq!(chat.attribute("gen_ai.response.model"), "stand-in-1");
    assert_eq!(chat.attribute("gen_ai.response.finish_reasons"), "stop");
    assert_eq!(chat.attribute("gen_ai.usage.input_tokens"), "50");
    assert_eq!(chat.attribute("gen_ai.usage.output_tokens"), "10");
    let write = one(trace, "write post");
    assert_eq!((write.kind, &write.parent_id), (INTERNAL, &process.span_id));
    is_inside(write, process);
    let sent = one(trace, "POST /ai-guy/v1/ingest");
    assert_eq!((sent.kind, &sent.parent_id), (CLIENT, &write.span_id));
    is_inside(sent, write);
    for span in [request, publish, process, enrich, write] {
        assert_eq!(span.attribute("copydesk.event.id"), event_id, "{span:#?}");
    }
    let carries = |traceparent: &Option<String>, span: &Span| {
        *traceparent == Some(format!("00-{}-{}-01", span.trace_id, span.span_id))
    };
    assert!(world.ai.calls().iter().any(|call| carries(&call.traceparent, chat)));
    assert!(world.site.history().iter().any(|arrival| carries(&arrival.traceparent, sent)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_one_trace_on_the_embedded_log_by_grpc() {
    let mut world = World::start("embedded", "grpc", "", &[]).await;
    let event_id = world.send(1, 1, "trace-embedded").await;
    let trace = world.trace("trace-embedded").await;
    every_hop_is_there(&world, &trace, &event_id, "copydesk_log");
    let said = world.node.run(&["trace", &event_id, "--json"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let told: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(told["trace_id"], trace_id("trace-embedded"));
    nothing_is_told(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_one_trace_on_jetstream_by_http() {
    let nats = NatsServer::start();
    let mut world = World::start(&nats.url(), "http/protobuf", "", &[]).await;
    let event_id = world.send(1, 1, "trace-jetstream").await;
    let trace = world.trace("trace-jetstream").await;
    every_hop_is_there(&world, &trace, &event_id, "nats");
    nothing_is_told(&mut world).await;
}

/// Who is told of an event's end is in its trace, by the request's own `traceparent`, too.
#[tokio::test(flavor = "multi_thread")]
async fn each_subscriber_is_a_hop_of_the_trace_on_jetstream() {
    let nats = NatsServer::start();
    let subscribers = ["crm", "search"].map(|id| (id, Listener::start()));
    let tables = subscribers.each_ref().map(|(id, listener)| {
        let secrets = "secrets = [{ id = \"k1\", value = \"env:CRM_SECRET\" }]";
        format!("\n[subscribers.{id}]\nurl = \"{}\"\n{secrets}", listener.url)
    });
    let key = ("CRM_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let mut world = World::start(&nats.url(), "grpc", &tables.concat(), &[key]).await;
    let event_id = world.send(1, 1, "trace-told").await;
    let trace = eventually("both notices have ended", async || {
        let trace = world.trace("trace-told").await;
        (all(&trace, "process notice").len() == 2).then_some(trace)
    })
    .await;
    every_hop_is_there(&world, &trace, &event_id, "nats");
    let publish = &one(&trace, "publish cd.in").span_id;
    for told in all(&trace, "tell subscriber") {
        let process = trace.iter().find(|span| span.span_id == told.parent_id).unwrap();
        assert_eq!((process.name.as_str(), &process.parent_id), ("process notice", publish));
        assert_eq!((process.kind, told.kind), (CONSUMER, CLIENT));
        is_inside(told, process);
        let written = one(&trace, "POST /ai-guy/v1/ingest");
        assert!(told.start_ns >= written.end_ns, "told of the end before the end");
        let sent = format!("00-{}-{}-01", told.trace_id, told.span_id);
        let heard = subscribers.iter().filter(|(_, l)| l.heard().contains(&sent)).count();
        assert_eq!(heard, 1, "{sent} at one of them");
    }
    assert_eq!(all(&trace, "tell subscriber").len(), 2);
    nothing_is_told(&mut world).await;
}

/// A subscriber that keeps the `traceparent` of each request.
struct Listener {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    fn start() -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&heard);
        let listen = async move |headers: HeaderMap| {
            let traceparent = headers["traceparent"].to_str().unwrap().to_owned();
            list.lock().unwrap().push(traceparent);
        };
        let router = axum::Router::new().route("/", axum::routing::post(listen));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let url = format!("http://{}/", socket.local_addr().unwrap());
        let socket = tokio::net::TcpListener::from_std(socket).unwrap();
        tokio::spawn(async move { axum::serve(socket, router).await });
        Self { url, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nodes_event_goes_on_in_its_trace_on_the_embedded_log() {
    a_killed_nodes_event_goes_on_in_its_trace("embedded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nodes_event_goes_on_in_its_trace_on_jetstream() {
    let nats = NatsServer::start();
    a_killed_nodes_event_goes_on_in_its_trace(&nats.url()).await;
}

async fn a_killed_nodes_event_goes_on_in_its_trace(log: &str) {
    let key = "trace-killed";
    let mut world = World::start(log, "grpc", "", &[]).await;
    world.ai.become_so(0, Duration::from_secs(600));
    let event_id = world.send(1, 1, key).await;
    eventually("the call is out and the first spans have arrived", async || {
        let arrived = world.collector.trace(&trace_id(key));
        // WordPress's spans leave after ours.
        let told = arrived.iter().any(|span| span.name == "publish cd.in")
            && arrived.iter().any(|span| span.name == "save post");
        (told && world.ai.calls().len() == 1).then_some(())
    })
    .await;
    world.node.kill();
    world.ai.become_so(0, Duration::ZERO);
    world.url = format!("{}/webhooks/news", world.node.start().await);
    world.node.quiet().await;
    let trace = world.trace(key).await;
    let system = if log == "embedded" { "copydesk_log" } else { "nats" };
    every_hop_is_there(&world, &trace, &event_id, system);
    let process = one(&trace, "process cd.in");
    assert_eq!(process.attribute("copydesk.recovered"), "true");
    assert_eq!(world.ai.calls().len(), 2, "the call that was cut off, and the one that was not");
    nothing_is_told(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_try_is_a_span_and_failures_are_red() {
    let key = "trace-retried";
    let mut world = World::start("embedded", "grpc", "", &[]).await;
    world.ai.become_so(100, Duration::ZERO);
    let event_id = world.send(1, 1, key).await;
    eventually("two tries have failed", async || (world.ai.calls().len() >= 2).then_some(())).await;
    world.ai.become_so(0, Duration::ZERO);
    let trace = world.trace(key).await;
    every_hop_is_there(&world, &trace, &event_id, "copydesk_log");
    let tries = all(&trace, "enrich summary");
    assert!(tries.len() >= 3, "{tries:#?}");
    let (last, failed) = tries.split_last().unwrap();
    assert!(!last.failed && failed.iter().all(|span| span.failed), "{tries:#?}");
    for (number, tried) in (1..).zip(&tries) {
        assert_eq!(tried.attribute("copydesk.attempt"), number.to_string());
    }
    let waits: Vec<_> = trace.iter().filter(|span| span.name.starts_with("wait ")).collect();
    let between = |span: &&&Span| span.start_ns >= tries[0].start_ns;
    assert!(waits.iter().filter(between).count() >= failed.len(), "{waits:#?}");
    assert!(all(&trace, "chat m-1").iter().filter(|span| span.failed).count() >= 2);
    nothing_is_told(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coalesced_events_and_the_run_that_took_their_place_are_linked() {
    let route = "coalesce = \"latest\"\nquiet = \"500ms\"\nmax_wait = \"60s\"";
    let world = World::start("embedded", "grpc", route, &[]).await;
    world.send(1, 1, "burst-1").await;
    world.send(1, 2, "burst-2").await;
    let event_id = world.send(1, 3, "burst-3").await;
    let leader = world.trace("burst-3").await;
    every_hop_is_there(&world, &leader, &event_id, "copydesk_log");
    let run = one(&leader, "process cd.in");
    assert_eq!(one(&leader, "wait quiet").parent_id, one(&leader, "publish cd.in").span_id);
    for key in ["burst-1", "burst-2"] {
        let absorbed = world.trace(key).await;
        is_whole(&absorbed);
        let ended = one(&absorbed, "process cd.in");
        assert_eq!(ended.attribute("copydesk.outcome"), "superseded");
        let there = (run.trace_id.clone(), run.span_id.clone(), "coalesced".to_owned());
        assert!(ended.links.contains(&there), "{ended:#?}");
        let came = &one(&absorbed, "publish cd.in").span_id;
        let back = (trace_id(key), came.clone(), "coalesced".to_owned());
        assert!(run.links.contains(&back), "{run:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_a_wait_with_its_reason() {
    let mut world = World::start("embedded", "grpc", "", &[]).await;
    assert!(world.node.run(&["hold", "site:news"]).status.success());
    world.send(1, 1, "held").await;
    eventually("the event waits for the hold", async || {
        let shown = world.node.metrics().await;
        let posts = "copydesk_waiting_posts{copydesk_wait_reason=\"hold\"} 1";
        shown.contains(posts).then_some(())
    })
    .await;
    assert!(world.node.run(&["resume", "site:news"]).status.success());
    let trace = world.trace("held").await;
    is_whole(&trace);
    assert_eq!(one(&trace, "wait hold").attribute("copydesk.wait.reason"), "hold");
    nothing_is_told(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_retry_is_a_trace_of_its_own_with_a_link() {
    let world = World::start("embedded", "grpc", "", &[]).await;
    world.ai.declines(true);
    world.send(1, 1, "dead").await;
    let dead = world.trace("dead").await;
    assert!(one(&dead, "process cd.in").failed);
    world.ai.declines(false);
    assert!(world.node.run(&["dead-letters", "retry", "news/1"]).status.success());
    let came = &one(&dead, "publish cd.in").span_id;
    let link = (trace_id("dead"), came.clone(), "replay".to_owned());
    let replay = eventually("the replay arrives", async || {
        world.collector.spans().into_iter().find(|span| span.links.contains(&link))
    })
    .await;
    assert_ne!(replay.trace_id, trace_id("dead"));
    assert_eq!(replay.attribute("copydesk.outcome"), "applied");
    is_whole(&world.collector.trace(&replay.trace_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_share_only_what_fails_is_recorded() {
    let world =
        World::start("embedded", "grpc", "", &[("COPYDESK_TELEMETRY_SAMPLING", "0.0")]).await;
    world.send(1, 1, "fine").await;
    world.node.quiet().await;
    world.ai.become_so(100, Duration::ZERO);
    let event_id = world.send(2, 1, "failing").await;
    eventually("a try has failed", async || (world.ai.calls().len() >= 2).then_some(())).await;
    world.ai.become_so(0, Duration::ZERO);
    let trace = world.trace("failing").await;
    is_whole(&trace);
    assert_eq!(one(&trace, "process cd.in").attribute("copydesk.event.id"), event_id);
    assert_eq!(world.collector.trace(&trace_id("fine")).len(), 0);
    let flags = |traceparent: &Option<String>| traceparent.as_ref().unwrap()[53..].to_owned();
    assert!(world.ai.calls().iter().all(|call| flags(&call.traceparent) == "00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_is_said_once_and_counted() {
    let hanging = Collector::hanging().await;
    let more = [
        ("COPYDESK_TELEMETRY_OTLP_ENDPOINT", hanging.as_str()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "300"),
    ];
    let mut world = World::start("embedded", "grpc", "", &more).await;
    for post in 1..=20 {
        world.send(post, 1, &format!("hanging-{post}")).await;
    }
    world.node.quiet().await;
    assert_eq!(world.site.history().len(), 20);
    eventually("the loss is counted", async || {
        let shown = world.node.metrics().await;
        let lost = "copydesk_telemetry_lost_total{copydesk_kind=\"spans\"}";
        shown.lines().find_map(|l| l.strip_prefix(lost)).filter(|n| n.trim() != "0").map(drop)
    })
    .await;
    world.send(21, 1, "hanging-21").await;
    world.node.quiet().await;
    assert!(world.node.stop().success());
    let said = std::fs::read_to_string(world.node.log_file()).unwrap();
    let of = |what: &str| said.lines().filter(|l| l.contains("WARN") && l.contains(what)).count();
    assert_eq!(of("does not take spans"), 1, "{said}");
    assert!(of("does not take metrics") <= 1, "{said}");
}

/// From the save in a real WordPress, through the read of its text, to the write in it; with the
/// plugin it is `wordpress::trace`.
#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_a_relay_tells_of_is_one_trace_with_the_read() {
    let wordpress = WordPress::alone().await;
    let collector = Collector::start().await;
    let ai = Ai::start(0, Duration::from_millis(20), 1).await;
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\nmodel = \"m-1\"",
        ai.base_url
    );
    let node = wordpress.node("embedded", "ingest", &provider);
    let mut node = node.with_env("COPYDESK_TELEMETRY_OTLP_ENDPOINT", &collector.grpc);
    wordpress.relay_to(&format!("{}/webhooks/news", node.start().await));
    let post = wordpress.publish(CONTENT, "");
    wordpress.settled(&node, post, 1).await;
    let sent = wordpress.traceparents(post);
    let (sent_trace, sent_span) = (&sent[0][3..35], &sent[0][36..52]);
    let trace = eventually("the event's end arrives at the collector", async || {
        let trace = collector.trace(sent_trace);
        let has = |name| trace.iter().any(|span| span.name == name);
        (has("process cd.in") && has("save post")).then_some(trace)
    })
    .await;
    is_whole(&trace);
    let save = one(&trace, "save post");
    assert_eq!((save.service.as_str(), save.span_id.as_str()), ("wordpress", sent_span));
    let process = one(&trace, "process cd.in");
    let read = one(&trace, "read post");
    assert_eq!(read.parent_id, process.span_id);
    assert_eq!(one(&trace, "GET /wp/v2/posts/{id}").parent_id, read.span_id);
    let chat = one(&trace, "chat m-1");
    assert_eq!(chat.parent_id, one(&trace, "enrich summary").span_id);
    let asked = ai.calls()[0].traceparent.clone().unwrap();
    assert_eq!((&asked[3..35], &asked[36..52]), (sent_trace, chat.span_id.as_str()));
    let write = one(&trace, "POST /ai-guy/v1/ingest");
    assert_eq!(write.parent_id, one(&trace, "write post").span_id);
    let arrived = wordpress.ingested(post..=post).await;
    let arrived = arrived[0].traceparent.clone().unwrap();
    assert_eq!((&arrived[3..35], &arrived[36..52]), (sent_trace, write.span_id.as_str()));
    assert!(!collector.has_seen(CONTENT));
    assert!(!collector.has_seen(wordpress.password()));
    assert!(node.stop().success());
}

/// Neither secrets nor words of a post are in any span, metric or line; and what lines there are
/// name trace and event.
async fn nothing_is_told(world: &mut World) {
    eventually("metrics have arrived", async || {
        let names = world.collector.metrics();
        names.iter().any(|name| name == "copydesk.runs").then_some(())
    })
    .await;
    let (shown, (_, token)) = (world.node.metrics().await, world.node.access());
    assert!(world.node.stop().success());
    let said = std::fs::read_to_string(world.node.log_file()).unwrap();
    for canary in [CONTENT, PASSWORD, SECRET, "Title of post", "Marker post-", &token] {
        assert!(!world.collector.has_seen(canary), "{canary} is in a span or a metric");
        assert!(!shown.contains(canary), "{canary} is in a metric");
        assert!(!said.contains(canary), "{canary} is in a line");
    }
    let lines = said.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let about = |words: &str| {
        let line = lines.iter().find(|line| line["message"] == words);
        line.unwrap_or_else(|| panic!("no line: {words}: {said}")).clone()
    };
    let taken = about("a webhook was taken in");
    let ended = about("an event reached its end");
    assert_eq!(taken["trace_id"], ended["trace_id"]);
    assert_eq!(taken["event_id"], ended["event_id"]);
    assert_eq!(taken["request_id"].as_str().map(str::len), Some(16));
}
