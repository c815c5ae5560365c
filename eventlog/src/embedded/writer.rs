//! The one thread that writes: it takes every append that waits, decides each against what is
//! stored, writes them as one batch, syncs it, and only then answers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::{PersistMode, UserValue};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::warn;

use super::head::Head;
use super::reader::Shared;
use super::record::{self, Stored};
use super::settings::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, COMMIT_EVERY, FREE_SPACE_EVERY, INLINE_ANSWERS_MAX,
    LAST_CACHE_SUBJECTS_MAX,
};
use super::store::{Store, block_of, split_subject_key, subject_key, trimmed_key, unreadable};
use super::watchdog::Watchdog;
use super::window::Window;
use crate::crash::slow_sync;
use crate::memory::wall_clock_ms;
use crate::{AppendError, Appended, NewRecord, ReadError, Sequence, Subject, crash_point};

/// Index entries a trim removes in one batch.
const TRIM_BATCH: usize = 1024;

pub(super) enum Command {
    Append(Append),
    Trim { subject: Subject, below: Sequence, answer: oneshot::Sender<Result<(), ReadError>> },
    Close,
}

pub(super) struct Append {
    pub(super) record: NewRecord,
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
    /// Its share of the queue, given back with the answer.
    pub(super) room: OwnedSemaphorePermit,
}

pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    pub(super) head: Head,
    pub(super) window: Window,
    pub(super) last: Sequence,
    pub(super) time_ms: i64,
    pub(super) last_of: HashMap<Subject, Sequence>,
    pub(super) disk: Disk,
    /// Where answers are given: waking many tasks from inside their runtime costs one futex call
    /// instead of one each.
    pub(super) runtime: Option<Handle>,
    /// Where values are encoded.
    pub(super) scratch: Vec<u8>,
    pub(super) watchdog: Watchdog,
}

/// The free space of the log's disk, looked at now and then.
pub(super) struct Disk {
    pub(super) dir: PathBuf,
    pub(super) free_bytes_min: u64,
    pub(super) seen: Option<(Instant, Option<String>)>,
}

type Decided = (Append, Result<Appended, AppendError>);

