//! Events: the newest ones, and one by its id.

use std::collections::{BTreeMap, VecDeque};

use copydesk_core::access::Reach;
use copydesk_eventlog::{EventLog, Filter, ReadError, Record, Sequence};
use copydesk_proto::{PostKey, Timestamp};
use uuid::Uuid;

use super::outcome::outcomes;
use super::{EventRow, Page, Place, ROWS_MAX};
use crate::desk::journey::walk::PAGE;
use crate::records::{INTAKE, Intake, Subjects, post_of};

/// Log positions looked at backwards for one list: with a filter few records may match, and
/// reading this many takes some seconds.
const POSITIONS_MAX: u64 = 1_000_000;

/// Most positions looked at in one go, so that a list by state holds few rows it does not show.
const WINDOW_MAX: u64 = 20_000;

/// How far the receiver's clock and the log's may differ, in milliseconds, when an event is
/// looked up by the time in its id.
const SKEW_MS: i64 = 5_000;

/// Longest time from making an id to the log's taking it, in milliseconds; the receiver answers
/// 503 after four seconds, and then nobody was told the id.
const APPEND_MS: i64 = 5_000;

/// Webhooks looked at for one id: 15 seconds at 3,000 a second.
const LOOKED_AT_MAX: usize = 45_000;

/// Which events a list shows.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only of these sites.
    pub reach: Reach,
    /// Only of this post.
    pub post: Option<PostKey>,
    /// Only in this state.
    pub state: Option<String>,
    /// Only older than the event at this place.
    pub before: Option<Place>,
}

/// The newest events, newest first: at most `limit` and [`ROWS_MAX`]. One look goes through a
/// million positions of the log; a page may have few rows, or none, and still a next one.
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub async fn events(
    log: &dyn EventLog,
    filter: &EventFilter,
    limit: usize,
) -> Result<Page<EventRow>, ReadError> {
    let limit = limit.min(ROWS_MAX);
    let newest = log.last_sequence().await?.0;
    let before = filter.before.map_or(u64::MAX, |place| place.0.saturating_sub(1));
    let mut end = before.min(newest);
    let oldest = end.saturating_sub(POSITIONS_MAX);
    // A webhook has about four records of decisions beside its own.
    let mut width = 5 * u64::try_from(limit).unwrap_or(u64::MAX);
    let mut rows = Vec::new();
    while end > oldest && rows.len() < limit {
        let start = end.saturating_sub(width.min(WINDOW_MAX)).max(oldest);
        let mut found = window(log, filter, start, end, limit - rows.len()).await?;
        judge(log, &mut found).await?;
        found.retain(|row| filter.state.as_deref().is_none_or(|state| state == row.state));
        rows.extend(found.into_iter().rev());
        end = start;
        width = width.saturating_mul(2);
    }
    rows.truncate(limit);
    let last = rows.last().filter(|_| rows.len() == limit).map(|row: &EventRow| row.position);
    let rest = last.unwrap_or(end + 1);
    Ok(Page { rows, next: (rest > 1).then_some(Place(rest, 0)) })
}

/// The webhooks in `start+1..=end` that the filter wants, oldest first. Without a filter by
/// state only the newest `wanted`.
async fn window(
    log: &dyn EventLog,
    filter: &EventFilter,
    start: u64,
    end: u64,
    wanted: usize,
) -> Result<VecDeque<EventRow>, ReadError> {
    let keep = if filter.state.is_some() { usize::MAX } else { wanted };
    let subject = filter.post.as_ref().map(|key| Subjects::of(key).intake);
    let mut rows = VecDeque::new();
    let mut at = Sequence(start);
    while at.0 < end {
        let page = match &subject {
            Some(subject) => log.history(subject, at, PAGE).await?,
            None => log.read(at, INTAKE, PAGE).await?,
        };
        let Some(last) = page.last() else { break };
        at = last.sequence;
        for record in page.iter().filter(|record| record.sequence.0 <= end) {
            let Some(key) = post_of(&record.subject) else { continue };
            // Notices are shown when their post is asked for.
            let is_notice = key.subscriber().is_some() && filter.post.is_none();
            if is_notice || !filter.reach.has_post(&key) {
                continue;
            }
            rows.push_back(row(record, key));
            if rows.len() > keep {
                rows.pop_front();
            }
        }
    }
    Ok(rows)
}

