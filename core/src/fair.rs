//! Whose turn it is: a queue in which live work goes before backfill, and sites (or whatever else
//! has items) take turns.
//!
//! - Of one site and one lane, first in is first out.
//! - Sites of a lane take turns, one item each, so that one site's import cannot hold up another's.
//! - Live work goes first; but of every [`BACKFILL_EVERY`] turns one is backfill's when both wait,
//!   so that neither starves.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use copydesk_proto::SiteId;

use crate::post::Lane;

/// Of so many turns one goes to backfill while live work waits: 6 % of the capacity, under the
/// 10 % by which an import may slow another site's live posts.
pub const BACKFILL_EVERY: u32 = 16;

/// The queue.
#[derive(Debug)]
pub struct FairQueue<T, K = SiteId> {
    live: Turns<T, K>,
    backfill: Turns<T, K>,
    /// Live turns since backfill's last one.
    live_turns: u32,
}

impl<T, K> Default for FairQueue<T, K> {
    fn default() -> Self {
        Self { live: Turns::default(), backfill: Turns::default(), live_turns: 0 }
    }
}

impl<T, K: Clone + Eq + Hash> FairQueue<T, K> {
    /// Adds an item behind its site's others of the same lane.
    pub fn push(&mut self, site: &K, lane: Lane, item: T) {
        match lane {
            Lane::Live => self.live.push(site, item),
            Lane::Backfill => self.backfill.push(site, item),
        }
    }

    fn next_is_backfill(&self) -> bool {
        !self.backfill.is_empty() && (self.live.is_empty() || self.live_turns + 1 >= BACKFILL_EVERY)
    }

    /// The item whose turn it is.
    #[must_use]
    pub fn peek(&self) -> Option<&T> {
        self.peek_of(|_| true)
    }

    /// What [`Self::pop_of`] would take.
    #[must_use]
    pub fn peek_of(&self, may: impl Fn(&K) -> bool) -> Option<&T> {
        let (live, backfill) = (self.live.peek_of(&may), self.backfill.peek_of(&may));
        if self.next_is_backfill() { backfill.or(live) } else { live.or(backfill) }
    }

    /// Takes the item whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        self.pop_of(|_| true)
    }

    /// The same among the sites that may have a turn; the others keep their places.
    pub fn pop_of(&mut self, may: impl Fn(&K) -> bool) -> Option<T> {
        if self.next_is_backfill()
            && let Some(item) = self.backfill.pop_of(&may)
        {
            self.live_turns = 0;
            return Some(item);
        }
        if let Some(item) = self.live.pop_of(&may) {
            self.live_turns = self.live_turns.saturating_add(1);
            return Some(item);
        }
        self.backfill.pop_of(&may)
    }

    /// Items that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.live.len + self.backfill.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Sites in turn. A site leaves the round with its last item, so this holds what waits and no more.
#[derive(Debug)]
struct Turns<T, K> {
    items: HashMap<K, VecDeque<T>>,
    round: VecDeque<K>,
    len: usize,
}

impl<T, K> Default for Turns<T, K> {
    fn default() -> Self {
        Self { items: HashMap::new(), round: VecDeque::new(), len: 0 }
    }
}

impl<T, K: Clone + Eq + Hash> Turns<T, K> {
    fn push(&mut self, site: &K, item: T) {
        self.len += 1;
        if let Some(items) = self.items.get_mut(site) {
            items.push_back(item);
            return;
        }
        self.items.insert(site.clone(), VecDeque::from([item]));
        self.round.push_back(site.clone());
    }

    fn peek_of(&self, may: impl Fn(&K) -> bool) -> Option<&T> {
        self.items.get(self.round.iter().find(|site| may(site))?)?.front()
    }

    fn pop_of(&mut self, may: impl Fn(&K) -> bool) -> Option<T> {
        let place = self.round.iter().position(may)?;
        let site = self.round.remove(place)?;
        let items = self.items.get_mut(&site)?;
        let item = items.pop_front()?;
        self.len -= 1;
        if items.is_empty() {
            self.items.remove(&site);
        } else {
            self.round.push_back(site);
        }
        Some(item)
    }

