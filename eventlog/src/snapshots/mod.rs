//! Saved states: a cache beside the log. Deleting it changes how long a start takes and nothing
//! else, so nothing here is trusted over the log and no failure here stops anything.

mod memory;
mod sled_store;

pub use memory::{MemorySnapshots, NoSnapshots};
pub use sled_store::{SledSnapshots, SnapshotError};

use bytes::Bytes;

use crate::Sequence;

/// A state as of one record of its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record folded into it. One beyond the end of the log belongs to another log,
    /// and its reader must not use it.
    pub sequence: Sequence,
    /// The state, in its owner's encoding.
    pub bytes: Bytes,
}

/// Keeps the newest snapshot of each key. Calls take microseconds and may be made from async
/// code; what cannot be read back whole is missing.
pub trait SnapshotStore: Send + Sync + std::fmt::Debug {
    /// The snapshot last put, unless it was lost.
    fn get(&self, key: &[u8]) -> Option<Snapshot>;

    /// Saves a snapshot over the earlier one. A failure is logged and forgotten.
    fn put(&self, key: &[u8], snapshot: &Snapshot);

    /// Forgets a key.
    fn remove(&self, key: &[u8]);

    /// Asks for everything put so far to be on disk: for the speed of the next start only.
    fn flush(&self);

    /// Bytes on disk, or in memory for a store that has no disk.
    fn size_bytes(&self) -> u64;

    /// Snapshots that could not be read or written since the store was opened.
    fn faults(&self) -> u64 {
        0
    }
}
