//! The actor: records to sequencers, sequencers to their rest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use copydesk_core::post::{Lane, Rejection};
use copydesk_core::roster::Partition;
use copydesk_eventlog::{Record, Sequence};
use copydesk_proto::{PostKey, Timestamp};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::warn;

use super::message::{DispatcherMessage, DispatcherStatus};
use super::nursery::Nursery;
use super::places::Places;
use super::posts::{Party, Ready, Shelf};
use super::pump::pump;
use super::recovery::Recovery;
use super::shares::Shares;
use crate::World;
use crate::records::{Subjects, lane_of, partition_in, partition_of, post_of};
use crate::sequencer::{self, Operation, Rest, Rested, Sequencer, SequencerMessage};
use crate::telemetry::Mailbox;

/// Records one post may hold in memory; the rest it reads from the log itself.
const RECORDS_PER_POST_MAX: usize = 16;

/// Posts without room whose keys are kept while the log is read further, so that another site's
/// live post is found behind an import. At about 250 bytes each, 50 MB.
const LOOK_AHEAD_MAX: usize = 200_000;

/// How often parked and idle posts are looked at: the precision of retries and quiet periods.
const SWEEP: Duration = Duration::from_millis(100);

/// How long a sequencer at rest is kept: an editor's next save usually comes sooner or much later.
const IDLE_MS: u64 = 10_000;

/// Pause before a failed sequencer is started again, doubled per failure in a row.
const RESTART_MS: u64 = 100;
const RESTART_MS_MAX: u64 = 5_000;

/// The actor; its state is [`State`].
#[derive(Debug)]
pub struct Dispatcher;

/// What the dispatcher starts with.
#[derive(Debug)]
pub struct Start {
    /// The node.
    pub world: Arc<World>,
    /// What the log said.
    pub recovery: Recovery,
    /// Posts that may be busy at once; each costs about 10 KB and the text it works on.
    pub posts_busy_max: usize,
    /// Sequencers at rest that are kept.
    pub posts_idle_max: usize,
}

/// A post with a sequencer.
pub(super) struct Entry {
    actor: ActorRef<SequencerMessage>,
    pub(super) partition: Partition,
    /// Another node works on the post; here an operator decides about it.
    pub(super) is_guest: bool,
    /// Messages to the sequencer, those about earlier posts included.
    sent: u64,
    credits: Vec<OwnedSemaphorePermit>,
    pub(super) last_seen: Sequence,
    /// Live as soon as one of its records is.
    lane: Lane,
    /// Since when it is idle; `None` while busy.
    pub(super) idle_since: Option<Timestamp>,
}

