//! The tables inside fjall, and every read of them. All of it blocks: callers are the writer
//! thread and `spawn_blocking`.
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | `records` | sequence, big-endian | see [`record`](super::record) |
//! | `subjects` | subject, 0x00, sequence big-endian | nothing |
//! | `meta` | `id` | log id, little-endian |
//! | `meta` | `trimmed`, block number big-endian | how many records of the block were trimmed |
//!
//! A block is [`BLOCK_RECORDS`] sequences. What is there plus what was trimmed must be the whole
//! block: that is how a hole is told from a trim.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;

use fjall::config::FilterPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use super::record::{self, Stored};
use super::settings::Settings;
use crate::{Filter, LogId, ReadError, Record, Sequence, Subject};

/// Sequences whose trimmed records are counted together.
pub(super) const BLOCK_RECORDS: u64 = 4096;

/// Index entries of one subject read in a row before the scan jumps to the subject's end.
const SKIP_AFTER: usize = 16;

/// Records looked at in one go, so that a rare filter does not hold the log open for long.
const SCAN_MAX: usize = 65_536;

/// A part of the stream.
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    /// The last sequence looked at.
    pub(super) end: Sequence,
    /// Whether there may be matching records after `end` already.
    pub(super) more: bool,
}

/// What a walk through the subjects found, and the key to go on from; `None` at the end.
pub(super) type Walked<T> = (Vec<T>, Option<Vec<u8>>);

#[derive(Clone)]
pub(super) struct Store {
    pub(super) db: Database,
    pub(super) records: Keyspace,
    pub(super) subjects: Keyspace,
    pub(super) meta: Keyspace,
}

