//! The runner of one job: a handful of posts, a record, the next handful.

use std::time::Duration;

use copydesk_eventlog::{AppendError, Sequence};
use copydesk_proto::PostKey;
use futures::{StreamExt, stream};
use tracing::{info, warn};

use super::act::{Stopping, act};
use super::targets::{Target, left};
use super::{Job, JobError, JobOutcome, JobResult, JobState, store};
use crate::World;
use crate::desk::Desk;

/// Posts between two records: what a crash makes the job do again, and a record of 10 KB.
const HANDFUL: usize = 50;

/// Posts acted on at once: enough to fill the log's group commit.
const AT_ONCE: usize = 16;

/// How long the job waits for room before it looks again.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts the job's runner, which ends with the job, with a pause, or with the node.
pub(super) fn spawn(desk: Desk, job: Job, last: Sequence) {
    tokio::spawn(async move {
        let id = job.id.clone();
        match (Runner { desk, job, last }).run().await {
            Ok(()) => {}
            Err(Ended::SteppedDown) => info!(job = id, "the job was paused, ended or taken over"),
            Err(Ended::Stopping) => info!(job = id, "the job goes on at the next start"),
            Err(Ended::Failed(error)) => {
                warn!(job = id, %error, "the job stopped; resume it, or start the node again");
            }
        }
    });
}

enum Ended {
    SteppedDown,
    Stopping,
    Failed(JobError),
}

struct Runner {
    desk: Desk,
    job: Job,
    last: Sequence,
}

impl Runner {
    async fn run(mut self) -> Result<(), Ended> {
        let targets = left(&self.desk, &self.job).await.map_err(Ended::Failed)?;
        let behind = self.job.done + self.job.skipped + self.job.failed;
        let count = targets.values().map(Vec::len).sum::<usize>();
        self.job.targets = behind + u64::try_from(count).unwrap_or(u64::MAX);
        self.write_down(&[]).await?;
        let mut targets = targets.into_iter();
        loop {
            let handful: Vec<(PostKey, Vec<Target>)> = targets.by_ref().take(HANDFUL).collect();
            let Some((cursor, _)) = handful.last().cloned() else { break };
            self.wait_for_room().await?;
            let results = self.act_on(handful).await?;
            for result in &results {
                match result.outcome {
                    JobOutcome::Done => self.job.done += 1,
                    JobOutcome::Skipped => self.job.skipped += 1,
                    JobOutcome::Failed => self.job.failed += 1,
                }
            }
            self.job.cursor = Some(cursor);
            self.write_down(&results).await?;
        }
        self.job.state = JobState::Done;
        self.write_down(&[]).await?;
        let Job { id, done, skipped, failed, .. } = &self.job;
        info!(job = id, done, skipped, failed, "the job is done");
        Ok(())
    }

    /// Posts at once, but each post's dead letters one after the other.
    async fn act_on(&self, handful: Vec<(PostKey, Vec<Target>)>) -> Result<Vec<JobResult>, Ended> {
        let (desk, job) = (&self.desk, &self.job);
        let posts = handful.into_iter().map(|(post, targets)| async move {
            let mut results = Vec::new();
            for target in targets {
                results.push(act(desk, job, post.clone(), target.run).await?);
            }
            Ok::<_, Stopping>(results)
        });
        let done: Vec<Result<Vec<JobResult>, Stopping>> =
            stream::iter(posts).buffered(AT_ONCE).collect().await;
        let done: Result<Vec<_>, _> = done.into_iter().collect();
        Ok(done.map_err(|Stopping| Ended::Stopping)?.into_iter().flatten().collect())
    }

    /// Live work goes first: the job goes on while at most half of the posts that may be busy are.
    async fn wait_for_room(&self) -> Result<(), Ended> {
        loop {
            let status = self.desk.status().await.ok_or(Ended::Stopping)?;
            if status.busy + status.ready <= status.busy_max / 2 {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Appends the job as it is now. Whoever paused, ended or took it over has the say.
    async fn write_down(&mut self, results: &[JobResult]) -> Result<(), Ended> {
        let log = self.desk.world().log.clone();
        self.job.at = World::now();
        loop {
            match store::append(&*log, &self.job, results, self.last).await {
                Ok(last) => {
                    self.last = last;
                    return if self.job.state == JobState::Running
                        || self.job.state == JobState::Done
                    {
                        Ok(())
                    } else {
                        Err(Ended::SteppedDown)
                    };
                }
                Err(AppendError::WrongLastSequence { .. }) => {
                    let found = store::load(&*log, &self.job.id).await;
                    let found = found.map_err(|error| Ended::Failed(error.into()))?;
                    let Some((there, last)) = found else { return Err(Ended::SteppedDown) };
                    if there.state == JobState::Running && there.runner != self.job.runner {
                        return Err(Ended::SteppedDown);
                    }
                    // Paused or ended meanwhile: what was done is still written down.
                    self.job.state = there.state;
                    self.job.runner = there.runner;
                    self.last = last;
                }
                Err(error) => return Err(Ended::Failed(error.into())),
            }
        }
    }
}
