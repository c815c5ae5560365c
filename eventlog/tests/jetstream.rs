//! The JetStream log against real nats-servers.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream;
use bytes::Bytes;
use copydesk_eventlog::conformance::{self, Host};
use copydesk_eventlog::jetstream::{
    ConnectError, Destination, OutgoingSubject, PublishError, Publisher, Settings,
};
use copydesk_eventlog::testing::{ForeignStream, NatsCluster, NatsServer};
use copydesk_eventlog::{
    AppendError, Appended, EventLog, Filter, JetStreamLog, MessageId, NewRecord, ReadError,
    Sequence, Subject,
};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(settings: Settings) -> Arc<dyn EventLog> {
    Arc::new(JetStreamLog::connect(settings).await.unwrap())
}

async fn context(url: &str) -> async_nats::jetstream::Context {
    let servers: Vec<_> = url.split(',').collect();
    async_nats::jetstream::new(async_nats::connect(servers).await.unwrap())
}

/// A stream for each case. Under another name each time: a server removes the files of a
/// deleted stream behind our back, and trips over them when the name comes back at once.
struct Streams {
    settings: Settings,
    count: usize,
}

impl Streams {
    const fn new(settings: Settings) -> Self {
        Self { settings, count: 0 }
    }

    async fn fresh(&mut self) -> Arc<dyn EventLog> {
        let context = context(&self.settings.url).await;
        if self.count > 0 {
            context.delete_stream(&self.settings.stream).await.unwrap();
        }
        self.count += 1;
        self.settings.stream = format!("copydesk-{}", self.count);
        connect(self.settings.clone()).await
    }
}

struct OneServer(NatsServer, Streams);

impl Host for OneServer {
    fn fresh(&mut self) -> BoxFuture<'_, Arc<dyn EventLog>> {
        self.1.fresh().boxed()
    }

    /// Reopening is a kill of the server.
    fn reopen(&mut self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Option<Arc<dyn EventLog>>> {
        async move {
            log.close().await;
            self.0.kill();
            self.0.restart();
            Some(connect(self.1.settings.clone()).await)
        }
        .boxed()
    }
}

struct ThreeServers(Streams);

