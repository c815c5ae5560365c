//! What a sequencer is told, and what it tells the dispatcher.

use std::sync::Arc;

use copydesk_core::content::PostText;
use copydesk_core::post::{Effect, IntakePosition, PostCommand, Redo, Rejection, RunId};
use copydesk_eventlog::{Record, Sequence};
use copydesk_proto::{RouteId, SourceId, Timestamp};
use tokio::sync::oneshot;

use super::actor::Start;

/// What a sequencer understands.
#[derive(Debug)]
pub enum SequencerMessage {
    /// Read the post's history; the first message of a sequencer.
    Load,
    /// Leave the post, which is idle, and load this one.
    TakeOver(Box<Start>),
    /// An intake record, in log order.
    Intake(Box<Record>),
    /// The intake log holds records up to here that are not in the mailbox: read them.
    Behind(Sequence),
    /// The world answered an effect of this life.
    Answer(Life, Box<Answered>),
    /// An operator's verb.
    Operate(Operation, oneshot::Sender<Result<(), Rejection>>),
    /// Holds have changed, or the post's hour has come.
    Tick,
    /// The sequencer's own timer, or its own wish to go on.
    Timer,
    /// An effect of this life could not be carried out here; once more.
    Again(Life, Effect),
    /// Everything before this message is one turn; sent by the sequencer to itself.
    Flush,
}

/// How many posts a sequencer had before this one: what comes late is told by it.
pub type Life = u64;

/// An answer from outside.
#[derive(Debug)]
pub struct Answered {
    /// What it means to the post.
    pub command: PostCommand,
    /// The text that was read on the way, for the steps that follow.
    pub text: Option<(RunId, Arc<PostText>)>,
}

/// An operator's verb on one post.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Try a dead letter again.
    Retry {
        /// Which.
        run: RunId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// From where, and with what changed.
        redo: Redo,
    },
    /// Give a dead letter up.
    Drop {
        /// Which.
        run: RunId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Give up what waits, up to a place in the log.
    DropWaiting {
        /// The newest event that may be dropped.
        up_to: IntakePosition,
        /// Only events of this source.
        source: Option<SourceId>,
        /// Only events of this route.
        route: Option<RouteId>,
        /// Who.
        by: String,
    },
    /// Forget the post's content.
    Erase {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Write the state down, so that older records may be trimmed.
    Checkpoint,
}

impl From<Operation> for PostCommand {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Retry { run, by, reason, redo } => Self::Retry { run, by, reason, redo },
            Operation::Drop { run, by, reason } => Self::Drop { run, by, reason },
            Operation::DropWaiting { up_to, source, route, by } => {
                Self::DropWaiting { up_to, source, route, by }
            }
            Operation::Erase { by, reason } => Self::Erase { by, reason },
            Operation::Checkpoint => Self::Checkpoint,
        }
    }
}

/// What a sequencer says when nothing of its post is under way.
#[derive(Debug, Clone, Copy)]
pub struct Rested {
    /// Messages that it has received; if more were sent since, the post does not rest.
    pub received: u64,
    /// Intake records up to here are still in the log only.
    pub behind: Option<Sequence>,
    /// How the post stands.
    pub rest: Rest,
}

/// How a post stands after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing waits and nothing runs.
    Idle,
    /// Work waits for a time, or, with `None`, for an operator.
    Parked(Option<Timestamp>),
}

/// The place of a new event that a command brings.
pub(super) fn accepted_position(command: &PostCommand) -> Option<IntakePosition> {
    match command {
        PostCommand::Accept(incoming) => Some(incoming.position),
        PostCommand::Read { .. }
        | PostCommand::Enriched { .. }
        | PostCommand::Written { .. }
        | PostCommand::Told { .. }
        | PostCommand::Tick
        | PostCommand::Retry { .. }
        | PostCommand::Drop { .. }
        | PostCommand::DropWaiting { .. }
        | PostCommand::Erase { .. }
        | PostCommand::Withheld { .. }
        | PostCommand::Checkpoint => None,
    }
}
