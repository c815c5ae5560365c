//! The node's turns at the roster, until it has left.
//!
//! A lease is good until [`LEASE_FENCE_MS`] after the *sending* of the last renewal that went well;
//! another node takes over only when it has seen no renewal for [`LEASE_TTL_MS`], which begins
//! later. Both are measured on clocks that only go forward, each on its own node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use copydesk_core::limits::{LEASE_FENCE_MS, LEASE_RENEW_MS, LEASE_TTL_MS};
use copydesk_core::roster::{Member, Partition, Roster, Turn};
use copydesk_eventlog::{RegisterError, Registered};
use copydesk_proto::{NodeName, Timestamp};
use ractor::ActorRef;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::{Cluster, ClusterSettings, Partitions, Phase, Released, Seen};
use crate::World;
use crate::desk::Desk;
use crate::dispatcher::DispatcherMessage;

/// Between two looks: how soon a free partition is found.
const LOOK: Duration = Duration::from_millis(250);

/// One request to the register.
const ASK_MAX: Duration = Duration::from_secs(2);

/// Tries to take the own entry away against other nodes' turns.
const STRIKES_MAX: u32 = 5;

/// Why the node must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fatal {
    /// Another process has joined under this node's name.
    Replaced,
}

/// What a turn failed for; the next one comes in a moment.
#[derive(Debug)]
enum Missed {
    /// Another node was quicker.
    Changed,
    /// The register is not there, or cannot be read.
    Retry,
    Fatal(Fatal),
}

/// Takes turns.
pub(crate) struct Keeper {
    settings: ClusterSettings,
    world: Arc<World>,
    cluster: Arc<Cluster>,
    desk: Desk,
    dispatcher: ActorRef<DispatcherMessage>,
    joined_at: Timestamp,
    /// By this node's clock: when each node's beat was first seen as it is.
    beats: HashMap<NodeName, (u64, u64, Instant)>,
    /// When the last renewal that went well was sent.
    renewed: Option<Instant>,
    /// Under which epoch it works on what; told to the dispatcher.
    working: BTreeMap<Partition, u64>,
    /// Asked of the dispatcher, and not stopped yet.
    giving_up: BTreeSet<Partition>,
    /// Whether it kept what the desk needs once, at the last turn.
    kept_desk: bool,
    /// Stopped, and not free yet.
    released: BTreeSet<Partition>,
    from_dispatcher: mpsc::UnboundedReceiver<Partition>,
    to_keeper: Released,
}

impl Keeper {
    /// A keeper that has not joined yet.
    pub(crate) fn new(
        settings: ClusterSettings,
        cluster: Arc<Cluster>,
        desk: Desk,
        dispatcher: ActorRef<DispatcherMessage>,
    ) -> Self {
        let (to_keeper, from_dispatcher) = mpsc::unbounded_channel();
        Self {
            settings,
            world: Arc::clone(desk.world()),
            cluster,
            desk,
            dispatcher,
            joined_at: World::now(),
            beats: HashMap::new(),
            renewed: None,
            working: BTreeMap::new(),
            giving_up: BTreeSet::new(),
            kept_desk: false,
            released: BTreeSet::new(),
            from_dispatcher,
            to_keeper,
        }
    }

    fn partitions(&self) -> &Partitions {
        &self.world.partitions
    }

    fn leaving(&self) -> bool {
        *self.cluster.phase.borrow() != Phase::Stays
    }

