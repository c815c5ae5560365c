//! Opening a log: every check that can be made without reading all of it; and the check that
//! reads all of it.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use fjall::UserValue;

use super::head::Head;
use super::journal;
use super::record;
use super::settings::{Settings, WINDOW_IDS_MAX};
use super::store::{
    BLOCK_RECORDS, Store, block_of, corrupt, place, sequence_of, split_subject_key, subject_key,
    unreadable,
};
use super::window::Window;
use crate::memory::wall_clock_ms;
use crate::{DUPLICATE_WINDOW, LogId, ReadError, Sequence};

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error("the log in {folder} is in use: another copydesk runs on it")]
    InUse {
        /// The log's folder.
        folder: String,
    },
    /// The folder cannot be used.
    #[error("the log in {folder} could not be opened")]
    Io {
        /// The log's folder.
        folder: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// What is stored is not what was written. Nothing is repaired by itself.
    #[error("the log could not be read")]
    Read(#[from] ReadError),
}

/// What [`verify`](super::EmbeddedLog::verify) has found in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// Records read, each with its checksum and its index entry.
    pub records: u64,
    /// Records trimmed over the life of the log.
    pub trimmed: u64,
    /// The newest sequence.
    pub last: Sequence,
}

pub(super) struct Opened {
    pub(super) id: LogId,
    pub(super) store: Store,
    pub(super) head: Head,
    pub(super) last: Sequence,
    pub(super) time_ms: i64,
    pub(super) window: Window,
    pub(super) lock: File,
}

/// Locks, checks and opens the log in `dir`.
pub(super) fn open(dir: &Path, settings: Settings) -> Result<Opened, OpenError> {
    let failed = |source| OpenError::Io { folder: dir.display().to_string(), source };
    std::fs::create_dir_all(dir).map_err(failed)?;
    let lock = lock(dir)?;
    let head = Head::read(&dir.join("head"))?;
    let acknowledged = head.map_or(Sequence(0), |(_, last)| last);
    let tables = dir.join("store");
    let journals = journal::check(&tables, acknowledged)?;
    let store = open_tables(&tables, settings)?;
    let new = LogId(head.map_or_else(|| wall_clock_ms().unsigned_abs(), |(id, _)| id.0));
    let (id, last) = (store.id(new)?, store.last_sequence()?);
    match head {
        Some((head_id, _)) if head_id != id => {
            return Err(corrupt("head", "it belongs to another log").into());
        }
        Some((_, head)) if head > last => {
            let reason = format!("records up to {head} were acknowledged, {last} is the last");
            return Err(corrupt(format!("sequence {last}"), &reason).into());
        }
        None if last != Sequence(0) => {
            return Err(corrupt("head", "the file is missing though there are records").into());
        }
        Some(_) | None => {}
    }
    if let Some(oldest) = journals.oldest {
        check_from(&store, oldest, last)?;
    }
    let (window, time_ms) = window(&store)?;
    let head = Head::create(&dir.join("head"), id, last).map_err(failed)?;
    Ok(Opened { id, store, head, last, time_ms, window, lock })
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Io { folder: dir.display().to_string(), source };
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("LOCK"));
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(OpenError::InUse { folder: dir.display().to_string() })
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// fjall asserts in places where its files are broken, so a panic is an answer too.
fn open_tables(tables: &Path, settings: Settings) -> Result<Store, ReadError> {
    let opened = catch_unwind(AssertUnwindSafe(|| Store::open(tables, settings)));
    match opened {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(e)) => Err(unreadable(tables.display(), &e)),
        Err(_) => Err(corrupt(tables.display(), "fjall gave up on it")),
    }
}

/// Checks every record from the block of `from` on: nothing missing, checksums, index. These
/// are the records that recovery has just read out of the journals.
fn check_from(store: &Store, from: Sequence, last: Sequence) -> Result<(), ReadError> {
    let start = Sequence((block_of(from) * BLOCK_RECORDS).max(1));
    let mut count = Counts::new(store.trimmed()?, start, last);
    for guard in store.records.range(start.0.to_be_bytes()..) {
        let (key, value) = guard.into_inner().map_err(|e| unreadable("records", &e))?;
        count.add(check_record(store, &key, &value)?)?;
    }
    count.end()
}

