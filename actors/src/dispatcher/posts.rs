//! Which posts are busy, idle, parked or ready. Plain bookkeeping, no actors and no clock.

use std::collections::{BTreeSet, HashMap};

use copydesk_core::fair::FairQueue;
use copydesk_core::post::Lane;
use copydesk_eventlog::Sequence;
use copydesk_proto::{PostKey, SiteId, SubscriberId, Timestamp};

/// Posts without a sequencer that have work to come back to.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Each with the intake records it has not read, and its hour if it has one.
    parked: HashMap<PostKey, Parked>,
    /// The parked ones with an hour, earliest first.
    hours: BTreeSet<(Timestamp, PostKey)>,
    /// Ready to go on; parties take turns, live work first.
    ready: FairQueue<PostKey, Party>,
    posts_queued: usize,
    notices_queued: usize,
}

/// Who has places of their own: a site its posts', a subscriber its notices'.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Party {
    Site(SiteId),
    Subscriber(SubscriberId),
}

impl Party {
    pub(super) fn of(key: &PostKey) -> Self {
        match key.subscriber() {
            Some(subscriber) => Self::Subscriber(subscriber.clone()),
            None => Self::Site(key.site.clone()),
        }
    }
}

/// A post that goes on.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) key: PostKey,
    pub(super) behind: Option<Sequence>,
    pub(super) lane: Lane,
}

#[derive(Debug, Clone, Copy)]
struct Parked {
    behind: Option<Sequence>,
    until: Option<Timestamp>,
    lane: Lane,
    /// Its key is in `ready`. A key there of a post that is not queued is out of date.
    is_queued: bool,
}

impl Shelf {
    /// Parks a post until its hour, or until an operator acts.
    pub(super) fn park(
        &mut self,
        key: PostKey,
        behind: Option<Sequence>,
        until: Option<Timestamp>,
        lane: Lane,
    ) {
        self.take(&key);
        if let Some(until) = until {
            self.hours.insert((until, key.clone()));
        }
        self.parked.insert(key, Parked { behind, until, lane, is_queued: false });
    }

    /// Takes a post off the shelf; `Some` when it was there, with what it is behind.
    pub(super) fn take(&mut self, key: &PostKey) -> Option<Option<Sequence>> {
        let Parked { behind, until, lane: _, is_queued } = self.parked.remove(key)?;
        if let Some(until) = until {
            self.hours.remove(&(until, key.clone()));
        }
        if is_queued {
            *self.queued(key) -= 1;
        }
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

    /// Parks a post that goes on as soon as there is room for it. One that is there already takes
    /// the further record in.
    pub(super) fn park_ready(&mut self, key: PostKey, behind: Sequence, lane: Lane) {
        match self.parked.get_mut(&key) {
            Some(parked) => parked.behind = parked.behind.max(Some(behind)),
            None => self.park(key.clone(), Some(behind), None, lane),
        }
        self.queue(key);
    }

    /// Forgets the posts that are not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&PostKey) -> bool) {
        let unwanted: Vec<PostKey> =
            self.parked.keys().filter(|key| !wanted(key)).cloned().collect();
        for key in &unwanted {
            self.take(key);
        }
    }

    fn queue(&mut self, key: PostKey) {
        let Some(parked) = self.parked.get_mut(&key) else { return };
        if std::mem::replace(&mut parked.is_queued, true) {
            return;
        }
        let lane = parked.lane;
        *self.queued(&key) += 1;
        self.ready.push(&Party::of(&key), lane, key);
    }

    /// How many such are queued.
    fn queued(&mut self, key: &PostKey) -> &mut usize {
        if key.subscriber().is_none() { &mut self.posts_queued } else { &mut self.notices_queued }
    }

    /// The next ready post that is still on the shelf, of the parties that may have another.
    pub(super) fn next_ready(&mut self, may: impl Fn(&Party) -> bool) -> Option<Ready> {
        while let Some(key) = self.ready.pop_of(&may) {
            let Some(&Parked { is_queued: true, lane, .. }) = self.parked.get(&key) else {
                continue;
            };
            if let Some(behind) = self.take(&key) {
                return Some(Ready { key, behind, lane });
            }
        }
        None
    }

    /// Posts on the shelf, ready ones included.
    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }

    /// Posts that are ready, without notices.
    pub(super) fn ready_posts_len(&self) -> usize {
        self.posts_queued
    }

    /// Posts that are ready.
    pub(super) fn ready_len(&self) -> usize {
        self.posts_queued + self.notices_queued
    }
}
