//! The admin API's desk, over a running node: rows of the log as the API's JSON has them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use copydesk_actors::World;
use copydesk_actors::delivery::DeliveryMessage;
use copydesk_actors::desk::query::{self, EventFilter, PostFilter};
use copydesk_actors::desk::verify::{self, Violation};
use copydesk_actors::desk::{Desk as Office, HoldError, OperateError, journey};
use copydesk_actors::enrichment::EnrichmentMessage;
use copydesk_actors::sequencer::Operation;
use copydesk_core::breaker::BreakerState;
use copydesk_core::holds::{Hold, HoldScope};
use copydesk_core::post::{IntakePosition, Rejection, RunId};
use copydesk_eventlog::{EventLog, ReadError, Sequence};
use copydesk_proto::{PostKey, ProviderId, SiteId, Timestamp};
use futures::{FutureExt, StreamExt, future};
use tokio::sync::oneshot;
use tracing::warn;

use super::shown::Shown;
use crate::admin::{
    Act, Asked, Cursor, DeadLetterGroupRow, DeadLetterRow, Desk, DeskError, EventRow, Filter,
    FollowLine, Following, HoldRow, JourneyLine, Page, PostRow, PostView, ProviderRow, RouteRow,
    SiteRow, Status, VerifyReport,
};
use crate::config::Config;

/// A node's desk.
#[derive(Debug)]
pub struct NodeDesk {
    office: Office,
    shown: Shown,
    started_at: Timestamp,
}

impl NodeDesk {
    /// The desk of a node that has just started with this configuration.
    #[must_use]
    pub fn new(office: Office, config: &Config) -> Self {
        Self { office, shown: Shown::of(config), started_at: World::now() }
    }

    fn log(&self) -> &Arc<dyn EventLog> {
        &self.office.world().log
    }

    async fn operate(&self, post: PostKey, operation: Operation) -> Result<(), DeskError> {
        self.office.operate(post, operation).await.map_err(|error| match error {
            // A post or a run that is not there has no dead letter either.
            OperateError::Rejected(Rejection::NoSuchDeadLetter) => DeskError::NotFound,
            OperateError::Rejected(rejection) => DeskError::Refused(rejection.to_string()),
            OperateError::NoAnswer => DeskError::Unavailable(error.to_string()),
        })
    }

    /// A hold on what the configuration does not name would hold nothing.
    fn known(&self, scope: &HoldScope) -> Result<(), DeskError> {
        let world = self.office.world();
        let known = match scope {
            HoldScope::All => true,
            HoldScope::Site(site) => world.sites.contains_key(site),
            HoldScope::Source(source) => world.sources.contains_key(source),
            HoldScope::Provider(provider) => world.providers.contains_key(provider),
            HoldScope::Enrichment(enrichment) => world.enrichments.contains_key(enrichment),
            HoldScope::Route(route) => world.plans.contains_key(route),
            HoldScope::Post(post) => world.sites.contains_key(&post.site),
        };
        if known { Ok(()) } else { Err(DeskError::NotFound) }
    }

    async fn provider_rows(&self) -> Vec<ProviderRow> {
        let mut rows = self.shown.providers.clone();
        for row in &mut rows {
            let id: Option<ProviderId> = row.provider.parse().ok();
            let actor = id.and_then(|id| self.office.world().providers.get(&id));
            let Some(actor) = actor else { continue };
            let (reply, answer) = oneshot::channel();
            let asked = actor.cast(EnrichmentMessage::Status(reply.into()));
            let (Ok(()), Ok(status)) = (asked, answer.await) else { continue };
            breaker_name(status.breaker).clone_into(&mut row.breaker);
            row.in_flight = count(status.in_flight);
            row.cost_microdollars = status.cost_microdollars;
        }
        rows
    }

    async fn site_rows(&self) -> Vec<SiteRow> {
        let mut rows = self.shown.sites.clone();
        for row in &mut rows {
            let id: Option<SiteId> = row.site.parse().ok();
            let actor = id.and_then(|id| self.office.world().sites.get(&id));
            let Some(actor) = actor else { continue };
            let (reply, answer) = oneshot::channel();
            let asked = actor.cast(DeliveryMessage::Status(reply));
            let (Ok(()), Ok(status)) = (asked, answer.await) else { continue };
            let breaker = if status.paused_ms.is_some() { "open" } else { "closed" };
            breaker.clone_into(&mut row.breaker);
            row.in_flight = count(status.running);
        }
        rows
    }
}

