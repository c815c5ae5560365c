//! Posts and dead letters, from the last decision of each post.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use copydesk_core::post::{DeadLetter, Phase, PostState, Run, evolve};
use copydesk_eventlog::{EventLog, Filter, ReadError, Record, Sequence};
use copydesk_proto::{PostKey, SiteId, Timestamp};
use futures::StreamExt;

use super::{DeadLetterRow, PostDetail, PostRow, ROWS_MAX, RunDetail, StepDetail};
use crate::desk::journey::walk::{corrupt, walk};
use crate::desk::journey::words::{self, step_name};
use crate::records::{DECISIONS, Decision, Subjects, post_of};

/// Which posts or dead letters a list shows.
#[derive(Debug, Clone, Default)]
pub struct PostFilter {
    /// Only of this site.
    pub site: Option<SiteId>,
    /// Only posts in this state; says nothing about dead letters.
    pub state: Option<String>,
    /// Only what happened last, or died, before this time.
    pub before: Option<Timestamp>,
}

impl PostFilter {
    fn wants_site(&self, key: &PostKey) -> bool {
        self.site.as_ref().is_none_or(|site| *site == key.site)
    }

    fn wants_time(&self, at: Timestamp) -> bool {
        self.before.is_none_or(|before| at < before)
    }
}

/// Rows sorted by time, of which only the newest stay.
struct Newest<Row> {
    /// By time and by a position in the log, which is unique.
    rows: BTreeMap<(Timestamp, u64), Row>,
    limit: usize,
}

impl<Row> Newest<Row> {
    fn of(limit: usize) -> Self {
        Self { rows: BTreeMap::new(), limit: limit.min(ROWS_MAX) }
    }

    fn push(&mut self, order: (Timestamp, u64), row: Row) {
        self.rows.insert(order, row);
        if self.rows.len() > self.limit {
            self.rows.pop_first();
        }
    }

    fn newest_first(self) -> Vec<Row> {
        self.rows.into_values().rev().collect()
    }
}

/// The posts something happened to last, newest first: at most `limit` and [`ROWS_MAX`]. A post
/// whose first webhook has not been considered is not among them yet.
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub async fn posts(
    log: &dyn EventLog,
    filter: &PostFilter,
    limit: usize,
) -> Result<Vec<PostRow>, ReadError> {
    let mut newest = Newest::of(limit);
    let mut last = log.last_per_subject(Filter(Some(DECISIONS)));
    while let Some(record) = last.next().await {
        let record = record?;
        let Some(key) = post_of(&record.subject).filter(|key| filter.wants_site(key)) else {
            continue;
        };
        let row = row(key, &record);
        let wanted = filter.state.as_ref().is_none_or(|state| *state == row.state);
        if wanted && filter.wants_time(row.last_at) {
            newest.push((row.last_at, record.sequence.0), row);
        }
    }
    Ok(newest.newest_first())
}

/// One post with its work; `None` when nothing was decided about it.
///
/// # Errors
/// [`ReadError`] when the log cannot be read, or this release cannot read the post's history.
pub async fn post(log: &dyn EventLog, key: &PostKey) -> Result<Option<PostDetail>, ReadError> {
    let Some((state, last)) = fold(log, key).await? else { return Ok(None) };
    Ok(Some(PostDetail {
        row: row(key.clone(), &last),
        run: state.run.as_ref().map(run_detail),
        queued: state.waiting.iter().map(|incoming| incoming.position.0).collect(),
        resumed: state.resumed.iter().map(|run| run.id.0.0).collect(),
        dead: state.dead.iter().map(|dead| dead_letter(key, dead)).collect(),
        writes: state.write_number.0,
    }))
}

/// What waits for an operator, newest first: at most `limit` and [`ROWS_MAX`]. Only posts with
/// dead letters are loaded.
///
/// # Errors
/// [`ReadError`] when the log cannot be read, or this release cannot read the history of one of
/// these posts.
pub async fn dead_letters(
    log: &dyn EventLog,
    filter: &PostFilter,
    limit: usize,
) -> Result<Vec<DeadLetterRow>, ReadError> {
    let mut newest = Newest::of(limit);
    each_dead_letter(log, filter.site.as_ref(), |row| {
        if filter.wants_time(row.at) {
            newest.push((row.at, row.run), row);
        }
    })
    .await?;
    Ok(newest.newest_first())
}