impl Writer {
    /// Works until the queue is closed. Returns after the last answer.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut next = None;
        // When the last commit began, if it was of several appends.
        let mut shared_commit: Option<Instant> = None;
        while let Some(command) = next.take().or_else(|| queue.blocking_recv()) {
            let outcome = match command {
                Command::Append(first) => {
                    if let Some(began) = shared_commit {
                        std::thread::sleep(COMMIT_EVERY.saturating_sub(began.elapsed()));
                    }
                    let appends = collect(first, &mut queue, &mut next);
                    shared_commit = (appends.len() > 1).then(Instant::now);
                    self.commit(appends)
                }
                Command::Trim { subject, below, answer } => {
                    let trimmed = self.trim(&subject, below);
                    let fatal = matches!(&trimmed, Err(Trim::Fatal(_)));
                    let reason = trimmed.as_ref().err().map(Trim::to_string);
                    // Nobody waits for it when the caller went away.
                    let _gone = answer.send(trimmed.map_err(Trim::into_read_error));
                    if fatal { Err(reason.unwrap_or_default()) } else { Ok(()) }
                }
                Command::Close => {
                    queue.close();
                    Ok(())
                }
            };
            if let Err(reason) = outcome {
                self.stop(&reason, &mut queue);
                break;
            }
        }
        if let Err(e) = self.head.sync() {
            warn!(error = %e, "the head file could not be synced");
        }
    }

    fn commit(&mut self, appends: Vec<Append>) -> Result<(), String> {
        let now = Instant::now();
        self.window.forget(now);
        self.time_ms = self.time_ms.max(wall_clock_ms());
        let full = self.disk.full(now);
        let mut batch = Batch { after: self.last, values: Vec::with_capacity(appends.len()) };
        let mut write = self.store.db.batch().durability(Some(PersistMode::SyncData));
        let mut decided: Vec<Decided> = Vec::with_capacity(appends.len());
        for append in appends {
            let answer = match &full {
                Some(reason) => Err(AppendError::Full(reason.clone())),
                None => self.decide(&append.record, &mut batch, &mut write, now),
            };
            decided.push((append, answer));
        }
        if !batch.values.is_empty() {
            crash_point("log.decided");
            let committed = self.watchdog.during(|| {
                slow_sync();
                write.commit()
            });
            if let Err(e) = committed {
                let reason = format!("writing failed: {e}");
                answer_all(decided, |_| Err(AppendError::Unknown(reason.clone())));
                return Err(reason);
            }
            crash_point("log.synced");
            let head = self.head.write(self.last);
            crash_point("log.head_written");
            self.shared.ring.push(batch.values.into_iter());
            self.shared.last.send_replace(self.last);
            match &self.runtime {
                Some(runtime) if decided.len() > INLINE_ANSWERS_MAX => {
                    runtime.spawn(async move { answer_all(decided, |answer| answer) });
                }
                Some(_) | None => answer_all(decided, |answer| answer),
            }
            return head.map_err(|e| format!("writing the head file failed: {e}"));
        }
        answer_all(decided, |answer| answer);
        Ok(())
    }

    /// Decides one append and adds it to the batch if it is to be stored.
    fn decide(
        &mut self,
        new: &NewRecord,
        batch: &mut Batch,
        write: &mut fjall::OwnedWriteBatch,
        now: Instant,
    ) -> Result<Appended, AppendError> {
        // Not stored, and a retry may find the disk readable: unknown is the safe answer.
        let failed = |e: ReadError| AppendError::Unknown(e.to_string());
        if let Some(expected) = new.expected_last {
            let last = self.last_of(&new.subject).map_err(failed)?;
            if last != expected {
                return match self.earlier_try(new, expected, batch).map_err(failed)? {
                    Some(first) => Ok(Appended::Stored(first)),
                    None => Err(AppendError::WrongLastSequence { subject: new.subject.clone() }),
                };
            }
        }
        if let Some(first) = new.message_id.and_then(|id| self.window.get(id)) {
            return Ok(Appended::Duplicate(first));
        }
        if self.window.is_full() && new.message_id.is_some() {
            return Err(AppendError::Full("too many message ids in 120 s".to_owned()));
        }
        self.last.0 += 1;
        let sequence = self.last;
        let value = record::encode(new, sequence, self.time_ms, &mut self.scratch);
        // The record before its index: a look-up between the two must not find a hole.
        write.insert(&self.store.records, sequence.0.to_be_bytes(), value.clone());
        write.insert(&self.store.subjects, subject_key(&new.subject, sequence), UserValue::empty());
        batch.values.push(value);
        if let Some(id) = new.message_id {
            self.window.insert(id, sequence, Duration::ZERO, now);
        }
        self.remember(&new.subject, sequence);
        Ok(Appended::Stored(sequence))
    }

    fn last_of(&mut self, subject: &Subject) -> Result<Sequence, ReadError> {
        if let Some(last) = self.last_of.get(subject) {
            return Ok(*last);
        }
        let last = self.store.last_of(subject)?;
        self.remember(subject, last);
        Ok(last)
    }

    fn remember(&mut self, subject: &Subject, last: Sequence) {
        if let Some(known) = self.last_of.get_mut(subject) {
            *known = last;
            return;
        }
        if self.last_of.len() >= LAST_CACHE_SUBJECTS_MAX {
            // What is in the batch being built is not in the index yet, so it must stay.
            let stored = *self.shared.last.borrow();
            self.last_of.retain(|_, last| *last > stored);
        }
        self.last_of.insert(subject.clone(), last);
    }

    /// Where an earlier try of this very append was stored: right behind the expected record.
    fn earlier_try(
        &self,
        new: &NewRecord,
        expected: Sequence,
        batch: &Batch,
    ) -> Result<Option<Sequence>, ReadError> {
        let stored = match self.store.next_of(&new.subject, expected)? {
            Some(next) => self.store.get(next)?,
            None => batch.first_of(&new.subject)?,
        };
        Ok(stored.filter(|stored| stored.is_from(new)).map(|stored| stored.record.sequence))
    }

    fn trim(&mut self, subject: &Subject, below: Sequence) -> Result<(), Trim> {
        let end = self.last_of(subject).map_err(Trim::Read)?.min(below);
        let range = subject_key(subject, Sequence(0))..subject_key(subject, end);
        loop {
            let mut write = self.store.db.batch().durability(None);
            let (mut trimmed, mut per_block) = (Vec::new(), HashMap::<u64, u64>::new());
            for guard in self.store.subjects.range(range.clone()).take(TRIM_BATCH) {
                let key = guard.key().map_err(|e| Trim::Read(unreadable(subject, &e)))?;
                let (_, sequence) = split_subject_key(&key).map_err(Trim::Read)?;
                write.remove(&self.store.records, sequence.0.to_be_bytes());
                write.remove(&self.store.subjects, key);
                *per_block.entry(block_of(sequence)).or_default() += 1;
                trimmed.push(sequence);
            }
            if trimmed.is_empty() {
                return Ok(());
            }
            for (block, count) in per_block {
                let before = self.store.trimmed_in(block).map_err(Trim::Read)?;
                let count = before + count;
                write.insert(&self.store.meta, trimmed_key(block), count.to_le_bytes());
            }
            // Not synced: a trim that a power cut undoes is done again by the next one.
            let written = self.watchdog.during(|| write.commit());
            written.map_err(|e| Trim::Fatal(format!("trimming failed: {e}")))?;
            self.shared.ring.trim(&trimmed);
        }
    }

    /// After a failed write nothing is known about the disk: nothing is written any more.
    fn stop(&self, reason: &str, queue: &mut mpsc::Receiver<Command>) {
        self.shared.stop(reason);
        queue.close();
        while let Some(command) = queue.blocking_recv() {
            match command {
                Command::Append(append) => {
                    let unknown = AppendError::Unknown(reason.to_owned());
                    let _gone = append.answer.send(Err(unknown));
                }
                Command::Trim { answer, .. } => {
                    let _gone = answer.send(Err(ReadError::Unavailable(reason.to_owned())));
                }
                Command::Close => {}
            }
        }
    }
}

