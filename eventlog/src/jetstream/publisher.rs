//! Messages for others: to a subject that a stream of theirs keeps. Nothing of the log is here.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::{HeaderMap, HeaderName, HeaderValue, NATS_MESSAGE_ID};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::connect::{self, ConnectError};
use super::settings::{SUBJECT_PREFIX, Settings};

/// How long one message waits for a server that does not answer; whoever sent it tries again.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Longest subject; what a server indexes.
const SUBJECT_BYTES_MAX: usize = 255;

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// One or more server addresses, separated by commas.
    pub url: String,
    /// A file with a user's JWT and key.
    pub credentials_file: Option<PathBuf>,
    /// A subject that a stream keeps.
    pub subject: OutgoingSubject,
}

/// A subject that messages can be sent to and that is not the log's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingSubject(String);

/// The text is no such subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a subject is words joined by dots, without spaces and wildcards, up to {SUBJECT_BYTES_MAX} \
     bytes; `$`, `_` and `cd.` at its head are taken"
)]
pub struct BadOutgoingSubject;

impl FromStr for OutgoingSubject {
    type Err = BadOutgoingSubject;

    fn from_str(text: &str) -> Result<Self, BadOutgoingSubject> {
        let plain = |b: u8| b.is_ascii_graphic() && !b"*>".contains(&b);
        let words = text.split('.').all(|word| !word.is_empty() && word.bytes().all(plain));
        // The server's own, a client's answers, and the log: a foreign message there would end it.
        let taken = ["$", "_", SUBJECT_PREFIX].iter().any(|head| text.starts_with(head));
        if words && !taken && text.len() <= SUBJECT_BYTES_MAX && text != "cd" {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadOutgoingSubject)
        }
    }
}

impl fmt::Display for OutgoingSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a message is not known to be kept.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No server took us in.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The servers are gone; the client looks for them by itself.
    #[error("the connection to the NATS servers is lost")]
    Disconnected,
    /// Nobody keeps the subject, and nobody listens.
    #[error("no stream keeps the subject")]
    NoStream,
    /// It may be kept or not.
    #[error("no stream acknowledged it in time")]
    Unknown,
    /// It is not kept.
    #[error("it was refused: {0}")]
    Refused(String),
}

/// Sends messages to one destination; connects with the first of them.
pub struct Publisher {
    destination: Destination,
    context: OnceCell<Context>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("subject", &self.destination.subject)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(destination: Destination) -> Self {
        Self { destination, context: OnceCell::new() }
    }

    /// Sends a message under an id, which a stream keeps once within its window of duplicates.
    /// `Ok` says that a stream has it.
    ///
    /// # Errors
    /// [`PublishError`]; the same message may be sent again.
    pub async fn publish(
        &self,
        id: &str,
        headers: &[(&'static str, String)],
        payload: Bytes,
    ) -> Result<(), PublishError> {
        let mut all = HeaderMap::new();
        all.insert(NATS_MESSAGE_ID, value(id)?);
        for (name, text) in headers {
            all.insert(HeaderName::from_static(name), value(text)?);
        }
        // In the heap: every task that may publish would have room for it, 8 KB.
        let context = self.context.get_or_try_init(|| Box::pin(self.connect())).await?;
        // What is sent meanwhile would wait in the client, beyond our sight.
        if context.client().connection_state() != State::Connected {
            return Err(PublishError::Disconnected);
        }
        let subject = self.destination.subject.0.clone();
        let kept = match context.publish_with_headers(subject, all, payload).await {
            Ok(acknowledged) => acknowledged.await.map(drop),
            Err(error) => Err(error),
        };
        kept.map_err(|error| match error.kind() {
            PublishErrorKind::StreamNotFound => PublishError::NoStream,
            PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::MaxAckPending => PublishError::Unknown,
            PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::MaxPayloadExceeded
            | PublishErrorKind::Other => PublishError::Refused(error.to_string()),
        })
    }

    async fn connect(&self) -> Result<Context, PublishError> {
        let Destination { url, credentials_file, .. } = &self.destination;
        let credentials_file = credentials_file.clone();
        let settings =
            Settings { credentials_file, connect_max: CONNECT_MAX, ..Settings::new(url) };
        Ok(connect::context(connect::dial(&settings).await?))
    }
}

fn value(text: &str) -> Result<HeaderValue, PublishError> {
    let refused = |_| PublishError::Refused("a header cannot be sent".to_owned());
    HeaderValue::from_str(text).map_err(refused)
}
