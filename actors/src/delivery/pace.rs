//! When the next request to a site may go out: a pure machine over the breaker, the rate and the
//! number in flight.

use copydesk_core::breaker::{Breaker, BreakerState};
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::rate::RateLimit;
use copydesk_proto::Timestamp;

use super::fault;
use super::site::Site;
use crate::cluster::Sharers;

/// What the next request is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Go out.
    Go,
    /// Wait for a request in flight to end.
    Wait,
    /// Wait this many milliseconds.
    WaitMs(u64),
    /// Go back: the site is left alone for this many milliseconds.
    Closed(u64),
}

/// The pace of one site. Its times come from a clock that only goes forward.
#[derive(Debug)]
pub(super) struct Pace {
    breaker: Breaker,
    rate: Option<RateLimit>,
    /// No request before this: the site asked for it, or refused our password.
    paused_until: Timestamp,
    running: usize,
    /// Requests that may be in flight now. One after an outage, one more with each success, so
    /// that a site that has just come back is not buried.
    allowed: usize,
    concurrency: usize,
    /// The nodes that share the site's limits.
    sharers: Sharers,
    last_failure: Option<Failure>,
}

impl Pace {
    pub(super) fn new(site: &Site, now: Timestamp) -> Self {
        let concurrency = site.concurrency.max(1);
        let burst = u32::try_from(concurrency).unwrap_or(u32::MAX);
        Self {
            breaker: Breaker::new(site.breaker),
            rate: site.per_minute.and_then(|rate| RateLimit::new(rate, burst, now).ok()),
            paused_until: now,
            running: 0,
            allowed: concurrency,
            concurrency,
            sharers: site.sharers.clone(),
            last_failure: None,
        }
    }

    /// Asks for one request to go out. After [`Gate::Go`] it is in flight.
    pub(super) fn enter(&mut self, now: Timestamp) -> Gate {
        let cell = self.sharers.cells(1);
        let paused_ms = self.paused_until.since_ms(now);
        if paused_ms > 0 {
            return Gate::Closed(paused_ms);
        }
        if self.running >= self.allowed() {
            return Gate::Wait;
        }
        // The rate first: a cell spent in an outage harms nobody, but a probe that is let
        // through and then waits would keep the breaker half open with no probe out.
        if let Some(Err(ms)) = self.rate.as_mut().map(|rate| rate.admit(now, cell)) {
            return Gate::WaitMs(ms);
        }
        if let Err(open) = self.breaker.admit(now) {
            // The probe that is out answers within the site's timeout; its answer is worth
            // waiting for.
            let probing = matches!(self.breaker.state(), BreakerState::HalfOpen { .. });
            return if probing && self.running > 0 {
                Gate::Wait
            } else {
                Gate::Closed(open.wait_ms)
            };
        }
        self.running += 1;
        Gate::Go
    }

    /// Takes in how a request ended. `true` when the site is to be left alone from now on.
    pub(super) fn leave(&mut self, failure: Option<Failure>, now: Timestamp) -> bool {
        self.running = self.running.saturating_sub(1);
        let Some(failure) = failure.filter(speaks_against_site) else {
            self.breaker.success();
            self.allowed = (self.allowed + 1).min(self.concurrency);
            self.last_failure = None;
            return false;
        };
        // A site that names its time gets exactly that; the breaker opens when it keeps failing.
        let named = failure.retry_after_ms.map(|ms| now.after_ms(ms));
        self.paused_until = self.paused_until.max(named.unwrap_or(self.paused_until));
        let closes = self.breaker.failure(now) || named.is_some();
        if closes {
            self.allowed = 1;
        }
        self.last_failure = Some(failure);
        closes
    }

    /// Requests in flight.
    pub(super) const fn running(&self) -> usize {
        self.running
    }

    /// Requests that may be in flight now.
    pub(super) fn allowed(&self) -> usize {
        self.allowed.min(self.sharers.of_places(self.concurrency))
    }

    /// The last failure that spoke against the site, until a request succeeds.
    pub(super) const fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    /// Milliseconds until the site is tried again.
    pub(super) fn paused_ms(&self, now: Timestamp) -> Option<u64> {
        let open_until = match self.breaker.state() {
            BreakerState::Open { until } => until,
            BreakerState::Closed { .. } | BreakerState::HalfOpen { .. } | BreakerState::Forced => {
                now
            }
        };
        Some(self.paused_until.max(open_until).since_ms(now)).filter(|ms| *ms > 0)
    }

    /// The failure of a request that did not go out, with the reason of the outage.
    pub(super) fn closed(&self, wait_ms: u64) -> Failure {
        let (code, cause) = match &self.last_failure {
            Some(last) => (last.code.as_str(), last.cause.as_str()),
            None => ("site_paused", "the site is left alone after failures"),
        };
        Failure::new(FailureClass::Unavailable, code, cause).retry_after_ms(Some(wait_ms))
    }
}

