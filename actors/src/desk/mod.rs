//! The desk: what operators see and do. Everything seen is a view on the log; everything done is
//! an event in it.

mod holds;
pub mod journey;
pub mod query;
mod tokens;
pub mod verify;

pub use holds::{HoldError, load_holds};
pub use tokens::{TokenBook, TokenError};

use std::sync::Arc;

use copydesk_core::holds::{Hold, HoldScope};
use copydesk_core::post::Rejection;
use copydesk_proto::PostKey;
use ractor::ActorRef;
use tokio::sync::oneshot;

use crate::World;
use crate::dispatcher::{DispatcherMessage, DispatcherStatus};
use crate::sequencer::Operation;

/// An operator's hands.
#[derive(Debug, Clone)]
pub struct Desk {
    world: Arc<World>,
    dispatcher: ActorRef<DispatcherMessage>,
}

/// Why a verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The post does not take it.
    #[error("the post refuses")]
    Rejected(#[source] Rejection),
    /// The post's sequencer failed meanwhile; the outcome is not known.
    #[error("the post did not answer; look at it and try again")]
    NoAnswer,
}

impl Desk {
    /// The desk of a running node.
    #[must_use]
    pub const fn new(world: Arc<World>, dispatcher: ActorRef<DispatcherMessage>) -> Self {
        Self { world, dispatcher }
    }

    /// The node it belongs to.
    #[must_use]
    pub const fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Carries out a verb on one post; the answer comes once it is durable.
    ///
    /// # Errors
    /// [`OperateError`].
    pub async fn operate(&self, key: PostKey, operation: Operation) -> Result<(), OperateError> {
        let (reply, answer) = oneshot::channel();
        let message = DispatcherMessage::Operate(key, operation, reply);
        self.dispatcher.cast(message).map_err(|_| OperateError::NoAnswer)?;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(rejection)) => Err(OperateError::Rejected(rejection)),
            Err(_) => Err(OperateError::NoAnswer),
        }
    }

    /// Holds a scope: events are taken in, nothing of it goes on.
    ///
    /// # Errors
    /// [`HoldError`]; nothing is held.
    pub async fn hold(&self, hold: Hold) -> Result<(), HoldError> {
        holds::hold(&self.world, hold).await
    }

    /// Releases a scope: what waited goes on, in order. `false` when it was not held.
    ///
    /// # Errors
    /// [`HoldError`]; it stays held.
    pub async fn release(
        &self,
        scope: &HoldScope,
        by: &str,
        reason: &str,
    ) -> Result<bool, HoldError> {
        let was_held = holds::release(&self.world, scope, by, reason).await?;
        if was_held {
            self.dispatcher
                .cast(DispatcherMessage::HoldsChanged)
                .map_err(|_| HoldError::Stopped)?;
        }
        Ok(was_held)
    }

    /// What is held.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        self.world.holds.load().iter().cloned().collect()
    }

    /// How the dispatcher stands; `None` when it has stopped.
    pub async fn status(&self) -> Option<DispatcherStatus> {
        let (reply, answer) = oneshot::channel();
        self.dispatcher.cast(DispatcherMessage::Status(reply)).ok()?;
        answer.await.ok()
    }
}
