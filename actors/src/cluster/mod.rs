//! Several nodes on one log: who works on which partition, and what each must know of the others.
//!
//! - The *keeper* (`keeper.rs`) takes the node's turns at the roster (`core::roster`), four looks a
//!   second, and tells the dispatcher what was gained and what is to be given up.
//! - [`Partitions`] is where everybody looks: without a good lease nothing is appended and nothing
//!   is done for a post.
//! - The *neighbours* (`neighbours.rs`) are followed in the log: what their operators decided.
//!
//! None of it makes a post's history one: that is the condition of each append. Leases save the
//! work that two owners of a post would do in vain.

mod keeper;
mod neighbours;
mod partitions;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use copydesk_core::roster::{Partition, Roster};
use copydesk_eventlog::Register;
use copydesk_proto::NodeName;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub(crate) use keeper::Keeper;
pub(crate) use neighbours::follow_neighbours;
pub use partitions::{Lease, Partitions, Sharers};

/// How a node shares its log with others.
#[derive(Clone)]
pub struct ClusterSettings {
    /// The node's own name; no two have the same.
    pub name: NodeName,
    /// Where the roster stands.
    pub register: Arc<dyn Register>,
    /// Copydesk's release, for the others.
    pub release: String,
}

impl fmt::Debug for ClusterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSettings").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The roster as this node last read it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What stood there.
    pub roster: Roster,
    /// Since when each node's beat stands as it does, by this node's clock.
    pub beats: Vec<(NodeName, Instant)>,
}

/// What the node shows of its cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The node's own name.
    pub name: NodeName,
    pub(crate) seen: ArcSwapOption<Seen>,
    phase: watch::Sender<Phase>,
    handed_over: watch::Sender<bool>,
    ended: watch::Sender<bool>,
}

/// What the keeper is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Take its share.
    Stays,
    /// Give everything to the nodes that stay.
    Leaves,
    /// Take the node's entry away and end.
    Ends,
}

impl Cluster {
    pub(crate) fn new(name: NodeName) -> Self {
        Self {
            name,
            seen: ArcSwapOption::empty(),
            phase: watch::Sender::new(Phase::Stays),
            handed_over: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        }
    }

    /// The roster; `None` before it was first read.
    #[must_use]
    pub fn seen(&self) -> Option<Arc<Seen>> {
        self.seen.load_full()
    }
}

/// The dispatcher has stopped working on these.
pub(crate) type Released = mpsc::UnboundedSender<Partition>;
