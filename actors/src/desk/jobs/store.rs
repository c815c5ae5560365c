//! Jobs as records of the log, both ways.

use copydesk_eventlog::{
    AppendError, EventLog, Filter, NewRecord, ReadError, Record, Sequence, Subject,
};
use copydesk_proto::{SCHEMA_VERSION, Timestamp, v1};
use futures::StreamExt;

use super::{Job, JobFilter, JobOutcome, JobResult, JobState};

/// The jobs of the desk.
const JOBS: Filter = Filter(Some("cd.desk.*.job"));

/// Records of results read at a time.
const PAGE: usize = 20;

const STATES: [(JobState, &str); 4] = [
    (JobState::Running, "running"),
    (JobState::Paused, "paused"),
    (JobState::Done, "done"),
    (JobState::Cancelled, "cancelled"),
];

const OUTCOMES: [(JobOutcome, &str); 3] =
    [(JobOutcome::Done, "done"), (JobOutcome::Skipped, "skipped"), (JobOutcome::Failed, "failed")];

impl JobState {
    /// The state as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }
}

impl JobOutcome {
    /// The outcome as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        OUTCOMES.iter().find(|(outcome, _)| *outcome == self).map_or("", |(_, name)| name)
    }
}

/// A job's subject; `None` for a text that is no job's name.
fn subject(id: &str) -> Option<Subject> {
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    Subject::new(&format!("cd.desk.{id}.job")).ok().filter(|_| is_id)
}

/// Appends the job as it is now, with what became of some targets.
pub(super) async fn append(
    log: &dyn EventLog,
    job: &Job,
    results: &[JobResult],
    last: Sequence,
) -> Result<Sequence, AppendError> {
    append_act(log, job, results, ("", ""), last).await
}

/// The same when an operator acts on the job: by whom, and why.
pub(super) async fn append_act(
    log: &dyn EventLog,
    job: &Job,
    results: &[JobResult],
    (by, reason): (&str, &str),
    last: Sequence,
) -> Result<Sequence, AppendError> {
    let subject =
        subject(&job.id).ok_or_else(|| AppendError::Refused("no job's name".to_owned()))?;
    let stored = v1::JobRecord {
        schema_version: SCHEMA_VERSION,
        job: Some(encode(job)),
        results: results
            .iter()
            .map(|result| v1::JobResult {
                post: result.post.to_string(),
                run: result.run,
                outcome: result.outcome.name().to_owned(),
                detail: result.detail.clone(),
            })
            .collect(),
        turned_by: by.to_owned(),
        turned_because: reason.to_owned(),
    };
    let payload = copydesk_proto::encode(&stored);
    let (message_id, expected_last, headers) = (None, Some(last), Vec::new());
    let record = NewRecord { subject, message_id, expected_last, headers, payload };
    Ok(log.append(record).await?.sequence())
}

/// Every job, each with the sequence of its last record.
pub(super) async fn all(log: &dyn EventLog) -> Result<Vec<(Job, Sequence)>, ReadError> {
    let mut jobs = Vec::new();
    let mut last = log.last_per_subject(JOBS);
    while let Some(record) = last.next().await {
        let record = record?;
        jobs.push((decode(&record)?, record.sequence));
    }
    Ok(jobs)
}

/// One job and the sequence of its last record.
pub(super) async fn load(
    log: &dyn EventLog,
    id: &str,
) -> Result<Option<(Job, Sequence)>, ReadError> {
    let Some(subject) = subject(id) else { return Ok(None) };
    let Some(record) = log.last(&subject).await? else { return Ok(None) };
    Ok(Some((decode(&record)?, record.sequence)))
}

pub(super) async fn results(
    log: &dyn EventLog,
    id: &str,
    after: u64,
) -> Result<(Vec<JobResult>, Option<u64>), ReadError> {
    let Some(subject) = subject(id) else { return Ok((Vec::new(), None)) };
    let page = log.history(&subject, Sequence(after), PAGE).await?;
    let next = page.last().filter(|_| page.len() == PAGE).map(|record| record.sequence.0);
    let mut results = Vec::new();
    for record in &page {
        for result in record_of(record)?.results {
            results.push(decode_result(result).ok_or_else(|| corrupt(record))?);
        }
    }
    Ok((results, next))
}

fn corrupt(record: &Record) -> ReadError {
    ReadError::Corrupt {
        place: format!("record {}", record.sequence),
        reason: "it is no job of this release".to_owned(),
    }
}

fn record_of(record: &Record) -> Result<v1::JobRecord, ReadError> {
    let stored: Result<v1::JobRecord, _> = copydesk_proto::decode(record.payload.clone());
    stored
        .ok()
        .filter(|stored| stored.schema_version <= SCHEMA_VERSION)
        .ok_or_else(|| corrupt(record))
}

fn decode(record: &Record) -> Result<Job, ReadError> {
    record_of(record)?.job.and_then(decode_job).ok_or_else(|| corrupt(record))
}

fn encode(job: &Job) -> v1::Job {
    let text = |text: Option<String>| text.unwrap_or_default();
    let JobFilter { site, post, source, route, code, author, since, until } = &job.filter;
    v1::Job {
        id: job.id.clone(),
        verb: job.verb.to_string(),
        filter: Some(v1::JobFilter {
            site: text(site.as_ref().map(ToString::to_string)),
            post: text(post.as_ref().map(ToString::to_string)),
            source: text(source.as_ref().map(ToString::to_string)),
            route: text(route.as_ref().map(ToString::to_string)),
            code: text(code.clone()),
            author: text(author.clone()),
            since_ms: since.map(|at| at.0),
            until_ms: until.map(|at| at.0),
        }),
        by: job.by.clone(),
        reason: job.reason.clone(),
        created_at_ms: job.created_at.0,
        state: job.state.name().to_owned(),
        targets: job.targets,
        done: job.done,
        skipped: job.skipped,
        failed: job.failed,
        cursor: text(job.cursor.as_ref().map(ToString::to_string)),
        at_ms: job.at.0,
        horizon: job.horizon,
        runner: job.runner,
    }
}

fn decode_job(stored: v1::Job) -> Option<Job> {
    fn some<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
    }
    let filter = stored.filter.unwrap_or_default();
    Some(Job {
        id: stored.id,
        verb: stored.verb.parse().ok()?,
        filter: JobFilter {
            site: some(&filter.site)?,
            post: some(&filter.post)?,
            source: some(&filter.source)?,
            route: some(&filter.route)?,
            code: some(&filter.code)?,
            author: some(&filter.author)?,
            since: filter.since_ms.map(Timestamp),
            until: filter.until_ms.map(Timestamp),
        },
        by: stored.by,
        reason: stored.reason,
        created_at: Timestamp(stored.created_at_ms),
        state: STATES.iter().find(|(_, name)| *name == stored.state)?.0,
        targets: stored.targets,
        done: stored.done,
        skipped: stored.skipped,
        failed: stored.failed,
        cursor: some(&stored.cursor)?,
        at: Timestamp(stored.at_ms),
        horizon: stored.horizon,
        runner: stored.runner,
    })
}

fn decode_result(stored: v1::JobResult) -> Option<JobResult> {
    Some(JobResult {
        post: stored.post.parse().ok()?,
        run: stored.run,
        outcome: OUTCOMES.iter().find(|(_, name)| *name == stored.outcome)?.0,
        detail: stored.detail,
    })
}
