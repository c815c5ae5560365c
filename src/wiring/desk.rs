//! The admin API's desk, over a running node: rows of the log as the API's JSON has them.

use std::collections::HashMap;
use std::sync::Arc;

use copydesk_actors::World;
use copydesk_actors::cluster::Cluster;
use copydesk_actors::delivery::DeliveryMessage;
use copydesk_actors::desk::query::{self, EventFilter};
use copydesk_actors::desk::trace::{self, Trace};
use copydesk_actors::desk::verify::{self, Violation};
use copydesk_actors::desk::{Costs, Desk as Office, HoldError, OperateError, journey};
use copydesk_actors::enrichment::EnrichmentMessage;
use copydesk_actors::ledger::{CostFilter, CostKey, grouped};
use copydesk_actors::receiver::Receiver;
use copydesk_actors::sequencer::Operation;
use copydesk_core::access::Reach;
use copydesk_core::budget::{BudgetName, Caps};
use copydesk_core::holds::{Hold, HoldScope};
use copydesk_core::post::{IntakePosition, Redo, Rejection, RunId};
use copydesk_eventlog::archive::archive;
use copydesk_eventlog::{EventLog, ReadError, Sequence};
use copydesk_proto::{PostKey, ProviderId, SiteId, SourceId, Timestamp};
use futures::{FutureExt, StreamExt, future};
use tokio::sync::oneshot;
use tracing::warn;

use super::jobs::{self, job_row, not_done};
use super::money::{attempt_row, budget_row, cost_rows, of_reach};
use super::nodes;
use super::rows::{
    breaker_name, count, dead_letter_row, event_row, group_row, hold_row, journey_line, known,
    page, place, post_filter, post_row,
};
use super::sending;
use super::shown::Shown;
use super::subscribers;
use crate::admin::{
    Act, Asked, AttemptRow, BackupParts, BudgetRow, CapsOrder, CostRow, Cursor, DeadLetterGroupRow,
    DeadLetterRow, Desk, DeskError, EventOrder, EventRow, Filter, FollowLine, Following, HoldRow,
    JobOrder, JobPlanRow, JobResultRow, JobRow, JobTurn, NewSubscriber, NodeRow, NoticeAttemptRow,
    Page, PostRow, PostView, ProviderRow, RedoOrder, ReplayOrder, RouteRow, SentRow, SiteRow,
    SourceRow, Status, SubscriberRequest, SubscriberTurn, SubscriberView, TraceOf, VerifyReport,
};
use crate::config::{Config, Scheme};

/// A node's desk.
#[derive(Debug)]
pub struct NodeDesk {
    office: Office,
    receivers: HashMap<SourceId, Receiver>,
    cluster: Option<Arc<Cluster>>,
    shown: Shown,
    started_at: Timestamp,
}

