//! Promise 6, reopening and closing.

use std::sync::Arc;

use futures::StreamExt;

use super::{
    Host, PATIENCE, collect, fenced, history, put, put_many, read_all, record, sequences, subject,
    take, with_id,
};
use crate::{AppendError, Appended, Filter, ReadError, Sequence};

pub(super) async fn a_trim_keeps_the_last_record(host: &mut dyn Host) {
    let log = host.fresh().await;
    put_many(&*log, "a", 10).await;
    log.trim(&subject("a"), Sequence(4)).await.unwrap();
    assert_eq!(sequences(&history(&*log, "a").await), (4..=10).collect::<Vec<_>>());
    log.trim(&subject("a"), Sequence(u64::MAX)).await.unwrap();
    assert_eq!(sequences(&history(&*log, "a").await), [10]);
    assert_eq!(sequences(&read_all(&*log, Filter(None)).await), [10]);
    assert_eq!(log.last(&subject("a")).await.unwrap().unwrap().sequence, Sequence(10));
    assert_eq!(sequences(&collect(log.last_per_subject(Filter(None))).await), [10]);
    let mut tail = log.tail(Sequence(0), Filter(None));
    assert_eq!(sequences(&take(&mut tail, 1).await), [10]);
}

pub(super) async fn a_trim_never_reuses_a_sequence(host: &mut dyn Host) {
    let log = host.fresh().await;
    put_many(&*log, "a", 5).await;
    log.trim(&subject("a"), Sequence(5)).await.unwrap();
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(5));
    assert_eq!(put(&*log, record("b", "x")).await, 6);
}

pub(super) async fn a_trim_again_changes_nothing(host: &mut dyn Host) {
    let log = host.fresh().await;
    put_many(&*log, "a", 5).await;
    for below in [3, 3, 2, 0] {
        log.trim(&subject("a"), Sequence(below)).await.unwrap();
        assert_eq!(sequences(&history(&*log, "a").await), [3, 4, 5]);
    }
    log.trim(&subject("nobody"), Sequence(9)).await.unwrap();
    assert_eq!(log.last(&subject("nobody")).await.unwrap(), None);
}

pub(super) async fn a_trim_leaves_other_subjects(host: &mut dyn Host) {
    let log = host.fresh().await;
    for _ in 0..3 {
        for name in ["1.a", "1.a.b", "1.ab", "1.b"] {
            put(&*log, record(name, name)).await;
        }
    }
    log.trim(&subject("1.a"), Sequence(100)).await.unwrap();
    assert_eq!(read_all(&*log, Filter(None)).await.len(), 10);
    for name in ["1.a.b", "1.ab", "1.b"] {
        assert_eq!(history(&*log, name).await.len(), 3);
    }
}

pub(super) async fn a_fence_holds_after_a_trim(host: &mut dyn Host) {
    let log = host.fresh().await;
    put_many(&*log, "a", 5).await;
    log.trim(&subject("a"), Sequence(100)).await.unwrap();
    for wrong in [0, 4] {
        let answer = log.append(fenced("a", "x", wrong)).await;
        assert!(matches!(answer, Err(AppendError::WrongLastSequence { .. })), "{answer:?}");
    }
    assert_eq!(put(&*log, fenced("a", "x", 5)).await, 6);
}

pub(super) async fn everything_is_there_after_reopening(host: &mut dyn Host) {
    let log = host.fresh().await;
    put_many(&*log, "a", 100).await;
    put(&*log, with_id("b", "x", 7)).await;
    put(&*log, fenced("c", "mine", 0)).await;
    log.trim(&subject("a"), Sequence(50)).await.unwrap();
    let (id, before) = (log.id(), read_all(&*log, Filter(None)).await);
    let Some(log) = host.reopen(log).await else { return };
    assert_eq!(log.id(), id);
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(102));
    assert_eq!(read_all(&*log, Filter(None)).await, before);
    let again = log.append(with_id("b", "x", 7)).await.unwrap();
    assert_eq!(again, Appended::Duplicate(Sequence(101)));
    assert_eq!(put(&*log, fenced("c", "mine", 0)).await, 102);
    let rival = log.append(fenced("c", "theirs", 0)).await;
    assert!(matches!(rival, Err(AppendError::WrongLastSequence { .. })), "{rival:?}");
    assert_eq!(put(&*log, fenced("c", "next", 102)).await, 103);
}

pub(super) async fn a_closed_log_says_so(host: &mut dyn Host) {
    let log = host.fresh().await;
    put_many(&*log, "a", 3).await;
    let mut tail = log.tail(Sequence(3), Filter(None));
    let waiting = tokio::spawn(async move { tail.next().await });
    // Under way when the log closes: stored and answered, or not stored; never answered falsely.
    let racing = {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(record("a", "racing")).await })
    };
    log.close().await;
    if let Err(error) = racing.await.unwrap() {
        assert!(matches!(error, AppendError::Unknown(_)), "{error:?}");
    }
    let answer = log.append(record("a", "late")).await;
    assert!(matches!(answer, Err(AppendError::Unknown(_))), "{answer:?}");
    let read = log.read(Sequence(0), Filter(None), 1).await;
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
    let last = log.last(&subject("a")).await;
    assert!(matches!(last, Err(ReadError::Unavailable(_))), "{last:?}");
    let ended = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    // The record that raced may come first; what ends the tail is covered by its type.
    assert!(!matches!(ended, Some(Err(ReadError::Corrupt { .. })) | None), "{ended:?}");
    log.close().await;
}
