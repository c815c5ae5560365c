//! Bulk jobs and what is tried again: the API's words for the desk's, and back.

use copydesk_actors::desk::jobs::{Job, JobError, JobFilter, JobPlan, JobResult, JobVerb};
use copydesk_core::post::{PlanStep, Redo, Step};
use copydesk_proto::Timestamp;
use tracing::warn;

use crate::admin::{
    DeskError, JobFilter as Wanted, JobOrder, JobPlanRow, JobResultRow, JobRow, RedoOrder,
};

/// What the desk is to do; a word that it does not know is refused.
pub(super) fn ordered(order: JobOrder) -> Result<(JobVerb, JobFilter), DeskError> {
    fn parsed<T: std::str::FromStr>(text: Option<String>) -> Result<Option<T>, DeskError>
    where
        T::Err: std::fmt::Display,
    {
        let refused = |error: T::Err| DeskError::Refused(error.to_string());
        text.map(|text| text.parse()).transpose().map_err(refused)
    }
    let Wanted { site, post, source, route, code, author, since, until } = order.filter;
    let verb = parsed(Some(order.verb))?.ok_or(DeskError::NotFound)?;
    let filter = JobFilter {
        site: parsed(site)?,
        post: parsed(post)?,
        source: parsed(source)?,
        route: parsed(route)?,
        code,
        author,
        since: since.map(Timestamp),
        until: until.map(Timestamp),
    };
    Ok((verb, filter))
}

/// The order with places of the run's plan in place of names.
pub(super) fn redo(order: RedoOrder, plan: &[&PlanStep]) -> Result<Redo, DeskError> {
    let place = |name: &str| {
        let found = plan.iter().position(|step| step.enrichment.as_str() == name);
        let refused = || DeskError::Refused(format!("the run has no step {name:?}"));
        found.and_then(|place| u8::try_from(place).ok()).ok_or_else(refused)
    };
    let from = match order.from.as_deref() {
        None => None,
        Some("read") => Some(Step::Read),
        Some("write") => Some(Step::Write),
        Some(name) => Some(Step::Enrich(place(name)?)),
    };
    let values = order.answers.into_iter().map(|(name, value)| Ok((place(&name)?, value)));
    let providers = order.providers.into_iter().map(|(name, id)| Ok((place(&name)?, id)));
    Ok(Redo {
        from,
        values: values.collect::<Result<_, _>>()?,
        providers: providers.collect::<Result<_, _>>()?,
    })
}

pub(super) fn not_done(error: JobError) -> DeskError {
    match error {
        JobError::NotFound => DeskError::NotFound,
        JobError::Ended | JobError::TooMany | JobError::Author => {
            DeskError::Refused(error.to_string())
        }
        JobError::Read(_) | JobError::Append(_) => {
            let why = error.to_string();
            warn!(error = &error as &dyn std::error::Error, "a job was not changed");
            DeskError::Unavailable(why)
        }
    }
}

pub(super) fn plan_row(plan: JobPlan) -> JobPlanRow {
    let JobPlan { posts, targets, calls, cost_microdollars, calls_unpriced } = plan;
    JobPlanRow { posts, targets, calls, cost_microdollars, calls_unpriced }
}

pub(super) fn job_row(job: Job) -> JobRow {
    JobRow {
        id: job.id,
        verb: job.verb.to_string(),
        filter: Wanted {
            site: job.filter.site.map(|id| id.to_string()),
            post: job.filter.post.map(|key| key.to_string()),
            source: job.filter.source.map(|id| id.to_string()),
            route: job.filter.route.map(|id| id.to_string()),
            code: job.filter.code,
            author: job.filter.author,
            since: job.filter.since.map(|at| at.0),
            until: job.filter.until.map(|at| at.0),
        },
        state: job.state.name().to_owned(),
        by: job.by,
        reason: job.reason,
        created_at: job.created_at.0,
        at: job.at.0,
        targets: job.targets,
        done: job.done,
        skipped: job.skipped,
        failed: job.failed,
    }
}

pub(super) fn result_row(result: JobResult) -> JobResultRow {
    JobResultRow {
        post: result.post.to_string(),
        run: result.run,
        outcome: result.outcome.name().to_owned(),
        detail: result.detail,
    }
}
