//! Who sent these bytes: HMAC-SHA256 webhook signatures, with the scheme as data.
//!
//! A scheme says where the parts are and what is signed; a new sender is a further row. Signatures
//! are compared in constant time over decoded bytes, never as text. This module does not judge
//! time or form: [`crate::webhook`] does, and turns a failure into an answer.

use std::fmt;

use data_encoding::{BASE64, Encoding, HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::limits::{KEY_ID_BYTES_MAX, SECRET_BYTES_MAX, SECRET_BYTES_MIN, SIGNATURES_TRIED_MAX};

#[cfg(test)]
mod tests;

/// Length of an HMAC-SHA256, in bytes.
const MAC_BYTES: usize = 32;

/// How a sender signs. Header names are lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// Its name in the configuration.
    pub name: &'static str,
    /// The header that holds the signature or several of them.
    pub signature_header: &'static str,
    /// What stands before each signature: `""`, `"sha256="`, `"v1,"`.
    pub prefix: &'static str,
    /// What stands between several signatures.
    pub separator: Option<char>,
    /// How the signature's bytes are written.
    pub encoding: MacEncoding,
    /// Where the time of signing is.
    pub timestamp: TimestampAt,
    /// How far that time may be from ours, in seconds, either way.
    pub window_s: u32,
    /// The header that holds the idempotency key.
    pub key_header: Option<&'static str>,
    /// The header that names the secret.
    pub key_id_header: Option<&'static str>,
    /// What is signed, in order.
    pub signed: &'static [Piece],
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacEncoding {
    /// 64 hex digits of either case.
    Hex,
    /// 44 characters of padded base64.
    Base64,
}

/// Where the time of signing is, in whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampAt {
    /// A header of its own.
    Header(&'static str),
    /// An item of the signature header, after this prefix.
    Signature(&'static str),
    /// The scheme signs no time.
    Nowhere,
}

/// A part of the signed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A fixed text.
    Text(&'static str),
    /// The timestamp as it was sent.
    Timestamp,
    /// The idempotency key as it was sent.
    Key,
    /// The raw body.
    Body,
}

/// The seed plugin's scheme: hex HMAC of `timestamp.body`.
pub static WP_RELAY: Scheme = Scheme {
    name: "wp-relay",
    signature_header: "x-wp-signature",
    prefix: "",
    separator: None,
    encoding: MacEncoding::Hex,
    timestamp: TimestampAt::Header("x-wp-timestamp"),
    window_s: 300,
    key_header: Some("idempotency-key"),
    key_id_header: Some("x-wp-key-id"),
    signed: &[Piece::Timestamp, Piece::Text("."), Piece::Body],
};

/// An AI provider's callback: base64 HMAC of `timestamp.body`.
pub static PROVIDER: Scheme = Scheme {
    name: "provider",
    signature_header: "x-provider-signature",
    prefix: "",
    separator: None,
    encoding: MacEncoding::Base64,
    timestamp: TimestampAt::Header("x-provider-timestamp"),
    window_s: 300,
    key_header: Some("idempotency-key"),
    key_id_header: Some("x-provider-key-id"),
    signed: &[Piece::Timestamp, Piece::Text("."), Piece::Body],
};

/// Every scheme a source may name.
pub static SCHEMES: &[&Scheme] = &[&WP_RELAY, &PROVIDER];

impl Scheme {
    /// The scheme of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCHEMES.iter().copied().find(|scheme| scheme.name == name)
    }

    /// Whether the signature covers the idempotency key, so that its header may be trusted.
    #[must_use]
    pub fn signs_key(&self) -> bool {
        self.signed.contains(&Piece::Key)
    }

    /// The signatures in the header's value, at most [`SIGNATURES_TRIED_MAX`], prefix removed.
    fn signatures<'a>(&self, header: &'a str) -> impl Iterator<Item = &'a str> {
        let (prefix, separator) = (self.prefix, self.separator);
        header
            .split(move |c| Some(c) == separator)
            .filter_map(move |item| item.trim().strip_prefix(prefix))
            .take(SIGNATURES_TRIED_MAX)
    }

    /// The timestamp inside a signature header, for [`TimestampAt::Signature`].
    #[must_use]
    pub(crate) fn timestamp_in<'a>(&self, header: &'a str, prefix: &str) -> Option<&'a str> {
        let separator = self.separator;
        header
            .split(move |c| Some(c) == separator)
            .find_map(|item| item.trim().strip_prefix(prefix))
    }
}

impl MacEncoding {
    fn decode(self, text: &str) -> Option<[u8; MAC_BYTES]> {
        let form: Encoding = match self {
            Self::Hex => HEXLOWER_PERMISSIVE,
            Self::Base64 => BASE64,
        };
        // A length check first: a signature of 10,000 characters is not worth an allocation.
        if text.len() != form.encode_len(MAC_BYTES) {
            return None;
        }
        form.decode(text.as_bytes()).ok()?.try_into().ok()
    }

    fn encode(self, mac: &[u8]) -> String {
        match self {
            Self::Hex => HEXLOWER.encode(mac),
            Self::Base64 => BASE64.encode(mac),
        }
    }
}

