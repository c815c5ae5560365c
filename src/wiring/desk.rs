//! The admin API's desk, over a running node: rows of the log as the API's JSON has them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use copydesk_actors::World;
use copydesk_actors::delivery::DeliveryMessage;
use copydesk_actors::desk::query::{self, EventFilter, PostFilter};
use copydesk_actors::desk::trace::{self, Trace};
use copydesk_actors::desk::verify::{self, Violation};
use copydesk_actors::desk::{Desk as Office, HoldError, OperateError, journey};
use copydesk_actors::enrichment::EnrichmentMessage;
use copydesk_actors::sequencer::Operation;
use copydesk_core::breaker::BreakerState;
use copydesk_core::holds::{Hold, HoldScope};
use copydesk_core::post::{IntakePosition, RunId};
use copydesk_eventlog::{EventLog, ReadError, Sequence};
use copydesk_proto::{PostKey, Timestamp};
use futures::{FutureExt, StreamExt, future};
use tokio::sync::oneshot;
use tracing::warn;

use crate::admin::{
    Asked, DeadLetterRow, Desk, DeskError, EventRow, Filter, FollowLine, Following, HoldRow,
    JourneyLine, PostRow, PostView, ProviderRow, SiteRow, Status, TraceOf, VerifyReport,
};

/// Who acts through the admin API, as long as it knows one token only.
const OPERATOR: &str = "operator";

/// A node's desk.
#[derive(Debug)]
pub struct NodeDesk {
    office: Office,
    started_at: Timestamp,
}

impl NodeDesk {
    /// The desk of a node that has just started.
    #[must_use]
    pub fn new(office: Office) -> Self {
        Self { office, started_at: World::now() }
    }

    fn log(&self) -> &Arc<dyn EventLog> {
        &self.office.world().log
    }

    async fn operate(&self, post: PostKey, operation: Operation) -> Result<(), DeskError> {
        self.office.operate(post, operation).await.map_err(|error| match error {
            OperateError::Rejected(rejection) => DeskError::Refused(rejection.to_string()),
            OperateError::NoAnswer => DeskError::Unavailable(error.to_string()),
        })
    }

    async fn providers(&self) -> Vec<ProviderRow> {
        let mut rows = Vec::new();
        for (id, actor) in &self.office.world().providers {
            let (reply, answer) = oneshot::channel();
            let asked = actor.cast(EnrichmentMessage::Status(reply.into()));
            let (Ok(()), Ok(status)) = (asked, answer.await) else { continue };
            rows.push(ProviderRow {
                provider: id.to_string(),
                breaker: breaker_name(status.breaker).to_owned(),
                in_flight: count(status.in_flight),
                cost_microdollars: status.cost_microdollars,
            });
        }
        rows.sort_by(|a, b| a.provider.cmp(&b.provider));
        rows
    }

