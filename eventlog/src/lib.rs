//! The event log: one trait that states the promises, three implementations that keep them, one
//! conformance suite that checks them; and the snapshot store, which may be deleted at any time.

mod bounds;
pub mod conformance;
pub mod embedded;
mod log;
mod memory;
mod snapshots;

pub use bounds::{HEADER_VALUE_BYTES_MAX, HEADERS_MAX, SUBJECT_BYTES_MAX};
pub use embedded::EmbeddedLog;
pub use log::*;
pub use memory::{AppendFault, Clock, Faults, MemoryLog};
pub use snapshots::{MemorySnapshots, Snapshot, SnapshotStore};
