//! What everything in one simulation shares: the dice, the trace, and the hour of the next crash.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Display;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;

use super::clock;
use super::plan::Plan;

/// Shared by everything in one simulation.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) plan: Plan,
    dice: Mutex<StdRng>,
    trace: Mutex<Vec<String>>,
    /// Steps until the node dies; counts down.
    steps_left: AtomicU64,
    dead: Notify,
}

impl Lab {
    pub(super) fn new(plan: Plan, seed: u64) -> Self {
        let dice = Mutex::new(StdRng::seed_from_u64(seed ^ 0x51_4D));
        let (trace, steps_left) = (Mutex::default(), AtomicU64::new(u64::MAX));
        Self { plan, dice, trace, steps_left, dead: Notify::new() }
    }

    /// Whether a thing that happens so many times in a hundred happens now.
    pub(super) fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        lock(&self.dice).random_range(0..end)
    }

    /// Some time passes, up to this.
    pub(super) async fn linger(&self, ms_max: u64) {
        tokio::time::sleep(Duration::from_millis(self.below(ms_max + 1))).await;
    }

    /// A line of the trace. Only what the seed decides may be in it: no random id.
    pub(super) fn note(&self, what: impl Display) {
        lock(&self.trace).push(format!("{:>8} {what}", clock::virtual_ms()));
    }

    pub(super) fn trace(&self) -> Vec<String> {
        lock(&self.trace).clone()
    }

    /// The same for equal traces, in every process.
    pub(super) fn trace_hash(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        lock(&self.trace).hash(&mut hash);
        hash.finish()
    }

    /// The node dies at this step from now on; `None`: it lives.
    pub(super) fn crash_after(&self, steps: Option<u64>) {
        self.steps_left.store(steps.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A place where the node may die. Nothing returns from the step at which it does.
    pub(super) async fn step(&self, what: String) {
        self.note(&what);
        if self.steps_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.note(format_args!("CRASH at: {what}"));
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Returns when the node dies.
    pub(super) async fn died(&self) {
        self.dead.notified().await;
    }
}

/// One thread, so nobody else holds it; a panic elsewhere is that test's own failure.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
