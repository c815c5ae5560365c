//! Opening the log and the snapshots that the configuration names.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use copydesk_eventlog::{EmbeddedLog, EventLog, SnapshotStore, embedded};
use futures::future::BoxFuture;

use crate::config::{Config, LogUrl, Secrets};

/// A log, and the news of its end.
pub struct OpenLog {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Resolves when the log has failed for good: end the process, start again.
    pub fatal: BoxFuture<'static, String>,
}

/// Folder of the embedded log inside the data folder.
const LOG_FOLDER: &str = "log";

/// Opens the log.
///
/// # Errors
/// Why it cannot be opened, and what to do.
pub async fn open_log(config: &Config, _secrets: &Secrets) -> anyhow::Result<OpenLog> {
    match &config.log.url {
        LogUrl::Embedded => open_embedded(&config.data_dir).await,
        LogUrl::Nats(_) => anyhow::bail!("nats"),
    }
}

async fn open_embedded(data_dir: &Path) -> anyhow::Result<OpenLog> {
    let dir = data_dir.join(LOG_FOLDER);
    let open = move || EmbeddedLog::open(&dir, embedded::Settings::default());
    let log = tokio::task::spawn_blocking(open).await.context("opening the log")??;
    let fatal = Box::pin(log.fatal());
    Ok(OpenLog { log: Arc::new(log), fatal })
}

/// Opens the snapshots. They are a cache: when they cannot be had, the node runs without.
pub async fn open_snapshots(_data_dir: &Path) -> Arc<dyn SnapshotStore> {
    Arc::new(copydesk_eventlog::MemorySnapshots::default())
}
