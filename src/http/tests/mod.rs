//! Rows of the catalogue of bad input (framing, paths, state), over raw sockets.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod client;
mod content;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use copydesk_core::refusal::{Code, Refusal};
use copydesk_core::webhook::Head;
use copydesk_proto::SourceId;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Arrival, Drain, Ingress, Intake, Receipt, Server, Storing};
use client::Client;

/// Stands for all that is behind the ingress: takes bodies whose length the `x-length` header
/// signs, and stores when `gate` lets it.
struct Stub {
    stored: Mutex<Vec<Bytes>>,
    gate: Semaphore,
    ready: AtomicBool,
}

struct Shared(Arc<Stub>);
type Taken = Result<Storing, Refusal>;

impl Intake for Shared {
    fn knows(&self, path: &str) -> Option<SourceId> {
        matches!(path, "/webhooks/news" | "/hooks/own").then(|| "news".parse().unwrap())
    }

    fn receive(&self, source: &SourceId, head: &Head<'_>, body: Bytes, _: Arrival) -> Taken {
        assert_eq!((source.as_str(), head.method), ("news", "POST"));
        assert!(head.peer.is_some_and(|peer| peer.is_loopback()));
        let signed = head.headers.iter().find(|(name, _)| *name == "x-length");
        let Some((_, length)) = signed else {
            return Err(Code::MissingHeader.refuse("x-length"));
        };
        if *length != body.len().to_string().as_bytes() {
            return Err(Code::BadSignature.refuse("x-length"));
        }
        let stub = Arc::clone(&self.0);
        Ok(Box::pin(async move {
            stub.gate.acquire().await.unwrap().forget();
            let mut stored = stub.stored.lock().unwrap();
            let duplicate = stored.contains(&body);
            stored.push(body);
            Ok(Receipt { event_id: "e-1".to_owned(), duplicate })
        }))
    }

    fn ready(&self) -> Result<(), Refusal> {
        let ready = self.0.ready.load(Ordering::SeqCst);
        if ready { Ok(()) } else { Err(Code::LogUnavailable.refuse("no log")) }
    }
}

struct Node {
    address: std::net::SocketAddr,
    stub: Arc<Stub>,
    drain: Drain,
    task: JoinHandle<()>,
}

impl Node {
    async fn start(hosts: &[&str]) -> Self {
        Self::with_limits(hosts, 10_000, 1_000).await
    }

