//! Which posts and dead letters a filter means, and what working on them will cost.

use std::collections::BTreeMap;

use copydesk_eventlog::{EventLog, ReadError, Sequence};
use copydesk_proto::{PostKey, Timestamp};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;

use super::{JOB_POSTS_MAX, Job, JobError, JobFilter, JobVerb};
use crate::World;
use crate::desk::Desk;
use crate::desk::query::{self, DeadLetterRow};
use crate::dispatcher::recovery::{RecoveryError, recover};
use crate::ledger::{CostFilter, CostKey, grouped};
use crate::records::{INTAKE, Intake, Subjects, post_of};
use crate::sequencer::Remembered;

/// Webhooks read at a time when an author is looked for: at 256 KiB each, 16 MB.
const AUTHOR_PAGE: usize = 64;

/// What a job would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobPlan {
    /// Posts.
    pub posts: u64,
    /// Dead letters, or posts for verbs on posts.
    pub targets: u64,
    /// AI calls, at most: unchanged text and kept answers save some.
    pub calls: u64,
    /// What these calls cost by the average of the last 100 days, in microdollars.
    pub cost_microdollars: u64,
    /// Calls of enrichments that were never paid for, and so are not in the cost.
    pub calls_unpriced: u64,
}

/// A target: the run of a dead letter, or 0; and the enrichments it may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) run: u64,
    enrichments: Vec<String>,
}

/// The targets by post, in the order in which a job takes them.
pub(super) type Targets = BTreeMap<PostKey, Vec<Target>>;

pub(super) async fn plan(
    desk: &Desk,
    verb: JobVerb,
    filter: &JobFilter,
) -> Result<JobPlan, JobError> {
    let targets = find(desk, verb, filter, World::now(), u64::MAX).await?;
    let rows = desk.costs(CostFilter::default()).await?;
    let averages: BTreeMap<String, u64> = grouped(&rows, &[CostKey::Enrichment])
        .into_iter()
        .filter(|(_, sums)| sums.calls > 0)
        .map(|(row, sums)| (row.enrichment, sums.cost_microdollars.div_ceil(sums.calls)))
        .collect();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let mut plan = JobPlan { posts: count(targets.len()), ..JobPlan::default() };
    for target in targets.values().flatten() {
        plan.targets += 1;
        for enrichment in &target.enrichments {
            plan.calls += 1;
            match averages.get(enrichment) {
                Some(microdollars) => plan.cost_microdollars += microdollars,
                None => plan.calls_unpriced += 1,
            }
        }
    }
    Ok(plan)
}

/// The targets of a job that are left to do.
pub(super) async fn left(desk: &Desk, job: &Job) -> Result<Targets, JobError> {
    let mut all = find(desk, job.verb, &job.filter, job.created_at, job.horizon).await?;
    Ok(match &job.cursor {
        None => all,
        Some(cursor) => {
            let mut left = all.split_off(cursor);
            left.remove(cursor);
            left
        }
    })
}

async fn find(
    desk: &Desk,
    verb: JobVerb,
    filter: &JobFilter,
    created_at: Timestamp,
    horizon: u64,
) -> Result<Targets, JobError> {
    let of_posts = matches!(verb, JobVerb::Replay | JobVerb::ReplayForced | JobVerb::Erase);
    if filter.author.is_some() && !of_posts {
        return Err(JobError::Author);
    }
    let targets = match verb {
        JobVerb::Retry | JobVerb::Drop => dead(desk, verb, filter, created_at).await?,
        JobVerb::Replay | JobVerb::ReplayForced | JobVerb::Erase => {
            by_newest_event(desk, verb, filter, horizon).await?
        }
        JobVerb::DropWaiting => unfinished(desk, filter).await?,
    };
    if targets.len() > JOB_POSTS_MAX { Err(JobError::TooMany) } else { Ok(targets) }
}

async fn dead(
    desk: &Desk,
    verb: JobVerb,
    filter: &JobFilter,
    created_at: Timestamp,
) -> Result<Targets, JobError> {
    let mut targets = Targets::new();
    let site = filter.site.as_ref().or(filter.post.as_ref().map(|post| &post.site));
    query::each_dead_letter(&*desk.world().log, site, |row| {
        // One that died of this job's own retry is not tried again by it.
        if row.at < created_at && wants_dead(filter, &row) && targets.len() <= JOB_POSTS_MAX {
            let enrichments = if verb == JobVerb::Retry { row.unpaid } else { Vec::new() };
            targets.entry(row.post).or_default().push(Target { run: row.run, enrichments });
        }
    })
    .await?;
    // Oldest first: the post tries them in the order in which they are asked for.
    targets.values_mut().for_each(|runs| runs.sort_by_key(|target| target.run));
    Ok(targets)
}

