//! Snapshots in sled 0.34, which is not maintained any more and may lose or break anything at a
//! power cut, also by a panic when it is opened. A folder that cannot be opened is put aside and
//! an empty one takes its place; every value carries a checksum.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tracing::warn;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{Snapshot, SnapshotStore};
use crate::Sequence;

const VERSION: u8 = 1;
const CHECKED_FROM: usize = 9;
const BYTES_FROM: usize = 17;

/// Memory for pages; sled's own default is 1 GiB.
const CACHE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What sled's error says when its lock is held.
const LOCKED: &str = "could not acquire lock";

/// How long sled may take to give its lock back, and how often that is looked at.
const UNLOCK_MAX: Duration = Duration::from_secs(5);
const UNLOCK_PAUSE: Duration = Duration::from_millis(10);

/// Broken folders kept for who wants to look; older ones are removed, lest they fill the disk.
const BAD_FOLDERS_MAX: usize = 2;

/// Snapshots in a folder.
pub struct SledSnapshots {
    db: sled::Db,
    faults: AtomicU64,
    _lock: File,
}

/// Why there can be no snapshots in the folder.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Another process has it open.
    #[error("the snapshots in {folder} are in use: another copydesk runs on them")]
    InUse {
        /// The folder.
        folder: String,
    },
    /// Not even an empty store could be made.
    #[error("the snapshots in {folder} could not be opened: {reason}")]
    Unusable {
        /// The folder.
        folder: String,
        /// What went wrong.
        reason: String,
    },
}

impl SledSnapshots {
    /// Opens the folder, or creates it. One that cannot be opened is renamed to
    /// `<folder>.bad-<unix time>`. Blocks.
    ///
    /// # Errors
    /// [`SnapshotError`] when the folder is in use or cannot be created.
    pub fn open(folder: &Path) -> Result<Self, SnapshotError> {
        let unusable = |reason: String| SnapshotError::Unusable {
            folder: folder.display().to_string(),
            reason,
        };
        let lock = lock(folder)?;
        let opened = open_unlocked(folder).or_else(|reason| {
            let bad = put_aside(folder).map_err(|e| format!("{reason}; {e}"))?;
            warn!(reason, bad = %bad.display(), "the snapshots are put aside, states are read anew");
            open_sled(folder)
        });
        let db = opened.map_err(unusable)?;
        Ok(Self { db, faults: AtomicU64::new(0), _lock: lock })
    }

    /// Runs a call of sled; a failure or a panic is counted, and there is no answer.
    fn guarded<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Option<T> {
        let reason = match catch_unwind(AssertUnwindSafe(call)) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "sled panicked".to_owned(),
        };
        self.fault(&reason);
        None
    }

    fn fault(&self, reason: &str) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        warn!(reason, "a snapshot could not be read or written");
    }
}

impl fmt::Debug for SledSnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledSnapshots").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl SnapshotStore for SledSnapshots {
    fn get(&self, key: &[u8]) -> Option<Snapshot> {
        let value = self.guarded(|| self.db.get(key))??;
        let snapshot = decode(key, &value);
        if snapshot.is_none() {
            self.fault("its checksum or its version does not fit");
        }
        snapshot
    }

    fn put(&self, key: &[u8], snapshot: &Snapshot) {
        let _counted = self.guarded(|| self.db.insert(key, encode(key, snapshot)));
    }

    fn remove(&self, key: &[u8]) {
        let _counted = self.guarded(|| self.db.remove(key));
    }

    fn flush(&self) {
        let _counted = self.guarded(|| self.db.flush());
    }

    fn size_bytes(&self) -> u64 {
        self.guarded(|| self.db.size_on_disk()).unwrap_or(0)
    }

    fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }
}

/// `version | checksum u64 | sequence u64 | bytes`, little-endian. The checksum is XXH3-64 of
/// what follows it, seeded with the key's.
fn encode(key: &[u8], snapshot: &Snapshot) -> Vec<u8> {
    let mut value = Vec::with_capacity(BYTES_FROM + snapshot.bytes.len());
    value.push(VERSION);
    value.extend_from_slice(&[0; 8]);
    value.extend_from_slice(&snapshot.sequence.0.to_le_bytes());
    value.extend_from_slice(&snapshot.bytes);
    let checksum = checksum(key, &value);
    if let Some(place) = value.get_mut(1..CHECKED_FROM) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
    value
}

fn decode(key: &[u8], value: &[u8]) -> Option<Snapshot> {
    let stored = u64::from_le_bytes(*value.get(1..)?.first_chunk()?);
    if value.first() != Some(&VERSION) || stored != checksum(key, value) {
        return None;
    }
    let sequence = Sequence(u64::from_le_bytes(*value.get(CHECKED_FROM..)?.first_chunk()?));
    Some(Snapshot { sequence, bytes: Bytes::copy_from_slice(value.get(BYTES_FROM..)?) })
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value.get(CHECKED_FROM..).unwrap_or_default(), xxh3_64(key))
}

/// The lock beside the folder is ours, so sled's own can only be one of this process that sled has not
/// given back yet: a store that was dropped lives on in sled's threads for a moment.
fn open_unlocked(folder: &Path) -> Result<sled::Db, String> {
    let began = Instant::now();
    loop {
        match open_sled(folder) {
            Err(reason) if reason.contains(LOCKED) && began.elapsed() < UNLOCK_MAX => {
                std::thread::sleep(UNLOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

fn open_sled(folder: &Path) -> Result<sled::Db, String> {
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(CACHE_BYTES_MAX)
        .mode(sled::Mode::LowSpace)
        // Durability is not asked for; this only bounds what a crash makes us read anew.
        .flush_every_ms(Some(1000));
    // Also a walk over every key: what breaks there would break at any later moment.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let db = config.open()?;
        db.iter().keys().try_for_each(|key| key.map(drop))?;
        Ok(db)
    }));
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err::<_, sled::Error>(error)) => Err(error.to_string()),
        Err(_) => Err("sled panicked".to_owned()),
    }
}

/// sled's own lock looks like any other failure, and a store in use must not be put aside.
fn lock(folder: &Path) -> Result<File, SnapshotError> {
    let name = folder.display().to_string();
    let failed =
        |e: io::Error| SnapshotError::Unusable { folder: name.clone(), reason: e.to_string() };
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let path = beside(folder, "lock");
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SnapshotError::InUse { folder: name }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn put_aside(folder: &Path) -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // Twice in a second, the second one waits for its own.
    let free = (now..).map(|time| beside(folder, &format!("bad-{time}"))).find(|p| !p.exists());
    let bad = free.unwrap_or_else(|| beside(folder, "bad"));
    fs::rename(folder, &bad)?;
    let prefix = beside(folder, "bad-");
    let siblings = fs::read_dir(folder.parent().unwrap_or(Path::new(".")))?;
    let mut all: Vec<PathBuf> = siblings.filter_map(|one| Some(one.ok()?.path())).collect();
    all.retain(|path| path.to_string_lossy().starts_with(&*prefix.to_string_lossy()));
    all.sort();
    for old in all.iter().rev().skip(BAD_FOLDERS_MAX) {
        fs::remove_dir_all(old)?;
    }
    Ok(bad)
}

fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    folder.with_file_name(name)
}