/// The dispatcher's books.
pub struct State {
    pub(super) world: Arc<World>,
    nursery: ActorRef<()>,
    credits: Arc<Semaphore>,
    places: Places,
    posts_idle_max: usize,
    pub(super) posts: HashMap<PostKey, Entry>,
    pub(super) shares: Shares,
    /// Records beyond what is looked ahead, with their credits: while they wait, nothing is read.
    pub(super) stalled: VecDeque<(Box<Record>, OwnedSemaphorePermit)>,
    names: HashMap<ActorId, PostKey>,
    /// Idle posts, longest idle first; entries may be out of date.
    idle: VecDeque<(PostKey, Timestamp)>,
    pub(super) shelf: Shelf,
    pub(super) failures: HashMap<PostKey, u32>,
    drained: Option<oneshot::Sender<()>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Actor for Dispatcher {
    type Msg = DispatcherMessage;
    type State = State;
    type Arguments = Start;

    async fn pre_start(
        &self,
        myself: ActorRef<DispatcherMessage>,
        start: Start,
    ) -> Result<State, ActorProcessingErr> {
        let Start { world, recovery, posts_busy_max, posts_idle_max } = start;
        let mut shelf = Shelf::default();
        for (key, last_intake) in recovery.unfinished {
            shelf.park(key, Some(last_intake), None, Lane::Live);
        }
        shelf.wake_all();
        let (nursery, _) =
            Actor::spawn_linked(None, Nursery, myself.clone(), myself.get_cell()).await?;
        let credits = Arc::clone(&world.credits);
        let places = Places::new(posts_busy_max, Arc::clone(&world.subscribers));
        tokio::spawn(pump(Arc::clone(&world), recovery.end, Arc::clone(&credits), myself.clone()));
        myself.send_interval(SWEEP, || DispatcherMessage::Sweep);
        Ok(State {
            world,
            nursery,
            credits,
            places,
            posts_idle_max,
            posts: HashMap::new(),
            shares: Shares::default(),
            stalled: VecDeque::new(),
            names: HashMap::new(),
            idle: VecDeque::new(),
            shelf,
            failures: HashMap::new(),
            drained: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<DispatcherMessage>,
        message: DispatcherMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DispatcherMessage::Record(record, credit) => {
                state.world.telemetry.taken(Mailbox::Dispatcher);
                state.record(record, credit, &myself).await?;
            }
            DispatcherMessage::Rested(id, key, rested) => {
                state.rested(id, key, rested);
                state.start_ready(&myself).await?;
            }
            DispatcherMessage::Failed(id) => state.failed(id),
            DispatcherMessage::Operate(key, operation, reply) => {
                state.operate(key, operation, reply, &myself).await?;
            }
            DispatcherMessage::HoldsChanged => {
                state.shelf.wake_all();
                state.tick_busy();
                state.start_ready(&myself).await?;
            }
            DispatcherMessage::Gained(gained) => state.gained(gained, &myself),
            DispatcherMessage::LookedThrough(look) => {
                state.looked_through(*look, &myself).await?;
            }
            DispatcherMessage::GiveUp(partitions, released) => state.give_up(partitions, &released),
            DispatcherMessage::Lost(partitions) => state.lost(&partitions),
            DispatcherMessage::Foreign(key, sequence) => {
                state.foreign(key, sequence, &myself).await?;
            }
            DispatcherMessage::Sweep => {
                let now = World::now();
                state.let_go();
                state.count_anew();
                state.shelf.wake_due(now);
                state.passivate(now);
                state.start_ready(&myself).await?;
            }
            DispatcherMessage::Status(reply) => {
                let _ = reply.send(state.status());
            }
            DispatcherMessage::Drain(reply) => {
                state.credits.close();
                state.drained = Some(reply);
            }
        }
        state.report_drained();
        Ok(())
    }
}

impl State {
    /// A record may not overtake one of its post that stalls, so none overtakes any.
    async fn record(
        &mut self,
        record: Box<Record>,
        credit: OwnedSemaphorePermit,
        myself: &ActorRef<DispatcherMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let partitions = &self.world.partitions;
        let is_notice = post_of(&record.subject).is_some_and(|key| key.subscriber().is_some());
        if !is_notice && let Some(partition) = partition_in(&record.subject) {
            partitions.read_back(partition, record.sequence);
        }
        if self.stalled.is_empty() {
            return self.take_record(record, credit, myself).await;
        }
        self.stalled.push_back((record, credit));
        Ok(())
    }

    async fn take_record(
        &mut self,
        record: Box<Record>,
        credit: OwnedSemaphorePermit,
        myself: &ActorRef<DispatcherMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(key) = post_of(&record.subject) else {
            warn!(subject = %record.subject, "a record of no post; left in the log");
            return Ok(());
        };
        let sequence = record.sequence;
        let lane = lane_of(&record);
        let partition = partition_in(&record.subject).unwrap_or_default();
        if !self.shares.are_open(&self.world, partition) {
            self.shares.keep(key, sequence, lane);
            return Ok(());
        }
        if !self.posts.contains_key(&key) {
            if !self.places.has_room(&Party::of(&key)) {
                // Notices wait without a limit: the log is read on while a subscriber is down.
                let is_post = key.subscriber().is_none();
                if is_post && self.shelf.ready_posts_len() >= LOOK_AHEAD_MAX {
                    self.stalled.push_back((record, credit));
                } else {
                    self.shelf.park_ready(key, sequence, lane);
                }
                return Ok(());
            }
            let behind = self.shelf.take(&key).flatten();
            self.start(&key, behind, Some(lane), myself).await?;
        }
        let Some(entry) = self.posts.get_mut(&key) else { return Ok(()) };
        entry.lane = entry.lane.min(lane);
        // A notice's sequencer reads them itself: a slow subscriber must not hold credits.
        let message = if key.subscriber().is_none() && entry.credits.len() < RECORDS_PER_POST_MAX {
            entry.credits.push(credit);
            SequencerMessage::Intake(record)
        } else {
            SequencerMessage::Behind(sequence)
        };
        self.send(&key, message, Some(sequence));
        Ok(())
    }

    /// Sends to a post's sequencer and counts it busy.
    pub(super) fn send(
        &mut self,
        key: &PostKey,
        message: SequencerMessage,
        sequence: Option<Sequence>,
    ) {
        let Some(entry) = self.posts.get_mut(key) else { return };
        entry.sent += 1;
        entry.last_seen = entry.last_seen.max(sequence.unwrap_or_default());
        let was_idle = entry.idle_since.take().is_some();
        // A sequencer that has just failed is reported by the nursery and starts again from the
        // log, where this message's record is.
        let _ = entry.actor.cast(message);
        if was_idle {
            self.places.take(key);
        }
    }

    /// Starts a post's sequencer; without a lane, for an operator of a post that is another node's.
    async fn start(
        &mut self,
        key: &PostKey,
        behind: Option<Sequence>,
        lane: Option<Lane>,
        myself: &ActorRef<DispatcherMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let subjects = Subjects::of(key);
        let partition = subjects.partition;
        let is_guest = lane.is_none();
        if !is_guest && !self.world.partitions.holds(partition) {
            return Ok(());
        }
        let lane = lane.unwrap_or(Lane::Live);
        let start = sequencer::Start {
            world: Arc::clone(&self.world),
            key: key.clone(),
            subjects,
            dispatcher: myself.clone(),
            is_guest,
        };
        let (actor, sent) = if let Some(Entry { actor, sent, .. }) = self.last_at_rest() {
            // One that has just failed is reported by the nursery, as the sequencer of this post.
            let _ = actor.cast(SequencerMessage::TakeOver(Box::new(start)));
            (actor, sent + 1)
        } else {
            let nursery = self.nursery.get_cell();
            let (actor, _) = Actor::spawn_linked(None, Sequencer, start, nursery).await?;
            actor.cast(SequencerMessage::Load)?;
            (actor, 0)
        };
        self.names.insert(actor.get_id(), key.clone());
        let entry = Entry {
            actor,
            partition,
            is_guest,
            sent,
            credits: Vec::new(),
            last_seen: Sequence(0),
            lane,
            idle_since: None,
        };
        self.posts.insert(key.clone(), entry);
        self.places.take(key);
        if let Some(to) = behind {
            self.send(key, SequencerMessage::Behind(to), Some(to));
        }
        Ok(())
    }

    fn rested(&mut self, id: ActorId, key: PostKey, rested: Rested) {
        let Rested { received, behind, rest } = rested;
        let Some(entry) = self.posts.get_mut(&key) else { return };
        // Said before the last message reached it, or by the post's sequencer of before.
        if entry.actor.get_id() != id || entry.sent != received || entry.idle_since.is_some() {
            return;
        }
        self.failures.remove(&key);
        if entry.is_guest {
            self.remove(&key);
            return;
        }
        match rest {
            Rest::Idle => {
                let now = World::now();
                entry.credits.clear();
                entry.idle_since = Some(now);
                self.places.give_back(&key);
                self.idle.push_back((key, now));
                self.evict();
            }
            Rest::Parked(until) => {
                let (lane, partition) = (entry.lane, entry.partition);
                self.remove(&key);
                if self.shares.are_open(&self.world, partition) {
                    self.shelf.park(key, behind, until, lane);
                }
            }
        }
    }

    /// Stops a sequencer that has nothing to do and forgets it.
    pub(super) fn remove(&mut self, key: &PostKey) -> Option<Entry> {
        let entry = self.posts.remove(key)?;
        self.names.remove(&entry.actor.get_id());
        if entry.idle_since.is_none() {
            self.places.give_back(key);
        }
        entry.actor.stop(None);
        Some(entry)
    }

    /// The sequencer that came to rest last, whose memory is still in the processor's caches: it
    /// takes over the post that is to start.
    fn last_at_rest(&mut self) -> Option<Entry> {
        while let Some((key, since)) = self.idle.pop_back() {
            if self.is_idle_since(&key, since) {
                return self.posts.remove(&key);
            }
        }
        None
    }

    fn evict(&mut self) {
        while self.idle.len() > self.posts_idle_max
            && let Some((key, since)) = self.idle.pop_front()
        {
            self.passivate_if_idle(&key, since);
        }
    }

    fn passivate(&mut self, now: Timestamp) {
        while let Some((key, since)) = self.idle.front().cloned()
            && now.since_ms(since) >= IDLE_MS
        {
            self.idle.pop_front();
            self.passivate_if_idle(&key, since);
        }
    }

    fn passivate_if_idle(&mut self, key: &PostKey, since: Timestamp) {
        if self.is_idle_since(key, since) {
            self.remove(key);
        }
    }

    fn is_idle_since(&self, key: &PostKey, since: Timestamp) -> bool {
        self.posts.get(key).is_some_and(|entry| entry.idle_since == Some(since))
    }

    fn failed(&mut self, id: ActorId) {
        let Some(key) = self.names.get(&id).cloned() else { return };
        let Some(entry) = self.remove(&key) else { return };
        self.world.remembered.doubt(entry.partition, &key);
        // Its records are in the log for whoever works on it.
        if entry.is_guest || !self.shares.are_open(&self.world, entry.partition) {
            return;
        }
        let failures = self.failures.entry(key.clone()).or_default();
        let pause_ms = (RESTART_MS << (*failures).min(10)).min(RESTART_MS_MAX);
        *failures = failures.saturating_add(1);
        let until = World::now().after_ms(pause_ms);
        self.shelf.park(key, Some(entry.last_seen), Some(until), entry.lane);
    }

    async fn operate(
        &mut self,
        key: PostKey,
        operation: Operation,
        reply: oneshot::Sender<Result<(), Rejection>>,
        myself: &ActorRef<DispatcherMessage>,
    ) -> Result<(), ActorProcessingErr> {
        if !self.posts.contains_key(&key) {
            // An operator is answered from the log, which other owners write, too.
            let partition = partition_of(&key);
            self.world.remembered.doubt(partition, &key);
            let behind = self.shelf.take(&key).flatten();
            let lane = self.world.partitions.holds(partition).then_some(Lane::Live);
            self.start(&key, behind, lane, myself).await?;
        }
        self.send(&key, SequencerMessage::Operate(operation, reply), None);
        Ok(())
    }

    /// Busy posts may wait for a hold that was just released.
    fn tick_busy(&mut self) {
        for entry in self.posts.values_mut().filter(|entry| entry.idle_since.is_none()) {
            entry.sent += 1;
            let _ = entry.actor.cast(SequencerMessage::Tick);
        }
    }

    pub(super) async fn start_ready(
        &mut self,
        myself: &ActorRef<DispatcherMessage>,
    ) -> Result<(), ActorProcessingErr> {
        while self.drained.is_none() {
            let next = self.shelf.next_ready(|party| self.places.has_room(party));
            let Some(Ready { key, behind, lane }) = next else { break };
            self.start(&key, behind, Some(lane), myself).await?;
            self.send(&key, SequencerMessage::Tick, None);
        }
        while self.shelf.ready_posts_len() < LOOK_AHEAD_MAX
            && let Some((record, credit)) = self.stalled.pop_front()
        {
            self.take_record(record, credit, myself).await?;
        }
        Ok(())
    }

    fn status(&self) -> DispatcherStatus {
        DispatcherStatus {
            busy: self.places.busy(),
            idle: self.posts.len() - self.places.busy(),
            parked: self.shelf.len(),
            ready: self.shelf.ready_len(),
            busy_max: self.places.max,
        }
    }

    fn report_drained(&mut self) {
        if self.places.busy() == 0
            && let Some(reply) = self.drained.take()
        {
            let _ = reply.send(());
        }
    }
}
