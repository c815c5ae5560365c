//! The desk: what operators see and do. Everything seen is a view on the log; everything done is
//! an event in it.

mod attempts;
mod books;
pub mod erase;
pub mod jobs;
pub mod journey;
mod keys;
mod office;
pub mod query;
mod subscribers;
mod tokens;
pub mod trace;
pub mod verify;

pub use attempts::AttemptRow;
pub use books::{Costs, Standing};
pub use keys::{KeyName, KeyUses, key_uses};
pub use office::{CapsSet, HoldError, Office, load_office};
pub use subscribers::{REPLAY_MAX, ReplayError};
pub use tokens::{TokenBook, TokenError};

use std::sync::Arc;

use copydesk_core::budget::{BudgetName, Caps};
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
        office::hold(&self.world, hold).await
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
        let was_held = office::release(&self.world, scope, by, reason).await?;
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

    /// Sets a budget's caps in place of the configured ones, or with `None` gives those back;
    /// work that was withheld looks again.
    ///
    /// # Errors
    /// [`HoldError`]; the caps are as before.
    pub async fn set_caps(
        &self,
        name: &BudgetName,
        caps: Option<Caps>,
        by: &str,
        reason: &str,
    ) -> Result<(), HoldError> {
        office::set_caps(&self.world, name, caps, by, reason).await?;
        self.dispatcher.cast(DispatcherMessage::HoldsChanged).map_err(|_| HoldError::Stopped)
    }

    /// How the dispatcher stands; `None` when it has stopped.
    pub async fn status(&self) -> Option<DispatcherStatus> {
        let (reply, answer) = oneshot::channel();
        self.dispatcher.cast(DispatcherMessage::Status(reply)).ok()?;
        answer.await.ok()
    }
}
