//! What other nodes decided, followed in the log: holds and caps for the whole desk, verbs on posts
//! that are this node's, and what was spent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use copydesk_eventlog::{Filter, Record, Sequence};
use futures::StreamExt;
use ractor::ActorRef;
use tokio::sync::oneshot;
use tracing::warn;

use crate::World;
use crate::desk::load_office;
use crate::dispatcher::DispatcherMessage;
use crate::ledger::LedgerMessage;
use crate::records::{DECISIONS, DESK_SUBJECT, DecisionHead, partition_in, post_of};
use crate::treasury::TreasuryMessage;

/// Records taken in at a time.
const PAGE_MAX: usize = 256;

/// Pause before a broken reader is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the log behind `after`, for as long as it is polled. The books hold what is before it.
pub(crate) async fn follow_neighbours(
    world: Arc<World>,
    after: Sequence,
    dispatcher: ActorRef<DispatcherMessage>,
) {
    let holds = Filter(Some(DESK_SUBJECT));
    let decisions = follow(Arc::clone(&world), after, DECISIONS, dispatcher.clone());
    futures::future::join(decisions, follow(world, after, holds, dispatcher)).await;
}

async fn follow(
    world: Arc<World>,
    mut after: Sequence,
    filter: Filter,
    dispatcher: ActorRef<DispatcherMessage>,
) {
    loop {
        let mut pages = world.log.tail(after, filter).ready_chunks(PAGE_MAX);
        while let Some(page) = pages.next().await {
            let page: Vec<Record> = page.into_iter().map_while(Result::ok).collect();
            let Some(last) = page.last() else { continue };
            after = last.sequence;
            if filter == DECISIONS {
                take_decisions(&world, page, &dispatcher).await;
            } else {
                take_office(&world, &dispatcher).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn take_decisions(
    world: &World,
    page: Vec<Record>,
    dispatcher: &ActorRef<DispatcherMessage>,
) {
    for record in &page {
        tell_foreign(world, record, dispatcher);
    }
    let (done, seen) = oneshot::channel();
    // When nobody takes them the node is stopping.
    let _stopped = world.ledger.cast(LedgerMessage::Seen(page, done));
    let _stopped = seen.await;
}

fn tell_foreign(world: &World, record: &Record, dispatcher: &ActorRef<DispatcherMessage>) {
    let partition = partition_in(&record.subject);
    if !partition.is_some_and(|partition| world.partitions.holds(partition)) {
        return;
    }
    let (Some(key), Ok(decision)) = (post_of(&record.subject), DecisionHead::read(record)) else {
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
