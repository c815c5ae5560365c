//! What may be set, and the fixed bounds with their reasons.

/// Settings of an [`EmbeddedLog`](super::EmbeddedLog).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Appends are refused as full while the disk has fewer free bytes than this, so that the
    /// disk never gets full in the middle of a write.
    pub free_bytes_min: u64,
    /// Bytes of newest records kept in memory for readers that keep up.
    pub ring_bytes_max: usize,
    /// Bytes of blocks read from disk that are kept in memory.
    pub cache_bytes_max: u64,
    /// Bytes of records gathered in memory before they are sorted to disk; up to five times as
    /// much is in memory when the disk is slow. Fixed when the log is created.
    pub memtable_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            free_bytes_min: 512 * 1024 * 1024,
            ring_bytes_max: 4 * 1024 * 1024,
            cache_bytes_max: 4 * 1024 * 1024,
            memtable_bytes_max: 8 * 1024 * 1024,
        }
    }
}

/// Appends waiting for the writer: several times the largest batch, so that it never starves.
pub(super) const QUEUE_APPENDS_MAX: usize = 4096;

/// KiB of appends waiting for the writer; above it, appends wait outside in their tasks.
pub(super) const QUEUE_KIB_MAX: usize = 32 * 1024;

/// Records in one group commit: at 1 KB a megabyte, which one fsync takes in its stride.
pub(super) const BATCH_RECORDS_MAX: usize = 1024;

/// Bytes in one group commit, so that large records do not hold up the others' answers.
pub(super) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// While many write, a commit begins at most this often: those who come meanwhile share its sync,
/// which costs the CPU as much as ten appends. One writer alone never waits.
pub(super) const COMMIT_EVERY: std::time::Duration = std::time::Duration::from_millis(1);

/// Answers that the writer gives itself; more are given from inside the runtime, which is slower
/// for the first and cheaper for all.
pub(super) const INLINE_ANSWERS_MAX: usize = 8;

/// Subjects whose last sequence the writer remembers; others cost one look-up in the index.
/// About 100 bytes each.
pub(super) const LAST_CACHE_SUBJECTS_MAX: usize = 16 * 1024;

/// Message ids remembered: 120 s at 16,000 appends per second, 44 bytes each. At the bound
/// appends are refused as full, because forgetting an id early would break the promise.
pub(super) const WINDOW_IDS_MAX: usize = 2_000_000;

/// A commit that takes longer will never come back: fjall waits without end for its own
/// background thread, which may have ended over a broken file.
pub(super) const COMMIT_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// Records a tail reads at once.
pub(super) const TAIL_PAGE: usize = 256;

/// How often the free space of the disk is looked at.
pub(super) const FREE_SPACE_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