    async fn sites(&self) -> Vec<SiteRow> {
        let mut rows = Vec::new();
        for (id, actor) in &self.office.world().sites {
            let (reply, answer) = oneshot::channel();
            let asked = actor.cast(DeliveryMessage::Status(reply));
            let (Ok(()), Ok(status)) = (asked, answer.await) else { continue };
            let breaker = if status.paused_ms.is_some() { "open" } else { "closed" };
            rows.push(SiteRow {
                site: id.to_string(),
                breaker: breaker.to_owned(),
                in_flight: count(status.running),
            });
        }
        rows.sort_by(|a, b| a.site.cmp(&b.site));
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
                known_posts: world.remembered.count(),
                dead_letters: u64::try_from(dead_letters).unwrap_or(0),
                started_at: self.started_at.0,
                providers: self.providers().await,
                sites: self.sites().await,
            })
        }
        .boxed()
    }

    fn events(&self, filter: Filter) -> Asked<'_, Vec<EventRow>> {
        async move {
            let wanted = EventFilter {
                site: filter.site,
                post: filter.post,
                state: filter.state,
                before: filter.before.map(Sequence),
            };
            let rows = query::events(&**self.log(), &wanted, filter.limit).await;
            Ok(rows.map_err(unreadable)?.into_iter().map(event_row).collect())
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

    fn follow(&self, post: Option<PostKey>) -> Asked<'_, Following> {
        async move {
            let end = self.log().last_sequence().await.map_err(unreadable)?;
            let lines = journey::follow(&**self.log(), end);
            Ok(lines
                .take_while(|line| future::ready(line.is_ok()))
                .filter_map(move |line| {
                    let line = line.ok().filter(|l| post.as_ref().is_none_or(|p| l.post == *p));
                    let told = |l: journey::JourneyLine| FollowLine {
                        post: l.post.to_string(),
                        line: journey_line(l),
                    };
                    future::ready(line.map(told))
                })
                .boxed())
        }
        .boxed()
    }

    fn posts(&self, filter: Filter) -> Asked<'_, Vec<PostRow>> {
        async move {
            let limit = filter.limit;
            let rows = query::posts(&**self.log(), &post_filter(filter), limit).await;
            Ok(rows.map_err(unreadable)?.into_iter().map(post_row).collect())
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

    fn traces(&self, of: TraceOf) -> Asked<'_, Vec<Trace>> {
        async move {
            let log = &**self.log();
            let (post, only) = match of {
                TraceOf::Post(post) => (post, None),
                TraceOf::Event(event_id) => {
                    let row = query::event(log, &event_id).await.map_err(unreadable)?;
                    let row = row.ok_or(DeskError::NotFound)?;
                    (row.post, Some(row.position))
                }
            };
            let traces = trace::traces(log, &post, only).await.map_err(unreadable)?;
            if traces.is_empty() { Err(DeskError::NotFound) } else { Ok(traces) }
        }
        .boxed()
    }

    fn dead_letters(&self, filter: Filter) -> Asked<'_, Vec<DeadLetterRow>> {
        async move {
            let limit = filter.limit;
            let rows = query::dead_letters(&**self.log(), &post_filter(filter), limit).await;
            let row = |row: query::DeadLetterRow| DeadLetterRow {
                post: row.post.to_string(),
                run: row.run,
                code: row.code,
                cause: row.cause,
                at: row.at.0,
            };
            Ok(rows.map_err(unreadable)?.into_iter().map(row).collect())
        }
        .boxed()
    }

    fn retry(&self, post: PostKey, run: u64) -> Asked<'_, ()> {
        let (run, by) = (RunId(IntakePosition(run)), OPERATOR.to_owned());
        self.operate(post, Operation::Retry { run, by }).boxed()
    }

    fn drop_dead_letter(&self, post: PostKey, run: u64) -> Asked<'_, ()> {
        let (run, by) = (RunId(IntakePosition(run)), OPERATOR.to_owned());
        self.operate(post, Operation::Drop { run, by }).boxed()
    }

    fn holds(&self) -> Asked<'_, Vec<HoldRow>> {
        async { Ok(self.office.holds().into_iter().map(hold_row).collect()) }.boxed()
    }

    fn hold(&self, scope: HoldScope, by: String, reason: String) -> Asked<'_, HoldRow> {
        async move {
            if let Some(there) = self.office.holds().into_iter().find(|h| h.scope == scope) {
                return Ok(hold_row(there));
            }
            let hold = Hold::new(scope, &by, &reason, World::now());
            self.office.hold(hold.clone()).await.map_err(not_held)?;
            Ok(hold_row(hold))
        }
        .boxed()
    }

    fn release(&self, scope: HoldScope) -> Asked<'_, ()> {
        async move {
            let was_held = self.office.release(&scope, OPERATOR).await.map_err(not_held)?;
            if was_held { Ok(()) } else { Err(DeskError::NotFound) }
        }
        .boxed()
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

fn unreadable(error: ReadError) -> DeskError {
    warn!(%error, "the log could not be read for the desk");
    DeskError::Unavailable(error.to_string())
}

fn not_held(error: HoldError) -> DeskError {
    match error {
        HoldError::TooMany(_) => DeskError::Refused(error.to_string()),
        HoldError::Append(_) | HoldError::Read(_) | HoldError::Unreadable | HoldError::Stopped => {
            warn!(%error, "a hold was not changed");
            DeskError::Unavailable(error.to_string())
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

fn post_filter(filter: Filter) -> PostFilter {
    PostFilter {
        site: filter.site,
        state: filter.state,
        before: filter.before.and_then(|ms| i64::try_from(ms).ok()).map(Timestamp),
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
