use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use copydesk_core::post::Lane;
use copydesk_core::signature::{Secret, SecretRing, WP_RELAY};
use copydesk_core::webhook::SourceRules;
use copydesk_eventlog::MemoryLog;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::delivery::Site;
use crate::node::Node;
use crate::node::testing::settings;
use crate::records::{INTAKE, Intake, lane_of};

const POSTS: u64 = 130;

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// A WordPress that lists 130 posts, 100 a page; the first `failing` requests end in an error.
async fn wordpress(failing: usize) -> (url::Url, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, failing) = (Arc::clone(&asked), AtomicUsize::new(failing));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut target = String::new();
            stream.read_line(&mut target).await.unwrap();
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line).await.unwrap();
            }
            let page: u64 = if target.contains("&page=2 ") { 2 } else { 1 };
            let from = 100 * (page - 1);
            let ids = (from + 1..=POSTS.min(from + 100)).map(|id| json!({ "id": id }));
            let body = json!(ids.collect::<Vec<_>>()).to_string();
            let fails =
                failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            let (status, body) = match fails {
                Ok(_) => ("500 Broken", json!({ "code": "broken" }).to_string()),
                Err(_) => ("200 OK", body),
            };
            seen.lock().unwrap().push(target);
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-wp-totalpages: 2\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

async fn scheduler(log: &MemoryLog, url: url::Url, posts: PostQuery) -> (Node, Scheduler) {
    let ring = SecretRing::new(vec![Secret::new("none", &[7; 32]).unwrap()]).unwrap();
    let source: SourceId = "nightly".parse().unwrap();
    let rules = SourceRules::new(source.clone(), "news".parse().unwrap(), &WP_RELAY, ring);
    let mut settings = settings(log);
    settings.sources.insert(source.clone(), Arc::new(rules));
    let node = Node::start(settings).await.unwrap();
    let site = Site::new("news".parse().unwrap(), url, "desk".to_owned(), "pw".to_owned().into());
    let site = Arc::new(SiteClient::new(site).unwrap());
    let schedule = Schedule::new("0 * * * *", "UTC").unwrap();
    let receiver = node.receivers[&source].clone();
    let own = ScheduleSettings { source, schedule, posts };
    let scheduler = Scheduler::new(node.desk.clone(), receiver, site, own);
    (node, scheduler)
}

fn all() -> PostQuery {
    let parameters = "status=publish".to_owned();
    let rest_base = "posts".to_owned();
    PostQuery { rest_base, parameters, newer_than: None, older_than: None, posts_max: 1_000 }
}

/// How many events each tick brought, each post once.
async fn ticks(log: &MemoryLog) -> BTreeMap<String, usize> {
    let mut ticks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut after = Sequence(0);
    loop {
        let page = log.read(after, INTAKE, 100).await.unwrap();
        for record in &page {
            after = record.sequence;
            let intake = Intake::read(record).unwrap();
            assert_eq!(
                (intake.event_type.as_str(), lane_of(record)),
                (SCHEDULE_EVENT, Lane::Backfill)
            );
            let posts = ticks.entry(intake.idempotency_key).or_default();
            posts.push(record.subject.as_str().to_owned());
        }
        if page.is_empty() {
            break;
        }
    }
    for posts in ticks.values_mut() {
        let events = posts.len();
        posts.sort();
        posts.dedup();
        assert_eq!(posts.len(), events, "a post had its turn twice");
    }
    ticks.into_iter().map(|(tick, posts)| (tick, posts.len())).collect()
}

#[tokio::test]
async fn a_tick_brings_each_post_once_whatever_happens() {
    let log = MemoryLog::default();
    let (url, _) = wordpress(0).await;
    let (node, scheduler) = scheduler(&log, url, all()).await;
    let (ten, eleven) = (at("2026-11-25T10:00:00Z"), at("2026-11-25T11:00:00Z"));
    let key = |tick: Timestamp| format!("tick-nightly-{}", tick.0);

    scheduler.turn(at("2026-11-25T09:30:00Z")).await.unwrap();
    assert_eq!(scheduler.turn(at("2026-11-25T09:30:01Z")).await.unwrap(), LOOK_MAX);
    assert_eq!(ticks(&log).await, BTreeMap::new(), "nothing is made up for at the beginning");
    scheduler.turn(ten).await.unwrap();
    assert_eq!(ticks(&log).await, BTreeMap::from([(key(ten), 130)]));
    assert_eq!(scheduler.turn(at("2026-11-25T10:59:30Z")).await.unwrap(), LOOK_MAX / 2);

    // A process that died in the middle of the next one, long ago.
    for post in 1..=60 {
        assert!(scheduler.publish(post, eleven).await.unwrap());
    }
    let other = Progress {
        tick: Tick { at: eleven, done: false },
        posts: 50,
        owner: node.desk.world().owner ^ 1,
        at: eleven,
    };
    let (_, last) = store::load(&log, &scheduler.settings.source).await.unwrap();
    store::append(&log, &scheduler.settings.source, other, last).await.unwrap();
    // Its word counts for a minute.
    assert_eq!(scheduler.turn(at("2026-11-25T11:00:30Z")).await.unwrap(), LOOK_MAX);
    assert_eq!(ticks(&log).await[&key(eleven)], 60);
    scheduler.turn(at("2026-11-25T11:01:00Z")).await.unwrap();
    assert_eq!(ticks(&log).await, BTreeMap::from([(key(ten), 130), (key(eleven), 130)]));
    let (known, _) = store::load(&log, &scheduler.settings.source).await.unwrap();
    assert_eq!(known.unwrap().tick, Tick { at: eleven, done: true });
}

#[tokio::test]
async fn a_site_that_does_not_answer_is_asked_again_for_the_same_tick() {
    let log = MemoryLog::default();
    let (url, asked) = wordpress(1).await;
    let posts = PostQuery { older_than: Some(Duration::from_secs(3_600)), posts_max: 10, ..all() };
    let (_node, scheduler) = scheduler(&log, url, posts).await;
    let ten = at("2026-11-25T10:00:00Z");
    scheduler.turn(at("2026-11-25T09:30:00Z")).await.unwrap();
    assert!(matches!(scheduler.turn(ten).await, Err(Stuck::Site(_))));
    scheduler.turn(at("2026-11-25T10:20:00Z")).await.unwrap();
    let key = format!("tick-nightly-{}", ten.0);
    assert_eq!(ticks(&log).await, BTreeMap::from([(key, 10)]));
    let asked = asked.lock().unwrap().clone();
    let query = "/wp-json/wp/v2/posts?status=publish&before=2026-11-25T09:00:00Z";
    assert!(asked.iter().all(|target| target.contains(query)), "{asked:?}");
}