/// Why a secret cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too short to be safe, or absurdly long.
    #[error("a webhook secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")]
    Length,
    /// The id cannot travel in a header.
    #[error("the id of a secret is 1 to {KEY_ID_BYTES_MAX} of A-Z a-z 0-9 . _ -")]
    Id,
    /// Two secrets of one source have the same id.
    #[error("two secrets have the same id")]
    Twice,
    /// None, or more than are ever tried.
    #[error("a source has 1 to {SIGNATURES_TRIED_MAX} secrets")]
    Count,
}

/// One shared secret. It is kept as a keyed MAC only and cannot be printed, compared or stored.
pub struct Secret {
    id: Box<str>,
    keyed: Hmac<Sha256>,
}

impl Secret {
    /// A secret and the id it goes by.
    ///
    /// # Errors
    /// [`SecretError::Length`], [`SecretError::Id`].
    pub fn new(id: &str, value: &[u8]) -> Result<Self, SecretError> {
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&value.len()) {
            return Err(SecretError::Length);
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !(1..=KEY_ID_BYTES_MAX).contains(&id.len()) || !id.bytes().all(plain) {
            return Err(SecretError::Id);
        }
        let keyed = Hmac::new_from_slice(value).map_err(|_| SecretError::Length)?;
        Ok(Self { id: id.into(), keyed })
    }

    /// The id, which is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn mac(&self, scheme: &Scheme, parts: &Parts<'_>) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        for piece in scheme.signed {
            mac.update(match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Timestamp => parts.timestamp.as_bytes(),
                Piece::Key => parts.key.as_bytes(),
                Piece::Body => parts.body,
            });
        }
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.id)
    }
}

/// The live secrets of one source: the present one and, while it is rotated, its neighbours.
#[derive(Debug)]
pub struct SecretRing {
    secrets: Vec<Secret>,
}

impl SecretRing {
    /// A ring of 1 to [`SIGNATURES_TRIED_MAX`] secrets; the first one signs.
    ///
    /// # Errors
    /// [`SecretError::Count`], [`SecretError::Twice`].
    pub fn new(secrets: Vec<Secret>) -> Result<Self, SecretError> {
        if !(1..=SIGNATURES_TRIED_MAX).contains(&secrets.len()) {
            return Err(SecretError::Count);
        }
        for (place, secret) in secrets.iter().enumerate() {
            if secrets[..place].iter().any(|earlier| earlier.id == secret.id) {
                return Err(SecretError::Twice);
            }
        }
        Ok(Self { secrets })
    }

    /// The ids, the signing one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(Secret::id)
    }

    /// The secret that signs.
    #[must_use]
    pub fn signing(&self) -> &Secret {
        &self.secrets[0]
    }
}

/// The parts of a message that a scheme may sign, as they were sent.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The timestamp's text; empty where the scheme has none.
    pub timestamp: &'a str,
    /// The idempotency key's text; empty where the scheme signs none.
    pub key: &'a str,
    /// The raw body.
    pub body: &'a [u8],
}

/// The id of the secret that made one of the signatures in `header`, or `None`.
///
/// With `key_id` that secret alone is tried. The work depends on the number of secrets, not on
/// which of them matches, whether the id is known or how the signature is wrong.
#[must_use]
pub fn verify<'r>(
    scheme: &Scheme,
    ring: &'r SecretRing,
    parts: &Parts<'_>,
    header: &str,
    key_id: Option<&str>,
) -> Option<&'r str> {
    let named = key_id.map(|id| ring.secrets.iter().find(|secret| &*secret.id == id));
    let (tried, may_match) = match named {
        None => (&ring.secrets[..], true),
        Some(Some(secret)) => (std::slice::from_ref(secret), true),
        // An unknown id costs as much as a known one, and matches nothing.
        Some(None) => (&ring.secrets[..1], false),
    };
    let mut signed_by = None;
    for secret in tried {
        let mac = secret.mac(scheme, parts);
        for text in scheme.signatures(header) {
            // What does not decode is compared as zeros: the same time, and never a match.
            let given = scheme.encoding.decode(text).unwrap_or_default();
            let matches = mac.clone().verify_slice(&given).is_ok();
            if matches && may_match && signed_by.is_none() {
                signed_by = Some(secret.id());
            }
        }
    }
    signed_by
}

/// The headers that sign `parts`, lower case: signature, timestamp, key and key id as the scheme
/// has them. For the `send` command and for tests.
#[must_use]
pub fn sign(scheme: &Scheme, secret: &Secret, parts: &Parts<'_>) -> Vec<(&'static str, String)> {
    let mac = secret.mac(scheme, parts).finalize().into_bytes();
    let mut signature = format!("{}{}", scheme.prefix, scheme.encoding.encode(&mac));
    let mut headers = Vec::with_capacity(4);
    match scheme.timestamp {
        TimestampAt::Header(name) => headers.push((name, parts.timestamp.to_owned())),
        TimestampAt::Signature(prefix) => {
            let separator = scheme.separator.unwrap_or(',');
            signature = format!("{prefix}{}{separator}{signature}", parts.timestamp);
        }
        TimestampAt::Nowhere => {}
    }
    headers.push((scheme.signature_header, signature));
    if let Some(name) = scheme.key_header.filter(|_| !parts.key.is_empty()) {
        headers.push((name, parts.key.to_owned()));
    }
    if let Some(name) = scheme.key_id_header {
        headers.push((name, secret.id.clone().into()));
    }
    headers
}
