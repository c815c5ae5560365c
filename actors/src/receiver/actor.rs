//! The actor.

use std::sync::Arc;
use std::time::Duration;

use copydesk_core::limits::APPEND_TIMEOUT_MS;
use copydesk_core::refusal::{Code, Refusal};
use copydesk_core::webhook::{Origin, VerifiedWebhook};
use copydesk_eventlog::{AppendError, Appended, Sequence, crash_point};
use copydesk_proto::{PostKey, RouteId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::warn;
use uuid::Uuid;

use super::message::{Receipt, ReceiverMessage};
use super::publishing::Publishing;
use crate::World;
use crate::records::{Intake, Replay, Subjects};
use crate::telemetry::Mailbox;

/// The actor; its state is [`Admission`].
#[derive(Debug)]
pub struct ReceiverActor;

/// What a receiver needs to admit and append.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The node.
    pub world: Arc<World>,
    /// Events accepted and not ended, on all nodes, beyond which it refuses.
    pub backlog_max: u64,
}

impl Actor for ReceiverActor {
    type Msg = ReceiverMessage;
    type State = Admission;
    type Arguments = Admission;

    async fn pre_start(
        &self,
        _: ActorRef<ReceiverMessage>,
        admission: Admission,
    ) -> Result<Admission, ActorProcessingErr> {
        Ok(admission)
    }

    async fn handle(
        &self,
        _: ActorRef<ReceiverMessage>,
        message: ReceiverMessage,
        admission: &mut Admission,
    ) -> Result<(), ActorProcessingErr> {
        let ReceiverMessage::Store(webhook, reply) = message;
        let world = Arc::clone(&admission.world);
        world.telemetry.taken(Mailbox::Receivers);
        if world.partitions.backlog_of_all() >= admission.backlog_max {
            let refusal = Code::Overloaded.refuse("too many events wait; send again later");
            let _ = reply.send(Err(refusal.retry_after_s(RETRY_OVERLOADED_S)));
            return Ok(());
        }
        // In a task of its own, so that one slow append does not hold the next webhook up.
        tokio::spawn(Box::pin(async move {
            // A client that hung up gets no answer; its webhook is stored all the same.
            let _ = reply.send(store(&world, *webhook).await);
        }));
        Ok(())
    }
}

/// What a refused sender is told to wait: a thousand events drain in it at the slowest of sites.
const RETRY_OVERLOADED_S: u32 = 30;

async fn store(world: &World, webhook: VerifiedWebhook) -> Result<Receipt, Refusal> {
    let key = webhook.post.clone();
    let route = world.routes.route(&webhook).map(|route| route.id.clone());
    let mut intake = intake_of(webhook, route);
    let publishing = Publishing::begin(world, &mut intake);
    let append = world.log.append(intake.record(&key));
    crash_point("receiver.verified");
    let appended = tokio::time::timeout(Duration::from_millis(APPEND_TIMEOUT_MS), append).await;
    crash_point("receiver.appended");
    publishing.end(world, &intake, appended.as_ref().ok().and_then(|a| a.as_ref().ok()));
    match appended {
        Ok(Ok(Appended::Stored(position))) => {
            world.partitions.stored(position);
            Ok(Receipt { event_id: intake.event_id, duplicate: false, position })
        }
        Ok(Ok(Appended::Duplicate(first))) => duplicate(world, &key, &intake, first).await,
        Ok(Err(AppendError::Full(_))) => {
            let refusal = Code::LogFull.refuse("there is no room left to keep events; make room");
            Err(refusal.retry_after_s(60))
        }
        Ok(Err(error)) => {
            warn!(%error, "a webhook could not be stored");
            Err(unavailable())
        }
        Err(_) => {
            warn!("storing a webhook took too long; its outcome is unknown");
            Err(unavailable())
        }
    }
}

const fn unavailable() -> Refusal {
    Code::LogUnavailable
        .refuse("the event log does not answer; send again with the same idempotency key")
        .retry_after_s(5)
}

fn intake_of(webhook: VerifiedWebhook, route: Option<RouteId>) -> Intake {
    let text_hash = webhook.payload.text().map(|text| text.input_hash());
    let again = webhook.payload.again();
    let (sent_by, replay) = match webhook.origin {
        Origin::Signed => (String::new(), None),
        Origin::Api(by) => (by, None),
        Origin::Schedule => {
            let by = format!("schedule {}", webhook.source);
            (String::new(), Some(Replay { by, job: String::new() }))
        }
    };
    Intake {
        event_id: Uuid::now_v7().to_string(),
        source: webhook.source,
        event_type: webhook.payload.event_type,
        external_id: webhook.payload.external_id.unwrap_or_default(),
        idempotency_key: webhook.idempotency_key.to_string(),
        body_hash: webhook.body_hash,
        version: webhook.payload.version,
        text_hash,
        again,
        received_at: World::now(),
        key_id: webhook.key_id,
        trace: webhook.trace,
        body: webhook.body,
        route,
        sent_by,
        replay,
    }
}

/// Answers a repeat with the first copy's id; the same key with other words is refused.
async fn duplicate(
    world: &World,
    key: &PostKey,
    intake: &Intake,
    first: Sequence,
) -> Result<Receipt, Refusal> {
    let before = Sequence(first.0.saturating_sub(1));
    let subject = Subjects::of(key).intake;
    let page = world.log.history(&subject, before, 1).await.map_err(|_| unavailable())?;
    let Some(Ok(stored)) = page.first().map(Intake::read) else {
        return Err(unavailable());
    };
    if stored.body_hash != intake.body_hash {
        let detail = "this idempotency key was used before with another body; use a new key";
        return Err(Code::IdempotencyKeyReused.refuse(detail));
    }
    Ok(Receipt { event_id: stored.event_id, duplicate: true, position: first })
}
