//! The plugin's outbox, seen from here: what the site could not send, signed at this moment.

use std::collections::BTreeMap;
use std::net::IpAddr;

use copydesk_core::failure::Failure;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::SiteClient;
use super::transport::{Place, Request};

/// Rows of one page. A row has up to 256 KiB; most have ten.
const PAGE_ROWS: usize = 20;
/// Largest page, in bytes: all of its rows at their largest, each character escaped to two.
const PAGE_BYTES_MAX: usize = 2 * PAGE_ROWS * copydesk_core::limits::BODY_BYTES_MAX;

/// A webhook that waits in the site's outbox.
#[derive(Debug, Clone, Deserialize)]
pub struct OutboxRow {
    /// Its place in the outbox.
    pub id: u64,
    /// The bytes that are signed.
    pub body: String,
    /// The headers it would be sent with.
    pub headers: BTreeMap<String, String>,
}

/// A page of the outbox.
#[derive(Debug, Clone, Deserialize)]
pub struct OutboxPage {
    /// Oldest first.
    pub rows: Vec<OutboxRow>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<u64>,
    /// The address that the site answered from: its rows were sent from there.
    #[serde(skip)]
    pub peer: Option<IpAddr>,
}

impl SiteClient {
    /// Lets the site send what is due, if it can.
    ///
    /// # Errors
    /// A [`Failure`] with its class; what was sent until then is sent.
    pub async fn drain(&self) -> Result<(), Failure> {
        self.ask_outbox("/copydesk/v1/drain", json!({})).await
    }

    /// The rows after `after` that nobody has acknowledged.
    ///
    /// # Errors
    /// A [`Failure`] with its class.
    pub async fn outbox(&self, after: u64) -> Result<OutboxPage, Failure> {
        let query = format!("after={after}&limit={PAGE_ROWS}");
        let mut request = Request::get("/copydesk/v1/outbox", &query);
        request.answer_bytes_max = PAGE_BYTES_MAX;
        let reply = self.send(request).await?;
        Ok(OutboxPage { peer: reply.peer, ..reply.parse()? })
    }

    /// Acknowledges rows: they are in our log.
    ///
    /// # Errors
    /// A [`Failure`] with its class; the rows come again then, and are known by their keys.
    pub async fn acknowledge(&self, ids: &[u64]) -> Result<(), Failure> {
        self.ask_outbox("/copydesk/v1/outbox/ack", json!({ "ids": ids })).await
    }

    async fn ask_outbox(&self, route: &str, body: Value) -> Result<(), Failure> {
        let request = Request {
            method: Method::POST,
            place: Place::Route(route),
            body: Some(body.to_string().into()),
            ..Request::get(route, "")
        };
        self.send(request).await?.parse::<Map<String, Value>>().map(drop)
    }
}
