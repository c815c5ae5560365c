//! Moves intake records from the log to the dispatcher, one credit each, and opens the log again
//! when a reader breaks.

use std::sync::Arc;
use std::time::Duration;

use copydesk_eventlog::Sequence;
use futures::StreamExt;
use ractor::ActorRef;
use tokio::sync::Semaphore;
use tracing::warn;

use super::message::DispatcherMessage;
use crate::World;
use crate::records::INTAKE;
use crate::telemetry::Mailbox;

/// Pauses between openings of a broken reader; a log that is down for minutes is asked every 5 s.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs until the dispatcher or the credits are closed.
pub(super) async fn pump(
    world: Arc<World>,
    mut after: Sequence,
    credits: Arc<Semaphore>,
    dispatcher: ActorRef<DispatcherMessage>,
) {
    let mut pause = PAUSE_MIN;
    loop {
        let mut records = world.log.tail(after, INTAKE);
        loop {
            let Ok(credit) = Arc::clone(&credits).acquire_owned().await else { return };
            match records.next().await {
                Some(Ok(record)) => {
                    after = record.sequence;
                    pause = PAUSE_MIN;
                    let message = DispatcherMessage::Record(Box::new(record), credit);
                    world.telemetry.sent(Mailbox::Dispatcher);
                    if dispatcher.cast(message).is_err() {
                        return;
                    }
                }
                // The node is stopping, and its log is closed.
                Some(Err(_)) if credits.is_closed() => return,
                Some(Err(error)) => {
                    warn!(%error, after = after.0, "reading the intake log failed; trying again");
                    break;
                }
                None => break,
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
