//! Opening the archive that the configuration names.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use copydesk_actors::archive::Archive;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, RetryConfig};
use secrecy::ExposeSecret;

use super::settings::secret;
use crate::config::{ArchiveUrl, Config, Secrets};

/// Longest try of one file, and of all tries of it; the archive itself goes on for ever.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);
const TRIES_TIMEOUT: Duration = Duration::from_secs(120);
const RETRIES_MAX: usize = 3;

pub(super) fn archive(config: &Config, secrets: &Secrets) -> anyhow::Result<Option<Archive>> {
    let settings = &config.archive;
    match &settings.url {
        ArchiveUrl::None => Ok(None),
        ArchiveUrl::Folder(folder) => {
            let opened = std::fs::create_dir_all(folder)
                .map_err(anyhow::Error::from)
                .and_then(|()| Ok(LocalFileSystem::new_with_prefix(folder)?));
            let opened = opened.with_context(|| format!("archive.url: {}", folder.display()))?;
            Ok(Some(Archive::new(Arc::new(opened.with_fsync(true)), Path::default())))
        }
        ArchiveUrl::S3 { bucket, prefix } => {
            let retry = RetryConfig {
                max_retries: RETRIES_MAX,
                retry_timeout: TRIES_TIMEOUT,
                ..RetryConfig::default()
            };
            // Without keys in the configuration: AWS's own variables, or the machine's role.
            let mut s3 = AmazonS3Builder::from_env()
                .with_bucket_name(bucket)
                .with_region(&settings.region)
                .with_retry(retry)
                .with_client_options(ClientOptions::new().with_timeout(TRY_TIMEOUT));
            if let Some(endpoint) = &settings.endpoint {
                // A store beside us may have no TLS.
                s3 = s3.with_endpoint(endpoint.as_str().trim_end_matches('/'));
                s3 = s3.with_allow_http(endpoint.scheme() == "http");
            }
            if let Some(place) = &settings.access_key {
                s3 = s3.with_access_key_id(secret(secrets, place)?.expose_secret());
            }
            if let Some(place) = &settings.secret_key {
                s3 = s3.with_secret_access_key(secret(secrets, place)?.expose_secret());
            }
            let store = s3.build().context("archive")?;
            let prefix = Path::parse(prefix).context("archive.url")?;
            Ok(Some(Archive::new(Arc::new(store), prefix)))
        }
    }
}
