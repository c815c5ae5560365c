//! What an enrichment actor understands.

use std::time::SystemTime;

use copydesk_core::breaker::BreakerState;
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_proto::SiteId;
use ractor::{ActorRef, RpcReplyPort};
use tokio::sync::oneshot;

use super::provider::{Question, Reply};
use crate::cluster::Lease;

/// The code of a failure that asks for patience: the service's own limit, or ours for it.
pub const RATE_LIMITED: &str = "provider_rate_limited";

/// A question and the place its answer goes to.
///
/// Every ask is answered once, unless nobody waits for it or its post is another node's by then:
/// such an ask is not started.
#[derive(Debug)]
pub struct Ask {
    /// What is asked.
    pub question: Question,
    /// Since when.
    pub since: SystemTime,
    /// Of the post that asks.
    pub lease: Lease,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Reply, Failure>>,
}

impl Ask {
    /// Whether an answer is of use. A node that was frozen wakes up to asks that others have
    /// answered long since.
    pub(super) fn is_wanted(&self) -> bool {
        !self.reply.is_closed() && self.lease.is_good()
    }
}

/// Asks a provider and waits for the answer; the wait ends with the provider's own limits.
///
/// # Errors
/// The provider's [`Failure`]; `provider_stopped` when its actor is gone.
pub async fn ask(
    provider: &ActorRef<EnrichmentMessage>,
    question: Question,
    lease: Lease,
) -> Result<Reply, Failure> {
    let stopped = || {
        let cause = "the provider's actor has stopped; this node is stopping or starting it anew";
        Failure::new(FailureClass::Unavailable, "provider_stopped", cause)
    };
    let (reply, answer) = oneshot::channel();
    let ask = Ask { question, since: SystemTime::now(), lease, reply };
    provider.cast(EnrichmentMessage::Ask(Box::new(ask))).map_err(|_| stopped())?;
    answer.await.map_err(|_| stopped())?
}

/// Messages of the enrichment actor.
#[derive(Debug)]
pub enum EnrichmentMessage {
    /// Ask the provider, now or as soon as its limits allow.
    Ask(Box<Ask>),
    /// An operator holds (`true`) or releases (`false`) the provider.
    Hold(bool),
    /// Tell how things stand.
    Status(RpcReplyPort<Status>),
    /// A call has ended; sent by the actor to itself.
    Finished(Finished),
    /// A wait is over; sent by the actor to itself.
    Wake,
}

/// What the actor needs to know of a call that ended.
#[derive(Debug)]
pub struct Finished {
    pub(super) site: SiteId,
    /// `None`: no call was made after all.
    pub(super) outcome: Option<Result<Spent, Failure>>,
}

/// What a call took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) input_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) cost_microdollars: u64,
}

/// How a provider stands. Counters run from the start of the actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Calls that are out.
    pub in_flight: usize,
    /// Asks that wait for a limit.
    pub waiting: usize,
    /// What the breaker is doing.
    pub breaker: BreakerState,
    /// Calls that ended, well or not.
    pub calls: u64,
    /// Calls that ended in a failure.
    pub failures: u64,
    /// Asks answered without a call, because the wait would have been too long.
    pub turned_away: u64,
    /// Prompt tokens of all answers.
    pub input_tokens: u64,
    /// Answer tokens of all answers.
    pub output_tokens: u64,
    /// Price of all answers, in millionths of a dollar.
    pub cost_microdollars: u64,
}