/// Why a trim failed.
#[derive(Debug, thiserror::Error)]
enum Trim {
    #[error(transparent)]
    Read(ReadError),
    #[error("{0}")]
    Fatal(String),
}

impl Trim {
    fn into_read_error(self) -> ReadError {
        match self {
            Self::Read(error) => error,
            Self::Fatal(reason) => ReadError::Unavailable(reason),
        }
    }
}

/// The values of the batch being built.
struct Batch {
    after: Sequence,
    values: Vec<UserValue>,
}

impl Batch {
    fn first_of(&self, subject: &Subject) -> Result<Option<Stored>, ReadError> {
        for (value, sequence) in self.values.iter().zip(self.after.0 + 1..) {
            let stored = record::decode(Sequence(sequence), value)?;
            if stored.record.subject == *subject {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }
}

impl Disk {
    /// Why the log is full, if it is.
    fn full(&mut self, now: Instant) -> Option<String> {
        if let Some((at, full)) = &self.seen
            && now.duration_since(*at) < FREE_SPACE_EVERY
        {
            return full.clone();
        }
        let full = match fs4::available_space(&self.dir) {
            Ok(free) if free < self.free_bytes_min => Some(format!(
                "{free} bytes are free on the disk of {}, at least {} must stay free",
                self.dir.display(),
                self.free_bytes_min
            )),
            Ok(_) => None,
            Err(e) => {
                warn!(error = %e, "the free space of the disk is not known");
                None
            }
        };
        self.seen = Some((now, full.clone()));
        full
    }
}

/// Every append that waits behind the first, up to the bounds of a batch. Another command ends
/// the batch and comes next, because appends before it must be stored before it.
fn collect(
    first: Append,
    queue: &mut mpsc::Receiver<Command>,
    next: &mut Option<Command>,
) -> Vec<Append> {
    let mut bytes = first.record.payload.len();
    let mut appends = vec![first];
    while appends.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
        match queue.try_recv() {
            Ok(Command::Append(append)) => {
                bytes += append.record.payload.len();
                appends.push(append);
            }
            Ok(other) => {
                *next = Some(other);
                break;
            }
            Err(_) => break,
        }
    }
    appends
}

fn answer_all(
    decided: Vec<Decided>,
    answer: impl Fn(Result<Appended, AppendError>) -> Result<Appended, AppendError>,
) {
    for (append, outcome) in decided {
        drop(append.room);
        // Nobody waits for it when the caller went away.
        let _gone = append.answer.send(answer(outcome));
    }
}
