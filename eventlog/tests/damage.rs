//! What the embedded log does when its files are not as it left them: never a wrong payload,
//! never a missing acknowledged record without an error.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use copydesk_eventlog::embedded::{OpenError, Settings};
use copydesk_eventlog::{
    AppendError, EmbeddedLog, EventLog, Filter, NewRecord, ReadError, Record, Sequence, Subject,
};
use tempfile::TempDir;

/// Small memtables, so that few records make many files.
const SETTINGS: Settings = Settings {
    free_bytes_min: 0,
    ring_bytes_max: 0,
    cache_bytes_max: 1024 * 1024,
    memtable_bytes_max: 128 * 1024,
};

fn record(n: usize) -> NewRecord {
    large_record(n, 600)
}

fn large_record(n: usize, bytes: usize) -> NewRecord {
    // Noise, so that compression does not make the tables small.
    let mut noise = n as u64 + 1;
    let payload = std::iter::repeat_with(|| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise.to_le_bytes()
    });
    NewRecord {
        subject: Subject::new(&format!("cd.{}.ev", n % 50)).unwrap(),
        message_id: None,
        expected_last: None,
        headers: vec![("n", n.to_string())],
        payload: payload.take(bytes / 8).flatten().collect(),
    }
}

async fn append(log: &EmbeddedLog, from: usize, count: usize) {
    append_large(log, from, count, 600).await;
}

async fn append_large(log: &EmbeddedLog, from: usize, count: usize, bytes: usize) {
    let appends = (from..from + count).map(|n| log.append(large_record(n, bytes)));
    for answer in futures::future::join_all(appends).await {
        answer.unwrap();
    }
}

/// A closed log, opened once more so that its journal has no padding.
async fn closed_log(records: usize) -> TempDir {
    closed_large_log(records, 600).await
}

async fn closed_large_log(records: usize, bytes: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (from, count) in [(0, records), (records, 0)] {
        let log = EmbeddedLog::open(folder.path(), SETTINGS).unwrap();
        for part in (from..from + count).step_by(200) {
            append_large(&log, part, 200.min(from + count - part), bytes).await;
        }
        log.close().await;
    }
    folder
}

/// A copy in which the tables, which are never changed in place, are the same files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            let copied = if is_table(&target) {
                fs::hard_link(entry.path(), target)
            } else {
                fs::copy(entry.path(), target).map(|_| ())
            };
            copied.unwrap();
        }
    }
}

fn files(folder: &Path, ending: impl Fn(&Path) -> bool + Copy) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if ending(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "jnl")
}

fn is_table(path: &Path) -> bool {
    path.to_string_lossy().contains("/tables/")
}

