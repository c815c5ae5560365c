//! Promise 2 and the reads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::join_all;

use super::{
    Host, collect, grows, history, put, put_many, read_all, record, sequences, subject, texts,
};
use crate::{EventLog, Filter, Sequence};

pub(super) async fn an_empty_log_answers_everything(host: &mut dyn Host) {
    let log = host.fresh().await;
    assert_eq!(log.last(&subject("a")).await.unwrap(), None);
    assert!(history(&*log, "a").await.is_empty());
    assert!(log.read(Sequence(0), Filter(None), 10).await.unwrap().is_empty());
    assert!(log.read(Sequence(99), Filter(None), 10).await.unwrap().is_empty());
    assert!(collect(log.last_per_subject(Filter(None))).await.is_empty());
}

pub(super) async fn history_is_of_one_subject_only(host: &mut dyn Host) {
    let log = host.fresh().await;
    let names = ["7.a.1", "7.a.10", "7.a", "7.a.1.in", "7.a.1-", "7.a.1_", "7.a.1a", "7.a.0"];
    for round in 0..3 {
        for name in names {
            put(&*log, record(name, &format!("{name} {round}"))).await;
        }
    }
    for name in names {
        let expected = [0, 1, 2].map(|round| format!("{name} {round}"));
        assert_eq!(texts(&history(&*log, name).await), expected);
        let last = log.last(&subject(name)).await.unwrap().unwrap();
        assert_eq!(texts(&[last]), [&expected[2]]);
    }
}

pub(super) async fn history_comes_in_pages(host: &mut dyn Host) {
    let log = host.fresh().await;
    for n in 0..25 {
        put(&*log, record("a", &n.to_string())).await;
        put(&*log, record("b", "x")).await;
    }
    let page =
        async |after, limit| log.history(&subject("a"), Sequence(after), limit).await.unwrap();
    assert_eq!(texts(&page(0, 4).await), ["0", "1", "2", "3"]);
    assert_eq!(texts(&page(7, 2).await), ["4", "5"]);
    assert_eq!(texts(&page(8, 2).await), ["4", "5"]);
    assert_eq!(texts(&page(47, 10).await), ["24"]);
    assert!(page(49, 10).await.is_empty());
    assert!(page(u64::MAX, 10).await.is_empty());
    assert!(page(0, 0).await.is_empty());
    assert_eq!(page(0, 1000).await.len(), 25);
}

pub(super) async fn the_stream_comes_in_pages(host: &mut dyn Host) {
    let log = host.fresh().await;
    put_many(&*log, "a", 250).await;
    assert_eq!(read_all(&*log, Filter(None)).await.len(), 250);
    let page = log.read(Sequence(10), Filter(None), 3).await.unwrap();
    assert_eq!(sequences(&page), [11, 12, 13]);
    assert!(log.read(Sequence(250), Filter(None), 3).await.unwrap().is_empty());
    assert!(log.read(Sequence(u64::MAX), Filter(None), 3).await.unwrap().is_empty());
}

pub(super) async fn a_filter_names_every_token(host: &mut dyn Host) {
    let log = host.fresh().await;
    for name in ["1.in", "1.ev", "in.ev", "2.xin", "2.in.deeper", "in", "2.in"] {
        put(&*log, record(name, name)).await;
    }
    let wanted = ["1.in", "2.in"];
    assert_eq!(texts(&read_all(&*log, Filter(Some("cd.*.in"))).await), wanted);
    assert_eq!(texts(&read_all(&*log, Filter(Some("cd.in"))).await), ["in"]);
    assert!(read_all(&*log, Filter(Some("cd.*.nothing"))).await.is_empty());
    let mut last = collect(log.last_per_subject(Filter(Some("cd.*.in")))).await;
    last.sort_by_key(|record| record.sequence);
    assert_eq!(texts(&last), wanted);
    let page = log.read(Sequence(1), Filter(Some("cd.*.ev")), 1).await.unwrap();
    assert_eq!(texts(&page), ["1.ev"]);
}

pub(super) async fn the_order_of_reading_is_the_order_of_storing(host: &mut dyn Host) {
    let log = host.fresh().await;
    let writers = (0..8).map(|writer| tokio::spawn(write(Arc::clone(&log), writer, 25)));
    let mut places: HashMap<String, u64> = HashMap::new();
    for writer in join_all(writers).await {
        places.extend(writer.unwrap());
    }
    let all = read_all(&*log, Filter(None)).await;
    assert_eq!(all.len(), 200);
    assert!(grows(&sequences(&all)));
    for record in &all {
        assert_eq!(places[texts(std::slice::from_ref(record))[0]], record.sequence.0);
    }
}

/// What one task awaits one after the other is in this order, over several subjects.
async fn write(log: Arc<dyn EventLog>, writer: usize, count: usize) -> Vec<(String, u64)> {
    let mut places = Vec::new();
    for n in 0..count {
        let text = format!("{writer} {n}");
        let place = put(&*log, record(&format!("{}", n % 3), &text)).await;
        places.push((text, place));
    }
    assert!(grows(&places.iter().map(|(_, place)| *place).collect::<Vec<_>>()));
    places
}

pub(super) async fn each_subject_has_one_last_record(host: &mut dyn Host) {
    let log = host.fresh().await;
    let counts = [("a.ev", 1), ("b.ev", 40), ("b.in", 17), ("c.ev", 16), ("d.ev", 2)];
    for (name, count) in counts {
        put_many(&*log, name, count).await;
    }
    for filter in [None, Some("cd.*.ev")] {
        let found = collect(log.last_per_subject(Filter(filter))).await;
        let found: HashSet<_> =
            found.iter().map(|r| (r.subject.clone(), r.payload.clone())).collect();
        let wanted = counts.into_iter().filter(|(name, _)| filter.is_none() || *name != "b.in");
        let wanted: HashSet<_> =
            wanted.map(|(name, count)| (subject(name), (count - 1).to_string().into())).collect();
        assert_eq!(found, wanted);
    }
    let lasts: HashSet<_> =
        collect(log.last_sequences(Filter(Some("cd.*.ev")))).await.into_iter().collect();
    let records = collect(log.last_per_subject(Filter(Some("cd.*.ev")))).await;
    assert_eq!(lasts, records.into_iter().map(|r| (r.subject, r.sequence)).collect());
}

pub(super) async fn many_subjects_are_all_found(host: &mut dyn Host) {
    let log = host.fresh().await;
    let appends = (0..3000).map(|n| {
        let log = Arc::clone(&log);
        async move { put(&*log, record(&format!("p{n}.ev"), "x")).await }
    });
    join_all(appends).await;
    let found = collect(log.last_per_subject(Filter(Some("cd.*.ev")))).await;
    let names: HashSet<_> = found.iter().map(|record| record.subject.clone()).collect();
    assert_eq!((found.len(), names.len()), (3000, 3000));
}
