//! The promises of an event log, whatever holds it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// Largest record, headers and payload together, in bytes: a 256 KiB webhook with room around it.
pub const RECORD_BYTES_MAX: usize = 384 * 1024;

/// Deepest subject, in tokens.
pub const SUBJECT_TOKENS_MAX: usize = 8;

/// How long a message id is remembered. It only saves work: lasting dedupe is the reader's.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The place of a record in the whole stream: 1, 2, 3 …; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which incarnation of the stream: milliseconds since 1970 when it was created. A position is
/// (log id, sequence), so a recreated stream never looks older than the one it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

/// A subject: 1 to [`SUBJECT_TOKENS_MAX`] tokens of `a-z 0-9 _ -`, joined by dots. Nothing else
/// can be built, so no text from outside can name a wildcard or another subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

/// The text is no [`Subject`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a subject is 1 to {SUBJECT_TOKENS_MAX} tokens of a-z 0-9 _ - joined by dots")]
pub struct BadSubject;

impl Subject {
    /// # Errors
    /// [`BadSubject`] for anything but plain tokens.
    pub fn new(text: &str) -> Result<Self, BadSubject> {
        // Byte by byte: each record that is read comes by here.
        let (mut tokens, mut before) = (1, b'.');
        for byte in text.bytes() {
            match byte {
                b'.' if before == b'.' => return Err(BadSubject),
                b'.' => tokens += 1,
                b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => {}
                _ => return Err(BadSubject),
            }
            before = byte;
        }
        if before == b'.' || tokens > SUBJECT_TOKENS_MAX {
            return Err(BadSubject);
        }
        Ok(Self(text.into()))
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Subject {
    /// Whether it continues one of these.
    #[must_use]
    pub fn is_below(&self, parents: &[Self]) -> bool {
        let rest = |parent: &Self| self.as_str().strip_prefix(parent.as_str());
        parents.iter().any(|parent| rest(parent).is_some_and(|rest| rest.starts_with('.')))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Subjects by a pattern, in which `*` stands for one token: `cd.*.*.*.in`; `None` is every subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Filter(pub Option<&'static str>);

impl Filter {
    /// Whether the subject is meant.
    #[must_use]
    pub fn matches(&self, subject: &Subject) -> bool {
        self.matches_name(subject.as_str())
    }

    /// As [`Filter::matches`], for a name that need not be a subject's.
    pub(crate) fn matches_name(&self, name: &str) -> bool {
        let fits = |pattern: &str| {
            let (mut tokens, mut wanted) = (name.split('.'), pattern.split('.'));
            // The end first, where the subjects of a post differ: each tail looks at each record.
            let end = pattern.rsplit('*').next().unwrap_or_default();
            name.ends_with(end)
                && wanted.all(|token| tokens.next().is_some_and(|t| token == "*" || token == t))
                && tokens.next().is_none()
        };
        self.0.is_none_or(fits)
    }
}

/// 16 bytes that name a record across retries; one name space for the whole stream, so it must
/// hash everything that makes the record what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId(pub [u8; 16]);

/// A few short tokens beside the payload (CloudEvents attributes, trace context). Names and
/// values are printable ASCII without CR or LF.
pub type Headers = Vec<(&'static str, String)>;

/// A record to append.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Where it goes.
    pub subject: Subject,
    /// Idempotency: a second append inside [`DUPLICATE_WINDOW`] answers [`Appended::Duplicate`].
    pub message_id: Option<MessageId>,
    /// Compare-and-set: the last sequence of this very subject, 0 for none.
    pub expected_last: Option<Sequence>,
    /// Tokens beside the payload.
    pub headers: Headers,
    /// The bytes.
    pub payload: Bytes,
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub sequence: Sequence,
    /// When the log took it, milliseconds since 1970. Display only.
    pub time_ms: i64,
    /// Where it is.
    pub subject: Subject,
    /// Tokens beside the payload.
    pub headers: Vec<(String, String)>,
    /// The bytes as appended.
    pub payload: Bytes,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Stored, durable in the sense of [`EventLog::durability`].
    Stored(Sequence),
    /// A record with this message id was stored before, at this place.
    Duplicate(Sequence),
}

impl Appended {
    /// The record's place, whichever append stored it.
    #[must_use]
    pub const fn sequence(self) -> Sequence {
        match self {
            Self::Stored(sequence) | Self::Duplicate(sequence) => sequence,
        }
    }
}

/// Why an append was not carried out, by what the caller must do.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else appended to the subject: step down, read, decide again. Definite: not stored.
    #[error("another writer appended to {subject}")]
    WrongLastSequence {
        /// The contested subject.
        subject: Subject,
    },
    /// Nothing is stored and nothing will be until space is freed: refuse intake.
    #[error("the log is full: {0}")]
    Full(String),
    /// The record breaks a bound of this module. Definite: not stored.
    #[error("the record was refused: {0}")]
    Refused(String),
    /// Stored or not: nobody knows. Only the same record under the same message id or expected
    /// sequence may be sent again.
    #[error("the outcome of the append is unknown: {0}")]
    Unknown(String),
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log is not reachable; a later read may work.
    #[error("the log is not reachable: {0}")]
    Unavailable(String),
    /// What is stored is not what was written. Never skipped.
    #[error("the log is corrupt at {place}: {reason}")]
    Corrupt {
        /// File, offset or sequence.
        place: String,
        /// What does not fit.
        reason: String,
    },
}

/// What an acknowledged append survives, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    /// `embedded`, `nats-r1-default`, `nats-r1-always`, `nats-r3-default`, `nats-r3-always`, `memory`.
    pub profile: &'static str,
    /// One sentence: what an acknowledged record survives and what not.
    pub sentence: String,
    /// Whether the operator should be warned (loss at power cut).
    pub warn: bool,
}

/// One totally ordered, durable stream of records under subjects.
///
/// Every implementation keeps these promises, and `conformance` tests each of them:
///
/// 1. **Durable.** `append` returns `Stored` only after the record survives what
///    [`EventLog::durability`] says.
/// 2. **One order.** Sequences grow by the order of storing, across all subjects, without reuse.
///    Once a reader has seen sequence n, no record below n appears later.
/// 3. **Idempotent.** Inside [`DUPLICATE_WINDOW`] a message id is stored at most once.
/// 4. **Fenced.** With `expected_last`, a record is stored only if the subject's last sequence is
///    that number; of racing appends at most one wins. When the same record (equal payload) is
///    appended again with the same expectation after [`AppendError::Unknown`], the answer is
///    `Stored` with its first place if that first append had been stored.
/// 5. **Whole.** A record is stored whole or not at all. A broken record in the middle of the log
///    is an error, never a skip; only an unfinished tail may be cut.
/// 6. **Kept.** Only [`EventLog::trim`] removes records, and never a subject's last one.
///
/// Appends from several tasks may run at once; one task's awaits are in order. Dropping the
/// future of an append leaves its outcome unknown.
pub trait EventLog: Send + Sync + fmt::Debug {
    /// Which incarnation of the stream this is.
    fn id(&self) -> LogId;

    /// What an acknowledged append survives.
    fn durability(&self) -> Durability;

    /// Stores one record.
    fn append(&self, record: NewRecord) -> BoxFuture<'_, Result<Appended, AppendError>>;

    /// The newest sequence of the stream, 0 when empty.
    fn last_sequence(&self) -> BoxFuture<'_, Result<Sequence, ReadError>>;

    /// The newest record of a subject. Never stale: reads what every acknowledged append wrote.
    fn last(&self, subject: &Subject) -> BoxFuture<'_, Result<Option<Record>, ReadError>>;

    /// Up to `limit` records of one subject with sequence greater than `after`, in order. Fewer
    /// than `limit` (also 0) means there are no more at the time of the call.
    fn history(
        &self,
        subject: &Subject,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>>;

    /// Up to `limit` records of the whole stream matching `filter` with sequence greater than
    /// `after`, in order. An empty answer means there are none up to the end at the time of the call.
    fn read(
        &self,
        after: Sequence,
        filter: Filter,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>>;

    /// The records matching `filter` with sequence greater than `after`, in order, for ever: past
    /// the end it waits. Pulls only as fast as it is polled. After an error the stream ends; open
    /// another from the last sequence seen.
    fn tail(
        &self,
        after: Sequence,
        filter: Filter,
    ) -> BoxStream<'static, Result<Record, ReadError>>;

    /// The newest record of every subject matching `filter`, in no promised order, once each,
    /// then the end. Records appended after the call may or may not be seen.
    fn last_per_subject(&self, filter: Filter) -> BoxStream<'static, Result<Record, ReadError>>;

    /// The newest sequence of every subject matching `filter`, as [`Self::last_per_subject`] gives
    /// its record, for less where records lie apart from their index.
    fn last_sequences(
        &self,
        filter: Filter,
    ) -> BoxStream<'static, Result<(Subject, Sequence), ReadError>> {
        let lasts = self.last_per_subject(filter);
        lasts.map(|found| found.map(|record| (record.subject, record.sequence))).boxed()
    }

    /// As [`Self::last_per_subject`], for the subjects below one of `parents` only: `cd.7` means `cd.7.news.42.in`.
    fn last_below(
        &self,
        parents: Vec<Subject>,
        filter: Filter,
    ) -> BoxStream<'static, Result<Record, ReadError>> {
        let below = move |found: &Result<Record, ReadError>| {
            let is_wanted = found.as_ref().map_or(true, |r| r.subject.is_below(&parents));
            futures::future::ready(is_wanted)
        };
        self.last_per_subject(filter).filter(below).boxed()
    }

    /// Removes the subject's records with sequence below `below`, except its last one. What is
    /// unfinished is for the caller to know; the log never trims by itself.
    fn trim(&self, subject: &Subject, below: Sequence) -> BoxFuture<'_, Result<(), ReadError>>;

    /// Stops taking appends, finishes those under way, and releases what is held.
    fn close(&self) -> BoxFuture<'_, ()>;
}
