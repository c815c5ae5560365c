//! Which posts are busy, idle, parked or ready. Plain bookkeeping, no actors and no clock.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use copydesk_eventlog::Sequence;
use copydesk_proto::{PostKey, Timestamp};

/// Posts without a sequencer that have work to come back to.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Each with the intake records it has not read, and its hour if it has one.
    parked: HashMap<PostKey, Parked>,
    /// The parked ones with an hour, earliest first.
    hours: BTreeSet<(Timestamp, PostKey)>,
    /// Ready to go on.
    ready: VecDeque<PostKey>,
    queued: HashSet<PostKey>,
}

#[derive(Debug, Clone, Copy)]
struct Parked {
    behind: Option<Sequence>,
    until: Option<Timestamp>,
}

impl Shelf {
    /// Parks a post until its hour, or until an operator acts.
    pub(super) fn park(
        &mut self,
        key: PostKey,
        behind: Option<Sequence>,
        until: Option<Timestamp>,
    ) {
        self.take(&key);
        if let Some(until) = until {
            self.hours.insert((until, key.clone()));
        }
        self.parked.insert(key, Parked { behind, until });
    }

    /// Takes a post off the shelf; `Some` when it was there, with what it is behind.
    pub(super) fn take(&mut self, key: &PostKey) -> Option<Option<Sequence>> {
        let Parked { behind, until } = self.parked.remove(key)?;
        if let Some(until) = until {
            self.hours.remove(&(until, key.clone()));
        }
        self.queued.remove(key);
        Some(behind)
    }

    /// Makes every post ready whose hour has come.
    pub(super) fn wake_due(&mut self, now: Timestamp) {
        while let Some((until, key)) = self.hours.first().cloned().filter(|(at, _)| *at <= now) {
            self.hours.remove(&(until, key.clone()));
            if let Some(parked) = self.parked.get_mut(&key) {
                parked.until = None;
            }
            self.queue(key);
        }
    }

    /// Makes every parked post ready.
    pub(super) fn wake_all(&mut self) {
        let mut keys: Vec<PostKey> = self.parked.keys().cloned().collect();
        // A map has no order of its own, and a simulation must be the same every time.
        keys.sort_unstable();
        keys.into_iter().for_each(|key| self.queue(key));
    }

    fn queue(&mut self, key: PostKey) {
        if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// The next ready post that is still on the shelf.
    pub(super) fn next_ready(&mut self) -> Option<(PostKey, Option<Sequence>)> {
        while let Some(key) = self.ready.pop_front() {
            if !self.queued.contains(&key) {
                continue;
            }
            if let Some(behind) = self.take(&key) {
                return Some((key, behind));
            }
        }
        None
    }

    /// Posts on the shelf, ready ones included.
    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }

    /// Posts that are ready.
    pub(super) fn ready_len(&self) -> usize {
        self.queued.len()
    }
}
