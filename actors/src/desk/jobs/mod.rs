//! Bulk verbs: one filter, a dry run, then a job in the background with progress, pause, resume and
//! a list of results.
//!
//! A job's records stand in the log under `cd.desk.<id>.job`; the last one is the job. Its runner
//! appends one after each handful of posts, on the condition that nobody else did: pausing,
//! resuming and cancelling are appends too, so the runner finds out at once, and whatever dies,
//! the next start goes on behind the last post that was finished. What is done twice at that seam
//! does nothing the second time: a dead letter is gone once retried, and a replay has its key.

mod act;
mod run;
mod store;
mod targets;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;

use std::fmt;
use std::str::FromStr;

use copydesk_eventlog::{AppendError, ReadError};
use copydesk_proto::{PostKey, RouteId, SiteId, SourceId, Timestamp};

pub use targets::JobPlan;

use super::Desk;
use crate::World;

/// Posts of one job: at a few hundred bytes each, 30 MB while it runs. A larger archive is done in
/// several jobs, by site or by time.
pub const JOB_POSTS_MAX: usize = 100_000;

/// What a job does to each of its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobVerb {
    /// Tries dead letters again.
    Retry,
    /// Gives dead letters up.
    Drop,
    /// Sends each post's newest event through today's routes and policy once more. Unchanged text
    /// and kept answers cost nothing.
    Replay,
    /// The same, and AI services are asked anew.
    ReplayForced,
    /// Gives up what waits.
    DropWaiting,
    /// Erases content.
    Erase,
}

impl JobVerb {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Retry, "retry"),
        (Self::Drop, "drop"),
        (Self::Replay, "replay"),
        (Self::ReplayForced, "replay-force"),
        (Self::DropWaiting, "drop-waiting"),
        (Self::Erase, "erase"),
    ];
}

/// The text names no verb.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job's verb is retry, drop, replay, replay-force, drop-waiting or erase")]
pub struct UnknownVerb;

impl FromStr for JobVerb {
    type Err = UnknownVerb;

    fn from_str(text: &str) -> Result<Self, UnknownVerb> {
        Self::ALL
            .into_iter()
            .find(|(_, name)| *name == text)
            .map(|(verb, _)| verb)
            .ok_or(UnknownVerb)
    }
}

impl fmt::Display for JobVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.into_iter().find(|(verb, _)| verb == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

/// Which posts and dead letters a job means. Empty fields want all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only of this site.
    pub site: Option<SiteId>,
    /// Only this post.
    pub post: Option<PostKey>,
    /// Only of this source.
    pub source: Option<SourceId>,
    /// Only what took this route.
    pub route: Option<RouteId>,
    /// Only dead letters with this code.
    pub code: Option<String>,
    /// Only posts of which a stored webhook names this author: an id, or a comment's author's name.
    pub author: Option<String>,
    /// Only what died, or was received last, at this time or later.
    pub since: Option<Timestamp>,
    /// Only what died, or was received last, before this time.
    pub until: Option<Timestamp>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// At work.
    Running,
    /// Waits for an operator.
    Paused,
    /// All targets are done.
    Done,
    /// Given up; what is done stays done.
    Cancelled,
}

/// A job and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name: 32 hex digits.
    pub id: String,
    /// What it does.
    pub verb: JobVerb,
    /// To which.
    pub filter: JobFilter,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when; dead letters that are younger are none of its targets.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: JobState,
    /// Targets found.
    pub targets: u64,
    /// Done.
    pub done: u64,
    /// Found done already, or gone.
    pub skipped: u64,
    /// Refused; the results say why.
    pub failed: u64,
    /// The post last finished.
    pub cursor: Option<PostKey>,
    /// When this was so.
    pub at: Timestamp,
    /// Where the log ended when it began.
    pub(super) horizon: u64,
    pub(super) runner: u64,
}

/// What became of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobResult {
    /// The post.
    pub post: PostKey,
    /// The dead letter's run; 0 for verbs on posts.
    pub run: u64,
    /// What became of it.
    pub outcome: JobOutcome,
    /// Why, in words, where it is not done.
    pub detail: String,
}

/// What became of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobOutcome {
    /// Done.
    Done,
    /// Nothing to do any more.
    Skipped,
    /// Refused.
    Failed,
}

