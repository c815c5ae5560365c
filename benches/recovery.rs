//! A start without snapshots: the histories of many posts, decided by the same code as ever, are put
//! into an embedded log, a hundredth of them unfinished; then the real program starts on it, finishes
//! them and verifies the log.
//!
//! `cargo bench --bench recovery -- [POSTS]` prints times and memory, and fails when the node holds
//! more than 1.5 GB, leaves something unfinished, or finds its log wrong.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench talks and stops at trouble")]
#![expect(dead_code, reason = "the stand-ins are the tests', which use more of them")]

mod life;
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use copydesk_actors::records::{Decision, Intake, Subjects, summarise};
use copydesk_core::post::{IntakePosition, Policy, PostCommand, PostState, Turn};
use copydesk_core::signature::{Secret, SecretRing, WP_RELAY};
use copydesk_core::webhook::{IdempotencyKey, Origin, SourceRules, accept};
use copydesk_eventlog::embedded::Settings;
use copydesk_eventlog::{EmbeddedLog, EventLog, NewRecord, Sequence};
use copydesk_proto::{PostKey, Timestamp};
use futures::future::join_all;
use support::ai::Ai;
use support::node::{Node, Parts, SECRET};
use support::sender::update;
use support::site::{Outcome, Site};

/// What a node may hold in memory for a million posts, in MB.
const PEAK_MB_MAX: f64 = 1_500.0;

/// Of so many posts, one is unfinished.
const UNFINISHED_OF: u64 = 100;

/// Posts whose records are appended together.
const TOGETHER: usize = 1_000;

/// A text of the size of a short article; what is stored of it is the whole.
const PARAGRAPH: &str = "The bridge at the harbour stays closed until the inspection is over. ";

fn main() {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(run());
}

async fn run() {
    let posts = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(100_000);
    let ai = Ai::start(0, Duration::ZERO, 1).await;
    let site = Site::start(0, 1).await;
    let site_table = format!(
        "url = \"{}\"\nuser = \"u\"\napplication_password = \"env:NEWS_APP_PASSWORD\"\n\
         delivery = \"ingest\"\nconcurrency = 16",
        site.url
    );
    let provider = format!(
        "kind = \"openai\"\nbase_url = \"{}\"\napi_key = \"env:NEWS_APP_PASSWORD\"\n\
         model = \"m\"\nconcurrency = 64",
        ai.base_url
    );
    let parts = Parts { log: "embedded", site: &site_table, provider: &provider, route: "" };
    let mut node = Node::new(&parts);

    let began = Instant::now();
    let records = fill(&node.data_dir().join("log"), posts).await;
    let (seconds, mb) = (began.elapsed().as_secs_f64(), disk_mb(&node));
    println!("{posts} posts: {records} records, {mb} MB, filled in {seconds:.0} s");

    assert!(!node.data_dir().join("snapshots").exists());
    let began = Instant::now();
    node.start().await;
    let ready = (began.elapsed().as_secs_f64(), node.usage());
    println!("ready after {:.1} s, {:.0} MB at the peak", ready.0, ready.1.peak_mb);

    node.quiet().await;
    let applied = site.history().iter().filter(|a| a.outcome == Outcome::Applied).count();
    let unfinished = usize::try_from(posts / UNFINISHED_OF).unwrap();
    assert_eq!(applied, unfinished, "writes of the unfinished posts");
    let (seconds, used) = (began.elapsed().as_secs_f64(), node.usage());
    println!(
        "{unfinished} unfinished ended after {seconds:.1} s, {:.0} MB at the peak",
        used.peak_mb
    );
    assert!(used.peak_mb < PEAK_MB_MAX, "I17: more than {PEAK_MB_MAX} MB");

    let began = Instant::now();
    let verified = node.run(&["verify"]);
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success(), "verify: {said}");
    let (seconds, peak_mb) = (began.elapsed().as_secs_f64(), node.usage().peak_mb);
    println!("verified in {seconds:.1} s, {peak_mb:.0} MB at the peak");
    assert!(peak_mb < PEAK_MB_MAX, "I17: {peak_mb:.0} MB while the log is verified");
    assert!(node.stop().success(), "the node ends in order");
}

/// A post on its way through its history.
struct Life {
    key: PostKey,
    state: PostState,
    last: Sequence,
    events: u64,
    commands: std::vec::IntoIter<PostCommand>,
}

