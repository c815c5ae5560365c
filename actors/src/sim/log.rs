//! The memory log behind a network that loses and delays, and the snapshots beside it.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use copydesk_eventlog::{
    AppendError, Appended, Durability, EventLog, Filter, LogId, MemoryLog, MemorySnapshots,
    MessageId, NewRecord, ReadError, Record, Sequence, Snapshot, SnapshotStore, Subject,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::clock;
use super::lab::{Lab, lock};
use crate::mistakes::{Mistake, makes};
use crate::records::{Intake, Subjects};

/// The log as a node sees it.
#[derive(Debug, Clone)]
pub(super) struct Network {
    lab: Arc<Lab>,
    log: MemoryLog,
    /// Wakes tails in the order in which they wait. The memory log's own way wakes them in a
    /// random one, which no seed decides.
    appended: Arc<Notify>,
}

impl Network {
    pub(super) fn new(lab: Arc<Lab>) -> Self {
        let log = MemoryLog::with_clock(LogId(1), Arc::new(clock::virtual_ms));
        Self { lab, log, appended: Arc::default() }
    }

    /// The log itself, for the checker.
    pub(super) fn inner(&self) -> &MemoryLog {
        &self.log
    }

    /// As it should be done, unless a test wants it wrong.
    async fn append_with_mistakes(&self, mut record: NewRecord) -> Result<Appended, AppendError> {
        let decides = record.expected_last.is_some();
        if !decides && makes(Mistake::KeyWithoutSite) {
            let key = Intake::read(&stored(&record)).unwrap().idempotency_key;
            let digest = Sha256::digest(key.as_bytes());
            record.message_id = Some(MessageId(digest[..16].try_into().unwrap()));
        }
        if decides && makes(Mistake::NoCondition) {
            record.expected_last = None;
        }
        let appended = self.append_over(record.clone()).await;
        let again = match &appended {
            Err(AppendError::WrongLastSequence { .. }) if makes(Mistake::RefusedIsStored) => {
                return Ok(Appended::Stored(self.last_of(&record.subject).await));
            }
            Err(AppendError::WrongLastSequence { .. }) => makes(Mistake::AdoptNewerLast),
            Err(AppendError::Unknown(_)) if !decides && makes(Mistake::AcceptUnknown) => {
                return Ok(Appended::Stored(self.last_of(&record.subject).await));
            }
            Err(AppendError::Unknown(_)) => decides && makes(Mistake::UnknownIsNotStored),
            Ok(_) | Err(_) => false,
        };
        if !again {
            return appended;
        }
        record.expected_last = Some(self.last_of(&record.subject).await);
        self.append_over(record).await
    }

    async fn last_of(&self, subject: &Subject) -> Sequence {
        self.log.last(subject).await.unwrap().map_or(Sequence(0), |record| record.sequence)
    }

    async fn append_over(&self, record: NewRecord) -> Result<Appended, AppendError> {
        let lab = &self.lab;
        let subject = record.subject.clone();
        lab.step(format!("append {subject}")).await;
        lab.linger(3).await;
        let unknown = |what: &str| Err(AppendError::Unknown(what.to_owned()));
        if lab.chance(lab.plan.log_percent) {
            match lab.below(4) {
                0 => return unknown("not stored"),
                1 => return Err(AppendError::Full("for a moment".to_owned())),
                2 => {
                    // A time-out here, and the record arrives all the same, later.
                    let network = self.clone();
                    tokio::spawn(async move {
                        network.lab.linger(2_000).await;
                        let late = network.store(record).await;
                        network.lab.note(format_args!("late append {subject}: {}", outcome(&late)));
                    });
                    return unknown("stored later, perhaps");
                }
                _ => {
                    let stored = self.store(record).await;
                    lab.note(format_args!("lost ack {subject}: {}", outcome(&stored)));
                    return unknown("stored");
                }
            }
        }
        let stored = self.store(record).await;
        lab.step(format!("append {subject}: {}", outcome(&stored))).await;
        stored
    }

    async fn store(&self, record: NewRecord) -> Result<Appended, AppendError> {
        let stored = self.log.append(record).await;
        self.appended.notify_waiters();
        stored
    }

    /// Up to a page of records, once there are any.
    async fn next_page(&self, after: Sequence, filter: Filter) -> Result<Vec<Record>, ReadError> {
        loop {
            let mut appended = pin!(self.appended.notified());
            // Before reading, so that an append in between ends the wait.
            appended.as_mut().enable();
            let page = self.log.read(after, filter, 16).await?;
            if !page.is_empty() {
                self.readable()?;
                return Ok(page);
            }
            appended.await;
        }
    }

