//! Which partitions this node works on, and what it counts of each. The one place where the
//! dispatcher, the sequencers and the receivers look; written by the keeper and the dispatcher.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use copydesk_core::roster::Partition;
use copydesk_eventlog::Sequence;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::records::PARTITIONS;

/// Not held.
const NONE: u64 = u64::MAX;

/// The partitions of one node.
#[derive(Debug)]
pub struct Partitions {
    /// Whether nodes share them by leases; without, this node works on all of them.
    leased: bool,
    places: Vec<Place>,
    began: Instant,
    /// Milliseconds after `began` until which the leases are good.
    good_until_ms: AtomicU64,
    others_backlog: AtomicU64,
    unread: Mutex<Unread>,
    nodes: AtomicU64,
    taken_over: AtomicU64,
    taken_free: AtomicU64,
    pub(super) wake: Notify,
    settled: watch::Sender<bool>,
}

#[derive(Debug)]
struct Place {
    /// The lease's, or [`NONE`].
    epoch: AtomicU64,
    /// Where the log ended when the partition was looked through; `u64::MAX` before.
    since: AtomicU64,
    backlog: AtomicI64,
    dead: AtomicI64,
    contested: AtomicBool,
}

/// Intake records that this node stored and has not read back. The log is read in order, so where
/// the reader stands tells which, whatever comes first: the answer to the append or the record.
#[derive(Debug, Default)]
struct Unread {
    read_to: Sequence,
    stored: BTreeSet<Sequence>,
}

/// How many nodes share what the outside allows the desk: an AI service's limits, a site's, budgets.
#[derive(Debug, Clone, Default)]
pub struct Sharers(Option<Arc<Partitions>>);

impl Sharers {
    /// The nodes that share these partitions.
    #[must_use]
    pub const fn of(partitions: Arc<Partitions>) -> Self {
        Self(Some(partitions))
    }

    /// At least 1.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(1, |partitions| partitions.nodes())
    }

    /// This node's share of so many at once, at least 1.
    #[must_use]
    pub fn of_places(&self, places: usize) -> usize {
        (places / usize::try_from(self.count()).unwrap_or(1)).max(1)
    }

    /// What one costs of a rate that all nodes keep to together.
    #[must_use]
    pub fn cells(&self, cells: u32) -> u32 {
        cells.saturating_mul(u32::try_from(self.count()).unwrap_or(u32::MAX))
    }
}

/// One partition's lease, to look at just before something is done that costs money.
#[derive(Debug, Clone, Default)]
pub struct Lease(Option<(Arc<Partitions>, Partition)>);

impl Lease {
    /// The lease of a partition of these.
    #[must_use]
    pub const fn of(partitions: Arc<Partitions>, partition: Partition) -> Self {
        Self(Some((partitions, partition)))
    }

    /// Whether the partition is this node's at this moment; always without leases.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.0.as_ref().is_none_or(|(partitions, partition)| partitions.epoch(*partition).is_some())
    }
}

impl Partitions {
    /// All of them, for good: no other node shares the log.
    #[must_use]
    pub fn all() -> Self {
        Self::new(false, 0)
    }

    /// None yet; leases bring them.
    #[must_use]
    pub fn leased() -> Self {
        Self::new(true, NONE)
    }

    fn new(leased: bool, epoch: u64) -> Self {
        let place = |_| Place {
            epoch: AtomicU64::new(epoch),
            since: AtomicU64::new(u64::MAX),
            backlog: AtomicI64::new(0),
            dead: AtomicI64::new(0),
            contested: AtomicBool::new(false),
        };
        Self {
            leased,
            places: (0..PARTITIONS).map(place).collect(),
            began: Instant::now(),
            good_until_ms: AtomicU64::new(if leased { 0 } else { u64::MAX }),
            others_backlog: AtomicU64::new(0),
            unread: Mutex::default(),
            nodes: AtomicU64::new(1),
            taken_over: AtomicU64::new(0),
            taken_free: AtomicU64::new(0),
            wake: Notify::new(),
            settled: watch::Sender::new(!leased),
        }
    }

    fn place(&self, partition: Partition) -> &Place {
        // A number comes from a hash modulo their count, or from a roster of as many.
        &self.places[usize::from(partition) % self.places.len()]
    }

    /// Whether nodes share them by leases.
    #[must_use]
    pub const fn are_leased(&self) -> bool {
        self.leased
    }

    /// The epoch under which this node may append and act at this moment; 0 without leases, `None`
    /// when the partition is another's or the lease may have run out.
    #[must_use]
    pub fn epoch(&self, partition: Partition) -> Option<u64> {
        let place = self.place(partition);
        let is_good = self.elapsed_ms() < self.good_until_ms.load(Ordering::Acquire);
        let epoch = place.epoch.load(Ordering::Acquire);
        (is_good && epoch != NONE && !place.contested.load(Ordering::Acquire)).then_some(epoch)
    }

    /// Whether the partition is this node's by what it last heard; its lease may have run out.
    #[must_use]
    pub fn holds(&self, partition: Partition) -> bool {
        self.place(partition).epoch.load(Ordering::Acquire) != NONE
    }

    /// Partitions held.
    #[must_use]
    pub fn held(&self) -> Vec<Partition> {
        let numbered = (0..).zip(&self.places);
        let held = |(_, place): &(Partition, &Place)| place.epoch.load(Ordering::Acquire) != NONE;
        numbered.filter(held).map(|(partition, _)| partition).collect()
    }

    /// Whether what the whole desk needs once is this node's: the books, jobs left behind.
    #[must_use]
    pub fn keeps_desk(&self) -> bool {
        self.holds(0)
    }

