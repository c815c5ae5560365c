//! One small value beside the log that several processes change in turn, each on the condition that
//! nobody else did.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

/// The value as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registered {
    /// Grows with each write; 0 before the first.
    pub revision: u64,
    /// What was written last; `None` before the first write.
    pub value: Option<Bytes>,
}

/// Why a value was not read or written, by what the caller must do.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Somebody else wrote: read, decide again. Definite: not written.
    #[error("another process changed it")]
    Changed,
    /// Not reachable. A write may have been made all the same: read before the next.
    #[error("it is not reachable: {0}")]
    Unavailable(String),
}

/// A register with compare-and-set. Reads are never stale: they see every write that was answered.
pub trait Register: Send + Sync + fmt::Debug {
    /// What stands there.
    fn read(&self) -> BoxFuture<'_, Result<Registered, RegisterError>>;

    /// Writes `value` if the revision is still `expected`; of racing writes at most one is made.
    /// Returns the new revision.
    fn write(&self, value: Bytes, expected: u64) -> BoxFuture<'_, Result<u64, RegisterError>>;
}

/// A register in memory, for tests and for nodes of one process. Clones are the same register.
#[derive(Debug, Clone, Default)]
pub struct MemoryRegister(Arc<Mutex<(Registered, bool)>>);

impl MemoryRegister {
    /// Cuts everybody off, or lets them in again.
    pub fn set_down(&self, down: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = down;
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&mut Registered) -> Result<T, RegisterError>,
    ) -> Result<T, RegisterError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.1 {
            return Err(RegisterError::Unavailable("cut off".to_owned()));
        }
        act(&mut state.0)
    }
}

impl Register for MemoryRegister {
    fn read(&self) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        async move { self.with(|there| Ok(there.clone())) }.boxed()
    }

    fn write(&self, value: Bytes, expected: u64) -> BoxFuture<'_, Result<u64, RegisterError>> {
        async move {
            self.with(|there| {
                if there.revision != expected {
                    return Err(RegisterError::Changed);
                }
                *there = Registered { revision: expected + 1, value: Some(value) };
                Ok(there.revision)
            })
        }
        .boxed()
    }
}