fn wants_dead(filter: &JobFilter, row: &DeadLetterRow) -> bool {
    let JobFilter { site: _, post, source, route, code, author: _, since, until } = filter;
    post.as_ref().is_none_or(|post| *post == row.post)
        && source.as_ref().is_none_or(|source| source.as_str() == row.source)
        && route.as_ref().is_none_or(|route| route.as_str() == row.route)
        && code.as_ref().is_none_or(|code| *code == row.code)
        && since.is_none_or(|since| row.at >= since)
        && until.is_none_or(|until| row.at < until)
}

/// Posts by their newest webhook.
async fn by_newest_event(
    desk: &Desk,
    verb: JobVerb,
    filter: &JobFilter,
    horizon: u64,
) -> Result<Targets, JobError> {
    let world = desk.world();
    let mut targets = Targets::new();
    let mut newest = world.log.last_per_subject(INTAKE);
    while let Some(record) = newest.next().await {
        let record = record?;
        let Some(key) = post_of(&record.subject).filter(|key| wants_post(filter, key)) else {
            continue;
        };
        // What this release cannot read is no target; `copydesk verify` names it.
        let Ok(intake) = Intake::read(&record) else { continue };
        let own = intake.replay.is_some() && record.sequence > Sequence(horizon);
        if own || !wants_event(filter, &intake) || targets.len() > JOB_POSTS_MAX {
            continue;
        }
        if let Some(author) = &filter.author
            && !has_author(&*world.log, &key, author).await?
        {
            continue;
        }
        let plan = intake.route.as_ref().and_then(|route| world.plans.get(route));
        let enrichments = match plan {
            Some(plan) if verb != JobVerb::Erase => {
                plan.steps.iter().map(|step| step.enrichment.to_string()).collect()
            }
            Some(_) | None => Vec::new(),
        };
        targets.insert(key, vec![Target { run: 0, enrichments }]);
    }
    Ok(targets)
}

/// Notices are meant only by name; erasing a post erases those about it.
fn wants_post(filter: &JobFilter, key: &PostKey) -> bool {
    filter.site.as_ref().is_none_or(|site| *site == key.site)
        && match &filter.post {
            Some(post) => post == key,
            None => key.subscriber().is_none(),
        }
}

fn wants_event(filter: &JobFilter, intake: &Intake) -> bool {
    filter.source.as_ref().is_none_or(|source| *source == intake.source)
        && (filter.route.is_none() || filter.route == intake.route)
        && filter.since.is_none_or(|since| intake.received_at >= since)
        && filter.until.is_none_or(|until| intake.received_at < until)
}

/// Whether any stored webhook of the post names the author.
async fn has_author(log: &dyn EventLog, key: &PostKey, author: &str) -> Result<bool, ReadError> {
    let subject = Subjects::of(key).intake;
    let mut after = Sequence(0);
    loop {
        let page = log.history(&subject, after, AUTHOR_PAGE).await?;
        for record in &page {
            after = record.sequence;
            if Intake::read(record).is_ok_and(|intake| names(&intake.body, author)) {
                return Ok(true);
            }
        }
        if page.len() < AUTHOR_PAGE {
            return Ok(false);
        }
    }
}

/// The places in which the plugin's payloads name a person.
#[derive(Deserialize)]
struct Authors {
    #[serde(default)]
    author: Value,
    #[serde(default)]
    comment: Value,
}

fn names(body: &[u8], author: &str) -> bool {
    let is = |value: &Value| match value {
        Value::String(name) => name == author,
        Value::Number(id) => id.to_string() == author,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    };
    serde_json::from_slice::<Authors>(body).is_ok_and(|payload| {
        is(&payload.author) || payload.comment.get("author_name").is_some_and(is)
    })
}

/// Posts with something that waits; which of it is meant, the post decides.
async fn unfinished(desk: &Desk, filter: &JobFilter) -> Result<Targets, JobError> {
    let recovery = recover(&*desk.world().log, &Remembered::default(), None).await.map_err(
        |error| match error {
            RecoveryError::Read(error) => JobError::Read(error),
            RecoveryError::Record(bad) => JobError::Read(crate::desk::journey::walk::corrupt(bad)),
        },
    )?;
    let keys = recovery.unfinished.into_keys().filter(|key| wants_post(filter, key));
    Ok(keys.map(|key| (key, vec![Target { run: 0, enrichments: Vec::new() }])).collect())
}
