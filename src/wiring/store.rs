//! Opening the places for files that the configuration names: of the archive and of subscribers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use copydesk_actors::bucket::Bucket;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, RetryConfig};
use secrecy::ExposeSecret;

use super::settings::secret;
use crate::config::{Secrets, Store, StoreUrl};

/// Longest try of one file, and of all tries of it. The archive goes on for ever, a notice for days.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);
const TRIES_TIMEOUT: Duration = Duration::from_secs(120);
const RETRIES_MAX: usize = 3;

/// `None` where none is named. `table`: its name in the configuration, for errors.
pub(super) fn bucket(
    settings: &Store,
    secrets: &Secrets,
    table: &str,
) -> anyhow::Result<Option<Bucket>> {
    match &settings.url {
        StoreUrl::None => Ok(None),
        StoreUrl::Folder(folder) => {
            let opened = std::fs::create_dir_all(folder)
                .map_err(anyhow::Error::from)
                .and_then(|()| Ok(LocalFileSystem::new_with_prefix(folder)?));
            let opened = opened.with_context(|| format!("{table}.url: {}", folder.display()))?;
            Ok(Some(Bucket::new(Arc::new(opened.with_fsync(true)), Path::default())))
        }
        StoreUrl::S3 { bucket, prefix } => {
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
            let store = s3.build().with_context(|| table.to_owned())?;
            let prefix = Path::parse(prefix).with_context(|| format!("{table}.url"))?;
            Ok(Some(Bucket::new(Arc::new(store), prefix)))
        }
    }
}
