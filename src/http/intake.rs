//! What the ingress hands webhooks to.

use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;
use copydesk_core::refusal::Refusal;
use copydesk_core::webhook::Head;
use copydesk_proto::SourceId;
use futures::future::BoxFuture;
use http::HeaderMap;

use super::answer::RequestId;

/// Storing a verified webhook. An `Ok` means durable.
pub type Storing = BoxFuture<'static, Result<Receipt, Refusal>>;

/// Takes webhooks in.
pub trait Intake: Send + Sync + 'static {
    /// The source that posts to this path, taken raw: no percent-decoding, no clean-up. `None` is
    /// answered 404; an id for every well-formed name hides which sources there are.
    fn knows(&self, path: &str) -> Option<SourceId>;

    /// The sender's address: the peer's, unless that is a proxy that is believed.
    fn client(&self, peer: IpAddr, _headers: &HeaderMap) -> IpAddr {
        peer
    }

    /// Verifies one webhook, and returns the work of storing it, which runs to its end even when
    /// the client hangs up.
    ///
    /// # Errors
    /// What the sender is told.
    fn receive(
        &self,
        source: &SourceId,
        head: &Head<'_>,
        body: Bytes,
        arrival: Arrival,
    ) -> Result<Storing, Refusal>;

    /// Whether webhooks can be stored at present.
    ///
    /// # Errors
    /// What a sender would be told.
    fn ready(&self) -> Result<(), Refusal>;

    /// Partitions of the log that this node works on; `None` when they are not shared out. A node
    /// without any takes webhooks all the same.
    fn partitions(&self) -> Option<usize> {
        None
    }
}

/// A request, as the listener saw it come.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// When its head was read.
    pub at: SystemTime,
    /// What it is called in our log, and in an answer that refuses it.
    pub request_id: RequestId,
}

/// A stored webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its id in the log; of the first copy when this one is a duplicate.
    pub event_id: String,
    /// Whether it was stored before.
    pub duplicate: bool,
}
