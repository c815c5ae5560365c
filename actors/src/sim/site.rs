//! WordPress, as far as it matters: posts with their text and excerpt, people who write excerpts
//! of their own, and the fence of Copydesk's plugin. What it saw is the oracle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use copydesk_core::content::{Field, FieldValue, PostText};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_proto::{ContentHash, PostKey};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::lab::{Lab, lock};
use super::{mark, marked};
use crate::delivery::{DeliveryMessage, Read, ReadPost, Write, WriteOutcome};
use crate::mistakes::{Mistake, makes};

/// A write that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) key: PostKey,
    pub(super) number: u64,
    pub(super) delivery_id: String,
    /// The version whose words were written; `None` when the excerpt was left alone.
    pub(super) wrote: Option<u64>,
}

/// What WordPress and its people keep, over all lives of the nodes.
#[derive(Debug, Default)]
pub(super) struct WordPress {
    posts: Mutex<HashMap<PostKey, Post>>,
    applied: Mutex<Vec<Applied>>,
    /// What must never happen and did.
    wrong: Mutex<Vec<String>>,
}

#[derive(Debug, Clone, Default)]
struct Post {
    version: u64,
    excerpt: String,
    by_a_person: bool,
    fence: Fence,
}

#[derive(Debug, Clone, Default)]
struct Fence {
    number: u64,
    delivery_id: String,
    body: String,
    outcome: Option<WriteOutcome>,
}

/// How a post stands at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stands {
    pub(super) version: u64,
    /// The version whose words stand in the excerpt.
    pub(super) shows: Option<u64>,
    pub(super) by_a_person: bool,
}

/// A post's text at a version.
pub(super) fn text(key: &PostKey, version: u64) -> PostText {
    PostText { title: format!("Post {key}"), content: mark(key, version), ..PostText::default() }
}

impl WordPress {
    /// Someone saves the post.
    pub(super) fn save(&self, key: &PostKey, version: u64) {
        let mut posts = lock(&self.posts);
        let post = posts.entry(key.clone()).or_default();
        post.version = post.version.max(version);
    }

    /// Someone writes an excerpt.
    pub(super) fn write_by_hand(&self, key: &PostKey) {
        let mut posts = lock(&self.posts);
        let post = posts.entry(key.clone()).or_default();
        post.by_a_person = true;
        post.excerpt = format!("A person's words after version {}.", post.version);
    }

    pub(super) fn applied(&self) -> Vec<Applied> {
        lock(&self.applied).clone()
    }

    pub(super) fn wrong(&self) -> Vec<String> {
        lock(&self.wrong).clone()
    }

    pub(super) fn stands(&self, key: &PostKey) -> Stands {
        let posts = lock(&self.posts);
        let post = posts.get(key).cloned().unwrap_or_default();
        let shows = marked(&post.excerpt).filter(|(of, _)| of == key).map(|(_, version)| version);
        Stands { version: post.version, shows, by_a_person: post.by_a_person }
    }

    fn read(&self, key: &PostKey) -> ReadPost {
        let posts = lock(&self.posts);
        let Some(post) = posts.get(key) else { return ReadPost::default() };
        let text = PostText { excerpt: post.excerpt.clone(), ..text(key, post.version) };
        ReadPost { found: true, text, ..ReadPost::default() }
    }

    /// The plugin's route: one row per post, locked for the whole write.
    fn apply(&self, write: &Write) -> WriteOutcome {
        let mut posts = lock(&self.posts);
        let post = posts.entry(write.key.clone()).or_default();
        let body = format!("{:?} {:?}", write.input_hash, write.fields);
        let fence = post.fence.clone();
        let (key, number) = (&write.key, write.write_number);
        if number < fence.number {
            return WriteOutcome::Stale { current: fence.number };
        }
        if number == fence.number || write.delivery_id == fence.delivery_id {
            if number != fence.number
                || body != fence.body
                || write.delivery_id != fence.delivery_id
            {
                self.complain(format!("{key}: write {number} came in two forms"));
            }
            let stored = fence.outcome.unwrap_or(WriteOutcome::Stale { current: number });
            return already(stored);
        }
        let now = text(&write.key, post.version).input_hash();
        if write.input_hash.is_some_and(|hash| hash != now) {
            return WriteOutcome::Changed { input_hash: now };
        }
        let (outcome, wrote) = self.write_fields(post, write);
        post.fence = Fence {
            number,
            delivery_id: write.delivery_id.clone(),
            body,
            outcome: Some(outcome.clone()),
        };
        let (key, delivery_id) = (write.key.clone(), write.delivery_id.clone());
        lock(&self.applied).push(Applied { key, number, delivery_id, wrote });
        outcome
    }

