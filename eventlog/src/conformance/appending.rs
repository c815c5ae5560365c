//! Promises 1, 3 and 5: what an append stores, and how often.

use std::collections::HashSet;

use bytes::Bytes;
use futures::future::join_all;

use super::{Host, abandon, history, put, read_all, record, subject, with_id};
use crate::{AppendError, Appended, Filter, NewRecord, RECORD_BYTES_MAX, Sequence};

pub(super) async fn sequences_are_one_two_three(host: &mut dyn Host) {
    let log = host.fresh().await;
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(0));
    for expected in 1..=3 {
        assert_eq!(put(&*log, record("a", "x")).await, expected);
    }
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(3));
}

pub(super) async fn an_appended_record_is_readable_at_once(host: &mut dyn Host) {
    let log = host.fresh().await;
    for n in 1..=50 {
        let text = n.to_string();
        let sequence = Sequence(put(&*log, record("a", &text)).await);
        let last = log.last(&subject("a")).await.unwrap().unwrap();
        assert_eq!((last.sequence, &last.payload[..]), (sequence, text.as_bytes()));
        assert_eq!(log.last_sequence().await.unwrap(), sequence);
        let before = Sequence(sequence.0 - 1);
        let last = [last];
        assert_eq!(log.read(before, Filter(None), 10).await.unwrap(), last);
        assert_eq!(log.history(&subject("a"), before, 10).await.unwrap(), last);
    }
}

pub(super) async fn a_record_comes_back_as_it_was(host: &mut dyn Host) {
    let log = host.fresh().await;
    let payload: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let headers = vec![
        ("ce-id", "e-1".to_owned()),
        ("ce-source", "/sites/news".to_owned()),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ("note", "a: b; \"c\"".to_owned()),
        ("nothing", String::new()),
    ];
    let new = NewRecord { headers, payload: Bytes::from(payload.clone()), ..record("a.in", "") };
    let sequence = put(&*log, new.clone()).await;
    let stored = log.last(&subject("a.in")).await.unwrap().unwrap();
    assert_eq!((stored.sequence.0, &stored.subject), (sequence, &new.subject));
    assert_eq!(stored.payload, payload);
    let expected: HashSet<_> = new.headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let found: HashSet<_> = stored.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!((found, stored.headers.len()), (expected, 5));
    // Any day after this was written; the clock is for display only.
    assert!(stored.time_ms > 1_700_000_000_000, "{}", stored.time_ms);
}

pub(super) async fn an_empty_payload_is_a_record(host: &mut dyn Host) {
    let log = host.fresh().await;
    put(&*log, record("a", "")).await;
    put(&*log, record("a", "x")).await;
    assert_eq!(super::texts(&history(&*log, "a").await), ["", "x"]);
}

pub(super) async fn a_record_of_the_greatest_size_is_taken(host: &mut dyn Host) {
    let log = host.fresh().await;
    let payload = Bytes::from(vec![7; RECORD_BYTES_MAX]);
    for _ in 0..3 {
        put(&*log, NewRecord { payload: payload.clone(), ..record("a", "") }).await;
    }
    let headers = (0..16).map(|n| (NAMES[n], "v".repeat(2048))).collect();
    let rest = RECORD_BYTES_MAX - 16 * (2048 + 2 + 4);
    let full = NewRecord { payload: payload.slice(..rest), headers, ..with_id("a", "", 1) };
    put(&*log, NewRecord { expected_last: Some(Sequence(3)), ..full }).await;
    let found = history(&*log, "a").await;
    assert!(found[..3].iter().all(|record| record.payload == payload));
    assert_eq!((found.len(), found[3].payload.len()), (4, rest));
}

const NAMES: [&str; 16] = [
    "ha", "hb", "hc", "hd", "he", "hf", "hg", "hh", "hi", "hj", "hk", "hl", "hm", "hn", "ho", "hp",
];