impl Desk for NodeDesk {
    fn status(&self) -> Asked<'_, Status> {
        async {
            let world = self.office.world();
            let dispatcher = self.office.status().await;
            let durability = self.log().durability();
            let dead_letters = world.dead_letters.load(Ordering::Relaxed);
            Ok(Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                log_profile: format!("{}: {}", durability.profile, durability.sentence),
                ready: dispatcher.is_some(),
                backlog: world.backlog(),
                busy_posts: dispatcher.map_or(0, |d| count(d.busy + d.parked)),
                known_posts: world.known_posts.load(Ordering::Relaxed),
                dead_letters: u64::try_from(dead_letters).unwrap_or(0),
                started_at: self.started_at.0,
                providers: self.provider_rows().await,
                sites: self.site_rows().await,
            })
        }
        .boxed()
    }

    fn events(&self, filter: Filter) -> Asked<'_, Page<EventRow>> {
        async move {
            let wanted = EventFilter {
                reach: filter.reach,
                post: filter.post,
                state: filter.state,
                before: filter.before.map(place),
            };
            let found = query::events(&**self.log(), &wanted, filter.limit).await;
            Ok(page(found.map_err(unreadable)?, event_row))
        }
        .boxed()
    }

    fn event(&self, event_id: String) -> Asked<'_, EventRow> {
        async move {
            let row = query::event(&**self.log(), &event_id).await.map_err(unreadable)?;
            row.map(event_row).ok_or(DeskError::NotFound)
        }
        .boxed()
    }

    fn follow(&self, after: Option<u64>) -> Asked<'_, Following> {
        async move {
            let end = self.log().last_sequence().await.map_err(unreadable)?;
            let after = after.map_or(end, |after| Sequence(after).min(end));
            let told = |line: journey::JourneyLine| FollowLine {
                post: line.post.to_string(),
                line: journey_line(line),
            };
            Ok(journey::follow(&**self.log(), after)
                .take_while(|record| future::ready(record.is_ok()))
                .filter_map(|record| future::ready(record.ok()))
                .map(move |record| record.into_iter().map(told).collect())
                .boxed())
        }
        .boxed()
    }

    fn posts(&self, filter: Filter) -> Asked<'_, Page<PostRow>> {
        async move {
            let limit = filter.limit;
            let found = query::posts(&**self.log(), &post_filter(filter), limit).await;
            Ok(page(found.map_err(unreadable)?, post_row))
        }
        .boxed()
    }

    fn post(&self, post: PostKey) -> Asked<'_, PostView> {
        async move {
            let detail = query::post(&**self.log(), &post).await.map_err(unreadable)?;
            let row = post_row(detail.ok_or(DeskError::NotFound)?.row);
            let lines = journey::journey(&**self.log(), &post).await.map_err(unreadable)?;
            Ok(PostView { row, journey: lines.into_iter().map(journey_line).collect() })
        }
        .boxed()
    }

    fn dead_letters(&self, filter: Filter) -> Asked<'_, Page<DeadLetterRow>> {
        async move {
            let limit = filter.limit;
            let found = query::dead_letters(&**self.log(), &post_filter(filter), limit).await;
            Ok(page(found.map_err(unreadable)?, dead_letter_row))
        }
        .boxed()
    }

    fn dead_letter_groups(&self, filter: Filter) -> Asked<'_, Vec<DeadLetterGroupRow>> {
        async move {
            let groups = query::dead_letter_groups(&**self.log(), &post_filter(filter)).await;
            Ok(groups.map_err(unreadable)?.into_iter().map(group_row).collect())
        }
        .boxed()
    }

    fn retry(&self, post: PostKey, run: u64, act: Act) -> Asked<'_, ()> {
        let (run, by) = (RunId(IntakePosition(run)), act.by);
        self.operate(post, Operation::Retry { run, by }).boxed()
    }

    fn drop_dead_letter(&self, post: PostKey, run: u64, act: Act) -> Asked<'_, ()> {
        let (run, by) = (RunId(IntakePosition(run)), act.by);
        self.operate(post, Operation::Drop { run, by }).boxed()
    }

    fn holds(&self) -> Asked<'_, Vec<HoldRow>> {
        async { Ok(self.office.holds().into_iter().map(hold_row).collect()) }.boxed()
    }

    fn hold(&self, scope: HoldScope, act: Act) -> Asked<'_, HoldRow> {
        async move {
            if let Some(there) = self.office.holds().into_iter().find(|h| h.scope == scope) {
                return Ok(hold_row(there));
            }
            self.known(&scope)?;
            let hold = Hold::new(scope, &act.by, &act.reason, World::now());
            self.office.hold(hold.clone()).await.map_err(not_held)?;
            Ok(hold_row(hold))
        }
        .boxed()
    }

    fn release(&self, scope: HoldScope, act: Act) -> Asked<'_, ()> {
        async move {
            let was_held = self.office.release(&scope, &act.by, &act.reason).await;
            if was_held.map_err(not_held)? { Ok(()) } else { Err(DeskError::NotFound) }
        }
        .boxed()
    }

    fn sites(&self) -> Asked<'_, Vec<SiteRow>> {
        async { Ok(self.site_rows().await) }.boxed()
    }

    fn providers(&self) -> Asked<'_, Vec<ProviderRow>> {
        async { Ok(self.provider_rows().await) }.boxed()
    }

    fn routes(&self) -> Asked<'_, Vec<RouteRow>> {
        async { Ok(self.shown.routes.clone()) }.boxed()
    }

    fn verify(&self) -> Asked<'_, VerifyReport> {
        async { verify_log(&**self.log(), |_| {}).await.map_err(unreadable) }.boxed()
    }
}

