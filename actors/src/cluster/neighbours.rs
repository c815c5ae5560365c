//! What other nodes' operators decided, followed in the log: holds and caps for the whole desk, and
//! verbs on posts that are this node's.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use copydesk_eventlog::{Filter, Record, Sequence};
use futures::StreamExt;
use ractor::ActorRef;
use tracing::warn;

use crate::World;
use crate::desk::load_office;
use crate::dispatcher::DispatcherMessage;
use crate::records::{DECISIONS, DESK_SUBJECT, Decision, partition_in, post_of};
use crate::treasury::TreasuryMessage;

/// Pause before a broken reader is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Last token of the desk's own subject.
const HOLDS: &str = "holds";

/// Follows the log behind `after`, for as long as it is polled.
pub(crate) async fn follow_neighbours(
    world: Arc<World>,
    after: Sequence,
    dispatcher: ActorRef<DispatcherMessage>,
) {
    let verbs = follow(Arc::clone(&world), after, DECISIONS, dispatcher.clone());
    futures::future::join(verbs, follow(world, after, HOLDS, dispatcher)).await;
}

async fn follow(
    world: Arc<World>,
    mut after: Sequence,
    last: &'static str,
    dispatcher: ActorRef<DispatcherMessage>,
) {
    loop {
        let mut records = world.log.tail(after, Filter(Some(last)));
        while let Some(Ok(record)) = records.next().await {
            after = record.sequence;
            if record.subject.as_str() == DESK_SUBJECT {
                take_office(&world, &dispatcher).await;
            } else {
                tell_foreign(&world, &record, &dispatcher);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn tell_foreign(world: &World, record: &Record, dispatcher: &ActorRef<DispatcherMessage>) {
    let partition = partition_in(&record.subject);
    if !partition.is_some_and(|partition| world.partitions.holds(partition)) {
        return;
    }
    let (Some(key), Ok(decision)) = (post_of(&record.subject), Decision::read(record)) else {
        return;
    };
    if decision.owner != world.owner {
        let _stopped = dispatcher.cast(DispatcherMessage::Foreign(key, record.sequence));
    }
}

/// Puts in force what operators have decided by now.
async fn take_office(world: &World, dispatcher: &ActorRef<DispatcherMessage>) {
    let office = match load_office(&*world.log).await {
        Ok((office, _)) => office,
        Err(error) => {
            warn!(%error, "another node's hold or cap is not in force here; the next one brings it");
            return;
        }
    };
    let configured = world.caps.iter().map(|(name, caps)| (name.clone(), *caps)).collect();
    for (name, caps) in office.caps(configured) {
        let _stopped = world.treasury.cast(TreasuryMessage::SetCaps(name, caps));
    }
    world.holds.store(Arc::new(office.holds));
    world.budgets_changed_at.store(World::now().0 + 1, Ordering::Relaxed);
    let _stopped = dispatcher.cast(DispatcherMessage::HoldsChanged);
}
