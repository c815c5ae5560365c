//! Every log against the one list of cases.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::sync::Arc;

use copydesk_eventlog::conformance::{self, Host};
use copydesk_eventlog::embedded::Settings;
use copydesk_eventlog::{EmbeddedLog, EventLog, MemoryLog};
use futures::FutureExt;
use futures::future::BoxFuture;
use tempfile::TempDir;

struct Memory;

impl Host for Memory {
    fn fresh(&mut self) -> BoxFuture<'_, Arc<dyn EventLog>> {
        async { Arc::new(MemoryLog::new()) as Arc<dyn EventLog> }.boxed()
    }

    fn reopen(&mut self, _log: Arc<dyn EventLog>) -> BoxFuture<'_, Option<Arc<dyn EventLog>>> {
        async { None }.boxed()
    }
}

/// With `ring_bytes_max` zero every read goes to the disk.
struct Embedded {
    folder: TempDir,
    settings: Settings,
}

impl Embedded {
    fn new(settings: Settings) -> Self {
        Self { folder: TempDir::new().unwrap(), settings }
    }

    fn open(&self) -> Arc<dyn EventLog> {
        Arc::new(EmbeddedLog::open(self.folder.path(), self.settings).unwrap())
    }
}

impl Host for Embedded {
    fn fresh(&mut self) -> BoxFuture<'_, Arc<dyn EventLog>> {
        self.folder = TempDir::new().unwrap();
        async { self.open() }.boxed()
    }

    fn reopen(&mut self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Option<Arc<dyn EventLog>>> {
        async move {
            log.close().await;
            Some(self.open())
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    conformance::check(&mut Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded() {
    conformance::check(&mut Embedded::new(Settings::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_from_disk() {
    let settings = Settings { ring_bytes_max: 0, ..Settings::default() };
    conformance::check(&mut Embedded::new(settings)).await;
}

/// One thread only: nothing of the log may need a second one of the runtime's.
#[tokio::test]
async fn embedded_on_one_thread() {
    conformance::check(&mut Embedded::new(Settings::default())).await;
}