impl Host for ThreeServers {
    fn fresh(&mut self) -> BoxFuture<'_, Arc<dyn EventLog>> {
        self.0.fresh().boxed()
    }

    fn reopen(&mut self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Option<Arc<dyn EventLog>>> {
        async move {
            log.close().await;
            Some(connect(self.0.settings.clone()).await)
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_keeps_every_promise() {
    let server = NatsServer::start();
    let streams = Streams::new(Settings::new(&server.url()));
    conformance::check(&mut OneServer(server, streams)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_keep_every_promise() {
    let cluster = NatsCluster::start();
    let settings = Settings { replicas: 3, ..Settings::new(&cluster.url()) };
    conformance::check(&mut ThreeServers(Streams::new(settings))).await;
}

fn record(name: &str, payload: &str) -> NewRecord {
    NewRecord {
        subject: Subject::new(name).unwrap(),
        message_id: None,
        expected_last: None,
        headers: Vec::new(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

#[tokio::test]
async fn an_old_server_is_refused_by_its_version() {
    let server = NatsServer::start_version("2.10.26");
    let refused = JetStreamLog::connect(Settings::new(&server.url())).await.unwrap_err();
    let ConnectError::OldServer { found, needed } = &refused else { panic!("{refused:?}") };
    assert_eq!((found.as_str(), needed.as_str()), ("2.10.26", "2.12"));
}

#[tokio::test]
async fn a_stream_that_would_lose_records_is_refused_with_the_reasons() {
    let server = NatsServer::start();
    let config = stream::Config {
        name: "copydesk".to_owned(),
        subjects: vec!["cd.>".to_owned()],
        max_age: Duration::from_secs(3600),
        allow_direct: true,
        ..stream::Config::default()
    };
    context(&server.url()).await.create_stream(config).await.unwrap();
    let refused = JetStreamLog::connect(Settings::new(&server.url())).await.unwrap_err();
    let ConnectError::WrongStream { reasons, .. } = &refused else { panic!("{refused:?}") };
    for wrong in ["discard", "max_age", "deny_delete", "allow_direct"] {
        assert!(reasons.iter().any(|reason| reason.starts_with(wrong)), "{wrong}: {reasons:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_without_the_password() {
    let settings = Settings {
        connect_max: Duration::from_millis(100),
        ..Settings::new("nats://user:hunter2@127.0.0.1:1")
    };
    let refused = JetStreamLog::connect(settings).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Unreachable(_)), "{refused:?}");
    let malformed =
        JetStreamLog::connect(Settings::new("nats://u:hunter2@:x:1")).await.unwrap_err();
    assert!(matches!(malformed, ConnectError::BadSettings(_)), "{malformed:?}");
    assert!(!format!("{refused:?} {malformed:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_wrong_password_is_said_so() {
    let with = ["--user", "desk", "--pass", "ri@ght"].map(ToOwned::to_owned).to_vec();
    let server = NatsServer::start_with("", with);
    let url = |password| server.url().replace("nats://", &format!("nats://desk:{password}@"));
    let refused = JetStreamLog::connect(Settings::new(&url("wrong"))).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Unauthorized), "{refused:?}");
    JetStreamLog::connect(Settings::new(&url("ri%40ght"))).await.unwrap();
}

#[tokio::test]
async fn the_log_says_how_durable_it_is() {
    let server = NatsServer::start();
    let log = JetStreamLog::connect(Settings::new(&server.url())).await.unwrap();
    let durability = log.durability();
    assert_eq!((durability.profile, durability.warn), ("nats-r1-default", true));
    let always = Settings { sync_always: true, ..Settings::new(&server.url()) };
    let durability = JetStreamLog::connect(always).await.unwrap().durability();
    assert_eq!((durability.profile, durability.warn), ("nats-r1-always", false));
}

#[tokio::test]
async fn a_subject_outside_the_stream_is_refused() {
    let server = NatsServer::start();
    let log = connect(Settings::new(&server.url())).await;
    let answer = log.append(record("elsewhere", "x")).await;
    assert!(matches!(answer, Err(AppendError::Refused(_))), "{answer:?}");
}

#[tokio::test]
async fn a_full_stream_refuses_and_keeps_what_it_has() {
    let server = NatsServer::start();
    let mut config =
        JetStreamLog::connect(Settings::new(&server.url())).await.unwrap().stream_config().clone();
    config.max_bytes = 100_000;
    context(&server.url()).await.update_stream(config).await.unwrap();
    let log = connect(Settings::new(&server.url())).await;
    let mut stored = 0;
    let refused = loop {
        match log.append(record("cd.a", &"x".repeat(10_000))).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Full(_)), "{refused:?}");
    assert!(stored > 5);
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(stored));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_an_unknown_outcome_and_a_late_answer() {
    let mut server = NatsServer::start();
    let short = Settings { append_max: Duration::from_millis(500), ..Settings::new(&server.url()) };
    let log = connect(short).await;
    log.append(record("cd.a", "before")).await.unwrap();
    server.kill();
    let with_id = NewRecord { message_id: Some(MessageId([1; 16])), ..record("cd.a", "away") };
    let answer = log.append(with_id.clone()).await;
    assert!(matches!(answer, Err(AppendError::Unknown(_))), "{answer:?}");

    // A fenced append is tried for longer than the server is away.
    let fenced = NewRecord { expected_last: Some(Sequence(0)), ..record("cd.b", "fenced") };
    let waiting = {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(fenced).await })
    };
    server.restart();
    let answer = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(matches!(answer, Ok(Appended::Stored(_))), "{answer:?}");

    // The first one again: stored once, whichever try did it.
    let place = log.append(with_id.clone()).await.unwrap().sequence();
    assert_eq!(log.append(with_id).await.unwrap(), Appended::Duplicate(place));
    assert_eq!(log.history(&record("cd.a", "").subject, Sequence(0), 9).await.unwrap().len(), 2);
    assert_eq!(log.history(&record("cd.b", "").subject, Sequence(0), 9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_goes_on_after_the_server_was_killed() {
    let mut server = NatsServer::start();
    let log = connect(Settings::new(&server.url())).await;
    let mut tail = log.tail(Sequence(0), Filter(None));
    for round in 1..=3 {
        log.append(record("cd.a", "x")).await.unwrap();
        let next = tokio::time::timeout(PATIENCE, tail.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(next.sequence, Sequence(round));
        server.kill();
        server.restart();
        wait_until_it_answers(&*log).await;
    }
}

/// A read is tried for so long that a spin is none.
async fn wait_until_it_answers(log: &dyn EventLog) {
    while log.last_sequence().await.is_err() {}
}

#[tokio::test]
async fn a_stream_created_anew_is_noticed_and_has_a_later_id() {
    let server = NatsServer::start();
    let log = connect(Settings::new(&server.url())).await;
    log.append(record("cd.a", "x")).await.unwrap();
    context(&server.url()).await.delete_stream("copydesk").await.unwrap();
    let next = connect(Settings::new(&server.url())).await;
    assert!(next.id() > log.id(), "{:?} {:?}", next.id(), log.id());
    let old = log.last_sequence().await;
    assert!(matches!(old, Err(ReadError::Corrupt { .. })), "{old:?}");
    let tailed = log.tail(Sequence(0), Filter(None)).next().await;
    assert!(matches!(tailed, Some(Err(ReadError::Corrupt { .. }))), "{tailed:?}");
}

#[tokio::test]
async fn finished_reads_leave_no_consumers() {
    let server = NatsServer::start();
    let log = connect(Settings::new(&server.url())).await;
    for n in 0..30 {
        log.append(record("cd.a", &n.to_string())).await.unwrap();
    }
    for _ in 0..20 {
        assert_eq!(log.read(Sequence(0), Filter(None), 30).await.unwrap().len(), 30);
        let subject = record("cd.a", "").subject;
        assert_eq!(log.history(&subject, Sequence(0), 30).await.unwrap().len(), 30);
    }
    let context = context(&server.url()).await;
    let gone = async {
        let stream = context.get_stream("copydesk").await.unwrap();
        while stream.get_info().await.unwrap().state.consumer_count > 0 {}
    };
    // Well before the server would remove idle ones.
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_leaders_die() {
    let mut cluster = NatsCluster::start();
    let log = connect(Settings { replicas: 3, ..Settings::new(&cluster.url()) }).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..8).map(|n| tokio::spawn(write(Arc::clone(&log), n, Arc::clone(&stop)))).collect();
    for _ in 0..3 {
        grows_by(&*log, 50).await;
        let info = context(&cluster.url()).await.get_stream("copydesk").await.unwrap();
        let leader = info.cached_info().cluster.clone().unwrap().leader.unwrap();
        cluster.kill(&leader);
        grows_by(&*log, 50).await;
        cluster.restart(&leader);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        let (subject, expected) = tokio::time::timeout(PATIENCE, writer).await.unwrap().unwrap();
        let found = log.history(&subject, Sequence(0), 100_000).await.unwrap();
        let found: Vec<_> = found.iter().map(|record| record.payload.clone()).collect();
        assert_eq!(found, expected);
    }
}

/// Waits until others have appended so many.
async fn grows_by(log: &dyn EventLog, count: u64) {
    let mut tail = log.tail(log.last_sequence().await.unwrap(), Filter(None));
    for _ in 0..count {
        tokio::time::timeout(PATIENCE, tail.next()).await.unwrap().unwrap().unwrap();
    }
}

/// Fenced appends, one after the other, as a post's owner makes them.
async fn write(
    log: Arc<dyn EventLog>,
    writer: usize,
    stop: Arc<AtomicBool>,
) -> (Subject, Vec<Bytes>) {
    let name = format!("cd.{writer}");
    let (mut last, mut written) = (Sequence(0), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let payload = format!("decision {}", written.len());
        let new = NewRecord { expected_last: Some(last), ..record(&name, &payload) };
        written.push(new.payload.clone());
        last = log.append(new).await.unwrap().sequence();
    }
    (record(&name, "").subject, written)
}

#[test]
fn a_subject_for_others_is_plain_and_not_the_logs() {
    let check = |text: &str, fits: bool| {
        assert_eq!(text.parse::<OutgoingSubject>().is_ok(), fits, "{text}");
    };
    for fits in ["notices", "newsroom.notices.EU", "cdn.notices", "cd-notices"] {
        check(fits, true);
    }
    let taken = ["cd", "cd.0.news.1.ev", "$JS.API.STREAM.PURGE.copydesk", "_INBOX.1"];
    let malformed =
        ["", ".", "a..b", "a.", ".a", "a b", "a.*", "a.>", "a\r\nPUB x", "n\u{f6}tices"];
    for wrong in taken.into_iter().chain(malformed) {
        check(wrong, false);
    }
    check(&"a".repeat(256), false);
}

fn notices(url: &str) -> Publisher {
    let subject = "newsroom.notices".parse().unwrap();
    Publisher::new(Destination { url: url.to_owned(), credentials_file: None, subject })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_others_counts_when_their_stream_has_it_and_is_kept_once() {
    let mut server = NatsServer::start();
    let publisher = notices(&server.url());
    let trace = [("traceparent", "00-1-2-01".to_owned())];
    let send = async |id: &str| publisher.publish(id, &trace, Bytes::from_static(b"{}")).await;
    let nobody = send("1").await;
    assert!(matches!(nobody, Err(PublishError::NoStream)), "{nobody:?}");
    let stream = ForeignStream::make(&server.url(), "newsroom.notices").await;
    send("1").await.unwrap();
    send("1").await.unwrap();
    send("2").await.unwrap();

    // While the server is away nothing counts as taken; then all goes on.
    server.kill();
    let deadline = Instant::now() + PATIENCE;
    while send("3").await.is_ok() {
        assert!(Instant::now() < deadline, "a dead server takes messages");
    }
    server.restart();
    while send("4").await.is_err() {
        assert!(Instant::now() < deadline, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let messages = stream.messages().await;
    // The third may have been on its way when the server died.
    let ids = messages.iter().map(|(id, ..)| id.as_str()).filter(|id| *id != "3");
    assert_eq!(ids.collect::<Vec<_>>(), ["1", "2", "4"]);
    assert_eq!(messages[0].1.as_deref(), Some("00-1-2-01"));
    assert_eq!(messages[0].2, "{}");
}

#[tokio::test]
async fn a_message_for_others_on_servers_that_are_not_there_is_refused_with_the_reason() {
    let answer = notices("nats://127.0.0.1:1").publish("1", &[], Bytes::new()).await;
    assert!(matches!(answer, Err(PublishError::Connect(ConnectError::Unreachable(_)))));
    let server = NatsServer::start();
    ForeignStream::make(&server.url(), "newsroom.notices").await;
    let too_long = Bytes::from(vec![b'x'; 2 * 1024 * 1024]);
    let answer = notices(&server.url()).publish("1", &[], too_long).await;
    assert!(matches!(answer, Err(PublishError::Refused(_))), "{answer:?}");
    let answer = notices(&server.url()).publish("1\r\n", &[], Bytes::new()).await;
    assert!(matches!(answer, Err(PublishError::Refused(_))), "{answer:?}");
}
