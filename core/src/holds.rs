//! What an operator has put on hold. Events keep being accepted; work waits.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use copydesk_proto::{
    EnrichmentId, PostKey, ProviderId, RouteId, SiteId, SourceId, SubscriberId, Timestamp,
};

use crate::limits::{HOLD_TEXT_CHARS_MAX, HOLDS_MAX};

/// What a hold covers. Its text form is `kind:name`, or `all`: `site:news`, `post:news/42`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HoldScope {
    /// Everything.
    All,
    /// All posts of a site.
    Site(SiteId),
    /// Everything a source sent.
    Source(SourceId),
    /// Every call to a provider.
    Provider(ProviderId),
    /// One enrichment, wherever a route asks for it.
    Enrichment(EnrichmentId),
    /// Everything that took a route.
    Route(RouteId),
    /// Every notice to a subscriber.
    Subscriber(SubscriberId),
    /// One post.
    Post(PostKey),
    /// Every write to WordPress; posts are read and enriched all the same.
    Deliveries,
}

/// The text names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a hold is on all, deliveries, site:<name>, source:<name>, provider:<name>, enrichment:<name>, \
     route:<name>, subscriber:<name> or post:<site>/<id>"
)]
pub struct UnknownScope;

impl fmt::Display for HoldScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Site(id) => write!(f, "site:{id}"),
            Self::Source(id) => write!(f, "source:{id}"),
            Self::Provider(id) => write!(f, "provider:{id}"),
            Self::Enrichment(id) => write!(f, "enrichment:{id}"),
            Self::Route(id) => write!(f, "route:{id}"),
            Self::Subscriber(id) => write!(f, "subscriber:{id}"),
            Self::Post(key) => write!(f, "post:{key}"),
            Self::Deliveries => f.write_str("deliveries"),
        }
    }
}

impl FromStr for HoldScope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        fn id<T: FromStr>(name: &str) -> Result<T, UnknownScope> {
            name.parse().map_err(|_| UnknownScope)
        }
        if text == "all" {
            return Ok(Self::All);
        }
        if text == "deliveries" {
            return Ok(Self::Deliveries);
        }
        let (kind, name) = text.split_once(':').ok_or(UnknownScope)?;
        match kind {
            "site" => id(name).map(Self::Site),
            "source" => id(name).map(Self::Source),
            "provider" => id(name).map(Self::Provider),
            "enrichment" => id(name).map(Self::Enrichment),
            "route" => id(name).map(Self::Route),
            "subscriber" => id(name).map(Self::Subscriber),
            "post" => id(name).map(Self::Post),
            _ => Err(UnknownScope),
        }
    }
}

/// One hold, and who wanted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What it covers.
    pub scope: HoldScope,
    /// Who put it on.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

impl Hold {
    /// A hold; `by` and `reason` are clipped to [`HOLD_TEXT_CHARS_MAX`] characters.
    #[must_use]
    pub fn new(scope: HoldScope, by: &str, reason: &str, at: Timestamp) -> Self {
        let clip = |text: &str| text.chars().take(HOLD_TEXT_CHARS_MAX).collect();
        Self { scope, by: clip(by), reason: clip(reason), at }
    }
}

/// No room for another hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{HOLDS_MAX} holds are in force; release some, or hold the whole site")]
pub struct TooManyHolds;

/// The holds in force, at most one per scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holds {
    by_scope: BTreeMap<HoldScope, Hold>,
}

impl Holds {
    /// Puts a hold on. `false` when its scope was held before: the first hold stands.
    ///
    /// # Errors
    /// [`TooManyHolds`] at [`HOLDS_MAX`].
    pub fn insert(&mut self, hold: Hold) -> Result<bool, TooManyHolds> {
        if self.by_scope.contains_key(&hold.scope) {
            return Ok(false);
        }
        if self.by_scope.len() >= HOLDS_MAX {
            return Err(TooManyHolds);
        }
        self.by_scope.insert(hold.scope.clone(), hold);
        Ok(true)
    }

    /// Takes a hold off.
    pub fn remove(&mut self, scope: &HoldScope) -> Option<Hold> {
        self.by_scope.remove(scope)
    }

    /// The first hold that stands in the way of work with these scopes. The caller lists every
    /// scope the work belongs to, [`HoldScope::All`] included.
    #[must_use]
    pub fn blocks(&self, scopes: &[HoldScope]) -> Option<&Hold> {
        scopes.iter().find_map(|scope| self.by_scope.get(scope))
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_scope.is_empty()
    }

    /// The holds, ordered by scope.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.by_scope.values()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use super::*;

    fn scope(text: &str) -> HoldScope {
        text.parse().unwrap()
    }

    fn hold(text: &str) -> Hold {
        Hold::new(scope(text), "ann", "import", Timestamp(7))
    }

    #[test]
    fn a_scope_reads_as_it_prints() {
        for text in [
            "all",
            "deliveries",
            "site:news",
            "source:news",
            "provider:main",
            "enrichment:summary",
            "route:r1",
            "subscriber:crm",
            "post:news/42",
            "post:news/to-crm-42",
            "post:news/xaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(scope(text).to_string(), text);
        }
        for text in [
            "",
            "ALL",
            "site",
            "site:",
            "site:News",
            "site:a.b",
            "news",
            "post:news",
            "post:news/0",
            "post:news/x",
            "queue:a",
            "site:a:b",
            "site:*",
            " all",
        ] {
            assert_eq!(text.parse::<HoldScope>(), Err(UnknownScope), "{text}");
        }
    }

    #[test]
    fn a_hold_blocks_its_scope_and_no_other() {
        let mut holds = Holds::default();
        assert!(holds.insert(hold("site:news")).unwrap());
        let work = |texts: &[&str]| texts.iter().map(|t| scope(t)).collect::<Vec<_>>();
        let blocked = |holds: &Holds, texts: &[&str]| holds.blocks(&work(texts)).cloned();
        assert_eq!(blocked(&holds, &["all", "site:news", "post:news/1"]), Some(hold("site:news")));
        assert_eq!(blocked(&holds, &["all", "site:blog", "source:news"]), None);
        assert_eq!(blocked(&holds, &[]), None);

        assert_eq!(holds.remove(&scope("site:news")), Some(hold("site:news")));
        assert!(holds.is_empty());
        assert_eq!(blocked(&holds, &["site:news"]), None);
    }

    #[test]
    fn the_first_hold_of_a_scope_stands() {
        let mut holds = Holds::default();
        assert!(holds.insert(hold("all")).unwrap());
        let later = Hold::new(HoldScope::All, "bob", "again", Timestamp(9));
        assert!(!holds.insert(later).unwrap());
        assert_eq!(holds.iter().map(|h| h.by.as_str()).collect::<Vec<_>>(), ["ann"]);
    }

    #[test]
    fn holds_and_their_texts_are_bounded() {
        let mut holds = Holds::default();
        for id in 1..=HOLDS_MAX {
            holds.insert(hold(&format!("post:news/{id}"))).unwrap();
        }
        assert_eq!(holds.insert(hold("all")), Err(TooManyHolds));
        assert_eq!(holds.insert(hold("post:news/1")), Ok(false));
        let long = Hold::new(HoldScope::All, &"é".repeat(500), "", Timestamp(0));
        assert_eq!(long.by.chars().count(), HOLD_TEXT_CHARS_MAX);
    }
}