/// Returns the number of records.
async fn fill(folder: &std::path::Path, posts: u64) -> u64 {
    std::fs::create_dir_all(folder).unwrap();
    let log = EmbeddedLog::open(folder, Settings::default()).unwrap();
    let ring = SecretRing::new(vec![Secret::new("k1", SECRET.as_bytes()).unwrap()]).unwrap();
    let rules = SourceRules::new("news".parse().unwrap(), "news".parse().unwrap(), &WP_RELAY, ring);
    let policy = life::policy();
    let numbers: Vec<u64> = (1..=posts).collect();
    for numbers in numbers.chunks(TOGETHER) {
        let intakes: Vec<_> = numbers.iter().map(|post| intake(&rules, *post)).collect();
        let records = intakes.iter().map(|(key, intake)| intake.record(key)).collect();
        let stored = append(&log, records).await;
        let lives = intakes.iter().zip(numbers).zip(stored);
        let mut lives: Vec<Life> =
            lives.map(|(((key, intake), post), at)| life(key, intake, *post, at)).collect();
        while lives.iter().any(|life| life.commands.len() > 0) {
            lives.retain(|life| life.commands.len() > 0);
            let records = lives.iter_mut().map(|life| decide(life, &policy)).collect();
            let stored = append(&log, records).await;
            lives.iter_mut().zip(stored).for_each(|(life, at)| life.last = at);
        }
    }
    let records = log.last_sequence().await.unwrap().0;
    log.close().await;
    records
}

fn intake(rules: &SourceRules, post: u64) -> (PostKey, Intake) {
    let mut body = update(post, 1, &format!("post-{post}-v1"));
    body["content"] = format!("{}{}", PARAGRAPH.repeat(10), support::mark(post, 1)).into();
    let body = Bytes::from(body.to_string());
    let key = IdempotencyKey::from_header("unused").unwrap();
    let webhook = accept(rules, &body, key, Origin::Signed).unwrap();
    let intake = Intake {
        event_id: uuid::Uuid::now_v7().to_string(),
        source: webhook.source,
        text_hash: webhook.payload.text().map(|text| text.input_hash()),
        event_type: webhook.payload.event_type,
        external_id: String::new(),
        idempotency_key: webhook.idempotency_key.to_string(),
        body_hash: webhook.body_hash,
        version: webhook.payload.version,
        again: false,
        received_at: Timestamp(support::now_ms()),
        key_id: "k1".to_owned(),
        trace: None,
        body: webhook.body,
        route: Some("r1".parse().unwrap()),
        sent_by: String::new(),
        replay: None,
    };
    (webhook.post, intake)
}

/// How far a post gets: nothing decided, asked about, or a write under way; most to the end.
fn life(key: &PostKey, intake: &Intake, post: u64, at: Sequence) -> Life {
    let state = PostState::default();
    let incoming = intake.incoming(IntakePosition(at.0));
    let mut commands =
        life::commands(incoming, &support::mark(post, 1), state.write_number).to_vec();
    if post.is_multiple_of(UNFINISHED_OF) {
        commands.truncate(usize::try_from(post / UNFINISHED_OF % 3).unwrap());
    }
    Life { key: key.clone(), state, last: Sequence(0), events: 0, commands: commands.into_iter() }
}

fn decide(life: &mut Life, policy: &Policy) -> NewRecord {
    let now = Timestamp(support::now_ms());
    let mut turn = Turn::new(std::mem::take(&mut life.state), policy, now);
    turn.take(life.commands.next().unwrap()).unwrap();
    let (state, events) = turn.finish();
    life.state = state;
    life.events += u64::try_from(events.len()).unwrap();
    let summary = summarise(&life.state, None, life.events);
    let decision = Decision { summary, events, decided_at: now, trace: None, owner: 1, epoch: 0 };
    decision.record(&Subjects::of(&life.key).decisions, life.last)
}

/// Appends all at once; their places.
async fn append(log: &EmbeddedLog, records: Vec<NewRecord>) -> Vec<Sequence> {
    let answers = join_all(records.into_iter().map(|record| log.append(record))).await;
    answers.into_iter().map(|answer| answer.unwrap().sequence()).collect()
}

/// What the data folder takes on the disk.
fn disk_mb(node: &Node) -> u64 {
    let output = std::process::Command::new("du").arg("-sm").arg(node.data_dir()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.split_whitespace().next().unwrap().parse().unwrap()
}
