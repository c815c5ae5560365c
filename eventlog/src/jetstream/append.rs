//! One append: the same bytes under the same expectation until the outcome is known.

use std::error::Error as _;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use rand::Rng;

use super::convert;
use super::read::Reader;
use super::settings::{RETRY_PAUSE_MS, SUBJECT_PREFIX, Settings};
use crate::{AppendError, Appended, NewRecord, Sequence, bounds, crash_point};

/// Looks that find nothing behind the expected sequence although the server says that it is
/// not the last. A record on its way is there at the next look; an expectation beyond the end
/// never is.
const EMPTY_LOOKS_MAX: u32 = 3;

/// What one try came to.
pub(super) enum Try {
    Done(Appended),
    /// The subject's last sequence is another one.
    Contested,
    /// Nothing was stored by this try, for want of space.
    Full(String),
    /// Nothing was stored by this try, and nothing will be.
    Refused(String),
    /// The server had nobody to hand it to, as it is while a leader is elected.
    NoTaker(String),
    Unknown(String),
}

/// Checks what the stream could not take.
pub(super) fn check(record: &NewRecord) -> Result<(), AppendError> {
    bounds::check(record)?;
    if record.subject.as_str().starts_with(SUBJECT_PREFIX) {
        return Ok(());
    }
    Err(AppendError::Refused(format!("the subject does not begin with {SUBJECT_PREFIX}")))
}

/// Appends a checked record.
pub(super) async fn append(
    reader: &Reader,
    settings: &Settings,
    new: &NewRecord,
) -> Result<Appended, AppendError> {
    let headers = convert::headers(new)?;
    let fenced = new.expected_last.is_some();
    let patience = if fenced { settings.fenced_append_max } else { settings.append_max };
    let deadline = Instant::now() + patience;
    let mut unknown = None;
    let mut empty_looks = 0;
    loop {
        match try_once(reader, new, &headers).await {
            Try::Done(appended) => return Ok(appended),
            Try::Contested => match contested(reader, new).await {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {
                    empty_looks += 1;
                    if empty_looks == EMPTY_LOOKS_MAX && unknown.is_none() {
                        return Err(wrong_last(new));
                    }
                }
                Err(reason) => unknown = Some(reason),
            },
            // An earlier try may have been stored after all.
            Try::Full(reason) if unknown.is_none() => return Err(AppendError::Full(reason)),
            Try::Refused(reason) if unknown.is_none() => return Err(AppendError::Refused(reason)),
            // Nothing would tell a second copy from the first.
            Try::Unknown(reason) if !fenced && new.message_id.is_none() => {
                return Err(AppendError::Unknown(reason));
            }
            Try::Full(reason)
            | Try::Refused(reason)
            | Try::NoTaker(reason)
            | Try::Unknown(reason) => unknown = Some(reason),
        }
        let pause = Duration::from_millis(rand::rng().random_range(RETRY_PAUSE_MS));
        if Instant::now() + pause >= deadline {
            let reason = unknown.unwrap_or_else(|| "the subject is contested".to_owned());
            return Err(AppendError::Unknown(reason));
        }
        tokio::time::sleep(pause).await;
    }
}

async fn try_once(reader: &Reader, new: &NewRecord, headers: &HeaderMap) -> Try {
    let subject = new.subject.as_str().to_owned();
    let sent = reader.context.publish_with_headers(subject, headers.clone(), new.payload.clone());
    crash_point("jetstream.publishing");
    let sent = sent.await;
    crash_point("jetstream.published");
    let ack = match sent {
        Ok(ack) => ack.await,
        Err(error) => Err(error),
    };
    match ack {
        Ok(ack) if ack.duplicate => Try::Done(Appended::Duplicate(Sequence(ack.sequence))),
        Ok(ack) => Try::Done(Appended::Stored(Sequence(ack.sequence))),
        Err(error) => classify(&error),
    }
}

pub(super) fn classify(error: &PublishError) -> Try {
    let reason = error.to_string();
    match error.kind() {
        PublishErrorKind::WrongLastSequence => Try::Contested,
        PublishErrorKind::MaxPayloadExceeded => Try::Refused(reason),
        PublishErrorKind::Other => match error.source().and_then(|e| e.downcast_ref()) {
            Some(refusal) => classify_refusal(refusal, reason),
            None => Try::Unknown(reason),
        },
        PublishErrorKind::StreamNotFound => Try::NoTaker(reason),
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending => Try::Unknown(reason),
    }
}

fn classify_refusal(refusal: &jetstream::Error, reason: String) -> Try {
    match refusal.error_code() {
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => {
            Try::Contested
        }
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => Try::Full(reason),
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            Try::Refused(reason)
        }
        // 10158 and 10163 among them: the leader has just changed or a copy is on its way.
        _ => Try::Unknown(reason),
    }
}

/// Whose record stands behind the expected one: an earlier try of this append, which was then
/// stored, or another writer's. `None` when none can be seen.
async fn contested(
    reader: &Reader,
    new: &NewRecord,
) -> Result<Option<Result<Appended, AppendError>>, String> {
    let expected = new.expected_last.unwrap_or_default();
    let next = reader.next_of(&new.subject, expected).await.map_err(|e| e.to_string())?;
    Ok(next.map(|stored| match stored.is_from(new) {
        true => Ok(Appended::Stored(stored.record.sequence)),
        false => Err(wrong_last(new)),
    }))
}

fn wrong_last(new: &NewRecord) -> AppendError {
    AppendError::WrongLastSequence { subject: new.subject.clone() }
}
