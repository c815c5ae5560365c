//! `[subscribers.<name>]`: who is told how events end.

use std::path::PathBuf;

use copydesk_core::subscribers::{MatchSpec, Spec};
use copydesk_eventlog::jetstream::OutgoingSubject;
use copydesk_proto::{SiteId, SubscriberId};
use serde::Deserialize;
use url::Url;

use super::shape::Match;
use super::source::SourceSecret;
use super::store::Store;
use super::values::{NatsServers, SecretRef, from_text, http_url_opt};

/// `[subscribers.<name>]`: one that is told; an address, or one kind of sink.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subscriber {
    /// Where notices are posted.
    #[serde(deserialize_with = "http_url_opt")]
    pub url: Option<Url>,
    /// Its live secrets, newest first; all of them sign.
    pub secrets: Vec<SourceSecret>,
    /// Instead of an address: the folder of the files that notices are lines of.
    pub folder: Option<PathBuf>,
    /// Instead: the bucket of the files that notices are lines of.
    pub store: Option<Store>,
    /// Instead: the NATS subject that notices are messages on.
    pub nats: Option<Nats>,
    /// Which events; `*` for every one.
    pub events: Vec<String>,
    /// Of which sites; empty: of all.
    pub sites: Vec<SiteId>,
    /// What a notice's data must hold; all of these.
    #[serde(rename = "match")]
    pub matches: Vec<Match>,
    /// What of a notice's data it gets; empty: all but the event's own payload.
    pub fields: Vec<String>,
    /// Notices on their way at once.
    pub concurrency: u16,
}

/// `nats` of a subscriber: a subject that a stream keeps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// The servers.
    #[serde(deserialize_with = "from_text")]
    pub url: NatsServers,
    /// The subject.
    #[serde(deserialize_with = "from_text")]
    pub subject: OutgoingSubject,
    /// A NATS `.creds` file.
    pub credentials: Option<SecretRef>,
}

impl Default for Subscriber {
    fn default() -> Self {
        Self {
            url: None,
            secrets: Vec::new(),
            folder: None,
            store: None,
            nats: None,
            events: vec!["*".to_owned()],
            sites: Vec::new(),
            matches: Vec::new(),
            fields: Vec::new(),
            concurrency: 8,
        }
    }
}

impl Subscriber {
    /// What it wants, in words.
    #[must_use]
    pub fn spec(&self, id: &SubscriberId) -> Spec {
        Spec {
            id: id.clone(),
            events: self.events.clone(),
            sites: self.sites.clone(),
            matches: self.matches.iter().map(spec_of).collect(),
            fields: self.fields.clone(),
        }
    }
}

/// A match in words. Several tests in one have been refused.
fn spec_of(matches: &Match) -> MatchSpec {
    let named = [
        ("is", &matches.is),
        ("startswith", &matches.startswith),
        ("endswith", &matches.endswith),
        ("contains", &matches.contains),
        ("like", &matches.like),
    ];
    let test = named.into_iter().find_map(|(name, text)| Some((name, text.clone()?)));
    let (test, text) = test.unwrap_or(("any", String::new()));
    MatchSpec { field: matches.field.clone(), test: test.to_owned(), text }
}
