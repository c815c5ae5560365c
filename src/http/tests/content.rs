//! Rows that the verification behind the ingress decides, with the real one behind it: content
//! headers, and addresses that send wrong signatures without end.

use std::sync::Arc;

use bytes::Bytes;
use copydesk_core::refusal::Refusal;
use copydesk_core::signature::{Parts, Secret, SecretRing, WP_RELAY, sign};
use copydesk_core::webhook::{Head, SourceRules, verify};
use copydesk_proto::{SourceId, Timestamp};

use super::client::Client;
use crate::http::{Arrival, Drain, Ingress, Intake, Receipt, Server, Storing};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: i64 = 1_700_000_000;
const BODY: &str = r#"{"event":"post.published","post_id":42,"idempotency_key":"k-1"}"#;

struct Verifying(SourceRules);

impl Intake for Verifying {
    fn knows(&self, path: &str) -> Option<SourceId> {
        path.strip_prefix("/webhooks/")?.parse().ok()
    }

    fn receive(
        &self,
        _: &SourceId,
        head: &Head<'_>,
        body: Bytes,
        _: Arrival,
    ) -> Result<Storing, Refusal> {
        verify(&self.0, head, &body, Timestamp(NOW * 1_000))?;
        Ok(Box::pin(async { Ok(Receipt { event_id: "e-1".to_owned(), duplicate: false }) }))
    }

    fn ready(&self) -> Result<(), Refusal> {
        Ok(())
    }
}

async fn client() -> Client {
    let name = || "news".parse().unwrap();
    let ring = SecretRing::new(vec![Secret::new("k1", SECRET).unwrap()]).unwrap();
    let rules = SourceRules::new(name(), "news".parse().unwrap(), &WP_RELAY, ring);
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(address, 10, 10, Drain::default()).await.unwrap();
    let address = server.address().unwrap();
    let ingress = Ingress::new(Arc::new(Verifying(rules)), Vec::new(), Drain::default());
    tokio::spawn(server.run(Arc::new(ingress)));
    Client::connect(address).await
}

fn request(content: &str, body: &str) -> String {
    let secret = Secret::new("k1", SECRET).unwrap();
    let timestamp = NOW.to_string();
    let parts = Parts { timestamp: &timestamp, key: "k-1", body: body.as_bytes() };
    let signed: String = sign(&WP_RELAY, &secret, &parts)
        .into_iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    format!(
        "POST /webhooks/news HTTP/1.1\r\nHost: desk\r\n{content}{signed}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn content_headers() {
    let json = "Content-Type: application/json\r\n";
    let typed = |value: &str| format!("Content-Type: {value}\r\n");
    let coded = |value: &str| format!("{json}Content-Encoding: {value}\r\n");
    let (media, encoding) = ((415, "unsupported_media_type"), (415, "unsupported_encoding"));
    let mut client = client().await;
    for (row, content, (status, code)) in [
        ("as it should be", json.to_owned(), (202, "")),
        ("45", String::new(), media),
        ("46", typed("text/plain"), media),
        ("46", typed("multipart/form-data; boundary=x"), media),
        ("46", typed("application/xml"), media),
        ("46", typed("application/x-www-form-urlencoded"), media),
        ("47", typed("application/json; charset=utf-16"), media),
        ("48", typed("Application/JSON;charset=UTF-8"), (202, "")),
        ("49", format!("{json}{json}"), (400, "duplicate_header")),
        ("50", coded("gzip"), encoding),
        ("52", coded("gzip, gzip"), encoding),
        ("52", coded("br"), encoding),
        ("52", coded("zstd"), encoding),
        ("52", coded("nonsense"), encoding),
        ("53", coded("identity"), (202, "")),
        ("54", format!("{json}Content-MD5: AAAA\r\nDigest: sha-256=AAAA\r\n"), (202, "")),
    ] {
        client.send(request(&content, BODY).as_bytes()).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, status, "{row}: {answer:?}");
        answer.check_form(row, code);
    }
}

#[tokio::test]
async fn an_address_that_guesses_is_silenced() {
    let mut client = client().await;
    let guess = request("Content-Type: application/json\r\n", BODY).replace("42", "43");
    for _ in 0..2 {
        // A connection takes 1,000 requests.
        for _ in 0..1_000 {
            client.send(guess.as_bytes()).await;
            assert_eq!(client.answer().await.unwrap().status, 401);
        }
        client = client.again().await;
    }
    client.send(guess.as_bytes()).await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 429, "91");
    answer.check_form("91", "rate_limited");
}
