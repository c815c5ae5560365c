//! Promise 2 as a tail sees it.

use std::sync::Arc;

use futures::FutureExt;
use futures::StreamExt;

use super::{Host, grows, put, put_many, record, sequences, take, texts};
use crate::{EventLog, Filter, Sequence};

pub(super) async fn a_tail_crosses_the_end(host: &mut dyn Host) {
    let log = host.fresh().await;
    put_many(&*log, "a", 3).await;
    let mut tail = log.tail(Sequence(0), Filter(None));
    assert_eq!(sequences(&take(&mut tail, 3).await), [1, 2, 3]);
    assert!(tail.next().now_or_never().is_none(), "there is nothing more");
    for next in 4..20 {
        put(&*log, record("b", "x")).await;
        assert_eq!(sequences(&take(&mut tail, 1).await), [next]);
    }
}

pub(super) async fn a_tail_filters(host: &mut dyn Host) {
    let log = host.fresh().await;
    let mut tail = log.tail(Sequence(0), Filter(Some("cd.*.in")));
    for n in 0..10 {
        put(&*log, record("a.in", &n.to_string())).await;
        put(&*log, record("a.ev", "x")).await;
        assert_eq!(texts(&take(&mut tail, 1).await), [n.to_string()]);
    }
    put_many(&*log, "a.ev", 300).await;
    put(&*log, record("b.in", "the end")).await;
    assert_eq!(texts(&take(&mut tail, 1).await), ["the end"]);
}

pub(super) async fn a_tail_starts_after_a_sequence(host: &mut dyn Host) {
    let log = host.fresh().await;
    put_many(&*log, "a", 10).await;
    let mut middle = log.tail(Sequence(7), Filter(None));
    let mut end = log.tail(Sequence(10), Filter(None));
    let mut ahead = log.tail(Sequence(12), Filter(None));
    assert_eq!(sequences(&take(&mut middle, 3).await), [8, 9, 10]);
    put_many(&*log, "a", 4).await;
    assert_eq!(sequences(&take(&mut end, 4).await), [11, 12, 13, 14]);
    assert_eq!(sequences(&take(&mut ahead, 2).await), [13, 14]);
}

/// Writes from several tasks at once.
fn load(log: &Arc<dyn EventLog>, tasks: usize, each: usize) {
    for task in 0..tasks {
        let log = Arc::clone(log);
        tokio::spawn(async move { put_many(&*log, &format!("t{task}"), each).await });
    }
}

pub(super) async fn a_tail_misses_nothing_under_load(host: &mut dyn Host) {
    let log = host.fresh().await;
    let mut tails = [0, 1].map(|_| log.tail(Sequence(0), Filter(None)));
    load(&log, 8, 100);
    for tail in &mut tails {
        let taken = sequences(&take(tail, 800).await);
        assert!(grows(&taken), "a record below one already seen came later");
        assert_eq!(taken.last(), Some(&800));
    }
}

pub(super) async fn a_slow_tail_misses_nothing(host: &mut dyn Host) {
    let log = host.fresh().await;
    let mut tail = log.tail(Sequence(0), Filter(None));
    let mut taken = Vec::new();
    for _ in 0..10 {
        put_many(&*log, "a", 60).await;
        taken.extend(sequences(&take(&mut tail, 7).await));
    }
    taken.extend(sequences(&take(&mut tail, 530).await));
    assert_eq!(taken, (1..=600).collect::<Vec<_>>());
}
