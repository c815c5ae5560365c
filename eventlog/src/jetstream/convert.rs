//! Records to messages and back. Only our own tokens become headers, the payload is opaque.

use std::str::FromStr;

use async_nats::header::{
    HeaderMap, HeaderName, HeaderValue, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID,
};
use async_nats::jetstream;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;

use super::settings::SUBJECTS;
use crate::{AppendError, Filter, MessageId, NewRecord, ReadError, Record, Sequence, Subject};

/// A stored message as the log sees it.
pub(super) struct Stored {
    pub(super) record: Record,
    message_id: Option<String>,
    expected_last: Option<String>,
}

impl Stored {
    /// Whether an earlier try of this very append stored this record.
    pub(super) fn is_from(&self, new: &NewRecord) -> bool {
        self.expected_last == new.expected_last.map(|last| last.to_string())
            && self.message_id == new.message_id.map(id_text)
            && self.record.payload == new.payload
    }
}

/// The headers of a record that has passed `bounds::check`.
pub(super) fn headers(new: &NewRecord) -> Result<HeaderMap, AppendError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &new.headers {
        // `insert` of a `&str` panics on a line break; the parser does not.
        let value = HeaderValue::from_str(value)
            .map_err(|_| AppendError::Refused(format!("the header {name:?} cannot be sent")))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    if let Some(id) = new.message_id {
        headers.insert(NATS_MESSAGE_ID, id_text(id).as_str());
    }
    if let Some(last) = new.expected_last {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(last.0));
    }
    Ok(headers)
}

fn id_text(MessageId(id): MessageId) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

/// A message that a consumer delivered, and its number at this consumer: 1, 2, 3 …
pub(super) fn delivered(message: &jetstream::Message) -> Result<(Stored, u64), ReadError> {
    let info = message.info().map_err(|e| corrupt("a delivered message", &e.to_string()))?;
    let sequence = Sequence(info.stream_sequence);
    let time_ms = info.published.unix_timestamp_nanos() / 1_000_000;
    let headers = message.headers.as_ref();
    let stored = stored(sequence, time_ms, &message.subject, headers, message.payload.clone())?;
    Ok((stored, info.consumer_sequence))
}

/// A message read from the stream by its leader.
pub(super) fn read(message: StreamMessage) -> Result<Stored, ReadError> {
    let time_ms = message.time.unix_timestamp_nanos() / 1_000_000;
    let (sequence, headers) = (Sequence(message.sequence), Some(&message.headers));
    stored(sequence, time_ms, &message.subject, headers, message.payload)
}

fn stored(
    sequence: Sequence,
    time_ms: i128,
    subject: &str,
    headers: Option<&HeaderMap>,
    payload: Bytes,
) -> Result<Stored, ReadError> {
    let place = format!("sequence {sequence}");
    // Only a foreign writer can have put another subject there.
    let subject = Subject::new(subject).map_err(|e| corrupt(&place, &e.to_string()))?;
    let mut own = Vec::new();
    let (mut message_id, mut expected_last) = (None, None);
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let (name, value) = (name.to_string(), values.first().map(ToString::to_string));
        if name == NATS_MESSAGE_ID.to_string() {
            message_id = value;
        } else if name == NATS_EXPECTED_LAST_SUBJECT_SEQUENCE.to_string() {
            expected_last = value;
        } else if !name.to_ascii_lowercase().starts_with("nats-") {
            own.push((name, value.unwrap_or_default()));
        }
    }
    // The client keeps them without an order.
    own.sort_unstable();
    let time_ms = i64::try_from(time_ms).unwrap_or(i64::MAX);
    let record = Record { sequence, time_ms, subject, headers: own, payload };
    Ok(Stored { record, message_id, expected_last })
}

/// The subjects of the stream that a filter means. One wildcard: with several, a server looks at
/// every subject for each message it delivers.
pub(super) fn pattern(filter: Filter) -> &'static str {
    filter.0.unwrap_or(SUBJECTS)
}

/// The same below one subject.
pub(super) fn pattern_below(parent: &Subject, filter: Filter) -> String {
    let Some(pattern) = filter.0 else { return format!("{parent}.>") };
    let below = pattern.split('.').skip(parent.as_str().split('.').count());
    let below: Vec<&str> = below.collect();
    format!("{parent}.{}", below.join("."))
}

pub(super) fn corrupt(place: &str, reason: &str) -> ReadError {
    ReadError::Corrupt { place: place.to_owned(), reason: reason.to_owned() }
}