impl NodeDesk {
    /// The desk of a node that has just started with this configuration.
    #[must_use]
    pub fn new(
        office: Office,
        mut receivers: HashMap<SourceId, Receiver>,
        cluster: Option<Arc<Cluster>>,
        config: &Config,
    ) -> Self {
        // What a sender signs, nobody else may say for it.
        receivers.retain(|id, _| config.sources.get(id).is_some_and(|s| s.scheme == Scheme::Api));
        Self { office, receivers, cluster, shown: Shown::of(config), started_at: World::now() }
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

    /// The order in the words of the run's plan.
    async fn redo(&self, post: &PostKey, run: RunId, order: RedoOrder) -> Result<Redo, DeskError> {
        if order == RedoOrder::default() {
            return Ok(Redo::default());
        }
        let world = self.office.world();
        let known = |(_, id): &(String, ProviderId)| world.providers.contains_key(id);
        if !order.providers.iter().all(known) {
            return Err(DeskError::Refused("there is no such provider".to_owned()));
        }
        let state = query::state(&**self.log(), post).await.map_err(unreadable)?;
        let dead = state.iter().flat_map(|state| &state.dead).find(|dead| dead.run.id == run);
        let dead = dead.ok_or(DeskError::NotFound)?;
        let plan: Vec<_> = dead.run.steps.iter().map(|step| &step.plan).collect();
        jobs::redo(order, &plan)
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
            Ok(Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                log_profile: format!("{}: {}", durability.profile, durability.sentence),
                ready: dispatcher.is_some(),
                backlog: world.backlog(),
                busy_posts: dispatcher.map_or(0, |d| count(d.busy + d.parked)),
                known_posts: world.remembered.count(),
                dead_letters: world.partitions.dead_letters(),
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

    fn send_event(&self, order: EventOrder) -> Asked<'_, SentRow> {
        sending::send(&self.office, &self.receivers, order).boxed()
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

    fn retry(&self, post: PostKey, run: u64, redo: RedoOrder, act: Act) -> Asked<'_, ()> {
        let (run, Act { by, reason }) = (RunId(IntakePosition(run)), act);
        async move {
            let redo = self.redo(&post, run, redo).await?;
            self.operate(post, Operation::Retry { run, by, reason, redo }).await
        }
        .boxed()
    }

    fn drop_dead_letter(&self, post: PostKey, run: u64, act: Act) -> Asked<'_, ()> {
        let (run, Act { by, reason }) = (RunId(IntakePosition(run)), act);
        self.operate(post, Operation::Drop { run, by, reason }).boxed()
    }

    fn holds(&self) -> Asked<'_, Vec<HoldRow>> {
        async { Ok(self.office.holds().into_iter().map(hold_row).collect()) }.boxed()
    }

    fn hold(&self, scope: HoldScope, act: Act) -> Asked<'_, HoldRow> {
        async move {
            if let Some(there) = self.office.holds().into_iter().find(|h| h.scope == scope) {
                return Ok(hold_row(there));
            }
            known(self.office.world(), &scope)?;
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

    fn jobs(&self) -> Asked<'_, Vec<JobRow>> {
        async {
            let jobs = self.office.jobs().await.map_err(unreadable)?;
            Ok(jobs.into_iter().map(job_row).collect())
        }
        .boxed()
    }

