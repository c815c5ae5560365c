//! A request becomes a webhook here or nowhere: who sent it, when, and what it says.
//!
//! The order of checks is a promise. Nothing of the body is parsed before its signature matches;
//! the bytes that were signed are the bytes that are kept; the idempotency key that counts is one
//! the signature covers. For a source that does not exist the HTTP layer calls [`verify`] with
//! rules of its own over a random secret, so that the answer and its time are those of a wrong
//! signature.

use bytes::Bytes;
use copydesk_proto::{PostKey, SiteId, SourceId, Timestamp, TraceContext};
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::limits::BODY_BYTES_MAX;
use crate::refusal::{Code, Refusal};
use crate::signature::{self, Parts, Scheme, SecretRing, TimestampAt};

mod client;
mod form;
mod head;
mod json;
mod key;
mod mapping;
mod payload;
mod time;

#[cfg(test)]
mod tests;

pub use client::client_address;
pub use head::Head;
pub use key::{BadIdempotencyKey, IdempotencyKey};
pub use mapping::{COMMENT, Mapping, Requirement, SCHEDULE_EVENT, SYNC_EVENT};
pub use payload::{EVENT_TYPES, Payload, PayloadRules, Subject, VersionRule, is_event_type};

/// What a source may send, and how it proves itself.
#[derive(Debug, Clone)]
pub struct SourceRules {
    /// The source.
    pub source: SourceId,
    /// How it signs.
    pub scheme: Scheme,
    /// What it signs with.
    pub secrets: SecretRing,
    /// Which idempotency key counts.
    pub key: KeyRule,
    /// How its payloads are read.
    pub payload: PayloadRules,
    /// Networks it may send from; empty: any.
    pub networks: Vec<IpNet>,
    /// Switched off: a valid request is answered 403.
    pub disabled: bool,
}

/// Which idempotency key counts, for a scheme that does not sign the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRule {
    /// The header is required, and the body's copy must be equal to it.
    Signed,
    /// The body's copy where there is one, and the header, if sent, must be equal to it. Without a
    /// copy the key is derived: a header the signature does not cover could be changed in a replay.
    Optional,
    /// Always derived: hex SHA-256 of `timestamp.body`. The header is not looked at.
    Derived,
}

impl SourceRules {
    /// The rules of a scheme as they are without further settings: `provider` is about foreign
    /// items and may leave out the key; all others are about posts and must send it.
    #[must_use]
    pub fn new(source: SourceId, site: SiteId, scheme: &Scheme, secrets: SecretRing) -> Self {
        let provider = scheme.name == signature::PROVIDER.name;
        let optional = provider || scheme.key_header.is_none();
        let key = if optional { KeyRule::Optional } else { KeyRule::Signed };
        let subject = if provider { Subject::Item } else { Subject::Post };
        let payload = PayloadRules {
            site,
            subject,
            version: VersionRule::default(),
            map: Mapping::default(),
            form: false,
            trigger: false,
            required: Vec::new(),
            own_events: Vec::new(),
            accept_unknown_events: false,
            url_hosts: Vec::new(),
        };
        let (scheme, networks) = (scheme.clone(), Vec::new());
        Self { source, scheme, secrets, key, payload, networks, disabled: false }
    }
}

/// How an event came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Signed by its sender.
    Signed,
    /// Through the admin API, by the holder of this token.
    Api(String),
    /// By a schedule of ours; live work goes first.
    Schedule,
}

/// A request whose sender, time and content have been checked. Only [`verify`] makes one, and
/// [`accept`] for who was let in without a signature.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifiedWebhook {
    /// Who sent it.
    pub source: SourceId,
    /// The post it is about.
    pub post: PostKey,
    /// What it says.
    pub payload: Payload,
    /// By which a repeat is known.
    pub idempotency_key: IdempotencyKey,
    /// SHA-256 of the raw body.
    pub body_hash: [u8; 32],
    /// The raw body, as signed.
    pub body: Bytes,
    /// The id of the secret that signed it; empty without a signature.
    pub key_id: String,
    /// How it came in.
    pub origin: Origin,
    /// The sender's trace, when it sent a good one.
    pub trace: Option<TraceContext>,
}

