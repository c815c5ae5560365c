//! The newest records, in memory, so that readers that keep up never ask the disk. The values
//! are those in fjall's memtable: they are shared, not copied.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fjall::UserValue;

use super::record;
use super::store::Page;
use crate::{Filter, ReadError, Sequence};

/// What one value costs beside its bytes.
const ENTRY_BYTES: usize = 64;

pub(super) struct Ring {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    /// The sequence before the oldest value.
    before: Sequence,
    /// Without gaps; a trimmed record is an empty value.
    values: VecDeque<UserValue>,
    bytes: usize,
}

impl Ring {
    /// An empty ring at the end of a log.
    pub(super) fn new(last: Sequence, bytes_max: usize) -> Self {
        let inner = Inner { before: last, values: VecDeque::new(), bytes: 0 };
        Self { bytes_max, inner: Mutex::new(inner) }
    }

    /// Adds the records that follow the newest one.
    pub(super) fn push(&self, values: impl Iterator<Item = UserValue>) {
        let mut inner = self.lock();
        for value in values {
            inner.bytes += value.len() + ENTRY_BYTES;
            inner.values.push_back(value);
        }
        while inner.bytes > self.bytes_max {
            let Some(oldest) = inner.values.pop_front() else { break };
            inner.bytes -= oldest.len() + ENTRY_BYTES;
            inner.before.0 += 1;
        }
    }

    /// As [`Store::page`](super::store::Store::page); `None` when `after` is not in the ring.
    pub(super) fn page(
        &self,
        after: Sequence,
        filter: Filter,
        limit: usize,
    ) -> Result<Option<Page>, ReadError> {
        let mut page = Page { records: Vec::new(), end: after, more: false };
        let mut found = Vec::new();
        {
            let inner = self.lock();
            let Some(skip) = after.0.checked_sub(inner.before.0) else { return Ok(None) };
            let mut later = inner.values.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX));
            for value in later.by_ref().take(limit) {
                page.end.0 += 1;
                // It never left this process's memory: what is passed over needs no look at its
                // checksum.
                if !value.is_empty() && record::may_match(value, filter) {
                    found.push((page.end, value.clone()));
                }
            }
            page.more = later.next().is_some();
        }
        for (sequence, value) in found {
            page.records.extend(record::decode_matching(sequence, &value, filter)?);
        }
        Ok(Some(page))
    }

    /// Empties the places of trimmed records.
    pub(super) fn trim(&self, trimmed: &[Sequence]) {
        let mut inner = self.lock();
        for sequence in trimmed {
            let place = sequence.0.checked_sub(inner.before.0 + 1);
            let place = place.and_then(|place| usize::try_from(place).ok());
            if let Some(value) = place.and_then(|place| inner.values.get_mut(place)) {
                let freed = std::mem::replace(value, UserValue::empty()).len();
                inner.bytes -= freed;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
