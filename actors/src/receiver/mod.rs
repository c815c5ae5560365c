//! The receiver: one actor per source, the only way into the intake log.
//!
//! Verifying needs no state, so it runs on the connection's own task, on any core; what has been
//! verified goes to the actor, which admits and appends. `Accepted` is answered only when the
//! webhook is durable, in the sense of the log's profile. An unknown outcome is never answered as
//! accepted.

mod actor;
mod message;
mod publishing;
mod taking;

pub use actor::{Admission, ReceiverActor};
pub use message::{Receipt, ReceiverMessage};
pub use taking::{Came, Taking};

use std::sync::Arc;

use bytes::Bytes;
use copydesk_core::refusal::{Code, Refusal};
use copydesk_core::webhook::{
    Head, IdempotencyKey, Origin, SourceRules, VerifiedWebhook, accept, verify,
};
use copydesk_proto::SiteId;
use ractor::ActorRef;
use tokio::sync::oneshot;

use crate::World;
use crate::telemetry::{Mailbox, Telemetry};

/// A source's way in.
#[derive(Debug, Clone)]
pub struct Receiver {
    rules: Arc<SourceRules>,
    actor: ActorRef<ReceiverMessage>,
    telemetry: Telemetry,
}

impl Receiver {
    /// The way in of the source with these rules, through its actor.
    #[must_use]
    pub const fn new(
        rules: Arc<SourceRules>,
        actor: ActorRef<ReceiverMessage>,
        telemetry: Telemetry,
    ) -> Self {
        Self { rules, actor, telemetry }
    }

    /// Where spans and counts go.
    #[must_use]
    pub const fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The site its webhooks are about.
    #[must_use]
    pub fn site(&self) -> &SiteId {
        &self.rules.payload.site
    }

    /// Who sent this, and may they?
    ///
    /// # Errors
    /// What to answer instead.
    pub fn verify(&self, head: &Head<'_>, body: &Bytes) -> Result<VerifiedWebhook, Refusal> {
        verify(&self.rules, head, body, World::now())
    }

    /// Reads an event whose sender was let in without a signature; see [`accept`].
    ///
    /// # Errors
    /// What to answer instead.
    pub fn accept(
        &self,
        body: &Bytes,
        key: IdempotencyKey,
        origin: Origin,
    ) -> Result<VerifiedWebhook, Refusal> {
        accept(&self.rules, body, key, origin)
    }

    /// Stores a webhook. Returns once it is durable; goes on to its end when dropped.
    ///
    /// # Errors
    /// What to answer instead.
    pub async fn store(&self, webhook: VerifiedWebhook) -> Result<Receipt, Refusal> {
        const STOPPED: Refusal = Code::Draining
            .refuse("the desk is shutting down; send again in a moment")
            .retry_after_s(5);
        let (reply, answer) = oneshot::channel();
        let message = ReceiverMessage::Store(Box::new(webhook), reply);
        self.telemetry.sent(Mailbox::Receivers);
        self.actor.cast(message).map_err(|_| STOPPED)?;
        answer.await.unwrap_or(Err(STOPPED))
    }
}
