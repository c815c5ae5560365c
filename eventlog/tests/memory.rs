//! The memory log's faults and clock, on which other crates' tests rely.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use copydesk_eventlog::{
    AppendError, AppendFault, Appended, EventLog, Filter, LogId, MemoryLog, MessageId, NewRecord,
    ReadError, Sequence, Subject,
};
use futures::StreamExt;

fn record(expected: Option<u64>, id: Option<u8>) -> NewRecord {
    NewRecord {
        subject: Subject::new("cd.a").unwrap(),
        message_id: id.map(|id| MessageId([id; 16])),
        expected_last: expected.map(Sequence),
        headers: Vec::new(),
        payload: Bytes::from_static(b"x"),
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_stored_or_not_and_the_retry_is_right() {
    let log = MemoryLog::new();
    // Expected before, place of the retry, end of the log after the fault.
    let faults = [(AppendFault::UnknownStored, 0, 1, 1), (AppendFault::UnknownNotStored, 1, 2, 1)];
    for (fault, expected, place, end) in faults {
        log.faults().next_append(fault);
        let unknown = log.append(record(Some(expected), None)).await;
        assert!(matches!(unknown, Err(AppendError::Unknown(_))), "{unknown:?}");
        assert_eq!(log.last_sequence().await.unwrap(), Sequence(end));
        let again = log.append(record(Some(expected), None)).await.unwrap();
        assert_eq!(again, Appended::Stored(Sequence(place)));
    }
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(2));
}

#[tokio::test]
async fn a_fault_comes_once_and_can_be_taken_back() {
    let log = MemoryLog::new();
    log.faults().next_append(AppendFault::Full);
    let full = log.append(record(None, None)).await;
    assert!(matches!(full, Err(AppendError::Full(_))), "{full:?}");
    log.faults().next_append(AppendFault::Full);
    log.faults().clear();
    log.append(record(None, None)).await.unwrap();
    log.faults().next_read(ReadError::Unavailable("away".to_owned()));
    let mut tail = log.tail(Sequence(0), Filter(None));
    assert!(matches!(tail.next().await, Some(Err(ReadError::Unavailable(_)))));
    assert!(tail.next().await.is_none(), "a tail ends after its error");
    assert_eq!(log.read(Sequence(0), Filter(None), 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_id_is_forgotten_after_the_window_of_the_given_clock() {
    let now_ms = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&now_ms);
    let log = MemoryLog::with_clock(LogId(7), Arc::new(move || clock.load(Ordering::Relaxed)));
    assert_eq!(log.id(), LogId(7));
    let first = Appended::Stored(Sequence(1));
    assert_eq!(log.append(record(None, Some(1))).await.unwrap(), first);
    now_ms.store(120_000, Ordering::Relaxed);
    let within = log.append(record(None, Some(1))).await.unwrap();
    assert_eq!(within, Appended::Duplicate(Sequence(1)));
    now_ms.store(120_001, Ordering::Relaxed);
    let after = log.append(record(None, Some(1))).await.unwrap();
    assert_eq!(after, Appended::Stored(Sequence(2)));
}
