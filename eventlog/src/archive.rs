//! A whole log in one file, to keep elsewhere: taken of any log while it is written to, read back by
//! [`EmbeddedLog::restore`](crate::EmbeddedLog::restore).
//!
//! ```text
//! head    "cd-arch1" | log id u64
//! record  length u32 | sequence u64 | the record as the embedded log stores it, with its checksum
//! end     0 u32 | records u64 | XXH3-64 of everything before it
//! ```
//! Numbers are little-endian. A file without its end is not an archive: what was cut is found out.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use xxhash_rust::xxh3::Xxh3;

use crate::embedded::record;
use crate::{EventLog, Filter, LogId, ReadError, Record, Sequence};

const MAGIC: [u8; 8] = *b"cd-arch1";

/// Records read from the log at a time; of the largest, 96 MiB.
const PAGE: usize = 256;

/// Longest stored record: a payload of 384 KiB with its subject and headers, far below this.
const VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archived {
    /// The log it was taken of.
    pub id: LogId,
    /// How many records.
    pub records: u64,
    /// The newest of them, 0 for none.
    pub last: Sequence,
}

/// Why an archive could not be written, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file or the folder cannot be used.
    #[error("{path} cannot be used")]
    Io {
        /// Which.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The archive did not come to its end.
    #[error("the archive broke off")]
    Source(#[source] BoxError),
    /// The file is not what was written.
    #[error("{path} is not a whole archive: {reason}")]
    Broken {
        /// The file.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// There is a log already.
    #[error("there is a log in {0} already: move it away first")]
    Occupied(String),
}

pub(crate) fn failed(path: &Path) -> impl Fn(io::Error) -> ArchiveError {
    let path = path.display().to_string();
    move |source| ArchiveError::Io { path: path.clone(), source }
}

/// The archive of a log up to its present end or further, in parts of up to [`PAGE`] records. Trims
/// may go on meanwhile. After an error the stream ends, and what came before is no archive.
#[must_use]
pub fn archive(log: Arc<dyn EventLog>) -> BoxStream<'static, Result<Bytes, ReadError>> {
    let writer = Writer { log, end: None, last: Sequence(0), records: 0, hash: Xxh3::new() };
    stream::try_unfold(Some(writer), |writer| async {
        let Some(mut writer) = writer else { return Ok(None) };
        let (part, more) = writer.part().await?;
        Ok(Some((part, more.then_some(writer))))
    })
    .boxed()
}

struct Writer {
    log: Arc<dyn EventLog>,
    /// Where the log ended at the first part, or further on.
    end: Option<Sequence>,
    last: Sequence,
    records: u64,
    hash: Xxh3,
}

impl Writer {
    /// The next part, and whether there are more.
    async fn part(&mut self) -> Result<(Bytes, bool), ReadError> {
        let mut out = Vec::new();
        if self.end.is_none() {
            out.extend_from_slice(&MAGIC);
            out.extend_from_slice(&self.log.id().0.to_le_bytes());
            self.end = Some(self.log.last_sequence().await?);
        }
        let page = self.log.read(self.last, Filter(None), PAGE).await?;
        // What was trimmed before this read is told by a record that was there before it, perhaps
        // beyond the end so far: without that, a post would have lost its history.
        if has_holes(self.last, &page) {
            self.end = Some(self.log.last_sequence().await?);
        }
        let end = self.end.unwrap_or_default();
        let mut value = Vec::new();
        for record in page.iter().filter(|record| record.sequence <= end) {
            record::encode_again(record, &mut value);
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&record.sequence.0.to_le_bytes());
            out.extend_from_slice(&value);
            self.records += 1;
        }
        self.last = page.last().map_or(end, |record| record.sequence);
        let more = self.last < end;
        if !more {
            out.extend_from_slice(&0_u32.to_le_bytes());
            out.extend_from_slice(&self.records.to_le_bytes());
        }
        self.hash.update(&out);
        if !more {
            out.extend_from_slice(&self.hash.digest().to_le_bytes());
        }
        Ok((out.into(), more))
    }
}

/// Whether records are missing behind `after` or between these.
fn has_holes(after: Sequence, page: &[Record]) -> bool {
    let sequences = page.iter().map(|record| record.sequence.0);
    (after.0 + 1..).zip(sequences).any(|(expected, sequence)| expected != sequence)
}

/// Keeps an archive in a new file, which its owner alone can read: synced, and read back whole.
///
/// # Errors
/// [`ArchiveError`]; the file is then not there.
pub async fn keep(
    mut parts: impl Stream<Item = Result<Bytes, BoxError>> + Unpin,
    path: &Path,
    mut progress: impl FnMut(usize),
) -> Result<Archived, ArchiveError> {
    let mut unfinished = Unfinished::create(path)?;
    while let Some(part) = parts.next().await {
        let part = part.map_err(ArchiveError::Source)?;
        unfinished.file.write_all(&part).map_err(failed(&unfinished.path))?;
        progress(part.len());
    }
    let archived = Archive::open(&unfinished.path)?.to_the_end()?;
    unfinished.finish(path)?;
    Ok(archived)
}

