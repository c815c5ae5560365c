//! A node: every actor of one process, started in order and stopped in order.

mod observe;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
pub(crate) mod testing;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use arc_swap::ArcSwap;
use copydesk_core::budget::{BudgetName, Caps};
use copydesk_core::outbound::Rules;
use copydesk_core::post::{RoutePlan, Tries};
use copydesk_core::routes::RouteTable;
use copydesk_core::webhook::SourceRules;
use copydesk_eventlog::{EventLog, ReadError, SnapshotStore, crash_point};
use copydesk_proto::{EnrichmentId, ProviderId, RouteId, SiteId, SourceId};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};

use crate::alerts::{AlertSettings, Alerts};
use crate::archive::{self, Archive};
use crate::cluster::{Cluster, ClusterSettings, Keeper, Partitions, Sharers, follow_neighbours};
use crate::delivery::{DeliveryActor, DeliveryMessage, Site, SiteClient};
use crate::desk::{Desk, HoldError, load_office};
use crate::dispatcher::recovery::{self, Recovery, RecoveryError};
use crate::dispatcher::{self, Dispatcher, DispatcherMessage};
use crate::enrichment::{EnrichmentActor, EnrichmentArguments, EnrichmentMessage};
use crate::ledger::{self, LedgerActor, LedgerMessage};
use crate::receiver::{Admission, Receiver, ReceiverActor};
use crate::records::PARTITIONS;
use crate::schedule::{ScheduleSettings, Scheduler};
use crate::sequencer::Remembered;
use crate::subscribers::{self, BookError, Roster};
use crate::telemetry::Telemetry;
use crate::treasury::{Opening, TreasuryActor, TreasuryMessage};
use crate::world::{EnrichmentSettings, World};
use crate::{pull, retention};

/// How a node is set up. Everything in it has been checked.
pub struct Settings {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Saved states.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// Who may send.
    pub sources: HashMap<SourceId, Arc<SourceRules>>,
    /// Which route an event takes.
    pub routes: RouteTable,
    /// What each route asks for.
    pub plans: HashMap<RouteId, RoutePlan>,
    /// What each enrichment is.
    pub enrichments: HashMap<EnrichmentId, EnrichmentSettings>,
    /// The AI services, each with its limits.
    pub providers: Vec<EnrichmentArguments>,
    /// Who takes over while a provider is not there; no circles.
    pub fallbacks: HashMap<ProviderId, ProviderId>,
    /// The WordPress sites.
    pub sites: Vec<Site>,
    /// What comes in by itself, and when.
    pub schedules: Vec<ScheduleSettings>,
    /// The caps of budgets, as configured.
    pub caps: Vec<(BudgetName, Caps)>,
    /// Who is told about what needs a person.
    pub alerts: AlertSettings,
    /// The configuration's subscribers.
    pub subscribers: Vec<subscribers::Settings>,
    /// Which addresses subscribers that operators add may have.
    pub outbound: Rules,
    /// What their keys are made of.
    pub subscriber_key: [u8; 32],
    /// Sites of a simulation, which need no network.
    #[cfg(test)]
    pub(crate) stand_ins: HashMap<SiteId, ActorRef<DeliveryMessage>>,
    /// How tries are spaced and counted.
    pub tries: Tries,
    /// Bounds.
    pub bounds: Bounds,
    /// How long finished history is kept.
    pub keep: Duration,
    /// Where payloads are kept for good.
    pub archive: Option<Archive>,
    /// The other nodes on this log; `None`: there are none.
    pub cluster: Option<ClusterSettings>,
    /// Where spans and counts go.
    pub telemetry: Telemetry,
}