impl Store {
    /// Opens or creates the tables.
    pub(super) fn open(dir: &Path, settings: Settings) -> fjall::Result<Self> {
        let db = Database::builder(dir)
            .cache_size(settings.cache_bytes_max)
            .max_journaling_size(64 * 1024 * 1024)
            // Recovery compresses again to compare checksums, so another version of the
            // compressor would make a good journal unreadable.
            .journal_compression(CompressionType::None)
            .manual_journal_persist(true)
            // With two, one of them spins while the other compacts (fjall 3.1.13 worker_pool.rs).
            .worker_threads(1)
            .open()?;
        let options = |memtable_bytes| {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable_bytes)
                // Records are looked up by numbers that are there, and the index by ranges.
                .filter_policy(FilterPolicy::disabled())
                .manual_journal_persist(true)
        };
        Ok(Self {
            records: db.keyspace("records", || options(settings.memtable_bytes_max))?,
            subjects: db.keyspace("subjects", || options(settings.memtable_bytes_max / 2))?,
            meta: db.keyspace("meta", || options(1024 * 1024))?,
            db,
        })
    }

    /// The log id, given to the log when it is empty.
    pub(super) fn id(&self, new: LogId) -> Result<LogId, ReadError> {
        if let Some(value) = self.meta.get("id").map_err(|e| unreadable("log id", &e))? {
            let id = value.first_chunk().filter(|_| value.len() == 8);
            return id
                .map(|id| LogId(u64::from_le_bytes(*id)))
                .ok_or_else(|| corrupt("log id", "it is not 8 bytes long"));
        }
        if self.last_sequence()? != Sequence(0) {
            return Err(corrupt("log id", "it is missing though there are records"));
        }
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, "id", new.0.to_le_bytes());
        batch.commit().map_err(|e| ReadError::Unavailable(format!("creating the log: {e}")))?;
        Ok(new)
    }

    pub(super) fn last_sequence(&self) -> Result<Sequence, ReadError> {
        let Some(guard) = self.records.last_key_value() else { return Ok(Sequence(0)) };
        sequence_of(&guard.key().map_err(|e| unreadable("last record", &e))?)
    }

    /// The newest sequence of a subject, 0 when there is none.
    pub(super) fn last_of(&self, subject: &Subject) -> Result<Sequence, ReadError> {
        let Some(guard) = self.subjects.prefix(subject_prefix(subject)).next_back() else {
            return Ok(Sequence(0));
        };
        let key = guard.key().map_err(|e| unreadable(subject, &e))?;
        Ok(split_subject_key(&key)?.1)
    }

    /// The subject's first sequence after `after`.
    pub(super) fn next_of(
        &self,
        subject: &Subject,
        after: Sequence,
    ) -> Result<Option<Sequence>, ReadError> {
        let Some(from) = after.0.checked_add(1) else { return Ok(None) };
        let range = subject_key(subject, Sequence(from))..=subject_key(subject, Sequence(u64::MAX));
        let Some(guard) = self.subjects.range(range).next() else { return Ok(None) };
        let key = guard.key().map_err(|e| unreadable(subject, &e))?;
        Ok(Some(split_subject_key(&key)?.1))
    }

    pub(super) fn get(&self, sequence: Sequence) -> Result<Option<Stored>, ReadError> {
        let value = self.records.get(sequence.0.to_be_bytes());
        let value = value.map_err(|e| unreadable(place(sequence), &e))?;
        value.map(|value| record::decode(sequence, &value)).transpose()
    }

    pub(super) fn last(&self, subject: &Subject) -> Result<Option<Record>, ReadError> {
        match self.last_of(subject)? {
            Sequence(0) => Ok(None),
            sequence => Ok(Some(self.indexed(sequence)?)),
        }
    }

    /// A record that the index names. A subject's last record is never trimmed.
    fn indexed(&self, sequence: Sequence) -> Result<Record, ReadError> {
        let stored = self.get(sequence)?;
        stored
            .map(|stored| stored.record)
            .ok_or_else(|| corrupt(place(sequence), "the index names it, and it is not there"))
    }

    pub(super) fn history(
        &self,
        subject: &Subject,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        // One moment for index and records: a trim in between would look like a hole.
        let view = self.db.snapshot();
        let Some(from) = after.0.checked_add(1) else { return Ok(Vec::new()) };
        let range = subject_key(subject, Sequence(from))..=subject_key(subject, Sequence(u64::MAX));
        let mut found = Vec::new();
        for guard in view.range(&self.subjects, range).take(limit) {
            let key = guard.key().map_err(|e| unreadable(subject, &e))?;
            let (_, sequence) = split_subject_key(&key)?;
            let value = view.get(&self.records, sequence.0.to_be_bytes());
            let value = value.map_err(|e| unreadable(place(sequence), &e))?.ok_or_else(|| {
                corrupt(place(sequence), "the index names it, and it is not there")
            })?;
            found.push(record::decode(sequence, &value)?.record);
        }
        Ok(found)
    }

    /// Up to `limit` records after `after` that match, looking at no more than [`SCAN_MAX`].
    pub(super) fn page(
        &self,
        after: Sequence,
        filter: Filter,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let mut page = Page { records: Vec::new(), end: after, more: false };
        let Some(from) = after.0.checked_add(1) else { return Ok(page) };
        for (looked_at, guard) in self.records.range(from.to_be_bytes()..).enumerate() {
            if page.records.len() == limit || looked_at == SCAN_MAX {
                page.more = true;
                break;
            }
            let (key, value) = guard
                .into_inner()
                .map_err(|e| unreadable(format!("the record after {}", page.end), &e))?;
            page.end = sequence_of(&key)?;
            page.records.extend(record::decode_matching(page.end, &value, filter)?);
        }
        Ok(page)
    }

    /// The newest records of up to `limit` subjects after `from`, by sequence, and the key to
    /// go on from; `None` at the end. By sequence, because neighbours share blocks.
    pub(super) fn last_page(
        &self,
        from: &[u8],
        filter: Filter,
        limit: usize,
    ) -> Result<Walked<Record>, ReadError> {
        let (lasts, next) = self.last_sequences(from, filter, limit)?;
        let mut lasts: Vec<Sequence> = lasts.into_iter().map(|(_, last)| last).collect();
        lasts.sort_unstable();
        let records = lasts.into_iter().map(|sequence| self.indexed(sequence));
        Ok((records.collect::<Result<_, _>>()?, next))
    }

    /// Up to `limit` subjects after `from` with their newest sequences.
    pub(super) fn last_sequences(
        &self,
        from: &[u8],
        filter: Filter,
        limit: usize,
    ) -> Result<Walked<(Subject, Sequence)>, ReadError> {
        let mut lasts = Vec::new();
        let mut current: Option<(Vec<u8>, Sequence, usize)> = None;
        let mut keys = self.subjects.range(from.to_vec()..);
        while let Some(guard) = keys.next() {
            let key = guard.key().map_err(|e| unreadable("subject index", &e))?;
            let (subject, sequence) = split_subject_key(&key)?;
            if let Some((name, last, seen)) = current.as_mut().filter(|c| c.0 == subject) {
                (*last, *seen) = (sequence, *seen + 1);
                if *seen == SKIP_AFTER {
                    let end = [name.as_slice(), &[0], &u64::MAX.to_be_bytes()].concat();
                    let tail = key.to_vec()..=end.clone();
                    if let Some(newest) = self.subjects.range(tail).next_back() {
                        let newest = newest.key().map_err(|e| unreadable("subject index", &e))?;
                        *last = split_subject_key(&newest)?.1;
                    }
                    keys = self.subjects.range(end..);
                }
                continue;
            }
            if let Some((name, last, _)) = current.take() {
                lasts.push((subject_of(&name)?, last));
                if lasts.len() == limit {
                    return Ok((lasts, Some(key.to_vec())));
                }
            }
            if wanted(subject, filter) {
                current = Some((subject.to_vec(), sequence, 1));
            }
        }
        if let Some((name, last, _)) = current {
            lasts.push((subject_of(&name)?, last));
        }
        Ok((lasts, None))
    }

    /// How many records of one block were trimmed.
    pub(super) fn trimmed_in(&self, block: u64) -> Result<u64, ReadError> {
        let value = self.meta.get(trimmed_key(block)).map_err(|e| unreadable("trim counts", &e))?;
        let Some(value) = value else { return Ok(0) };
        let count = value.first_chunk().map(|count| u64::from_le_bytes(*count));
        count.ok_or_else(|| corrupt("trim counts", "an entry does not parse"))
    }

    /// How many records of each block were trimmed.
    pub(super) fn trimmed(&self) -> Result<BTreeMap<u64, u64>, ReadError> {
        let mut trimmed = BTreeMap::new();
        for guard in self.meta.prefix(TRIMMED) {
            let (key, value) = guard.into_inner().map_err(|e| unreadable("trim counts", &e))?;
            let block = key.get(TRIMMED.len()..).and_then(<[u8]>::first_chunk);
            let (Some(block), Some(count)) = (block, value.first_chunk()) else {
                return Err(corrupt("trim counts", "an entry does not parse"));
            };
            trimmed.insert(u64::from_be_bytes(*block), u64::from_le_bytes(*count));
        }
        Ok(trimmed)
    }
}

