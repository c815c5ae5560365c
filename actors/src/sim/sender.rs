//! The sites' senders: signed events from an outbox, sent again until they are taken, now and then
//! twice, late or out of order; and someone without a secret.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use copydesk_core::signature::{Parts, Secret, WP_RELAY, sign};
use copydesk_core::webhook::{Head, IdempotencyKey};
use copydesk_proto::{PostId, PostKey};
use serde_json::json;

use super::lab::{Lab, lock};
use super::site::{self, WordPress};
use crate::World;
use crate::mistakes::{Mistake, makes};
use crate::node::Node;

pub(super) const SECRET: &[u8] = b"a secret of at least thirty-two bytes";
/// The version that only forged events have.
pub(super) const FORGED: u64 = 1_000_000;

/// One event in an outbox.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) key: PostKey,
    pub(super) version: u64,
    pub(super) idempotency_key: String,
    pub(super) body: Bytes,
    /// The event ids it was accepted under; more than one only when it was sent again.
    pub(super) accepted: Vec<String>,
}

/// All outboxes, over all lives of the nodes.
#[derive(Debug)]
pub(super) struct Outbox {
    events: Mutex<Vec<Outgoing>>,
    /// What no honest sender should be told.
    wrong: Mutex<Vec<String>>,
}

impl Outbox {
    pub(super) fn new(lab: &Lab, posts: &[PostKey]) -> Self {
        let mut events = Vec::new();
        for key in posts {
            for version in 1..=lab.plan.versions {
                events.push(event(lab, key, version));
            }
        }
        Self { events: Mutex::new(events), wrong: Mutex::default() }
    }

    pub(super) fn events(&self) -> Vec<Outgoing> {
        lock(&self.events).clone()
    }

    pub(super) fn wrong(&self) -> Vec<String> {
        lock(&self.wrong).clone()
    }

    fn complain(&self, wrong: String) {
        lock(&self.wrong).push(wrong);
    }

    pub(super) fn all_accepted(&self) -> bool {
        lock(&self.events).iter().all(|event| !event.accepted.is_empty())
    }

    /// Places of a post's events that nobody has taken yet.
    fn waiting(&self, key: &PostKey) -> Vec<usize> {
        let events = lock(&self.events);
        let waits = |event: &Outgoing| event.key == *key && event.accepted.is_empty();
        (0..events.len()).filter(|place| waits(&events[*place])).collect()
    }

    fn accepted(&self, place: usize, event_id: String) {
        lock(&self.events)[place].accepted.push(event_id);
    }
}

fn event(lab: &Lab, key: &PostKey, version: u64) -> Outgoing {
    let PostId::Number(post) = key.post else { panic!("posts have numbers here") };
    // Not the site: two sites may well choose the same keys.
    let idempotency_key = format!("post-{post}-v{version}");
    let text = site::text(key, version);
    let mut body = json!({
        "event": "post.updated", "post_id": post, "sequence": version,
        "idempotency_key": idempotency_key, "title": text.title,
    });
    if !lab.chance(lab.plan.bare_percent) {
        body["content"] = text.content.into();
    }
    let (key, body) = (key.clone(), Bytes::from(body.to_string()));
    Outgoing { key, version, idempotency_key, body, accepted: Vec::new() }
}

/// Sends what one post's outbox holds, in order but for what is late. Each save comes before its
/// event.
pub(super) async fn send_all(
    lab: Arc<Lab>,
    outbox: Arc<Outbox>,
    site: Arc<WordPress>,
    nodes: Arc<Vec<Node>>,
    key: PostKey,
) {
    let mut late = Vec::new();
    for place in outbox.waiting(&key) {
        lab.linger(400).await;
        let event = outbox.events()[place].clone();
        site.save(&key, event.version);
        if lab.chance(10) {
            late.push(place);
            continue;
        }
        until_accepted(&lab, &outbox, &nodes, place, &event).await;
        if lab.chance(10) {
            late.push(place);
        }
        forge(&lab, &nodes, &event);
    }
    for place in late {
        lab.linger(2_000).await;
        let event = outbox.events()[place].clone();
        until_accepted(&lab, &outbox, &nodes, place, &event).await;
    }
}

async fn until_accepted(
    lab: &Lab,
    outbox: &Outbox,
    nodes: &[Node],
    place: usize,
    event: &Outgoing,
) {
    let name = format!("send {} v{}", event.key, event.version);
    let mut pause_ms = 500;
    loop {
        let node = &nodes[usize::try_from(lab.below(nodes.len() as u64)).unwrap()];
        let webhook = signed(node, event, &event.idempotency_key, SECRET).unwrap();
        let receiver = &node.receivers[&webhook.source.clone()];
        match receiver.store(webhook).await {
            Ok(receipt) => {
                lab.note(format_args!("{name}: accepted, duplicate {}", receipt.duplicate));
                outbox.accepted(place, receipt.event_id);
                return;
            }
            Err(refusal) => {
                lab.note(format_args!("{name}: {}", refusal.code));
                if !matches!(refusal.status, 429 | 503) {
                    outbox.complain(format!("I4 {name}: refused with {}", refusal.code));
                }
            }
        }
        lab.linger(pause_ms).await;
        pause_ms = (pause_ms * 2).min(60_000);
    }
}

/// Who has no secret, and who has overheard a request, gets nowhere.
fn forge(lab: &Lab, nodes: &[Node], event: &Outgoing) {
    let mut forged = event.clone();
    let version = format!("\"sequence\":{}", event.version);
    let text = String::from_utf8(event.body.to_vec()).unwrap();
    forged.body = text.replace(&version, &format!("\"sequence\":{FORGED}")).into();
    let guess = b"a guess of at least thirty-two bytes";
    let guessed = signed(&nodes[0], &forged, &event.idempotency_key, guess);
    lab.note(format_args!("forged: {}", guessed.err().map_or("accepted", |r| r.code)));
    let renamed = signed(&nodes[0], event, "another-key", SECRET);
    // What is taken is stored, as the ingress would.
    match renamed {
        Ok(webhook) => {
            let receiver = nodes[0].receivers[&webhook.source].clone();
            tokio::spawn(async move { receiver.store(webhook).await });
        }
        Err(refusal) => lab.note(format_args!("replayed under another key: {}", refusal.code)),
    }
}

fn signed(
    node: &Node,
    event: &Outgoing,
    key_header: &str,
    secret: &[u8],
) -> Result<copydesk_core::webhook::VerifiedWebhook, copydesk_core::refusal::Refusal> {
    let timestamp = (World::now().0 / 1_000).to_string();
    let parts = Parts { timestamp: &timestamp, key: key_header, body: &event.body };
    let known = Secret::new("k1", secret).unwrap();
    let mut headers = sign(&WP_RELAY, &known, &parts);
    headers.push(("content-type".to_owned(), "application/json".to_owned()));
    let headers: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let head = Head { method: "POST", peer: None, headers: &headers };
    let source = event.key.site.as_str().parse().unwrap();
    let verified = node.receivers[&source].verify(&head, &event.body);
    if makes(Mistake::KeyFromHeader) && verified.is_err() && key_header != event.idempotency_key {
        let mut believed = signed(node, event, &event.idempotency_key, secret)?;
        believed.idempotency_key = IdempotencyKey::from_header(key_header).unwrap();
        return Ok(believed);
    }
    verified
}