async fn read_all(log: &EmbeddedLog) -> Result<Vec<Record>, ReadError> {
    let mut all: Vec<Record> = Vec::new();
    loop {
        let after = all.last().map(|record| record.sequence).unwrap_or_default();
        let page = log.read(after, Filter(None), 1000).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// When the damage was noticed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Noticed {
    at_open: usize,
    by_reading: usize,
    by_verify_only: usize,
    harmless: usize,
}

/// Opens the damaged log, reads it whole, and compares with what was acknowledged.
async fn judge(folder: &Path, acknowledged: usize, place: &str, noticed: &mut Noticed) {
    match EmbeddedLog::open(folder, SETTINGS) {
        Ok(log) => {
            judge_open(&log, acknowledged, place, noticed).await;
            log.close().await;
        }
        Err(OpenError::Read(_)) => noticed.at_open += 1,
        Err(other) => panic!("{place}: {other:?}"),
    }
}

async fn judge_open(log: &EmbeddedLog, acknowledged: usize, place: &str, noticed: &mut Noticed) {
    match read_all(log).await {
        Err(_) => noticed.by_reading += 1,
        Ok(all) => {
            for found in &all {
                let right = large_record(number(found), found.payload.len());
                assert!(found.payload == right.payload, "{place}: a wrong payload");
                assert_eq!(found.subject, right.subject, "{place}: a wrong subject");
            }
            match log.verify(|_| {}).await {
                Err(_) => noticed.by_verify_only += 1,
                Ok(_) => {
                    let numbers: HashSet<_> = all.iter().map(number).collect();
                    assert_eq!(
                        (all.len(), numbers.len()),
                        (acknowledged, acknowledged),
                        "{place}: records are silently missing"
                    );
                    noticed.harmless += 1;
                }
            }
        }
    }
}

fn number(record: &Record) -> usize {
    record.headers[0].1.parse().unwrap()
}

fn flip(path: &Path, bit: u64) {
    let mut bytes = fs::read(path).unwrap();
    let at = usize::try_from(bit / 8).unwrap();
    bytes[at] ^= 1 << (bit % 8);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Inverts one byte of the very file.
fn invert(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

/// Flips one bit at `places` spread over each file, each in a fresh copy.
async fn flips(folder: &Path, records: usize, chosen: &[PathBuf], places: u64) -> Noticed {
    let mut noticed = Noticed::default();
    for path in chosen {
        let bits = fs::metadata(path).unwrap().len() * 8;
        for place in 0..places.min(bits) {
            // A prime step inside the bytes, so that every bit position comes up.
            let bit = (bits / places * place + place * 7919 % 64).min(bits.saturating_sub(1));
            let scratch = TempDir::new().unwrap();
            copy(folder, scratch.path());
            let relative = path.strip_prefix(folder).unwrap();
            flip(&scratch.path().join(relative), bit);
            let name = format!("{} bit {bit}", relative.display());
            judge(scratch.path(), records, &name, &mut noticed).await;
        }
    }
    noticed
}

#[tokio::test]
async fn a_flipped_bit_in_the_journal_is_refused_at_open() {
    let folder = closed_log(100).await;
    let journals = files(folder.path(), is_journal);
    let noticed = flips(folder.path(), 100, &journals, 150).await;
    assert_eq!((noticed.at_open, noticed.by_verify_only), (150, 0), "{noticed:?}");
}

#[tokio::test]
async fn a_flipped_bit_in_a_table_is_an_error_not_a_wrong_record() {
    // More than one journal holds, so that most records are in tables only.
    let folder = closed_large_log(260, 300_000).await;
    let tables = files(folder.path(), is_table);
    assert!(tables.len() >= 4, "the records were not written to tables: {tables:?}");
    let noticed = flips(folder.path(), 260, &tables, 2).await;
    assert!(noticed.at_open > 0, "{noticed:?}");

    // Opening reads what is younger than the window of message ids, which here is everything.
    // A log that is open already finds it when it reads.
    let log = EmbeddedLog::open(folder.path(), SETTINGS).unwrap();
    let (mut noticed, mut flipped) = (Noticed::default(), 0);
    for path in &tables {
        let length = fs::metadata(path).unwrap().len();
        for place in 1..3 {
            let at = length * place / 3;
            invert(path, at);
            judge_open(&log, 260, &format!("{} byte {at}", path.display()), &mut noticed).await;
            invert(path, at);
            flipped += 1;
        }
    }
    assert!(noticed.by_reading > flipped / 2, "{noticed:?}");
    assert_eq!(read_all(&log).await.unwrap().len(), 260);
}

#[tokio::test]
async fn a_flipped_bit_in_any_other_file_loses_nothing_silently() {
    let folder = closed_log(1500).await;
    let others = files(folder.path(), |path| !is_journal(path) && !is_table(path));
    let noticed = flips(folder.path(), 1500, &others, 12).await;
    assert!(noticed.at_open > 0, "{noticed:?}");
}

#[tokio::test]
async fn a_refused_journal_is_left_as_it_is() {
    let folder = closed_log(100).await;
    let journal = files(folder.path(), is_journal).pop().unwrap();
    flip(&journal, fs::metadata(&journal).unwrap().len() * 4);
    let before = fs::read(&journal).unwrap();
    for _ in 0..2 {
        let refused = EmbeddedLog::open(folder.path(), SETTINGS);
        assert!(matches!(refused, Err(OpenError::Read(ReadError::Corrupt { .. }))), "{refused:?}");
        assert_eq!(fs::read(&journal).unwrap(), before);
    }
}

/// A journal with an end that was never acknowledged: the head is from before it.
async fn unacknowledged_end() -> (TempDir, PathBuf, u64) {
    let folder = closed_log(20).await;
    let head = fs::read(folder.path().join("head")).unwrap();
    let journal = files(folder.path(), is_journal).pop().unwrap();
    let good = fs::metadata(&journal).unwrap().len();
    let log = EmbeddedLog::open(folder.path(), SETTINGS).unwrap();
    append(&log, 20, 1).await;
    log.close().await;
    fs::write(folder.path().join("head"), head).unwrap();
    (folder, journal, good)
}

#[tokio::test]
async fn an_unfinished_end_is_cut_wherever_it_breaks_off() {
    let (folder, journal, good) = unacknowledged_end().await;
    let relative = journal.strip_prefix(folder.path()).unwrap();
    let whole = fs::read(&journal).unwrap();
    let good = usize::try_from(good).unwrap();
    assert!(whole.len() > good + 100);
    for cut in (good + 1..whole.len()).step_by(37) {
        for padding in [0, 5000] {
            let scratch = TempDir::new().unwrap();
            copy(folder.path(), scratch.path());
            let bytes = [&whole[..cut], &vec![0; padding]].concat();
            fs::write(scratch.path().join(relative), bytes).unwrap();
            opens_with(scratch.path(), 20).await;
        }
    }
}

/// The pages of an unsynced write reach the disk in any order.
#[tokio::test]
async fn an_unfinished_end_with_a_hole_in_it_is_cut() {
    let (folder, journal, good) = unacknowledged_end().await;
    let good = usize::try_from(good).unwrap();
    let mut bytes = fs::read(&journal).unwrap();
    let end = bytes.len();
    bytes[good + 60..end - 40].fill(0);
    fs::write(&journal, bytes).unwrap();
    opens_with(folder.path(), 20).await;
}

async fn opens_with(folder: &Path, records: usize) {
    let log = EmbeddedLog::open(folder, SETTINGS).unwrap();
    assert_eq!(read_all(&log).await.unwrap().len(), records);
    append(&log, records, 3).await;
    log.close().await;
    let log = EmbeddedLog::open(folder, SETTINGS).unwrap();
    assert_eq!(log.verify(|_| {}).await.unwrap().records, records as u64 + 3);
}

#[tokio::test]
async fn a_journal_cut_before_its_acknowledged_end_is_refused() {
    let folder = closed_log(100).await;
    let journal = files(folder.path(), is_journal).pop().unwrap();
    let bytes = fs::read(&journal).unwrap();
    for keep in [0, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&journal, &bytes[..keep]).unwrap();
        let refused = EmbeddedLog::open(folder.path(), SETTINGS);
        assert!(matches!(refused, Err(OpenError::Read(ReadError::Corrupt { .. }))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_lost_head_or_another_logs_head_is_refused() {
    let (folder, other) = (closed_log(10).await, closed_log(10).await);
    let head = folder.path().join("head");
    fs::copy(other.path().join("head"), &head).unwrap();
    let refused = EmbeddedLog::open(folder.path(), SETTINGS);
    assert!(matches!(refused, Err(OpenError::Read(ReadError::Corrupt { .. }))), "{refused:?}");
    fs::remove_file(&head).unwrap();
    let refused = EmbeddedLog::open(folder.path(), SETTINGS);
    assert!(matches!(refused, Err(OpenError::Read(ReadError::Corrupt { .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_second_process_is_told_which_folder_is_in_use() {
    let folder = TempDir::new().unwrap();
    let log = EmbeddedLog::open(folder.path(), SETTINGS).unwrap();
    let refused = EmbeddedLog::open(folder.path(), SETTINGS).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
    assert!(refused.to_string().contains(&folder.path().display().to_string()), "{refused}");
    log.close().await;
    EmbeddedLog::open(folder.path(), SETTINGS).unwrap();
}

#[tokio::test]
async fn appends_are_refused_before_the_disk_is_full() {
    let folder = closed_log(10).await;
    let settings = Settings { free_bytes_min: u64::MAX, ..SETTINGS };
    let log = EmbeddedLog::open(folder.path(), settings).unwrap();
    let answer = log.append(record(10)).await;
    assert!(matches!(answer, Err(AppendError::Full(_))), "{answer:?}");
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(10));
    assert_eq!(read_all(&log).await.unwrap().len(), 10);
}

#[tokio::test]
async fn a_trimmed_log_is_whole_and_a_hole_is_not() {
    let folder = closed_log(300).await;
    let log = EmbeddedLog::open(folder.path(), SETTINGS).unwrap();
    for n in 0..25 {
        log.trim(&record(n).subject, Sequence(u64::MAX)).await.unwrap();
    }
    let verified = log.verify(|_| {}).await.unwrap();
    assert_eq!((verified.records, verified.trimmed), (175, 125));
    log.close().await;
    let log = EmbeddedLog::open(folder.path(), SETTINGS).unwrap();
    assert_eq!(log.verify(|_| {}).await.unwrap(), verified);
}
