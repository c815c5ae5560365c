//! Tokens are events of a subject of their own, so that each gift and each revocation names who
//! and why, and every node on the same log knows of it within a second.

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use copydesk_core::access::{Reach, Role, Signed, Token, TokenRefused, Tokens};
use copydesk_eventlog::{
    AppendError, EventLog, Filter, NewRecord, ReadError, Record, Sequence, Subject,
};
use copydesk_proto::{SCHEMA_VERSION, Timestamp, v1};
use futures::StreamExt;
use tokio::sync::watch;
use tracing::{error, warn};
use v1::access_event::Kind;

/// Where the events are.
const SUBJECT: &str = "cd.desk.tokens";
/// Records read at a time.
const PAGE: usize = 256;
/// Tries against other nodes acting at the same moment.
const TRIES_MAX: u32 = 8;
/// Between two tries to follow the log; a revocation elsewhere is late by no more.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);
/// How much later than the last noted one a use is noted in the log.
const USE_STEP_MS: u64 = 24 * 3_600 * 1_000;

/// Why the tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The log did not take the event.
    #[error("the log did not take it")]
    Append(#[source] AppendError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The history holds what this release does not know. Nothing is let in on a guess.
    #[error("the history of the tokens is not readable by this release")]
    Unreadable,
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] TokenRefused),
}

/// The tokens of a desk, as the log has them.
#[derive(Debug)]
pub struct TokenBook {
    log: Arc<dyn EventLog>,
    known: Mutex<Known>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    tokens: Tokens,
    last: Sequence,
}

impl TokenBook {
    /// Reads the tokens.
    ///
    /// # Errors
    /// [`TokenError`] when the history cannot be read.
    pub async fn open(log: Arc<dyn EventLog>) -> Result<Arc<Self>, TokenError> {
        let book = Self { log, known: Mutex::default(), changed: watch::Sender::new(()) };
        book.catch_up().await?;
        Ok(Arc::new(book))
    }

    /// Takes up what other nodes write, until dropped.
    pub async fn follow(self: Arc<Self>) {
        loop {
            let after = self.known().last;
            let mut records = self.log.tail(after, Filter(Some(SUBJECT)));
            while let Some(record) = records.next().await {
                let taken = record.map_err(TokenError::Read).and_then(|record| self.take(&record));
                if let Err(error) = taken {
                    warn!(%error, "tokens of other nodes are not followed for a moment");
                    break;
                }
            }
            tokio::time::sleep(FOLLOW_PAUSE).await;
        }
    }

    /// Looks at the tokens as they are at this moment.
    pub fn look<T>(&self, look: impl FnOnce(&Tokens) -> T) -> T {
        look(&self.known().tokens)
    }

    /// Tells of every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Adds a token; durable when answered.
    ///
    /// # Errors
    /// [`TokenError`]; it opens nothing.
    pub async fn add(&self, token: &Token) -> Result<(), TokenError> {
        let added = self
            .append(|tokens| {
                tokens.admit(token)?;
                Ok(Some(Kind::Added(stored(token))))
            })
            .await?;
        debug_assert!(added);
        Ok(())
    }

    /// Knows a token that the log could not take, until this process ends.
    pub fn trust(&self, token: Token) {
        self.known().tokens.add(token);
    }

    /// Revokes a token at once; durable when answered. `false` when no live one has this id.
    ///
    /// # Errors
    /// [`TokenError`]; it may still be live.
    pub async fn revoke(&self, id: &str, signed: &Signed) -> Result<bool, TokenError> {
        let Signed { by, reason, at } = signed;
        let event = v1::TokenRevoked {
            id: id.to_owned(),
            by: by.clone(),
            reason: reason.clone(),
            at_ms: at.0,
        };
        self.append(|tokens| {
            let live = tokens.get(id).is_some_and(|token| token.is_live(*at));
            Ok(live.then(|| Kind::Revoked(event.clone())))
        })
        .await
    }

    /// Notes that a token was used. The log hears of it once a day.
    pub fn note_use(self: &Arc<Self>, id: &str, at: Timestamp) {
        let mut known = self.known();
        let before = known.tokens.get(id).and_then(|token| token.used_at);
        known.tokens.note_use(id, at);
        drop(known);
        if before.is_some_and(|before| at.since_ms(before) < USE_STEP_MS) {
            return;
        }
        let (book, event) = (Arc::clone(self), v1::TokenUsed { id: id.to_owned(), at_ms: at.0 });
        tokio::spawn(async move {
            let noted = book.append(|_| Ok(Some(Kind::Used(event.clone())))).await;
            if let Err(error) = noted {
                warn!(%error, "the use of a token was not noted");
            }
        });
    }

