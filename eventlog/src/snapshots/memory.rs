//! Snapshots in memory, for tests and for a node without a data folder.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Snapshot, SnapshotStore};

/// Ends with the process.
#[derive(Debug, Default)]
pub struct MemorySnapshots(Mutex<HashMap<Vec<u8>, Snapshot>>);

impl MemorySnapshots {
    fn map(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Snapshot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SnapshotStore for MemorySnapshots {
    fn get(&self, key: &[u8]) -> Option<Snapshot> {
        self.map().get(key).cloned()
    }

    fn put(&self, key: &[u8], snapshot: &Snapshot) {
        self.map().insert(key.to_vec(), snapshot.clone());
    }

    fn remove(&self, key: &[u8]) {
        self.map().remove(key);
    }

    fn flush(&self) {}

    fn size_bytes(&self) -> u64 {
        let sizes = self.map().values().map(|s| s.bytes.len()).sum::<usize>();
        u64::try_from(sizes).unwrap_or(u64::MAX)
    }
}

/// Keeps nothing: for a node whose folder of snapshots cannot be used.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSnapshots;

impl SnapshotStore for NoSnapshots {
    fn get(&self, _key: &[u8]) -> Option<Snapshot> {
        None
    }

    fn put(&self, _key: &[u8], _snapshot: &Snapshot) {}

    fn remove(&self, _key: &[u8]) {}

    fn flush(&self) {}

    fn size_bytes(&self) -> u64 {
        0
    }
}
