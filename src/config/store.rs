//! A place for files: `[archive]`, where every webhook's payload is kept as it came, and `store` of
//! a subscriber.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use url::Url;

use super::values::{SecretRef, from_text, http_url_opt};

/// A folder, or a bucket of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Where.
    #[serde(deserialize_with = "from_text")]
    pub url: StoreUrl,
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

impl Default for Store {
    fn default() -> Self {
        Self {
            url: StoreUrl::None,
            region: "us-east-1".to_owned(),
            endpoint: None,
            access_key: None,
            secret_key: None,
        }
    }
}

/// Which place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// None.
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

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// The text names no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a store is a folder's absolute path, or \"s3://BUCKET/PREFIX\"")]
pub struct BadStoreUrl;

impl FromStr for StoreUrl {
    type Err = BadStoreUrl;

    fn from_str(text: &str) -> Result<Self, BadStoreUrl> {
        if text.is_empty() {
            return Ok(Self::None);
        }
        if text.starts_with('/') {
            return Ok(Self::Folder(text.into()));
        }
        let (bucket, prefix) = text
            .strip_prefix("s3://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            .ok_or(BadStoreUrl)?;
        // What S3 allows in a bucket's name.
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) {
            return Err(BadStoreUrl);
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}
