//! What the actors of one node share: the log, the plan of work, the other actors.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use copydesk_core::budget::{BudgetName, Caps};
use copydesk_core::content::Field;
use copydesk_core::holds::Holds;
use copydesk_core::post::{Policy, RoutePlan, Tries};
use copydesk_core::routes::RouteTable;
use copydesk_core::webhook::{Payload, SourceRules};
use copydesk_eventlog::{EventLog, SnapshotStore};
use copydesk_proto::{EnrichmentId, PostKey, ProviderId, RouteId, SiteId, SourceId, Timestamp};
use ractor::ActorRef;
use tokio::sync::Semaphore;

use crate::alerts::Alerts;
use crate::cluster::Partitions;
use crate::delivery::DeliveryMessage;
use crate::enrichment::EnrichmentMessage;
use crate::enrichment::provider::Provider;
use crate::enrichment::recipe::Recipe;
use crate::ledger::LedgerMessage;
use crate::records::Intake;
use crate::sequencer::Remembered;
use crate::subscribers::{self, Roster};
use crate::telemetry::Telemetry;
use crate::treasury::TreasuryMessage;

/// Shared by all actors of a node; no lock in it is held for longer than a look-up.
pub struct World {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Saved states; may be lost at any time.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// Which route an event takes.
    pub routes: RouteTable,
    /// What each route asks for.
    pub plans: Arc<HashMap<RouteId, RoutePlan>>,
    /// How each source's payloads are read.
    pub sources: HashMap<SourceId, Arc<SourceRules>>,
    /// What each enrichment is.
    pub enrichments: HashMap<EnrichmentId, EnrichmentSettings>,
    /// The AI services.
    pub providers: HashMap<ProviderId, ActorRef<EnrichmentMessage>>,
    /// Who takes over while a provider is not there; no circles.
    pub fallbacks: HashMap<ProviderId, ProviderId>,
    /// What each AI service asks for its answers.
    pub services: HashMap<ProviderId, Arc<dyn Provider>>,
    /// Sets money aside for AI calls.
    pub treasury: ActorRef<TreasuryMessage>,
    /// Keeps the books of what AI calls cost.
    pub ledger: ActorRef<LedgerMessage>,
    /// The caps as configured.
    pub caps: HashMap<BudgetName, Caps>,
    /// When caps were last changed, in milliseconds since 1970: at the start, or by an operator.
    pub budgets_changed_at: AtomicI64,
    /// Tells people what needs them.
    pub alerts: Alerts,
    /// The WordPress sites.
    pub sites: HashMap<SiteId, ActorRef<DeliveryMessage>>,
    /// Those of them where editors may see suggestions, and how events ended.
    pub suggesting: HashSet<SiteId>,
    /// Who is told how events end.
    pub subscribers: Arc<Roster>,
    /// What operators hold at present.
    pub holds: ArcSwap<Holds>,
    /// How tries are spaced and counted.
    pub tries: Tries,
    /// Which partitions this node works on, and how many of their events wait. Events that were
    /// there when a partition came join as sequencers look at them; later ones count at once.
    pub partitions: Arc<Partitions>,
    /// What is known of posts without reading the log.
    pub remembered: Remembered,
    /// One for each intake record that may be in memory; the dispatcher lends them out.
    pub credits: Arc<Semaphore>,
    /// The credits there are in all.
    pub credits_max: usize,
    /// The log, as messaging systems are called in spans.
    pub messaging_system: &'static str,
    /// Random per start: tells this process's records from another's.
    pub owner: u64,
    /// Where spans and counts go.
    pub telemetry: Telemetry,
}

/// What an enrichment is made with.
#[derive(Debug, Clone)]
pub struct EnrichmentSettings {
    /// The recipe.
    pub recipe: Recipe,
    /// Where the result goes.
    pub field: Field,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("log", &self.log).finish_non_exhaustive()
    }
}

impl World {
    /// Wall-clock time; the shell's only clock for decisions.
    #[must_use]
    pub fn now() -> Timestamp {
        #[cfg(test)]
        if let Some(now) = crate::sim::clock::wall() {
            return now;
        }
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    /// What decisions about a post are given to know at present.
    #[must_use]
    pub fn policy(&self, key: &PostKey) -> Policy {
        let (plans, closed) = match key.subscriber().map(|id| self.subscribers.admits(id)) {
            None => (Arc::clone(&self.plans), None),
            Some((true, closed)) => (subscribers::plans(), closed),
            // What waits for one that was removed ends as work of a route that was.
            Some((false, _)) => (Arc::default(), None),
        };
        Policy {
            key: key.clone(),
            plans,
            holds: self.holds.load_full(),
            budgets_changed_at: Timestamp(self.budgets_changed_at.load(Ordering::Relaxed)),
            tries: self.tries,
            suggests: self.suggesting.contains(&key.site) && key.subscriber().is_none(),
            subscriptions: self.subscribers.subscriptions(),
            closed,
        }
    }

    /// The route a stored webhook takes today; `None` when its source is no longer configured.
    #[must_use]
    pub fn route_again(&self, intake: &Intake) -> Option<Option<RouteId>> {
        let rules = self.sources.get(&intake.source).filter(|rules| !rules.disabled)?;
        let payload = Payload::read(&rules.payload, &intake.body).ok()?;
        let route = self.routes.route_for(&intake.source, &payload.event_type, &payload.fields);
        Some(route.map(|route| route.id.clone()))
    }

    /// Accepted events that have not ended, of the posts this node works on.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.partitions.backlog()
    }
}
