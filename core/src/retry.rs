//! When to try again: full jitter, the other side's Retry-After, and an end.
//!
//! A durable retry is an event with a time; nothing here sleeps. Chance comes in as a number, so
//! that the same history gives the same schedule.

use std::time::UNIX_EPOCH;

use copydesk_proto::Timestamp;

use crate::limits::{RETRY_AFTER_MS_MAX, RETRY_AFTER_MS_MIN};

/// How often and how far apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included; 1 means no second try.
    pub attempts_max: u32,
    /// Longest wait after the first failure, in milliseconds; doubles with every failure.
    pub base_ms: u64,
    /// Longest wait at all, in milliseconds.
    pub cap_ms: u64,
}

impl RetryPolicy {
    /// The wait before the next try after `failures` earlier failures (0 after the first one), in
    /// milliseconds: evenly spread over `0..=min(cap, base × 2^failures)`. `random` is any evenly
    /// spread number.
    ///
    /// With `retry_after_ms` the wait is that long at least, held between 1 s and 1 h, plus at
    /// most `base_ms` so that those told the same second do not return together.
    #[must_use]
    pub fn delay_ms(&self, failures: u32, random: u64, retry_after_ms: Option<u64>) -> u64 {
        match retry_after_ms {
            Some(ms) => clamp(ms).saturating_add(spread(random, self.base_ms.min(self.cap_ms))),
            None => {
                let doubled = self.base_ms.saturating_mul(1_u64 << failures.min(63));
                spread(random, doubled.min(self.cap_ms))
            }
        }
    }

    /// Whether another try is left after `attempts` tries.
    #[must_use]
    pub const fn allows_another(&self, attempts: u32) -> bool {
        attempts < self.attempts_max
    }
}

/// `random` mapped evenly onto `0..=max` by multiplication (Lemire), free of division.
fn spread(random: u64, max: u64) -> u64 {
    let scaled = (u128::from(random) * (u128::from(max) + 1)) >> 64;
    u64::try_from(scaled).unwrap_or(max)
}

const fn clamp(ms: u64) -> u64 {
    if ms < RETRY_AFTER_MS_MIN {
        RETRY_AFTER_MS_MIN
    } else if ms > RETRY_AFTER_MS_MAX {
        RETRY_AFTER_MS_MAX
    } else {
        ms
    }
}

/// A Retry-After header (RFC 9110, section 10.2.3: seconds or a date) as a wait in milliseconds,
/// held between 1 s and 1 h. `None` when it is neither; below zero and the past are 1 s.
#[must_use]
pub fn retry_after(header: &str, now: Timestamp) -> Option<u64> {
    let text = header.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        if digits.len() < text.len() {
            return Some(RETRY_AFTER_MS_MIN);
        }
        let seconds = digits.parse::<u64>().unwrap_or(u64::MAX);
        return Some(clamp(seconds.saturating_mul(1_000)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(UNIX_EPOCH).ok()?;
    let at = Timestamp(i64::try_from(since_epoch.as_millis()).ok()?);
    Some(clamp(at.since_ms(now)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { attempts_max: 5, base_ms: 1_000, cap_ms: 60_000 };

    #[test]
    fn a_wait_doubles_up_to_the_cap() {
        let longest = |failures| POLICY.delay_ms(failures, u64::MAX, None);
        let seconds: Vec<u64> = (0..8).map(|n| longest(n) / 1_000).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(longest(u32::MAX), 60_000);
        assert_eq!(POLICY.delay_ms(3, 0, None), 0, "jitter is full");
        assert_eq!(POLICY.delay_ms(3, u64::MAX / 2, None), 4_000, "and even");
    }

    #[test]
    fn those_told_the_same_second_do_not_return_together() {
        assert_eq!(POLICY.delay_ms(4, 0, Some(5_000)), 5_000);
        assert_eq!(POLICY.delay_ms(4, u64::MAX, Some(5_000)), 6_000);
    }

    #[test]
    fn tries_end() {
        assert!(POLICY.allows_another(4));
        assert!(!POLICY.allows_another(5));
    }

    /// 2026-11-23 08:00:00 UTC.
    const NOW: Timestamp = Timestamp(1_795_420_800_000);

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let check = |header: &str, expected: Option<u64>| {
            assert_eq!(retry_after(header, NOW), expected, "{header}");
        };
        check("120", Some(120_000));
        check(" 7 ", Some(7_000));
        check("0", Some(1_000));
        check("-5", Some(1_000));
        check("315360000", Some(3_600_000));
        check("99999999999999999999999999", Some(3_600_000));
        check("Mon, 23 Nov 2026 08:02:00 GMT", Some(120_000));
        check("Monday, 23-Nov-26 08:02:00 GMT", Some(120_000));
        check("Mon Nov 23 08:02:00 2026", Some(120_000));
        check("Sun, 22 Nov 2026 08:00:00 GMT", Some(1_000));
        check("Sun, 23 Nov 2036 08:00:00 GMT", Some(3_600_000));
        for nonsense in ["", "-", "soon", "1.5", "1e3", "+5", "0x10", "١٢", "Mon, 32 Nov 2026"] {
            check(nonsense, None);
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_never_over_the_cap(failures: u32, random: u64, base in 0..=u64::MAX, cap: u64) {
            let policy = RetryPolicy { attempts_max: 3, base_ms: base, cap_ms: cap };
            prop_assert!(policy.delay_ms(failures, random, None) <= cap);
        }

        #[test]
        fn retry_after_is_obeyed_within_its_bounds(failures: u32, random: u64, asked: u64) {
            let wait = POLICY.delay_ms(failures, random, Some(asked));
            let floor = asked.clamp(1_000, 3_600_000);
            prop_assert!((floor..=floor + POLICY.base_ms).contains(&wait));
        }

        #[test]
        fn any_header_is_read_without_panic(header in ".{0,40}", now: i64) {
            if let Some(ms) = retry_after(&header, Timestamp(now)) {
                prop_assert!((1_000..=3_600_000).contains(&ms));
            }
        }
    }
}
