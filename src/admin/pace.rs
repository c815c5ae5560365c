//! How much one token may ask of the node, so that a script gone wild slows nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use copydesk_core::limits::TOKENS_MAX;
use copydesk_core::rate::RateLimit;
use copydesk_proto::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Refusal;

/// Seconds of the rate that may come at once: a page that opens asks for several things.
const BURST_S: u32 = 5;
/// Streams one token may follow at once.
pub(super) const STREAMS_MAX: usize = 10;
/// Streams in all; each costs the node a reader of the log.
const STREAMS_IN_ALL_MAX: usize = 50;
/// Answers at once that read much of the log; each keeps a core busy.
const HEAVY_MAX: usize = 5;

#[derive(Debug)]
pub(super) struct Pace {
    per_second: u32,
    began: Instant,
    tokens: Mutex<HashMap<String, OfToken>>,
    streams: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
}

#[derive(Debug)]
struct OfToken {
    rate: RateLimit,
    streams: Arc<Semaphore>,
}

/// A stream that is under way.
#[derive(Debug)]
pub(super) struct StreamPlace {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Pace {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.clamp(1, 1_000_000),
            began: Instant::now(),
            tokens: Mutex::default(),
            streams: Arc::new(Semaphore::new(STREAMS_IN_ALL_MAX)),
            heavy: Arc::new(Semaphore::new(HEAVY_MAX)),
        }
    }

    /// Takes one request of a token.
    pub(super) fn admit(&self, token: &str) -> Result<(), Refusal> {
        let now = self.now();
        self.of(token, |of| of.rate.admit(now, 1))
            .map_err(|wait_ms| Refusal::busy("the token asks too often", wait_ms))
    }

    /// A place for an answer that reads much of the log.
    pub(super) fn heavy(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.heavy).try_acquire_owned();
        place.map_err(|_| Refusal::busy("five answers that read much are under way", 1_000))
    }

    /// A place for a stream.
    pub(super) fn stream(&self, token: &str) -> Result<StreamPlace, Refusal> {
        let streams = self.of(token, |of| Arc::clone(&of.streams));
        let busy = |_| Refusal::busy("the token follows ten streams, or the node fifty", 5_000);
        Ok(StreamPlace {
            _own: streams.try_acquire_owned().map_err(busy)?,
            _of_all: Arc::clone(&self.streams).try_acquire_owned().map_err(busy)?,
        })
    }

    fn of<T>(&self, token: &str, take: impl FnOnce(&mut OfToken) -> T) -> T {
        let now = self.now();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() > 2 * TOKENS_MAX {
            // Those that ended long ago; a live one starts with a new burst, once in a blue moon.
            tokens.retain(|_, of| of.streams.available_permits() < STREAMS_MAX);
        }
        let of = tokens.entry(token.to_owned()).or_insert_with(|| {
            let (rate, burst) = (self.per_second * 60, self.per_second * BURST_S);
            let rate = RateLimit::new(rate, burst, now).expect("a rate of at least one a second");
            OfToken { rate, streams: Arc::new(Semaphore::new(STREAMS_MAX)) }
        });
        take(of)
    }

    /// A clock that does not jump.
    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}
