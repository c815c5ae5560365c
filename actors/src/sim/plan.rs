//! What one seed means.

use copydesk_core::routes::Coalesce;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The sites; posts of both have the same numbers, and events the same keys.
pub(super) const SITES: [&str; 2] = ["news", "blog"];

/// One simulated world.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Posts of each site.
    pub(super) posts: u64,
    /// Saves of each post.
    pub(super) versions: u64,
    /// Nodes on the one log at the same time; nothing but the log keeps them apart.
    pub(super) owners: usize,
    pub(super) coalesce: Coalesce,
    /// How long a gap in the sequence is waited for.
    pub(super) gap_wait_ms: u64,
    /// Events that do not carry the text, in a hundred.
    pub(super) bare_percent: u64,
    /// Appends that go wrong in one way or another, in a hundred.
    pub(super) log_percent: u64,
    /// Reads of the log that fail, in a thousand.
    pub(super) read_permille: u64,
    /// Requests to the AI service and to WordPress that go wrong, in a hundred.
    pub(super) world_percent: u64,
    /// Steps of each life that ends in a crash.
    pub(super) crashes: Vec<u64>,
    /// Times a person writes an excerpt of their own.
    pub(super) people: u64,
    /// Jumps of the wall clock, in milliseconds.
    pub(super) jumps_ms: Vec<i64>,
    /// Whether a subscriber is told how events end.
    pub(super) told: bool,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let latest = Coalesce::Latest { quiet_ms: 300, max_wait_ms: 1_500 };
        let crashes = dice.random_range(0..4_usize);
        let jumps = dice.random_range(0..4_usize);
        let minutes = |dice: &mut StdRng| dice.random_range(-20_i64..=20) * 60_000 + 1_234;
        Self {
            posts: dice.random_range(1..=3),
            versions: dice.random_range(2..=6),
            owners: if dice.random_range(0..4) == 0 { 2 } else { 1 },
            coalesce: if dice.random_range(0..3) == 0 { latest } else { Coalesce::Every },
            gap_wait_ms: if dice.random_range(0..2) == 0 { 0 } else { 200 },
            bare_percent: [0, 30, 100][dice.random_range(0..3)],
            log_percent: [0, 5, 20][dice.random_range(0..3)],
            read_permille: [0, 5][dice.random_range(0..2)],
            world_percent: [0, 10, 30][dice.random_range(0..3)],
            crashes: (0..crashes).map(|_| dice.random_range(1..150)).collect(),
            people: dice.random_range(0..3),
            jumps_ms: (0..jumps).map(|_| minutes(&mut dice)).collect(),
            // Not by the dice: seeds that found something before there were subscribers stay as they were.
            told: seed % 3 == 1,
        }
    }

    /// One post of each site, saved twice, and nothing goes wrong.
    pub(super) fn calm() -> Self {
        Self {
            posts: 1,
            versions: 2,
            owners: 1,
            coalesce: Coalesce::Every,
            gap_wait_ms: 0,
            bare_percent: 0,
            log_percent: 0,
            read_permille: 0,
            world_percent: 0,
            crashes: Vec::new(),
            people: 0,
            jumps_ms: Vec::new(),
            told: false,
        }
    }

    /// The same world with a wall clock that does not jump.
    pub(super) fn without_jumps(mut self) -> Self {
        self.jumps_ms.clear();
        self
    }
}
