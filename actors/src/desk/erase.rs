//! Erasing one post's content from the log: texts that came in, answers, drafts of writes, and what
//! other sides said. What stays: that there were events, when, and how they ended.
//!
//! Everything open of the post is dropped, its state is written down without words, an empty
//! webhook takes the place of the newest one (a subject's last record cannot be trimmed), and the
//! rest is trimmed. So are the notices about it to subscribers. Copies elsewhere (an archive, a backup, WordPress itself) are not touched.

use std::collections::BTreeSet;
use std::time::Duration;

use copydesk_core::post::{PostEvent, Rejection};
use copydesk_eventlog::{AppendError, ReadError, Sequence};
use copydesk_proto::{PostKey, SubscriberId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Desk, OperateError, query};
use crate::World;
use crate::records::{Decision, Intake, Subjects};
use crate::sequencer::Operation;

/// Longest wait for calls under way to end, and for the empty webhook to be considered.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(100);

/// Decisions read at a time.
const PAGE: usize = 64;

/// Why a post was not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Nothing is known of the post.
    #[error("there is no such post")]
    NotFound,
    /// A call or a write of it did not end in time.
    #[error("work on the post did not end in time; hold it, then try again")]
    Busy,
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The log did not take it.
    #[error("the log did not take it")]
    Append(#[from] AppendError),
    /// The newest record is not readable by this release.
    #[error("the post's newest record is not readable by this release")]
    Unreadable,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

impl Desk {
    /// Erases a post's content; done when this returns.
    ///
    /// # Errors
    /// [`EraseError`]; it may be half done then, and is finished by another call.
    pub async fn erase(&self, post: &PostKey, by: &str, reason: &str) -> Result<(), EraseError> {
        erase(self, post, by, reason).await
    }
}

pub(super) async fn erase(
    desk: &Desk,
    post: &PostKey,
    by: &str,
    reason: &str,
) -> Result<(), EraseError> {
    let log = &desk.world().log;
    let subjects = Subjects::of(post);
    let newest = log.last(&subjects.intake).await?.ok_or(EraseError::NotFound)?;
    let newest = Intake::read(&newest).map_err(|_| EraseError::Unreadable)?;
    // First the empty webhook: once it is considered, nothing with words is still to come.
    let empty = Intake {
        event_id: Uuid::now_v7().to_string(),
        event_type: "copydesk.erased".to_owned(),
        idempotency_key: format!("erased-{}", Uuid::now_v7()),
        body_hash: Sha256::digest(b"").into(),
        version: None,
        text_hash: None,
        received_at: World::now(),
        trace: None,
        body: bytes::Bytes::new(),
        route: None,
        again: false,
        replay: None,
        ..newest
    };
    let empty = log.append(empty.record(post)).await?.sequence();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if desk.status().await.is_none() {
            return Err(EraseError::Stopping);
        }
        let erase = Operation::Erase { by: by.to_owned(), reason: reason.to_owned() };
        if is_considered(desk, post, empty).await? {
            match desk.operate(post.clone(), erase).await {
                Ok(()) => break,
                Err(OperateError::Rejected(Rejection::Busy) | OperateError::NoAnswer) => {}
                Err(OperateError::Rejected(_)) => return Err(EraseError::Unreadable),
            }
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(EraseError::Busy);
        }
        tokio::time::sleep(PAUSE).await;
    }
    let mut after = Sequence(0);
    let mut erased = None;
    let mut told: BTreeSet<SubscriberId> = world_subscribers(desk);
    loop {
        let page = log.history(&subjects.decisions, after, PAGE).await?;
        for record in &page {
            after = record.sequence;
            let decision = Decision::read(record).map_err(|_| EraseError::Unreadable)?;
            for event in decision.events {
                if let PostEvent::Erased { .. } = event {
                    erased = Some(record.sequence);
                } else if let PostEvent::NoticeOwed { to, .. } = event {
                    told.extend(to);
                }
            }
        }
        if page.len() < PAGE {
            break;
        }
    }
    // Before the post's own records go, which say whom it was told to.
    for subscriber in told.into_iter().filter(|_| post.subscriber().is_none()) {
        let notices = post.notices_to(subscriber);
        match Box::pin(erase(desk, &notices, by, reason)).await {
            Ok(()) | Err(EraseError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    log.trim(&subjects.decisions, erased.ok_or(EraseError::Unreadable)?).await?;
    log.trim(&subjects.intake, empty).await?;
    Ok(())
}

fn world_subscribers(desk: &Desk) -> BTreeSet<SubscriberId> {
    let known = desk.world().subscribers.standings();
    known.into_iter().map(|standing| standing.spec.id).collect()
}

/// Whether the post's decisions cover the empty webhook, and so all before it.
pub(super) async fn is_considered(
    desk: &Desk,
    post: &PostKey,
    empty: Sequence,
) -> Result<bool, ReadError> {
    let state = query::state(&*desk.world().log, post).await?;
    Ok(state.is_some_and(|state| state.considered.0 >= empty.0))
}
