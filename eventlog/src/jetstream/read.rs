//! Reads: single records from the stream's leader, more through a consumer that lives only for
//! the read.
//!
//! A consumer may run on a follower that lags, so each read first asks the leader for its end
//! and goes on until it has seen a record at or after it.

use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use tokio_util::sync::CancellationToken;

use super::convert::{self, Stored, corrupt, pattern, pattern_below};
use super::pull::Pull;
use super::settings::{SINGLE_GETS_MAX, SUBJECTS};
use crate::{Filter, LogId, ReadError, Record, Sequence, Subject};

/// Pause before a failed read is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// What reading needs. Clones share the connection.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) context: Context,
    pub(super) stream: Stream,
    pub(super) id: LogId,
    pub(super) read_max: Duration,
    pub(super) closed: CancellationToken,
}

/// Consumers made in the hope for one at the leader's: all elsewhere one time in 3,000. Then a
/// read that finds its copy lagging fails.
const PLACEMENTS_MAX: usize = 20;

/// How long a read is tried. What is corrupt stays so, and is not tried again.
struct Patience {
    deadline: Instant,
    closed: CancellationToken,
}

impl Patience {
    fn check(&self) -> Result<(), ReadError> {
        if self.closed.is_cancelled() { Err(closed()) } else { Ok(()) }
    }

    /// Waits before the next try; fails when there is no time for one.
    async fn pause(&self, reason: String) -> Result<(), ReadError> {
        if Instant::now() + PAUSE >= self.deadline {
            return Err(ReadError::Unavailable(reason));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// A position from which a message is wanted, as the leader's API takes it.
enum Get<'a> {
    LastOf(&'a str),
    NextOf(&'a str, u64),
}

impl Reader {
    /// How long a read is tried.
    fn patience(&self) -> Patience {
        Patience { deadline: Instant::now() + self.read_max, closed: self.closed.clone() }
    }

    async fn get(&self, wanted: Get<'_>) -> Result<Option<Stored>, ReadError> {
        let patience = self.patience();
        loop {
            patience.check()?;
            match self.try_get(&wanted).await {
                Err(ReadError::Unavailable(reason)) => patience.pause(reason).await?,
                done => return done,
            }
        }
    }

    async fn try_get(&self, wanted: &Get<'_>) -> Result<Option<Stored>, ReadError> {
        let request = self.stream.raw_message_builder();
        let request = match *wanted {
            Get::LastOf(subject) => request.last_by_subject(subject),
            Get::NextOf(subject, sequence) => request.next_by_subject(subject).sequence(sequence),
        };
        let message: StreamMessage = match request.send().await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(None);
            }
            Err(error) => return Err(ReadError::Unavailable(error.to_string())),
        };
        convert::read(message).map(Some)
    }

    /// The newest record of a subject.
    pub(super) async fn last_of(&self, subject: &Subject) -> Result<Option<Record>, ReadError> {
        let last = self.get(Get::LastOf(subject.as_str())).await?;
        Ok(last.map(|stored| stored.record))
    }

    /// The subject's first record after `after`.
    pub(super) async fn next_of(
        &self,
        subject: &Subject,
        after: Sequence,
    ) -> Result<Option<Stored>, ReadError> {
        let Some(from) = after.0.checked_add(1) else { return Ok(None) };
        self.get(Get::NextOf(subject.as_str(), from)).await
    }

    /// The newest record of these subjects.
    async fn end(&self, subjects: &str) -> Result<Option<Record>, ReadError> {
        let end = self.get(Get::LastOf(subjects)).await?;
        Ok(end.map(|stored| stored.record))
    }

    /// What the leader knows of the stream; checks that it is still the same one.
    pub(super) async fn last_sequence(&self) -> Result<Sequence, ReadError> {
        let patience = self.patience();
        loop {
            patience.check()?;
            let info = match self.stream.get_info().await {
                Ok(info) => info,
                Err(error) => {
                    patience.pause(error.to_string()).await?;
                    continue;
                }
            };
            if log_id(info.created.unix_timestamp_nanos()) != self.id {
                return Err(corrupt("the stream", "it was deleted and created anew"));
            }
            return Ok(Sequence(info.state.last_sequence));
        }
    }

    pub(super) async fn history(
        &self,
        subject: &Subject,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let end = self.last_of(subject).await?.filter(|end| end.sequence > after);
        let Some(end) = end else { return Ok(Vec::new()) };
        let (mut found, mut at) = (Vec::new(), after);
        // Most histories are short, and a consumer costs as much as several single records.
        while at < end.sequence && found.len() < limit.min(SINGLE_GETS_MAX) {
            let Some(next) = self.next_of(subject, at).await? else { return Ok(found) };
            at = next.record.sequence;
            found.push(next.record);
        }
        if at < end.sequence && found.len() < limit {
            let wanted = Wanted { subjects: subject.as_str(), end: end.sequence };
            found.extend(self.range(wanted, at, limit - found.len()).await?);
        }
        Ok(found)
    }

    pub(super) async fn read(
        &self,
        after: Sequence,
        filter: Filter,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let subjects = pattern(filter);
        let end = self.end(subjects).await?.filter(|end| end.sequence > after && limit > 0);
        let Some(end) = end else { return Ok(Vec::new()) };
        self.range(Wanted { subjects, end: end.sequence }, after, limit).await
    }

    /// Up to `limit` wanted records after `after`.
    async fn range(
        &self,
        wanted: Wanted<'_>,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let (mut found, patience) = (Vec::new(), self.patience());
        let mut at = after;
        loop {
            patience.check()?;
            match self.try_range(wanted, &mut at, limit, &mut found).await {
                Err(ReadError::Unavailable(reason)) => patience.pause(reason).await?,
                Err(corrupt) => return Err(corrupt),
                Ok(()) => return Ok(found),
            }
        }
    }

    async fn try_range(
        &self,
        wanted: Wanted<'_>,
        at: &mut Sequence,
        limit: usize,
        found: &mut Vec<Record>,
    ) -> Result<(), ReadError> {
        let policy = DeliverPolicy::ByStartSequence { start_sequence: at.0 + 1 };
        let mut pull = Pull::open(self, policy, vec![wanted.subjects.to_owned()]).await?;
        while *at < wanted.end && found.len() < limit {
            let batch = pull.batch(limit - found.len(), wanted.end).await?;
            let Some(newest) = batch.last() else {
                return Err(ReadError::Unavailable("nothing came in time".to_owned()));
            };
            *at = newest.sequence;
            found.extend(batch);
        }
        Ok(())
    }

    /// Opens the newest record of every subject of the scope.
    pub(super) async fn open_lasts(&self, scope: Scope) -> Result<Option<Lasts>, ReadError> {
        let Some(end) = self.end(SUBJECTS).await? else { return Ok(None) };
        let mut subjects = scope.subjects();
        if !scope.matches(&end.subject) {
            subjects.push(end.subject.as_str().to_owned());
        }
        let patience = self.patience();
        loop {
            patience.check()?;
            match self.open_on_leader(DeliverPolicy::LastPerSubject, &subjects).await {
                Ok(pull) => {
                    let (left, at) = (pull.pending(), Sequence(0));
                    return Ok(Some(Lasts { pull, scope, end: end.sequence, left, at, patience }));
                }
                Err(error) => patience.pause(error.to_string()).await?,
            }
        }
    }

    /// A consumer where nothing lags. The server puts it on any copy of the stream, so it is
    /// made again until it is at the leader's: three times on average for three copies.
    async fn open_on_leader(
        &self,
        policy: DeliverPolicy,
        subjects: &[String],
    ) -> Result<Pull, ReadError> {
        let info = self.stream.get_info().await;
        let info = info.map_err(|e| ReadError::Unavailable(e.to_string()))?;
        let leader = info.cluster.and_then(|cluster| cluster.leader);
        let mut pull = Pull::open(self, policy, subjects.to_vec()).await?;
        for _ in 0..PLACEMENTS_MAX {
            if info.config.num_replicas == 1 || pull.server() == leader.as_deref() {
                break;
            }
            pull = Pull::open(self, policy, subjects.to_vec()).await?;
        }
        Ok(pull)
    }
}

/// Subjects for a consumer, and their newest record.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    subjects: &'a str,
    end: Sequence,
}

/// Subjects by their last token, everywhere or below some parents.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) parents: Option<Vec<Subject>>,
    pub(super) filter: Filter,
}