    fn job(&self, id: String) -> Asked<'_, JobRow> {
        async move {
            let job = self.office.job(&id).await.map_err(unreadable)?;
            job.map(job_row).ok_or(DeskError::NotFound)
        }
        .boxed()
    }

    fn plan_job(&self, order: JobOrder) -> Asked<'_, JobPlanRow> {
        async move {
            let (verb, filter) = jobs::ordered(order)?;
            let plan = self.office.plan_job(verb, &filter).await.map_err(not_done)?;
            Ok(jobs::plan_row(plan))
        }
        .boxed()
    }

    fn start_job(&self, order: JobOrder, act: Act) -> Asked<'_, JobRow> {
        async move {
            let (verb, filter) = jobs::ordered(order)?;
            let job = self.office.start_job(verb, filter, &act.by, &act.reason).await;
            Ok(job_row(job.map_err(not_done)?))
        }
        .boxed()
    }

    fn turn_job(&self, id: String, turn: JobTurn, act: Act) -> Asked<'_, JobRow> {
        async move {
            let Act { by, reason } = act;
            let job = match turn {
                JobTurn::Pause => self.office.pause_job(&id, &by, &reason).await,
                JobTurn::Resume => self.office.resume_job(&id, &by, &reason).await,
                JobTurn::Cancel => self.office.cancel_job(&id, &by, &reason).await,
            };
            Ok(job_row(job.map_err(not_done)?))
        }
        .boxed()
    }

    fn job_results(&self, id: String, after: Option<Cursor>) -> Asked<'_, Page<JobResultRow>> {
        async move {
            let after = after.map_or(0, |cursor| cursor.0);
            let (rows, next) = self.office.job_results(&id, after).await.map_err(unreadable)?;
            let rows = rows.into_iter().map(jobs::result_row).collect();
            Ok(Page { rows, next: next.map(|next| Cursor(next, 0)) })
        }
        .boxed()
    }

    fn budgets(&self) -> Asked<'_, Vec<BudgetRow>> {
        async { Ok(self.office.budgets().await.into_iter().map(budget_row).collect()) }.boxed()
    }

    fn set_caps(&self, budget: BudgetName, order: CapsOrder, act: Act) -> Asked<'_, BudgetRow> {
        async move {
            let world = self.office.world();
            let known = match &budget {
                BudgetName::Provider(provider) => world.providers.contains_key(provider),
                BudgetName::Site(site) => world.sites.contains_key(site),
            };
            if !known {
                return Err(DeskError::NotFound);
            }
            let caps = match order {
                CapsOrder::Configured => None,
                CapsOrder::Set { day, month } => {
                    Some(Caps { day_microdollars: day, month_microdollars: month })
                }
            };
            let set = self.office.set_caps(&budget, caps, &act.by, &act.reason).await;
            set.map_err(not_held)?;
            let budgets = self.office.budgets().await;
            let row = budgets.into_iter().find(|status| status.name == budget);
            row.map(budget_row).ok_or(DeskError::NotFound)
        }
        .boxed()
    }

    fn costs(&self, filter: CostFilter, reach: Reach, by: Vec<CostKey>) -> Asked<'_, Vec<CostRow>> {
        async move {
            let rows: Costs = self.office.costs(filter).await.map_err(unreadable)?;
            Ok(cost_rows(grouped(&of_reach(rows, &reach), &by)))
        }
        .boxed()
    }

    fn post_costs(&self, post: PostKey) -> Asked<'_, Vec<CostRow>> {
        async move {
            let rows = self.office.post_costs(&post).await.map_err(unreadable)?;
            Ok(cost_rows(rows))
        }
        .boxed()
    }

    fn attempts(&self, post: PostKey) -> Asked<'_, Vec<AttemptRow>> {
        async move {
            let rows = self.office.attempts(&post).await.map_err(unreadable)?;
            Ok(rows.into_iter().map(attempt_row).collect())
        }
        .boxed()
    }

    fn nodes(&self) -> Asked<'_, Vec<NodeRow>> {
        async {
            Ok(nodes::node_rows(self.office.world(), self.cluster.as_deref(), self.started_at))
        }
        .boxed()
    }

    fn subscribers(&self) -> Asked<'_, Vec<SubscriberView>> {
        future::ready(Ok(subscribers::views(&self.office))).boxed()
    }

    fn add_subscriber(&self, order: SubscriberRequest, act: Act) -> Asked<'_, NewSubscriber> {
        subscribers::add(&self.office, order, act).boxed()
    }

    fn turn_subscriber(&self, id: String, turn: SubscriberTurn, act: Act) -> Asked<'_, ()> {
        subscribers::turn(&self.office, id, turn, act).boxed()
    }

    fn rotate_subscriber(&self, id: String, act: Act) -> Asked<'_, String> {
        subscribers::rotate(&self.office, id, act).boxed()
    }

    fn ping_subscriber(&self, id: String) -> Asked<'_, NoticeAttemptRow> {
        subscribers::ping(&self.office, id).boxed()
    }

    fn replay_notices(&self, id: String, order: ReplayOrder, act: Act) -> Asked<'_, u64> {
        subscribers::replay(&self.office, id, order, act).boxed()
    }

    fn sites(&self) -> Asked<'_, Vec<SiteRow>> {
        async { Ok(self.site_rows().await) }.boxed()
    }

    fn sources(&self) -> Asked<'_, Vec<SourceRow>> {
        async {
            let rows = sending::with_uses(&**self.log(), self.shown.sources.clone()).await;
            rows.map_err(unreadable)
        }
        .boxed()
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

    fn backup(&self) -> BackupParts {
        archive(Arc::clone(self.log()))
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
pub(super) fn unreadable(error: ReadError) -> DeskError {
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
