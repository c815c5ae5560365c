//! Partitions that come and go while the node runs.
//!
//! One that comes is looked through first, in a task of its own; records of it that are read
//! meanwhile are kept by their post's key. One that is to go has a moment to finish what is under
//! way; what is not finished then is done again by the node that takes it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use copydesk_core::post::Lane;
use copydesk_core::roster::Partition;
use copydesk_eventlog::Sequence;
use copydesk_proto::PostKey;
use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tracing::{error, warn};

use super::actor::State;
use super::message::DispatcherMessage;
use super::recovery::{Recovery, RecoveryError, recover};
use crate::World;
use crate::cluster::Released;
use crate::records::partition_of;
use crate::sequencer::SequencerMessage;

/// How long what is under way may take when its partition is handed over. Longer would be a pause
/// of the partition's other posts; an AI call that is cut off is paid again.
const FINISH_MAX: Duration = Duration::from_millis(500);

/// Pause before a partition that could not be looked through is tried again.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// The same while it holds a record that only a later release can read: until the node is upgraded,
/// or another takes the partition.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(5);

/// What the dispatcher knows of partitions on their way.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Being looked through, each with the number of the look that counts.
    looking: HashMap<Partition, u64>,
    looks: u64,
    /// Posts of those with records read meanwhile.
    kept: HashMap<PostKey, Kept>,
    /// To be given up at their time, and whom to tell.
    going: HashMap<Partition, (Instant, Released)>,
}

/// A post with records read while its partition was looked through.
#[derive(Debug, Clone, Copy)]
struct Kept {
    last: Sequence,
    lane: Lane,
    count: i64,
}

/// What a look found.
#[derive(Debug)]
pub struct Look {
    number: u64,
    partitions: Vec<Partition>,
    recovery: Recovery,
}

impl Shares {
    /// Whether records of a partition go to its posts at present.
    pub(super) fn are_open(&self, world: &World, partition: Partition) -> bool {
        world.partitions.holds(partition)
            && !self.looking.contains_key(&partition)
            && !self.going.contains_key(&partition)
    }

    /// Keeps a post of a partition that is being looked through.
    pub(super) fn keep(&mut self, key: PostKey, sequence: Sequence, lane: Lane) {
        if !self.looking.contains_key(&partition_of(&key)) {
            return;
        }
        let kept = self.kept.entry(key).or_insert(Kept { last: sequence, lane, count: 0 });
        kept.last = kept.last.max(sequence);
        kept.lane = kept.lane.min(lane);
        kept.count += i64::from(sequence > Sequence(0));
    }
}

impl State {
    /// Begins to look through partitions that came.
    pub(super) fn gained(
        &mut self,
        gained: Vec<(Partition, u64)>,
        myself: &ActorRef<DispatcherMessage>,
    ) {
        self.shares.looks += 1;
        let number = self.shares.looks;
        for (partition, epoch) in &gained {
            self.world.partitions.gain(*partition, *epoch);
            self.world.remembered.begin(*partition);
            self.shares.looking.insert(*partition, number);
        }
        let partitions = gained.into_iter().map(|(partition, _)| partition).collect();
        tokio::spawn(look_through(Arc::clone(&self.world), number, partitions, myself.clone()));
    }

    /// Takes up what a look found, for the partitions that are still this node's.
    pub(super) async fn looked_through(
        &mut self,
        look: Look,
        myself: &ActorRef<DispatcherMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let Look { number, partitions, recovery } = look;
        let current = |p: &&Partition| self.shares.looking.get(p) == Some(&number);
        let current: Vec<Partition> = partitions.iter().filter(current).copied().collect();
        for partition in &current {
            let (backlog, dead) = recovery.counts.get(partition).copied().unwrap_or_default();
            self.world.partitions.looked_through(*partition, recovery.end, backlog, dead);
            self.shares.looking.remove(partition);
        }
        let is_current = |key: &PostKey| current.contains(&partition_of(key));
        let (kept, others) = self.shares.kept.drain().partition(|(key, _)| is_current(key));
        self.shares.kept = others;
        let kept: HashMap<PostKey, Kept> = kept;
        for (key, kept) in kept.iter().filter(|(_, kept)| kept.last > recovery.end) {
            self.world.partitions.add_backlog(partition_of(key), kept.count);
        }
        let found = recovery.unfinished.into_iter().filter(|(key, _)| is_current(key));
        let found = found.map(|(key, last)| (key, last, Lane::Live));
        let kept = kept.into_iter().map(|(key, kept)| (key, kept.last, kept.lane));
        for (key, last, lane) in found.chain(kept) {
            if self.posts.contains_key(&key) {
                self.send(&key, SequencerMessage::Behind(last), Some(last));
            } else {
                self.shelf.park_ready(key, last, lane);
            }
        }
        self.world.partitions.settle();
        self.start_ready(myself).await
    }

    /// Gives partitions up once nothing of them is under way, or in a moment.
    pub(super) fn give_up(&mut self, partitions: Vec<Partition>, released: &Released) {
        let at = Instant::now() + FINISH_MAX;
        for partition in partitions {
            self.shares.going.insert(partition, (at, released.clone()));
        }
        self.drop_waiting();
        self.let_go();
    }

