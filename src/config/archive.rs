//! `[archive]`: where every webhook's payload is kept as it came.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use url::Url;

use super::values::{SecretRef, from_text, http_url_opt};

/// `[archive]`: a copy of every payload outside the log. History is trimmed only behind it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Archive {
    /// Where.
    #[serde(deserialize_with = "from_text")]
    pub url: ArchiveUrl,
    /// The bucket's region.
    pub region: String,
    /// Where the bucket is, unless it is AWS's.
    #[serde(deserialize_with = "http_url_opt")]
    pub endpoint: Option<Url>,
    /// The key's id.
    pub access_key: Option<SecretRef>,
    /// The key.
    pub secret_key: Option<SecretRef>,
}

impl Default for Archive {
    fn default() -> Self {
        Self {
            url: ArchiveUrl::None,
            region: "us-east-1".to_owned(),
            endpoint: None,
            access_key: None,
            secret_key: None,
        }
    }
}

/// Which archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveUrl {
    /// There is none.
    None,
    /// Files in a folder.
    Folder(PathBuf),
    /// Objects of an S3-compatible store.
    S3 {
        /// The bucket.
        bucket: String,
        /// What stands before each object's name; may be empty.
        prefix: String,
    },
}

/// The text names no archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an archive is a folder's absolute path, or \"s3://BUCKET/PREFIX\"")]
pub struct BadArchiveUrl;

impl FromStr for ArchiveUrl {
    type Err = BadArchiveUrl;

    fn from_str(text: &str) -> Result<Self, BadArchiveUrl> {
        if text.is_empty() {
            return Ok(Self::None);
        }
        if text.starts_with('/') {
            return Ok(Self::Folder(text.into()));
        }
        let (bucket, prefix) = text
            .strip_prefix("s3://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            .ok_or(BadArchiveUrl)?;
        // What S3 allows in a bucket's name.
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) {
            return Err(BadArchiveUrl);
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}