/// What stopped the parts of an archive.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A file that is there under its name only when it is whole.
struct Unfinished {
    path: PathBuf,
    file: File,
}

impl Unfinished {
    fn create(path: &Path) -> Result<Self, ArchiveError> {
        if path.exists() {
            let there = io::Error::new(io::ErrorKind::AlreadyExists, "the file is there already");
            return Err(failed(path)(there));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".unfinished");
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        Ok(Self { file: file.map_err(failed(&path))?, path })
    }

    fn finish(self, path: &Path) -> Result<(), ArchiveError> {
        self.file.sync_all().map_err(failed(&self.path))?;
        std::fs::rename(&self.path, path).map_err(failed(path))?;
        sync_folder_of(path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already when it was finished.
        let _gone = std::fs::remove_file(&self.path);
    }
}

pub(crate) fn sync_folder_of(path: &Path) -> Result<(), ArchiveError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

/// Keeps the checksum of what was read.
struct Hashing<R> {
    inner: R,
    hash: Xxh3,
}

impl<R: Read> Hashing<R> {
    fn take(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.hash.update(bytes);
        Ok(())
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.take(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// Reads an archive record by record, in order. The last thing it gives is the end, checked; a
/// reader that stops before knows nothing of what follows.
pub struct Archive {
    path: String,
    input: Hashing<BufReader<File>>,
    so_far: Archived,
}

/// The next thing in an archive.
pub enum Next {
    /// A record, and its stored form.
    Record(Record, Vec<u8>),
    /// The end: all of it was read and is whole.
    End(Archived),
}

impl Archive {
    /// Opens one.
    ///
    /// # Errors
    /// [`ArchiveError`] when it is none.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(failed(path))?;
        let mut input = Hashing { inner: BufReader::new(file), hash: Xxh3::new() };
        let mut magic = [0; 8];
        let id = input.take(&mut magic).and_then(|()| input.number());
        let path = path.display().to_string();
        match id {
            Ok(id) if magic == MAGIC => {
                let so_far = Archived { id: LogId(id), records: 0, last: Sequence(0) };
                Ok(Self { path, input, so_far })
            }
            Ok(_) | Err(_) => {
                let reason = "it does not begin as one".to_owned();
                Err(ArchiveError::Broken { path, reason })
            }
        }
    }

    /// The log it was taken of.
    #[must_use]
    pub const fn id(&self) -> LogId {
        self.so_far.id
    }

    /// The next record, or the end.
    ///
    /// # Errors
    /// [`ArchiveError::Broken`] when the file is not what was written.
    #[expect(clippy::should_implement_trait, reason = "it ends with a value of its own")]
    pub fn next(&mut self) -> Result<Next, ArchiveError> {
        self.read().map_err(|error| {
            let cut = error.kind() == io::ErrorKind::UnexpectedEof;
            let reason = if cut { "its end is missing".to_owned() } else { error.to_string() };
            ArchiveError::Broken { path: self.path.clone(), reason }
        })
    }

    /// Reads what is left, and says what all of it holds.
    ///
    /// # Errors
    /// As [`Archive::next`].
    pub fn to_the_end(mut self) -> Result<Archived, ArchiveError> {
        loop {
            match self.next()? {
                Next::Record(..) => {}
                Next::End(archived) => return Ok(archived),
            }
        }
    }

    fn read(&mut self) -> io::Result<Next> {
        let broken = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let mut length = [0; 4];
        self.input.take(&mut length)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length == 0 {
            let records = self.input.number()?;
            let checksum = self.input.hash.digest();
            let mut stored = [0; 8];
            self.input.inner.read_exact(&mut stored)?;
            if u64::from_le_bytes(stored) != checksum || records != self.so_far.records {
                return Err(broken("its checksum does not fit".to_owned()));
            }
            return Ok(Next::End(self.so_far));
        }
        if length > VALUE_BYTES_MAX {
            return Err(broken(format!("a record of {length} bytes")));
        }
        let sequence = Sequence(self.input.number()?);
        if sequence <= self.so_far.last {
            return Err(broken(format!("record {sequence} comes after {}", self.so_far.last)));
        }
        let mut value = vec![0; length];
        self.input.take(&mut value)?;
        let stored = record::decode(sequence, &value.as_slice().into());
        let record = stored.map_err(|error| broken(error.to_string()))?.record;
        self.so_far.last = sequence;
        self.so_far.records += 1;
        Ok(Next::Record(record, value))
    }
}
