//! The node's count of events that wait.

use copydesk_core::post::{IntakePosition, PostEvent};
use copydesk_eventlog::Sequence;
use copydesk_proto::PostKey;

use crate::records::ends;

/// What a turn adds to the backlog: events that were there when the partition came join it, ended
/// ones leave it. Later events joined when they were stored. Notices are no backlog: a subscriber
/// that is down must not have senders refused.
pub(super) fn backlog_change(events: &[PostEvent], since: Sequence, key: &PostKey) -> i64 {
    if key.subscriber().is_some() {
        return 0;
    }
    let earlier = |position: IntakePosition| position.0 <= since.0;
    events.iter().fold(0, |change, event| {
        let joins = match event {
            PostEvent::Accepted(incoming) | PostEvent::Ignored { incoming, .. } => {
                earlier(incoming.position)
            }
            PostEvent::RetryRequested { .. } => true,
            PostEvent::Ended { .. }
            | PostEvent::RunStarted { .. }
            | PostEvent::StepAsked { .. }
            | PostEvent::PostRead { .. }
            | PostEvent::StepSkipped { .. }
            | PostEvent::EnrichmentAnswered { .. }
            | PostEvent::StepHeld { .. }
            | PostEvent::WriteIntended { .. }
            | PostEvent::WriteApplied { .. }
            | PostEvent::WriteRefused { .. }
            | PostEvent::AttemptFailed { .. }
            | PostEvent::NoticeOwed { .. }
            | PostEvent::NoticePosted { .. }
            | PostEvent::RunEnded { .. }
            | PostEvent::DeadLettered { .. }
            | PostEvent::RunResumed { .. }
            | PostEvent::DeadLetterDropped { .. }
            | PostEvent::Erased { .. }
            | PostEvent::Checkpointed(_) => false,
        };
        change + i64::from(joins) - i64::from(ends(event))
    })
}
