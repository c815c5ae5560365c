//! A rate limit as arithmetic: the generic cell rate algorithm (GCRA, ITU-T I.371), which needs
//! one number per limit and no timer.

use copydesk_proto::Timestamp;

const NANOS_PER_MS: i128 = 1_000_000;
const NANOS_PER_MINUTE: i128 = 60_000_000_000;

/// A limit of cells (requests, tokens) per minute with a burst.
///
/// `now` should come from a clock that does not jump; when it is set back, the wait that was left
/// stays as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Nanoseconds per cell, rounded up so that the rate is never passed.
    interval_ns: i128,
    burst: u32,
    /// The theoretical arrival time: when everything admitted so far will have been paid off.
    paid_off_ns: i128,
    last: Timestamp,
}

/// A rate no call could ever pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rate limit allows at least 1 per minute and a burst of at least 1")]
pub struct BadRate;

impl RateLimit {
    /// A limit that starts with its whole burst free.
    ///
    /// # Errors
    /// [`BadRate`] when either number is 0.
    pub const fn new(per_minute: u32, burst: u32, now: Timestamp) -> Result<Self, BadRate> {
        if per_minute == 0 || burst == 0 {
            return Err(BadRate);
        }
        let per_minute = per_minute as i128;
        let interval_ns = (NANOS_PER_MINUTE + per_minute - 1) / per_minute;
        Ok(Self { interval_ns, burst, paid_off_ns: nanos(now), last: now })
    }

    /// Takes `cells` at once, or says how many milliseconds to wait before asking again.
    ///
    /// More cells than the burst holds are admitted when the whole burst is free, and the rest is
    /// paid off before the next: one long prompt must not wait for ever.
    ///
    /// # Errors
    /// The wait, in milliseconds, at least 1.
    pub fn admit(&mut self, now: Timestamp, cells: u32) -> Result<(), u64> {
        if now < self.last {
            self.paid_off_ns -= nanos(self.last) - nanos(now);
        }
        self.last = now;
        let now_ns = nanos(now);
        let start_ns = self.paid_off_ns.max(now_ns);
        let needed = i128::from(cells.min(self.burst)) * self.interval_ns;
        let free_at_ns = start_ns + needed - i128::from(self.burst) * self.interval_ns;
        if free_at_ns > now_ns {
            let wait_ns = free_at_ns - now_ns;
            let wait_ms = (wait_ns + NANOS_PER_MS - 1) / NANOS_PER_MS;
            return Err(u64::try_from(wait_ms).unwrap_or(u64::MAX));
        }
        self.paid_off_ns = start_ns + i128::from(cells) * self.interval_ns;
        Ok(())
    }

    /// Starts a pause of the other side's choosing (a Retry-After): nothing more before `until`.
    pub fn pause(&mut self, until: Timestamp) {
        let full = nanos(until) + i128::from(self.burst - 1) * self.interval_ns;
        self.paid_off_ns = self.paid_off_ns.max(full);
    }
}