/// Why a job's verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// No such job.
    #[error("there is no such job")]
    NotFound,
    /// The job has ended.
    #[error("the job has ended")]
    Ended,
    /// A dead letter has no author, and what waits is not looked into.
    #[error("author goes with replay, replay-force and erase")]
    Author,
    /// More than one job may have.
    #[error("the filter means more than {JOB_POSTS_MAX} posts; narrow it by site or time")]
    TooMany,
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The log did not take it.
    #[error("the log did not take it")]
    Append(#[from] AppendError),
}

impl Desk {
    /// What a job would do: a dry run that changes nothing.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn plan_job(&self, verb: JobVerb, filter: &JobFilter) -> Result<JobPlan, JobError> {
        targets::plan(self, verb, filter).await
    }

    /// Starts a job; it is durable when this returns, and goes on over restarts.
    ///
    /// # Errors
    /// [`JobError`]; there is no job then.
    pub async fn start_job(
        &self,
        verb: JobVerb,
        filter: JobFilter,
        by: &str,
        reason: &str,
    ) -> Result<Job, JobError> {
        let now = World::now();
        let clip = |text: &str| {
            text.chars().take(copydesk_core::limits::HOLD_TEXT_CHARS_MAX).collect::<String>()
        };
        let job = Job {
            id: uuid::Uuid::now_v7().simple().to_string(),
            verb,
            filter,
            by: clip(by),
            reason: clip(reason),
            created_at: now,
            state: JobState::Running,
            targets: 0,
            done: 0,
            skipped: 0,
            failed: 0,
            cursor: None,
            at: now,
            horizon: self.world().log.last_sequence().await?.0,
            runner: rand::random(),
        };
        let last =
            store::append(&*self.world().log, &job, &[], copydesk_eventlog::Sequence(0)).await?;
        run::spawn(self.clone(), job.clone(), last);
        Ok(job)
    }

    /// The jobs, newest first.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read.
    pub async fn jobs(&self) -> Result<Vec<Job>, ReadError> {
        let mut jobs: Vec<Job> =
            store::all(&*self.world().log).await?.into_iter().map(|(job, _)| job).collect();
        jobs.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(jobs)
    }

    /// A job; `None` when there is none of that name.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read.
    pub async fn job(&self, id: &str) -> Result<Option<Job>, ReadError> {
        Ok(store::load(&*self.world().log, id).await?.map(|(job, _)| job))
    }

    /// A page of a job's results, and where the next begins; `None` there: that was all so far.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read.
    pub async fn job_results(
        &self,
        id: &str,
        after: u64,
    ) -> Result<(Vec<JobResult>, Option<u64>), ReadError> {
        store::results(&*self.world().log, id, after).await
    }

    /// Pauses a job behind the posts at work.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn pause_job(&self, id: &str, by: &str, reason: &str) -> Result<Job, JobError> {
        self.turn_job(id, JobState::Paused, (by, reason)).await
    }

    /// Lets a paused job go on.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn resume_job(&self, id: &str, by: &str, reason: &str) -> Result<Job, JobError> {
        self.turn_job(id, JobState::Running, (by, reason)).await
    }

    /// Ends a job early; what is done stays done.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn cancel_job(&self, id: &str, by: &str, reason: &str) -> Result<Job, JobError> {
        self.turn_job(id, JobState::Cancelled, (by, reason)).await
    }

    async fn turn_job(
        &self,
        id: &str,
        state: JobState,
        act: (&str, &str),
    ) -> Result<Job, JobError> {
        let log = &*self.world().log;
        loop {
            let (job, last) = store::load(log, id).await?.ok_or(JobError::NotFound)?;
            match job.state {
                JobState::Done | JobState::Cancelled => return Err(JobError::Ended),
                now if now == state => return Ok(job),
                JobState::Running | JobState::Paused => {}
            }
            let job = Job { state, runner: rand::random(), at: World::now(), ..job };
            match store::append_act(log, &job, &[], act, last).await {
                Ok(last) => {
                    if state == JobState::Running {
                        run::spawn(self.clone(), job.clone(), last);
                    }
                    return Ok(job);
                }
                // The runner was quicker with its progress.
                Err(AppendError::WrongLastSequence { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes up the jobs that were running when the node ended.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read.
    pub(crate) async fn resume_jobs(&self) -> Result<(), ReadError> {
        for (job, last) in store::all(&*self.world().log).await? {
            if job.state == JobState::Running {
                run::spawn(self.clone(), Job { runner: rand::random(), ..job }, last);
            }
        }
        Ok(())
    }
}