/// Checks a request against the rules of its source.
///
/// # Errors
/// The first of: method, size, address, content headers, empty body, signing headers, window,
/// signature, source switched off, JSON, fields, idempotency key.
pub fn verify(
    rules: &SourceRules,
    head: &Head<'_>,
    body: &Bytes,
    now: Timestamp,
) -> Result<VerifiedWebhook, Refusal> {
    check_request(rules, head, body)?;
    let signed = signing_headers(rules, head)?;
    check_window(&rules.scheme, signed.timestamp, now)?;

    let parts = Parts { timestamp: signed.timestamp, key: signed.key, body };
    let key_id =
        signature::verify(&rules.scheme, &rules.secrets, &parts, signed.signatures, signed.key_id)
            .ok_or(
                Code::BadSignature.refuse("no live secret of this source makes this signature"),
            )?;
    check_live(rules)?;

    let payload = Payload::read(&rules.payload, body)?;
    let idempotency_key = idempotency_key(rules, &signed, &payload, body, now)?;
    Ok(VerifiedWebhook {
        source: rules.source.clone(),
        post: PostKey { site: rules.payload.site.clone(), post: payload.post.clone() },
        payload,
        idempotency_key,
        body_hash: Sha256::digest(body).into(),
        body: body.clone(),
        key_id: key_id.to_owned(),
        origin: Origin::Signed,
        trace: head.one("traceparent").ok().flatten().and_then(|text| text.parse().ok()),
    })
}

/// Reads an event whose sender was let in by other means than a signature. `key` is by which a
/// repeat is known where the payload names none.
///
/// # Errors
/// The first of: size, empty body, source switched off, JSON, fields.
pub fn accept(
    rules: &SourceRules,
    body: &Bytes,
    key: IdempotencyKey,
    origin: Origin,
) -> Result<VerifiedWebhook, Refusal> {
    if body.len() > BODY_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    if body.is_empty() {
        return Err(EMPTY);
    }
    check_live(rules)?;
    let payload = Payload::read(&rules.payload, body)?;
    let idempotency_key = payload.key.clone().unwrap_or(key);
    Ok(VerifiedWebhook {
        source: rules.source.clone(),
        post: PostKey { site: rules.payload.site.clone(), post: payload.post.clone() },
        payload,
        idempotency_key,
        body_hash: Sha256::digest(body).into(),
        body: body.clone(),
        key_id: String::new(),
        origin,
        trace: None,
    })
}

const TOO_LARGE: Refusal = Code::BodyTooLarge.refuse("a webhook has at most 262,144 bytes");
const EMPTY: Refusal = Code::EmptyBody.refuse("a webhook has a body");

fn check_live(rules: &SourceRules) -> Result<(), Refusal> {
    if rules.disabled {
        return Err(Code::SiteDisabled.refuse("an operator has switched this source off"));
    }
    Ok(())
}

/// What can be refused before any header of the scheme is read.
fn check_request(rules: &SourceRules, head: &Head<'_>, body: &Bytes) -> Result<(), Refusal> {
    if head.method != "POST" {
        return Err(Code::MethodNotAllowed.refuse("send webhooks with POST"));
    }
    if body.len() > BODY_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    let inside = |net: &IpNet| head.peer.is_some_and(|peer| net.contains(&peer.to_canonical()));
    if !rules.networks.is_empty() && !rules.networks.iter().any(inside) {
        return Err(Code::AddressNotAllowed.refuse("the source names the networks it sends from"));
    }
    head.check_content(rules.payload.form)?;
    if body.is_empty() {
        return Err(EMPTY);
    }
    Ok(())
}

/// The headers of the scheme, each there once and in its form.
struct Signed<'a> {
    timestamp: &'a str,
    signatures: &'a str,
    /// As sent, for schemes that sign it; else empty.
    key: &'a str,
    header_key: Option<IdempotencyKey>,
    key_id: Option<&'a str>,
}