const fn nanos(at: Timestamp) -> i128 {
    at.0 as i128 * NANOS_PER_MS
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use proptest::prelude::*;

    use super::*;

    const T0: Timestamp = Timestamp(1_795_420_800_000);

    fn limit(per_minute: u32, burst: u32) -> RateLimit {
        RateLimit::new(per_minute, burst, T0).unwrap()
    }

    #[test]
    fn a_burst_goes_at_once_and_then_the_rate_holds() {
        let mut limit = limit(60, 3);
        for _ in 0..3 {
            assert_eq!(limit.admit(T0, 1), Ok(()));
        }
        assert_eq!(limit.admit(T0, 1), Err(1_000));
        assert_eq!(limit.admit(T0.after_ms(999), 1), Err(1));
        assert_eq!(limit.admit(T0.after_ms(1_000), 1), Ok(()));
        assert_eq!(limit.admit(T0.after_ms(1_000), 2), Err(2_000));
        assert_eq!(limit.admit(T0.after_ms(3_600_000), 3), Ok(()), "the burst fills up again");
        assert_eq!(limit.admit(T0.after_ms(3_600_000), 1), Err(1_000), "and no further");
    }

    #[test]
    fn more_than_the_burst_goes_when_all_is_free_and_is_paid_off() {
        let mut limit = limit(60, 10);
        assert_eq!(limit.admit(T0, 30), Ok(()));
        assert_eq!(limit.admit(T0, 1), Err(21_000));
        assert_eq!(limit.admit(T0.after_ms(21_000), 30), Err(9_000));
        assert_eq!(limit.admit(T0.after_ms(30_000), 30), Ok(()));
    }

    #[test]
    fn a_clock_set_back_neither_frees_nor_blocks() {
        let mut limit = limit(60, 1);
        assert_eq!(limit.admit(T0, 1), Ok(()));
        let before = Timestamp(T0.0 - 3_600_000);
        assert_eq!(limit.admit(before, 1), Err(1_000));
        assert_eq!(limit.admit(before.after_ms(1_000), 1), Ok(()));
    }

    #[test]
    fn a_pause_holds_everything_until_its_end() {
        let mut limit = limit(60_000, 100);
        limit.pause(T0.after_ms(5_000));
        assert_eq!(limit.admit(T0, 1), Err(5_000));
        assert_eq!(limit.admit(T0.after_ms(4_999), 1), Err(1));
        assert_eq!(limit.admit(T0.after_ms(5_000), 1), Ok(()));
        assert!(limit.admit(T0.after_ms(5_000), 50).is_err(), "no burst after a pause");
    }

    #[test]
    fn rounding_never_raises_the_rate() {
        // 13.97 ns a cell: rounded down, a second would hold 7 % too many.
        let mut limit = limit(u32::MAX, u32::MAX);
        assert_eq!(limit.admit(T0, u32::MAX), Ok(()));
        let per_second = u32::MAX / 60;
        assert!(limit.admit(T0.after_ms(1_000), per_second + 1).is_err());
        assert_eq!(limit.admit(T0.after_ms(1_000), per_second / 100 * 99), Ok(()));
    }

    #[test]
    fn a_rate_of_nothing_is_refused() {
        assert_eq!(RateLimit::new(0, 1, T0), Err(BadRate));
        assert_eq!(RateLimit::new(1, 0, T0), Err(BadRate));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_burst_and_rate(
            per_minute in 1_u32..200_000,
            burst in 1_u32..500,
            asks in prop::collection::vec((0_u64..5_000, 1_u32..500), 1..200),
        ) {
            let mut limit = limit(per_minute, burst);
            let mut now = T0;
            let mut admitted: Vec<(Timestamp, u64)> = Vec::new();
            for (gap, cells) in asks {
                now = now.after_ms(gap);
                let cells = cells.min(burst);
                if limit.admit(now, cells).is_ok() {
                    admitted.push((now, u64::from(cells)));
                }
            }
            for (first, (start, _)) in admitted.iter().enumerate() {
                let mut sum = 0;
                for (at, cells) in &admitted[first..] {
                    sum += cells;
                    let allowed =
                        u64::from(burst) + at.since_ms(*start) * u64::from(per_minute) / 60_000;
                    prop_assert!(sum <= allowed, "{} in a window that allows {}", sum, allowed);
                }
            }
        }

        #[test]
        fn asking_again_after_the_wait_succeeds(
            per_minute in 1_u32..=u32::MAX,
            burst in 1_u32..=u32::MAX,
            cells: u32,
            spent: u32,
        ) {
            let mut limit = limit(per_minute, burst);
            prop_assert_eq!(limit.admit(T0, spent), Ok(()));
            if let Err(wait_ms) = limit.admit(T0, cells) {
                prop_assert!(wait_ms > 0);
                prop_assert_eq!(limit.admit(T0.after_ms(wait_ms), cells), Ok(()));
            }
        }
    }
}
