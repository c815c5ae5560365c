//! The log on one machine, over fjall: group commit, synced before the answer.
//!
//! - `store`: the tables; `record`: the stored form; `writer`: the one thread that writes;
//!   `reader` and `ring`: reading; `recovery`, `journal` and `head`: opening and checking.
//! - Folder: `LOCK` (locked while open), `head` (how far the log went), `store/` (fjall's).
//!
//! What a broken disk does: a record that is not as it was written is an error when it is read,
//! by our checksum or by fjall's. A journal that is broken before its acknowledged end is
//! refused at open, unchanged; an unfinished end is cut. Missing records among those that were
//! in a journal are found at open, all others by [`EmbeddedLog::verify`]. Not found: the loss
//! of the last seconds when a power cut and a broken journal come together, since the head
//! file is not synced.

mod head;
mod journal;
mod reader;
pub(crate) mod record;
mod recovery;
mod restore;
mod ring;
mod settings;
mod store;
mod watchdog;
mod window;
mod writer;

use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::reader::{Shared, closed};
pub use self::recovery::{OpenError, Verified};
use self::ring::Ring;
pub use self::settings::Settings;
use self::settings::{COMMIT_MAX, QUEUE_APPENDS_MAX, QUEUE_KIB_MAX};
use self::store::Walked;
use self::watchdog::Watchdog;
use self::writer::{Append, Command, Disk, Writer};
use crate::archive::{ArchiveError, Archived};
use crate::{
    AppendError, Appended, Durability, EventLog, Filter, LogId, NewRecord, ReadError, Record,
    Sequence, Subject, bounds,
};

/// The log in one folder. Dropping it without [`EventLog::close`] blocks for the last commit.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    writer: Mutex<Option<(JoinHandle<()>, File)>>,
}

