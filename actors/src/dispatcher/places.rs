//! How many posts may be busy at once, and whose they are.

use std::collections::HashMap;
use std::sync::Arc;

use copydesk_proto::PostKey;

use super::posts::Party;
use crate::subscribers::Roster;

/// The places of busy posts.
pub(super) struct Places {
    /// Those that sites share.
    pub(super) max: usize,
    subscribers: Arc<Roster>,
    of_sites: usize,
    of_subscribers: usize,
    taken: HashMap<Party, usize>,
}

impl Places {
    pub(super) fn new(max: usize, subscribers: Arc<Roster>) -> Self {
        Self { max, subscribers, of_sites: 0, of_subscribers: 0, taken: HashMap::new() }
    }

    /// Posts that are busy, notices included.
    pub(super) const fn busy(&self) -> usize {
        self.of_sites + self.of_subscribers
    }

    /// Whether another post of the party may be busy. One site alone leaves a quarter of the places
    /// to the others, so that their posts start at once while it imports. A subscriber has places
    /// of its own.
    pub(super) fn has_room(&self, party: &Party) -> bool {
        let taken = self.taken.get(party).copied().unwrap_or(0);
        match party {
            Party::Site(_) => self.of_sites < self.max && taken < (self.max * 3).div_ceil(4),
            Party::Subscriber(id) => taken < self.subscribers.places(id),
        }
    }

    pub(super) fn take(&mut self, key: &PostKey) {
        *self.count(key) += 1;
        *self.taken.entry(Party::of(key)).or_default() += 1;
    }

    pub(super) fn give_back(&mut self, key: &PostKey) {
        *self.count(key) -= 1;
        let party = Party::of(key);
        if let Some(taken) = self.taken.get_mut(&party) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(&party);
            }
        }
    }

    fn count(&mut self, key: &PostKey) -> &mut usize {
        if key.subscriber().is_some() { &mut self.of_subscribers } else { &mut self.of_sites }
    }
}
