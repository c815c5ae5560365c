//! The embedded log against the end of its process and the end of its disk. Each test runs
//! itself again as a child, which does the writing.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use copydesk_eventlog::embedded::Settings;
use copydesk_eventlog::{AppendError, EmbeddedLog, EventLog, NewRecord, Sequence, Subject};
use tempfile::TempDir;

/// Names the folder to the child.
const FOLDER: &str = "COPYDESK_TEST_LOG_FOLDER";

const WRITERS: usize = 64;

fn child(test: &str, folder: &Path, shell: Option<&str>) -> Child {
    let exe = std::env::current_exe().unwrap();
    let mut command = match shell {
        None => Command::new(&exe),
        Some(before) => {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]).arg(&exe);
            command
        }
    };
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What writer `w` appends as its `n`th record.
fn record(writer: usize, n: usize) -> NewRecord {
    NewRecord {
        subject: Subject::new(&format!("cd.{writer}.ev")).unwrap(),
        message_id: None,
        expected_last: None,
        headers: Vec::new(),
        payload: Bytes::from(format!("{writer} {n} ").repeat(100)),
    }
}

/// Appends for ever from many tasks and says each acknowledged record on standard output.
async fn write_for_ever(folder: &Path) {
    let log = EmbeddedLog::open(folder, Settings { free_bytes_min: 0, ..Settings::default() });
    let log = Arc::new(log.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            let subject = record(writer, 0).subject;
            let mut n = log.history(&subject, Sequence(0), usize::MAX).await.unwrap().len();
            loop {
                let sequence = log.append(record(writer, n)).await.unwrap().sequence();
                say(&format!("acked {writer} {n} {sequence}"));
                n += 1;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_for_ever(Path::new(&folder)).await;
    }
    let folder = TempDir::new().unwrap();
    let mut acknowledged = Vec::new();
    for round in 1..=5 {
        let test = "nothing_acknowledged_is_lost_when_the_process_is_killed";
        let mut child = child(test, folder.path(), None);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for (seen, line) in lines.enumerate() {
            acknowledged.extend(parse(&line.unwrap()));
            if seen == 2100 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let log = EmbeddedLog::open(folder.path(), Settings::default()).unwrap();
        let verified = log.verify(|_| {}).await.unwrap();
        assert!(verified.records >= acknowledged.len() as u64);
        assert!(acknowledged.len() > 2000 * round, "the child wrote next to nothing");
        holds(&log, &acknowledged).await;
        log.close().await;
    }
}

/// One write per line, so that the lines of many tasks do not mix.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn parse(line: &str) -> Option<(usize, usize, u64)> {
    // The test harness of the child writes on the same output, even on the same line.
    let mut words = line.split_once("acked ")?.1.split(' ');
    let mut next = || words.next()?.parse::<u64>().ok();
    let (writer, n, sequence) = (next()?, next()?, next()?);
    Some((usize::try_from(writer).ok()?, usize::try_from(n).ok()?, sequence))
}

async fn holds(log: &EmbeddedLog, acknowledged: &[(usize, usize, u64)]) {
    let mut histories = Vec::new();
    for writer in 0..WRITERS {
        let subject = record(writer, 0).subject;
        histories.push(log.history(&subject, Sequence(0), usize::MAX).await.unwrap());
    }
    for (writer, n, sequence) in acknowledged {
        let stored = &histories[*writer][*n];
        assert_eq!((stored.sequence.0, &stored.payload), (*sequence, &record(*writer, *n).payload));
    }
}

/// Writes until it fails; says `stopped` when the log says so too.
async fn write_until_it_fails(folder: &Path) {
    let settings = Settings { free_bytes_min: 0, ..Settings::default() };
    let log = EmbeddedLog::open(folder, settings).unwrap();
    let fatal = log.fatal();
    let mut n = 0;
    let error = loop {
        match log.append(record(0, n)).await {
            Ok(appended) => say(&format!("acked 0 {n} {}", appended.sequence())),
            Err(error) => break error,
        }
        n += 1;
    };
    assert!(matches!(error, AppendError::Unknown(_)), "{error:?}");
    let reason = fatal.await;
    let later = log.append(record(0, n)).await;
    assert!(matches!(later, Err(AppendError::Unknown(_))), "{later:?}");
    say(&format!("stopped {reason}"));
}

/// A limit on the file size stands for a disk that takes no more: the write fails.
#[tokio::test]
async fn a_failed_write_stops_the_log_for_good() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_until_it_fails(Path::new(&folder)).await;
    }
    let folder = TempDir::new().unwrap();
    for _ in 0..2 {
        // The second opening cuts the padding off the journal, so that the limit can be small.
        EmbeddedLog::open(folder.path(), Settings::default()).unwrap().close().await;
    }
    let limited = "trap '' XFSZ; ulimit -f 1000";
    let child = child("a_failed_write_stops_the_log_for_good", folder.path(), Some(limited));
    let output = child.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.lines().any(|line| line.contains("stopped")), "{output}");
    let acknowledged: Vec<_> = output.lines().filter_map(parse).collect();
    assert!(acknowledged.len() > 10, "{output}");
    let log = EmbeddedLog::open(folder.path(), Settings::default()).unwrap();
    holds(&log, &acknowledged).await;
    log.verify(|_| {}).await.unwrap();
}
