//! A look at fjall's journals before fjall sees them. fjall 3.1 cuts a journal at the first
//! entry it cannot parse, whatever follows; and it refuses to open at all when the last batch,
//! which nobody was told about, was written in part. Both are decided here, reading only:
//! acknowledged records behind a broken place are an error, an unfinished end is cut.
//!
//! The format is fjall's (`journal/entry.rs` and `journal/batch_reader.rs` of 3.1.13): start =
//! 1, count u32, seqno u64; item = 2, type u8, compression u8, keyspace u64, key length u16,
//! value length u32 twice, key, value; end = 3, XXH3-64 of the items, magic; clear = 4,
//! keyspace u64; little-endian. Only the keyspace `records` has keys of 8 bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tracing::warn;
use xxhash_rust::xxh3::Xxh3;

use crate::{ReadError, Sequence};

/// Longest value fjall may have of us, far above any record.
const VALUE_BYTES_MAX: u32 = 4 * 1024 * 1024;

const MAGIC: [u8; 4] = [b'F', b'J', b'L', 3];

/// What the journals hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Journals {
    /// The oldest record that is (also) in a journal.
    pub(super) oldest: Option<Sequence>,
    newest: Option<Sequence>,
    seqno: Option<u64>,
}

/// Reads every journal in the folder and cuts the end of the newest one if it was never
/// finished, judged by the newest sequence that can have been acknowledged.
///
/// # Errors
/// [`ReadError::Corrupt`] when something acknowledged is broken. Nothing is changed then.
pub(super) fn check(dir: &Path, acknowledged: Sequence) -> Result<Journals, ReadError> {
    let failed = |e: io::Error| ReadError::Unavailable(format!("{}: {e}", dir.display()));
    let files = journals(dir).map_err(failed)?;
    let mut found = Journals::default();
    for (at, path) in files.iter().enumerate() {
        let Some(broken) = found.walk(path).map_err(failed)? else { continue };
        let newest = at + 1 == files.len();
        let unfinished = found.newest >= Some(acknowledged)
            || broken.first_record.is_some_and(|first| first > acknowledged);
        if !newest || !unfinished {
            return Err(ReadError::Corrupt {
                place: format!("{} at byte {}", path.display(), broken.at),
                reason: format!("acknowledged records up to {acknowledged} stand behind it"),
            });
        }
        warn!(path = %path.display(), at = broken.at, "cut the unfinished end of the journal");
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(broken.at).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    Ok(found)
}

/// The journals, oldest first.
fn journals(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (Some(number), Some("jnl")) = (number, path.extension().and_then(|e| e.to_str())) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

struct Broken {
    /// The end of the last good batch.
    at: u64,
    /// The first record of the broken batch, if that much can be read.
    first_record: Option<Sequence>,
}

impl Journals {
    /// Reads one journal to its end or to its first broken place.
    fn walk(&mut self, path: &Path) -> io::Result<Option<Broken>> {
        let mut file = BufReader::with_capacity(64 * 1024, File::open(path)?);
        let mut at = 0;
        loop {
            let mut batch = Batch::new(&mut file);
            let whole = match batch.read() {
                Ok(whole) => whole && self.seqno.is_none_or(|before| before < batch.seqno),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => false,
                Err(e) => return Err(e),
            };
            let Batch { bytes, seqno, first, last, .. } = batch;
            if !whole {
                file.seek(SeekFrom::Start(at))?;
                let padding = is_zero(&mut file)?;
                return Ok((!padding).then_some(Broken { at, first_record: first }));
            }
            at += bytes;
            self.seqno = Some(seqno);
            self.oldest = self.oldest.or(first);
            self.newest = self.newest.max(last);
        }
    }
}

struct Batch<'a, R> {
    file: &'a mut R,
    items: Xxh3,
    bytes: u64,
    seqno: u64,
    first: Option<Sequence>,
    last: Option<Sequence>,
}

impl<'a, R: Read> Batch<'a, R> {
    fn new(file: &'a mut R) -> Self {
        Self { file, items: Xxh3::new(), bytes: 0, seqno: 0, first: None, last: None }
    }

    /// Whether a whole and consistent batch could be read.
    fn read(&mut self) -> io::Result<bool> {
        let [1] = self.array()? else { return Ok(false) };
        let count = u32::from_le_bytes(self.array()?);
        self.seqno = u64::from_le_bytes(self.array()?);
        self.items.reset();
        for _ in 0..count {
            if !self.item()? {
                return Ok(false);
            }
        }
        let checksum = self.items.digest();
        let [3] = self.array()? else { return Ok(false) };
        Ok(u64::from_le_bytes(self.array()?) == checksum && self.array()? == MAGIC)
    }

    fn item(&mut self) -> io::Result<bool> {
        match self.array()? {
            [2] => {}
            [4] => return self.array::<8>().map(|_| true),
            [_] => return Ok(false),
        }
        let [kind, compression] = self.array()?;
        self.array::<8>()?;
        let key_length = u16::from_le_bytes(self.array()?);
        let [length, stored] = [self.array()?, self.array()?].map(u32::from_le_bytes);
        if compression != 0 || length != stored || length > VALUE_BYTES_MAX {
            return Ok(false);
        }
        if (kind, key_length) == (0, 8) {
            let sequence = Sequence(u64::from_be_bytes(self.array()?));
            self.first = self.first.or(Some(sequence));
            self.last = Some(sequence);
        } else {
            self.skip(u64::from(key_length))?;
        }
        self.skip(u64::from(length))?;
        Ok(true)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.file.read_exact(&mut array)?;
        self.items.update(&array);
        self.bytes += N as u64;
        Ok(array)
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        let mut left = count;
        let mut buffer = [0; 4096];
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let Some(part) = buffer.get_mut(..part) else { break };
            self.file.read_exact(part)?;
            self.items.update(part);
            left -= part.len() as u64;
        }
        self.bytes += count;
        Ok(())
    }
}

fn is_zero(file: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok(true);
        }
        if buffer.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        let length = buffer.len();
        file.consume(length);
    }
}