fn signing_headers<'a>(rules: &SourceRules, head: &Head<'a>) -> Result<Signed<'a>, Refusal> {
    let scheme = &rules.scheme;
    let required =
        |name: &str| head.required(name, "the timestamp, signature or key header is missing");
    let timestamp = match &scheme.timestamp {
        TimestampAt::Header(name) => Some(required(name)?),
        TimestampAt::Signature(_) | TimestampAt::Nowhere => None,
    };
    let signatures = required(&scheme.signature_header)?;
    let timestamp = match (timestamp, &scheme.timestamp) {
        (Some(text), _) => text,
        (None, TimestampAt::Signature(prefix)) => {
            scheme.timestamp_in(signatures, prefix).ok_or(BAD_TIMESTAMP)?
        }
        (None, TimestampAt::Header(_) | TimestampAt::Nowhere) => "",
    };
    let key = match (&scheme.key_header, rules.key) {
        (Some(name), KeyRule::Signed) => Some(required(name)?),
        (Some(name), KeyRule::Optional) => head.one(name)?,
        (Some(_), KeyRule::Derived) | (None, _) => None,
    };
    let header_key = key
        .map(IdempotencyKey::from_header)
        .transpose()
        .map_err(|BadIdempotencyKey| payload::BAD_KEY)?;
    let key_id = scheme.key_id_header.as_ref().map(|name| head.one(name)).transpose()?.flatten();
    Ok(Signed { timestamp, signatures, key: key.unwrap_or_default(), header_key, key_id })
}

const BAD_TIMESTAMP: Refusal = Code::BadTimestamp
    .refuse("the timestamp is whole seconds since 1970, in digits without sign or leading zero");

/// Refuses a time of signing further from ours than the scheme's window.
fn check_window(scheme: &Scheme, timestamp: &str, now: Timestamp) -> Result<(), Refusal> {
    if scheme.timestamp == TimestampAt::Nowhere {
        return Ok(());
    }
    // Rust's parse takes "+1" and "01", which other verifiers refuse; the form is checked first.
    let digits = timestamp.bytes().all(|b| b.is_ascii_digit()) && !timestamp.starts_with('0');
    if digits && timestamp.len() == 13 {
        return Err(Code::BadTimestamp.refuse("the timestamp is in milliseconds; send seconds"));
    }
    if !digits || !(1..=10).contains(&timestamp.len()) {
        return Err(BAD_TIMESTAMP);
    }
    let signed_at: i64 = timestamp.parse().map_err(|_| BAD_TIMESTAMP)?;
    let distance_s = now.0.div_euclid(1_000).abs_diff(signed_at);
    if distance_s > u64::from(scheme.window_s) {
        let detail = "sign again at the time of sending, and check the clock";
        return Err(Code::TimestampOutOfWindow.refuse(detail));
    }
    Ok(())
}

fn idempotency_key(
    rules: &SourceRules,
    signed: &Signed<'_>,
    payload: &Payload,
    body: &[u8],
    now: Timestamp,
) -> Result<IdempotencyKey, Refusal> {
    const MISMATCH: Refusal = Code::KeyMismatch
        .refuse("the body's idempotency_key must be there and equal to the header");
    let header = signed.header_key.as_ref();
    let body_key = match rules.key {
        KeyRule::Derived => None,
        KeyRule::Signed | KeyRule::Optional => payload.key.as_ref(),
    };
    match (header, body_key) {
        (Some(header), _) if rules.scheme.signs_key() => Ok(header.clone()),
        (Some(header), Some(body)) if header == body => Ok(body.clone()),
        (Some(_), Some(_)) => Err(MISMATCH),
        (Some(_), None) if rules.key == KeyRule::Signed => Err(MISMATCH),
        (None, Some(body)) => Ok(body.clone()),
        // Two triggers with the same body tell of two changes; coalescing makes them one run.
        (None, None) if payload.event_type == SYNC_EVENT => Ok(IdempotencyKey::at(now)),
        // Equal for an exact replay, and for nothing else.
        (Some(_) | None, None) => Ok(IdempotencyKey::derived(signed.timestamp, body)),
    }
}
