//! A place for files of JSON lines: a folder, or a bucket of an S3-compatible store.

use std::sync::Arc;

use copydesk_proto::Timestamp;
use jiff::tz::TimeZone;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

/// The place, and what stands before each file's name in it.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// The folder or the bucket.
    pub store: Arc<dyn ObjectStore>,
    /// What stands before each file's name; may be empty.
    pub prefix: Path,
}

impl Bucket {
    /// A place without a file.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { store, prefix }
    }

    /// The same, one folder below.
    #[must_use]
    pub fn below(self, folder: &str) -> Self {
        Self { prefix: self.prefix.join(folder), ..self }
    }

    /// Writes `PREFIX/2026/11/28/<name>`, by the day (UTC) of a time. A file is there as a whole or
    /// not at all.
    pub(crate) async fn put(
        &self,
        day: Timestamp,
        name: &str,
        text: impl Into<PutPayload>,
    ) -> Result<(), object_store::Error> {
        let day = at(day).to_zoned(TimeZone::UTC).strftime("%Y/%m/%d").to_string();
        let path = day.split('/').fold(self.prefix.clone(), |path, part| path.join(part));
        self.store.put(&path.join(name), text.into()).await.map(drop)
    }
}

/// A time, as files show it.
pub(crate) fn at(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(time.0).unwrap_or_default()
}
