//! What the log knows of subscribers: those that operators added, who is disabled, who fails.

use std::collections::{BTreeMap, VecDeque};

use copydesk_core::limits::SUBSCRIBERS_MAX;
use copydesk_core::subscribers::{MatchSpec, Spec, SpecError};
use copydesk_eventlog::{AppendError, ReadError};
use copydesk_proto::{SubscriberId, Timestamp, v1};
use url::Url;
use v1::subscriber_event::Kind;

/// Why subscribers cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The log did not take the event.
    #[error("the log did not take it")]
    Append(#[source] AppendError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The history holds what this release does not know.
    #[error("the history of the subscribers is not readable by this release")]
    Unreadable,
    /// There is one of this name.
    #[error("there is a subscriber of this name")]
    Exists,
    /// There is none of this name.
    #[error("there is no such subscriber")]
    NotFound,
    /// It stands in the configuration file.
    #[error("this subscriber stands in the configuration file; change it there")]
    Configured,
    /// No room.
    #[error("there are {SUBSCRIBERS_MAX} subscribers; remove one first")]
    TooMany,
    /// A part of it cannot be used.
    #[error("{0}")]
    Spec(#[from] SpecError),
    /// Its address cannot be used.
    #[error(transparent)]
    Outlet(#[from] super::OutletError),
}

/// A key of an added subscriber; what it is, is derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// Until when it signs; `None`: until it is replaced.
    pub until: Option<Timestamp>,
}

/// A subscriber that an operator added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// What it wants.
    pub spec: Spec,
    /// Where it is.
    pub url: Url,
    /// Its keys, newest first.
    pub keys: VecDeque<Key>,
    /// Who added it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Who disabled a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disabled {
    /// Who; `copydesk` itself for one that failed or said 410.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The fold of the subscribers' subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Book {
    pub(super) added: BTreeMap<SubscriberId, Added>,
    pub(super) disabled: BTreeMap<SubscriberId, Disabled>,
    pub(super) failing: BTreeMap<SubscriberId, Timestamp>,
}

/// Keys of one subscriber that sign at once; the oldest goes.
const KEYS_MAX: usize = 4;

impl Book {
    pub(super) fn evolve(&mut self, kind: Kind) -> Result<(), BookError> {
        let named = |id: &str| id.parse::<SubscriberId>().map_err(|_| BookError::Unreadable);
        match kind {
            Kind::Added(added) => {
                let id = named(&added.id)?;
                self.disabled.remove(&id);
                self.failing.remove(&id);
                self.added.insert(id, read(added)?);
            }
            Kind::Removed(removed) => {
                let id = named(&removed.id)?;
                self.added.remove(&id);
                self.disabled.remove(&id);
                self.failing.remove(&id);
            }
            Kind::Switched(v1::SubscriberSwitched { id, enabled, by, reason, at_ms }) => {
                let id = named(&id)?;
                self.failing.remove(&id);
                if enabled {
                    self.disabled.remove(&id);
                } else {
                    self.disabled.insert(id, Disabled { by, reason, at: Timestamp(at_ms) });
                }
            }
            Kind::Rotated(rotated) => {
                if let Some(added) = self.added.get_mut(&named(&rotated.id)?) {
                    let until = Some(Timestamp(rotated.others_until_ms));
                    added.keys.iter_mut().for_each(|key| key.until = key.until.or(until));
                    added.keys.push_front(Key { id: rotated.key_id, until: None });
                    added.keys.truncate(KEYS_MAX);
                }
            }
            Kind::Failing(v1::SubscriberFailing { id, since_ms, at_ms: _ }) => {
                let id = named(&id)?;
                match since_ms {
                    Some(since) => self.failing.insert(id, Timestamp(since)),
                    None => self.failing.remove(&id),
                };
            }
        }
        Ok(())
    }
}

fn read(added: v1::SubscriberAdded) -> Result<Added, BookError> {
    let matches =
        added.matches.into_iter().map(|m| MatchSpec { field: m.field, test: m.test, text: m.text });
    let sites = added.sites.iter().map(|site| site.parse());
    Ok(Added {
        spec: Spec {
            id: added.id.parse().map_err(|_| BookError::Unreadable)?,
            events: added.events,
            sites: sites.collect::<Result<_, _>>().map_err(|_| BookError::Unreadable)?,
            matches: matches.collect(),
            fields: added.fields,
        },
        url: Url::parse(&added.url).map_err(|_| BookError::Unreadable)?,
        keys: VecDeque::from([Key { id: added.key_id, until: None }]),
        by: added.by,
        reason: added.reason,
        at: Timestamp(added.at_ms),
    })
}

/// The event that adds a subscriber.
pub(super) fn write(added: &Added) -> v1::SubscriberAdded {
    let matches = added.spec.matches.iter().map(|m| v1::SubscriberMatch {
        field: m.field.clone(),
        test: m.test.clone(),
        text: m.text.clone(),
    });
    v1::SubscriberAdded {
        id: added.spec.id.to_string(),
        url: added.url.to_string(),
        events: added.spec.events.clone(),
        sites: added.spec.sites.iter().map(ToString::to_string).collect(),
        matches: matches.collect(),
        fields: added.spec.fields.clone(),
        key_id: added.keys.front().map(|key| key.id.clone()).unwrap_or_default(),
        by: added.by.clone(),
        reason: added.reason.clone(),
        at_ms: added.at.0,
    }
}
