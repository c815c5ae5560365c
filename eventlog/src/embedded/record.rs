//! The stored form of a record: one value per record, whole and checked.
//!
//! ```text
//! version 1 | checksum u64 | time_ms i64 | flags u8 | message id 16? | expected last u64?
//!           | subject u8+bytes | header count u8 | (name u8+bytes, value u16+bytes)… | payload
//! ```
//! Numbers are little-endian. The checksum is XXH3-64 over all that follows it, seeded with the
//! sequence, so a value under another record's key is found out too. A new form gets a new
//! version byte; every old one stays readable.

use bytes::Bytes;
use fjall::UserValue;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Filter, MessageId, NewRecord, ReadError, Record, Sequence, Subject};

const VERSION: u8 = 1;
const CHECKED_FROM: usize = 9;
const HAS_MESSAGE_ID: u8 = 1;
const HAS_EXPECTED_LAST: u8 = 2;

/// A stored record with what only the log itself looks at.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    pub(super) message_id: Option<MessageId>,
    pub(super) expected_last: Option<Sequence>,
}

impl Stored {
    /// Whether an earlier try of this very append stored this record.
    pub(super) fn is_from(&self, new: &NewRecord) -> bool {
        self.expected_last == new.expected_last
            && self.message_id == new.message_id
            && self.record.payload == new.payload
    }
}

/// The value to store, made in `out`, which is used again for the next one. The record has
/// passed `bounds::check`, so every length fits its prefix.
pub(super) fn encode(
    new: &NewRecord,
    sequence: Sequence,
    time_ms: i64,
    out: &mut Vec<u8>,
) -> UserValue {
    let ids = (time_ms, new.message_id, new.expected_last);
    let headers = new.headers.iter().map(|(name, value)| (*name, value.as_str()));
    encode_parts(ids, &new.subject, headers, &new.payload, sequence, out);
    out.as_slice().into()
}

/// The stored form of a record that was read, made in `out`. What only the log itself looks at for
/// the two minutes after an append is not part of it.
pub(crate) fn encode_again(record: &Record, out: &mut Vec<u8>) {
    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let ids = (record.time_ms, None, None);
    encode_parts(ids, &record.subject, headers, &record.payload, record.sequence, out);
}

