//! A log in memory that keeps every promise but durability, with faults on demand: for tests and
//! for the simulation. It ends with the process.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use crate::{
    AppendError, Appended, DUPLICATE_WINDOW, Durability, EventLog, Filter, LogId, MessageId,
    NewRecord, ReadError, Record, Sequence, Subject, bounds,
};

/// Milliseconds since 1970; a simulation passes its own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Records a tail takes under one lock.
const TAIL_PAGE: usize = 256;

/// The log. Clones are the same log.
#[derive(Clone)]
pub struct MemoryLog {
    id: LogId,
    clock: Clock,
    state: Arc<Mutex<State>>,
    last: Arc<watch::Sender<Sequence>>,
}

/// What goes wrong with an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFault {
    /// The record is stored, the answer is [`AppendError::Unknown`].
    UnknownStored,
    /// The record is not stored, the answer is [`AppendError::Unknown`].
    UnknownNotStored,
    /// [`AppendError::Full`].
    Full,
}

/// Makes a [`MemoryLog`] fail, once per fault given.
#[derive(Debug, Clone)]
pub struct Faults(MemoryLog);

#[derive(Default)]
struct State {
    records: BTreeMap<Sequence, Stored>,
    subjects: HashMap<Subject, BTreeSet<Sequence>>,
    ids: HashMap<MessageId, Sequence>,
    ids_by_age: VecDeque<(i64, MessageId)>,
    last: Sequence,
    append_faults: VecDeque<AppendFault>,
    read_faults: VecDeque<ReadError>,
    closed: bool,
}

struct Stored {
    record: Record,
    message_id: Option<MessageId>,
    expected_last: Option<Sequence>,
}

impl MemoryLog {
    /// An empty log on the wall clock.
    #[must_use]
    pub fn new() -> Self {
        let clock: Clock = Arc::new(wall_clock_ms);
        Self::with_clock(LogId(clock().unsigned_abs()), clock)
    }

    /// An empty log with a given identity and clock. The clock must not go backwards.
    #[must_use]
    pub fn with_clock(id: LogId, clock: Clock) -> Self {
        Self { id, clock, state: Arc::default(), last: Arc::new(watch::Sender::default()) }
    }

    /// The same records after [`close`](crate::EventLog::close), as the next process finds them.
    #[must_use]
    pub fn reopened(&self) -> Self {
        self.lock().closed = false;
        self.clone()
    }

