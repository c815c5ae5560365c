//! Stops asking a service that keeps failing, and finds out with one call at a time when it heals.
//!
//! One logical call is one success or failure, however many packets it took. Work that meets an
//! open breaker waits; it loses no attempt.

use copydesk_proto::Timestamp;

use crate::limits::{BREAKER_FAILURES_MAX, BREAKER_OPEN_MS};

/// When to open, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it; at least 1.
    pub failures_max: u32,
    /// How long it stays open before a probe, and how long a probe may stay unanswered before
    /// another is let through, in milliseconds.
    pub open_ms: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures_max: BREAKER_FAILURES_MAX, open_ms: BREAKER_OPEN_MS }
    }
}

/// What a breaker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed {
        /// Failures since the last success.
        failures: u32,
    },
    /// No call goes through.
    Open {
        /// Until then.
        until: Timestamp,
    },
    /// One call goes through, to see.
    HalfOpen {
        /// When the probe that is out is given up; `None` when none is out.
        probe_until: Option<Timestamp>,
    },
    /// An operator keeps it open.
    Forced,
}

/// A call may not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the breaker is open")]
pub struct BreakerOpen {
    /// When to ask again, in milliseconds.
    pub wait_ms: u64,
}

/// A breaker of one provider key or one site.
///
/// `now` should come from a clock that does not jump; after a jump the breaker waits no longer
/// than `open_ms` from the new time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: BreakerState,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub const fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: BreakerState::Closed { failures: 0 } }
    }

    /// What it is doing.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// Asks to let one call through. In half-open state the one that gets through is the probe.
    ///
    /// # Errors
    /// [`BreakerOpen`] with the time to wait.
    pub fn admit(&mut self, now: Timestamp) -> Result<(), BreakerOpen> {
        let open_ms = self.policy.open_ms;
        let left = |until: Timestamp| until.since_ms(now).min(open_ms);
        let wait_ms = match self.state {
            BreakerState::Closed { .. } => return Ok(()),
            BreakerState::Forced => open_ms,
            BreakerState::Open { until } => left(until),
            BreakerState::HalfOpen { probe_until } => probe_until.map_or(0, left),
        };
        if wait_ms > 0 {
            // The deadline is written anew so that a clock set back cannot stretch it.
            let until = now.after_ms(wait_ms);
            match &mut self.state {
                BreakerState::Open { until: end } => *end = until,
                BreakerState::HalfOpen { probe_until } => *probe_until = Some(until),
                BreakerState::Closed { .. } | BreakerState::Forced => {}
            }
            return Err(BreakerOpen { wait_ms });
        }
        self.state = BreakerState::HalfOpen { probe_until: Some(now.after_ms(open_ms)) };
        Ok(())
    }

    /// A call that was admitted succeeded. One that was sent before the breaker opened does not
    /// close it.
    pub const fn success(&mut self) {
        match self.state {
            BreakerState::Closed { .. } | BreakerState::HalfOpen { .. } => {
                self.state = BreakerState::Closed { failures: 0 };
            }
            BreakerState::Open { .. } | BreakerState::Forced => {}
        }
    }

    /// A call that was admitted failed. `true` when this opened the breaker.
    pub const fn failure(&mut self, now: Timestamp) -> bool {
        let opens = match self.state {
            BreakerState::Closed { failures } => {
                let failures = failures.saturating_add(1);
                self.state = BreakerState::Closed { failures };
                failures >= self.policy.failures_max
            }
            BreakerState::HalfOpen { .. } => true,
            BreakerState::Open { .. } | BreakerState::Forced => false,
        };
        if opens {
            self.open(now);
        }
        opens
    }

    /// Opens it at once, as for a refused password: more tries would lock the account.
    pub const fn open(&mut self, now: Timestamp) {
        self.state = BreakerState::Open { until: now.after_ms(self.policy.open_ms) };
    }

    /// Keeps it open until [`Breaker::release`].
    pub const fn force_open(&mut self) {
        self.state = BreakerState::Forced;
    }

    /// Ends an operator's hold: the next call is a probe.
    pub const fn release(&mut self) {
        if matches!(self.state, BreakerState::Forced) {
            self.state = BreakerState::HalfOpen { probe_until: None };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy { failures_max: 3, open_ms: 30_000 };
    const T0: Timestamp = Timestamp(1_000_000);

    /// A script of `<ms>:<act>[=<wait>]`, `ok` and `no` reporting success and failure.
    fn check(script: &str) {
        let mut breaker = Breaker::new(POLICY);
        for step in script.split_whitespace() {
            let (at, act) = step.split_once(':').expect("a step is ms:act");
            let now = Timestamp(T0.0 + at.parse::<i64>().expect("milliseconds"));
            match act.split_once('=') {
                Some(("wait", ms)) => {
                    let wait_ms = ms.parse().expect("milliseconds");
                    assert_eq!(
                        breaker.admit(now),
                        Err(BreakerOpen { wait_ms }),
                        "{step} in {script}"
                    );
                }
                Some(_) => unreachable!("no such act: {step}"),
                None => match act {
                    "go" => assert_eq!(breaker.admit(now), Ok(()), "{step} in {script}"),
                    "ok" => breaker.success(),
                    "no" => assert!(!breaker.failure(now), "{step} in {script}"),
                    "opens" => assert!(breaker.failure(now), "{step} in {script}"),
                    "force" => breaker.force_open(),
                    "release" => breaker.release(),
                    _ => unreachable!("no such act: {step}"),
                },
            }
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row() {
        check("0:go 1:no 2:go 3:no 4:go 5:opens 6:wait=29999");
        check("0:no 1:no 2:ok 3:no 4:no 5:go 6:opens 7:wait=29999");
    }

    #[test]
    fn one_probe_goes_out_and_decides() {
        let open = "0:no 0:no 0:opens";
        check(&format!("{open} 29999:wait=1 30000:go 30001:wait=29999 30500:ok 30501:go 30502:go"));
        check(&format!("{open} 30000:go 31000:opens 31001:wait=29999 61000:go 61001:wait=29999"));
    }

    #[test]
    fn a_probe_that_never_answers_is_replaced() {
        check("0:no 0:no 0:opens 30000:go 59999:wait=1 60000:go 60001:wait=29999");
    }

    #[test]
    fn late_answers_of_calls_sent_before_change_nothing() {
        check("0:no 0:no 0:opens 10:ok 11:no 12:wait=29988");
    }

    #[test]
    fn an_operator_keeps_it_open() {
        check(
            "0:force 1:wait=30000 99999999:wait=30000 99999999:ok 99999999:no 99999999:wait=30000 99999999:release 99999999:go 99999999:wait=30000",
        );
        check("0:release 0:go 0:go");
    }

    #[test]
    fn a_clock_set_back_does_not_keep_it_open() {
        check("0:no 0:no 0:opens -900000:wait=30000 -870001:wait=1 -870000:go");
    }

    proptest! {
        #[test]
        fn calls_to_a_dead_service_are_at_most_one_per_open_time(
            gaps in prop::collection::vec(0_u64..20_000, 1..200),
        ) {
            let mut breaker = Breaker::new(POLICY);
            let mut now = T0;
            let mut calls = 0;
            for gap in gaps {
                now = now.after_ms(gap);
                if breaker.admit(now).is_ok() {
                    calls += 1;
                    breaker.failure(now);
                }
            }
            let calls_max = u64::from(POLICY.failures_max) + now.since_ms(T0) / POLICY.open_ms;
            prop_assert!(calls <= calls_max, "{} calls, at most {}", calls, calls_max);
        }
    }
}
