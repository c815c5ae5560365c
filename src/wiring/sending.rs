//! Events that come in through the admin API, and who sends the others.

use std::collections::HashMap;
use std::time::Duration;

use copydesk_actors::desk::{Desk as Office, KeyName, key_uses, query};
use copydesk_actors::receiver::Receiver;
use copydesk_actors::{World, schedule};
use copydesk_core::refusal::Refusal;
use copydesk_core::schedule::Schedule;
use copydesk_core::webhook::{IdempotencyKey, Origin};
use copydesk_eventlog::{EventLog, ReadError};
use copydesk_proto::SourceId;
use tokio::time::Instant;
use uuid::Uuid;

use super::desk::unreadable;
use crate::admin::{DeskError, EventOrder, SentRow, SourceRow};

/// Between two looks at an event that is waited for. A run without an AI call takes about 50 ms.
const LOOK: Duration = Duration::from_millis(50);
/// The longest pause between two; it doubles until then.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// States of an event to which something happens by itself.
const ON_ITS_WAY: [&str; 4] = ["unconsidered", "accepted", "working", "waiting"];

/// Stores the event, and waits for its end as long as the order says.
pub(super) async fn send(
    office: &Office,
    receivers: &HashMap<SourceId, Receiver>,
    order: EventOrder,
) -> Result<SentRow, DeskError> {
    let EventOrder { source, body, wait, by, reach } = order;
    let until = Instant::now() + wait;
    let receiver = receivers.get(&source).filter(|receiver| reach.has(receiver.site()));
    let receiver = receiver.ok_or(DeskError::NotFound)?;
    let key = IdempotencyKey::new(&Uuid::now_v7().to_string());
    let key = key.map_err(|error| DeskError::Invalid(error.to_string()))?;
    let event = receiver.accept(&body, key, Origin::Api(by)).map_err(refused)?;
    let post = event.post.clone();
    let receipt = receiver.store(event).await.map_err(refused)?;
    let mut row = SentRow {
        event_id: receipt.event_id,
        post: post.to_string(),
        position: receipt.position.0,
        duplicate: receipt.duplicate,
        state: "accepted".to_owned(),
        cause: String::new(),
        ended: false,
    };
    let mut pause = LOOK;
    while Instant::now() < until {
        let look = query::standing(&*office.world().log, &post, receipt.position.0).await;
        let (state, cause) = look.map_err(unreadable)?;
        row.ended = !ON_ITS_WAY.contains(&state);
        (row.state, row.cause) = (state.to_owned(), cause);
        if row.ended {
            break;
        }
        tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
        pause = (2 * pause).min(LOOK_MAX);
    }
    Ok(row)
}

fn refused(refusal: Refusal) -> DeskError {
    match refusal.status {
        429 | 503 => DeskError::Unavailable(refusal.detail.to_owned()),
        403 => DeskError::Refused(refusal.detail.to_owned()),
        _ => DeskError::Invalid(refusal.to_string()),
    }
}

/// The rows with the last use of each secret, and how the schedules stand.
pub(super) async fn with_uses(
    log: &dyn EventLog,
    mut rows: Vec<SourceRow>,
) -> Result<Vec<SourceRow>, ReadError> {
    let name =
        |source: &str, id: &str| -> Option<KeyName> { Some((source.parse().ok()?, id.to_owned())) };
    let keys = rows.iter().flat_map(|row| row.keys.iter().map(|key| name(&row.source, &key.id)));
    let uses = key_uses(log, keys.flatten().collect()).await?;
    for row in &mut rows {
        stands(log, row).await?;
        row.looked_back_to = uses.since.map(|since| since.0);
        for key in &mut row.keys {
            let last = name(&row.source, &key.id).and_then(|name| uses.last.get(&name).copied());
            key.used_at = last.map(|at| at.0);
        }
    }
    Ok(rows)
}

/// Fills in when a schedule's posts have and had their turn.
async fn stands(log: &dyn EventLog, row: &mut SourceRow) -> Result<(), ReadError> {
    let (Some(shown), Ok(source)) = (&mut row.schedule, row.source.parse()) else { return Ok(()) };
    if let Ok(schedule) = Schedule::new(&shown.cron, &shown.timezone) {
        shown.next_at = schedule.next_after(World::now()).map(|next| next.0);
    }
    if let Some(known) = schedule::progress(log, &source).await? {
        shown.last_at = Some(known.tick.at.0);
        (shown.done, shown.posts) = (known.tick.done, known.posts);
    }
    Ok(())
}
