//! The event log: one trait that states the promises, three implementations that keep them, one
//! conformance suite that checks them; and the snapshot store, which may be deleted at any time.

mod bounds;
mod log;
mod memory;

pub use bounds::HEADERS_MAX;
pub use log::*;
pub use memory::{AppendFault, Clock, Faults, MemoryLog};
