//! Looks at what keeps failing and at what piles up, and raises alerts. Saying the same again costs
//! nothing: [`crate::alerts`] tells a group once and then counts.

use std::sync::Arc;
use std::time::Duration;

use copydesk_core::breaker::BreakerState;
use tokio::sync::oneshot;

use crate::World;
use crate::alerts::Alert;
use crate::delivery::DeliveryMessage;
use crate::enrichment::EnrichmentMessage;

/// How often it looks: a breaker stays open for 30 s.
const EVERY: Duration = Duration::from_secs(10);

/// Looks again and again, for as long as it is polled.
pub(crate) async fn watch_for_ever(world: Arc<World>, backlog_max: u64) {
    loop {
        tokio::time::sleep(EVERY).await;
        for alert in look(&world, backlog_max).await {
            world.alerts.raise(alert);
        }
    }
}

async fn look(world: &World, backlog_max: u64) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (id, actor) in &world.providers {
        let (reply, answer) = oneshot::channel();
        let asked = actor.cast(EnrichmentMessage::Status(reply.into()));
        let (Ok(()), Ok(status)) = (asked, answer.await) else { continue };
        if let BreakerState::Open { .. } | BreakerState::HalfOpen { .. } = status.breaker {
            let waiting = status.waiting;
            alerts.push(Alert {
                group: format!("breaker provider:{id}"),
                text: format!(
                    "the AI service {id} keeps failing and is left alone; {waiting} calls wait"
                ),
            });
        }
    }
    for (id, actor) in &world.sites {
        let (reply, answer) = oneshot::channel();
        let asked = actor.cast(DeliveryMessage::Status(reply));
        let (Ok(()), Ok(status)) = (asked, answer.await) else { continue };
        if let (Some(_), Some(failure)) = (status.paused_ms, status.last_failure) {
            alerts.push(Alert {
                group: format!("breaker site:{id}"),
                text: format!("the site {id} is left alone: {}: {}", failure.code, failure.cause),
            });
        }
    }
    let backlog = world.partitions.backlog_of_all();
    // Once for all nodes.
    if world.partitions.keeps_desk() && backlog.saturating_mul(5) >= backlog_max.saturating_mul(4) {
        alerts.push(Alert {
            group: "backlog".to_owned(),
            text: format!("{backlog} events wait; from {backlog_max} on senders are refused"),
        });
    }
    alerts
}
