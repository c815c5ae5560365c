//! A client that sends any bytes and reads answers one by one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longer than any of the node's own limits.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the node.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    /// Connects as another machine would: every 127.0.0.x is this one.
    pub(super) async fn connect_as(host: u8, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        let own = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
        socket.bind(SocketAddr::new(own, 0)).unwrap();
        Self { stream: socket.connect(address).await.unwrap(), read: Vec::new() }
    }

    /// Sends; a node that has closed already is not an error.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes).await;
    }

    /// Says that nothing more comes.
    pub(super) async fn finish(&mut self) {
        let _closed = self.stream.shutdown().await;
    }

    /// The next answer, or `None` when the node has closed.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        let next = tokio::time::timeout(PATIENCE, self.next()).await;
        next.expect("an answer or the end of the connection")
    }

    /// As [`Self::answer`]; `None` outside when neither comes in time.
    pub(super) async fn answer_within(&mut self, limit: Duration) -> Option<Option<Answer>> {
        tokio::time::timeout(limit, self.next()).await.ok()
    }

    async fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some((answer, bytes)) = parse(&self.read) {
                self.read.drain(..bytes);
                return Some(answer);
            }
            let mut some = [0; 4_096];
            // A reset is an end like any other: the node left bytes of ours unread.
            match self.stream.read(&mut some).await {
                Ok(0) | Err(_) => {
                    assert!(self.read.is_empty(), "cut: {}", String::from_utf8_lossy(&self.read));
                    return None;
                }
                Ok(bytes) => self.read.extend_from_slice(&some[..bytes]),
            }
        }
    }
}

impl Answer {
    /// A header's value, or nothing.
    pub(super) fn header(&self, name: &str) -> &str {
        let line = |line: &&str| line.to_lowercase().starts_with(&format!("{name}:"));
        self.head.lines().find(line).map_or("", |line| line[name.len() + 1..].trim())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// What does not fit the form that every answer with this code has. Without a code, hyper
    /// answered before our code ran: a status and no body.
    pub(super) fn misfit(&self, code: &str) -> Option<String> {
        let problem = self.json();
        let request_id = problem["request_id"].as_str().unwrap_or_default();
        let waits = matches!(self.status, 429 | 503);
        let refused = self.status >= 400 && !code.is_empty();
        let checks = [
            ("the code", refused && problem["code"] != code),
            ("the status inside", refused && problem["status"] != self.status),
            ("the type", refused && problem["type"] != format!("urn:copydesk:error:{code}")),
            ("the request id", refused && request_id.len() != 16),
            (
                "the media type",
                refused && self.header("content-type") != "application/problem+json",
            ),
            ("a body", !refused && self.status >= 400 && !self.body.is_empty()),
            ("cache-control", !self.body.is_empty() && self.header("cache-control") != "no-store"),
            ("retry-after", waits == self.header("retry-after").is_empty()),
            ("allow", (self.status == 405) != (self.header("allow") == "POST")),
            ("CORS", self.head.to_lowercase().contains("access-control")),
            ("an echo", self.body.contains(super::CANARY)),
        ];
        let wrong: Vec<_> =
            checks.iter().filter(|(_, wrong)| *wrong).map(|(what, _)| *what).collect();
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }
}

fn parse(read: &[u8]) -> Option<(Answer, usize)> {
    let end = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(read[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: String::new() };
    let length = answer.header("content-length").parse().unwrap_or(0);
    let body = read.get(end..end + length)?;
    answer.body = String::from_utf8(body.to_vec()).unwrap();
    Some((answer, end + length))
}
