//! The shell: actors that carry out what `copydesk_core` decides. The only place that knows
//! ractor, HTTP clients and the clock.
//!
//! ```text
//! Receiver ─append─▶ log ─tail─▶ Dispatcher ─▶ Sequencer (one per busy post)
//!                                               │ decide, append, evolve, act
//!                                    Enrichment ┴ Delivery   (answers come back as commands)
//! ```

pub mod alerts;
pub mod archive;
pub mod bucket;
pub mod cluster;
pub mod delivery;
pub mod desk;
pub mod dispatcher;
pub mod enrichment;
pub mod ledger;
mod mistakes;
pub mod node;
pub mod outbound;
pub mod pull;
pub mod receiver;
pub mod records;
pub mod retention;
pub mod schedule;
pub mod sequencer;
#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a failed helper is a failed test, which says what it did; an oracle looks at few kinds of events"
)]
mod sim;
pub mod subscribers;
pub mod telemetry;
pub mod treasury;
mod watch;
mod world;

pub use world::{EnrichmentSettings, World};
