//! Posts and dead letters, from the last decision of each post.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use copydesk_core::access::Reach;
use copydesk_core::post::{DeadLetter, Phase, PostState, Run, evolve};
use copydesk_eventlog::{EventLog, ReadError, Record, Sequence};
use copydesk_proto::{PostKey, SiteId, Timestamp};
use futures::StreamExt;

use super::{DeadLetterRow, Page, Place, PostDetail, PostRow, ROWS_MAX, RunDetail, StepDetail};
use crate::desk::journey::walk::{corrupt, walk};
use crate::desk::journey::words::{self, step_name};
use crate::records::{DECISIONS, Decision, DecisionHead, Subjects, post_of};

/// Posts with dead letters that one look loads; each takes about a millisecond.
pub(super) const DEAD_POSTS_MAX: usize = 10_000;

/// Which posts or dead letters a list shows.
#[derive(Debug, Clone, Default)]
pub struct PostFilter {
    /// Only of these sites.
    pub reach: Reach,
    /// Only of this post.
    pub post: Option<PostKey>,
    /// Only posts in this state; says nothing about dead letters.
    pub state: Option<String>,
    /// Only dead letters with this code; says nothing about posts.
    pub code: Option<String>,
    /// Only what comes after this place in the list.
    pub before: Option<Place>,
}

impl PostFilter {
    fn wants(&self, key: &PostKey, last: Sequence) -> bool {
        self.reach.has_post(key)
            && self.post.as_ref().is_none_or(|post| post == key)
            && self.before.is_none_or(|before| last.0 <= before.0)
    }
}

/// Rows by the position of their post's last decision, of which only the newest stay.
struct Newest<Row> {
    rows: BTreeMap<u64, Row>,
    limit: usize,
    cut: bool,
}

impl<Row> Newest<Row> {
    const fn of(limit: usize) -> Self {
        Self { rows: BTreeMap::new(), limit, cut: false }
    }

    fn push(&mut self, position: u64, row: Row) {
        self.rows.insert(position, row);
        if self.rows.len() > self.limit {
            self.rows.pop_first();
            self.cut = true;
        }
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
) -> Result<Page<PostRow>, ReadError> {
    let mut newest = Newest::of(limit.min(ROWS_MAX));
    let mut last = log.last_per_subject(DECISIONS);
    while let Some(record) = last.next().await {
        let record = record?;
        let Some(key) = post_of(&record.subject).filter(|key| filter.wants(key, record.sequence))
        else {
            continue;
        };
        // Notices are shown when they are asked for.
        if key.subscriber().is_some() && filter.post.is_none() {
            continue;
        }
        // A place is the last row that was shown.
        if filter.before.is_some_and(|before| before.0 == record.sequence.0) {
            continue;
        }
        let row = row(key, &record);
        if filter.state.as_ref().is_none_or(|state| *state == row.state) {
            newest.push(record.sequence.0, row);
        }
    }
    let oldest = newest.rows.keys().next().map(|position| Place(*position, 0));
    let next = oldest.filter(|_| newest.cut);
    Ok(Page { rows: newest.rows.into_values().rev().collect(), next })
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

/// What waits for an operator, the post last touched first: at most `limit` and [`ROWS_MAX`], of
/// the 10,000 posts with dead letters last touched. Only as many posts are loaded as are shown.
///
/// # Errors
/// [`ReadError`] when the log cannot be read, or this release cannot read the history of one of
/// these posts.
pub async fn dead_letters(
    log: &dyn EventLog,
    filter: &PostFilter,
    limit: usize,
) -> Result<Page<DeadLetterRow>, ReadError> {
    let limit = limit.min(ROWS_MAX);
    let mut rows = Vec::new();
    let posts = dead_posts(log, filter).await?;
    for (position, key) in posts.into_iter().rev() {
        let Some((mut state, _)) = fold(log, &key).await? else { continue };
        state.dead.make_contiguous().sort_by_key(|dead| Reverse(dead.run.id));
        for dead in &state.dead {
            let place = Place(position, dead.run.id.0.0);
            let wanted = filter.code.as_ref().is_none_or(|code| *code == dead.failure.code)
                && filter.before.is_none_or(|before| place < before);
            if wanted && rows.len() < limit {
                rows.push((place, dead_letter(&key, dead)));
            } else if wanted {
                let next = rows.last().map(|(place, _)| *place);
                return Ok(Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next });
            }
        }
    }
    Ok(Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next: None })
}

/// The posts with dead letters, by the position of their last decision.
pub(super) async fn dead_posts(
    log: &dyn EventLog,
    filter: &PostFilter,
) -> Result<BTreeMap<u64, PostKey>, ReadError> {
    let mut newest = Newest::of(DEAD_POSTS_MAX);
    let mut last = log.last_per_subject(DECISIONS);
    while let Some(record) = last.next().await {
        let record = record?;
        let key = post_of(&record.subject).filter(|key| filter.wants(key, record.sequence));
        if let Some(key) = key
            && row(key.clone(), &record).dead > 0
        {
            newest.push(record.sequence.0, key);
        }
    }
    Ok(newest.rows)
}

/// Shows every dead letter of a site, in no promised order; each post with some is loaded.
///
/// # Errors
/// As [`dead_letters`].
pub async fn each_dead_letter(
    log: &dyn EventLog,
    site: Option<&SiteId>,
    mut show: impl FnMut(DeadLetterRow) + Send,
) -> Result<(), ReadError> {
    let mut last = log.last_per_subject(DECISIONS);
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
pub(super) async fn fold(
    log: &dyn EventLog,
    key: &PostKey,
) -> Result<Option<(PostState, Record)>, ReadError> {
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
    match DecisionHead::read(last) {
        Ok(DecisionHead { summary, decided_at, .. }) => PostRow {
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