    /// Runs until the node has left. Returns whether the process must end for another reason.
    pub(crate) async fn run(mut self) -> bool {
        let mut phase = self.cluster.phase.subscribe();
        loop {
            let mut pause = LOOK;
            match self.turn().await {
                Ok(()) | Err(Missed::Retry) => {}
                Err(Missed::Changed) => pause = Duration::from_millis(rand::random_range(1..20)),
                Err(Missed::Fatal(Fatal::Replaced)) => {
                    error!(node = %self.settings.name, "another process runs under this node's name");
                    self.stop_all();
                    self.cluster.handed_over.send_replace(true);
                    self.cluster.ended.send_replace(true);
                    return true;
                }
            }
            self.fence();
            if self.leaving() && self.has_handed_over() {
                self.cluster.handed_over.send_replace(true);
            }
            if *self.cluster.phase.borrow() == Phase::Ends {
                if self.renewed.is_some() && !self.strike_out().await {
                    warn!("the node's entry stays; the others find it dead");
                }
                self.cluster.ended.send_replace(true);
                return false;
            }
            let world = Arc::clone(&self.world);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = world.partitions.wake.notified() => {}
                Some(partition) = self.from_dispatcher.recv() => self.note_released(partition),
                Ok(()) = phase.changed() => {}
            }
            while let Ok(partition) = self.from_dispatcher.try_recv() {
                self.note_released(partition);
            }
        }
    }

    fn note_released(&mut self, partition: Partition) {
        self.giving_up.remove(&partition);
        if self.working.remove(&partition).is_some() {
            self.released.insert(partition);
        }
    }

    /// Looks at the roster and changes it if there is something to change.
    async fn turn(&mut self) -> Result<(), Missed> {
        // After a freeze: what was worked on is not this node's, whatever a renewal would say.
        self.fence();
        let there = self.read().await?;
        let before = match &there.value {
            Some(value) => Roster::decode(value.clone()).map_err(|error| {
                warn!(%error, "no turn is taken");
                Missed::Retry
            })?,
            None => empty(),
        };
        self.observe(&before);
        let me = before.members.get(&self.settings.name);
        let other = me.filter(|member| member.incarnation != self.world.owner);
        if other.is_some() && self.renewed.is_some() {
            return Err(Missed::Fatal(Fatal::Replaced));
        }
        let dead = self.dead();
        let turn = self.mine(dead.clone());
        let after = before.turn(&turn).map_err(|error| {
            warn!(%error, "the node works on nothing");
            Missed::Retry
        })?;
        if !self.is_due() && after.same_but_for_beats(&before) {
            self.take_in(&before, false, &dead);
            return Ok(());
        }
        let sent = Instant::now();
        self.write(&after, there.revision).await?;
        self.renewed = Some(sent);
        self.partitions().good_until(sent + Duration::from_millis(LEASE_FENCE_MS));
        for name in &dead {
            warn!(node = %name, "a node has died; its partitions are taken over");
        }
        self.observe(&after);
        self.released.clear();
        self.take_in(&after, !dead.is_empty(), &dead);
        Ok(())
    }

    fn mine(&self, dead: BTreeSet<NodeName>) -> Turn {
        Turn {
            me: self.settings.name.clone(),
            member: Member {
                incarnation: self.world.owner,
                beat: 0,
                leaving: self.leaving(),
                release: self.settings.release.clone(),
                joined_at: self.joined_at,
                backlog: self.partitions().backlog(),
            },
            dead,
            released: self.released.clone(),
            renewed: self.to_renew(),
            now: World::now(),
        }
    }

    /// Held by the roster, and not worked on without a new epoch: what is contested, and what this
    /// node had stopped for.
    fn to_renew(&self) -> BTreeSet<Partition> {
        let mut renew = self.partitions().contested();
        if let Some(seen) = self.cluster.seen() {
            let held = seen.roster.held_by(&self.settings.name);
            let idle = |p: &Partition| !self.working.contains_key(p) && !self.released.contains(p);
            renew.extend(held.into_iter().filter(idle));
        }
        renew
    }

    async fn read(&self) -> Result<Registered, Missed> {
        match timeout(ASK_MAX, self.settings.register.read()).await {
            Ok(Ok(there)) => Ok(there),
            Ok(Err(_)) | Err(_) => Err(Missed::Retry),
        }
    }

    /// Writes, or finds out that it was written though no answer came.
    async fn write(&self, roster: &Roster, expected: u64) -> Result<(), Missed> {
        let value = roster.encode();
        match timeout(ASK_MAX, self.settings.register.write(value.clone(), expected)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RegisterError::Changed)) => Err(Missed::Changed),
            Ok(Err(RegisterError::Unavailable(_))) | Err(_) => {
                let there = self.read().await?;
                if there.value == Some(value) { Ok(()) } else { Err(Missed::Retry) }
            }
        }
    }

    /// Takes note of the beats, and shows the roster.
    fn observe(&mut self, roster: &Roster) {
        let now = Instant::now();
        self.beats.retain(|name, _| roster.members.contains_key(name));
        for (name, member) in &roster.members {
            let (life, beat) = (member.incarnation, member.beat);
            let known = self.beats.get(name).copied();
            if known.is_none_or(|(was, at, _)| (was, at) != (life, beat)) {
                self.beats.insert(name.clone(), (life, beat, now));
            }
        }
        let beats = self.beats.iter().map(|(name, (_, _, at))| (name.clone(), *at)).collect();
        self.cluster.seen.store(Some(Arc::new(Seen { roster: roster.clone(), beats })));
        let others = roster.members.iter().filter(|(name, _)| **name != self.settings.name);
        let backlog = others.map(|(_, member)| member.backlog).fold(0, u64::saturating_add);
        self.partitions().set_nodes(roster.members.len(), backlog);
    }

    fn dead(&self) -> BTreeSet<NodeName> {
        let silent = |at: &Instant| at.elapsed() >= Duration::from_millis(LEASE_TTL_MS);
        let others = self.beats.iter().filter(|(name, _)| **name != self.settings.name);
        others.filter(|(_, (_, _, at))| silent(at)).map(|(name, _)| name.clone()).collect()
    }

    fn is_due(&self) -> bool {
        let every = Duration::from_millis(LEASE_RENEW_MS);
        self.renewed.is_none_or(|renewed| renewed.elapsed() >= every)
    }

    /// Has the dispatcher stop what is to be given up.
    fn give_up_surplus(&mut self, roster: &Roster) {
        let surplus = roster.surplus(&self.settings.name).into_iter();
        let new = |p: &Partition| self.working.contains_key(p) && !self.giving_up.contains(p);
        let new: Vec<Partition> = surplus.filter(new).collect();
        if !new.is_empty() {
            info!(partitions = new.len(), "partitions are handed over");
            self.giving_up.extend(&new);
            let told = self.to_keeper.clone();
            let _stopped = self.dispatcher.cast(DispatcherMessage::GiveUp(new, told));
        }
    }

    /// Works on what the roster says is this node's, and on nothing else.
    fn take_in(&mut self, roster: &Roster, after_a_death: bool, dead: &BTreeSet<NodeName>) {
        let held = roster.held_by(&self.settings.name);
        let epoch = |p: &Partition| roster.leases.get(usize::from(*p)).map_or(0, |l| l.epoch);
        let lost: Vec<Partition> =
            self.working.keys().filter(|p| !held.contains(p)).copied().collect();
        self.lose(&lost);
        let mut gained = Vec::new();
        for partition in held.into_iter().filter(|p| !self.released.contains(p)) {
            let epoch = epoch(&partition);
            match self.working.insert(partition, epoch) {
                None => gained.push((partition, epoch)),
                // It had been contested: its posts go on under the new epoch.
                Some(old) if old != epoch => self.partitions().gain(partition, epoch),
                Some(_) => {}
            }
        }
        if !gained.is_empty() {
            let count = u64::try_from(gained.len()).unwrap_or(u64::MAX);
            let (over, free) = if after_a_death { (count, 0) } else { (0, count) };
            self.partitions().count_taken(over, free);
            info!(partitions = count, "partitions are taken");
            let _stopped = self.dispatcher.cast(DispatcherMessage::Gained(gained));
        } else if self.renewed.is_some() && self.working.is_empty() {
            self.partitions().settle();
        }
        self.give_up_surplus(roster);
        let keeps_desk = held_desk(roster, &self.settings.name);
        if keeps_desk && (!self.kept_desk || !dead.is_empty()) {
            let desk = self.desk.clone();
            tokio::spawn(async move {
                if let Err(error) = desk.resume_jobs().await {
                    warn!(%error, "jobs that others left behind are not taken up; resume them");
                }
            });
        }
        self.kept_desk = keeps_desk;
    }

    /// Stops everything once the leases may have run out.
    fn fence(&mut self) {
        if !self.working.is_empty() && self.partitions().good_for().is_zero() {
            warn!("the leases could not be renewed; nothing is worked on until they are");
            self.stop_all();
        }
    }

    fn stop_all(&mut self) {
        let all: Vec<Partition> = self.working.keys().copied().collect();
        self.lose(&all);
        self.giving_up.clear();
    }

    fn lose(&mut self, lost: &[Partition]) {
        if lost.is_empty() {
            return;
        }
        for partition in lost {
            self.working.remove(partition);
            self.giving_up.remove(partition);
            self.partitions().lose(*partition);
        }
        let _stopped = self.dispatcher.cast(DispatcherMessage::Lost(lost.to_vec()));
    }

    /// Whether nothing is left that another node could take.
    fn has_handed_over(&self) -> bool {
        let Some(seen) = self.cluster.seen().filter(|_| self.renewed.is_some()) else {
            return true;
        };
        let (roster, me) = (&seen.roster, &self.settings.name);
        let is_told = roster.members.get(me).is_none_or(|member| member.leaving);
        is_told && (roster.staying() == 0 || roster.held_by(me).is_empty())
    }

    /// Takes the node's entry away, so that nobody waits for its death.
    async fn strike_out(&self) -> bool {
        for _ in 0..STRIKES_MAX {
            let Ok(there) = self.read().await else { continue };
            let roster = there.value.and_then(|value| Roster::decode(value).ok());
            let Some(roster) = roster else { return true };
            let without = roster.without(&self.settings.name, World::now());
            if self.write(&without, there.revision).await.is_ok() {
                return true;
            }
        }
        false
    }
}

