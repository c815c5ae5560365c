//! A log goes into an archive and comes back as it was, under a new id; anything else is refused.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use copydesk_eventlog::archive::{ArchiveError, Archived, archive, keep};
use copydesk_eventlog::embedded::Settings;
use copydesk_eventlog::{
    EmbeddedLog, EventLog, Filter, MemoryLog, NewRecord, Record, Sequence, Subject,
};
use futures::StreamExt;

fn settings() -> Settings {
    Settings { free_bytes_min: 0, ..Settings::default() }
}

fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(dir, settings()).unwrap()
}

fn record(n: u64) -> NewRecord {
    NewRecord {
        subject: Subject::new(&format!("cd.{}.ev", n % 20)).unwrap(),
        message_id: None,
        expected_last: None,
        headers: vec![("n", n.to_string())],
        payload: format!("record {n}").into_bytes().into(),
    }
}

async fn fill(log: &dyn EventLog, records: u64) {
    for answer in futures::future::join_all((0..records).map(|n| log.append(record(n)))).await {
        answer.unwrap();
    }
}

async fn keep_log(log: Arc<dyn EventLog>, file: &Path) -> Archived {
    let parts = archive(log).map(|part| part.map_err(Into::into));
    keep(parts, file, |_| {}).await.unwrap()
}

fn restore(dir: &Path, file: &Path) -> Result<Archived, ArchiveError> {
    EmbeddedLog::restore(dir, file, settings(), |_| {})
}

async fn all(log: &dyn EventLog) -> Vec<Record> {
    log.read(Sequence(0), Filter(None), 100_000).await.unwrap()
}

#[tokio::test]
async fn a_log_comes_back_as_it_was_under_a_greater_id() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("kept"), folder.path().join("restored"));
    let log = Arc::new(open(&folder.path().join("log")));
    fill(&*log, 6_000).await;
    // A hole of 200 in the middle of one block, and the whole of another subject's past.
    log.trim(&record(3).subject, Sequence(4_000)).await.unwrap();
    log.trim(&record(7).subject, Sequence(u64::MAX)).await.unwrap();
    let (before, id) = (all(&*log).await, log.id());

    let archived = keep_log(Arc::clone(&log) as _, &file).await;
    assert_eq!((archived.id, archived.last), (id, Sequence(6_000)));
    assert_eq!(archived.records, before.len() as u64);
    assert_eq!(restore(&dir, &file).unwrap(), archived);

    let restored = open(&dir);
    assert!(restored.id() > id, "another incarnation, later than the first");
    assert_eq!(all(&restored).await, before);
    let verified = restored.verify(|_| {}).await.unwrap();
    assert_eq!(verified.records + verified.trimmed, 6_000);
    let last = restored.last(&record(0).subject).await.unwrap().unwrap().sequence;
    let next = NewRecord { expected_last: Some(last), ..record(0) };
    assert_eq!(restored.append(next).await.unwrap().sequence(), Sequence(6_001), "it goes on");
    restored.close().await;
    assert_eq!(all(&open(&dir)).await.len(), before.len() + 1);
}

/// What is trimmed while the archive is taken is told by a record behind the end that it had at
/// first: the archive goes on up to there.
#[tokio::test]
async fn an_archive_holds_what_stands_for_records_trimmed_meanwhile() {
    let log = Arc::new(MemoryLog::default());
    fill(&*log, 600).await;
    let mut parts = archive(Arc::clone(&log) as _);
    let first = parts.next().await.unwrap().unwrap();
    let stands = log.append(record(3)).await.unwrap().sequence();
    log.trim(&record(3).subject, stands).await.unwrap();
    fill(&*log, 5).await;
    let rest: Vec<_> = parts.collect().await;

    let folder = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("kept"), folder.path().join("restored"));
    let all_parts = futures::stream::iter(std::iter::once(Ok(first)).chain(rest));
    keep(all_parts.map(|part| part.map_err(Into::into)), &file, |_| {}).await.unwrap();
    restore(&dir, &file).unwrap();
    let restored = all(&open(&dir)).await;
    assert!(restored.iter().any(|record| record.sequence == stands), "it stands for the trimmed");
}

#[tokio::test]
async fn any_log_can_be_kept_an_empty_one_too() {
    let folder = tempfile::tempdir().unwrap();
    for records in [0, 1, 256, 257] {
        let memory = MemoryLog::default();
        fill(&memory, records).await;
        let before = all(&memory).await;
        let (file, dir) = (folder.path().join("kept"), folder.path().join("restored"));
        keep_log(Arc::new(memory), &file).await;
        restore(&dir, &file).unwrap();
        assert_eq!(all(&open(&dir)).await, before);
        fs::remove_file(&file).unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
}

#[tokio::test]
async fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("kept"), folder.path().join("log"));
    let log = Arc::new(open(&dir));
    fill(&*log, 10).await;
    keep_log(Arc::clone(&log) as _, &file).await;
    let parts = archive(Arc::clone(&log) as _).map(|part| part.map_err(Into::into));
    let again = keep(parts, &file, |_| {}).await;
    assert!(matches!(again, Err(ArchiveError::Io { .. })), "a file that is there stays");
    assert!(matches!(restore(&dir, &file), Err(ArchiveError::Occupied(_))), "so does a log");
    assert_eq!(all(&*log).await.len(), 10);
}

#[tokio::test]
async fn a_flipped_bit_and_a_cut_are_refused_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("kept"), folder.path().join("restored"));
    let log = MemoryLog::default();
    fill(&log, 20).await;
    keep_log(Arc::new(log), &file).await;
    let whole = fs::read(&file).unwrap();
    let refused = |bytes: &[u8], what: String| {
        fs::write(&file, bytes).unwrap();
        assert!(restore(&dir, &file).is_err(), "{what} was taken");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{what} left something behind");
    };
    for at in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        refused(&flipped, format!("a flipped bit in byte {at}"));
        refused(&whole[..at], format!("a file of {at} bytes"));
    }
}
