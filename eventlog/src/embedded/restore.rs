//! A log from an archive: the same records under the same sequences, as another incarnation.

use std::path::{Path, PathBuf};

use fjall::{PersistMode, UserValue};

use super::head::Head;
use super::settings::Settings;
use super::store::{BLOCK_RECORDS, Store, block_of, subject_key, trimmed_key};
use crate::archive::{Archive, ArchiveError, Archived, Next, failed, sync_folder_of};
use crate::memory::wall_clock_ms;
use crate::{LogId, Sequence};

/// Records in one batch; at 1 KB each, a megabyte.
const BATCH: usize = 1024;

/// Builds the log in `dir`, which must not be there or be empty. It gets a new id, greater than
/// the archive's: whoever compares ids (snapshots, delivery ids, the fence in WordPress) knows it
/// from the one that the archive was taken of, whatever that did afterwards.
pub(super) fn restore(
    dir: &Path,
    archive: &Path,
    settings: Settings,
    progress: impl FnMut(Sequence),
) -> Result<Archived, ArchiveError> {
    let occupied = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(ArchiveError::Occupied(dir.display().to_string()));
    }
    // Whole, before anything is built out of it.
    Archive::open(archive)?.to_the_end()?;
    let mut archive = Archive::open(archive)?;
    let building = building(dir);
    if building.exists() {
        // Of a restore that did not come to its end.
        std::fs::remove_dir_all(&building).map_err(failed(&building))?;
    }
    std::fs::create_dir_all(&building).map_err(failed(&building))?;
    let built = fill(&building, &mut archive, settings, progress);
    let archived = built.inspect_err(|_| {
        // It is of no use, and the next restore would remove it.
        let _there = std::fs::remove_dir_all(&building);
    })?;
    if dir.exists() {
        std::fs::remove_dir(dir).map_err(failed(dir))?;
    }
    std::fs::rename(&building, dir).map_err(failed(dir))?;
    sync_folder_of(dir)?;
    Ok(archived)
}

fn building(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".restoring");
    PathBuf::from(name)
}

fn fill(
    dir: &Path,
    archive: &mut Archive,
    settings: Settings,
    mut progress: impl FnMut(Sequence),
) -> Result<Archived, ArchiveError> {
    let failed_with = |e: fjall::Error| failed(dir)(std::io::Error::other(e));
    let store = Store::open(&dir.join("store"), settings).map_err(failed_with)?;
    let mut batch = store.db.batch().durability(None);
    let (mut pending, mut blocks) = (0, Blocks::default());
    let archived = loop {
        match archive.next()? {
            Next::End(archived) => break archived,
            Next::Record(record, value) => {
                let sequence = record.sequence;
                batch.insert(&store.records, sequence.0.to_be_bytes(), UserValue::from(value));
                let index = subject_key(&record.subject, sequence);
                batch.insert(&store.subjects, index, UserValue::empty());
                blocks.count(sequence);
                pending += 1;
                if pending == BATCH {
                    let full = std::mem::replace(&mut batch, store.db.batch().durability(None));
                    full.commit().map_err(failed_with)?;
                    pending = 0;
                    progress(sequence);
                }
            }
        }
    };
    for (block, count) in blocks.trimmed(archived.last) {
        batch.insert(&store.meta, trimmed_key(block), count.to_le_bytes());
    }
    let id = LogId(wall_clock_ms().unsigned_abs().max(archived.id.0 + 1));
    batch.insert(&store.meta, "id", id.0.to_le_bytes());
    batch.commit().map_err(failed_with)?;
    store.db.persist(PersistMode::SyncAll).map_err(failed_with)?;
    let head = dir.join("head");
    Head::create(&head, id, archived.last).map_err(failed(&head))?;
    Ok(archived)
}

/// How many records each block has, so that what is missing can be told as trimmed.
#[derive(Default)]
struct Blocks(std::collections::BTreeMap<u64, u64>);

impl Blocks {
    fn count(&mut self, sequence: Sequence) {
        *self.0.entry(block_of(sequence)).or_default() += 1;
    }

    fn trimmed(&self, last: Sequence) -> impl Iterator<Item = (u64, u64)> {
        let blocks = if last == Sequence(0) { 0 } else { block_of(last) + 1 };
        (0..blocks).filter_map(move |block| {
            let start = (block * BLOCK_RECORDS).max(1);
            let end = ((block + 1) * BLOCK_RECORDS - 1).min(last.0);
            let here = self.0.get(&block).copied().unwrap_or(0);
            let missing = (end + 1 - start).saturating_sub(here);
            (missing > 0).then_some((block, missing))
        })
    }
}
