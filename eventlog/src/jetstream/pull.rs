//! A consumer for one read: without acknowledgements, in the server's memory, gone soon after.

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, PullConsumer};
use futures::StreamExt;

use super::convert;
use super::read::Reader;
use super::settings::{CONSUMER_IDLE_MAX, PULL_BYTES_MAX, PULL_MESSAGES_MAX, TRY_MAX};
use crate::{ReadError, Record, Sequence};

pub(super) struct Pull {
    consumer: PullConsumer,
    reader: Reader,
    order: Order,
}

/// Notices a message that was lost or doubled on the way.
#[derive(Default)]
pub(super) struct Order {
    number: u64,
    at: Sequence,
}

impl Order {
    /// The record, if it is the one that comes next.
    pub(super) fn next(
        &mut self,
        message: &async_nats::jetstream::Message,
    ) -> Result<Record, ReadError> {
        let (stored, number) = convert::delivered(message)?;
        if number != self.number + 1 || stored.record.sequence <= self.at {
            return Err(ReadError::Unavailable("a message was lost on the way".to_owned()));
        }
        (self.number, self.at) = (number, stored.record.sequence);
        Ok(stored.record)
    }
}

/// The settings of a consumer for these subjects.
pub(super) fn config(
    deliver_policy: DeliverPolicy,
    filter_subjects: Vec<String>,
) -> consumer::pull::Config {
    consumer::pull::Config {
        deliver_policy,
        filter_subjects,
        // Redelivery after an ack that did not come would change the order.
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: CONSUMER_IDLE_MAX,
        ..consumer::pull::Config::default()
    }
}

impl Pull {
    pub(super) async fn open(
        reader: &Reader,
        policy: DeliverPolicy,
        subjects: Vec<String>,
    ) -> Result<Self, ReadError> {
        let consumer = reader.stream.create_consumer(config(policy, subjects)).await;
        let consumer = consumer.map_err(|e| ReadError::Unavailable(e.to_string()))?;
        Ok(Self { consumer, reader: reader.clone(), order: Order::default() })
    }

    /// Messages for this consumer when it was created.
    pub(super) fn pending(&self) -> usize {
        usize::try_from(self.consumer.cached_info().num_pending).unwrap_or(usize::MAX)
    }

    /// The server it runs on; `None` without a cluster.
    pub(super) fn server(&self) -> Option<&str> {
        self.consumer.cached_info().cluster.as_ref()?.leader.as_deref()
    }

    /// Messages for this consumer now.
    pub(super) async fn ask_pending(&self) -> Result<u64, ReadError> {
        let info = self.consumer.get_info().await;
        Ok(info.map_err(|e| ReadError::Unavailable(e.to_string()))?.num_pending)
    }

    /// The next records, up to `limit`, up to one at or after `end`; none when none came in time.
    pub(super) async fn batch(
        &mut self,
        limit: usize,
        end: Sequence,
    ) -> Result<Vec<Record>, ReadError> {
        let unavailable = |reason: String| ReadError::Unavailable(reason);
        let request = self.consumer.batch().max_messages(limit.min(PULL_MESSAGES_MAX));
        let request = request.max_bytes(PULL_BYTES_MAX).expires(TRY_MAX);
        let mut messages = request.messages().await.map_err(|e| unavailable(e.to_string()))?;
        let mut records = Vec::new();
        while let Some(message) = messages.next().await {
            let message = message.map_err(|e| unavailable(e.to_string()))?;
            let record = self.order.next(&message)?;
            let done = record.sequence >= end;
            records.push(record);
            if done {
                break;
            }
        }
        Ok(records)
    }
}

impl Drop for Pull {
    /// Removes the consumer without waiting; one that stays goes away when it is idle.
    fn drop(&mut self) {
        let info = self.consumer.cached_info();
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", info.stream_name, info.name);
        let client = self.reader.context.client();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { client.publish(subject, bytes::Bytes::new()).await });
        }
    }
}