    fn write_fields(&self, post: &mut Post, write: &Write) -> (WriteOutcome, Option<u64>) {
        let (mut stored, mut kept, mut wrote) = (Vec::new(), Vec::new(), None);
        for field in &write.fields {
            let FieldValue::Text(value) = &field.value else { continue };
            let present = ContentHash::of(&[&post.excerpt]);
            let ours = post.excerpt.is_empty() || field.base == Some(present);
            if !ours {
                kept.push(Field::Excerpt);
                continue;
            }
            if post.by_a_person {
                self.complain(format!("{}: a person's words were written over", write.key));
            }
            match marked(value).filter(|(of, _)| *of == write.key) {
                Some((_, version)) => wrote = Some(version),
                None => self.complain(format!("{}: foreign words were written", write.key)),
            }
            post.excerpt.clone_from(value);
            stored.push((Field::Excerpt, ContentHash::of(&[value])));
        }
        let modified_at = copydesk_proto::Timestamp::default();
        let suggested = Vec::new();
        (WriteOutcome::Applied { stored, kept, suggested, already: false, modified_at }, wrote)
    }

    fn complain(&self, wrong: String) {
        lock(&self.wrong).push(wrong);
    }
}

fn already(outcome: WriteOutcome) -> WriteOutcome {
    match outcome {
        WriteOutcome::Applied { stored, kept, suggested, modified_at, already: _ } => {
            WriteOutcome::Applied { stored, kept, suggested, modified_at, already: true }
        }
        other
        @ (WriteOutcome::Changed { .. } | WriteOutcome::Stale { .. } | WriteOutcome::Gone) => other,
    }
}

/// One node's way to the site: takes the place of the delivery actor.
pub(super) struct Connection;

/// What a [`Connection`] starts with.
pub(super) struct Line {
    lab: Arc<Lab>,
    site: Arc<WordPress>,
    /// For [`Mistake::NumbersFromMemory`]: the number of each write, and the last of them.
    numbers: HashMap<String, u64>,
    minted: u64,
}

impl Line {
    pub(super) fn new(lab: Arc<Lab>, site: Arc<WordPress>) -> Self {
        Self { lab, site, numbers: HashMap::new(), minted: 0 }
    }

    fn with_mistakes(&mut self, write: &mut Write) {
        if makes(Mistake::NumbersFromMemory) {
            let next = self.minted + 1;
            write.write_number = *self.numbers.entry(write.delivery_id.clone()).or_insert(next);
            self.minted = self.minted.max(write.write_number);
        }
        if makes(Mistake::OneDeliveryId) {
            write.delivery_id = write.key.to_string();
        }
    }
}

impl Actor for Connection {
    type Msg = DeliveryMessage;
    type State = Line;
    type Arguments = Line;

    async fn pre_start(
        &self,
        _: ActorRef<DeliveryMessage>,
        line: Line,
    ) -> Result<Line, ActorProcessingErr> {
        Ok(line)
    }

    async fn handle(
        &self,
        _: ActorRef<DeliveryMessage>,
        message: DeliveryMessage,
        line: &mut Line,
    ) -> Result<(), ActorProcessingErr> {
        let (lab, site) = (Arc::clone(&line.lab), Arc::clone(&line.site));
        match message {
            DeliveryMessage::Read(read, reply) => {
                tokio::spawn(async move { reply.send(answer_read(&lab, &site, &read).await) });
            }
            DeliveryMessage::Write(mut write, reply) => {
                line.with_mistakes(&mut write);
                tokio::spawn(async move { reply.send(answer_write(&lab, &site, &write).await) });
            }
            DeliveryMessage::Tell(_)
            | DeliveryMessage::TellNow
            | DeliveryMessage::Status(_)
            | DeliveryMessage::Finished(_)
            | DeliveryMessage::Wake => {}
        }
        Ok(())
    }
}

async fn answer_read(lab: &Lab, site: &WordPress, read: &Read) -> Result<ReadPost, Failure> {
    lab.step(format!("read {}", read.key)).await;
    lab.linger(20).await;
    if lab.chance(lab.plan.world_percent) {
        return Err(unavailable());
    }
    Ok(site.read(&read.key))
}

async fn answer_write(lab: &Lab, site: &WordPress, write: &Write) -> Result<WriteOutcome, Failure> {
    let name = format!("write {} {}", write.key, write.write_number);
    lab.step(name.clone()).await;
    lab.linger(20).await;
    let trouble = lab.chance(lab.plan.world_percent).then(|| lab.below(4));
    match trouble {
        Some(0) => return Err(unavailable()),
        Some(1) => return Err(Failure::new(FailureClass::Retry, "site_error", "the site is busy")),
        // PHP stands still between the request and the lock, while newer writes pass.
        Some(2) => lab.linger(20_000).await,
        Some(_) | None => {}
    }
    let outcome = site.apply(write);
    lab.step(format!("{name}: {outcome:?}")).await;
    // The answer is lost after the write took effect.
    if trouble == Some(3) { Err(unavailable()) } else { Ok(outcome) }
}

fn unavailable() -> Failure {
    Failure::new(FailureClass::Unavailable, "site_unreachable", "the site does not answer")
}
