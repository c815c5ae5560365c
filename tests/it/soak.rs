//! One fault after the other on one node under load, for as long as `COPYDESK_SOAK_MINUTES` says
//! (without it: each kind once), and a check of everything at the end. `scripts/soak` runs it long.
//!
//! The kinds: killed, asked to stop, dead at a place in the code; snapshots deleted, cut or
//! flipped; a disk without room, and a slow one; a crowd of half-open clients; and a copy of the log
//! with a flipped bit, which must be refused or be as good as before.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::crash::{ABORTED, EMBEDDED_PLACES, PLACES};
use crate::pipeline::{all_is_well, node_between};
use crate::support::ai::Ai;
use crate::support::disk::{SlowDisk, SmallDisk};
use crate::support::load::{Load, Plan};
use crate::support::node::{Node, SECRET};
use crate::support::sender::{Sender, update};
use crate::support::site::Site;
use crate::support::{Random, eventually, figure, now_ms};

/// The node's memory, whatever happens: twice what it takes with 100,000 events waiting.
const RESIDENT_MB_MAX: f64 = 512.0;
/// Clients that send half a head and then nothing, fewer than one address may have.
const CROWD: usize = 80;
/// Enough for hours.
const ROOMY: &str = "4g";
/// Less is free than the log wants free.
const CRAMPED: &str = "500m";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Killed,
    Stopped,
    Crashed,
    SnapshotsDeleted,
    SnapshotsCut,
    SnapshotsFlipped,
    DiskFull,
    DiskSlow,
    Crowded,
    CopyFlipped,
}

const FAULTS: [Fault; 10] = [
    Fault::Killed,
    Fault::Stopped,
    Fault::Crashed,
    Fault::SnapshotsDeleted,
    Fault::SnapshotsCut,
    Fault::SnapshotsFlipped,
    Fault::DiskFull,
    Fault::DiskSlow,
    Fault::Crowded,
    Fault::CopyFlipped,
];

/// How much longer a sync takes on a slow disk: so that senders feel it, and so that the ingress has
/// given up before it is done.
const SLOW: Duration = Duration::from_millis(300);
const STUCK: Duration = Duration::from_secs(6);

struct Soak {
    node: Node,
    disk: SmallDisk,
    pace: SlowDisk,
    random: Random,
    url: String,
    done: BTreeMap<Fault, u32>,
    /// From a start to the listening.
    starts: Vec<Duration>,
    resident_mb: f64,
    /// Copies with a flipped bit that were refused.
    refused: u32,
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fault_after_the_other_loses_nothing() {
    let minutes: u64 =
        std::env::var("COPYDESK_SOAK_MINUTES").map_or(0, |text| text.parse().unwrap());
    let seed = std::env::var("COPYDESK_SOAK_SEED")
        .map_or_else(|_| now_ms().unsigned_abs(), |text| text.parse().unwrap());
    let (ai, site) =
        (Ai::start(5, Duration::from_millis(5), seed).await, Site::start(5, seed).await);
    let mut node = node_between("embedded", &site, &ai);
    let disk = SmallDisk::mount(&node, ROOMY);
    let pace = SlowDisk::beside(&mut node);
    let mut soak = Soak {
        node,
        disk,
        pace,
        random: Random::new(seed),
        url: String::new(),
        done: BTreeMap::new(),
        starts: Vec::new(),
        resident_mb: 0.0,
        refused: 0,
    };
    soak.start().await;
    let pause = Duration::from_millis(100);
    let plan = Plan { after_post: 0, posts: 200, updates: u64::MAX, pause, seed };
    let load = Load::start(soak.url.clone(), plan);
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let mut faults = FAULTS.to_vec();
    while let Some(fault) = faults.pop() {
        // As long up as the start took, and a while: senders must get somewhere.
        let pause = Duration::from_millis(200 + soak.random.below(2_000));
        tokio::time::sleep(pause + soak.starts.last().copied().unwrap_or_default()).await;
        soak.inject(fault, &load).await;
        if faults.is_empty() && Instant::now() < until {
            faults.push(FAULTS[usize::try_from(soak.random.below(FAULTS.len() as u64)).unwrap()]);
        }
    }
    let sent = load.stop().await;
    soak.node.quiet().await;
    soak.look();
    all_is_well(&mut soak.node, &sent, &site.history(), &ai).await;
    soak.tell(seed, sent.accepted.len());
}

impl Soak {
    async fn start(&mut self) {
        let began = Instant::now();
        self.url = self.node.start().await;
        self.starts.push(began.elapsed());
    }