/// Whether a failure tells that the site, not the one post, is in trouble.
fn speaks_against_site(failure: &Failure) -> bool {
    match failure.class {
        // A post that a person has open waits alone.
        FailureClass::Retry | FailureClass::Unavailable => failure.code != fault::LOCKED,
        // One forbidden post is that post's; five in a row are the user's.
        FailureClass::Terminal => failure.code == fault::FORBIDDEN,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use super::*;

    const T0: Timestamp = Timestamp(1_000_000);

    fn at(ms: u64) -> Timestamp {
        T0.after_ms(ms)
    }

    fn pace(concurrency: usize, per_minute: Option<u32>) -> Pace {
        let url = "http://127.0.0.1".parse().unwrap();
        let id = "news".parse().unwrap();
        let site = Site::new(id, url, "desk".to_owned(), "secret".to_owned().into());
        Pace::new(&Site { concurrency, per_minute, ..site }, T0)
    }

    fn failure(class: FailureClass, code: &str, retry_after_ms: Option<u64>) -> Option<Failure> {
        Some(Failure::new(class, code, "x").retry_after_ms(retry_after_ms))
    }

    #[test]
    fn no_more_than_allowed_are_in_flight() {
        let mut pace = pace(2, None);
        let gates: Vec<_> = (0..3).map(|_| pace.enter(T0)).collect();
        assert_eq!(gates, [Gate::Go, Gate::Go, Gate::Wait]);
        assert!(!pace.leave(None, T0));
        assert_eq!(pace.enter(T0), Gate::Go);
    }

    #[test]
    fn five_failures_in_a_row_close_the_site_for_30_s_and_one_probe_opens_it() {
        let mut pace = pace(4, None);
        for n in 1..=5 {
            assert_eq!(pace.enter(T0), Gate::Go);
            assert_eq!(pace.leave(failure(FailureClass::Retry, "x", None), T0), n == 5);
        }
        assert_eq!(pace.enter(at(1_000)), Gate::Closed(29_000));
        assert_eq!(pace.closed(29_000).retry_after_ms, Some(29_000));
        assert_eq!(pace.enter(at(30_000)), Gate::Go);
        assert_eq!(pace.enter(at(30_000)), Gate::Wait, "one probe");
        assert!(pace.leave(failure(FailureClass::Unavailable, "x", None), at(30_001)));
        assert_eq!(pace.enter(at(30_001)), Gate::Closed(30_000));
        assert_eq!(pace.enter(at(60_001)), Gate::Go);
        assert!(!pace.leave(None, at(60_002)));
        let gates: Vec<_> = (0..3).map(|_| pace.enter(at(60_002))).collect();
        assert_eq!(gates, [Gate::Go, Gate::Go, Gate::Wait], "a slow start");
    }

    #[test]
    fn a_refused_password_pauses_at_once_for_five_minutes() {
        let mut pace = pace(2, None);
        assert_eq!(pace.enter(T0), Gate::Go);
        assert!(pace.leave(Some(fault::unauthorized("x")), T0));
        assert_eq!(pace.enter(at(60_000)), Gate::Closed(240_000));
        assert_eq!(pace.paused_ms(at(60_000)), Some(240_000));
        assert_eq!(pace.closed(1).code, fault::UNAUTHORIZED);
        assert_eq!(pace.enter(at(300_000)), Gate::Go);
        assert_eq!(pace.enter(at(300_000)), Gate::Wait);
    }

    #[test]
    fn retry_after_is_the_whole_sites() {
        let mut pace = pace(2, None);
        assert_eq!(pace.enter(T0), Gate::Go);
        assert!(pace.leave(failure(FailureClass::Unavailable, "x", Some(90_000)), T0));
        assert_eq!(pace.enter(at(89_999)), Gate::Closed(1));
        assert_eq!(pace.enter(at(90_000)), Gate::Go);
    }

    #[test]
    fn one_posts_failure_is_not_the_sites() {
        let mut pace = pace(1, None);
        for _ in 0..50 {
            assert_eq!(pace.enter(T0), Gate::Go);
            assert!(!pace.leave(failure(FailureClass::Terminal, "wordpress_rejected", None), T0));
            assert_eq!(pace.enter(T0), Gate::Go);
            let open = failure(FailureClass::Unavailable, fault::LOCKED, Some(60_000));
            assert!(!pace.leave(open, T0));
        }
        for n in 1..=5 {
            assert_eq!(pace.enter(T0), Gate::Go);
            let closed = pace.leave(failure(FailureClass::Terminal, fault::FORBIDDEN, None), T0);
            assert_eq!(closed, n == 5);
        }
    }

    #[test]
    fn the_rate_holds() {
        let mut pace = pace(1, Some(60));
        assert_eq!(pace.enter(T0), Gate::Go);
        pace.leave(None, T0);
        assert_eq!(pace.enter(T0), Gate::WaitMs(1_000));
        assert_eq!(pace.enter(at(1_000)), Gate::Go);
    }
}