    /// Lets go of partitions of which nothing is under way any more, or for too long.
    pub(super) fn let_go(&mut self) {
        if self.shares.going.is_empty() {
            return;
        }
        let now = Instant::now();
        let busy: std::collections::HashSet<Partition> = self
            .posts
            .values()
            .filter(|entry| entry.idle_since.is_none())
            .map(|entry| entry.partition)
            .collect();
        let ready =
            |(p, (at, _)): &(&Partition, &(Instant, Released))| !busy.contains(p) || *at <= now;
        let gone: Vec<Partition> =
            self.shares.going.iter().filter(ready).map(|(partition, _)| *partition).collect();
        for partition in &gone {
            let told = self.shares.going.remove(partition);
            self.leave(*partition);
            if let Some((_, released)) = told {
                // The keeper is gone with the node.
                let _ = released.send(*partition);
            }
        }
        if !gone.is_empty() {
            self.drop_waiting();
            self.forget_posts();
        }
    }

    /// Puts the counts right whenever nothing is at work.
    pub(super) fn count_anew(&self) {
        let waits = self.shelf.len() + self.stalled.len() + self.shares.looking.len();
        let is_idle = self.posts.values().all(|entry| entry.idle_since.is_some());
        if self.world.partitions.are_leased() && waits == 0 && is_idle {
            self.world.partitions.nothing_waits();
        }
    }

    /// Stops working on partitions at once.
    pub(super) fn lost(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.leave(*partition);
        }
        self.drop_waiting();
        self.forget_posts();
    }

    fn leave(&mut self, partition: Partition) {
        self.world.partitions.lose(partition);
        self.world.remembered.forget(partition);
        self.shares.looking.remove(&partition);
        self.shares.going.remove(&partition);
    }

    /// Forgets what waits without a sequencer, of partitions that are not open: it is in the log.
    fn drop_waiting(&mut self) {
        let (world, shares) = (&self.world, &self.shares);
        self.shelf.retain(|key| shares.are_open(world, partition_of(key)));
        self.stalled.retain(|(record, _)| {
            crate::records::partition_in(&record.subject)
                .is_some_and(|partition| shares.are_open(world, partition))
        });
        let held = |key: &PostKey| world.partitions.holds(partition_of(key));
        self.shares.kept.retain(|key, _| held(key));
    }

    /// Stops the sequencers of partitions that are not held.
    fn forget_posts(&mut self) {
        let lost = self
            .posts
            .iter()
            .filter(|(_, entry)| !entry.is_guest && !self.world.partitions.holds(entry.partition));
        let lost: Vec<PostKey> = lost.map(|(key, _)| key.clone()).collect();
        for key in &lost {
            self.remove(key);
            self.failures.remove(key);
        }
    }

    /// Another node appended to a post of ours, for its operator: the post goes on from the log.
    pub(super) async fn foreign(
        &mut self,
        key: PostKey,
        sequence: Sequence,
        myself: &ActorRef<DispatcherMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let partition = partition_of(&key);
        if !self.shares.are_open(&self.world, partition) {
            self.shares.keep(key, Sequence(0), Lane::Live);
            return Ok(());
        }
        if sequence <= self.world.partitions.since(partition) {
            return Ok(());
        }
        let entry = self.remove(&key);
        self.world.remembered.doubt(partition, &key);
        let behind = entry.map_or(Sequence(0), |entry| entry.last_seen);
        self.shelf.park_ready(key, behind, Lane::Live);
        self.start_ready(myself).await
    }
}

/// Finds the unfinished posts, however often it takes. A partition that cannot be read keeps no other
/// waiting: then each is looked through by itself.
fn look_through(
    world: Arc<World>,
    number: u64,
    partitions: Vec<Partition>,
    dispatcher: ActorRef<DispatcherMessage>,
) -> BoxFuture<'static, ()> {
    async move {
        loop {
            let pause = match recover(&*world.log, &world.remembered, Some(&partitions)).await {
                Ok(recovery) => {
                    let look = Box::new(Look { number, partitions, recovery });
                    let _stopped = dispatcher.cast(DispatcherMessage::LookedThrough(look));
                    return;
                }
                Err(RecoveryError::Read(error)) => {
                    warn!(%error, "partitions cannot be looked through; trying again");
                    LOOK_PAUSE
                }
                Err(RecoveryError::Record(_)) if partitions.len() > 1 => {
                    for partition in partitions {
                        let (world, dispatcher) = (Arc::clone(&world), dispatcher.clone());
                        tokio::spawn(look_through(world, number, vec![partition], dispatcher));
                    }
                    return;
                }
                Err(RecoveryError::Record(error)) => {
                    error!(
                        ?partitions, %error,
                        "a partition waits for a release that can read it; upgrade this node"
                    );
                    UNREADABLE_PAUSE
                }
            };
            tokio::time::sleep(pause).await;
            if !partitions.iter().any(|partition| world.partitions.holds(*partition)) {
                return;
            }
        }
    }
    .boxed()
}