    /// Appends what `decide` says about the tokens as the log has them. `false` when there was
    /// nothing to append.
    async fn append(
        &self,
        decide: impl Fn(&Tokens) -> Result<Option<Kind>, TokenError>,
    ) -> Result<bool, TokenError> {
        let mut tries = 0;
        loop {
            self.catch_up().await?;
            let (kind, last) = {
                let known = self.known();
                (decide(&known.tokens)?, known.last)
            };
            let Some(kind) = kind else { return Ok(false) };
            let stored = v1::AccessDecision {
                schema_version: SCHEMA_VERSION,
                event: Some(v1::AccessEvent { kind: Some(kind.clone()) }),
            };
            let record = NewRecord {
                subject: subject(),
                message_id: None,
                expected_last: Some(last),
                headers: Vec::new(),
                payload: copydesk_proto::encode(&stored),
            };
            match self.log.append(record).await {
                Ok(appended) => {
                    self.evolve(appended.sequence(), kind)?;
                    return Ok(true);
                }
                Err(AppendError::WrongLastSequence { .. }) if tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(TokenError::Append(error)),
            }
        }
    }

    async fn catch_up(&self) -> Result<(), TokenError> {
        loop {
            let after = self.known().last;
            let page = self.log.history(&subject(), after, PAGE).await?;
            for record in &page {
                self.take(record)?;
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    fn take(&self, record: &Record) -> Result<(), TokenError> {
        let stored: v1::AccessDecision =
            copydesk_proto::decode(record.payload.clone()).map_err(|_| TokenError::Unreadable)?;
        let kind = stored.event.and_then(|event| event.kind);
        if stored.schema_version > SCHEMA_VERSION {
            return Err(TokenError::Unreadable);
        }
        self.evolve(record.sequence, kind.ok_or(TokenError::Unreadable)?)
    }

    /// Applies an event once, whichever way it comes.
    fn evolve(&self, sequence: Sequence, kind: Kind) -> Result<(), TokenError> {
        let mut known = self.known();
        if sequence <= known.last {
            return Ok(());
        }
        match kind {
            Kind::Added(added) => known.tokens.add(token(added)?),
            Kind::Revoked(v1::TokenRevoked { id, by, reason, at_ms }) => {
                known.tokens.revoke(&id, Signed::new(&by, &reason, Timestamp(at_ms)));
            }
            Kind::Used(v1::TokenUsed { id, at_ms }) => {
                known.tokens.note_use(&id, Timestamp(at_ms));
            }
        }
        known.last = sequence;
        drop(known);
        self.changed.send_replace(());
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(|poisoned| {
            error!("a look at the tokens failed half-way");
            PoisonError::into_inner(poisoned)
        })
    }
}

fn subject() -> Subject {
    Subject::new(SUBJECT).expect("a constant of plain tokens")
}

fn stored(token: &Token) -> v1::TokenAdded {
    let sites = match &token.reach {
        Reach::Desk => Vec::new(),
        Reach::Sites(sites) => sites.iter().map(ToString::to_string).collect(),
    };
    v1::TokenAdded {
        id: token.id.clone(),
        name: token.name.clone(),
        role: token.role.to_string(),
        whole_desk: token.reach == Reach::Desk,
        sites,
        hash: token.hash.to_vec(),
        hint: token.hint.clone(),
        expires_at_ms: token.expires_at.map(|at| at.0),
        by: token.added.by.clone(),
        reason: token.added.reason.clone(),
        at_ms: token.added.at.0,
    }
}

fn token(added: v1::TokenAdded) -> Result<Token, TokenError> {
    let role: Role = added.role.parse().map_err(|_| TokenError::Unreadable)?;
    let sites: Result<BTreeSet<_>, _> = added.sites.iter().map(|site| site.parse()).collect();
    let sites = sites.map_err(|_| TokenError::Unreadable)?;
    Ok(Token {
        id: added.id,
        name: added.name,
        role,
        reach: if added.whole_desk { Reach::Desk } else { Reach::Sites(sites) },
        hash: added.hash.try_into().map_err(|_| TokenError::Unreadable)?,
        hint: added.hint,
        expires_at: added.expires_at_ms.map(Timestamp),
        added: Signed::new(&added.by, &added.reason, Timestamp(added.at_ms)),
        revoked: None,
        used_at: None,
    })
}
