//! The message ids of the last [`DUPLICATE_WINDOW`], in memory.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::settings::WINDOW_IDS_MAX;
use crate::{DUPLICATE_WINDOW, MessageId, Sequence};

#[derive(Default)]
pub(super) struct Window {
    sequences: HashMap<MessageId, Sequence>,
    /// When each id is forgotten, soonest first.
    ends: VecDeque<(Instant, MessageId)>,
}

impl Window {
    /// Where the id was stored.
    pub(super) fn get(&self, id: MessageId) -> Option<Sequence> {
        self.sequences.get(&id).copied()
    }

    pub(super) fn is_full(&self) -> bool {
        self.sequences.len() >= WINDOW_IDS_MAX
    }

    /// Remembers an id. Called by age, oldest first.
    pub(super) fn insert(&mut self, id: MessageId, at: Sequence, age: Duration, now: Instant) {
        self.sequences.insert(id, at);
        self.ends.push_back((now + DUPLICATE_WINDOW.saturating_sub(age), id));
    }

    /// Forgets what is older than the window.
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some((end, id)) = self.ends.front()
            && *end < now
        {
            self.sequences.remove(id);
            self.ends.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_remembered_for_the_window_and_then_forgotten() {
        let (mut window, start) = (Window::default(), Instant::now());
        let [old, new] = [MessageId([1; 16]), MessageId([2; 16])];
        window.insert(old, Sequence(1), Duration::from_secs(100), start);
        window.insert(new, Sequence(2), Duration::ZERO, start);
        window.forget(start + Duration::from_secs(20));
        assert_eq!((window.get(old), window.get(new)), (Some(Sequence(1)), Some(Sequence(2))));
        window.forget(start + Duration::from_secs(21));
        assert_eq!((window.get(old), window.get(new)), (None, Some(Sequence(2))));
        window.forget(start + DUPLICATE_WINDOW + Duration::from_secs(1));
        assert_eq!(window.get(new), None);
    }
}
