//! The subscribers of a node: those of the configuration and those of the log, each with its outlet.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::holds::{Hold, HoldScope};
use copydesk_core::limits::SUBSCRIBERS_MAX;
use copydesk_core::outbound::Rules;
use copydesk_core::signature::{STANDARD_WEBHOOKS, Secret, derive};
use copydesk_core::subscribers::{Health, Subscription, Verdict};
use copydesk_eventlog::{
    AppendError, Appended, EventLog, Filter, NewRecord, Record, Sequence, Subject,
};
use copydesk_proto::{SCHEMA_VERSION, SubscriberId, Timestamp, v1};
use futures::StreamExt;
use serde_json::json;
use tokio::sync::watch;
use tracing::{error, info, warn};
use uuid::Uuid;
use v1::subscriber_event::Kind;

use super::book::{Added, Book, BookError, Disabled, Key, write};
use super::member::{Member, Ping, Settings, Standing};
use super::notice::Parcel;
use super::outlet::{Outlet, Way};
use super::webhook::GONE;
use crate::World;
use crate::alerts::{Alert, Alerts};
use crate::records::rfc3339;

/// Where the events are.
const SUBJECT: &str = "cd.desk.subscribers";
/// Records read at a time.
const PAGE: usize = 256;
/// Tries against other nodes acting at the same moment.
const TRIES_MAX: u32 = 8;
/// Between two tries to follow the log; a change elsewhere is late by no more.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);
/// How long a replaced key of an added subscriber signs beside the new one.
const ROTATION_MS: u64 = 24 * 3_600 * 1_000;
/// Notices of an added subscriber that are on their way at once.
const PLACES: usize = 8;

/// The subscribers of a node.
pub struct Roster {
    log: Arc<dyn EventLog>,
    alerts: Alerts,
    configured: Vec<Settings>,
    rules: Rules,
    master: [u8; 32],
    known: Mutex<Known>,
    live: ArcSwap<Live>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    book: Book,
    last: Sequence,
}

#[derive(Debug, Default)]
struct Live {
    members: BTreeMap<SubscriberId, Arc<Member>>,
    /// Of the enabled ones.
    subscriptions: Arc<Vec<Subscription>>,
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster").finish_non_exhaustive()
    }
}

impl Roster {
    /// Sets the subscribers up.
    ///
    /// # Errors
    /// [`BookError`] when the log cannot be read, or a configured one cannot be set up.
    pub async fn open(
        log: Arc<dyn EventLog>,
        alerts: Alerts,
        configured: Vec<Settings>,
        rules: Rules,
        master: [u8; 32],
    ) -> Result<Arc<Self>, BookError> {
        let (known, live) = (Mutex::default(), ArcSwap::default());
        let changed = watch::Sender::new(());
        let roster = Self { log, alerts, configured, rules, master, known, live, changed };
        roster.catch_up().await?;
        let live = roster.built(&roster.known().book)?;
        roster.live.store(Arc::new(live));
        Ok(Arc::new(roster))
    }

    /// Takes up what other nodes write, until dropped.
    pub async fn follow(self: Arc<Self>) {
        loop {
            let after = self.known().last;
            let mut records = self.log.tail(after, Filter(Some(SUBJECT)));
            while let Some(record) = records.next().await {
                let taken = record.map_err(BookError::Read).and_then(|record| self.take(&record));
                if let Err(error) = taken {
                    warn!(%error, "subscribers of other nodes are not followed for a moment");
                    break;
                }
            }
            tokio::time::sleep(FOLLOW_PAUSE).await;
        }
    }

    /// Tells of every change, whichever node's.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The subscriber of this name.
    #[must_use]
    pub fn get(&self, id: &SubscriberId) -> Option<Arc<Member>> {
        self.live.load().members.get(id).cloned()
    }

    /// What the enabled ones want.
    #[must_use]
    pub fn subscriptions(&self) -> Arc<Vec<Subscription>> {
        Arc::clone(&self.live.load().subscriptions)
    }

