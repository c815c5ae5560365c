//! One list of cases that every log must pass whole: the promises of [`EventLog`], made to fail.
//!
//! A case gets an empty log. It says what it relies on in its name and panics when a promise is
//! broken; [`check`] runs them all and names those that failed. Subjects begin with `cd.`, as
//! in the product.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod appending;
mod fencing;
mod keeping;
mod reading;
mod tailing;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};

use crate::{
    Appended, EventLog, Filter, MessageId, NewRecord, ReadError, Record, Sequence, Subject,
};

/// Longer than anything here takes on a busy machine; only a broken log waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What makes the logs under test.
pub trait Host: Send {
    /// An empty log. The one before is not used any more.
    fn fresh(&mut self) -> BoxFuture<'_, Arc<dyn EventLog>>;

    /// The same log again, after closing it; `None` when it does not outlive its handle.
    fn reopen(&mut self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Option<Arc<dyn EventLog>>>;
}

type Case = (&'static str, for<'a> fn(&'a mut dyn Host) -> BoxFuture<'a, ()>);

macro_rules! cases {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($((stringify!($name), |host| $module::$name(host).boxed())),+),+]
    };
}

const CASES: &[Case] = cases! {
    appending: sequences_are_one_two_three, an_appended_record_is_readable_at_once,
        a_record_comes_back_as_it_was, an_empty_payload_is_a_record,
        a_record_of_the_greatest_size_is_taken, what_is_too_large_is_refused_and_not_stored,
        headers_that_could_do_harm_are_refused, a_message_id_is_stored_once,
        a_message_id_counts_for_the_whole_stream, of_racing_message_ids_one_is_stored,
        an_abandoned_append_with_a_message_id_is_stored_once;
    fencing: zero_means_an_empty_subject, a_stale_expectation_stores_nothing,
        of_racing_writers_one_wins, writers_that_read_and_retry_lose_nothing,
        the_same_fenced_append_again_answers_its_first_place,
        another_payload_under_the_same_expectation_is_refused,
        a_retry_finds_its_place_behind_another_writer, an_abandoned_fenced_append_is_stored_once,
        a_fence_is_for_one_subject;
    reading: an_empty_log_answers_everything, history_is_of_one_subject_only,
        history_comes_in_pages, the_stream_comes_in_pages, a_filter_names_every_token,
        the_order_of_reading_is_the_order_of_storing, each_subject_has_one_last_record,
        many_subjects_are_all_found;
    tailing: a_tail_crosses_the_end, a_tail_filters, a_tail_starts_after_a_sequence,
        a_tail_misses_nothing_under_load, a_slow_tail_misses_nothing;
    keeping: a_trim_keeps_the_last_record, a_trim_never_reuses_a_sequence,
        a_trim_again_changes_nothing, a_trim_leaves_other_subjects,
        a_fence_holds_after_a_trim, everything_is_there_after_reopening,
        a_closed_log_says_so;
};

/// Runs every case against fresh logs.
///
/// # Panics
/// With the names of the cases that failed; each has printed why.
pub async fn check(host: &mut dyn Host) {
    let mut failed = Vec::new();
    for (name, case) in CASES {
        let run = tokio::time::timeout(2 * PATIENCE, case(host));
        match AssertUnwindSafe(run).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => failed.push(format!("{name} (not done in time)")),
            Err(_) => failed.push((*name).to_owned()),
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), CASES.len());
}

fn subject(name: &str) -> Subject {
    Subject::new(&format!("cd.{name}")).unwrap()
}

fn record(name: &str, payload: &str) -> NewRecord {
    NewRecord {
        subject: subject(name),
        message_id: None,
        expected_last: None,
        headers: Vec::new(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

fn with_id(name: &str, payload: &str, id: u8) -> NewRecord {
    NewRecord { message_id: Some(MessageId([id; 16])), ..record(name, payload) }
}

fn fenced(name: &str, payload: &str, expected: u64) -> NewRecord {
    NewRecord { expected_last: Some(Sequence(expected)), ..record(name, payload) }
}

/// Appends and gives the place of a stored record.
async fn put(log: &dyn EventLog, record: NewRecord) -> u64 {
    match log.append(record).await.unwrap() {
        Appended::Stored(sequence) => sequence.0,
        Appended::Duplicate(sequence) => panic!("a duplicate of {sequence}"),
    }
}

/// Appends `count` records, payloads 0, 1, 2 …
async fn put_many(log: &dyn EventLog, name: &str, count: usize) {
    for n in 0..count {
        put(log, record(name, &n.to_string())).await;
    }
}

/// The whole stream as far as it goes now.
async fn read_all(log: &dyn EventLog, filter: Filter) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    loop {
        let after = all.last().map(|record| record.sequence).unwrap_or_default();
        let page = log.read(after, filter, 100).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn history(log: &dyn EventLog, name: &str) -> Vec<Record> {
    log.history(&subject(name), Sequence(0), 10_000).await.unwrap()
}

type Tail = BoxStream<'static, Result<Record, ReadError>>;

/// The next `count` records.
async fn take(tail: &mut Tail, count: usize) -> Vec<Record> {
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        let next = tokio::time::timeout(PATIENCE, tail.next()).await;
        taken.push(next.expect("the tail waits for ever").expect("the tail ended").unwrap());
    }
    taken
}

async fn collect<T>(stream: BoxStream<'static, Result<T, ReadError>>) -> Vec<T> {
    stream.map(Result::unwrap).collect().await
}

fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.payload).unwrap()).collect()
}

fn sequences(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.sequence.0).collect()
}

/// Whether every number is greater than the one before.
fn grows(numbers: &[u64]) -> bool {
    numbers.windows(2).all(|pair| matches!(pair, [a, b] if a < b))
}

/// Starts an append and goes away before its answer.
async fn abandon(log: &dyn EventLog, record: NewRecord) {
    let mut append = log.append(record);
    // One poll sends it; the answer of a log that answers at once is thrown away.
    let _answer = futures::poll!(&mut append);
}
