//! What a site's list of posts is told: how events ended that brought no write, and that an
//! operator holds one. Of a write the site knows itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use copydesk_core::holds::Hold;
use copydesk_core::post::{End, IntakePosition, PostEvent};
use copydesk_proto::{PostId, PostKey, Timestamp};
use ractor::ActorRef;

use super::effects::sequence_of;
use crate::World;
use crate::alerts::Alert;
use crate::delivery::{DeliveryMessage, PostStatus};
use crate::records::{Intake, rule_words};

/// The reports of a turn, about post number `id`. Only events that their sender counts can be told
/// from older ones in the list.
pub(super) fn reports<'e>(
    events: &'e [PostEvent],
    intakes: &'e BTreeMap<IntakePosition, Arc<Intake>>,
    id: u64,
    now: Timestamp,
) -> impl Iterator<Item = PostStatus> + 'e {
    events.iter().filter_map(move |event| {
        let (position, state, cause) = report(event)?;
        status(intakes.get(&position)?, id, state, cause, now)
    })
}

/// That an operator holds the event.
pub(super) fn held_report(
    intake: &Intake,
    id: u64,
    hold: &Hold,
    now: Timestamp,
) -> Option<PostStatus> {
    status(intake, id, "held", format!("{} is held: {}", hold.scope, hold.reason), now)
}

/// The post's number and its site's actor, where the list has room for words of ours.
pub(super) fn list<'w>(
    world: &'w World,
    key: &PostKey,
) -> Option<(u64, &'w ActorRef<DeliveryMessage>)> {
    let PostId::Number(id) = key.post else { return None };
    let site = world.sites.get(&key.site)?;
    world.suggesting.contains(&key.site).then_some((id, site))
}

/// A comment or a move to the bin that nobody wants says nothing about the post: `None`.
fn status(
    intake: &Intake,
    id: u64,
    state: &'static str,
    cause: String,
    now: Timestamp,
) -> Option<PostStatus> {
    let of_text = ["post.published", "post.updated"].contains(&intake.event_type.as_str());
    let sequence = sequence_of(intake.version).filter(|_| of_text)?;
    Some(PostStatus { id, sequence, state, cause, at: now })
}

/// Dead letters need a person: told by site and code, not one by one.
pub(super) fn alerts<'e>(
    events: &'e [PostEvent],
    key: &'e PostKey,
) -> impl Iterator<Item = Alert> + 'e {
    events.iter().filter_map(move |event| {
        let PostEvent::DeadLettered { failure, .. } = event else { return None };
        let site = key.subscriber().map_or(key.site.as_str(), |to| to.as_str());
        let group = format!("dead letter {site} {}", failure.code);
        let text = format!("dead letters on {site}: {}: {}", failure.code, failure.cause);
        Some(Alert { group, text })
    })
}

fn report(event: &PostEvent) -> Option<(IntakePosition, &'static str, String)> {
    let ended = |position: IntakePosition, end: &End| {
        let (state, cause) = match end {
            End::Unchanged => ("unchanged", ""),
            End::Superseded { .. } => ("superseded", ""),
            End::Kept => ("kept", ""),
            End::Filtered { rule } => ("filtered", rule_words(rule)),
            End::Applied
            | End::Suggested
            | End::Duplicate { .. }
            | End::Gone
            | End::Dropped { .. } => return None,
        };
        Some((position, state, cause.to_owned()))
    };
    match event {
        PostEvent::Ignored { incoming, end } => ended(incoming.position, end),
        PostEvent::Ended { position, end } => ended(*position, end),
        PostEvent::RunEnded { run, end } => ended(run.0, end),
        PostEvent::DeadLettered { run, failure, .. } => {
            Some((run.0, "failed", failure.cause.clone()))
        }
        PostEvent::Accepted(_)
        | PostEvent::RunStarted { .. }
        | PostEvent::StepAsked { .. }
        | PostEvent::PostRead { .. }
        | PostEvent::StepSkipped { .. }
        | PostEvent::EnrichmentAnswered { .. }
        | PostEvent::WriteIntended { .. }
        | PostEvent::WriteApplied { .. }
        | PostEvent::WriteRefused { .. }
        | PostEvent::AttemptFailed { .. }
        | PostEvent::StepHeld { .. }
        | PostEvent::NoticeOwed { .. }
        | PostEvent::NoticePosted { .. }
        | PostEvent::Erased { .. }
        | PostEvent::RetryRequested { .. }
        | PostEvent::RunResumed { .. }
        | PostEvent::DeadLetterDropped { .. }
        | PostEvent::Checkpointed(_) => None,
    }
}
