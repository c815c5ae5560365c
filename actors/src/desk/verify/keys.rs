//! Idempotency keys of a post, kept apart from its state, so that a fault in what the state
//! remembers shows.

use std::collections::HashMap;

use copydesk_core::limits::{DEDUPE_RING_MAX, IDEMPOTENCY_TTL_MS};
use copydesk_core::post::{Incoming, PostState};
use copydesk_proto::Timestamp;

/// Keys by when they were first seen, in time and in number.
#[derive(Debug, Default)]
pub(super) struct Keys {
    first: HashMap<[u8; 16], (Timestamp, usize)>,
    seen: usize,
    latest: Timestamp,
}

impl Keys {
    pub(super) fn of(state: &PostState) -> Self {
        let mut keys = Self::default();
        for seen in &state.seen {
            keys.add(seen.key, seen.at);
        }
        keys
    }

    /// Whether the post must remember the key: it forgets after 30 days by any clock it has seen,
    /// and the oldest of more than [`DEDUPE_RING_MAX`].
    pub(super) fn must_know(&self, incoming: &Incoming) -> bool {
        self.remembers(incoming.key, self.latest.max(incoming.received_at))
    }

    fn remembers(&self, key: [u8; 16], now: Timestamp) -> bool {
        self.first.get(&key).is_some_and(|(at, number)| {
            now.since_ms(*at) < IDEMPOTENCY_TTL_MS && self.seen - number < DEDUPE_RING_MAX
        })
    }

    pub(super) fn add(&mut self, key: [u8; 16], at: Timestamp) {
        self.latest = self.latest.max(at);
        if self.remembers(key, self.latest) {
            return;
        }
        self.first.insert(key, (at, self.seen));
        self.seen += 1;
        if self.first.len() > 2 * DEDUPE_RING_MAX {
            let seen = self.seen;
            self.first.retain(|_, (_, number)| seen - *number < DEDUPE_RING_MAX);
        }
    }
}