    /// The handle that makes this log fail.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append_now(&self, new: NewRecord) -> Result<Appended, AppendError> {
        bounds::check(&new)?;
        let now_ms = (self.clock)();
        let mut state = self.lock();
        if state.closed {
            return Err(AppendError::Unknown("the log is closed".to_owned()));
        }
        let fault = state.append_faults.pop_front();
        match fault {
            Some(AppendFault::Full) => return Err(AppendError::Full("a fault".to_owned())),
            Some(AppendFault::UnknownNotStored) => {
                return Err(AppendError::Unknown("a fault; not stored".to_owned()));
            }
            Some(AppendFault::UnknownStored) | None => {}
        }
        let appended = state.store(new, now_ms)?;
        self.last.send_replace(state.last);
        match fault {
            Some(_) => Err(AppendError::Unknown("a fault; stored".to_owned())),
            None => Ok(appended),
        }
    }

    fn reading(&self) -> Result<MutexGuard<'_, State>, ReadError> {
        let mut state = self.lock();
        match state.read_faults.pop_front() {
            Some(fault) => Err(fault),
            None if state.closed => Err(ReadError::Unavailable("the log is closed".to_owned())),
            None => Ok(state),
        }
    }

    /// Up to `limit` records after `after`, and how far that has looked.
    fn page(
        &self,
        after: Sequence,
        filter: Filter,
        limit: usize,
    ) -> Result<(Vec<Record>, Sequence), ReadError> {
        let state = self.reading()?;
        let later = state.records.range((Bound::Excluded(after), Bound::Unbounded));
        let matching = later.filter(|(_, stored)| filter.matches(&stored.record.subject));
        let page: Vec<_> = matching.take(limit).map(|(_, stored)| stored.record.clone()).collect();
        let end = page.last().filter(|_| page.len() == limit).map(|newest| newest.sequence);
        Ok((page, end.unwrap_or_else(|| state.last.max(after))))
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Faults {
    /// The next append, after those already given, fails so.
    pub fn next_append(&self, fault: AppendFault) {
        self.0.lock().append_faults.push_back(fault);
    }

    /// The next read, after those already given, fails so. A tail reads when it is polled and
    /// when something was appended.
    pub fn next_read(&self, fault: ReadError) {
        self.0.lock().read_faults.push_back(fault);
    }

    /// Takes back what has not happened yet.
    pub fn clear(&self) {
        let mut state = self.0.lock();
        state.append_faults.clear();
        state.read_faults.clear();
    }
}

impl State {
    fn store(&mut self, new: NewRecord, now_ms: i64) -> Result<Appended, AppendError> {
        if let Some(expected) = new.expected_last {
            let all = self.subjects.get(&new.subject);
            let last = all.and_then(|all| all.last()).copied();
            if last.unwrap_or_default() != expected {
                // What an earlier try of this append stored stands right behind the expected one.
                let later = (Bound::Excluded(expected), Bound::Unbounded);
                let next = all.and_then(|all| all.range(later).next());
                return match next.and_then(|next| self.records.get(next)) {
                    Some(stored) if stored.is_from(&new) => {
                        Ok(Appended::Stored(stored.record.sequence))
                    }
                    Some(_) | None => Err(AppendError::WrongLastSequence { subject: new.subject }),
                };
            }
        }
        self.forget_ids(now_ms);
        if let Some(first) = new.message_id.and_then(|id| self.ids.get(&id)) {
            return Ok(Appended::Duplicate(*first));
        }
        Ok(Appended::Stored(self.insert(new, now_ms)))
    }

    fn insert(&mut self, new: NewRecord, now_ms: i64) -> Sequence {
        let sequence = Sequence(self.last.0 + 1);
        self.last = sequence;
        self.subjects.entry(new.subject.clone()).or_default().insert(sequence);
        if let Some(id) = new.message_id {
            self.ids.insert(id, sequence);
            self.ids_by_age.push_back((now_ms, id));
        }
        let headers = new.headers.into_iter().map(|(name, value)| (name.to_owned(), value));
        let record = Record {
            sequence,
            time_ms: now_ms,
            subject: new.subject,
            headers: headers.collect(),
            payload: new.payload,
        };
        let (message_id, expected_last) = (new.message_id, new.expected_last);
        self.records.insert(sequence, Stored { record, message_id, expected_last });
        sequence
    }

    fn forget_ids(&mut self, now_ms: i64) {
        while let Some((stored_ms, id)) = self.ids_by_age.front().copied() {
            if u128::from(now_ms.abs_diff(stored_ms)) <= DUPLICATE_WINDOW.as_millis() {
                break;
            }
            self.ids.remove(&id);
            self.ids_by_age.pop_front();
        }
    }

    fn last_of(&self, sequences: &BTreeSet<Sequence>) -> Option<Record> {
        let stored = sequences.last().and_then(|last| self.records.get(last));
        stored.map(|stored| stored.record.clone())
    }
}

impl Stored {
    /// Whether an earlier try of this very append stored this record.
    fn is_from(&self, new: &NewRecord) -> bool {
        self.expected_last == new.expected_last
            && self.message_id == new.message_id
            && self.record.payload == new.payload
    }
}

impl EventLog for MemoryLog {
    fn id(&self) -> LogId {
        self.id
    }

    fn durability(&self) -> Durability {
        Durability {
            profile: "memory",
            sentence: "an acknowledged record is lost when the process ends".to_owned(),
            warn: true,
        }
    }

    fn append(&self, record: NewRecord) -> BoxFuture<'_, Result<Appended, AppendError>> {
        async move { self.append_now(record) }.boxed()
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<Sequence, ReadError>> {
        async move { Ok(self.reading()?.last) }.boxed()
    }

    fn last(&self, subject: &Subject) -> BoxFuture<'_, Result<Option<Record>, ReadError>> {
        let subject = subject.clone();
        async move {
            let state = self.reading()?;
            Ok(state.subjects.get(&subject).and_then(|all| state.last_of(all)))
        }
        .boxed()
    }

    fn history(
        &self,
        subject: &Subject,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        let subject = subject.clone();
        async move {
            let state = self.reading()?;
            let Some(all) = state.subjects.get(&subject) else { return Ok(Vec::new()) };
            let later = all.range((Bound::Excluded(after), Bound::Unbounded)).take(limit);
            Ok(later.filter_map(|s| state.records.get(s)).map(|s| s.record.clone()).collect())
        }
        .boxed()
    }

    fn read(
        &self,
        after: Sequence,
        filter: Filter,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        async move { Ok(self.page(after, filter, limit)?.0) }.boxed()
    }

    fn tail(
        &self,
        after: Sequence,
        filter: Filter,
    ) -> BoxStream<'static, Result<Record, ReadError>> {
        let log = self.clone();
        let changed = self.last.subscribe();
        let pages = futures::stream::try_unfold((after, changed), move |(mut at, mut changed)| {
            let log = log.clone();
            async move {
                loop {
                    // Marked before reading, so that an append in between wakes the wait below.
                    changed.mark_unchanged();
                    let (page, end) = log.page(at, filter, TAIL_PAGE)?;
                    at = end;
                    if !page.is_empty() {
                        let items = futures::stream::iter(page.into_iter().map(Ok));
                        return Ok(Some((items, (at, changed))));
                    }
                    // The log holds the sender, and the stream holds the log.
                    let _open = changed.changed().await;
                }
            }
        });
        futures::TryStreamExt::try_flatten(pages).boxed()
    }

    fn last_per_subject(&self, filter: Filter) -> BoxStream<'static, Result<Record, ReadError>> {
        let found = self.reading().map(|state| {
            let wanted = state.subjects.iter().filter(|(subject, _)| filter.matches(subject));
            wanted.filter_map(|(_, all)| state.last_of(all)).map(Ok).collect::<Vec<_>>()
        });
        futures::stream::iter(found.unwrap_or_else(|error| vec![Err(error)])).boxed()
    }

    fn trim(&self, subject: &Subject, below: Sequence) -> BoxFuture<'_, Result<(), ReadError>> {
        let subject = subject.clone();
        async move {
            let mut state = self.reading()?;
            let Some(all) = state.subjects.get_mut(&subject) else { return Ok(()) };
            let Some(last) = all.last().copied() else { return Ok(()) };
            let kept = all.split_off(&below.min(last));
            let removed = std::mem::replace(all, kept);
            for sequence in removed {
                state.records.remove(&sequence);
            }
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.lock().closed = true;
            // Wakes the tails, which then see that the log is closed.
            self.last.send_modify(|_| {});
        }
        .boxed()
    }
}

/// Milliseconds since 1970 by the system's clock.
pub(crate) fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
