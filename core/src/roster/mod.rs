//! Who works on which partition, as one value that the nodes change in turn, each on the condition
//! that nobody else did. What a node wants to change is a pure function of the value, of whom that
//! node holds for dead, and of what it has ready to give up.
//!
//! - A node holds up to its share, the partitions divided by the nodes, rounded up; what it has
//!   beyond it gives up, and free ones go to whoever is below. Nothing else moves.
//! - An epoch is given out once and only grows. Every change of holder brings a new one.
//! - Leases are for politeness. That a post has one history is the log's condition on each append,
//!   and holds without any of this.

mod codec;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use copydesk_proto::{NodeName, Timestamp};

pub use codec::UnreadableRoster;

use crate::limits::NODES_MAX;

/// A partition's number, from 0.
pub type Partition = u16;

/// The nodes and the leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The newest epoch given out.
    pub epoch: u64,
    /// The nodes, by name.
    pub members: BTreeMap<NodeName, Member>,
    /// One lease for each partition.
    pub leases: Vec<Lease>,
}

/// A node as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Random per process start: a second process under the same name is another.
    pub incarnation: u64,
    /// Grows with each renewal. One that stands still for the lease's time is dead.
    pub beat: u64,
    /// Hands its partitions over and takes none.
    pub leaving: bool,
    /// Copydesk's release.
    pub release: String,
    /// When it joined; display only.
    pub joined_at: Timestamp,
    /// Events of its partitions that wait.
    pub backlog: u64,
}

/// Who works on a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// The node; `None` when it is free.
    pub holder: Option<NodeName>,
    /// Since which epoch.
    pub epoch: u64,
    /// Since when; display only.
    pub since: Timestamp,
}

/// What a node brings to its turn.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The node.
    pub me: NodeName,
    /// Its entry; the beat is counted up by the turn.
    pub member: Member,
    /// Nodes whose beat has stood still for too long.
    pub dead: BTreeSet<NodeName>,
    /// Partitions of its own on which it has stopped working.
    pub released: BTreeSet<Partition>,
    /// Partitions of its own that need a new epoch: it stopped working on them for a while, or
    /// another node appended to one of their posts.
    pub renewed: BTreeSet<Partition>,
    /// The time, for people.
    pub now: Timestamp,
}

/// Why a node cannot join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// Too many nodes.
    #[error("{NODES_MAX} nodes share the log already")]
    Full,
}

impl Roster {
    /// A roster without nodes. `epoch` must be above every epoch of a roster before it.
    #[must_use]
    pub fn new(partitions: Partition, epoch: u64) -> Self {
        let leases = vec![Lease::default(); usize::from(partitions)];
        Self { epoch, members: BTreeMap::new(), leases }
    }

    /// The roster after a node's turn: the dead are gone, the node is in it, what it gives up is
    /// free, and it has taken free partitions up to its share.
    ///
    /// # Errors
    /// [`NoPlace`]; the node is not in it.
    pub fn turn(&self, turn: &Turn) -> Result<Self, NoPlace> {
        let mut next = self.clone();
        next.members.retain(|name, _| !turn.dead.contains(name));
        let before = next.members.get(&turn.me);
        if before.is_none() && next.members.len() >= NODES_MAX {
            return Err(NoPlace::Full);
        }
        let is_new = before.is_none_or(|m| m.incarnation != turn.member.incarnation);
        let beat = before.map_or(0, |member| member.beat) + 1;
        next.members.insert(turn.me.clone(), Member { beat, ..turn.member.clone() });
        for partition in next.held_by(&turn.me) {
            if turn.released.contains(&partition) {
                next.give(partition, None, turn.now);
            } else if is_new || turn.renewed.contains(&partition) {
                next.give(partition, Some(turn.me.clone()), turn.now);
            }
        }
        for partition in next.orphans() {
            next.give(partition, None, turn.now);
        }
        if !turn.member.leaving {
            let room = next.share().saturating_sub(next.held_by(&turn.me).len());
            for partition in next.free().into_iter().take(room) {
                next.give(partition, Some(turn.me.clone()), turn.now);
            }
        }
        Ok(next)
    }

    /// The roster without a node that has stopped; its partitions are free.
    #[must_use]
    pub fn without(&self, name: &NodeName, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.members.remove(name);
        for partition in next.orphans() {
            next.give(partition, None, now);
        }
        next
    }

    /// Whether a turn has changed nothing but the node's own beat and backlog.
    #[must_use]
    pub fn same_but_for_beats(&self, other: &Self) -> bool {
        let still = |(name, member): (&NodeName, &Member)| {
            let Some(there) = other.members.get(name) else { return false };
            (there.incarnation, there.leaving) == (member.incarnation, member.leaving)
        };
        self.leases == other.leases
            && self.members.len() == other.members.len()
            && self.members.iter().all(still)
    }

    /// Partitions that each node may hold: all of them divided by the nodes that stay.
    #[must_use]
    pub fn share(&self) -> usize {
        self.leases.len().div_ceil(self.staying().max(1))
    }

    /// Nodes that are not leaving.
    #[must_use]
    pub fn staying(&self) -> usize {
        self.members.values().filter(|member| !member.leaving).count()
    }

    /// What a node holds, in order.
    #[must_use]
    pub fn held_by(&self, name: &NodeName) -> Vec<Partition> {
        self.which(|lease| lease.holder.as_ref() == Some(name))
    }

    /// What a node has to give up: what is beyond its share, or everything when it leaves and
    /// somebody stays to take it.
    #[must_use]
    pub fn surplus(&self, name: &NodeName) -> Vec<Partition> {
        let held = self.held_by(name);
        let Some(member) = self.members.get(name) else { return held };
        let keeps = match (member.leaving, self.staying()) {
            (true, 0) => held.len(),
            (true, _) => 0,
            (false, _) => self.share(),
        };
        held.into_iter().skip(keeps).collect()
    }

    fn free(&self) -> Vec<Partition> {
        self.which(|lease| lease.holder.is_none())
    }

    /// Held by nodes that are not there.
    fn orphans(&self) -> Vec<Partition> {
        self.which(|lease| lease.holder.as_ref().is_some_and(|n| !self.members.contains_key(n)))
    }

    fn which(&self, wanted: impl Fn(&Lease) -> bool) -> Vec<Partition> {
        let numbered = (0..).zip(&self.leases);
        numbered.filter(|(_, lease)| wanted(lease)).map(|(partition, _)| partition).collect()
    }

    fn give(&mut self, partition: Partition, holder: Option<NodeName>, now: Timestamp) {
        self.epoch += 1;
        if let Some(lease) = self.leases.get_mut(usize::from(partition)) {
            *lease = Lease { holder, epoch: self.epoch, since: now };
        }
    }
}
