//! A log's recovery from files that are not as it left them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bytes::Bytes;
use copydesk_eventlog::embedded::{OpenError, Settings};
use copydesk_eventlog::{EmbeddedLog, EventLog, Filter, NewRecord, ReadError, Sequence, Subject};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const PAYLOADS: [&[u8]; 3] = [b"first", b"second", b"third"];

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).build().expect("a runtime"));

/// A closed log of three records, which are in its journal.
static LOG: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder");
    RUNTIME.block_on(async {
        let log = EmbeddedLog::open(folder.path(), SETTINGS).expect("a new log");
        for payload in PAYLOADS {
            let record = NewRecord {
                subject: Subject::new("cd.0.news.1.in").expect("a subject"),
                message_id: None,
                expected_last: None,
                headers: Vec::new(),
                payload: Bytes::from_static(payload),
            };
            log.append(record).await.expect("stored");
        }
        log.close().await;
        // Opened once more: only a log that is open has a padded journal.
        EmbeddedLog::open(folder.path(), SETTINGS).expect("our own").close().await;
    });
    folder
});

const SETTINGS: Settings = Settings {
    free_bytes_min: 0,
    ring_bytes_max: 0,
    cache_bytes_max: 1024 * 1024,
    memtable_bytes_max: 1024 * 1024,
};

/// A log whose journal was damaged is refused, or gives all that was acknowledged. Input: `=` and a
/// journal of any bytes; or where to cut the right one (two bytes), then what to change in it (a
/// place, two bytes, and its new byte).
pub fn log_recover(data: &[u8]) {
    let folder = TempDir::new().expect("a folder");
    let journal = copy(LOG.path(), folder.path()).expect("a log has a journal");
    let bytes = match data {
        [b'=', all @ ..] => all.to_vec(),
        _ => damaged(fs::read(&journal).expect("our own"), data),
    };
    fs::write(journal, bytes).expect("written");
    RUNTIME.block_on(async {
        let log = match EmbeddedLog::open(folder.path(), SETTINGS) {
            Ok(log) => log,
            Err(OpenError::Read(_)) => return,
            Err(other) => panic!("{other}"),
        };
        match log.read(Sequence(0), Filter(None), 10).await {
            Ok(records) => {
                let read: Vec<&[u8]> = records.iter().map(|r| r.payload.as_ref()).collect();
                assert_eq!(read, PAYLOADS);
            }
            Err(ReadError::Corrupt { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        log.close().await;
    });
}

fn damaged(mut journal: Vec<u8>, how: &[u8]) -> Vec<u8> {
    if let Some((cut, changes)) = how.split_first_chunk() {
        journal.truncate(u16::from_be_bytes(*cut).into());
        for change in changes.chunks_exact(3) {
            let place = usize::from(u16::from_be_bytes([change[0], change[1]]));
            if let Some(byte) = journal.get_mut(place) {
                *byte = change[2];
            }
        }
    }
    journal
}

/// Copies a folder; the path of the newest journal in the copy.
fn copy(from: &Path, to: &Path) -> Option<PathBuf> {
    fs::create_dir_all(to).expect("a folder");
    let mut newest = None;
    for entry in fs::read_dir(from).expect("our own") {
        let entry = entry.expect("our own");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("our own").is_dir() {
            newest = newest.max(copy(&entry.path(), &target));
        } else {
            fs::copy(entry.path(), &target).expect("copied");
            let is_journal = target.extension().is_some_and(|ending| ending == "jnl");
            newest = newest.max(is_journal.then_some(target));
        }
    }
    newest
}
