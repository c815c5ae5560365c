//! The file `head`: how far the log went. fjall cuts its journal at the first place it cannot
//! read and opens without a word, also when acknowledged records stood behind it; this file
//! tells the difference.
//!
//! It is written after every group commit and not synced: after a crash of the process it is
//! exact, after a power cut it may be some seconds behind, never ahead. Two slots take turns, so
//! that a torn write costs one commit of knowledge.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::{LogId, ReadError, Sequence};

const MAGIC: [u8; 8] = *b"cd-head1";
const SLOT_BYTES: u64 = 4096;

pub(super) struct Head {
    file: File,
    id: LogId,
    slot: u64,
}

impl Head {
    /// What the file says; `None` when there is no file.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] when both slots are unreadable.
    pub(super) fn read(path: &Path) -> Result<Option<(LogId, Sequence)>, ReadError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(ReadError::Unavailable(format!("{}: {e}", path.display()))),
        };
        let slots = [0, 4096].map(|at| bytes.get(at..).and_then(parse));
        let newest = slots.into_iter().flatten().max_by_key(|(_, sequence)| *sequence);
        newest.map(Some).ok_or_else(|| ReadError::Corrupt {
            place: path.display().to_string(),
            reason: "neither slot is readable".to_owned(),
        })
    }

    /// Creates or rewrites the file, synced.
    pub(super) fn create(path: &Path, id: LogId, last: Sequence) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let mut head = Self { file, id, slot: 0 };
        head.write(last)?;
        head.write(last)?;
        head.file.sync_all()?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(head)
    }

    /// Writes how far the log went.
    pub(super) fn write(&mut self, last: Sequence) -> io::Result<()> {
        let mut slot = [0; 32];
        slot[..8].copy_from_slice(&MAGIC);
        slot[8..16].copy_from_slice(&self.id.0.to_le_bytes());
        slot[16..24].copy_from_slice(&last.0.to_le_bytes());
        let checksum = xxh3_64(&slot[..24]);
        slot[24..].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&slot, self.slot * SLOT_BYTES)?;
        self.slot ^= 1;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn parse(bytes: &[u8]) -> Option<(LogId, Sequence)> {
    let slot: &[u8; 32] = bytes.first_chunk()?;
    let number = |at: usize| slot.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b));
    let whole = slot.starts_with(&MAGIC) && number(24)? == xxh3_64(&slot[..24]);
    whole.then_some((LogId(number(8)?), Sequence(number(16)?)))
}
