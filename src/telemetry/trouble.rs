//! Trouble with the collector: counted, said once, and said to be over once.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use tracing::{info, warn};

/// How long a collector that did not take a batch is left alone, and twice as long after each
/// further one: batches that nobody takes cost as much to make as others.
const PAUSE: Duration = Duration::from_secs(5);

/// It is asked at least so often, so that a new one gets its first spans within a minute.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What could not be handed over.
#[derive(Debug)]
pub(super) struct Trouble {
    /// `spans` or `metrics`.
    what: &'static str,
    is_on: AtomicBool,
    started: Instant,
    /// The end of the pause, in milliseconds since the start.
    paused_until_ms: AtomicU64,
    /// How long the next pause will be.
    pause_ms: AtomicU64,
    failures: AtomicU64,
    lost: AtomicU64,
}

impl Trouble {
    pub(super) fn none(what: &'static str) -> Arc<Self> {
        Arc::new(Self {
            what,
            is_on: AtomicBool::new(false),
            started: Instant::now(),
            paused_until_ms: AtomicU64::new(0),
            pause_ms: AtomicU64::new(ms(PAUSE)),
            failures: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    /// A batch of so many was not taken.
    pub(super) fn failed(&self, lost: usize, error: &dyn Display) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.lose(lost);
        // Of batches that fail together, the first one sets the pause.
        if !self.is_pausing() {
            let pause_ms = self.pause_ms.load(Ordering::Relaxed);
            self.pause_ms.store((2 * pause_ms).min(ms(PAUSE_MAX)), Ordering::Relaxed);
            let until_ms = ms(self.started.elapsed()).saturating_add(pause_ms);
            self.paused_until_ms.store(until_ms, Ordering::Relaxed);
        }
        if !self.is_on.swap(true, Ordering::Relaxed) {
            let what = self.what;
            warn!(%error, "the collector does not take {what}; they are lost until it does");
        }
    }

    /// Whether the collector is left alone for the moment.
    pub(super) fn is_pausing(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
            && ms(self.started.elapsed()) < self.paused_until_ms.load(Ordering::Relaxed)
    }

    /// So many found no room while the collector was slow.
    pub(super) fn lose(&self, lost: usize) {
        self.lost.fetch_add(u64::try_from(lost).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A batch was taken.
    pub(super) fn worked(&self) {
        if self.is_on.load(Ordering::Relaxed) && self.is_on.swap(false, Ordering::Relaxed) {
            self.pause_ms.store(ms(PAUSE), Ordering::Relaxed);
            let lost = self.lost.load(Ordering::Relaxed);
            info!(lost, "the collector takes {} again", self.what);
        }
    }

    /// Shows the counts.
    pub(super) fn observe(self: &Arc<Self>, meter: &Meter) {
        let show = |name: &'static str, what, of: fn(&Self) -> &AtomicU64| {
            let trouble = Arc::clone(self);
            let counter = meter.u64_observable_counter(name).with_description(what);
            let _registered = counter
                .with_callback(move |observer| {
                    let kind = KeyValue::new("copydesk.kind", trouble.what);
                    observer.observe(of(&trouble).load(Ordering::Relaxed), &[kind]);
                })
                .build();
        };
        let what = "Batches that the collector did not take";
        show("copydesk.telemetry.failures", what, |trouble| &trouble.failures);
        let what = "Spans and metrics that were lost on the way to the collector";
        show("copydesk.telemetry.lost", what, |trouble| &trouble.lost);
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.failures.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_fails_is_left_alone_until_it_works() {
        let trouble = Trouble::none("spans");
        assert!(!trouble.is_pausing());
        trouble.failed(3, &"refused");
        assert!(trouble.is_pausing());
        trouble.worked();
        assert!(!trouble.is_pausing());
        assert_eq!(trouble.counts(), (1, 3));
    }

    #[test]
    fn each_further_failure_doubles_the_pause_up_to_a_minute() {
        let trouble = Trouble::none("spans");
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pauses.push(trouble.pause_ms.load(Ordering::Relaxed));
            trouble.failed(1, &"refused");
            trouble.failed(1, &"refused together with it");
            trouble.paused_until_ms.store(0, Ordering::Relaxed);
        }
        assert_eq!(pauses, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
        trouble.worked();
        assert_eq!(trouble.pause_ms.load(Ordering::Relaxed), 5_000);
    }
}
