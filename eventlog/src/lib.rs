//! The event log: one trait that states the promises, three implementations that keep them, one
//! conformance suite that checks them; and the snapshot store, which may be deleted at any time.

pub mod archive;
mod bounds;
#[cfg(feature = "testing")]
pub mod conformance;
mod crash;
pub mod embedded;
pub mod jetstream;
mod log;
mod memory;
mod register;
mod snapshots;
#[cfg(feature = "testing")]
pub mod testing;

pub use bounds::{HEADER_VALUE_BYTES_MAX, HEADERS_MAX, SUBJECT_BYTES_MAX};
pub use crash::{crash_point, leases_off};
pub use embedded::EmbeddedLog;
pub use jetstream::JetStreamLog;
pub use log::*;
pub use memory::{AppendFault, Clock, Faults, MemoryLog};
pub use register::{MemoryRegister, Register, RegisterError, Registered};
pub use snapshots::{
    MemorySnapshots, NoSnapshots, SledSnapshots, Snapshot, SnapshotError, SnapshotStore,
};
