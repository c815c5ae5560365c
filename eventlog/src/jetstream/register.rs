//! A register in a JetStream KV bucket: one key, read from its leader, written under the expected
//! revision. Without the server's own time-to-live, which an update of the key would drop.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::header::{HeaderValue, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use async_nats::jetstream::kv::{self, Store};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::jetstream::{Context, context};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::append::{Try, classify};
use super::{ConnectError, JetStreamLog};
use crate::{Register, RegisterError, Registered};

/// Pause before a bucket that cannot be made is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// The bucket's one key.
const KEY: &str = "roster";

/// The register.
#[derive(Clone)]
pub struct JetStreamRegister {
    context: Context,
    store: Store,
    subject: String,
}

impl std::fmt::Debug for JetStreamRegister {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JetStreamRegister")
            .field("bucket", &self.store.name)
            .finish_non_exhaustive()
    }
}

impl JetStreamLog {
    /// The register of this name beside the log, with as many copies as the log has: the bucket
    /// `<stream>-<name>`, made if it is missing.
    ///
    /// # Errors
    /// [`ConnectError`] when the bucket is not there and cannot be made.
    pub async fn register(&self, name: &str) -> Result<JetStreamRegister, ConnectError> {
        let context = self.reader.context.clone();
        let bucket = format!("{}-{name}", self.settings.stream);
        let deadline = Instant::now() + self.settings.connect_max;
        let store = loop {
            if let Ok(store) = context.get_key_value(&bucket).await {
                break store;
            }
            match self.make(&context, &bucket).await {
                Ok(store) => break store,
                // A cluster that has just started finds no place for it yet.
                Err(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        };
        let subject = format!("{}{KEY}", store.prefix);
        Ok(JetStreamRegister { context, store, subject })
    }

    async fn make(&self, context: &Context, bucket: &str) -> Result<Store, ConnectError> {
        let config = kv::Config {
            bucket: bucket.to_owned(),
            description: "The nodes that share the log, and who works on which partition".into(),
            history: 1,
            num_replicas: self.stream_config().num_replicas,
            ..kv::Config::default()
        };
        let made = context.create_key_value(config).await;
        made.map_err(|error| match error.kind() {
            context::CreateKeyValueErrorKind::TimedOut => {
                ConnectError::Unreachable(error.to_string())
            }
            context::CreateKeyValueErrorKind::InvalidStoreName
            | context::CreateKeyValueErrorKind::TooLongHistory
            | context::CreateKeyValueErrorKind::JetStream
            | context::CreateKeyValueErrorKind::BucketCreate
            | context::CreateKeyValueErrorKind::LimitMarkersNotSupported => {
                ConnectError::Refused { stream: format!("KV_{bucket}"), reason: error.to_string() }
            }
        })
    }
}

impl Register for JetStreamRegister {
    fn read(&self) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        async move {
            let request = self.store.stream.raw_message_builder().last_by_subject(&self.subject);
            match request.send().await {
                // A key that somebody deleted leaves an empty message.
                Ok(message) => Ok(Registered {
                    revision: message.sequence,
                    value: Some(message.payload).filter(|value| !value.is_empty()),
                }),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                    Ok(Registered::default())
                }
                Err(error) => Err(RegisterError::Unavailable(error.to_string())),
            }
        }
        .boxed()
    }

    fn write(&self, value: Bytes, expected: u64) -> BoxFuture<'_, Result<u64, RegisterError>> {
        async move {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(expected));
            let sent = self.context.publish_with_headers(self.subject.clone(), headers, value);
            let acked = match sent.await {
                Ok(ack) => ack.await,
                Err(error) => Err(error),
            };
            acked.map(|ack| ack.sequence).map_err(|error| match classify(&error) {
                Try::Contested => RegisterError::Changed,
                Try::Done(_)
                | Try::Full(_)
                | Try::Refused(_)
                | Try::NoTaker(_)
                | Try::Unknown(_) => RegisterError::Unavailable(error.to_string()),
            })
        }
        .boxed()
    }
}