fn check_record(store: &Store, key: &[u8], value: &UserValue) -> Result<Sequence, ReadError> {
    let sequence = sequence_of(key)?;
    let stored = record::decode(sequence, value)?;
    let index = store.subjects.contains_key(subject_key(&stored.record.subject, sequence));
    if !index.map_err(|e| unreadable(place(sequence), &e))? {
        return Err(corrupt(place(sequence), "the subject index lacks it"));
    }
    Ok(sequence)
}

/// The message ids of the last two minutes and the newest record's time, from the end backwards.
fn window(store: &Store) -> Result<(Window, i64), ReadError> {
    let (now, now_ms) = (Instant::now(), wall_clock_ms());
    let (mut recent, mut newest_ms) = (Vec::new(), 0);
    for guard in store.records.iter().rev().take(WINDOW_IDS_MAX) {
        let (key, value) = guard.into_inner().map_err(|e| unreadable("last records", &e))?;
        let sequence = sequence_of(&key)?;
        let (time_ms, message_id) = record::decode_ids(sequence, &value)?;
        newest_ms = newest_ms.max(time_ms);
        // A clock that went backwards makes old records look new, never the other way round.
        let age = u64::try_from(now_ms.saturating_sub(time_ms)).unwrap_or(0);
        let age = Duration::from_millis(age);
        if age > DUPLICATE_WINDOW {
            break;
        }
        recent.extend(message_id.map(|id| (id, sequence, age)));
    }
    let mut window = Window::default();
    for (id, sequence, age) in recent.into_iter().rev() {
        window.insert(id, sequence, age, now);
    }
    Ok((window, newest_ms))
}

/// Reads everything: no hole that is not a trim, every checksum, every index entry, and no
/// index entry too many. `progress` is told the sequence now and then.
pub(super) fn verify(
    store: &Store,
    last: Sequence,
    mut step: impl FnMut(Sequence) -> Result<(), ReadError>,
) -> Result<Verified, ReadError> {
    let trimmed = store.trimmed()?;
    let mut verified = Verified { last, trimmed: trimmed.values().sum(), records: 0 };
    let mut count = Counts::new(trimmed, Sequence(1), last);
    for guard in store.records.range(..=last.0.to_be_bytes()) {
        let (key, value) = guard.into_inner().map_err(|e| unreadable("records", &e))?;
        let sequence = check_record(store, &key, &value)?;
        count.add(sequence)?;
        verified.records += 1;
        if verified.records.is_multiple_of(BLOCK_RECORDS) {
            step(sequence)?;
        }
    }
    count.end()?;
    let mut entries = 0;
    for guard in store.subjects.iter() {
        let key = guard.key().map_err(|e| unreadable("subject index", &e))?;
        entries += u64::from(split_subject_key(&key)?.1 <= last);
    }
    if entries != verified.records {
        let reason = format!("{entries} entries for {} records", verified.records);
        return Err(corrupt("subject index", &reason));
    }
    Ok(verified)
}

/// Counts the records of each block: with what was trimmed they must fill it.
struct Counts {
    trimmed: BTreeMap<u64, u64>,
    block: u64,
    first: u64,
    last: Sequence,
    here: u64,
}

impl Counts {
    const fn new(trimmed: BTreeMap<u64, u64>, first: Sequence, last: Sequence) -> Self {
        Self { trimmed, block: block_of(first), first: first.0, last, here: 0 }
    }

    fn add(&mut self, sequence: Sequence) -> Result<(), ReadError> {
        while self.block < block_of(sequence) {
            self.close_block()?;
        }
        self.here += 1;
        Ok(())
    }

    fn end(mut self) -> Result<(), ReadError> {
        while self.last.0 != 0 && self.block <= block_of(self.last) {
            self.close_block()?;
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<(), ReadError> {
        let start = (self.block * BLOCK_RECORDS).max(self.first);
        let end = ((self.block + 1) * BLOCK_RECORDS - 1).min(self.last.0);
        let trimmed = self.trimmed.get(&self.block).copied().unwrap_or(0);
        let (here, expected) = (self.here + trimmed, end + 1 - start);
        if here != expected {
            let reason = format!("{expected} records belong there, {here} are known of");
            return Err(corrupt(format!("sequences {start} to {end}"), &reason));
        }
        (self.block, self.here) = (self.block + 1, 0);
        Ok(())
    }
}