    fn readable(&self) -> Result<(), ReadError> {
        if self.lab.below(1_000) < self.lab.plan.read_permille {
            self.lab.note("a read fails");
            return Err(ReadError::Unavailable("for a moment".to_owned()));
        }
        Ok(())
    }
}

/// The record as it would stand in the log.
fn stored(record: &NewRecord) -> Record {
    Record {
        sequence: Sequence(0),
        time_ms: 0,
        subject: record.subject.clone(),
        headers: Vec::new(),
        payload: record.payload.clone(),
    }
}

fn outcome(appended: &Result<Appended, AppendError>) -> String {
    match appended {
        Ok(appended) => format!("{appended:?}"),
        Err(error) => error.to_string(),
    }
}

impl EventLog for Network {
    fn id(&self) -> LogId {
        self.log.id()
    }

    fn durability(&self) -> Durability {
        self.log.durability()
    }

    fn append(&self, record: NewRecord) -> BoxFuture<'_, Result<Appended, AppendError>> {
        self.append_with_mistakes(record).boxed()
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<Sequence, ReadError>> {
        self.log.last_sequence()
    }

    fn last(&self, subject: &Subject) -> BoxFuture<'_, Result<Option<Record>, ReadError>> {
        let subject = subject.clone();
        async move {
            self.readable()?;
            self.log.last(&subject).await
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
            self.readable()?;
            self.log.history(&subject, after, limit).await
        }
        .boxed()
    }

    fn read(
        &self,
        after: Sequence,
        filter: Filter,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        async move {
            self.readable()?;
            self.log.read(after, filter, limit).await
        }
        .boxed()
    }

    fn tail(
        &self,
        after: Sequence,
        filter: Filter,
    ) -> BoxStream<'static, Result<Record, ReadError>> {
        let network = self.clone();
        let pages =
            futures::stream::try_unfold((network, after), move |(network, after)| async move {
                let page = network.next_page(after, filter).await?;
                let after = page.last().map_or(after, |record| record.sequence);
                let records = futures::stream::iter(page.into_iter().map(Ok));
                Ok(Some((records, (network, after))))
            });
        futures::TryStreamExt::try_flatten(pages).boxed()
    }

    fn last_per_subject(&self, filter: Filter) -> BoxStream<'static, Result<Record, ReadError>> {
        self.log.last_per_subject(filter)
    }

    fn trim(&self, subject: &Subject, below: Sequence) -> BoxFuture<'_, Result<(), ReadError>> {
        self.log.trim(subject, below)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // The log outlives its nodes.
        async {}.boxed()
    }
}

/// Snapshots that are lost, or fall back to an older one, as a cache may.
#[derive(Debug)]
pub(super) struct Cache {
    lab: Arc<Lab>,
    log: MemoryLog,
    newest: MemorySnapshots,
    older: Mutex<Option<(Vec<u8>, Snapshot)>>,
}

impl Cache {
    pub(super) fn new(lab: Arc<Lab>, log: MemoryLog) -> Self {
        Self { lab, log, newest: MemorySnapshots::default(), older: Mutex::default() }
    }

    /// The snapshots as they are, for the checker.
    pub(super) fn inner(&self) -> &MemorySnapshots {
        &self.newest
    }
}

impl SnapshotStore for Cache {
    fn get(&self, key: &[u8]) -> Option<Snapshot> {
        if makes(Mistake::SnapshotIsTruth) {
            // It says of itself that it holds all there is.
            let snapshot = self.newest.get(key)?;
            let (_, post) = std::str::from_utf8(key).unwrap().split_once('/').unwrap();
            let decisions = Subjects::of(&post.parse().unwrap()).decisions;
            let last = self.log.last(&decisions).now_or_never().unwrap().unwrap()?;
            return Some(Snapshot { sequence: last.sequence, ..snapshot });
        }
        match self.lab.below(10) {
            0 => None,
            1 => {
                let older = lock(&self.older).clone();
                older.filter(|(other, _)| other == key).map(|(_, snapshot)| snapshot)
            }
            _ => self.newest.get(key),
        }
    }

    fn put(&self, key: &[u8], snapshot: &Snapshot) {
        if let Some(newest) = self.newest.get(key) {
            *lock(&self.older) = Some((key.to_vec(), newest));
        }
        self.newest.put(key, snapshot);
    }

    fn remove(&self, key: &[u8]) {
        self.newest.remove(key);
    }

    fn flush(&self) {}

    fn size_bytes(&self) -> u64 {
        self.newest.size_bytes()
    }
}
