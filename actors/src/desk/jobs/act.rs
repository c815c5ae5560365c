//! Carrying out a job's verb on one target. Doing it twice does it once.

use std::time::Duration;

use copydesk_core::post::{IntakePosition, Redo, Rejection, RunId};
use copydesk_eventlog::{Appended, ReadError, Sequence};
use copydesk_proto::PostKey;
use uuid::Uuid;

use super::{Job, JobOutcome, JobResult, JobVerb};
use crate::World;
use crate::desk::erase::{EraseError, erase, is_considered};
use crate::desk::{Desk, OperateError};
use crate::records::{Intake, Replay, Subjects};
use crate::sequencer::Operation;

/// Rounds of dropping in one post: each frees room for as many events as a post may queue.
const ROUNDS_MAX: usize = 10_000;

/// Tries of a post that does not answer, a pause between them: a sequencer that failed is back in
/// 100 ms.
const TRIES_MAX: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_millis(300);

/// Looks at a post that has not taken in what came right before the job, a pause after each: 30 s.
const WAITS_MAX: u32 = 100;

/// The node is stopping: the job goes on at the next start.
#[derive(Debug)]
pub(super) struct Stopping;

/// What became of the target.
pub(super) async fn act(
    desk: &Desk,
    job: &Job,
    post: PostKey,
    run: u64,
) -> Result<JobResult, Stopping> {
    let done = match job.verb {
        JobVerb::Retry | JobVerb::Drop => dead_letter(desk, job, &post, run).await?,
        JobVerb::Replay | JobVerb::ReplayForced => replay(desk, job, &post).await,
        JobVerb::DropWaiting => drop_waiting(desk, job, &post).await?,
        JobVerb::Erase => match erase(desk, &post, &job.by, &job.reason).await {
            Ok(()) => Ok(true),
            Err(EraseError::Stopping) => return Err(Stopping),
            Err(error) => Err(error.to_string()),
        },
    };
    let (outcome, detail) = match done {
        Ok(true) => (JobOutcome::Done, String::new()),
        Ok(false) => (JobOutcome::Skipped, "nothing to do any more".to_owned()),
        Err(detail) => (JobOutcome::Failed, detail),
    };
    Ok(JobResult { post, run, outcome, detail })
}

/// `Ok(false)` when there was nothing to do; else why it was refused.
type Acted = Result<bool, String>;

async fn dead_letter(desk: &Desk, job: &Job, post: &PostKey, run: u64) -> Result<Acted, Stopping> {
    let (run, by, reason) = (RunId(IntakePosition(run)), job.by.clone(), job.reason.clone());
    let operation = match job.verb {
        JobVerb::Retry => Operation::Retry { run, by, reason, redo: Redo::default() },
        JobVerb::Drop
        | JobVerb::Replay
        | JobVerb::ReplayForced
        | JobVerb::DropWaiting
        | JobVerb::Erase => Operation::Drop { run, by, reason },
    };
    Ok(match operate(desk, post, operation).await? {
        Ok(()) => Ok(true),
        Err(Rejection::NoSuchDeadLetter) => Ok(false),
        Err(rejection) => Err(rejection.to_string()),
    })
}

async fn drop_waiting(desk: &Desk, job: &Job, post: &PostKey) -> Result<Acted, Stopping> {
    let (mut dropped, mut waits) = (false, 0);
    for _ in 0..ROUNDS_MAX {
        let operation = Operation::DropWaiting {
            up_to: IntakePosition(job.horizon),
            source: job.filter.source.clone(),
            route: job.filter.route.clone(),
            by: job.by.clone(),
        };
        match operate(desk, post, operation).await? {
            Ok(()) => dropped = true,
            // What came in right before the job may not be in the post's queue yet.
            Err(Rejection::NothingWaits) => match all_considered(desk, job, post).await {
                Ok(true) => return Ok(Ok(dropped)),
                Ok(false) if waits < WAITS_MAX => {
                    waits += 1;
                    tokio::time::sleep(TRY_PAUSE).await;
                }
                Ok(false) => return Ok(Err("the post does not take its events in".to_owned())),
                Err(error) => return Ok(Err(format!("the log cannot be read: {error}"))),
            },
            Err(rejection) => return Ok(Err(rejection.to_string())),
        }
    }
    Ok(Err("more waits than is dropped in one go; run the job again".to_owned()))
}

/// Whether the post has looked at all of its events that were there when the job began.
async fn all_considered(desk: &Desk, job: &Job, post: &PostKey) -> Result<bool, ReadError> {
    let newest = desk.world().log.last(&Subjects::of(post).intake).await?;
    match newest {
        None => Ok(true),
        Some(newest) => {
            is_considered(desk, post, Sequence(newest.sequence.0.min(job.horizon))).await
        }
    }
}

/// A verb on a post, again when its sequencer failed meanwhile.
async fn operate(
    desk: &Desk,
    post: &PostKey,
    operation: Operation,
) -> Result<Result<(), Rejection>, Stopping> {
    for _ in 0..TRIES_MAX {
        match desk.operate(post.clone(), operation.clone()).await {
            Ok(()) => return Ok(Ok(())),
            Err(OperateError::Rejected(rejection)) => return Ok(Err(rejection)),
            Err(OperateError::NoAnswer) if desk.status().await.is_none() => return Err(Stopping),
            Err(OperateError::NoAnswer) => tokio::time::sleep(TRY_PAUSE).await,
        }
    }
    Ok(Err(Rejection::Busy))
}

/// Appends the post's newest webhook once more, under the job's own key, by today's route.
async fn replay(desk: &Desk, job: &Job, post: &PostKey) -> Acted {
    let world = desk.world();
    let read = |error: ReadError| format!("the log cannot be read: {error}");
    let newest = world.log.last(&Subjects::of(post).intake).await.map_err(read)?;
    let Some(newest) = newest else { return Ok(false) };
    let intake = Intake::read(&newest).map_err(|bad| bad.to_string())?;
    if intake.body.is_empty() {
        return Ok(false);
    }
    // A notice is the same notice again, under its id.
    let (route, event_id) = if post.subscriber().is_some() {
        (intake.route.clone(), intake.event_id.clone())
    } else {
        let route = world.route_again(&intake);
        let route = route.ok_or("its source is not in the configuration any more")?;
        (route, Uuid::now_v7().to_string())
    };
    let again = Intake {
        event_id,
        idempotency_key: format!("replay-{}", job.id),
        received_at: World::now(),
        route,
        again: job.verb == JobVerb::ReplayForced,
        replay: Some(Replay { by: job.by.clone(), job: job.id.clone() }),
        ..intake
    };
    match world.log.append(again.record(post)).await {
        Ok(Appended::Stored(at)) => {
            // Notices are no backlog.
            if post.subscriber().is_none() {
                world.partitions.stored(at);
            }
            Ok(true)
        }
        Ok(Appended::Duplicate(_)) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}
