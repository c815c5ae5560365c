//! What the log's handle, its tails and its writer share, and the reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use tracing::error;

use super::ring::Ring;
use super::settings::TAIL_PAGE;
use super::store::{Page, Store, Walked};
use crate::{Filter, LogId, ReadError, Record, Sequence, Subject};

/// Subjects whose last records are read in one go.
const LAST_PAGE: usize = 1024;

/// Subjects whose last sequences are read in one go: 100 bytes each.
const SEQUENCES_PAGE: usize = 8192;

pub(super) struct Shared {
    pub(super) id: LogId,
    /// Empty once the log is closed. Read under the lock, so that closing waits for reads.
    store: RwLock<Option<Store>>,
    closed: AtomicBool,
    pub(super) ring: Ring,
    pub(super) last: watch::Sender<Sequence>,
    pub(super) fatal: watch::Sender<Option<String>>,
}

impl Shared {
    pub(super) fn new(id: LogId, store: Store, ring: Ring, last: Sequence) -> Arc<Self> {
        Arc::new(Self {
            id,
            store: RwLock::new(Some(store)),
            closed: AtomicBool::new(false),
            ring,
            last: watch::Sender::new(last),
            fatal: watch::Sender::new(None),
        })
    }

    /// Reads on a thread that may block.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Store) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let store = shared.store.read().unwrap_or_else(PoisonError::into_inner);
            read(store.as_ref().ok_or_else(closed)?)
        });
        read.await.map_err(|e| ReadError::Unavailable(format!("a read ended early: {e}")))?
    }

    /// Says once, to whoever waits for it, that the log has stopped for good.
    pub(super) fn stop(&self, reason: &str) {
        self.fatal.send_if_modified(|fatal| {
            let first = fatal.is_none();
            if first {
                error!(reason, "the event log has stopped for good");
                *fatal = Some(reason.to_owned());
            }
            first
        });
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Lets go of the files, after the reads under way. Blocks.
    pub(super) fn release(&self) {
        self.closed.store(true, Ordering::Release);
        drop(self.store.write().unwrap_or_else(PoisonError::into_inner).take());
        // Wakes the tails, which then see that the log is closed.
        self.last.send_modify(|_| {});
    }

    /// The records after `after`, from memory if they are there.
    pub(super) async fn page(
        self: &Arc<Self>,
        after: Sequence,
        filter: Filter,
        limit: usize,
    ) -> Result<Page, ReadError> {
        if self.is_closed() {
            return Err(closed());
        }
        if let Some(page) = self.ring.page(after, filter, limit)? {
            return Ok(page);
        }
        self.blocking(move |store| store.page(after, filter, limit)).await
    }

    /// The next records for a tail: waits for them.
    pub(super) async fn next(
        self: Arc<Self>,
        mut at: Sequence,
        filter: Filter,
        mut last: watch::Receiver<Sequence>,
    ) -> Result<(Vec<Record>, Sequence, watch::Receiver<Sequence>), ReadError> {
        loop {
            // Marked before reading, so that an append in between wakes the wait below.
            last.mark_unchanged();
            let page = self.page(at, filter, TAIL_PAGE).await?;
            at = page.end;
            if !page.records.is_empty() {
                return Ok((page.records, at, last));
            }
            if !page.more {
                // The sender lives in `self`.
                let _open = last.changed().await;
            }
        }
    }

    /// The newest records of the next subjects, and the key to go on from.
    pub(super) async fn last_page(
        self: &Arc<Self>,
        from: Vec<u8>,
        filter: Filter,
    ) -> Result<Walked<Record>, ReadError> {
        self.blocking(move |store| store.last_page(&from, filter, LAST_PAGE)).await
    }

    /// The next subjects with their newest sequences, and the key to go on from.
    pub(super) async fn sequences_page(
        self: &Arc<Self>,
        from: Vec<u8>,
        filter: Filter,
    ) -> Result<Walked<(Subject, Sequence)>, ReadError> {
        self.blocking(move |store| store.last_sequences(&from, filter, SEQUENCES_PAGE)).await
    }
}

pub(super) fn closed() -> ReadError {
    ReadError::Unavailable("the log is closed".to_owned())
}
