//! Rows of the log as the API's JSON has them.

use copydesk_actors::World;
use copydesk_actors::desk::journey;
use copydesk_actors::desk::query::{self, PostFilter};
use copydesk_core::breaker::BreakerState;
use copydesk_core::holds::{Hold, HoldScope};

use crate::admin::{
    Cursor, DeadLetterGroupRow, DeadLetterRow, DeskError, EventRow, Filter, HoldRow, JourneyLine,
    Page, PostRow,
};

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

pub(super) const fn breaker_name(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed { .. } => "closed",
        BreakerState::Open { .. } | BreakerState::Forced => "open",
        BreakerState::HalfOpen { .. } => "half-open",
    }
}

pub(super) const fn place(cursor: Cursor) -> query::Place {
    query::Place(cursor.0, cursor.1)
}

pub(super) fn page<Found, Row>(page: query::Page<Found>, row: impl Fn(Found) -> Row) -> Page<Row> {
    let rows = page.rows.into_iter().map(row).collect();
    Page { rows, next: page.next.map(|place| Cursor(place.0, place.1)) }
}

pub(super) fn post_filter(filter: Filter) -> PostFilter {
    PostFilter {
        reach: filter.reach,
        post: filter.post,
        state: filter.state,
        code: filter.code,
        before: filter.before.map(place),
    }
}

pub(super) fn dead_letter_row(row: query::DeadLetterRow) -> DeadLetterRow {
    DeadLetterRow {
        post: row.post.to_string(),
        run: row.run,
        step: row.step,
        code: row.code,
        cause: row.cause,
        at: row.at.0,
        paid: count(row.paid),
    }
}

pub(super) fn group_row(group: query::DeadLetterGroup) -> DeadLetterGroupRow {
    let posts =
        if group.posts == 1 { "1 post".to_owned() } else { format!("{} posts", group.posts) };
    DeadLetterGroupRow {
        title: format!("{posts} of {}: {}", group.site, group.cause),
        site: group.site.to_string(),
        code: group.code,
        cause: group.cause,
        posts: group.posts,
        letters: group.letters,
        first_at: group.first_at.0,
        last_at: group.last_at.0,
        example: group.example.to_string(),
    }
}

pub(super) fn event_row(row: query::EventRow) -> EventRow {
    EventRow {
        event_id: row.event_id,
        post: row.post.to_string(),
        source: row.source,
        event_type: row.event_type,
        position: row.position,
        received_at: row.received_at.0,
        state: row.state.to_owned(),
        cause: row.cause,
    }
}

pub(super) fn post_row(row: query::PostRow) -> PostRow {
    PostRow {
        post: row.key.to_string(),
        status: row.state,
        considered: row.considered,
        waiting: row.waiting.into(),
        dead: row.dead.into(),
        last_at: row.last_at.0,
    }
}

pub(super) fn journey_line(line: journey::JourneyLine) -> JourneyLine {
    JourneyLine {
        at_ms: line.at.0,
        kind: line.kind.to_owned(),
        text: line.text,
        position: line.position,
    }
}

pub(super) fn hold_row(hold: Hold) -> HoldRow {
    HoldRow { scope: hold.scope.to_string(), by: hold.by, reason: hold.reason, at: hold.at.0 }
}

/// A hold on what the configuration does not name would hold nothing.
pub(super) fn known(world: &World, scope: &HoldScope) -> Result<(), DeskError> {
    let known = match scope {
        HoldScope::All | HoldScope::Deliveries => true,
        HoldScope::Site(site) => world.sites.contains_key(site),
        HoldScope::Source(source) => world.sources.contains_key(source),
        HoldScope::Provider(provider) => world.providers.contains_key(provider),
        HoldScope::Enrichment(enrichment) => world.enrichments.contains_key(enrichment),
        HoldScope::Route(route) => world.plans.contains_key(route),
        HoldScope::Subscriber(subscriber) => world.subscribers.get(subscriber).is_some(),
        HoldScope::Post(post) => world.sites.contains_key(&post.site),
    };
    if known { Ok(()) } else { Err(DeskError::NotFound) }
}
