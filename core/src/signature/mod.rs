//! Who sent these bytes: HMAC-SHA256 webhook signatures, with the scheme as data.
//!
//! A scheme says where the parts are and what is signed; a new sender is a further row of
//! [`scheme`]. What is compared is compared in constant time over decoded bytes, never as text.
//! This module does not judge time or form: [`crate::webhook`] does, and turns a failure into an
//! answer.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::limits::{KEY_ID_BYTES_MAX, SECRET_BYTES_MAX, SIGNATURES_TRIED_MAX};

mod scheme;
#[cfg(test)]
mod tests;

pub use scheme::{
    BASIC, Custom, GITHUB, PROVIDER, Piece, Proof, SCHEMES, SHOPIFY, SLACK, STANDARD_WEBHOOKS,
    STRIPE, Scheme, SchemeError, SecretForm, TOKEN, TimestampAt, WP_RELAY,
};

/// Length of an HMAC-SHA256, in bytes.
const MAC_BYTES: usize = 32;

/// Why a secret cannot be used. Never shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too short to be safe, or absurdly long.
    #[error("a secret of this scheme has {0} to {SECRET_BYTES_MAX} bytes")]
    Length(usize),
    /// Not in the form the scheme asks for.
    #[error("{0}")]
    Form(&'static str),
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

/// One shared secret. It cannot be printed, compared or stored.
#[derive(Clone)]
pub struct Secret {
    id: Box<str>,
    /// The key itself, for schemes that send it.
    value: Box<[u8]>,
    keyed: Hmac<Sha256>,
}

impl Secret {
    /// A secret of [`WP_RELAY`]'s form and the id it goes by.
    ///
    /// # Errors
    /// [`SecretError::Length`], [`SecretError::Id`].
    pub fn new(id: &str, value: &[u8]) -> Result<Self, SecretError> {
        Self::of(&WP_RELAY, id, value)
    }

    /// A secret as the scheme writes it, and the id it goes by.
    ///
    /// # Errors
    /// [`SecretError::Length`], [`SecretError::Id`], [`SecretError::Form`].
    pub fn of(scheme: &Scheme, id: &str, text: &[u8]) -> Result<Self, SecretError> {
        let value: Box<[u8]> = match scheme.secret {
            SecretForm::Bytes => text.into(),
            SecretForm::Whsec => {
                let coded = text.strip_prefix(b"whsec_").unwrap_or(text);
                let key = BASE64.decode(coded);
                key.map_err(|_| SecretError::Form("the secret is base64, after whsec_"))?.into()
            }
            SecretForm::UserPassword if text.contains(&b':') => text.into(),
            SecretForm::UserPassword => {
                return Err(SecretError::Form("the secret is user:password"));
            }
        };
        if !(scheme.secret_bytes_min..=SECRET_BYTES_MAX).contains(&value.len()) {
            return Err(SecretError::Length(scheme.secret_bytes_min));
        }
        if !is_key_id(id) {
            return Err(SecretError::Id);
        }
        let length = |_| SecretError::Length(scheme.secret_bytes_min);
        let keyed = Hmac::new_from_slice(&value).map_err(length)?;
        Ok(Self { id: id.into(), value, keyed })
    }

    /// The id, which is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn mac(&self, scheme: &Scheme, parts: &Parts<'_>) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        for piece in &*scheme.signed {
            mac.update(match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Timestamp => parts.timestamp.as_bytes(),
                Piece::Key => parts.key.as_bytes(),
                Piece::Body => parts.body,
            });
        }
        mac
    }

    /// Whether `text` is what this secret makes of the parts.
    fn makes(&self, scheme: &Scheme, parts: &Parts<'_>, text: &str) -> bool {
        let form = match scheme.proof {
            Proof::Hex => HEXLOWER_PERMISSIVE,
            Proof::Base64 => BASE64,
            // Both sides under the secret's own MAC: neither content nor length is timed.
            Proof::Plain => return self.is_value(text.as_bytes()),
            Proof::Basic => {
                let given = BASE64.decode(text.as_bytes()).unwrap_or_default();
                return self.is_value(&given);
            }
        };
        // A length check first: a signature of 10,000 characters is not worth an allocation.
        let fits = text.len() == form.encode_len(MAC_BYTES);
        let given = fits.then(|| form.decode(text.as_bytes()).ok()).flatten();
        // What does not decode is compared as zeros: the same time, and never a match.
        let given = given.unwrap_or_else(|| vec![0; MAC_BYTES]);
        self.mac(scheme, parts).verify_slice(&given).is_ok()
    }

    fn is_value(&self, given: &[u8]) -> bool {
        let own = self.keyed.clone().chain_update(&self.value).finalize().into_bytes();
        self.keyed.clone().chain_update(given).verify_slice(&own).is_ok()
    }
}

/// A master secret from any text.
#[must_use]
pub fn master(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// A Standard Webhooks secret that belongs to a name and a key id, from a master secret: whoever
/// holds that one knows it, and nobody has to keep it.
#[must_use]
pub fn derive(master: &[u8; 32], name: &str, key_id: &str) -> String {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(master).expect("any length is a key");
    let part = |mac: Hmac<Sha256>, text: &str| {
        mac.chain_update((text.len() as u64).to_be_bytes()).chain_update(text)
    };
    let mac = part(part(part(mac, "copydesk subscriber"), name), key_id);
    format!("whsec_{}", BASE64.encode(&mac.finalize().into_bytes()))
}

/// Whether the text can be the id of a secret.
#[must_use]
pub fn is_key_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=KEY_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.id)
    }
}

/// The live secrets of one source: the present one and, while it is rotated, its neighbours.
#[derive(Debug, Clone)]
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
        for text in scheme.signatures(header) {
            let matches = secret.makes(scheme, parts, text);
            if matches && may_match && signed_by.is_none() {
                signed_by = Some(secret.id());
            }
        }
    }
    signed_by
}

/// The headers that prove `parts`, lower case: signature, timestamp, key and key id as the scheme
/// has them.
#[must_use]
pub fn sign(scheme: &Scheme, secret: &Secret, parts: &Parts<'_>) -> Vec<(String, String)> {
    let mac = || secret.mac(scheme, parts).finalize().into_bytes();
    let proof = match scheme.proof {
        Proof::Hex => HEXLOWER.encode(&mac()),
        Proof::Base64 => BASE64.encode(&mac()),
        Proof::Plain => String::from_utf8_lossy(&secret.value).into_owned(),
        Proof::Basic => BASE64.encode(&secret.value),
    };
    let mut signature = format!("{}{proof}", scheme.prefix);
    let mut headers = Vec::with_capacity(4);
    match &scheme.timestamp {
        TimestampAt::Header(name) => {
            headers.push((name.clone().into_owned(), parts.timestamp.to_owned()));
        }
        TimestampAt::Signature(prefix) => {
            let separator = scheme.separator.unwrap_or(',');
            signature = format!("{prefix}{}{separator}{signature}", parts.timestamp);
        }
        TimestampAt::Nowhere => {}
    }
    headers.push((scheme.signature_header.clone().into_owned(), signature));
    if let Some(name) = scheme.key_header.as_ref().filter(|_| !parts.key.is_empty()) {
        headers.push((name.clone().into_owned(), parts.key.to_owned()));
    }
    if let Some(name) = &scheme.key_id_header {
        headers.push((name.clone().into_owned(), secret.id.clone().into()));
    }
    headers
}
