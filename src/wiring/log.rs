//! Opening the log and the snapshots that the configuration names.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use copydesk_eventlog::archive::Archived;
use copydesk_eventlog::jetstream::{self, ConnectError};
use copydesk_eventlog::{
    EmbeddedLog, EventLog, JetStreamLog, NoSnapshots, SledSnapshots, SnapshotStore, embedded,
};
use futures::future::BoxFuture;
use tracing::warn;

use crate::config::{Config, Log, LogUrl, SecretRef};

/// A log, and the news of its end.
pub struct OpenLog {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The same log, where other nodes may share it.
    pub shared: Option<Arc<JetStreamLog>>,
    /// Resolves when the log has failed for good: end the process, start again.
    pub fatal: BoxFuture<'static, String>,
}

/// Folder of the embedded log inside the data folder.
const LOG_FOLDER: &str = "log";

/// Opens the log.
///
/// # Errors
/// Why it cannot be opened, and what to do.
pub async fn open_log(config: &Config) -> anyhow::Result<OpenLog> {
    let data_dir = &config.data_dir;
    // Posts and tokens lie in it: nobody else on the machine reads them.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.with_context(|| format!("cannot make the data folder {}", data_dir.display()))?;
    match &config.log.url {
        LogUrl::Embedded => open_embedded(data_dir).await,
        LogUrl::Nats(servers) => open_jetstream(&config.log, &servers.to_string()).await,
    }
}

async fn open_jetstream(log: &Log, servers: &str) -> anyhow::Result<OpenLog> {
    let mut settings = jetstream::Settings::new(servers);
    settings.stream.clone_from(&log.stream);
    settings.replicas = usize::from(log.replicas);
    settings.sync_always = log.sync_always;
    settings.credentials_file = creds_file("log", log.credentials.as_ref())?;
    let log = JetStreamLog::connect(settings).await.map_err(|error| {
        let help = match &error {
            ConnectError::BadSettings(_) => "write log.url = \"nats://host:4222\"",
            ConnectError::Unreachable(_) => {
                "start nats-server with JetStream (`nats-server -js`), or correct log.url"
            }
            ConnectError::Unauthorized => "set log.credentials to the user's .creds file",
            ConnectError::OldServer { .. } => "upgrade nats-server, then start again",
            ConnectError::WrongStream { .. } => {
                "name another stream in log.stream, or give this one the right settings"
            }
            ConnectError::Refused { .. } => "give the user the rights to create the stream",
        };
        anyhow::Error::new(error).context(format!("log.url: {help}"))
    })?;
    // The client reconnects by itself for as long as the node lives.
    let log = Arc::new(log);
    let fatal = Box::pin(std::future::pending());
    Ok(OpenLog { log: log.clone(), shared: Some(log), fatal })
}

/// The `.creds` file of a table of the configuration.
pub(super) fn creds_file(
    table: &str,
    credentials: Option<&SecretRef>,
) -> anyhow::Result<Option<PathBuf>> {
    match credentials {
        None => Ok(None),
        Some(SecretRef::File(path)) => Ok(Some(path.clone())),
        Some(SecretRef::Env(_)) => anyhow::bail!(
            "{table}.credentials: write \"file:PATH\"; NATS reads its .creds from a file"
        ),
    }
}

/// Makes the embedded log of a data folder that has none out of an archive.
///
/// # Errors
/// Why not; nothing is restored then.
pub async fn restore_log(data_dir: &Path, archive: &Path) -> anyhow::Result<Archived> {
    let (dir, archive) = (data_dir.join(LOG_FOLDER), archive.to_owned());
    let settings = embedded::Settings::default();
    let restore = move || EmbeddedLog::restore(&dir, &archive, settings, |_| {});
    Ok(tokio::task::spawn_blocking(restore).await.context("restoring the log")??)
}

async fn open_embedded(data_dir: &Path) -> anyhow::Result<OpenLog> {
    let dir = data_dir.join(LOG_FOLDER);
    let open = move || EmbeddedLog::open(&dir, embedded::Settings::default());
    let log = tokio::task::spawn_blocking(open).await.context("opening the log")??;
    let fatal = Box::pin(log.fatal());
    Ok(OpenLog { log: Arc::new(log), shared: None, fatal })
}

/// Folder of the snapshots inside the data folder.
const SNAPSHOTS_FOLDER: &str = "snapshots";

/// Opens the snapshots. They are a cache: when they cannot be had, the node runs without.
pub async fn open_snapshots(data_dir: &Path) -> Arc<dyn SnapshotStore> {
    let dir = data_dir.join(SNAPSHOTS_FOLDER);
    let opened = tokio::task::spawn_blocking(move || SledSnapshots::open(&dir)).await;
    let reason = match opened {
        Ok(Ok(snapshots)) => return Arc::new(snapshots),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    warn!(reason, "no snapshots: posts are loaded from the log alone");
    Arc::new(NoSnapshots)
}
