//! The snapshot stores, whole and broken.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use copydesk_eventlog::{
    MemorySnapshots, Sequence, SledSnapshots, Snapshot, SnapshotError, SnapshotStore,
};
use tempfile::TempDir;

fn snapshot(n: u64) -> Snapshot {
    Snapshot { sequence: Sequence(n), bytes: Bytes::from(n.to_string().repeat(300)) }
}

fn key(n: u64) -> Vec<u8> {
    format!("post-{n}").into_bytes()
}

fn fill(store: &dyn SnapshotStore, count: u64) {
    for n in 0..count {
        store.put(&key(n), &snapshot(n));
    }
    store.flush();
}

fn keeps_snapshots(store: &dyn SnapshotStore) {
    fill(store, 100);
    assert_eq!(store.get(&key(7)), Some(snapshot(7)));
    store.put(&key(7), &snapshot(8));
    assert_eq!(store.get(&key(7)), Some(snapshot(8)));
    store.remove(&key(7));
    assert_eq!(store.get(&key(7)), None);
    assert_eq!(store.get(&key(1000)), None);
    assert!(store.size_bytes() > 100 * 300);
    assert_eq!(store.faults(), 0);
}

#[test]
fn memory_keeps_snapshots() {
    keeps_snapshots(&MemorySnapshots::default());
}

#[test]
fn sled_keeps_snapshots_also_over_a_reopening() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("snapshots");
    keeps_snapshots(&SledSnapshots::open(&path).unwrap());
    let store = SledSnapshots::open(&path).unwrap();
    assert_eq!(store.get(&key(99)), Some(snapshot(99)));
    assert_eq!(store.get(&key(7)), None);
}

#[test]
fn a_store_in_use_is_said_so_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("snapshots");
    let store = SledSnapshots::open(&path).unwrap();
    fill(&store, 10);
    let refused = SledSnapshots::open(&path).unwrap_err();
    assert!(matches!(refused, SnapshotError::InUse { .. }), "{refused:?}");
    assert_eq!(store.get(&key(3)), Some(snapshot(3)));
}

/// Every file of the folder with its bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Breaks every file at several places, each time in a fresh copy, and opens the store.
fn survives(damage: impl Fn(&mut Vec<u8>, usize)) -> (usize, usize) {
    let original = TempDir::new().unwrap();
    let path = original.path().join("snapshots");
    fill(&SledSnapshots::open(&path).unwrap(), 500);
    let (mut put_aside, mut missing) = (0, 0);
    for (broken, bytes) in files(&path) {
        for eighth in 0..8 {
            let copy = TempDir::new().unwrap();
            for (file, bytes) in files(&path) {
                let target = copy.path().join(file.strip_prefix(original.path()).unwrap());
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::write(target, bytes).unwrap();
            }
            let mut bytes = bytes.clone();
            let place = bytes.len() * eighth / 8;
            damage(&mut bytes, place);
            fs::write(copy.path().join(broken.strip_prefix(original.path()).unwrap()), bytes)
                .unwrap();
            let store = SledSnapshots::open(&copy.path().join("snapshots")).unwrap();
            for n in 0..500 {
                match store.get(&key(n)) {
                    Some(found) => assert_eq!(found, snapshot(n), "a wrong snapshot"),
                    None => missing += 1,
                }
            }
            fill(&store, 20);
            let bad = fs::read_dir(copy.path()).unwrap();
            let bad = bad.filter(|one| {
                one.as_ref().unwrap().file_name().to_string_lossy().starts_with("snapshots.bad-")
            });
            let bad = bad.count();
            // What is put aside is replaced by an empty store that works.
            assert!(bad == 0 || store.get(&key(19)) == Some(snapshot(19)));
            put_aside += bad;
        }
    }
    (put_aside, missing)
}

#[test]
fn a_flipped_byte_never_gives_a_wrong_snapshot() {
    let (put_aside, missing) = survives(|bytes, place| {
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 0x10;
        }
    });
    assert!(put_aside + missing > 0);
}

#[test]
fn a_cut_file_is_put_aside_and_the_store_starts_empty() {
    let (put_aside, missing) = survives(Vec::truncate);
    assert!(put_aside > 0 && missing > 0);
}

#[test]
fn broken_folders_do_not_pile_up() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("snapshots");
    for _ in 0..5 {
        fs::create_dir_all(&path).unwrap();
        for file in ["conf", "db"] {
            fs::write(path.join(file), b"this is no sled at all").unwrap();
        }
        fill(&SledSnapshots::open(&path).unwrap(), 3);
    }
    let bad = fs::read_dir(folder.path()).unwrap().filter(|one| {
        one.as_ref().unwrap().file_name().to_string_lossy().starts_with("snapshots.bad-")
    });
    assert_eq!(bad.count(), 2);
}
