//! Why a step outside failed, and what that asks of us.

use std::fmt;

/// Longest explanation kept in the log, in bytes.
pub const CAUSE_BYTES_MAX: usize = 512;

/// Longest part of the other side's answer kept in the log, in bytes: an error page's head.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024;

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
    /// What the try cost all the same, in millionths of a dollar.
    pub cost_microdollars: u64,
    /// What the other side said.
    pub response: Response,
}

/// The other side's words, clipped to [`RESPONSE_BYTES_MAX`]. They may repeat a post, so they go
/// into the log's records only: `Debug` shows their length.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Response(String);

impl Response {
    /// The head of what was said.
    #[must_use]
    pub fn of(said: &str) -> Self {
        Self(clipped(said, RESPONSE_BYTES_MAX).to_owned())
    }

    /// The words, for an operator who may see the post.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} bytes)", self.0.len())
    }
}

/// The head of a text, cut at a character boundary.
fn clipped(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&i| text.is_char_boundary(i));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

impl Failure {
    /// A failure with a cause clipped to [`CAUSE_BYTES_MAX`] at a character boundary.
    #[must_use]
    pub fn new(class: FailureClass, code: impl Into<String>, cause: impl Into<String>) -> Self {
        let mut cause = cause.into();
        cause.truncate(clipped(&cause, CAUSE_BYTES_MAX).len());
        Self {
            class,
            code: code.into(),
            cause,
            retry_after_ms: None,
            cost_microdollars: 0,
            response: Response::default(),
        }
    }

    /// The same, with the other side's Retry-After.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: Option<u64>) -> Self {
        self.retry_after_ms = ms;
        self
    }

    /// The same, with what the try cost.
    #[must_use]
    pub const fn cost(mut self, microdollars: u64) -> Self {
        self.cost_microdollars = microdollars;
        self
    }

    /// The same, with what the other side said.
    #[must_use]
    pub fn response(mut self, said: &str) -> Self {
        self.response = Response::of(said);
        self
    }

    /// The same without the other side's words: what a post's state keeps of it.
    #[must_use]
    pub fn in_short(&self) -> Self {
        Self { response: Response::default(), ..self.clone() }
    }
}
