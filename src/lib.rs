//! Copydesk's process: configuration, HTTP, admin API, commands, telemetry, and the wiring of all
//! layers. The only crate that knows axum, the environment and the terminal.

pub mod admin;
pub mod cli;
pub mod config;
pub mod demo;
pub mod http;
mod open_files;
pub mod serve;
pub mod telemetry;
pub mod wiring;
