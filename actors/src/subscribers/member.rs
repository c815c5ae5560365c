//! One subscriber: what it wants, its way and its keys, and how it has fared.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use copydesk_core::failure::Failure;
use copydesk_core::signature::Secret;
use copydesk_core::subscribers::{Health, Spec, Subscription};
use copydesk_proto::Timestamp;

use super::book::{Added, Book, BookError, Disabled, Key};
use super::notice::Parcel;
use super::outlet::{Outlet, Way};
use crate::World;

/// Attempts of one subscriber that are shown; those of one post are all in the log.
const ATTEMPTS_MAX: usize = 100;

/// A subscriber of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What it wants.
    pub spec: Spec,
    /// Where it is.
    pub way: Way,
    /// Its keys, the first one first; empty for sinks.
    pub keys: Vec<Secret>,
    /// Notices on their way at once.
    pub places: usize,
}

/// A subscriber, ready to be told.
#[derive(Debug)]
pub struct Member {
    spec: Spec,
    pub(super) subscription: Subscription,
    outlet: Arc<Outlet>,
    keys: Vec<(Secret, Option<Timestamp>)>,
    pub(super) places: usize,
    pub(super) added: Option<Added>,
    pub(super) disabled: Option<Disabled>,
    fare: Arc<Mutex<Fare>>,
}

/// How it has fared since the start.
#[derive(Debug, Default)]
pub(super) struct Fare {
    pub(super) health: Health,
    attempts: VecDeque<Attempt>,
}

/// One try to hand a notice over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The notice's id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// When it was over.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// HTTP's status when it got through by HTTP; else 0.
    pub status: u16,
    /// The failure's code; empty when it got through.
    pub code: String,
    /// Why, in words.
    pub cause: String,
}

/// How a subscriber stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What it wants.
    pub spec: Spec,
    /// `webhook`, `folder`, `store` or `nats`.
    pub kind: &'static str,
    /// Where to.
    pub target: String,
    /// The ids of its keys, newest first.
    pub keys: Vec<Key>,
    /// Whether it stands in the configuration file.
    pub configured: bool,
    /// Who added it, why and when; of configured ones nothing.
    pub added: Option<(String, String, Timestamp)>,
    /// Who disabled it, why and when.
    pub disabled: Option<(String, String, Timestamp)>,
    /// Since when every try has failed.
    pub failing_since: Option<Timestamp>,
    /// The last attempts since the start, newest first.
    pub attempts: Vec<Attempt>,
}

/// What a test ping gave. What the other side said is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping(pub Attempt);

impl Member {
    /// One as the book has it. What is known of it is kept where it has not moved.
    pub(super) fn new(
        spec: &Spec,
        kept: Option<&Arc<Self>>,
        way: &Way,
        keys: Vec<(Secret, Option<Timestamp>)>,
        places: usize,
        added: Option<Added>,
        book: &Book,
    ) -> Result<Self, BookError> {
        let failing_since = book.failing.get(&spec.id).copied();
        let noted = failing_since.is_some();
        let (outlet, fare) = match kept {
            Some(kept) => (Arc::clone(&kept.outlet), Arc::clone(&kept.fare)),
            None => {
                let health = Health { failing_since, noted };
                let fare = Fare { health, attempts: VecDeque::new() };
                (Arc::new(Outlet::open(&spec.id, way, places)?), Arc::new(Mutex::new(fare)))
            }
        };
        Ok(Self {
            spec: spec.clone(),
            subscription: spec.subscription()?,
            outlet,
            keys,
            places,
            added,
            disabled: book.disabled.get(&spec.id).cloned(),
            fare,
        })
    }

    /// What it wants.
    #[must_use]
    pub const fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    fn keys(&self, now: Timestamp) -> Vec<Secret> {
        let live = self.keys.iter().filter(|(_, until)| until.is_none_or(|until| now < until));
        live.map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn fare(&self) -> MutexGuard<'_, Fare> {
        self.fare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a notice over and takes note of it.
    pub(super) async fn hand(&self, parcel: &Parcel) -> (Attempt, Result<(), Failure>) {
        let began = Instant::now();
        let handed = self.outlet.hand(&self.keys(World::now()), parcel).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let failure = handed.as_ref().err();
        let attempt = Attempt {
            id: parcel.id.clone(),
            kind: parcel.kind.clone(),
            at: World::now(),
            took_ms,
            status: handed.as_ref().copied().unwrap_or_default(),
            code: failure.map(|failure| failure.code.clone()).unwrap_or_default(),
            cause: failure.map(|failure| failure.cause.clone()).unwrap_or_default(),
        };
        let mut fare = self.fare();
        if fare.attempts.len() >= ATTEMPTS_MAX {
            fare.attempts.pop_front();
        }
        fare.attempts.push_back(attempt.clone());
        drop(fare);
        (attempt, handed.map(drop))
    }

    pub(super) fn standing(&self) -> Standing {
        let fare = self.fare();
        let keys = match &self.added {
            Some(added) => added.keys.iter().cloned().collect(),
            None => self.keys.iter().map(|(k, _)| Key { id: k.id().into(), until: None }).collect(),
        };
        Standing {
            spec: self.spec.clone(),
            kind: self.outlet.kind(),
            target: self.outlet.target(),
            keys,
            configured: self.added.is_none(),
            added: self.added.as_ref().map(|a| (a.by.clone(), a.reason.clone(), a.at)),
            disabled: self.disabled.as_ref().map(|d| (d.by.clone(), d.reason.clone(), d.at)),
            failing_since: fare.health.failing_since,
            attempts: fare.attempts.iter().rev().cloned().collect(),
        }
    }
}
