//! What this process knows of posts that have no sequencer, so that starting one seldom reads the
//! log: where each post's history ends, and the states of those that came to rest last.
//!
//! Knowing too little costs a read of the log. Knowing something that another owner has made
//! untrue is found by the condition of the next append, after which the log is asked.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use copydesk_core::roster::Partition;
use copydesk_eventlog::Sequence;
use copydesk_proto::PostKey;
use quick_cache::sync::Cache;

use super::load::Loaded;
use crate::records::PARTITIONS;

/// States kept. Each is 1 to 2 KB, and a newsroom's busy hour touches fewer posts.
const RESTING_MAX: usize = 6_144;

/// The last decision of each post of a partition, by a hash of its key: two posts that share a hash
/// cost each other a read, no more. `None` when the log must be asked.
type Lasts = HashMap<u64, Option<Sequence>>;

/// The posts this process has met, in its log or since. 16 bytes each.
pub struct Remembered {
    hasher: RandomState,
    /// One for each partition; `None` while another node works on it and knows better.
    lasts: Mutex<Vec<Option<Lasts>>>,
    resting: Cache<PostKey, Loaded>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            lasts: Mutex::new((0..PARTITIONS).map(|_| Some(Lasts::new())).collect()),
            resting: Cache::new(RESTING_MAX),
        }
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").field("posts", &self.count()).finish_non_exhaustive()
    }
}

impl Remembered {
    /// Posts with a history.
    #[must_use]
    pub fn count(&self) -> u64 {
        let posts = self.lasts().iter().flatten().map(Lasts::len).sum::<usize>();
        u64::try_from(posts).unwrap_or(u64::MAX)
    }

    /// Forgets a partition: from now on the log is asked.
    pub(crate) fn forget(&self, partition: Partition) {
        if let Some(lasts) = self.lasts().get_mut(usize::from(partition)) {
            *lasts = None;
        }
    }

    /// From now on all posts of the partition are told to [`Self::ends_at`].
    pub(crate) fn begin(&self, partition: Partition) {
        if let Some(lasts) = self.lasts().get_mut(usize::from(partition)) {
            *lasts = Some(Lasts::new());
        }
    }

    /// The post's history ends here now, or further on. A sequencer that was stopped may say so
    /// late.
    pub(crate) fn ends_at(&self, partition: Partition, key: &PostKey, last: Sequence) {
        self.with(partition, key, |lasts, hash| {
            let known = lasts.entry(hash).or_default();
            *known = (*known).max(Some(last));
        });
    }

    /// An append is under way or went wrong: until it is known to have worked, ask the log.
    pub(crate) fn doubt(&self, partition: Partition, key: &PostKey) {
        self.with(partition, key, |lasts, hash| {
            lasts.insert(hash, None);
        });
    }

    /// Keeps the state of a post whose sequencer stops.
    pub(super) fn rest(&self, key: PostKey, state: Loaded) {
        self.resting.insert(key, state);
    }

    /// The post as it is, when that can be said without the log.
    pub(super) fn take(&self, partition: Partition, key: &PostKey) -> Option<Loaded> {
        let last = match self.with(partition, key, |lasts, hash| lasts.get(&hash).copied())? {
            None => return Some(Loaded::default()),
            Some(last) => last?,
        };
        let (_, state) = self.resting.remove(key)?;
        (state.last == last).then_some(state)
    }

    /// Looks into the partition of a post, if it is known.
    fn with<T>(
        &self,
        partition: Partition,
        key: &PostKey,
        look: impl FnOnce(&mut Lasts, u64) -> T,
    ) -> Option<T> {
        let hash = self.hasher.hash_one(key);
        let mut all = self.lasts();
        let lasts = all.get_mut(usize::from(partition))?;
        lasts.as_mut().map(|lasts| look(lasts, hash))
    }

    fn lasts(&self) -> MutexGuard<'_, Vec<Option<Lasts>>> {
        self.lasts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use copydesk_proto::PostId;

    use super::*;

    const PARTITION: Partition = 7;

    fn post(number: u64) -> PostKey {
        PostKey { site: "news".parse().unwrap(), post: PostId::number(number).unwrap() }
    }

    fn loaded(last: u64) -> Loaded {
        Loaded { last: Sequence(last), ..Loaded::default() }
    }

    #[test]
    fn a_post_never_met_has_no_history() {
        let remembered = Remembered::default();
        assert_eq!(remembered.take(PARTITION, &post(1)).unwrap().last, Sequence(0));
        assert_eq!(remembered.count(), 0);
    }

    #[test]
    fn a_state_at_rest_is_given_once() {
        let remembered = Remembered::default();
        remembered.ends_at(PARTITION, &post(1), Sequence(7));
        assert!(remembered.take(PARTITION, &post(1)).is_none(), "met, and not at rest");
        remembered.rest(post(1), loaded(7));
        assert_eq!(remembered.take(PARTITION, &post(1)).unwrap().last, Sequence(7));
        assert!(remembered.take(PARTITION, &post(1)).is_none());
    }

    #[test]
    fn a_state_that_comes_to_rest_late_is_not_believed() {
        let remembered = Remembered::default();
        remembered.ends_at(PARTITION, &post(1), Sequence(9));
        remembered.rest(post(1), loaded(7));
        assert!(remembered.take(PARTITION, &post(1)).is_none());
    }

    #[test]
    fn of_a_partition_that_was_lost_nothing_is_known() {
        let remembered = Remembered::default();
        remembered.ends_at(PARTITION, &post(1), Sequence(7));
        remembered.rest(post(1), loaded(7));
        remembered.forget(PARTITION);
        assert!(remembered.take(PARTITION, &post(1)).is_none(), "nor that it has no history");
        assert_eq!(remembered.count(), 0);
        remembered.begin(PARTITION);
        remembered.ends_at(PARTITION, &post(1), Sequence(9));
        remembered.ends_at(PARTITION, &post(1), Sequence(7));
        remembered.rest(post(1), loaded(7));
        assert!(
            remembered.take(PARTITION, &post(1)).is_none(),
            "a sequencer of the former life speaks late"
        );
    }

    #[test]
    fn in_doubt_the_log_is_asked() {
        let remembered = Remembered::default();
        remembered.ends_at(PARTITION, &post(1), Sequence(7));
        remembered.rest(post(1), loaded(7));
        remembered.doubt(PARTITION, &post(1));
        assert!(remembered.take(PARTITION, &post(1)).is_none());
        assert_eq!(remembered.count(), 1);
    }
}