/// Reads the whole log and checks the invariants. `progress` is told how many records were read.
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub async fn verify_log(
    log: &dyn EventLog,
    progress: impl FnMut(u64) + Send,
) -> Result<VerifyReport, ReadError> {
    let report = verify::verify(log, progress).await?;
    Ok(VerifyReport {
        checked_records: report.records,
        posts: report.posts,
        violations: report.violations.iter().map(in_words).collect(),
    })
}

fn in_words(violation: &Violation) -> String {
    let post = violation.post.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{post} at {}: {}: {}", violation.position, violation.rule, violation.text)
}

/// What the system says stays in the node's own log.
fn unreadable(error: ReadError) -> DeskError {
    warn!(%error, "the log could not be read for the desk");
    DeskError::Unavailable("the log cannot be read".to_owned())
}

fn not_held(error: HoldError) -> DeskError {
    match error {
        HoldError::TooMany(_) => DeskError::Refused(error.to_string()),
        HoldError::Append(_) | HoldError::Read(_) | HoldError::Unreadable | HoldError::Stopped => {
            let why = error.to_string();
            warn!(error = &error as &dyn std::error::Error, "a hold was not changed");
            DeskError::Unavailable(why)
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

const fn breaker_name(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed { .. } => "closed",
        BreakerState::Open { .. } | BreakerState::Forced => "open",
        BreakerState::HalfOpen { .. } => "half-open",
    }
}

const fn place(cursor: Cursor) -> query::Place {
    query::Place(cursor.0, cursor.1)
}

fn page<Found, Row>(page: query::Page<Found>, row: impl Fn(Found) -> Row) -> Page<Row> {
    let rows = page.rows.into_iter().map(row).collect();
    Page { rows, next: page.next.map(|place| Cursor(place.0, place.1)) }
}

fn post_filter(filter: Filter) -> PostFilter {
    PostFilter {
        reach: filter.reach,
        post: filter.post,
        state: filter.state,
        code: filter.code,
        before: filter.before.map(place),
    }
}

fn dead_letter_row(row: query::DeadLetterRow) -> DeadLetterRow {
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

fn group_row(group: query::DeadLetterGroup) -> DeadLetterGroupRow {
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

fn event_row(row: query::EventRow) -> EventRow {
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

fn post_row(row: query::PostRow) -> PostRow {
    PostRow {
        post: row.key.to_string(),
        status: row.state,
        considered: row.considered,
        waiting: row.waiting.into(),
        dead: row.dead.into(),
        last_at: row.last_at.0,
    }
}

fn journey_line(line: journey::JourneyLine) -> JourneyLine {
    JourneyLine {
        at_ms: line.at.0,
        kind: line.kind.to_owned(),
        text: line.text,
        position: line.position,
    }
}

fn hold_row(hold: Hold) -> HoldRow {
    HoldRow { scope: hold.scope.to_string(), by: hold.by, reason: hold.reason, at: hold.at.0 }
}