pub(super) async fn what_is_too_large_is_refused_and_not_stored(host: &mut dyn Host) {
    let log = host.fresh().await;
    let payload = Bytes::from(vec![7; RECORD_BYTES_MAX]);
    let over = Bytes::from(vec![7; RECORD_BYTES_MAX + 1]);
    let header = vec![("a", "b".to_owned())];
    let long = vec![("a", "b".repeat(2049))];
    let many = (0..16).map(|n| (NAMES[n], String::new())).chain([("hq", String::new())]);
    for refused in [
        NewRecord { payload: over, ..record("a", "") },
        NewRecord { payload, headers: header, ..record("a", "") },
        NewRecord { headers: long, ..record("a", "") },
        NewRecord { headers: many.collect(), ..record("a", "") },
        NewRecord { subject: subject(&"x".repeat(300)), ..record("a", "") },
    ] {
        let answer = log.append(refused).await;
        assert!(matches!(answer, Err(AppendError::Refused(_))), "{answer:?}");
    }
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(0));
}

pub(super) async fn headers_that_could_do_harm_are_refused(host: &mut dyn Host) {
    let log = host.fresh().await;
    for (name, value) in [
        ("a", "b\r\nNats-Rollup: all"),
        ("a", "b\n"),
        ("a", "b\0"),
        ("a", "ü"),
        ("a", " b"),
        ("a b", "c"),
        ("a:", "c"),
        ("", "c"),
        ("Nats-Rollup", "all"),
        ("nats-msg-id", "x"),
    ] {
        let headers = vec![(name, value.to_owned())];
        let answer = log.append(NewRecord { headers, ..record("a", "x") }).await;
        assert!(matches!(answer, Err(AppendError::Refused(_))), "{name:?} {value:?} {answer:?}");
    }
    let twice = vec![("a", "1".to_owned()), ("a", "2".to_owned())];
    let answer = log.append(NewRecord { headers: twice, ..record("a", "x") }).await;
    assert!(matches!(answer, Err(AppendError::Refused(_))), "{answer:?}");
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(0));
}

pub(super) async fn a_message_id_is_stored_once(host: &mut dyn Host) {
    let log = host.fresh().await;
    put(&*log, record("other", "x")).await;
    assert_eq!(put(&*log, with_id("a", "first", 1)).await, 2);
    assert_eq!(put(&*log, with_id("a", "second", 2)).await, 3);
    for payload in ["first", "another"] {
        let again = log.append(with_id("a", payload, 1)).await.unwrap();
        assert_eq!(again, Appended::Duplicate(Sequence(2)));
    }
    assert_eq!(super::texts(&history(&*log, "a").await), ["first", "second"]);
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(3));
}

pub(super) async fn a_message_id_counts_for_the_whole_stream(host: &mut dyn Host) {
    let log = host.fresh().await;
    put(&*log, with_id("a", "x", 1)).await;
    let elsewhere = log.append(with_id("b", "y", 1)).await.unwrap();
    assert_eq!(elsewhere, Appended::Duplicate(Sequence(1)));
    assert!(history(&*log, "b").await.is_empty());
}

pub(super) async fn of_racing_message_ids_one_is_stored(host: &mut dyn Host) {
    let log = host.fresh().await;
    for round in 1..=10 {
        let appends = (0..20).map(|n| log.append(with_id("a", &n.to_string(), round)));
        let answers: Vec<_> = join_all(appends).await.into_iter().map(Result::unwrap).collect();
        let stored = answers.iter().filter(|a| matches!(a, Appended::Stored(_))).count();
        let places: HashSet<_> = answers.iter().map(|answer| answer.sequence()).collect();
        assert_eq!((stored, places.len()), (1, 1), "{answers:?}");
    }
    assert_eq!(read_all(&*log, Filter(None)).await.len(), 10);
}

pub(super) async fn an_abandoned_append_with_a_message_id_is_stored_once(host: &mut dyn Host) {
    let log = host.fresh().await;
    for id in 1..=20 {
        let new = with_id("a", &id.to_string(), id);
        abandon(&*log, new.clone()).await;
        let place = log.append(new.clone()).await.unwrap().sequence();
        assert_eq!(log.append(new).await.unwrap(), Appended::Duplicate(place));
    }
    assert_eq!(history(&*log, "a").await.len(), 20);
}
