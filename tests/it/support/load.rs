//! Many senders at once: each sends its posts' updates in order and each until it is accepted,
//! some twice, with forgeries between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;

use super::node::SECRET;
use super::sender::{Sender, update};
use super::{Random, eventually};

const SENDERS: u64 = 16;
/// The version that only forged events have.
pub(crate) const FORGED: u64 = 1_000_000;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Posts are numbered from here on, so that runs against one site do not meet.
    pub(crate) after_post: u64,
    pub(crate) posts: u64,
    /// Of each post; `u64::MAX`: until stopped.
    pub(crate) updates: u64,
    /// Between two events of one sender.
    pub(crate) pause: Duration,
    pub(crate) seed: u64,
}

/// What was accepted.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Event ids.
    pub(crate) accepted: BTreeSet<String>,
    /// The newest version of each post.
    pub(crate) newest: BTreeMap<u64, u64>,
    /// When each version of a post was accepted first.
    pub(crate) accepted_at: BTreeMap<(u64, u64), Instant>,
    /// How often a status told a sender to come again.
    pub(crate) refused: BTreeMap<u16, u64>,
}

/// Senders at work.
#[derive(Debug)]
pub(crate) struct Load {
    urls: Arc<Mutex<Vec<String>>>,
    stopping: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Sent>>,
}

impl Load {
    /// Begins to send to the node at this address.
    pub(crate) fn start(url: String, plan: Plan) -> Self {
        Self::start_at(vec![url], plan)
    }

    /// Begins to send to nodes, in turn.
    pub(crate) fn start_at(urls: Vec<String>, plan: Plan) -> Self {
        let urls = Arc::new(Mutex::new(urls));
        let stopping = Arc::new(AtomicBool::new(false));
        let senders = (0..SENDERS)
            .map(|number| {
                let (urls, stopping) = (Arc::clone(&urls), Arc::clone(&stopping));
                tokio::spawn(send_share(number, plan, urls, stopping))
            })
            .collect();
        Self { urls, stopping, senders }
    }

    /// The node has another address.
    pub(crate) fn move_to(&self, url: String) {
        self.move_to_all(vec![url]);
    }

    /// The nodes are these.
    pub(crate) fn move_to_all(&self, urls: Vec<String>) {
        *self.urls.lock().unwrap() = urls;
    }

    /// Waits until everything was sent.
    pub(crate) async fn finish(self) -> Sent {
        let mut all = Sent::default();
        for sender in self.senders {
            let share = sender.await.unwrap();
            all.accepted.extend(share.accepted);
            all.newest.extend(share.newest);
            all.accepted_at.extend(share.accepted_at);
            for (status, count) in share.refused {
                *all.refused.entry(status).or_default() += count;
            }
        }
        all
    }

    /// Lets each sender get rid of the event it has at hand, and no more.
    pub(crate) async fn stop(self) -> Sent {
        self.stopping.store(true, Ordering::Relaxed);
        self.finish().await
    }
}

/// One sender's share of the posts, with 20 % of the events sent twice and 10 % forgeries.
async fn send_share(
    number: u64,
    plan: Plan,
    urls: Arc<Mutex<Vec<String>>>,
    stopping: Arc<AtomicBool>,
) -> Sent {
    let mut random = Random::new(plan.seed * 1_000 + number);
    let honest = Sender::new(SECRET);
    let forger = Sender::new("a-secret-that-nobody-gave-the-forger");
    let turns = AtomicUsize::new(usize::try_from(number).unwrap());
    let address = || {
        let urls = urls.lock().unwrap();
        let turn = turns.fetch_add(1, Ordering::Relaxed) % urls.len();
        format!("{}/webhooks/news", urls[turn])
    };
    let mut sent = Sent::default();
    let shares = |post: &u64| post % SENDERS == number;
    let round = |version| (1..=plan.posts).filter(shares).map(move |post| (post, version));
    for (post, version) in (1..=plan.updates).flat_map(round) {
        if stopping.load(Ordering::Relaxed) {
            break;
        }
        let post = plan.after_post + post;
        let key = format!("post-{post}-v{version}");
        let body = update(post, version, &key);
        let copies = if random.percent(20) { 2 } else { 1 };
        for _ in 0..copies {
            let id = until_accepted(&honest, &address, &body, &mut sent.refused).await;
            sent.accepted.insert(id);
            sent.accepted_at.entry((post, version)).or_insert_with(Instant::now);
        }
        sent.newest.insert(post, version);
        if random.percent(10) {
            let forged = update(post, FORGED, &format!("forged-{key}"));
            if let Some((status, _)) = forger.send(&address(), &forged).await {
                // A node that is about to stop looks at nothing.
                assert!(matches!(status, 401 | 503), "a forgery was answered with {status}");
            }
        }
        tokio::time::sleep(plan.pause).await;
    }
    sent
}

/// As a good sender does: the same key and body again until a 202.
async fn until_accepted(
    sender: &Sender,
    address: &impl Fn() -> String,
    body: &Value,
    refused: &mut BTreeMap<u16, u64>,
) -> String {
    let refused = Mutex::new(refused);
    eventually("an event is accepted", async || match sender.send(&address(), body).await {
        Some((202, answer)) => Some(answer["event_id"].as_str().unwrap().to_owned()),
        Some((status @ (429 | 503), _)) => {
            *refused.lock().unwrap().entry(status).or_default() += 1;
            None
        }
        None => None,
        Some((status, answer)) => panic!("refused with {status}: {answer}"),
    })
    .await
}