    async fn with_limits(hosts: &[&str], max: usize, per_address_max: usize) -> Self {
        let stub = Arc::new(Stub {
            stored: Mutex::default(),
            gate: Semaphore::new(10_000),
            ready: AtomicBool::new(true),
        });
        let drain = Drain::default();
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(address, max, per_address_max, drain.clone()).await.unwrap();
        let address = server.address().unwrap();
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        let intake = Arc::new(Shared(Arc::clone(&stub)));
        let ingress = Arc::new(Ingress::new(intake, hosts, drain.clone()));
        Self { address, stub, drain, task: tokio::spawn(server.run(ingress)) }
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    fn stored(&self) -> usize {
        self.stub.stored.lock().unwrap().len()
    }

    /// One row: these bytes on a connection of their own get these answers.
    async fn row(&self, name: &str, request: impl AsRef<[u8]>, answers: &[(u16, &str)], end: End) {
        let mut client = self.client().await;
        client.send(request.as_ref()).await;
        if matches!(end, End::Fin) {
            client.finish().await;
        }
        for (status, code) in answers {
            let answer = client.answer().await.unwrap_or_else(|| panic!("{name}: no answer"));
            assert_eq!(answer.status, *status, "{name}: {answer:?}");
            answer.check_form(name, code);
        }
        if matches!(end, End::Closes | End::Fin) {
            assert!(client.answer().await.is_none(), "{name}: still open");
        } else {
            client.send(good("again").as_bytes()).await;
            assert_eq!(client.answer().await.unwrap().status, 202, "{name}: no further request");
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    /// The connection takes another request.
    Stays,
    /// The server closes it.
    Closes,
    /// We finish sending, and then the server closes it.
    Fin,
}

fn good(body: &str) -> String {
    post("Host: desk\r\n", body)
}

fn post(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /webhooks/news HTTP/1.1\r\n{headers}X-Length: {length}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn chunked(headers: &str, chunks: &str) -> String {
    format!("POST /webhooks/news HTTP/1.1\r\nHost: desk\r\n{headers}\r\n{chunks}")
}

const ACCEPTED: (u16, &str) = (202, "");
/// What hyper answers before our code runs: a status and no body.
const EMPTY: &str = "(empty)";

#[tokio::test]
async fn methods_and_targets() {
    let node = Node::start(&[]).await;
    let not_allowed = (405, "method_not_allowed");
    for method in ["GET", "PUT", "DELETE", "PATCH", "post", "BREW", "OPTIONS"] {
        let request = format!("{method} /webhooks/news HTTP/1.1\r\nHost: desk\r\n\r\n");
        node.row(method, request, &[not_allowed], End::Stays).await;
    }
    for target in ["CONNECT desk:80", "OPTIONS *"] {
        let request = format!("{target} HTTP/1.1\r\nHost: desk\r\n\r\n");
        node.row(target, request, &[(404, "not_found")], End::Stays).await;
    }
    node.row(
        "own path",
        good("x").replace("/webhooks/news", "/hooks/own"),
        &[ACCEPTED],
        End::Stays,
    )
    .await;
    node.row("query", good("x").replace("/news", "/news?site=other"), &[ACCEPTED], End::Stays)
        .await;
    let long =
        |bytes: usize| good("y").replace("/news", &format!("/news?{}", "a".repeat(bytes - 15)));
    node.row("38 fits", long(2_048), &[ACCEPTED], End::Stays).await;
    node.row("38", long(2_049), &[(414, "uri_too_long")], End::Closes).await;
}

#[tokio::test]
async fn names_that_are_no_source() {
    let node = Node::start(&[]).await;
    for path in [
        "/",
        "/webhooks",
        "/webhooks/",
        "/webhooks/..%2f..%2fetc",
        "/webhooks/%00",
        "/webhooks/%0d%0aPUB%20x",
        "/webhooks/%20",
        "/webhooks/*",
        "/webhooks/%3e",
        "/webhooks/a.b",
        "/webhooks/$JS",
        "/webhooks/_INBOX",
        "/webhooks/%ff",
        "/webhooks/%zz",
        "/webhooks/../admin",
        "/webhooks/news/",
        "//webhooks/news",
        "/webhooks/NEWS",
        "/webhooks/n%65ws",
        "/api/v1/status",
    ] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: desk\r\nContent-Length: 0\r\n\r\n");
        node.row(path, request, &[(404, "not_found")], End::Stays).await;
    }
    let raw = "POST /webhooks/é HTTP/1.1\r\nHost: desk\r\nContent-Length: 0\r\n\r\n";
    node.row("132", raw, &[(404, "not_found")], End::Stays).await;
    let raw = "POST /webhooks/> HTTP/1.1\r\nHost: desk\r\nContent-Length: 0\r\n\r\n";
    node.row("130", raw, &[(400, EMPTY)], End::Closes).await;
    let long = format!("POST /webhooks/{} HTTP/1.1\r\nHost: desk\r\n\r\n", "a".repeat(10_000));
    node.row("134", long, &[(414, "uri_too_long")], End::Stays).await;
    assert_eq!(node.stored(), 22, "only the good ones that followed");
}

#[tokio::test]
async fn framing_that_is_no_http() {
    let node = Node::start(&[]).await;
    let empty = [(400, EMPTY)];
    node.row("1", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &empty, End::Closes).await;
    node.row("2", "GET /\r\n", &empty, End::Closes).await;
    node.row("3", good("x").replace("HTTP/1.1", "HTTP/2.0"), &empty, End::Closes).await;
    for length in ["7\r\nContent-Length: 8", "7, 7", "+7", "-1", "0x7", "18446744073709551616"] {
        let request = format!(
            "POST /webhooks/news HTTP/1.1\r\nHost: d\r\nContent-Length: {length}\r\n\r\n1234567"
        );
        node.row(length, request, &empty, End::Closes).await;
    }
    for line in ["Host : d", "A b: c", ": c", "A: b\r\n c", "A: \0", "A: b\rc"] {
        let request = format!("POST /webhooks/news HTTP/1.1\r\n{line}\r\n\r\n");
        node.row(line, request, &empty, End::Closes).await;
    }
    for coding in ["identity", "xchunked"] {
        let header = format!("Transfer-Encoding: {coding}\r\n");
        node.row(coding, chunked(&header, "0\r\n\r\n"), &empty, End::Closes).await;
    }
    let many = |count| post(&"A: b\r\n".repeat(count), "x");
    node.row(
        "36 fits",
        many(61).replace("A: b\r\nX-", "Host: desk\r\nX-"),
        &[ACCEPTED],
        End::Stays,
    )
    .await;
    node.row("36", many(63), &[(431, EMPTY)], End::Closes).await;
    let wide = |bytes| post(&format!("Host: desk\r\nA: {}\r\n", "a".repeat(bytes)), "x");
    node.row("37 fits", wide(15_000), &[ACCEPTED], End::Stays).await;
    node.row("37", wide(16_400), &[(431, EMPTY)], End::Closes).await;
}

#[tokio::test]
async fn hosts() {
    let node = Node::start(&["desk", "Desk.Example.ORG"]).await;
    let bad = (400, "bad_host");
    node.row("9", post("", "x"), &[bad], End::Closes).await;
    node.row("10", post("Host: desk\r\nHost: desk\r\n", "x"), &[bad], End::Closes).await;
    node.row("empty", post("Host: \r\n", "x"), &[bad], End::Closes).await;
    node.row("11", post("Host: evil.test\r\n", "x"), &[(421, "misdirected_host")], End::Closes)
        .await;
    node.row("port", post("Host: desk.example.org:8443\r\n", "x"), &[ACCEPTED], End::Stays).await;
    let absolute = |host: &str| good("x").replace("/webhooks", &format!("http://{host}/webhooks"));
    node.row("12", absolute("other"), &[bad], End::Closes).await;
    node.row("12 equal", absolute("desk"), &[ACCEPTED], End::Stays).await;
    node.row("13", post("", "x").replace("HTTP/1.1", "HTTP/1.0"), &[ACCEPTED], End::Closes).await;
}

#[tokio::test]
async fn bodies_and_their_lengths() {
    let node = Node::start(&[]).await;
    node.row("14", good("x").replace("\r\n", "\n"), &[ACCEPTED], End::Stays).await;
    node.row(
        "17",
        good("x").replace("X-Length: 1", "X-Length: 1\r\nContent-Length: 1"),
        &[ACCEPTED],
        End::Stays,
    )
    .await;
    let both = chunked(
        "X-Length: 3\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
    );
    node.row("18", both, &[ACCEPTED], End::Closes).await;
    let long = "POST /webhooks/news HTTP/1.1\r\nHost: desk\r\nContent-Length: 5\r\n\r\nabc";
    node.row("19", long, &[(400, "body_truncated")], End::Fin).await;
    let short = "POST /webhooks/news HTTP/1.1\r\nHost: desk\r\nX-Length: 5\r\nContent-Length: 3\r\n\r\nabc{}\r\n\r\n";
    node.row("21", short, &[(401, "bad_signature"), (400, EMPTY)], End::Closes).await;
    let none = "POST /webhooks/news HTTP/1.1\r\nHost: desk\r\nX-Length: 3\r\n\r\nabc";
    node.row("22", none, &[(400, "empty_body")], End::Closes).await;
    node.row("23", good(""), &[(400, "empty_body")], End::Closes).await;
    let empty_chunks = chunked("X-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
    node.row("23 chunked", empty_chunks, &[(400, "empty_body")], End::Closes).await;
    let head = "POST /webhooks/news HTTP/1.1\r\nHost: desk\r\nContent-Length: 262145\r\n\r\n";
    node.row("24, before reading", head, &[(413, "body_too_large")], End::Closes).await;
    node.row("25", good(&"x".repeat(262_144)), &[ACCEPTED], End::Stays).await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4_096));
    let large = chunked("Transfer-Encoding: chunked\r\n", &chunk.repeat(74));
    node.row("26", large, &[(413, "body_too_large")], End::Closes).await;
    let expect = head.replace("Host", "Expect: 100-continue\r\nHost");
    node.row("27", expect, &[(413, "body_too_large")], End::Closes).await;
    let banana = post("Host: desk\r\nExpect: banana\r\n", "x");
    node.row("28", banana, &[(417, "expectation_failed")], End::Closes).await;
    node.row(
        "42",
        post("Host: desk\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", "x"),
        &[ACCEPTED],
        End::Stays,
    )
    .await;
}

#[tokio::test]
async fn chunks() {
    let node = Node::start(&[]).await;
    let te = "Transfer-Encoding: chunked\r\n";
    let bad = [(400, "bad_body")];
    node.row("29 size", chunked(te, "zz\r\nabc\r\n0\r\n\r\n"), &bad, End::Closes).await;
    node.row("29 overflow", chunked(te, "fffffffffffffffff\r\nabc"), &bad, End::Closes).await;
    let extension = format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(20_000));
    node.row("29 extension", chunked(te, &extension), &bad, End::Closes).await;
    node.row("29 cut", chunked(te, "5\r\nabc"), &bad, End::Fin).await;
    let gzip = chunked("Transfer-Encoding: gzip, chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
    node.row("31", gzip, &[(400, "unsupported_transfer_encoding")], End::Closes).await;
    let trailer = chunked(
        "Trailer: X-Length\r\nTransfer-Encoding: chunked\r\n",
        "3\r\nabc\r\n0\r\nX-Length: 3\r\n\r\n",
    );
    node.row("40", trailer, &[(400, "missing_header")], End::Stays).await;
    let parts = chunked(
        "X-Length: 6\r\nTransfer-Encoding: Chunked\r\n",
        "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    );
    node.row("chunks are joined", parts, &[ACCEPTED], End::Stays).await;
    assert!(node.stub.stored.lock().unwrap().contains(&Bytes::from_static(b"abcdef")));
    let three = [good("1"), good("2").replace("X-Length: 1", "X-Length: 9"), good("3")].concat();
    node.row("41", three, &[ACCEPTED, (401, "bad_signature"), ACCEPTED], End::Stays).await;
}

#[tokio::test]
async fn an_expected_continue_comes_before_the_body() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    let request = post("Host: desk\r\nExpect: 100-continue\r\n", "x");
    let (head, body) = request.split_at(request.len() - 1);
    client.send(head.as_bytes()).await;
    assert_eq!(client.answer().await.unwrap().status, 100);
    client.send(body.as_bytes()).await;
    assert_eq!(client.answer().await.unwrap().status, 202);
}

#[tokio::test]
async fn answers_say_what_became_of_the_event() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    for (body, status) in [("a", "accepted"), ("b", "accepted"), ("a", "duplicate")] {
        client.send(good(body).as_bytes()).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.body, format!(r#"{{"status":"{status}","event_id":"e-1"}}"#));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

/// Virtual seconds until the server closes a connection that sent these bytes.
async fn seconds_open(node: &Node, request: &str, status: Option<(u16, &str)>) -> u64 {
    let mut client = node.client().await;
    let start = Instant::now();
    client.send(request.as_bytes()).await;
    if let Some((status, code)) = status {
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, status);
        answer.check_form(request, code);
    }
    assert!(client.answer().await.is_none());
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn silent_and_slow_clients_are_closed_in_time() {
    let node = Node::start(&[]).await;
    assert_eq!(seconds_open(&node, "", None).await, 5, "32");
    assert_eq!(seconds_open(&node, "POST /web", None).await, 5, "33");
    assert_eq!(seconds_open(&node, "POST /webhooks/news HTTP/1.1\r\nHost: d\r\n", None).await, 5);
    let held = "POST /webhooks/news HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nabc";
    assert_eq!(seconds_open(&node, held, Some((408, "body_timeout"))).await, 15, "20");
    assert_eq!(seconds_open(&node, &good("x"), Some(ACCEPTED)).await, 30, "idle");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_drips_is_closed_in_time() {
    let node = Node::start(&[]).await;
    let dripped = async |start: &str, drip: &[u8]| {
        let mut client = node.client().await;
        let began = Instant::now();
        client.send(start.as_bytes()).await;
        while began.elapsed() < Duration::from_secs(60) {
            if let Some(end) = client.answer_within(Duration::from_secs(1)).await {
                return (end.map(|answer| answer.status), began.elapsed().as_secs());
            }
            client.send(drip).await;
        }
        panic!("open for a minute");
    };
    let head = "POST /webhooks/news HTTP/1.1\r\nHost: d\r\nA: ";
    assert_eq!(dripped(head, b"a").await, (None, 5), "34");
    let body = "POST /webhooks/news HTTP/1.1\r\nHost: d\r\nContent-Length: 99999\r\n\r\n";
    assert_eq!(dripped(body, &[b'x'; 100]).await, (Some(408), 15), "35");
}

#[tokio::test]
async fn connections_are_bounded() {
    let node = Node::with_limits(&[], 10, 3).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut client = node.client().await;
        client.send(good("x").as_bytes()).await;
        assert_eq!(client.answer().await.unwrap().status, 202);
        open.push(client);
    }
    assert!(node.client().await.answer().await.is_none(), "44");
    let mut last = open.pop().unwrap();
    last.finish().await;
    assert!(last.answer().await.is_none());
    node.row("a place came back", good("x"), &[ACCEPTED], End::Stays).await;
}

#[tokio::test]
async fn a_connection_ends_after_its_thousandth_answer() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    for number in 1..=1_000 {
        client.send(good("x").as_bytes()).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.header("connection") == "close", number == 1_000);
    }
    assert!(client.answer().await.is_none());
}

#[tokio::test]
async fn an_event_is_stored_though_its_sender_hangs_up() {
    let node = Node::start(&[]).await;
    let all = node.stub.gate.acquire_many(10_000).await.unwrap();
    let mut client = node.client().await;
    client.send(good("left").as_bytes()).await;
    // Another request answered on the same runtime does not prove that the first was taken; the
    // waiter on the gate does.
    client::eventually(|| Arc::strong_count(&node.stub) > 2).await;
    drop(client);
    drop(all);
    client::eventually(|| node.stored() == 1).await;
}

#[tokio::test]
async fn health_tells_life_from_readiness() {
    let node = Node::start(&["desk"]).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: 10.0.0.9\r\n\r\n");
    for path in ["/livez", "/healthz", "/readyz"] {
        node.row(path, get(path), &[(200, "")], End::Stays).await;
    }
    node.stub.ready.store(false, Ordering::SeqCst);
    node.row("137", get("/readyz"), &[(503, "log_unavailable")], End::Stays).await;
    node.row("alive", get("/livez"), &[(200, "")], End::Stays).await;
}

#[tokio::test]
async fn the_end_finishes_what_was_begun_and_refuses_the_rest() {
    let node = Node::start(&[]).await;
    let all = node.stub.gate.acquire_many(10_000).await.unwrap();
    let mut begun = node.client().await;
    begun.send(good("begun").as_bytes()).await;
    client::eventually(|| Arc::strong_count(&node.stub) > 2).await;

    node.drain.begin();
    node.row("139", good("late"), &[(503, "draining")], End::Closes).await;
    let ready = "GET /readyz HTTP/1.1\r\nHost: desk\r\n\r\n";
    let mut probe = node.client().await;
    probe.send(ready.as_bytes()).await;
    assert_eq!(probe.answer().await.unwrap().status, 503);
    assert!(!node.task.is_finished());

    drop(all);
    assert_eq!(begun.answer().await.unwrap().status, 202);
    assert!(begun.answer().await.is_none());
    assert!(probe.answer().await.is_none());
    node.task.await.unwrap();
    assert_eq!(node.stub.stored.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_ever() {
    let node = Node::start(&[]).await;
    let _all = node.stub.gate.acquire_many(10_000).await.unwrap();
    let mut begun = node.client().await;
    begun.send(good("begun").as_bytes()).await;
    client::eventually(|| Arc::strong_count(&node.stub) > 2).await;
    let start = Instant::now();
    node.drain.begin();
    node.task.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 22);
}
