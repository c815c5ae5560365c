//! The archive: every webhook's payload as it came, copied from the log to a folder or an
//! S3-compatible store, in files of JSON lines.
//!
//! The log holds the bytes before anything is done with them, so the copy need not stand in a
//! webhook's way: it follows a little later, in order, from a mark that stands in the log itself.
//! History is trimmed only behind the mark. A file is named after its first and last place in the
//! log; after a crash some lines may stand in two files, none is missing.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use copydesk_eventlog::{AppendError, EventLog, NewRecord, ReadError, Record, Sequence, Subject};
use copydesk_proto::{SCHEMA_VERSION, Timestamp, v1};
use futures::StreamExt;
use serde::Serialize;
use tracing::{info, warn};

use crate::World;
use crate::alerts::Alert;
use crate::bucket::{Bucket, at};
use crate::records::{INTAKE, Intake, post_of};

/// The subject of the mark: up to where the log is archived.
const ARCHIVE_SUBJECT: &str = "cd.desk.archive";

/// Lines of one file.
const LINES_MAX: usize = 1_000;

/// Bytes after which a file is closed; a line more than that may be 350 KB.
const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long the first line of a file waits for others. A file a minute is what S3 is priced for.
const GATHER: Duration = Duration::from_secs(60);

/// Pause after a store or a log that failed.
const RETRY: Duration = Duration::from_secs(30);

/// Where payloads are kept.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The folder or the bucket.
    pub bucket: Bucket,
    /// How long the first line of a file waits for others.
    pub gather: Duration,
}

impl Archive {
    /// Files that are complete after a minute.
    #[must_use]
    pub const fn new(bucket: Bucket) -> Self {
        Self { bucket, gather: GATHER }
    }
}

/// Why nothing was archived this time.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    #[error("the log did not take the mark")]
    Append(#[from] AppendError),
    #[error("the store did not take the file")]
    Store(#[from] object_store::Error),
}

/// One payload, as a line of a file.
#[derive(Serialize)]
struct Line<'a> {
    position: u64,
    received_at: String,
    source: &'a str,
    site: &'a str,
    post: String,
    event_id: &'a str,
    event: &'a str,
    idempotency_key: &'a str,
    key_id: &'a str,
    /// The signed bytes: as text where they are UTF-8 …
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    /// … and in base64 where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// The lines of a file that is being filled.
#[derive(Default)]
struct File {
    text: String,
    lines: usize,
    first: Option<(Sequence, Timestamp)>,
    last: Sequence,
}

impl File {
    fn is_full(&self) -> bool {
        self.lines >= LINES_MAX || self.text.len() >= FILE_BYTES_MAX
    }

    fn push(&mut self, record: &Record) {
        self.last = record.sequence;
        // What is no payload of this release is named by `copydesk verify`; the log keeps it.
        let (Some(key), Ok(intake)) = (post_of(&record.subject), Intake::read(record)) else {
            return;
        };
        // An erased post's, or an operator's replay of what is archived already.
        if intake.body.is_empty() || intake.replay.is_some() {
            return;
        }
        self.first.get_or_insert((record.sequence, intake.received_at));
        let body = std::str::from_utf8(&intake.body).ok();
        let line = Line {
            position: record.sequence.0,
            received_at: at(intake.received_at).to_string(),
            source: intake.source.as_str(),
            site: key.site.as_str(),
            post: key.post.to_string(),
            event_id: &intake.event_id,
            event: &intake.event_type,
            idempotency_key: &intake.idempotency_key,
            key_id: &intake.key_id,
            body,
            body_base64: body.is_none().then(|| STANDARD.encode(&intake.body)),
        };
        self.text.push_str(&serde_json::to_string(&line).expect("text and numbers are JSON"));
        self.text.push('\n');
        self.lines += 1;
    }

    /// The day it is filed under, and `<first>-<last>.jsonl`; `None` while there is no line.
    fn name(&self) -> Option<(Timestamp, String)> {
        let (first, received_at) = self.first?;
        Some((received_at, format!("{:020}-{:020}.jsonl", first.0, self.last.0)))
    }
}

/// Archives what comes, for as long as it is polled.
pub(crate) async fn archive_for_ever(world: Arc<World>, archive: Archive) {
    let mut failing = false;
    loop {
        // Where several nodes share the log, one of them does it.
        if !world.partitions.keeps_desk() {
            tokio::time::sleep(RETRY).await;
            continue;
        }
        match archive_on(&*world.log, &archive).await {
            Ok(()) if failing => {
                failing = false;
                info!("the archive goes on");
            }
            Ok(()) => {}
            Err(error) => {
                if !failing {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "the archive waits; nothing is lost"
                    );
                }
                failing = true;
                world.alerts.raise(Alert {
                    group: "archive".to_owned(),
                    text: format!("payloads are not archived, and history is not trimmed: {error}"),
                });
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Fills one file, stores it and moves the mark.
async fn archive_on(log: &dyn EventLog, archive: &Archive) -> Result<(), ArchiveError> {
    let subject = Subject::new(ARCHIVE_SUBJECT).expect("a subject");
    let mark = log.last(&subject).await?;
    let from = mark.as_ref().map_or(Ok(Sequence(0)), through)?;
    let mut file = File::default();
    let mut payloads = log.tail(from, INTAKE);
    let Some(first) = payloads.next().await else { return Ok(()) };
    file.push(&first?);
    let deadline = tokio::time::sleep(archive.gather);
    tokio::pin!(deadline);
    while !file.is_full() {
        tokio::select! {
            record = payloads.next() => match record {
                Some(record) => file.push(&record?),
                None => break,
            },
            () = &mut deadline => break,
        }
    }
    if let Some((day, name)) = file.name() {
        archive.bucket.put(day, &name, std::mem::take(&mut file.text)).await?;
    }
    let stored = v1::PayloadsArchived { schema_version: SCHEMA_VERSION, through: file.last.0 };
    let record = NewRecord {
        subject: subject.clone(),
        message_id: None,
        expected_last: Some(mark.map_or(Sequence(0), |mark| mark.sequence)),
        headers: Vec::new(),
        payload: copydesk_proto::encode(&stored),
    };
    let newest = log.append(record).await?.sequence();
    Ok(log.trim(&subject, newest).await?)
}

/// Up to where the log is archived; nothing before the first file.
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub(crate) async fn archived(log: &dyn EventLog) -> Result<Sequence, ReadError> {
    let subject = Subject::new(ARCHIVE_SUBJECT).expect("a subject");
    log.last(&subject).await?.as_ref().map_or(Ok(Sequence(0)), through)
}

fn through(mark: &Record) -> Result<Sequence, ReadError> {
    let stored: Result<v1::PayloadsArchived, _> = copydesk_proto::decode(mark.payload.clone());
    let stored = stored.ok().filter(|stored| stored.schema_version <= SCHEMA_VERSION);
    let corrupt = || ReadError::Corrupt {
        place: format!("record {}", mark.sequence),
        reason: "it is no archive mark of this release".to_owned(),
    };
    Ok(Sequence(stored.ok_or_else(corrupt)?.through))
}