    /// Notices to this one that may be on their way at once.
    #[must_use]
    pub fn places(&self, id: &SubscriberId) -> usize {
        self.live.load().members.get(id).map_or(PLACES, |member| member.places)
    }

    /// Whether it is known; and when it is disabled, how its notices show that.
    pub(crate) fn admits(&self, id: &SubscriberId) -> (bool, Option<Arc<Hold>>) {
        let Some(member) = self.get(id) else { return (false, None) };
        let closed = member.disabled.as_ref().map(|Disabled { by, reason, at }| {
            let reason = format!("disabled: {reason}");
            Arc::new(Hold::new(HoldScope::Subscriber(id.clone()), by, &reason, *at))
        });
        (true, closed)
    }

    /// How all stand, by name.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        self.live.load().members.values().map(|member| member.standing()).collect()
    }

    /// Hands a notice over.
    ///
    /// # Errors
    /// The subscriber's [`Failure`].
    pub(crate) async fn hand(&self, id: &SubscriberId, parcel: &Parcel) -> Result<(), Failure> {
        let Some(member) = self.get(id) else {
            let cause = "there is no such subscriber any more; add it again, then retry";
            let code = "subscriber_not_configured";
            return Err(Failure::new(FailureClass::Terminal, code, cause));
        };
        let (_, handed) = member.hand(parcel).await;
        self.judge(id, &member, &handed).await;
        handed
    }

    /// Sends a test notice. It is no event, goes past the log and is not tried again.
    #[must_use]
    pub async fn ping(&self, id: &SubscriberId) -> Option<Ping> {
        let member = self.get(id)?;
        let at = World::now();
        let body = json!({
            "type": "copydesk.test", "timestamp": rfc3339(at), "data": { "subscriber": id },
        });
        let parcel = Parcel {
            id: Uuid::now_v7().to_string(),
            kind: "copydesk.test".to_owned(),
            body: Bytes::from(body.to_string()),
            trace: None,
        };
        Some(Ping(member.hand(&parcel).await.0))
    }

    /// What a try means for its subscriber.
    async fn judge(&self, id: &SubscriberId, member: &Member, handed: &Result<(), Failure>) {
        let now = World::now();
        let failure = handed.as_ref().err();
        let verdict = member.fare().health.tried(failure.is_none(), now);
        let failing = |since: Option<Timestamp>| {
            let (id, at_ms) = (id.to_string(), now.0);
            Kind::Failing(v1::SubscriberFailing { id, since_ms: since.map(|at| at.0), at_ms })
        };
        let done = match (failure, verdict) {
            (Some(failure), _) if failure.code == GONE => {
                self.disable(id, "copydesk", "it answered 410 Gone").await
            }
            (_, Verdict::Disable) => {
                self.disable(id, "copydesk", "every try has failed for five days").await
            }
            (_, Verdict::NoteFailing(since)) => {
                self.append(|_| Ok(Some(failing(Some(since))))).await.map(drop)
            }
            (_, Verdict::NoteWell) => self.append(|_| Ok(Some(failing(None)))).await.map(drop),
            (_, Verdict::Same) => Ok(()),
        };
        if let Err(error) = done {
            // The next try says the same again.
            warn!(subscriber = %id, %error, "how a subscriber fares was not noted");
        }
    }

    async fn disable(&self, id: &SubscriberId, by: &str, reason: &str) -> Result<(), BookError> {
        if !self.switch(id, false, by, reason).await? {
            return Ok(());
        }
        warn!(subscriber = %id, reason, "a subscriber is disabled");
        self.alerts.raise(Alert {
            group: format!("subscriber {id}"),
            text: format!(
                "the subscriber {id} is disabled: {reason}; look at it, then \
                 `copydesk subscribers enable {id}`"
            ),
        });
        Ok(())
    }

    /// Enables or disables one; durable when answered. `false` when it was so before.
    ///
    /// # Errors
    /// [`BookError`].
    pub async fn switch(
        &self,
        id: &SubscriberId,
        enabled: bool,
        by: &str,
        reason: &str,
    ) -> Result<bool, BookError> {
        let event = v1::SubscriberSwitched {
            id: id.to_string(),
            enabled,
            by: by.to_owned(),
            reason: reason.to_owned(),
            at_ms: World::now().0,
        };
        let configured = self.is_configured(id);
        let switched = self
            .append(|book| {
                if !configured && !book.added.contains_key(id) {
                    return Err(BookError::NotFound);
                }
                let changes = book.disabled.contains_key(id) == enabled;
                Ok(changes.then(|| Kind::Switched(event.clone())))
            })
            .await?;
        if switched && let Some(member) = self.get(id) {
            member.fare().health = Health::default();
        }
        Ok(switched)
    }

    /// Adds one; durable when answered. Returns its secret, which is shown to nobody again.
    ///
    /// # Errors
    /// [`BookError`]; nothing was added.
    pub async fn add(&self, mut added: Added) -> Result<String, BookError> {
        let id = added.spec.id.clone();
        let key = Key { id: Uuid::now_v7().to_string(), until: None };
        let secret = derive(&self.master, id.as_str(), &key.id);
        added.keys = VecDeque::from([key]);
        added.spec.subscription()?;
        Outlet::open(&id, &self.way(&added), PLACES)?;
        let configured = &self.configured;
        self.append(|book| {
            if self.is_configured(&id) || book.added.contains_key(&id) {
                return Err(BookError::Exists);
            }
            if configured.len() + book.added.len() >= SUBSCRIBERS_MAX {
                return Err(BookError::TooMany);
            }
            Ok(Some(Kind::Added(write(&added))))
        })
        .await?;
        Ok(secret)
    }

    /// Gives an added one a new key and returns it; the ones before sign for another day.
    ///
    /// # Errors
    /// [`BookError`]; its keys are as before.
    pub async fn rotate(
        &self,
        id: &SubscriberId,
        by: &str,
        reason: &str,
    ) -> Result<String, BookError> {
        let now = World::now();
        let event = v1::SubscriberRotated {
            id: id.to_string(),
            key_id: Uuid::now_v7().to_string(),
            others_until_ms: now.after_ms(ROTATION_MS).0,
            by: by.to_owned(),
            reason: reason.to_owned(),
            at_ms: now.0,
        };
        let configured = self.is_configured(id);
        self.append(|book| match (configured, book.added.contains_key(id)) {
            (true, _) => Err(BookError::Configured),
            (false, false) => Err(BookError::NotFound),
            (false, true) => Ok(Some(Kind::Rotated(event.clone()))),
        })
        .await?;
        Ok(derive(&self.master, id.as_str(), &event.key_id))
    }

    /// Removes an added one; durable when answered.
    ///
    /// # Errors
    /// [`BookError`]; it is still there.
    pub async fn remove(&self, id: &SubscriberId, by: &str, reason: &str) -> Result<(), BookError> {
        let event = v1::SubscriberRemoved {
            id: id.to_string(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            at_ms: World::now().0,
        };
        let configured = self.is_configured(id);
        let removed = self.append(|book| match (configured, book.added.contains_key(id)) {
            (true, _) => Err(BookError::Configured),
            (false, false) => Err(BookError::NotFound),
            (false, true) => Ok(Some(Kind::Removed(event.clone()))),
        });
        removed.await.map(drop)
    }

    fn is_configured(&self, id: &SubscriberId) -> bool {
        self.configured.iter().any(|settings| settings.spec.id == *id)
    }

    fn way(&self, added: &Added) -> Way {
        Way::Webhook { url: added.url.clone(), rules: self.rules.clone() }
    }

    /// The members of a book. Outlets and what is known of a member are kept where it has not
    /// moved.
    fn built(&self, book: &Book) -> Result<Live, BookError> {
        let before = self.live.load_full();
        let mut members = BTreeMap::new();
        for settings in &self.configured {
            let id = &settings.spec.id;
            let kept = before.members.get(id).filter(|member| member.added.is_none());
            let keys = settings.keys.iter().map(|key| (key.clone(), None)).collect();
            let member = Member::new(
                &settings.spec,
                kept,
                &settings.way,
                keys,
                settings.places,
                None,
                book,
            )?;
            members.insert(id.clone(), Arc::new(member));
        }
        for (id, added) in &book.added {
            if members.contains_key(id) {
                continue;
            }
            let has_moved = |old: &Added| old.url != added.url || old.at != added.at;
            let kept = before.members.get(id).filter(|m| !m.added.as_ref().is_none_or(has_moved));
            let keys = added.keys.iter().filter_map(|key| {
                let secret = derive(&self.master, id.as_str(), &key.id);
                let secret = Secret::of(&STANDARD_WEBHOOKS, &key.id, secret.as_bytes()).ok()?;
                Some((secret, key.until))
            });
            let (keys, way) = (keys.collect(), self.way(added));
            let made =
                Member::new(&added.spec, kept, &way, keys, PLACES, Some(added.clone()), book);
            match made {
                Ok(member) => {
                    members.insert(id.clone(), Arc::new(member));
                }
                // Its address was allowed when it was added. The others must not wait for it.
                Err(error) => error!(subscriber = %id, %error, "a subscriber cannot be told"),
            }
        }
        let enabled = members.values().filter(|member| member.disabled.is_none());
        let subscriptions = enabled.map(|member| member.subscription.clone()).collect();
        Ok(Live { members, subscriptions: Arc::new(subscriptions) })
    }

    /// Appends what `decide` says about the book as the log has it. `false` when there was nothing
    /// to append.
    async fn append(
        &self,
        decide: impl Fn(&Book) -> Result<Option<Kind>, BookError>,
    ) -> Result<bool, BookError> {
        let mut tries = 0;
        loop {
            self.catch_up().await?;
            let (kind, last) = {
                let known = self.known();
                (decide(&known.book)?, known.last)
            };
            let Some(kind) = kind else { return Ok(false) };
            let event = Some(v1::SubscriberEvent { kind: Some(kind.clone()) });
            let stored = v1::SubscriberDecision { schema_version: SCHEMA_VERSION, event };
            let record = NewRecord {
                subject: subject(),
                message_id: None,
                expected_last: Some(last),
                headers: Vec::new(),
                payload: copydesk_proto::encode(&stored),
            };
            match self.log.append(record).await {
                Ok(appended @ (Appended::Stored(_) | Appended::Duplicate(_))) => {
                    self.evolve(appended.sequence(), kind)?;
                    return Ok(true);
                }
                Err(AppendError::WrongLastSequence { .. }) if tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(BookError::Append(error)),
            }
        }
    }

    async fn catch_up(&self) -> Result<(), BookError> {
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

    fn take(&self, record: &Record) -> Result<(), BookError> {
        let stored: v1::SubscriberDecision =
            copydesk_proto::decode(record.payload.clone()).map_err(|_| BookError::Unreadable)?;
        if stored.schema_version > SCHEMA_VERSION {
            return Err(BookError::Unreadable);
        }
        let kind = stored.event.and_then(|event| event.kind);
        self.evolve(record.sequence, kind.ok_or(BookError::Unreadable)?)
    }

    /// Applies an event once, whichever way it comes.
    fn evolve(&self, sequence: Sequence, kind: Kind) -> Result<(), BookError> {
        let mut known = self.known();
        if sequence <= known.last {
            return Ok(());
        }
        let fares_only = matches!(kind, Kind::Failing(_));
        known.book.evolve(kind)?;
        known.last = sequence;
        if !fares_only {
            let live = self.built(&known.book)?;
            self.live.store(Arc::new(live));
            self.changed.send_replace(());
            info!(subscribers = self.live.load().members.len(), "subscribers have changed");
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subject() -> Subject {
    Subject::new(SUBJECT).expect("a constant of plain tokens")
}
