//! How senders sign: one table, a row a sender. A `custom` row is written in the configuration.

use std::borrow::Cow;

use crate::limits::{CUSTOM_TEXT_BYTES_MAX, SECRET_BYTES_ISSUED_MIN, SECRET_BYTES_MIN};
use crate::limits::{SIGNATURES_TRIED_MAX, WINDOW_S_MAX};

use Cow::Borrowed;

/// A text of a row: fixed for the rows of this file, owned for `custom`.
type Text = Cow<'static, str>;

/// How a sender proves itself. Header names are lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// Its name in the configuration.
    pub name: &'static str,
    /// What the proof is.
    pub proof: Proof,
    /// The header that holds the signature or several of them, or the secret itself.
    pub signature_header: Text,
    /// What stands before each signature: `""`, `"sha256="`, `"v1,"`.
    pub prefix: Text,
    /// What stands between several signatures.
    pub separator: Option<char>,
    /// Where the time of signing is.
    pub timestamp: TimestampAt,
    /// How far that time may be from ours, in seconds, either way.
    pub window_s: u32,
    /// The header that holds the idempotency key.
    pub key_header: Option<Text>,
    /// The header that names the secret.
    pub key_id_header: Option<Text>,
    /// What is signed, in order.
    pub signed: Cow<'static, [Piece]>,
    /// How a secret is written.
    pub secret: SecretForm,
    /// Shortest secret, in bytes of the key.
    pub secret_bytes_min: usize,
}

/// What shows that the sender knows the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// HMAC-SHA256, 64 hex digits of either case.
    Hex,
    /// HMAC-SHA256, 44 characters of padded base64.
    Base64,
    /// The secret itself. Whoever reads one request can send others: for TLS only.
    Plain,
    /// The secret in base64, as HTTP's Basic scheme sends `user:password`.
    Basic,
}

impl Proof {
    /// Whether the body is covered.
    #[must_use]
    pub const fn is_signature(self) -> bool {
        match self {
            Self::Hex | Self::Base64 => true,
            Self::Plain | Self::Basic => false,
        }
    }
}

/// How a secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretForm {
    /// Its bytes are the key.
    Bytes,
    /// Base64 of the key, after `whsec_` or without it.
    Whsec,
    /// `user:password`.
    UserPassword,
}

/// Where the time of signing is, in whole seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimestampAt {
    /// A header of its own.
    Header(Text),
    /// An item of the signature header, after this prefix.
    Signature(Text),
    /// The scheme signs no time.
    Nowhere,
}

/// A part of the signed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A fixed text.
    Text(Text),
    /// The timestamp as it was sent.
    Timestamp,
    /// The idempotency key as it was sent.
    Key,
    /// The raw body.
    Body,
}

const DOT: Piece = Piece::Text(Borrowed("."));

/// The seed plugin's scheme: hex HMAC of `timestamp.body`.
pub static WP_RELAY: Scheme = Scheme {
    name: "wp-relay",
    proof: Proof::Hex,
    signature_header: Borrowed("x-wp-signature"),
    prefix: Borrowed(""),
    separator: None,
    timestamp: TimestampAt::Header(Borrowed("x-wp-timestamp")),
    window_s: 300,
    key_header: Some(Borrowed("idempotency-key")),
    key_id_header: Some(Borrowed("x-wp-key-id")),
    signed: Borrowed(&[Piece::Timestamp, DOT, Piece::Body]),
    secret: SecretForm::Bytes,
    secret_bytes_min: SECRET_BYTES_MIN,
};

/// An AI provider's callback: base64 HMAC of `timestamp.body`.
pub static PROVIDER: Scheme = Scheme {
    name: "provider",
    proof: Proof::Base64,
    signature_header: Borrowed("x-provider-signature"),
    prefix: Borrowed(""),
    separator: None,
    timestamp: TimestampAt::Header(Borrowed("x-provider-timestamp")),
    window_s: 300,
    key_header: Some(Borrowed("idempotency-key")),
    key_id_header: Some(Borrowed("x-provider-key-id")),
    signed: Borrowed(&[Piece::Timestamp, DOT, Piece::Body]),
    secret: SecretForm::Bytes,
    secret_bytes_min: SECRET_BYTES_MIN,
};