fn encode_parts<'a>(
    (time_ms, message_id, expected_last): Ids,
    subject: &Subject,
    headers: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    payload: &[u8],
    sequence: Sequence,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.push(VERSION);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&time_ms.to_le_bytes());
    let id_flag = if message_id.is_some() { HAS_MESSAGE_ID } else { 0 };
    let last_flag = if expected_last.is_some() { HAS_EXPECTED_LAST } else { 0 };
    out.push(id_flag | last_flag);
    if let Some(MessageId(id)) = message_id {
        out.extend_from_slice(&id);
    }
    if let Some(Sequence(last)) = expected_last {
        out.extend_from_slice(&last.to_le_bytes());
    }
    push_short(out, subject.as_str());
    out.push(u8::try_from(headers.len()).unwrap_or(u8::MAX));
    for (name, value) in headers {
        push_short(out, name);
        out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(payload);
    let checksum = xxh3_64_with_seed(out.get(CHECKED_FROM..).unwrap_or_default(), sequence.0);
    if let Some(place) = out.get_mut(1..CHECKED_FROM) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Reads a value back, checksum first. The payload shares the value's memory.
///
/// # Errors
/// [`ReadError::Corrupt`] when it is not what was stored under this sequence.
pub(crate) fn decode(sequence: Sequence, value: &UserValue) -> Result<Stored, ReadError> {
    check(sequence, value)?;
    let mut rest = Reader { value, at: CHECKED_FROM };
    // The checksum fits, so a part that does not parse was written wrongly: a bug, yet no panic.
    rest.stored(sequence).ok_or_else(|| corrupt(sequence, "a part of it does not parse"))
}

/// When it was stored and under which message id, of a value that fits its checksum.
pub(super) fn decode_ids(
    sequence: Sequence,
    value: &UserValue,
) -> Result<(i64, Option<MessageId>), ReadError> {
    check(sequence, value)?;
    let ids = Reader { value, at: CHECKED_FROM }.ids();
    let (time_ms, message_id, _) =
        ids.ok_or_else(|| corrupt(sequence, "a part of it does not parse"))?;
    Ok((time_ms, message_id))
}

/// As [`decode`], when the subject matches.
pub(super) fn decode_matching(
    sequence: Sequence,
    value: &UserValue,
    filter: Filter,
) -> Result<Option<Record>, ReadError> {
    // A broken record may name a wrong subject: it is an error to every reader, so only what
    // parses and fits its checksum is passed over.
    if !may_match(value, filter) {
        check(sequence, value)?;
        return Ok(None);
    }
    let record = decode(sequence, value)?.record;
    Ok(filter.matches(&record.subject).then_some(record))
}

/// Whether the subject matches, or does not parse.
pub(super) fn may_match(value: &UserValue, filter: Filter) -> bool {
    let mut subject = Reader { value, at: CHECKED_FROM };
    let subject = subject.ids().and_then(|_| subject.short());
    subject.is_none_or(|subject| filter.matches_name(subject))
}

fn check(sequence: Sequence, value: &UserValue) -> Result<(), ReadError> {
    if value.first() != Some(&VERSION) {
        return Err(corrupt(sequence, "the version byte is unknown"));
    }
    let checksum = Reader { value, at: 1 }.u64();
    let body = value.get(CHECKED_FROM..).unwrap_or_default();
    if checksum != Some(xxh3_64_with_seed(body, sequence.0)) {
        return Err(corrupt(sequence, "the checksum does not fit"));
    }
    Ok(())
}

fn push_short(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn corrupt(sequence: Sequence, reason: &str) -> ReadError {
    ReadError::Corrupt { place: format!("sequence {sequence}"), reason: reason.to_owned() }
}

struct Reader<'a> {
    value: &'a UserValue,
    at: usize,
}

type Ids = (i64, Option<MessageId>, Option<Sequence>);

impl<'a> Reader<'a> {
    fn stored(&mut self, sequence: Sequence) -> Option<Stored> {
        let (time_ms, message_id, expected_last) = self.ids()?;
        let subject = Subject::new(self.short()?).ok()?;
        let count = usize::from(self.u8()?);
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let name = self.short()?.to_owned();
            let length = usize::from(u16::from_le_bytes(*self.array()?));
            headers.push((name, std::str::from_utf8(self.bytes(length)?).ok()?.to_owned()));
        }
        let payload = Bytes::from_owner(self.value.clone()).slice(self.at..);
        let record = Record { sequence, time_ms, subject, headers, payload };
        Some(Stored { record, message_id, expected_last })
    }

    fn ids(&mut self) -> Option<Ids> {
        let time_ms = i64::from_le_bytes(*self.array()?);
        let flags = self.u8()?;
        let has = |flag: u8| flags & flag != 0;
        let message_id = if has(HAS_MESSAGE_ID) { Some(MessageId(*self.array()?)) } else { None };
        let expected_last = if has(HAS_EXPECTED_LAST) { Some(Sequence(self.u64()?)) } else { None };
        Some((time_ms, message_id, expected_last))
    }

    fn short(&mut self) -> Option<&'a str> {
        let length = usize::from(self.u8()?);
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        self.bytes(N)?.first_chunk()
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let found = self.value.get(self.at..end)?;
        self.at = end;
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use super::*;

    fn example() -> NewRecord {
        NewRecord {
            subject: Subject::new("cd.7.news.42.in").unwrap(),
            message_id: Some(MessageId([3; 16])),
            expected_last: Some(Sequence(9)),
            headers: vec![("ce-id", "e1".to_owned()), ("empty", String::new())],
            payload: Bytes::from_static(b"{\"a\":1}"),
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let new = example();
        let value = encode(&new, Sequence(12), 1_700_000_000_123, &mut Vec::new());
        let stored = decode(Sequence(12), &value).unwrap();
        assert!(stored.is_from(&new));
        assert_eq!(stored.record.subject, new.subject);
        assert_eq!(stored.record.time_ms, 1_700_000_000_123);
        let empty = ("empty".to_owned(), String::new());
        assert_eq!(stored.record.headers, [("ce-id".to_owned(), "e1".to_owned()), empty]);
        let matching = |last| decode_matching(Sequence(12), &value, Filter(last)).unwrap();
        assert!(matching(Some("cd.*.*.*.in")).is_some() && matching(None).is_some());
        assert!(matching(Some("cd.*.*.*.ev")).is_none());
    }

    #[test]
    fn every_flipped_bit_every_cut_and_a_foreign_place_is_found() {
        let value = encode(&example(), Sequence(12), 5, &mut Vec::new());
        for bit in 0..value.len() * 8 {
            let mut broken = value.to_vec();
            broken[bit / 8] ^= 1 << (bit % 8);
            let broken = UserValue::from(broken);
            assert!(decode(Sequence(12), &broken).is_err(), "bit {bit}");
            let other = decode_matching(Sequence(12), &broken, Filter(Some("cd.*.*.*.ev")));
            assert!(other.is_err(), "bit {bit} under a filter");
        }
        for length in 0..value.len() {
            assert!(decode(Sequence(12), &value[..length].into()).is_err(), "length {length}");
        }
        assert!(decode(Sequence(13), &value).is_err());
    }
}
