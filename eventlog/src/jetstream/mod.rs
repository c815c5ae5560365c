//! The log on NATS JetStream: one stream, on one server or a cluster of them.
//!
//! - `connect`: server, stream and what is refused; `append`: the protocol of an append;
//!   `read` and `pull`: reads that end; `tail`: the one that does not; `convert`: messages.
//! - `publisher`: messages to streams of others, which are no part of the log.
//! - Reads never use a direct get, which a follower that lags may answer.
//! - The headers of a record come back sorted by name, because the client keeps no order.

mod append;
mod connect;
mod convert;
mod publisher;
mod pull;
mod read;
mod register;
mod settings;
mod tail;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use self::connect::ConnectError;
pub use self::publisher::{
    BadOutgoingSubject, Destination, OutgoingSubject, PublishError, Publisher,
};
use self::read::{Lasts, Reader, Scope};
pub use self::register::JetStreamRegister;
pub use self::settings::Settings;
use self::settings::{IN_FLIGHT_KIB_MAX, TRY_MAX};
use self::tail::Tail;
use crate::{
    AppendError, Appended, Durability, EventLog, Filter, LogId, NewRecord, ReadError, Record,
    Sequence, Subject,
};

/// The log in one stream.
pub struct JetStreamLog {
    reader: Reader,
    settings: Settings,
    durability: Durability,
    room: Arc<Semaphore>,
}

impl JetStreamLog {
    /// Connects, and creates the stream if it is missing.
    ///
    /// # Errors
    /// [`ConnectError`], by what the operator must do.
    pub async fn connect(settings: Settings) -> Result<Self, ConnectError> {
        let client = connect::client(&settings).await?;
        let context = connect::context(client);
        let stream = connect::stream(&context, &settings).await?;
        let info = stream.cached_info();
        let id = read::log_id(info.created.unix_timestamp_nanos());
        let durability = durability(info.config.num_replicas, settings.sync_always);
        if durability.warn {
            warn!(profile = durability.profile, "{}", durability.sentence);
        }
        let (read_max, closed) = (settings.read_max, CancellationToken::new());
        let reader = Reader { context, stream, id, read_max, closed };
        let room = Arc::new(Semaphore::new(IN_FLIGHT_KIB_MAX as usize));
        Ok(Self { reader, settings, durability, room })
    }

    /// The stream's settings on the server, for people.
    #[must_use]
    pub fn stream_config(&self) -> &stream::Config {
        &self.reader.stream.cached_info().config
    }

    async fn send(&self, record: NewRecord) -> Result<Appended, AppendError> {
        append::check(&record)?;
        let kib = u32::try_from(record.payload.len() / 1024 + 1).unwrap_or(u32::MAX);
        let room = tokio::time::timeout(self.settings.append_max, self.room.acquire_many(kib));
        let _room = match room.await {
            Ok(Ok(room)) => room,
            // The semaphore is closed with the log.
            Ok(Err(_)) => return Err(AppendError::Unknown("the log is closed".to_owned())),
            Err(_) => return Err(AppendError::Full("too many appends are under way".to_owned())),
        };
        append::append(&self.reader, &self.settings, &record).await
    }

    async fn purge(&self, subject: &Subject, below: Sequence) -> Result<(), ReadError> {
        // Its last record can only move up meanwhile.
        let Some(last) = self.reader.last_of(subject).await? else { return Ok(()) };
        let below = below.min(last.sequence);
        if below <= Sequence(1) {
            // There is nothing; and to the server, 0 means the whole subject.
            return Ok(());
        }
        let purge = self.reader.stream.purge().sequence(below.0).filter(subject.as_str());
        let purged = purge.await.map_err(|e| ReadError::Unavailable(e.to_string()))?;
        if purged.success {
            return Ok(());
        }
        Err(ReadError::Unavailable("the purge was refused".to_owned()))
    }