    const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use proptest::prelude::*;

    use super::*;

    fn site(name: &str) -> SiteId {
        name.parse().unwrap()
    }

    #[test]
    fn an_import_does_not_hold_up_another_site() {
        let mut queue = FairQueue::default();
        (0..1_000).for_each(|n| queue.push(&site("import"), Lane::Live, n));
        queue.push(&site("news"), Lane::Live, 9_999);
        let place = (0..).find(|_| queue.pop() == Some(9_999));
        assert_eq!(place, Some(1), "the second turn");
    }

    #[test]
    fn a_site_that_may_not_keeps_its_place() {
        let mut queue = FairQueue::default();
        for (name, n) in [("a", 1), ("b", 2), ("a", 3)] {
            queue.push(&site(name), Lane::Live, n);
        }
        let others = |id: &SiteId| *id != site("a");
        assert_eq!((queue.peek_of(others), queue.peek()), (Some(&2), Some(&1)));
        assert_eq!(queue.pop_of(others), Some(2));
        assert_eq!(queue.peek_of(others), None);
        assert_eq!(queue.pop_of(others), None);
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(1), Some(3), None));
    }

    #[test]
    fn backfill_gets_its_turns_while_live_work_waits() {
        let mut queue = FairQueue::default();
        for n in 0..160 {
            queue.push(&site("news"), Lane::Live, (Lane::Live, n));
            queue.push(&site("news"), Lane::Backfill, (Lane::Backfill, n));
        }
        let turns: Vec<Lane> = (0..160).map(|_| queue.pop().unwrap().0).collect();
        let backfill = turns.iter().filter(|lane| **lane == Lane::Backfill).count();
        assert_eq!(backfill, 10);
        assert_eq!(turns.iter().position(|lane| *lane == Lane::Backfill), Some(15));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_order_holds_and_nobody_waits_for_more_than_a_round(
            acts in prop::collection::vec((0_usize..4, any::<bool>(), 0_u8..3), 1..400),
        ) {
            let sites = [site("a"), site("b"), site("c"), site("d")];
            let mut queue = FairQueue::default();
            let (mut pushed, mut popped) = (Vec::new(), Vec::new());
            for (number, (which, live, pops)) in acts.into_iter().enumerate() {
                let lane = if live { Lane::Live } else { Lane::Backfill };
                queue.push(&sites[which], lane, (which, lane, number));
                pushed.push((which, lane, number));
                for _ in 0..pops {
                    let next = queue.peek().copied();
                    let item = queue.pop();
                    prop_assert_eq!(next, item);
                    popped.extend(item);
                }
            }
            while let Some(item) = queue.pop() {
                popped.push(item);
            }
            prop_assert!(queue.is_empty());
            for which in 0..sites.len() {
                for lane in [Lane::Live, Lane::Backfill] {
                    let of = |items: &[(usize, Lane, usize)]| -> Vec<usize> {
                        let own = items.iter().filter(|(w, l, _)| (*w, *l) == (which, lane));
                        own.map(|(_, _, number)| *number).collect()
                    };
                    prop_assert_eq!(of(&pushed), of(&popped));
                }
            }
        }

        /// Whoever waits in a lane is served once before anyone is served twice.
        #[test]
        fn a_round_serves_every_site_once(counts in prop::collection::vec(1_usize..50, 1..5)) {
            let sites = ["a", "b", "c", "d"];
            let mut queue = FairQueue::default();
            for (which, count) in counts.iter().enumerate() {
                (0..*count).for_each(|_| queue.push(&site(sites[which]), Lane::Live, which));
            }
            let mut left = counts;
            while left.iter().any(|n| *n > 0) {
                let waiting: Vec<usize> =
                    (0..left.len()).filter(|which| left[*which] > 0).collect();
                let mut round: Vec<usize> =
                    waiting.iter().map(|_| queue.pop().unwrap()).collect();
                round.iter().for_each(|which| left[*which] -= 1);
                round.sort_unstable();
                prop_assert_eq!(round, waiting);
            }
        }
    }
}
