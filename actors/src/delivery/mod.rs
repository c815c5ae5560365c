//! Delivery: reads posts from one WordPress site and writes results back into it.
//!
//! Promises: a write is reported as applied only when WordPress's own answer shows the value; a
//! person's words are never overwritten knowingly; a write that is repeated after a lost answer
//! changes nothing; every failure says in plain words what to mend. With Copydesk's plugin the
//! site itself refuses what is out of date. Core's REST API has no conditional update, so an edit
//! saved between our read and our write, a few milliseconds, may be lost in the field we write,
//! and only there.
//!
//! Not here: retries, schedules, dead letters (the sequencer owns them; nothing is retried below
//! it, so tries never multiply) and cleaning of model output (`copydesk_core`).
//!
//! A further kind of delivery is a variant of [`DeliveryKind`] and a module beside
//! `core_rest`, `ingest` and `plugin`; nothing else has to change.

mod actor;
mod client;
mod comment;
mod core_rest;
mod exchange;
mod fault;
mod ingest;
mod list;
mod message;
mod outbox;
mod pace;
mod plan;
mod plugin;
mod probe;
mod reports;
mod site;
mod terms;
mod transport;
mod unauthorized;
mod way;

#[cfg(test)]
pub(crate) mod tests;

pub use actor::{DeliveryActor, deliver};
pub use client::SiteClient;
pub use list::PostNumbers;
pub use message::{
    DeliveryMessage, DeliveryStatus, Made, PostStatus, Read, ReadPost, Write, WriteOutcome,
};
pub use outbox::{OutboxPage, OutboxRow};
pub use probe::{Finding, Severity};
pub use site::{DeliveryKind, Site, SiteError};