/// Shows every dead letter, in no promised order; each post with some is loaded.
///
/// # Errors
/// As [`dead_letters`].
pub async fn each_dead_letter(
    log: &dyn EventLog,
    site: Option<&SiteId>,
    mut show: impl FnMut(DeadLetterRow) + Send,
) -> Result<(), ReadError> {
    let mut last = log.last_per_subject(Filter(Some(DECISIONS)));
    while let Some(record) = last.next().await {
        let record = record?;
        let wanted = |key: &PostKey| site.is_none_or(|site| *site == key.site);
        let Some(key) = post_of(&record.subject).filter(wanted) else { continue };
        if row(key.clone(), &record).dead == 0 {
            continue;
        }
        let Some((state, _)) = fold(log, &key).await? else { continue };
        state.dead.iter().for_each(|dead| show(dead_letter(&key, dead)));
    }
    Ok(())
}

/// A post's state; `None` when nothing was decided about it.
///
/// # Errors
/// As [`post`].
pub async fn state(log: &dyn EventLog, key: &PostKey) -> Result<Option<PostState>, ReadError> {
    Ok(fold(log, key).await?.map(|(state, _)| state))
}

/// A post's state and its last decision.
async fn fold(log: &dyn EventLog, key: &PostKey) -> Result<Option<(PostState, Record)>, ReadError> {
    let mut state = PostState::default();
    let mut last = None;
    let mut unreadable = None;
    walk(log, &Subjects::of(key).decisions, Sequence(0), |record| match Decision::read(record) {
        Ok(decision) => {
            state = decision.events.iter().fold(std::mem::take(&mut state), evolve);
            last = Some(record.clone());
            ControlFlow::Continue(())
        }
        Err(bad) => {
            unreadable = Some(bad);
            ControlFlow::Break(())
        }
    })
    .await?;
    match unreadable {
        Some(bad) => Err(corrupt(bad)),
        None => Ok(last.map(|last| (state, last))),
    }
}

fn row(key: PostKey, last: &Record) -> PostRow {
    match Decision::read(last) {
        Ok(Decision { summary, decided_at, .. }) => PostRow {
            key,
            state: summary.state,
            considered: summary.considered,
            waiting: summary.waiting,
            dead: summary.dead,
            events: summary.events,
            last_at: decided_at,
            wake_at: Some(Timestamp(summary.wake_at_ms)).filter(|at| at.0 != 0),
        },
        Err(_) => PostRow {
            key,
            state: "unreadable".to_owned(),
            considered: 0,
            waiting: 0,
            dead: 0,
            events: 0,
            last_at: Timestamp(last.time_ms),
            wake_at: None,
        },
    }
}

fn run_detail(run: &Run) -> RunDetail {
    let plan: Vec<_> = run.steps.iter().map(|step| step.plan.clone()).collect();
    let steps = run.all_steps().map(|(step, progress)| {
        let (phase, until, cause) = match &progress.phase {
            Phase::Idle => ("idle", None, String::new()),
            Phase::Asked => ("asked", None, String::new()),
            Phase::Waiting { until, because } => {
                ("waiting", Some(*until), because.as_ref().map(words::because).unwrap_or_default())
            }
            Phase::Held(withheld) => ("held", withheld.until, words::withheld_words(withheld)),
            Phase::Done => ("done", None, String::new()),
            Phase::Failed(failure) => ("failed", None, failure.cause.clone()),
        };
        StepDetail {
            name: step_name(&plan, step),
            phase,
            attempts: progress.attempts,
            until,
            cause,
        }
    });
    RunDetail { run: run.id.0.0, steps: steps.collect(), restarts: run.restarts }
}

fn dead_letter(key: &PostKey, dead: &DeadLetter) -> DeadLetterRow {
    let plan: Vec<_> = dead.run.steps.iter().map(|step| step.plan.clone()).collect();
    DeadLetterRow {
        post: key.clone(),
        run: dead.run.id.0.0,
        step: step_name(&plan, dead.step),
        code: dead.failure.code.clone(),
        cause: dead.failure.cause.clone(),
        at: dead.at,
        paid: dead.run.steps.iter().filter(|step| step.answer.is_some()).count(),
        unpaid: dead
            .run
            .steps
            .iter()
            .filter(|step| step.progress.phase != Phase::Done)
            .map(|step| step.plan.enrichment.to_string())
            .collect(),
        source: dead.run.incoming.source.to_string(),
        route: dead.run.incoming.route.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}