    async fn inject(&mut self, fault: Fault, load: &Load) {
        self.look();
        *self.done.entry(fault).or_default() += 1;
        match fault {
            Fault::Killed => self.node.kill(),
            Fault::Stopped => assert!(self.node.stop().success(), "a stop in order"),
            Fault::Crashed => self.crash(load).await,
            Fault::SnapshotsDeleted => {
                self.node.kill();
                std::fs::remove_dir_all(self.snapshots()).unwrap();
            }
            Fault::SnapshotsCut => {
                self.node.kill();
                self.cut_a_snapshot_file();
            }
            Fault::SnapshotsFlipped => {
                self.node.kill();
                let files = files_below(&self.snapshots());
                self.flip_a_bit(&files);
            }
            Fault::DiskFull => return self.fill_the_disk().await,
            Fault::DiskSlow => return self.slow_the_disk().await,
            Fault::Crowded => return self.crowd().await,
            Fault::CopyFlipped => {
                self.node.kill();
                self.try_a_flipped_copy();
            }
        }
        self.start().await;
        load.move_to(self.url.clone());
    }

    /// What it holds in memory at present.
    fn look(&mut self) {
        let resident_mb = self.node.usage().resident_mb;
        assert!(resident_mb < RESIDENT_MB_MAX, "I17: the node holds {resident_mb:.0} MB");
        self.resident_mb = self.resident_mb.max(resident_mb);
    }

    async fn crash(&mut self, load: &Load) {
        self.node.kill();
        let places: Vec<&str> = PLACES.iter().chain(&EMBEDDED_PLACES).copied().collect();
        let place = places[usize::try_from(self.random.below(places.len() as u64)).unwrap()];
        // A start is passed once in a life.
        let passing = if place == "node.recovered" { 1 } else { 1 + self.random.below(50) };
        self.node.set_env("EVENTLOG_CRASH_AT", &format!("{place}:{passing}"));
        let status = match self.node.try_start().await {
            Ok(url) => {
                load.move_to(url);
                self.node.dies().await
            }
            Err(status) => status,
        };
        assert_eq!(status.signal(), Some(ABORTED), "{place}:{passing}: {status}");
        self.node.set_env("EVENTLOG_CRASH_AT", "");
    }

    fn snapshots(&self) -> PathBuf {
        self.node.data_dir().join("snapshots")
    }

    fn cut_a_snapshot_file(&mut self) {
        let files = files_below(&self.snapshots());
        let path = &files[usize::try_from(self.random.below(files.len() as u64)).unwrap()];
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(self.random.below(length.max(1))).unwrap();
    }

    fn flip_a_bit(&mut self, files: &[PathBuf]) {
        let path = &files[usize::try_from(self.random.below(files.len() as u64)).unwrap()];
        let mut bytes = std::fs::read(path).unwrap();
        if bytes.is_empty() {
            return;
        }
        let at = usize::try_from(self.random.below(bytes.len() as u64)).unwrap();
        bytes[at] ^= 1 << self.random.below(8);
        std::fs::write(path, bytes).unwrap();
    }

