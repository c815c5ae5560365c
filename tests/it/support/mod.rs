//! The outside world of a node under test: senders, an AI service, a WordPress-like site, each
//! with a history of its own. What they saw is the oracle; the node's own log is only evidence.

pub(crate) mod ai;
pub(crate) mod disk;
pub(crate) mod load;
pub(crate) mod machines;
pub(crate) mod node;
pub(crate) mod otlp;
pub(crate) mod sender;
pub(crate) mod site;

use std::time::{Duration, Instant};

/// Longest wait for anything that must happen: a site that fails at random is left alone for half
/// a minute more than once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// How much larger and longer the scenarios are than in `scripts/test`: `COPYDESK_SCENARIO_TIMES`,
/// for the figures in `docs/operations/scenarios.md`.
pub(crate) fn times() -> u32 {
    std::env::var("COPYDESK_SCENARIO_TIMES").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// Prints a figure for that document.
#[expect(clippy::print_stdout, reason = "the figures of a document")]
pub(crate) fn figure(text: &str) {
    println!("figure: {text}");
}

/// Looks until it is so, or fails with what was awaited.
pub(crate) async fn eventually<F, T>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE * times();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An HTTP client; one TLS provider serves the whole process.
pub(crate) fn client() -> reqwest::Client {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A small generator, so that a failing run can be had again by its seed.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Xorshift64* (Vigna, 2016).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }
}

/// Milliseconds since 1970, as the node's log has them.
pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// `post-12 v3`: what a text says about itself, and how it is found again in prompts and writes.
pub(crate) fn mark(post: u64, version: u64) -> String {
    format!("Marker post-{post}-v{version} ends.")
}

/// Finds a [`mark`] in a text.
pub(crate) fn marked(text: &str) -> Option<(u64, u64)> {
    let (_, rest) = text.split_once("Marker post-")?;
    let (mark, _) = rest.split_once(" ends")?;
    let (post, version) = mark.split_once("-v")?;
    Some((post.parse().ok()?, version.parse().ok()?))
}