const TRIMMED: &[u8] = b"trimmed";

pub(super) fn trimmed_key(block: u64) -> Vec<u8> {
    [TRIMMED, &block.to_be_bytes()].concat()
}

pub(super) const fn block_of(sequence: Sequence) -> u64 {
    sequence.0 / BLOCK_RECORDS
}

pub(super) fn subject_key(subject: &Subject, sequence: Sequence) -> Vec<u8> {
    [subject.as_str().as_bytes(), &[0], &sequence.0.to_be_bytes()].concat()
}

fn subject_prefix(subject: &Subject) -> Vec<u8> {
    [subject.as_str().as_bytes(), &[0]].concat()
}

pub(super) fn split_subject_key(key: &[u8]) -> Result<(&[u8], Sequence), ReadError> {
    let split = key.split_last_chunk().and_then(|(head, sequence)| match head.split_last() {
        Some((0, subject)) => Some((subject, Sequence(u64::from_be_bytes(*sequence)))),
        Some(_) | None => None,
    });
    split.ok_or_else(|| corrupt("subject index", "a key does not parse"))
}

fn subject_of(name: &[u8]) -> Result<Subject, ReadError> {
    let subject = std::str::from_utf8(name).ok().and_then(|name| Subject::new(name).ok());
    subject.ok_or_else(|| corrupt("subject index", "a subject does not parse"))
}

fn wanted(subject: &[u8], filter: Filter) -> bool {
    // What is no text is wanted, to be found out.
    std::str::from_utf8(subject).map_or(true, |name| filter.matches_name(name))
}

pub(super) fn sequence_of(key: &[u8]) -> Result<Sequence, ReadError> {
    match key.first_chunk().filter(|_| key.len() == 8) {
        Some(sequence) => Ok(Sequence(u64::from_be_bytes(*sequence))),
        None => Err(corrupt("records", "a key is not 8 bytes long")),
    }
}

pub(super) fn corrupt(place: impl Display, reason: &str) -> ReadError {
    ReadError::Corrupt { place: place.to_string(), reason: reason.to_owned() }
}

pub(super) fn place(sequence: Sequence) -> String {
    format!("sequence {sequence}")
}

/// A failed read by what it means: a checksum is for ever, an error of the disk perhaps not.
pub(super) fn unreadable(place: impl Display, error: &fjall::Error) -> ReadError {
    if let fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) = error
        && !matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData)
    {
        return ReadError::Unavailable(format!("reading {place}: {error}"));
    }
    ReadError::Corrupt { place: place.to_string(), reason: error.to_string() }
}
