//! A sink that is a folder: a line of JSON a notice, in files by the day it was written.

use std::fs::{File, OpenOptions, create_dir_all};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_proto::SubscriberId;
use tokio::sync::Mutex;

use super::notice::Parcel;
use crate::World;
use crate::records::rfc3339;

/// `<folder>/<subscriber>-<day>.jsonl`. Lines are whole and durable once written.
#[derive(Debug)]
pub struct Folder {
    folder: PathBuf,
    name: String,
    /// One line at a time.
    turn: Arc<Mutex<()>>,
}

impl Folder {
    pub(super) fn new(folder: PathBuf, id: &SubscriberId) -> Self {
        Self { folder, name: id.to_string(), turn: Arc::default() }
    }

    pub(super) fn target(&self) -> String {
        self.folder.display().to_string()
    }

    pub(super) async fn write(&self, parcel: &Parcel) -> Result<(), Failure> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let today = rfc3339(World::now());
        let day = today.get(..10).unwrap_or("unknown");
        let path = self.folder.join(format!("{}-{day}.jsonl", self.name));
        let line = parcel.line();
        let written = tokio::task::spawn_blocking(move || {
            let written = append(&path, &line);
            drop(turn);
            written
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(failed(&io::Error::other("the write was broken off"))),
        }
    }
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let is_new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let mut whole = Vec::with_capacity(line.len() + 1);
    // A power cut may have left half a line: what follows must not be joined to it.
    if !ends_with_newline(&mut file)? {
        whole.push(b'\n');
    }
    whole.extend_from_slice(line);
    file.write_all(&whole)?;
    file.sync_data()?;
    if is_new {
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn ends_with_newline(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn failed(error: &io::Error) -> Failure {
    let cause = format!("the folder cannot be written: {error}");
    Failure::new(FailureClass::Retry, "sink_unwritable", cause)
}