/// <https://www.standardwebhooks.com>: base64 HMAC of `id.timestamp.body`, several in one header.
pub static STANDARD_WEBHOOKS: Scheme = Scheme {
    name: "standard-webhooks",
    proof: Proof::Base64,
    signature_header: Borrowed("webhook-signature"),
    prefix: Borrowed("v1,"),
    separator: Some(' '),
    timestamp: TimestampAt::Header(Borrowed("webhook-timestamp")),
    window_s: 300,
    key_header: Some(Borrowed("webhook-id")),
    key_id_header: None,
    signed: Borrowed(&[Piece::Key, DOT, Piece::Timestamp, DOT, Piece::Body]),
    secret: SecretForm::Whsec,
    secret_bytes_min: SECRET_BYTES_ISSUED_MIN,
};

/// GitHub signs the body alone. Its delivery id and event name are headers outside the signature,
/// so they are not looked at.
pub static GITHUB: Scheme = Scheme {
    name: "github",
    proof: Proof::Hex,
    signature_header: Borrowed("x-hub-signature-256"),
    prefix: Borrowed("sha256="),
    separator: None,
    timestamp: TimestampAt::Nowhere,
    window_s: 0,
    key_header: None,
    key_id_header: None,
    signed: Borrowed(&[Piece::Body]),
    secret: SecretForm::Bytes,
    secret_bytes_min: SECRET_BYTES_ISSUED_MIN,
};

/// Stripe's `t=…,v1=…`. Its secret is used with its `whsec_`, as it stands.
pub static STRIPE: Scheme = Scheme {
    name: "stripe",
    proof: Proof::Hex,
    signature_header: Borrowed("stripe-signature"),
    prefix: Borrowed("v1="),
    separator: Some(','),
    timestamp: TimestampAt::Signature(Borrowed("t=")),
    window_s: 300,
    key_header: None,
    key_id_header: None,
    signed: Borrowed(&[Piece::Timestamp, DOT, Piece::Body]),
    secret: SecretForm::Bytes,
    secret_bytes_min: SECRET_BYTES_MIN,
};

/// Shopify signs the body alone, with the app's client secret.
pub static SHOPIFY: Scheme = Scheme {
    name: "shopify",
    proof: Proof::Base64,
    signature_header: Borrowed("x-shopify-hmac-sha256"),
    prefix: Borrowed(""),
    separator: None,
    timestamp: TimestampAt::Nowhere,
    window_s: 0,
    key_header: None,
    key_id_header: None,
    signed: Borrowed(&[Piece::Body]),
    secret: SecretForm::Bytes,
    secret_bytes_min: SECRET_BYTES_MIN,
};

/// Slack's `v0=…` over `v0:timestamp:body`.
pub static SLACK: Scheme = Scheme {
    name: "slack",
    proof: Proof::Hex,
    signature_header: Borrowed("x-slack-signature"),
    prefix: Borrowed("v0="),
    separator: None,
    timestamp: TimestampAt::Header(Borrowed("x-slack-request-timestamp")),
    window_s: 300,
    key_header: None,
    key_id_header: None,
    signed: Borrowed(&[
        Piece::Text(Borrowed("v0:")),
        Piece::Timestamp,
        Piece::Text(Borrowed(":")),
        Piece::Body,
    ]),
    secret: SecretForm::Bytes,
    secret_bytes_min: SECRET_BYTES_MIN,
};

/// A fixed secret in a header, for senders that cannot sign.
pub static TOKEN: Scheme = Scheme {
    name: "token",
    proof: Proof::Plain,
    signature_header: Borrowed("x-copydesk-token"),
    prefix: Borrowed(""),
    separator: None,
    timestamp: TimestampAt::Nowhere,
    window_s: 0,
    key_header: None,
    key_id_header: None,
    signed: Borrowed(&[]),
    secret: SecretForm::Bytes,
    secret_bytes_min: SECRET_BYTES_ISSUED_MIN,
};

