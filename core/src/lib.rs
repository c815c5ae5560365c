//! Copydesk's decisions. Nothing here does IO, looks at a clock or awaits: every rule is a
//! function of what it is given, so every rule is tested without a socket or a sleep.

pub mod access;
pub mod breaker;
pub mod budget;
pub mod content;
pub mod failure;
pub mod fair;
pub mod holds;
pub mod limits;
pub mod outbound;
pub mod pointer;
pub mod post;
pub mod rate;
pub mod refusal;
pub mod retry;
pub mod roster;
pub mod routes;
pub mod sanitise;
pub mod schedule;
pub mod signature;
pub mod subscribers;
pub mod treasury;
pub mod webhook;
