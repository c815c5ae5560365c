//! Everything that is tested from outside, in one binary: the repository's own order (`tidy`) and
//! the real program against real neighbours.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod admin;
mod backup;
mod bad_input;
mod bulk;
mod check;
mod cluster;
mod corpus;
mod crash;
mod own_events;
mod partition;
mod pipeline;
mod prometheus;
mod scenarios;
mod soak;
mod sources;
mod subscribers;
#[expect(dead_code, reason = "the benches use the rest")]
mod support;
mod tidy;
mod traces;
mod upgrade;
mod wordpress;