/// HTTP's Basic scheme (RFC 7617); the secret is `user:password`.
pub static BASIC: Scheme = Scheme {
    name: "basic",
    proof: Proof::Basic,
    signature_header: Borrowed("authorization"),
    prefix: Borrowed("Basic "),
    separator: None,
    timestamp: TimestampAt::Nowhere,
    window_s: 0,
    key_header: None,
    key_id_header: None,
    signed: Borrowed(&[]),
    secret: SecretForm::UserPassword,
    secret_bytes_min: SECRET_BYTES_ISSUED_MIN,
};

/// Every scheme a source may name, besides `custom`.
pub static SCHEMES: &[&Scheme] =
    &[&WP_RELAY, &PROVIDER, &STANDARD_WEBHOOKS, &GITHUB, &STRIPE, &SHOPIFY, &SLACK, &TOKEN, &BASIC];

/// A scheme as the configuration writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Custom {
    /// The header with the signature.
    pub signature_header: String,
    /// Base64 instead of hex.
    pub base64: bool,
    /// What stands before a signature.
    pub prefix: String,
    /// What stands between several.
    pub separator: Option<char>,
    /// The header with the time, …
    pub timestamp_header: Option<String>,
    /// … or what stands before it in the signature header.
    pub timestamp_prefix: Option<String>,
    /// How far that time may be from ours, in seconds.
    pub window_s: u32,
    /// The header with the idempotency key.
    pub key_header: Option<String>,
    /// The header with the secret's id.
    pub key_id_header: Option<String>,
    /// What is signed, with `{timestamp}`, `{key}` and `{body}`.
    pub signed: String,
}

/// Why a scheme of the configuration cannot be used. `setting` is the key to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SchemeError {
    /// The key of the `custom` table.
    pub setting: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

const fn wrong(setting: &'static str, reason: &'static str) -> SchemeError {
    SchemeError { setting, reason }
}