impl Cluster {
    /// Hands everything over to the nodes that stay; with none there, only says that it leaves.
    /// Returns when that is done, or after `limit`. Leases are renewed on.
    pub(crate) async fn hand_over(&self, limit: Duration) {
        let mut done = self.handed_over.subscribe();
        self.phase.send_replace(Phase::Leaves);
        let _late = timeout(limit, done.wait_for(|done| *done)).await;
    }

    /// Ends the keeper, which takes the node's entry away. Returns when that is done, or after
    /// `limit`.
    pub(crate) async fn end(&self, limit: Duration) {
        let mut done = self.ended.subscribe();
        self.phase.send_replace(Phase::Ends);
        let _late = timeout(limit, done.wait_for(|done| *done)).await;
    }
}

/// Whether a node works on the first partition, and with it keeps what the desk needs once.
fn held_desk(roster: &Roster, name: &NodeName) -> bool {
    roster.leases.first().is_some_and(|lease| lease.holder.as_ref() == Some(name))
}

/// A roster for a bucket that has none. Its epochs begin with the clock, so that they are above
/// those of a bucket that was deleted.
fn empty() -> Roster {
    let now_ms = u64::try_from(World::now().0).unwrap_or(0);
    Roster::new(Partition::try_from(crate::records::PARTITIONS).unwrap_or(Partition::MAX), now_ms)
}
