//! The JetStream log against real nats-servers.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use copydesk_eventlog::conformance::{self, Host};
use copydesk_eventlog::jetstream::{ConnectError, Settings};
use copydesk_eventlog::testing::NatsServer;
use copydesk_eventlog::{
    AppendError, Appended, EventLog, Filter, JetStreamLog, MessageId, NewRecord, Sequence, Subject,
};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

struct JetStream {
    server: NatsServer,
}

async fn connect(server: &NatsServer) -> Arc<dyn EventLog> {
    Arc::new(JetStreamLog::connect(Settings::new(&server.url())).await.unwrap())
}

impl Host for JetStream {
    fn fresh(&mut self) -> BoxFuture<'_, Arc<dyn EventLog>> {
        async {
            let client = async_nats::connect(self.server.url()).await.unwrap();
            let context = async_nats::jetstream::new(client);
            // There is none at first.
            let _none = context.delete_stream("copydesk").await;
            connect(&self.server).await
        }
        .boxed()
    }

    fn reopen(&mut self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Option<Arc<dyn EventLog>>> {
        async move {
            log.close().await;
            self.server.kill();
            self.server.restart();
            Some(connect(&self.server).await)
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_keeps_every_promise() {
    conformance::check(&mut JetStream { server: NatsServer::start() }).await;
}