impl Scheme {
    /// The scheme of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCHEMES.iter().copied().find(|scheme| scheme.name == name)
    }

    /// The `token` scheme with a header of the sender's choice; `Authorization` takes `Bearer`.
    ///
    /// # Errors
    /// [`SchemeError`] when that is no header name.
    pub fn token_in(header: &str) -> Result<Self, SchemeError> {
        let header = header_name("token_header", header)?;
        let prefix = Borrowed(if header == "authorization" { "Bearer " } else { "" });
        Ok(Self { signature_header: header, prefix, ..TOKEN.clone() })
    }

    /// A scheme that the configuration describes.
    ///
    /// # Errors
    /// [`SchemeError`] for the first key that is wrong.
    pub fn custom(custom: &Custom) -> Result<Self, SchemeError> {
        let signed = pieces(&custom.signed)?;
        let header = |key: &'static str, name: &Option<String>| {
            name.as_ref().map(|name| header_name(key, name)).transpose()
        };
        let timestamp = match (&custom.timestamp_header, &custom.timestamp_prefix) {
            (Some(_), Some(_)) => {
                let reason = "the time is in a header of its own or in the signature's, not both";
                return Err(wrong("timestamp_prefix", reason));
            }
            (Some(name), None) => TimestampAt::Header(header_name("timestamp_header", name)?),
            (None, Some(prefix)) if custom.separator.is_some() => {
                TimestampAt::Signature(short("timestamp_prefix", prefix)?)
            }
            (None, Some(_)) => {
                let reason = "separator says what stands between the time and the signature";
                return Err(wrong("separator", reason));
            }
            (None, None) => TimestampAt::Nowhere,
        };
        let times = signed.contains(&Piece::Timestamp);
        if times != (timestamp != TimestampAt::Nowhere) {
            // A time that is not signed could be changed in a replay.
            let reason = "a timestamp is both sent and signed: {timestamp} stands in signed, and \
                          timestamp_header or timestamp_prefix says where it comes from";
            return Err(wrong("signed", reason));
        }
        if signed.contains(&Piece::Key) && custom.key_header.is_none() {
            return Err(wrong("key_header", "signed has {key}: name the header it comes from"));
        }
        if times && !(1..=WINDOW_S_MAX).contains(&custom.window_s) {
            return Err(wrong("window", "a window is 1s to 1h"));
        }
        Ok(Self {
            name: "custom",
            proof: if custom.base64 { Proof::Base64 } else { Proof::Hex },
            signature_header: header_name("signature_header", &custom.signature_header)?,
            prefix: short("prefix", &custom.prefix)?,
            separator: custom.separator,
            timestamp,
            window_s: custom.window_s,
            key_header: header("key_header", &custom.key_header)?,
            key_id_header: header("key_id_header", &custom.key_id_header)?,
            signed: signed.into(),
            secret: SecretForm::Bytes,
            secret_bytes_min: SECRET_BYTES_ISSUED_MIN,
        })
    }

    /// Whether the signature covers the idempotency key, so that its header may be trusted.
    #[must_use]
    pub fn signs_key(&self) -> bool {
        self.signed.contains(&Piece::Key)
    }

    /// The signatures in the header's value, at most [`SIGNATURES_TRIED_MAX`], prefix removed.
    pub(super) fn signatures<'a>(&'a self, header: &'a str) -> impl Iterator<Item = &'a str> {
        self.items(header)
            .filter_map(|item| item.strip_prefix(&*self.prefix))
            .take(SIGNATURES_TRIED_MAX)
    }

    /// The timestamp inside a signature header, for [`TimestampAt::Signature`].
    #[must_use]
    pub(crate) fn timestamp_in<'a>(&self, header: &'a str, prefix: &str) -> Option<&'a str> {
        self.items(header).find_map(|item| item.strip_prefix(prefix))
    }

    fn items<'a>(&self, header: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        let separator = self.separator;
        header.split(move |c| Some(c) == separator).map(str::trim)
    }
}

/// `v0:{timestamp}:{body}` in pieces.
fn pieces(template: &str) -> Result<Vec<Piece>, SchemeError> {
    const FORM: SchemeError =
        wrong("signed", "what is signed is text with {timestamp}, {key} and, once, {body}");
    let mut rest = &*short("signed", template)?;
    let mut pieces = Vec::new();
    while let Some(open) = rest.find('{') {
        let (text, after) = rest.split_at(open);
        if !text.is_empty() {
            pieces.push(Piece::Text(Cow::Owned(text.to_owned())));
        }
        let (name, after) = after[1..].split_once('}').ok_or(FORM)?;
        pieces.push(match name {
            "timestamp" => Piece::Timestamp,
            "key" => Piece::Key,
            "body" => Piece::Body,
            _ => return Err(FORM),
        });
        rest = after;
    }
    if rest.contains('}') || pieces.iter().filter(|piece| **piece == Piece::Body).count() != 1 {
        return Err(FORM);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(Cow::Owned(rest.to_owned())));
    }
    Ok(pieces)
}

/// A header name (RFC 9110, section 5.6.2), in lower case.
fn header_name(setting: &'static str, name: &str) -> Result<Text, SchemeError> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > CUSTOM_TEXT_BYTES_MAX || !name.bytes().all(token) {
        return Err(wrong(setting, "this is not the name of a header"));
    }
    Ok(Cow::Owned(name.to_ascii_lowercase()))
}

/// A text that can stand in a header.
fn short(setting: &'static str, text: &str) -> Result<Text, SchemeError> {
    let printable = text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if text.len() > CUSTOM_TEXT_BYTES_MAX || !printable {
        return Err(wrong(setting, "this is up to 256 bytes of printable ASCII"));
    }
    Ok(Cow::Owned(text.to_owned()))
}
