//! What posts wait for, and since when: for the age of the oldest waiting event by reason.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use copydesk_core::post::Wait;
use copydesk_proto::{PostKey, Timestamp};

/// Posts with unfinished work. An entry has about 100 bytes, and the backlog's limit bounds them.
/// An entry stays while its post is parked without an actor.
#[derive(Debug, Default)]
pub struct Waits {
    hasher: RandomState,
    posts: Mutex<Posts>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    wait: Wait,
    /// When its oldest unfinished event was received.
    oldest: Timestamp,
    /// Since when it waits for just this.
    since: SystemTime,
}

#[derive(Debug, Default)]
struct Posts {
    by_post: HashMap<u64, Entry>,
    oldest: BTreeSet<(Wait, Timestamp, u64)>,
}

impl Waits {
    /// The post waits for this, its oldest unfinished event since then; `None`: for nothing.
    pub fn set(&self, post: &PostKey, waits: Option<(Wait, Timestamp)>) {
        let key = self.hasher.hash_one(post);
        let mut posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        let Posts { by_post, oldest } = &mut *posts;
        let before = by_post.get(&key).copied();
        if before.map(|b| (b.wait, b.oldest)) == waits {
            return;
        }
        if let Some(Entry { wait, oldest: at, .. }) = before {
            oldest.remove(&(wait, at, key));
            by_post.remove(&key);
        }
        if let Some((wait, at)) = waits {
            let same = before.filter(|before| before.wait == wait);
            let since = same.map_or_else(SystemTime::now, |before| before.since);
            by_post.insert(key, Entry { wait, oldest: at, since });
            oldest.insert((wait, at, key));
        }
    }

    /// What the post waits for, and since when it waits for just this.
    #[must_use]
    pub fn of(&self, post: &PostKey) -> Option<(Wait, SystemTime)> {
        let key = self.hasher.hash_one(post);
        let posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        posts.by_post.get(&key).map(|entry| (entry.wait, entry.since))
    }

    /// For each reason, how many posts wait for it and since when the oldest event does.
    #[must_use]
    pub fn oldest(&self) -> Vec<(Wait, u64, Option<Timestamp>)> {
        let posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |wait: Wait| {
            let (first, last) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
            let mut all = posts.oldest.range((wait, first, 0)..=(wait, last, u64::MAX));
            let since = all.next().map(|(_, since, _)| *since);
            let more = u64::try_from(all.count()).unwrap_or(u64::MAX);
            (wait, u64::from(since.is_some()) + more, since)
        };
        Wait::ALL.map(of).into()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use super::*;

    #[test]
    fn the_oldest_of_each_reason_is_known() {
        let waits = Waits::default();
        let post = |n: u32| -> PostKey { format!("news/{n}").parse().unwrap() };
        let of = |wait| waits.oldest().into_iter().find(|(w, ..)| *w == wait).unwrap();
        waits.set(&post(1), Some((Wait::Hold, Timestamp(30))));
        waits.set(&post(2), Some((Wait::Hold, Timestamp(20))));
        waits.set(&post(3), Some((Wait::Retry, Timestamp(10))));
        assert_eq!(of(Wait::Hold), (Wait::Hold, 2, Some(Timestamp(20))));
        waits.set(&post(2), Some((Wait::Retry, Timestamp(20))));
        assert_eq!(of(Wait::Hold), (Wait::Hold, 1, Some(Timestamp(30))));
        assert_eq!(of(Wait::Retry), (Wait::Retry, 2, Some(Timestamp(10))));
        waits.set(&post(3), None);
        waits.set(&post(9), None);
        assert_eq!(of(Wait::Retry), (Wait::Retry, 1, Some(Timestamp(20))));
        assert_eq!(of(Wait::Budget), (Wait::Budget, 0, None));
    }
}
