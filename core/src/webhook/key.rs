//! The sender's name for one event, by which a repeat is known.

use std::fmt;

use copydesk_proto::Timestamp;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX;

/// A sender's idempotency key: 1 to 128 of `A-Z a-z 0-9 . _ : -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

/// The text is no idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to {IDEMPOTENCY_KEY_BYTES_MAX} of A-Z a-z 0-9 . _ : -")]
pub struct BadIdempotencyKey;

impl IdempotencyKey {
    /// A key as it stands in a body.
    ///
    /// # Errors
    /// [`BadIdempotencyKey`] for another length or character.
    pub fn new(text: &str) -> Result<Self, BadIdempotencyKey> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(BadIdempotencyKey)
        }
    }

    /// A key as it stands in a header: bare, as most senders write it, or a quoted string, as the
    /// Idempotency-Key draft asks (RFC 8941, section 3.3.3).
    ///
    /// # Errors
    /// [`BadIdempotencyKey`] for another length or character.
    pub fn from_header(text: &str) -> Result<Self, BadIdempotencyKey> {
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Self::new(inner.unwrap_or(text))
    }

    /// Hex SHA-256 of `timestamp.body`, for senders that give no key the signature covers.
    #[must_use]
    pub fn derived(timestamp: &str, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(timestamp.as_bytes());
        hash.update(b".");
        hash.update(body);
        Self(HEXLOWER.encode(&hash.finalize()).into())
    }

    /// A key of its own for what was received now, for events that are never repeats.
    #[must_use]
    pub(super) fn at(now: Timestamp) -> Self {
        Self(format!("at-{}", now.0).into())
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