    fn lasts(&self, scope: Scope) -> BoxStream<'static, Result<Record, ReadError>> {
        let reader = self.reader.clone();
        let pages = futures::stream::try_unfold(None, move |lasts: Option<Lasts>| {
            let (reader, scope) = (reader.clone(), scope.clone());
            async move {
                let lasts = match lasts {
                    Some(lasts) => Some(lasts),
                    None => reader.open_lasts(scope).await?,
                };
                let Some(mut lasts) = lasts else { return Ok(None) };
                let page = lasts.next().await?;
                let more = !page.is_empty();
                Ok(more.then(|| (futures::stream::iter(page.into_iter().map(Ok)), Some(lasts))))
            }
        });
        pages.try_flatten().boxed()
    }

    async fn shut(&self) {
        let all = self.room.acquire_many(IN_FLIGHT_KIB_MAX);
        // What is under way ends by its own deadline; no use to wait longer than for one try.
        let _idle = tokio::time::timeout(2 * TRY_MAX, all).await;
        self.room.close();
        self.reader.closed.cancel();
        let client = self.reader.context.client();
        let flushed = tokio::time::timeout(Duration::from_secs(1), client.drain()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            warn!("the connection to NATS was not closed in order");
        }
    }
}

fn durability(replicas: usize, sync_always: bool) -> Durability {
    let (profile, sentence, warn) = match (replicas > 1, sync_always) {
        (false, false) => (
            "nats-r1-default",
            "an acknowledged record survives a crash of the server, but up to two minutes of \
             them are lost when its machine loses power; set sync_interval: always",
            true,
        ),
        (false, true) => (
            "nats-r1-always",
            "an acknowledged record is synced to one server's disk: it survives a crash and a \
             power cut, not the loss of the disk",
            false,
        ),
        (true, false) => (
            "nats-r3-default",
            "an acknowledged record is held by most servers of the cluster: it survives the \
             loss of one, but not a power cut that takes most of them at once",
            false,
        ),
        (true, true) => (
            "nats-r3-always",
            "an acknowledged record is synced to the disks of most servers of the cluster: it \
             survives a power cut and the loss of one of them",
            false,
        ),
    };
    Durability { profile, sentence: sentence.to_owned(), warn }
}

impl Drop for JetStreamLog {
    fn drop(&mut self) {
        // Ends the tails, which hold the connection.
        self.reader.closed.cancel();
    }
}

impl fmt::Debug for JetStreamLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the settings: the url may hold a password.
        f.debug_struct("JetStreamLog").field("id", &self.reader.id).finish_non_exhaustive()
    }
}

impl EventLog for JetStreamLog {
    fn id(&self) -> LogId {
        self.reader.id
    }

    fn durability(&self) -> Durability {
        self.durability.clone()
    }

    fn append(&self, record: NewRecord) -> BoxFuture<'_, Result<Appended, AppendError>> {
        self.send(record).boxed()
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<Sequence, ReadError>> {
        self.reader.last_sequence().boxed()
    }

    fn last(&self, subject: &Subject) -> BoxFuture<'_, Result<Option<Record>, ReadError>> {
        let subject = subject.clone();
        async move { self.reader.last_of(&subject).await }.boxed()
    }

    fn history(
        &self,
        subject: &Subject,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        let subject = subject.clone();
        async move { self.reader.history(&subject, after, limit).await }.boxed()
    }

    fn read(
        &self,
        after: Sequence,
        filter: Filter,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.reader.read(after, filter, limit).boxed()
    }

    fn tail(
        &self,
        after: Sequence,
        filter: Filter,
    ) -> BoxStream<'static, Result<Record, ReadError>> {
        let tail = Tail::new(self.reader.clone(), after, filter);
        futures::stream::try_unfold(tail, |mut tail| async move {
            let record = tail.next().await?;
            Ok(Some((record, tail)))
        })
        .boxed()
    }

    fn last_per_subject(&self, filter: Filter) -> BoxStream<'static, Result<Record, ReadError>> {
        self.lasts(Scope { parents: None, filter })
    }

    fn last_below(
        &self,
        parents: Vec<Subject>,
        filter: Filter,
    ) -> BoxStream<'static, Result<Record, ReadError>> {
        self.lasts(Scope { parents: Some(parents), filter })
    }

    fn trim(&self, subject: &Subject, below: Sequence) -> BoxFuture<'_, Result<(), ReadError>> {
        let subject = subject.clone();
        async move { self.purge(&subject, below).await }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.shut().boxed()
    }
}