impl EmbeddedLog {
    /// Opens the log in a folder, or creates it. Blocks: seconds after a crash under load.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another process has it; [`OpenError::Read`] when what is
    /// stored is not what was acknowledged.
    pub fn open(dir: &Path, settings: Settings) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { folder: dir.display().to_string(), source };
        let opened = recovery::open(dir, settings)?;
        let ring = Ring::new(opened.last, settings.ring_bytes_max);
        let shared = Shared::new(opened.id, opened.store.clone(), ring, opened.last);
        let (queue, commands) = mpsc::channel(QUEUE_APPENDS_MAX);
        let disk =
            Disk { dir: dir.to_owned(), free_bytes_min: settings.free_bytes_min, seen: None };
        let writer = Writer {
            store: opened.store,
            shared: Arc::clone(&shared),
            head: opened.head,
            window: opened.window,
            last: opened.last,
            time_ms: opened.time_ms,
            last_of: std::collections::HashMap::new(),
            disk,
            runtime: Handle::try_current().ok(),
            scratch: Vec::new(),
            watchdog: Watchdog::start(Arc::clone(&shared), COMMIT_MAX).map_err(failed)?,
        };
        let thread = std::thread::Builder::new().name("eventlog".to_owned());
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || {
                if catch_unwind(AssertUnwindSafe(|| writer.run(commands))).is_err() {
                    shared.stop("the writer panicked");
                }
            }
        });
        let thread = thread.map_err(failed)?;
        let room = Arc::new(Semaphore::new(QUEUE_KIB_MAX));
        Ok(Self { shared, queue, room, writer: Mutex::new(Some((thread, opened.lock))) })
    }

    /// Makes the log in `dir`, which must not be there yet, out of an archive: the same records
    /// under the same sequences, under a new and greater log id. Blocks.
    ///
    /// # Errors
    /// [`ArchiveError`]; nothing is then in `dir`.
    pub fn restore(
        dir: &Path,
        archive: &Path,
        settings: Settings,
        progress: impl FnMut(Sequence),
    ) -> Result<Archived, ArchiveError> {
        restore::restore(dir, archive, settings, progress)
    }

    /// Resolves with the reason when a write failed and the log has stopped for good. The
    /// process should end (exit code 74) and start again: only a fresh open finds out what is
    /// on the disk.
    pub fn fatal(&self) -> impl Future<Output = String> + Send + 'static {
        let mut fatal = self.shared.fatal.subscribe();
        async move {
            let reason = match fatal.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone(),
                Err(_) => None,
            };
            match reason {
                Some(reason) => reason,
                // The log is gone, so nothing can fail any more.
                None => std::future::pending().await,
            }
        }
    }

    /// Reads the whole log: no hole that is not a trim, every checksum, the index. `progress`
    /// is told the sequence now and then. Appends go on meanwhile.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] with the first thing found.
    pub async fn verify(
        &self,
        mut progress: impl FnMut(Sequence) + Send + 'static,
    ) -> Result<Verified, ReadError> {
        let (last, shared) = (*self.shared.last.borrow(), Arc::clone(&self.shared));
        let step = move |sequence| {
            progress(sequence);
            if shared.is_closed() { Err(closed()) } else { Ok(()) }
        };
        self.shared.blocking(move |store| recovery::verify(store, last, step)).await
    }

    async fn send(&self, record: NewRecord) -> Result<Appended, AppendError> {
        bounds::check(&record)?;
        let stopped = || AppendError::Unknown("the log has stopped".to_owned());
        let kib = u32::try_from(record.payload.len() / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| stopped())?;
        let (answer, answered) = oneshot::channel();
        let append = Command::Append(Append { record, answer, room });
        self.queue.send(append).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    async fn send_trim(&self, subject: Subject, below: Sequence) -> Result<(), ReadError> {
        let (answer, answered) = oneshot::channel();
        let trim = Command::Trim { subject, below, answer };
        self.queue.send(trim).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Waits for the writer and lets go of the files. Blocks.
    fn release(shared: &Shared, writer: Option<(JoinHandle<()>, File)>) {
        let Some((thread, lock)) = writer else { return };
        if shared.fatal.borrow().is_some() && !thread.is_finished() {
            // It will never come back, and it holds the files: only the process's end frees them.
            return;
        }
        // A panic inside was caught and told to `fatal`.
        let _caught = thread.join();
        shared.release();
        drop(lock);
    }

    /// Walks through the subjects a page at a time, each from where the one before ended.
    fn walk<T, F>(
        &self,
        page: impl Fn(Arc<Shared>, Vec<u8>) -> F + Send + 'static,
    ) -> BoxStream<'static, Result<T, ReadError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<Walked<T>, ReadError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let pages = stream::try_unfold(Some(Vec::new()), move |from| {
            let page = from.map(|from| page(Arc::clone(&shared), from));
            async move {
                let Some(page) = page else { return Ok(None) };
                let (found, next) = page.await?;
                Ok(Some((stream::iter(found.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    fn take_writer(&self) -> Option<(JoinHandle<()>, File)> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        let writer = self.take_writer();
        // Closes the queue, which ends the writer.
        self.queue = mpsc::channel(1).0;
        Self::release(&self.shared, writer);
    }
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog").field("id", &self.shared.id).finish_non_exhaustive()
    }
}

impl EventLog for EmbeddedLog {
    fn id(&self) -> LogId {
        self.shared.id
    }

    fn durability(&self) -> Durability {
        Durability {
            profile: "embedded",
            sentence: "an acknowledged record is synced to this machine's disk: it survives a \
                       crash and a power cut, not the loss of the disk"
                .to_owned(),
            warn: false,
        }
    }

    fn append(&self, record: NewRecord) -> BoxFuture<'_, Result<Appended, AppendError>> {
        self.send(record).boxed()
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<Sequence, ReadError>> {
        let last =
            if self.shared.is_closed() { Err(closed()) } else { Ok(*self.shared.last.borrow()) };
        futures::future::ready(last).boxed()
    }

    fn last(&self, subject: &Subject) -> BoxFuture<'_, Result<Option<Record>, ReadError>> {
        let subject = subject.clone();
        async move { self.shared.blocking(move |store| store.last(&subject)).await }.boxed()
    }

    fn history(
        &self,
        subject: &Subject,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        let subject = subject.clone();
        let read = self.shared.blocking(move |store| store.history(&subject, after, limit));
        read.boxed()
    }

    fn read(
        &self,
        after: Sequence,
        filter: Filter,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        async move {
            let mut at = after;
            loop {
                let page = self.shared.page(at, filter, limit).await?;
                if !page.records.is_empty() || !page.more || limit == 0 {
                    return Ok(page.records);
                }
                at = page.end;
            }
        }
        .boxed()
    }

    fn tail(
        &self,
        after: Sequence,
        filter: Filter,
    ) -> BoxStream<'static, Result<Record, ReadError>> {
        let (shared, last) = (Arc::clone(&self.shared), self.shared.last.subscribe());
        let pages = stream::try_unfold((after, last), move |(at, last)| {
            let shared = Arc::clone(&shared);
            async move {
                let (records, at, last) = shared.next(at, filter, last).await?;
                Ok(Some((stream::iter(records.into_iter().map(Ok)), (at, last))))
            }
        });
        pages.try_flatten().boxed()
    }

    fn last_per_subject(&self, filter: Filter) -> BoxStream<'static, Result<Record, ReadError>> {
        self.walk(move |shared, from| async move { shared.last_page(from, filter).await })
    }

    fn last_sequences(
        &self,
        filter: Filter,
    ) -> BoxStream<'static, Result<(Subject, Sequence), ReadError>> {
        self.walk(move |shared, from| async move { shared.sequences_page(from, filter).await })
    }

    fn trim(&self, subject: &Subject, below: Sequence) -> BoxFuture<'_, Result<(), ReadError>> {
        self.send_trim(subject.clone(), below).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            // An error means that the writer has ended already.
            let _ended = self.queue.send(Command::Close).await;
            let (shared, writer) = (Arc::clone(&self.shared), self.take_writer());
            let released = tokio::task::spawn_blocking(move || Self::release(&shared, writer));
            if released.await.is_err() {
                tracing::error!("closing the event log ended early");
            }
        }
        .boxed()
    }
}