/// What a node holds in memory at most.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Posts at work at once; each costs about 10 KB and the text it works on.
    pub posts_busy_max: usize,
    /// Sequencers at rest that are kept for the next event.
    pub posts_idle_max: usize,
    /// Events accepted and not ended, beyond which the receivers refuse.
    pub backlog_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { posts_busy_max: 2_000, posts_idle_max: 200, backlog_max: 100_000 }
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be read.
    #[error("the unfinished posts could not be found")]
    Recovery(#[from] RecoveryError),
    /// The desk's holds cannot be read.
    #[error("the holds could not be read")]
    Holds(#[from] HoldError),
    /// The books cannot be read.
    #[error("the books of what AI calls cost could not be read")]
    Books(#[from] ReadError),
    /// The subscribers cannot be read or set up.
    #[error("the subscribers could not be set up")]
    Subscribers(#[from] BookError),
    /// Alerts cannot be sent.
    #[error("alerts cannot be sent")]
    Alerts(#[from] reqwest::Error),
    /// A site's settings are no use.
    #[error("the site {0} cannot be reached with its settings")]
    Site(SiteId, #[source] crate::delivery::SiteError),
    /// An actor did not start.
    #[error("an actor did not start")]
    Actor(#[from] SpawnErr),
}

/// How long a start waits for its first partitions: those of a node that was killed come after 10 s.
const JOIN_MAX: Duration = Duration::from_secs(30);

/// How long a hand-over may take; what is left then, the others find when they hold this node dead.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// How long a stop waits for the node's entry to be taken away, and for the books to be written down.
const END_MAX: Duration = Duration::from_secs(5);

/// Watches the actors that live as long as the node. They keep their limits, breakers and queues
/// in memory only, so a broken one is not patched up: the node stops, and what was at work goes on
/// from the log at the next start. Sequencers are the dispatcher's, which starts them again.
struct Supervisor;

impl Actor for Supervisor {
    type Msg = ();
    type State = watch::Sender<bool>;
    type Arguments = watch::Sender<bool>;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        failed: watch::Sender<bool>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(failed)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        failed: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, reason) = event {
            error!(%reason, "a permanent actor failed; the node stops");
            failed.send_replace(true);
        }
        Ok(())
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    /// Each source's way in.
    pub receivers: HashMap<SourceId, Receiver>,
    /// The operators' side.
    pub desk: Desk,
    /// The nodes that share the log; `None`: this one is alone.
    pub cluster: Option<Arc<Cluster>>,
    dispatcher: ActorRef<DispatcherMessage>,
    world: Arc<World>,
    failed: watch::Receiver<bool>,
    stopping: CancellationToken,
}

impl Node {
    /// Starts the actors; when it returns, webhooks can be taken and unfinished work goes on.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let Settings { log, snapshots, sources, routes, plans, enrichments, .. } = settings;
        // Meanwhile: the books read another part of the log, and as long.
        let books = AbortOnDropHandle::new(tokio::spawn({
            let log = Arc::clone(&log);
            async move { ledger::open(&*log).await }
        }));
        let remembered = Remembered::default();
        let (partitions, recovery) = match &settings.cluster {
            None => alone(&*log, &remembered).await?,
            Some(_) => shared(&*log, &remembered).await?,
        };
        let partitions = Arc::new(partitions);
        let (office, _) = load_office(&*log).await?;
        let books = books.await.map_err(|e| ReadError::Unavailable(e.to_string()))??;
        let (failure, failed) = watch::channel(false);
        let (supervisor, _) = Actor::spawn(None, Supervisor, failure.clone()).await?;
        let supervisor = supervisor.get_cell();
        let alerts = Alerts::start(settings.alerts)?;
        let owner = rand::random();
        let roster = Roster::open(
            Arc::clone(&log),
            alerts.clone(),
            settings.subscribers,
            settings.outbound,
            settings.subscriber_key,
        )
        .await?;
        let (treasury, ledger) = start_books(
            &log,
            books,
            office.caps(settings.caps.clone()),
            &alerts,
            (owner, Arc::clone(&partitions)),
            &supervisor,
        )
        .await?;
        let services = settings.providers.iter().map(|p| (p.id.clone(), Arc::clone(&p.provider)));
        let services = services.collect();
        let telemetry = settings.telemetry;
        let sharers = Sharers::of(Arc::clone(&partitions));
        let shared = (&telemetry, &sharers);
        let providers = start_providers(settings.providers, shared, &supervisor).await?;
        let mut sites = start_sites(settings.sites, shared, &supervisor).await?;
        let clients = std::mem::take(&mut sites.clients);
        #[cfg(test)]
        sites.actors.extend(settings.stand_ins);
        let bounds = settings.bounds;
        let by_nats = log.durability().profile.starts_with("nats");
        let messaging_system = if by_nats { "nats" } else { "copydesk_log" };
        let world = Arc::new(World {
            log,
            snapshots,
            routes,
            plans: Arc::new(plans),
            sources,
            enrichments,
            providers,
            fallbacks: settings.fallbacks,
            services,
            treasury,
            ledger,
            caps: settings.caps.into_iter().collect(),
            budgets_changed_at: AtomicI64::new(World::now().0),
            alerts,
            sites: sites.actors,
            suggesting: sites.suggesting,
            subscribers: roster,
            holds: ArcSwap::from_pointee(office.holds),
            tries: settings.tries,
            partitions,
            remembered,
            credits: Arc::new(Semaphore::new(bounds.posts_busy_max)),
            credits_max: bounds.posts_busy_max,
            messaging_system,
            owner,
            telemetry,
        });
        observe::observe(&world);
        let end = recovery.end;
        let start = dispatcher::Start {
            world: Arc::clone(&world),
            recovery,
            posts_busy_max: bounds.posts_busy_max,
            posts_idle_max: bounds.posts_idle_max,
        };
        let (dispatcher, _) =
            Actor::spawn_linked(None, Dispatcher, start, supervisor.clone()).await?;
        let mut receivers = HashMap::new();
        for (id, rules) in &world.sources {
            let admission =
                Admission { world: Arc::clone(&world), backlog_max: bounds.backlog_max };
            let (actor, _) =
                Actor::spawn_linked(None, ReceiverActor, admission, supervisor.clone()).await?;
            let telemetry = world.telemetry.clone();
            receivers.insert(id.clone(), Receiver::new(Arc::clone(rules), actor, telemetry));
        }
        let desk = Desk::new(Arc::clone(&world), dispatcher.clone());
        let stopping = CancellationToken::new();
        let cluster = match settings.cluster {
            None => {
                desk.resume_jobs().await?;
                None
            }
            Some(cluster) => {
                let neighbours = follow_neighbours(Arc::clone(&world), end, dispatcher.clone());
                tokio::spawn(stopping.clone().run_until_cancelled_owned(neighbours));
                Some(join(cluster, &desk, &dispatcher, failure).await)
            }
        };
        crash_point("node.recovered");
        let following = Arc::clone(&world.subscribers).follow();
        tokio::spawn(stopping.clone().run_until_cancelled_owned(following));
        let (mut changes, told) = (world.subscribers.changes(), dispatcher.clone());
        // What waits for one that is enabled, here or on another node, looks again.
        let telling = async move {
            while changes.changed().await.is_ok() {
                let _stopped = told.cast(DispatcherMessage::HoldsChanged);
            }
        };
        tokio::spawn(stopping.clone().run_until_cancelled_owned(telling));
        let archives = settings.archive.is_some();
        let sweeps = retention::sweep_for_ever(desk.clone(), settings.keep, archives);
        tokio::spawn(stopping.clone().run_until_cancelled_owned(sweeps));
        for schedule in settings.schedules {
            let receiver = receivers.get(&schedule.source).cloned();
            let site = receiver.as_ref().map(Receiver::site);
            let client = clients.iter().find(|client| Some(&client.site().id) == site).cloned();
            let Some((receiver, client)) = receiver.zip(client) else { continue };
            let scheduler = Scheduler::new(desk.clone(), receiver, client, schedule);
            tokio::spawn(stopping.clone().run_until_cancelled_owned(scheduler.run_for_ever()));
        }
        for client in clients {
            let Some(every) = client.site().pull else { continue };
            let of_site = |receiver: &&Receiver| *receiver.site() == client.site().id;
            let receivers = receivers.values().filter(of_site).cloned().collect();
            let partitions = Arc::clone(&world.partitions);
            let pulling = pull::pull_for_ever(client, receivers, every, partitions);
            tokio::spawn(stopping.clone().run_until_cancelled_owned(pulling));
        }
        if let Some(archive) = settings.archive {
            let archiving = archive::archive_for_ever(Arc::clone(&world), archive);
            tokio::spawn(stopping.clone().run_until_cancelled_owned(archiving));
        }
        let watch = crate::watch::watch_for_ever(Arc::clone(&world), bounds.backlog_max);
        tokio::spawn(stopping.clone().run_until_cancelled_owned(watch));
        Ok(Self { receivers, desk, cluster, dispatcher, world, failed, stopping })
    }

    /// Returns when a permanent actor has failed: stop the process and start it again.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        // The sender lives in the supervisor; without it there is nobody left to report.
        let _ = failed.wait_for(|failed| *failed).await;
    }

    /// Hands this node's partitions over to the nodes that stay, if there are any: within a second,
    /// whatever is under way.
    pub async fn hand_over(&self, limit: Duration) {
        if let Some(cluster) = &self.cluster {
            cluster.hand_over(limit.min(HAND_OVER_MAX)).await;
        }
    }

    /// Finishes what is at work within `limit`, then stops. What is not finished by then goes on
    /// at the next start. `false` when the limit was reached.
    pub async fn stop(self, limit: Duration) -> bool {
        self.hand_over(limit).await;
        self.stopping.cancel();
        let (reply, drained) = oneshot::channel();
        let asked = self.dispatcher.cast(DispatcherMessage::Drain(reply)).is_ok();
        let in_time = asked && tokio::time::timeout(limit, drained).await.is_ok();
        self.dispatcher.stop(None);
        self.world.sites.values().for_each(|site| site.stop(None));
        self.world.providers.values().for_each(|provider| provider.stop(None));
        // Else the next start folds what came since they were last written down. It can.
        if self.world.ledger.cast(LedgerMessage::Book).is_ok() {
            let _late = self.world.ledger.drain_and_wait(Some(END_MAX)).await;
        }
        self.world.snapshots.flush();
        if let Some(cluster) = &self.cluster {
            cluster.end(END_MAX).await;
        }
        self.world.log.close().await;
        in_time
    }
}

/// All partitions are this node's, and their unfinished posts are known.
async fn alone(
    log: &dyn EventLog,
    remembered: &Remembered,
) -> Result<(Partitions, Recovery), RecoveryError> {
    let partitions = Partitions::all();
    let recovery = recovery::recover(log, remembered, None).await?;
    for partition in partitions.held() {
        let (backlog, dead) = recovery.counts.get(&partition).copied().unwrap_or_default();
        partitions.looked_through(partition, recovery.end, backlog, dead);
    }
    Ok((partitions, recovery))
}

/// No partition is this node's yet: each is looked through when it comes.
async fn shared(
    log: &dyn EventLog,
    remembered: &Remembered,
) -> Result<(Partitions, Recovery), RecoveryError> {
    let partitions = Partitions::leased();
    (0..).take_while(|p| u64::from(*p) < PARTITIONS).for_each(|p| remembered.forget(p));
    let recovery = Recovery { end: log.last_sequence().await?, ..Recovery::default() };
    Ok((partitions, recovery))
}

/// Joins the other nodes; returns once what came with the first turn has been looked through.
async fn join(
    settings: ClusterSettings,
    desk: &Desk,
    dispatcher: &ActorRef<DispatcherMessage>,
    failure: watch::Sender<bool>,
) -> Arc<Cluster> {
    let cluster = Arc::new(Cluster::new(settings.name.clone()));
    let keeper = Keeper::new(settings, Arc::clone(&cluster), desk.clone(), dispatcher.clone());
    tokio::spawn(async move {
        if keeper.run().await {
            failure.send_replace(true);
        }
    });
    if tokio::time::timeout(JOIN_MAX, desk.world().partitions.settled()).await.is_err() {
        warn!("no partition has come to this node yet; it takes webhooks all the same");
    }
    cluster
}

async fn start_books(
    log: &Arc<dyn EventLog>,
    books: ledger::Opened,
    caps: Vec<(BudgetName, Caps)>,
    alerts: &Alerts,
    node: (u64, Arc<Partitions>),
    supervisor: &ActorCell,
) -> Result<(ActorRef<TreasuryMessage>, ActorRef<LedgerMessage>), StartError> {
    let sharers = Sharers::of(Arc::clone(&node.1));
    let opening = Opening { caps, spent: books.spent.clone(), alerts: alerts.clone(), sharers };
    let (treasury, _) =
        Actor::spawn_linked(None, TreasuryActor, opening, supervisor.clone()).await?;
    let start = (Arc::clone(log), books, treasury.clone(), node);
    let (ledger, _) = Actor::spawn_linked(None, LedgerActor, start, supervisor.clone()).await?;
    Ok((treasury, ledger))
}

async fn start_providers(
    providers: Vec<EnrichmentArguments>,
    (telemetry, sharers): (&Telemetry, &Sharers),
    supervisor: &ActorCell,
) -> Result<HashMap<ProviderId, ActorRef<EnrichmentMessage>>, StartError> {
    let mut actors = HashMap::new();
    for mut start in providers {
        (start.telemetry, start.sharers) = (telemetry.clone(), sharers.clone());
        let id = start.id.clone();
        let (actor, _) =
            Actor::spawn_linked(None, EnrichmentActor, start, supervisor.clone()).await?;
        actors.insert(id, actor);
    }
    Ok(actors)
}

async fn start_sites(
    sites: Vec<Site>,
    (telemetry, sharers): (&Telemetry, &Sharers),
    supervisor: &ActorCell,
) -> Result<Sites, StartError> {
    let mut started = Sites::default();
    for mut site in sites {
        (site.telemetry, site.sharers) = (telemetry.clone(), sharers.clone());
        let id = site.id.clone();
        if site.kind.takes_suggestions() {
            started.suggesting.insert(id.clone());
        }
        let client = SiteClient::new(site).map_err(|error| StartError::Site(id.clone(), error))?;
        let client = Arc::new(client);
        started.clients.push(Arc::clone(&client));
        let (actor, _) =
            Actor::spawn_linked(None, DeliveryActor, client, supervisor.clone()).await?;
        started.actors.insert(id, actor);
    }
    Ok(started)
}

/// The sites' actors, and what else the node needs of the sites.
#[derive(Default)]
struct Sites {
    actors: HashMap<SiteId, ActorRef<DeliveryMessage>>,
    suggesting: HashSet<SiteId>,
    clients: Vec<Arc<SiteClient>>,
}
