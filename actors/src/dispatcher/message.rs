//! What the dispatcher is told.

use copydesk_core::post::Rejection;
use copydesk_core::roster::Partition;
use copydesk_eventlog::{Record, Sequence};
use copydesk_proto::PostKey;
use ractor::ActorId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::shares::Look;
use crate::cluster::Released;
use crate::sequencer::{Operation, Rested};

/// What the dispatcher understands.
#[derive(Debug)]
pub enum DispatcherMessage {
    /// The next intake record, with the credit it travels on.
    Record(Box<Record>, OwnedSemaphorePermit),
    /// A post rests, says its sequencer.
    Rested(ActorId, PostKey, Rested),
    /// A sequencer failed.
    Failed(ActorId),
    /// An operator's verb for one post.
    Operate(PostKey, Operation, oneshot::Sender<Result<(), Rejection>>),
    /// Holds were released or set: parked posts look again.
    HoldsChanged,
    /// Partitions came, each with its epoch.
    Gained(Vec<(Partition, u64)>),
    /// They have been looked through; sent by the dispatcher's own task.
    LookedThrough(Box<Look>),
    /// Finish what is under way of these and stop, within a moment; tell of each that it is done.
    GiveUp(Vec<Partition>, Released),
    /// Stop working on these at once.
    Lost(Vec<Partition>),
    /// Another node appended a decision here about a post of this node's.
    Foreign(PostKey, Sequence),
    /// Time to look at parked and idle posts; sent by the dispatcher's own timer.
    Sweep,
    /// Tell how things stand.
    Status(oneshot::Sender<DispatcherStatus>),
    /// Take no further records; answer when nothing is in flight.
    Drain(oneshot::Sender<()>),
}

/// How things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DispatcherStatus {
    /// Posts with a sequencer at work.
    pub busy: usize,
    /// Posts with a sequencer at rest, kept for a while.
    pub idle: usize,
    /// Posts that wait for a time or an operator, without a sequencer.
    pub parked: usize,
    /// Posts ready to go on once there is room.
    pub ready: usize,
    /// Posts that may be busy at once.
    pub busy_max: usize,
}