impl Scope {
    fn matches(&self, subject: &Subject) -> bool {
        let parents = self.parents.as_ref();
        self.filter.matches(subject) && parents.is_none_or(|all| subject.is_below(all))
    }

    fn subjects(&self) -> Vec<String> {
        match &self.parents {
            None => vec![pattern(self.filter).to_owned()],
            Some(parents) => {
                parents.iter().map(|parent| pattern_below(parent, self.filter)).collect()
            }
        }
    }
}

/// The newest records of all subjects, on their way.
pub(super) struct Lasts {
    pull: Pull,
    scope: Scope,
    /// The end of the stream when the read began.
    end: Sequence,
    /// Subjects not delivered yet.
    left: usize,
    at: Sequence,
    /// With its first records.
    patience: Patience,
}

impl Lasts {
    /// The next of them; empty at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Record>, ReadError> {
        while self.left > 0 {
            let batch = self.batch().await?;
            self.left = self.left.saturating_sub(batch.len());
            match batch.last() {
                Some(newest) => self.at = newest.sequence,
                // Some of them were trimmed since, for a newer one of their subject.
                None if self.pull.ask_pending().await? == 0 => self.left = 0,
                None => return Err(ReadError::Unavailable("nothing came in time".to_owned())),
            }
            let wanted = batch.into_iter().filter(|r| self.scope.matches(&r.subject));
            let wanted: Vec<Record> = wanted.collect();
            if !wanted.is_empty() {
                return Ok(wanted);
            }
        }
        if self.at < self.end {
            return Err(ReadError::Unavailable("a copy of the stream lags".to_owned()));
        }
        Ok(Vec::new())
    }

    /// The first one is asked for until it comes: not every server knows a new consumer at once,
    /// and one that does not answers that nobody is there (503).
    async fn batch(&mut self) -> Result<Vec<Record>, ReadError> {
        loop {
            self.patience.check()?;
            match self.pull.batch(self.left, Sequence(u64::MAX)).await {
                Err(ReadError::Unavailable(reason)) if self.at == Sequence(0) => {
                    self.patience.pause(reason).await?;
                }
                done => return done,
            }
        }
    }
}

/// The identity of a stream created at this moment.
pub(super) fn log_id(created_nanos: i128) -> LogId {
    LogId(u64::try_from(created_nanos / 1_000_000).unwrap_or_default())
}

pub(super) fn closed() -> ReadError {
    ReadError::Unavailable("the log is closed".to_owned())
}
