//! Why a step outside failed, and what that asks of us.

/// Longest explanation kept in the log, in bytes.
pub const CAUSE_BYTES_MAX: usize = 512;

/// What the failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Try again on the schedule; counts as an attempt.
    Retry,
    /// The other side is not there (down, breaker open, rate limit): wait and try again without
    /// using up attempts.
    Unavailable,
    /// No try will help: dead-letter at once.
    Terminal,
}

/// One failed attempt, in words a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Failure {
    /// What to do about it.
    pub class: FailureClass,
    /// Stable short code, for grouping: `wordpress_unauthorized`, `provider_rate_limited`, …
    pub code: String,
    /// Plain words: what happened and how to mend it. No post content, no secret.
    pub cause: String,
    /// The other side's own wish (Retry-After), in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure with a cause clipped to [`CAUSE_BYTES_MAX`] at a character boundary.
    #[must_use]
    pub fn new(class: FailureClass, code: impl Into<String>, cause: impl Into<String>) -> Self {
        let mut cause = cause.into();
        if cause.len() > CAUSE_BYTES_MAX {
            let end = (0..=CAUSE_BYTES_MAX).rev().find(|&i| cause.is_char_boundary(i));
            cause.truncate(end.unwrap_or(0));
        }
        Self { class, code: code.into(), cause, retry_after_ms: None }
    }

    /// The same, with the other side's Retry-After.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: Option<u64>) -> Self {
        self.retry_after_ms = ms;
        self
    }
}
