//! Promise 4: compare-and-set on a subject's last sequence.

use std::sync::Arc;

use futures::future::join_all;

use super::{Host, abandon, fenced, history, put, record, subject, texts};
use crate::{AppendError, Appended, EventLog, NewRecord, Sequence};

fn is_fenced(answer: &Result<Appended, AppendError>) -> bool {
    matches!(answer, Err(AppendError::WrongLastSequence { .. }))
}

pub(super) async fn zero_means_an_empty_subject(host: &mut dyn Host) {
    let log = host.fresh().await;
    put(&*log, record("other", "x")).await;
    assert_eq!(put(&*log, fenced("a", "first", 0)).await, 2);
    assert!(is_fenced(&log.append(fenced("a", "second", 0)).await));
    assert_eq!(put(&*log, fenced("a", "second", 2)).await, 3);
    assert_eq!(texts(&history(&*log, "a").await), ["first", "second"]);
}

pub(super) async fn a_stale_expectation_stores_nothing(host: &mut dyn Host) {
    let log = host.fresh().await;
    for n in 0..3 {
        put(&*log, record("a", &n.to_string())).await;
    }
    for wrong in [0, 1, 2, 4, u64::MAX] {
        let answer = log.append(fenced("a", "late", wrong)).await;
        assert!(is_fenced(&answer), "{wrong}: {answer:?}");
    }
    let empty = log.append(fenced("empty", "late", 3)).await;
    assert!(is_fenced(&empty), "{empty:?}");
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(3));
}

pub(super) async fn of_racing_writers_one_wins(host: &mut dyn Host) {
    let log = host.fresh().await;
    let mut last = 0;
    for round in 0..10 {
        let appends = (0..20).map(|n| log.append(fenced("a", &format!("{round} {n}"), last)));
        let answers = join_all(appends).await;
        let won: Vec<_> = answers.iter().flatten().collect();
        let lost = answers.iter().filter(|answer| is_fenced(answer)).count();
        assert_eq!((won.len(), lost), (1, 19), "{answers:?}");
        last = won[0].sequence().0;
    }
    assert_eq!(history(&*log, "a").await.len(), 10);
}

pub(super) async fn writers_that_read_and_retry_lose_nothing(host: &mut dyn Host) {
    let log = host.fresh().await;
    let writers = (0..4).map(|writer| tokio::spawn(write_fenced(Arc::clone(&log), writer, 10)));
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let mut found = history(&*log, "a").await;
    assert_eq!(found.len(), 40);
    found.sort_by(|a, b| a.payload.cmp(&b.payload));
    found.dedup_by(|a, b| a.payload == b.payload);
    assert_eq!(found.len(), 40, "a payload is there twice");
}

async fn write_fenced(log: Arc<dyn EventLog>, writer: u32, count: u32) {
    for n in 0..count {
        loop {
            let last = log.last(&subject("a")).await.unwrap().map_or(0, |last| last.sequence.0);
            match log.append(fenced("a", &format!("{writer} {n}"), last)).await {
                Ok(_) => break,
                Err(AppendError::WrongLastSequence { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
}

pub(super) async fn the_same_fenced_append_again_answers_its_first_place(host: &mut dyn Host) {
    let log = host.fresh().await;
    let first = fenced("a", "decision 1", 0);
    assert_eq!(put(&*log, first.clone()).await, 1);
    put(&*log, record("other", "x")).await;
    assert_eq!(put(&*log, first).await, 1);
    let second = fenced("a", "decision 2", 1);
    assert_eq!(put(&*log, second.clone()).await, 3);
    assert_eq!(put(&*log, second).await, 3);
    assert_eq!(texts(&history(&*log, "a").await), ["decision 1", "decision 2"]);
}

pub(super) async fn another_payload_under_the_same_expectation_is_refused(host: &mut dyn Host) {
    let log = host.fresh().await;
    put(&*log, fenced("a", "mine", 0)).await;
    assert!(is_fenced(&log.append(fenced("a", "theirs", 0)).await));
    // The same bytes under another expectation are another append.
    put(&*log, fenced("a", "same", 1)).await;
    assert!(is_fenced(&log.append(fenced("a", "same", 0)).await));
    // So are the same bytes that were stored without any.
    put(&*log, record("b", "plain")).await;
    assert!(is_fenced(&log.append(fenced("b", "plain", 0)).await));
    assert_eq!(texts(&history(&*log, "a").await), ["mine", "same"]);
}

pub(super) async fn a_retry_finds_its_place_behind_another_writer(host: &mut dyn Host) {
    let log = host.fresh().await;
    let mine = fenced("a", "mine", 0);
    put(&*log, mine.clone()).await;
    put(&*log, fenced("a", "theirs", 1)).await;
    // It was stored, so anything else would be a lie; the next append meets the fence.
    assert_eq!(put(&*log, mine).await, 1);
    assert!(is_fenced(&log.append(fenced("a", "mine again", 1)).await));
    assert_eq!(texts(&history(&*log, "a").await), ["mine", "theirs"]);
}

pub(super) async fn an_abandoned_fenced_append_is_stored_once(host: &mut dyn Host) {
    let log = host.fresh().await;
    let mut last = 0;
    for n in 0..20 {
        let new = fenced("a", &n.to_string(), last);
        abandon(&*log, new.clone()).await;
        last = put(&*log, new.clone()).await;
        assert_eq!(put(&*log, new).await, last);
    }
    let expected: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(texts(&history(&*log, "a").await), expected);
}

pub(super) async fn a_fence_is_for_one_subject(host: &mut dyn Host) {
    let log = host.fresh().await;
    put(&*log, record("a", "x")).await;
    put(&*log, record("b", "x")).await;
    let ours = NewRecord { subject: subject("a"), ..fenced("a", "y", 1) };
    assert_eq!(put(&*log, ours).await, 3);
    assert_eq!(put(&*log, fenced("b", "y", 2)).await, 4);
}