    /// Nodes that share the log, this one among them.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.nodes.load(Ordering::Relaxed).max(1)
    }

    pub(super) fn set_nodes(&self, nodes: usize, others_backlog: u64) {
        self.nodes.store(u64::try_from(nodes).unwrap_or(1), Ordering::Relaxed);
        self.others_backlog.store(others_backlog, Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// The leases are good until `at`.
    pub(super) fn good_until(&self, at: Instant) {
        let ms = at.saturating_duration_since(self.began).as_millis();
        self.good_until_ms.store(u64::try_from(ms).unwrap_or(u64::MAX - 1), Ordering::Release);
    }

    /// How long the leases are still good.
    pub(super) fn good_for(&self) -> Duration {
        let until = self.good_until_ms.load(Ordering::Acquire);
        Duration::from_millis(until.saturating_sub(self.elapsed_ms()))
    }

    /// The partition is this node's under this epoch.
    pub(crate) fn gain(&self, partition: Partition, epoch: u64) {
        let place = self.place(partition);
        place.contested.store(false, Ordering::Release);
        place.epoch.store(epoch, Ordering::Release);
    }

    /// It is not any more: nothing of it is appended from now on.
    pub(crate) fn lose(&self, partition: Partition) {
        let place = self.place(partition);
        place.epoch.store(NONE, Ordering::Release);
        place.since.store(u64::MAX, Ordering::Release);
        place.backlog.store(0, Ordering::Relaxed);
        place.dead.store(0, Ordering::Relaxed);
    }

    /// It has been looked through: so many of its events wait that were there before the log's
    /// sequence `end`. Later ones are counted as they come.
    pub(crate) fn looked_through(
        &self,
        partition: Partition,
        end: Sequence,
        backlog: i64,
        dead: i64,
    ) {
        let place = self.place(partition);
        place.backlog.store(backlog, Ordering::Relaxed);
        place.dead.store(dead, Ordering::Relaxed);
        place.since.store(end.0, Ordering::Release);
    }

    /// Another node appended to a post of it: nothing of it goes on before it has a new epoch.
    pub(crate) fn contest(&self, partition: Partition) {
        if self.leased && self.holds(partition) {
            self.place(partition).contested.store(true, Ordering::Release);
            self.wake.notify_one();
        }
    }

    pub(super) fn contested(&self) -> BTreeSet<Partition> {
        let numbered = (0..).zip(&self.places);
        let is = |(_, place): &(Partition, &Place)| place.contested.load(Ordering::Acquire);
        numbered.filter(is).map(|(partition, _)| partition).collect()
    }

    /// Where the log ended when the partition was looked through.
    #[must_use]
    pub fn since(&self, partition: Partition) -> Sequence {
        Sequence(self.place(partition).since.load(Ordering::Acquire))
    }

    /// Counts an intake record that this node just stored, until it is read: whoever works on it
    /// counts it then, also one whose append was answered too late or never.
    pub(crate) fn stored(&self, at: Sequence) {
        let mut unread = self.unread();
        if at > unread.read_to {
            unread.stored.insert(at);
        }
    }

    /// Counts an intake record that was read, unless looking through the partition has.
    pub(crate) fn read_back(&self, partition: Partition, at: Sequence) {
        self.read_to(at);
        if self.holds(partition) && at > self.since(partition) {
            self.add_backlog(partition, 1);
        }
    }

    /// The log's intake has been read up to here.
    pub(crate) fn read_to(&self, at: Sequence) {
        let mut unread = self.unread();
        unread.read_to = at;
        while unread.stored.first().is_some_and(|first| *first <= at) {
            unread.stored.pop_first();
        }
    }

    fn unread(&self) -> std::sync::MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is at work and nothing waits: what an earlier owner had counted is put right.
    pub(crate) fn nothing_waits(&self) {
        for place in &self.places {
            place.backlog.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_backlog(&self, partition: Partition, change: i64) {
        self.place(partition).backlog.fetch_add(change, Ordering::Relaxed);
    }

    pub(crate) fn add_dead(&self, partition: Partition, change: i64) {
        self.place(partition).dead.fetch_add(change, Ordering::Relaxed);
    }

    /// Events that wait in this node's partitions.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        let unread = self.unread().stored.len();
        self.sum(|place| &place.backlog).saturating_add(u64::try_from(unread).unwrap_or(u64::MAX))
    }

    /// Events that wait on all nodes, by what the others last said.
    #[must_use]
    pub fn backlog_of_all(&self) -> u64 {
        self.backlog().saturating_add(self.others_backlog.load(Ordering::Relaxed))
    }

    /// Dead letters in this node's partitions.
    #[must_use]
    pub fn dead_letters(&self) -> u64 {
        self.sum(|place| &place.dead)
    }

    fn sum(&self, of: impl Fn(&Place) -> &AtomicI64) -> u64 {
        let held = self.places.iter().filter(|p| p.epoch.load(Ordering::Acquire) != NONE);
        let sum: i64 = held.map(|place| of(place).load(Ordering::Relaxed).max(0)).sum();
        u64::try_from(sum).unwrap_or(0)
    }

    pub(super) fn count_taken(&self, from_the_dead: u64, free: u64) {
        self.taken_over.fetch_add(from_the_dead, Ordering::Relaxed);
        self.taken_free.fetch_add(free, Ordering::Relaxed);
    }

    /// Partitions taken so far: from nodes that died, and free ones.
    #[must_use]
    pub fn taken(&self) -> (u64, u64) {
        (self.taken_over.load(Ordering::Relaxed), self.taken_free.load(Ordering::Relaxed))
    }

    /// What came with the first turn has been looked through.
    pub(crate) fn settle(&self) {
        self.settled.send_replace(true);
    }

    /// Waits for that.
    pub(crate) async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        // The sender is this value's own.
        let _ = settled.wait_for(|settled| *settled).await;
    }
}
