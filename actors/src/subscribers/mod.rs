//! Subscribers: who is told how events end, over HTTP or by a sink.
//!
//! ```text
//! run ends ─ NoticeOwed + RunEnded, one record ─▶ Effect::Tell ─ notices ─▶ log, news/to-crm-42 .in
//!                                                                            │ as any intake
//!                                       its sequencer: run, write = hand over ┘ ─▶ Outlet
//! ```
//!
//! Promises: what is owed is as durable as the run's end; a notice is handed over at least once, in
//! the order of its post's ends, under an id that stays the same; or it is a dead letter, or was
//! dropped by a person. A subscriber that is slow or down costs its own places and no others.
//!
//! A notice's key is a post of its own, so tries, dead letters, holds, journeys, jobs and recovery
//! are those of posts (ADR 0015). Not here: schedules and whom to tell (`copydesk_core`).

mod book;
mod folder;
mod member;
mod nats;
mod notice;
mod outlet;
mod roster;
mod store;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests;
mod webhook;

pub use book::{Added, BookError, Key};
pub use member::{Attempt, Member, Ping, Settings, Standing};
pub use notice::{Parcel, id_of};
pub(crate) use notice::{plans, tell};
#[cfg(test)]
pub(crate) use outlet::TestOutlet;
pub use outlet::{Outlet, OutletError, Way};
pub use roster::Roster;
