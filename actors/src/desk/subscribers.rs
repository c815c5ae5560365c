//! What operators do to subscribers beyond the roster's own verbs: whatever touches notices.

use copydesk_core::post::IntakePosition;
use copydesk_eventlog::{AppendError, ReadError, Sequence};
use copydesk_proto::{PostKey, SubscriberId, Timestamp};
use futures::StreamExt;
use tracing::warn;
use uuid::Uuid;

use super::{Desk, OperateError};
use crate::World;
use crate::dispatcher::recovery::recover;
use crate::records::{INTAKE, Intake, Replay, Subjects, post_of};
use crate::sequencer::{Operation, Remembered};
use crate::subscribers::BookError;

impl Desk {
    /// Enables or disables a subscriber. What waits for one that is enabled goes on, in order.
    /// `false` when it was so before.
    ///
    /// # Errors
    /// [`BookError`].
    pub async fn switch_subscriber(
        &self,
        id: &SubscriberId,
        enabled: bool,
        by: &str,
        reason: &str,
    ) -> Result<bool, BookError> {
        self.world.subscribers.switch(id, enabled, by, reason).await
    }

    /// Removes an added subscriber; what waits for it is dropped.
    ///
    /// # Errors
    /// [`BookError`]; it is still there.
    pub async fn remove_subscriber(
        &self,
        id: &SubscriberId,
        by: &str,
        reason: &str,
    ) -> Result<(), BookError> {
        self.world.subscribers.remove(id, by, reason).await?;
        let (desk, id, by) = (self.clone(), id.clone(), by.to_owned());
        // What is left after a crash ends by itself: as work of a route that was removed.
        tokio::spawn(async move { desk.drop_notices(&id, &by).await });
        Ok(())
    }

    async fn drop_notices(&self, id: &SubscriberId, by: &str) {
        let unfinished = match recover(&*self.world.log, &Remembered::default(), None).await {
            Ok(recovery) => recovery.unfinished,
            Err(error) => {
                warn!(subscriber = %id, %error, "what waits for it could not be dropped");
                return;
            }
        };
        let of_it = |key: &PostKey| key.subscriber() == Some(id);
        for key in unfinished.into_keys().filter(of_it) {
            let up_to = IntakePosition(u64::MAX);
            let (source, route, by) = (None, None, by.to_owned());
            let drop = Operation::DropWaiting { up_to, source, route, by };
            match self.operate(key.clone(), drop).await {
                Ok(()) | Err(OperateError::Rejected(_)) => {}
                Err(error) => warn!(post = %key, %error, "notices were not dropped"),
            }
        }
    }
}

/// Notices of one replay; whoever needs more names a shorter time.
pub const REPLAY_MAX: usize = 10_000;

/// Records read at a time.
const PAGE: usize = 64;

/// Why notices are not sent again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such subscriber.
    #[error("there is no such subscriber")]
    NotFound,
    /// More than [`REPLAY_MAX`].
    #[error("more than {REPLAY_MAX} notices; name a shorter time")]
    TooMany,
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The log did not take it. Those before it are on their way.
    #[error("the log did not take it")]
    Append(#[from] AppendError),
}

impl Desk {
    /// Sends a subscriber's notices of a time once more, each under its id. Returns how many.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub async fn replay_notices(
        &self,
        id: &SubscriberId,
        since: Timestamp,
        until: Timestamp,
        by: &str,
    ) -> Result<u64, ReplayError> {
        if self.world.subscribers.get(id).is_none() {
            return Err(ReplayError::NotFound);
        }
        let job = Uuid::now_v7().simple().to_string();
        let found = self.notices(id, since, until).await?;
        let mut sent = 0;
        for (key, sequence) in found {
            let before = Sequence(sequence.0.saturating_sub(1));
            let page = self.world.log.history(&Subjects::of(&key).intake, before, 1).await?;
            // It may have been trimmed meanwhile.
            let Some(Ok(intake)) = page.first().map(Intake::read) else { continue };
            let again = Intake {
                idempotency_key: format!("replay-{job}-{}", intake.event_id),
                received_at: World::now(),
                replay: Some(Replay { by: by.to_owned(), job: job.clone() }),
                ..intake
            };
            self.world.log.append(again.record(&key)).await?;
            sent += 1;
        }
        Ok(sent)
    }

    /// Where the notices of a time are, of one post in their order.
    async fn notices(
        &self,
        id: &SubscriberId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(PostKey, Sequence)>, ReplayError> {
        let log = &self.world.log;
        let mut found = Vec::new();
        let mut newest = log.last_per_subject(INTAKE);
        while let Some(record) = newest.next().await {
            let record = record?;
            let of_it = |key: &PostKey| key.subscriber() == Some(id);
            let Some(key) = post_of(&record.subject).filter(of_it) else { continue };
            let mut after = Sequence(0);
            loop {
                let page = log.history(&record.subject, after, PAGE).await?;
                for record in &page {
                    after = record.sequence;
                    // A replay is sent again by what it replays.
                    let wanted = |intake: &Intake| {
                        let at = intake.received_at;
                        intake.replay.is_none()
                            && !intake.body.is_empty()
                            && at >= since
                            && at < until
                    };
                    if Intake::read(record).is_ok_and(|intake| wanted(&intake)) {
                        found.push((key.clone(), record.sequence));
                    }
                }
                if found.len() > REPLAY_MAX {
                    return Err(ReplayError::TooMany);
                }
                if page.len() < PAGE {
                    break;
                }
            }
        }
        Ok(found)
    }
}
