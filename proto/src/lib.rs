//! What Copydesk stores and sends, and the ids it carries. Knows nothing else of Copydesk.
//!
//! The `.proto` files are the contract of the log: every stored version of any release stays
//! readable, and `fixtures/` proves it.

mod ids;
mod trace;

/// The messages of `copydesk/v1/record.proto`, as prost makes them. The `.proto` file documents
/// them; nothing outside the codecs should keep one.
#[expect(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/copydesk.v1.rs"));
}

pub use ids::{
    ContentHash, EXTERNAL_ID_BYTES_MAX, EnrichmentId, IdError, NAME_BYTES_MAX, NodeName, PostId,
    PostKey, ProviderId, RouteId, SiteId, SourceId, SubscriberId, Timestamp,
};
pub use trace::{TraceContext, TraceId};

/// Version written into every new record.
pub const SCHEMA_VERSION: u32 = 1;

/// A stored message as bytes.
#[must_use]
pub fn encode<M: prost::Message>(message: &M) -> bytes::Bytes {
    message.encode_to_vec().into()
}

/// A stored message back from bytes. Byte fields share the buffer.
///
/// # Errors
/// [`Unreadable`] when the bytes are not such a message.
pub fn decode<M: prost::Message + Default>(bytes: bytes::Bytes) -> Result<M, Unreadable> {
    M::decode(bytes).map_err(|_| Unreadable)
}

/// The bytes are not the message they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored record is unreadable")]
pub struct Unreadable;
