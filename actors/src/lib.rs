//! The shell: actors that carry out what `copydesk_core` decides. The only place that knows
//! ractor, HTTP clients and the clock.
//!
//! ```text
//! Receiver ─append─▶ log ─tail─▶ Dispatcher ─▶ Sequencer (one per busy post)
//!                                               │ decide, append, evolve, act
//!                                    Enrichment ┴ Delivery   (answers come back as commands)
//! ```

pub mod alerts;
pub mod delivery;
pub mod desk;
pub mod dispatcher;
pub mod enrichment;
pub mod ledger;
pub mod node;
pub mod pull;
pub mod receiver;
pub mod records;
pub mod retention;
pub mod sequencer;
pub mod telemetry;
pub mod treasury;
mod watch;
mod world;

pub use world::{EnrichmentSettings, World};