    /// Webhooks are refused, and taken again once there is room; nobody starts anything anew.
    async fn fill_the_disk(&mut self) {
        self.disk.resize(CRAMPED);
        let ready = format!("{}/readyz", self.url);
        let client = crate::support::client();
        self.until_answered(503).await;
        self.disk.resize(ROOMY);
        eventually("the node is ready again", async || {
            client.get(&ready).send().await.ok().filter(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Webhooks are taken, late; then refused; then taken as before.
    async fn slow_the_disk(&mut self) {
        self.pace.syncs_take(SLOW);
        self.until_answered(202).await;
        self.look();
        self.pace.syncs_take(STUCK);
        self.until_answered(503).await;
        self.look();
        self.pace.syncs_take(Duration::ZERO);
        self.until_answered(202).await;
    }

    async fn crowd(&self) {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            // Refused beyond the limit of one address: that is the node's right.
            if let Ok(mut stream) = TcpStream::connect(address).await {
                let _closed = stream.write_all(b"POST /webhooks/news HTTP/1.1\r\nHo").await;
                crowd.push(stream);
            }
        }
        self.until_answered(202).await;
    }

    /// Sends one event of a post of its own until it is answered so.
    async fn until_answered(&self, wanted: u16) {
        let sender = Sender::new(SECRET);
        let url = format!("{}/webhooks/news", self.url);
        eventually("an event is answered as it must be", async || {
            let version = u64::try_from(now_ms()).unwrap();
            let body = update(9_000, version, &format!("soak-{version}"));
            sender.send(&url, &body).await.filter(|(status, _)| *status == wanted)
        })
        .await;
    }

    /// I21: never a wrong record. Refused, or in a place that nobody reads any more.
    fn try_a_flipped_copy(&mut self) {
        let copy = tempfile::tempdir().unwrap();
        let data = copy.path().join("data");
        let copied = std::process::Command::new("cp")
            .args(["-a", "--sparse=always"])
            .args([self.node.data_dir(), data.clone()])
            .status();
        assert!(copied.unwrap().success());
        let files = files_below(&data.join("log"));
        self.flip_a_bit(&files);
        let verified = self.node.run_in(&data, &["verify", "--json"]);
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        if verified.status.success() {
            let report: serde_json::Value = serde_json::from_str(&said).unwrap();
            assert_eq!(report["violations"], serde_json::json!([]), "a flipped bit");
        } else {
            self.refused += 1;
        }
    }

    #[expect(clippy::print_stdout, reason = "a proof says how much it proves")]
    fn tell(&mut self, seed: u64, accepted: usize) {
        let faults: u32 = self.done.values().sum();
        self.starts.sort_unstable();
        let at = |percent: usize| self.starts[(self.starts.len() - 1) * percent / 100];
        println!(
            "seed {seed}: {faults} faults, {accepted} events accepted: 0 lost, 0 doubled, 0 out of \
             order, 0 stale; below {:.2} % a fault",
            300.0 / f64::from(faults)
        );
        println!("faults: {:?}; {} flipped copies refused", self.done, self.refused);
        println!(
            "ready after a start: {:?} median, {:?} p95, {:?} longest; at most {:.0} MB in memory",
            at(50),
            at(95),
            at(100),
            self.resident_mb
        );
    }
}

/// A disk that gets slow and then all but stands still: what waits is bounded by refusals, and what
/// was accepted is done when the disk is itself again.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_slow_disk_senders_are_refused_before_memory_grows() {
    let (ai, site) = (Ai::start(0, Duration::ZERO, 7).await, Site::start(0, 7).await);
    let mut node = node_between("embedded", &site, &ai);
    node.configure(|text| text.replace("[http]\n", "[http]\nbacklog_max = 12\n"));
    let pace = SlowDisk::beside(&mut node);
    let url = node.start().await;
    let plan = |after_post| {
        let (posts, pause, seed) = (64, Duration::from_millis(50), 7);
        Plan { after_post, posts, updates: u64::MAX, pause, seed }
    };
    let load = Load::start(url.clone(), plan(0));
    let written = async |more: usize| {
        let before = site.history().len();
        eventually("more is written", async || {
            (site.history().len() >= before + more).then_some(())
        })
        .await;
    };
    written(100).await;
    let usual = node.usage();
    pace.syncs_take(SLOW);
    written(50).await;
    let slow = load.stop().await;
    assert!(slow.refused.contains_key(&429), "12 may wait, and no more: {:?}", slow.refused);

    pace.syncs_take(STUCK);
    let load = Load::start(url, plan(64));
    let began = Instant::now();
    // Two syncs, in which the ingress gives up on everybody at least once.
    eventually("the disk stood still", async || (began.elapsed() > 2 * STUCK).then_some(())).await;
    let stuck_mb = node.usage().peak_mb;
    pace.syncs_take(Duration::ZERO);
    written(100).await;
    let mut sent = load.stop().await;
    assert!(sent.refused.contains_key(&503), "nobody waits for ever: {:?}", sent.refused);
    assert!(stuck_mb < usual.peak_mb + 64.0, "{:.0} MB, then {stuck_mb:.0} MB", usual.peak_mb);
    sent.accepted.extend(slow.accepted);
    sent.newest.extend(slow.newest);
    node.quiet().await;
    all_is_well(&mut node, &sent, &site.history(), &ai).await;
    figure(&format!(
        "{} events accepted; told to come again: {:?} while each sync took {SLOW:?}, {:?} while it \
         took {STUCK:?}; memory {:.0} MB, {stuck_mb:.0} MB at its peak",
        sent.accepted.len(),
        slow.refused,
        sent.refused,
        usual.resident_mb
    ));
}

/// Every file in a folder and below.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    files
}
