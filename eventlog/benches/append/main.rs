//! Durable appends of 1 KB: events per second, CPU per event and waiting time, for each log and
//! for the stores it might stand on. `cargo bench -p copydesk-eventlog --bench append [NAME] [WRITERS]`.
//!
//! CPU per event is the figure to compare: the others change with the machine's load.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed bench")]
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod stores;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use copydesk_eventlog::testing::NatsServer;
use copydesk_eventlog::{
    EmbeddedLog, EventLog, JetStreamLog, MemoryLog, MessageId, NewRecord, Subject, embedded,
    jetstream,
};
use futures::future::BoxFuture;
use tempfile::TempDir;

/// Tasks that append at the same time, and how many records they append together.
const LOADS: [(usize, usize); 3] = [(1, 5_000), (64, 100_000), (512, 200_000)];

/// Posts that the records are spread over.
const SUBJECTS: usize = 10_000;

/// One durable append.
type Append = Arc<dyn Fn(NewRecord) -> BoxFuture<'static, ()> + Send + Sync>;

fn main() {
    let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let arguments: Vec<String> = arguments.collect();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    println!(
        "{:<10} {:>7} {:>10} {:>10} {:>9} {:>9}",
        "", "writers", "events/s", "cpu us", "p50 ms", "p99 ms"
    );
    for name in ["memory", "embedded", "fjall", "redb", "jetstream"] {
        for (writers, count) in LOADS {
            let wanted = [name, &writers.to_string()];
            if arguments.iter().all(|argument| wanted.contains(&argument.as_str())) {
                runtime.block_on(measure(name, writers, count));
            }
        }
    }
}

async fn measure(name: &str, writers: usize, count: usize) {
    let folder = TempDir::new().unwrap();
    let server = (name == "jetstream").then(NatsServer::start);
    // JetStream and redb are slower by so much that fewer records say the same.
    let count = if matches!(name, "jetstream" | "redb") { count / 5 } else { count };
    let append = open(name, folder.path(), server.as_ref()).await;
    let before = [cpu("self"), server_cpu(server.as_ref())];
    let start = Instant::now();
    let mut waits = append_all(&append, writers, count).await;
    let took = start.elapsed();
    let after = [cpu("self"), server_cpu(server.as_ref())];
    waits.sort_unstable();
    let per_event = |at: usize| (after[at] - before[at]).as_secs_f64() * 1e6 / count as f64;
    let wait = |percent: usize| waits[waits.len() * percent / 100].as_secs_f64() * 1e3;
    let rate = count as f64 / took.as_secs_f64();
    let server =
        if server.is_some() { format!("  server {:.1} us", per_event(1)) } else { String::new() };
    println!(
        "{name:<10} {writers:>7} {rate:>10.0} {:>10.1} {:>9.2} {:>9.2}{server}",
        per_event(0),
        wait(50),
        wait(99)
    );
}

async fn open(name: &str, folder: &Path, server: Option<&NatsServer>) -> Append {
    let log: Arc<dyn EventLog> = match name {
        "memory" => Arc::new(MemoryLog::new()),
        "embedded" => Arc::new(EmbeddedLog::open(folder, embedded::Settings::default()).unwrap()),
        "jetstream" => {
            let settings = jetstream::Settings::new(&server.unwrap().url());
            Arc::new(JetStreamLog::connect(settings).await.unwrap())
        }
        store => return stores::open(store, folder),
    };
    Arc::new(move |record| {
        let log = Arc::clone(&log);
        Box::pin(async move {
            log.append(record).await.unwrap();
        })
    })
}

async fn append_all(append: &Append, writers: usize, count: usize) -> Vec<Duration> {
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let append = Arc::clone(append);
            tokio::spawn(async move {
                let mut waits = Vec::with_capacity(count / writers);
                for n in (writer..count).step_by(writers) {
                    let start = Instant::now();
                    append(record(n)).await;
                    waits.push(start.elapsed());
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::with_capacity(count);
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    waits
}

/// A webhook as the receiver appends it.
fn record(n: usize) -> NewRecord {
    // As unlike each other as JSON texts are, so that compression has something to do.
    let text =
        format!("{{\"id\":{n},\"title\":\"post {}\",\"excerpt\":\"{:x}\"}}", n * 31, n * 7919);
    NewRecord {
        subject: Subject::new(&format!("cd.{}.news.{}.in", n % 64, n % SUBJECTS)).unwrap(),
        message_id: Some(MessageId((n as u128 + 1).to_be_bytes())),
        expected_last: None,
        headers: vec![
            ("ce-id", format!("e-{n}")),
            ("ce-type", "post.updated".to_owned()),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ],
        payload: Bytes::from(text.repeat(1024 / text.len() + 1)).slice(..1024),
    }
}

fn server_cpu(server: Option<&NatsServer>) -> Duration {
    server.map_or(Duration::ZERO, |server| cpu(&server.pid().to_string()))
}

/// CPU time of a process: user and system, in the kernel's ticks of 10 ms.
fn cpu(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name in parentheses may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
