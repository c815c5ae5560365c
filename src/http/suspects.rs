//! Who sends wrong signatures by the thousand is not listened to for a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connections::network;

/// Wrong signatures an address may send in a [`WINDOW`]. A site with a wrong secret that sends all
/// its posts again stays below.
const WRONG_MAX: u32 = 2_000;
/// How long they are counted, and at most how long the address is not listened to.
const WINDOW: Duration = Duration::from_secs(10);
/// Addresses counted at once, about 1 MB. Further ones are not counted: each of their requests
/// costs one HMAC, which is what a right one costs too.
const ADDRESSES_MAX: usize = 10_000;

/// Counts wrong signatures by address. Costs a good request nothing while no one is over the limit.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    over: AtomicUsize,
    windows: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    wrong: u32,
}

impl Suspects {
    /// Seconds for which this address is not listened to.
    pub(super) fn silenced_s(&self, address: IpAddr) -> Option<u32> {
        if self.over.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut windows = self.lock();
        self.forget_ended(&mut windows);
        let window = windows.get(&network(address)).filter(|window| window.wrong >= WRONG_MAX)?;
        let left = window.ends.saturating_duration_since(Instant::now());
        Some(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// Counts a wrong signature.
    pub(super) fn wrong(&self, address: IpAddr) {
        let mut windows = self.lock();
        let address = network(address);
        if windows.len() >= ADDRESSES_MAX && !windows.contains_key(&address) {
            self.forget_ended(&mut windows);
            if windows.len() >= ADDRESSES_MAX {
                return;
            }
        }
        let now = Instant::now();
        let fresh = || Window { ends: now + WINDOW, wrong: 0 };
        let window = windows.entry(address).or_insert_with(fresh);
        if window.ends <= now {
            self.leave(window);
            *window = fresh();
        }
        window.wrong = window.wrong.saturating_add(1);
        if window.wrong == WRONG_MAX {
            self.over.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn forget_ended(&self, windows: &mut HashMap<IpAddr, Window>) {
        let now = Instant::now();
        windows.retain(|_, window| {
            let lasts = window.ends > now;
            if !lasts {
                self.leave(window);
            }
            lasts
        });
    }

    fn leave(&self, window: &Window) {
        if window.wrong >= WRONG_MAX {
            self.over.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Window>> {
        // No code that can panic runs under the lock.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_silenced_for_the_rest_of_its_window_and_no_other_is() {
        let suspects = Suspects::default();
        for _ in 1..WRONG_MAX {
            suspects.wrong(ip("10.0.0.1"));
        }
        assert_eq!(suspects.silenced_s(ip("10.0.0.1")), None);
        tokio::time::advance(Duration::from_secs(4)).await;
        suspects.wrong(ip("10.0.0.1"));
        assert_eq!(suspects.silenced_s(ip("10.0.0.1")), Some(7));
        assert_eq!(suspects.silenced_s(ip("10.0.0.2")), None);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(suspects.silenced_s(ip("10.0.0.1")), None);
        assert_eq!(suspects.over.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_mistakes_are_never_silenced_and_addresses_are_bounded() {
        let suspects = Suspects::default();
        for _ in 0..3 {
            for _ in 1..WRONG_MAX {
                suspects.wrong(ip("10.0.0.1"));
            }
            tokio::time::advance(WINDOW).await;
        }
        assert_eq!(suspects.silenced_s(ip("10.0.0.1")), None);
        for number in 0..20_000_u32 {
            suspects.wrong(IpAddr::V4(number.into()));
        }
        assert_eq!(suspects.lock().len(), ADDRESSES_MAX);
    }
}
