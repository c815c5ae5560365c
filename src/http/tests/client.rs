//! A client that sends any bytes and reads answers one by one.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any of the server's own limits.
const DEADLINE: Duration = Duration::from_secs(40);

pub(super) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    /// Another connection to the same server.
    pub(super) async fn again(&self) -> Self {
        Self::connect(self.stream.peer_addr().unwrap()).await
    }

    /// Sends; a server that has closed already is not an error.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes).await;
    }

    pub(super) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next answer, or `None` when the server has closed.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        self.answer_within(DEADLINE).await.expect("an answer or the end of the connection")
    }

    /// The same; `None` when neither comes in time.
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
            // A reset is an end like any other: the server left bytes of ours unread.
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

    /// The form every answer of ours has.
    pub(super) fn check_form(&self, row: &str, code: &str) {
        if code == super::EMPTY {
            assert_eq!(self.body, "", "{row}");
            return;
        }
        assert_eq!(self.header("cache-control"), "no-store", "{row}");
        assert!(!self.head.to_lowercase().contains("access-control"), "{row}");
        if code.is_empty() {
            return;
        }
        assert_eq!(self.header("content-type"), "application/problem+json", "{row}");
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["code"], code, "{row}");
        assert_eq!(problem["status"], self.status, "{row}");
        assert_eq!(problem["type"], format!("urn:copydesk:error:{code}"), "{row}");
        assert_eq!(problem["request_id"].as_str().unwrap().len(), 16, "{row}");
        let waits = matches!(self.status, 429 | 503);
        assert_eq!(!self.header("retry-after").is_empty(), waits, "{row}");
        assert_eq!(self.header("allow") == "POST", self.status == 405, "{row}");
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

/// Waits for an observation.
pub(super) async fn eventually(seen: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !seen() {
        assert!(started.elapsed() < Duration::from_secs(20), "it was never seen");
        tokio::task::yield_now().await;
    }
}
