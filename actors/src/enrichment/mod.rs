//! AI jobs: one actor per provider, which keeps the provider's limits and answers every ask.
//!
//! Goes in: an [`Ask`] with a [`provider::Question`] and a place for its answer. Comes out, exactly
//! once: a [`provider::Reply`] cleaned for WordPress, or a
//! [`Failure`](copydesk_core::failure::Failure) that says what to do. Why a job is asked for, tried
//! again or given up is the post's business, in `core`; so is the budget.
//!
//! The queue is bounded by the callers' credits: a sequencer asks once per effect, and the
//! dispatcher keeps few posts in flight. Past [`WAITING_MAX`] an ask is turned away.

mod actor;
pub mod builtin;
mod call;
mod message;
pub mod provider;
pub mod recipe;

#[cfg(test)]
mod tests;

pub use self::actor::{
    EnrichmentActor, EnrichmentArguments, Limits, START_WAIT_MS_MAX, State, WAITING_MAX,
};
pub use self::message::{Ask, EnrichmentMessage, Finished, RATE_LIMITED, Status, ask};