/// Fills in how each event stands, one look at a post's decisions for all its events.
async fn judge(log: &dyn EventLog, rows: &mut VecDeque<EventRow>) -> Result<(), ReadError> {
    let mut posts: BTreeMap<PostKey, Vec<usize>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate().filter(|(_, row)| row.state != "unreadable") {
        posts.entry(row.post.clone()).or_default().push(place);
    }
    for (key, places) in posts {
        let positions: Vec<u64> =
            places.iter().filter_map(|place| rows.get(*place)).map(|row| row.position).collect();
        let found = outcomes(log, &key, &positions).await?;
        let found: BTreeMap<u64, _> = found.into_iter().map(|(at, how)| (at.0, how)).collect();
        for place in places {
            if let Some(row) = rows.get_mut(place)
                && let Some(outcome) = found.get(&row.position)
            {
                (row.state, row.cause) = (outcome.state, outcome.cause.clone());
            }
        }
    }
    Ok(())
}

/// The event with this id; `None` for no id, an id of no event, and an event whose place in time
/// does not fit its id, which takes clocks more than five seconds apart.
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub async fn event(log: &dyn EventLog, id: &str) -> Result<Option<EventRow>, ReadError> {
    let Some((id, made_ms)) = version_7(id) else { return Ok(None) };
    let mut at = first_since(log, made_ms.saturating_sub(SKEW_MS)).await?;
    let latest_ms = made_ms.saturating_add(SKEW_MS + APPEND_MS);
    let mut looked_at = 0;
    while looked_at < LOOKED_AT_MAX {
        let page = log.read(at, INTAKE, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        if let Some(record) = page.iter().find(|record| event_id(record).as_ref() == Some(&id)) {
            let Some(key) = post_of(&record.subject) else { return Ok(None) };
            let mut rows = VecDeque::from([row(record, key)]);
            judge(log, &mut rows).await?;
            return Ok(rows.pop_front());
        }
        if last.time_ms > latest_ms {
            return Ok(None);
        }
        at = last.sequence;
        looked_at += page.len();
    }
    Ok(None)
}

/// The id in the form we write it, and the milliseconds since 1970 in its first 48 bits (RFC 9562,
/// 5.7).
fn version_7(id: &str) -> Option<(String, i64)> {
    let id = Uuid::parse_str(id).ok().filter(|id| id.get_version_num() == 7)?;
    let made_ms = i64::try_from(id.as_u128() >> 80).ok()?;
    Some((id.to_string(), made_ms))
}

/// The id as the record's CloudEvents header has it; the payload is only read without one.
fn event_id(record: &Record) -> Option<String> {
    let header = record.headers.iter().find(|(name, _)| name == "ce-id");
    header.map(|(_, id)| id.clone()).or_else(|| Some(Intake::read(record).ok()?.event_id))
}

/// A place in the log with no record of `since_ms` or later up to it, by halving. Where clocks
/// went backwards it is one of several such places.
async fn first_since(log: &dyn EventLog, since_ms: i64) -> Result<Sequence, ReadError> {
    let (mut low, mut high) = (0, log.last_sequence().await?.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let page = log.read(Sequence(middle), Filter(None), 1).await?;
        match page.first() {
            Some(record) if record.time_ms < since_ms => low = record.sequence.0.min(high),
            Some(_) | None => high = middle,
        }
    }
    Ok(Sequence(low))
}

fn row(record: &Record, post: PostKey) -> EventRow {
    let position = record.sequence.0;
    match Intake::read(record) {
        Ok(intake) => EventRow {
            event_id: intake.event_id,
            post,
            source: intake.source.to_string(),
            event_type: intake.event_type,
            position,
            received_at: intake.received_at,
            external_id: intake.external_id,
            state: "unconsidered",
            cause: String::new(),
        },
        Err(bad) => EventRow {
            event_id: event_id(record).unwrap_or_default(),
            post,
            source: String::new(),
            event_type: String::new(),
            position,
            received_at: Timestamp(record.time_ms),
            external_id: String::new(),
            state: "unreadable",
            cause: bad.to_string(),
        },
    }
}
