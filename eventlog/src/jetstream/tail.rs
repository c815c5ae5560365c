//! A tail: a consumer that is opened again, from the last record seen, whenever it is lost.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures::StreamExt;
use rand::Rng;
use tracing::debug;

use super::convert::pattern;
use super::pull::{Order, config};
use super::read::{Reader, closed};
use super::settings::{HEARTBEAT, PULL_BYTES_MAX, PULL_MESSAGES_MAX, TAIL_RECOVERY_MAX};
use crate::{Filter, ReadError, Record, Sequence};

/// Longest pause before a lost consumer is opened again.
const PAUSE_MAX: Duration = Duration::from_secs(10);

pub(super) struct Tail {
    reader: Reader,
    filter: Filter,
    at: Sequence,
    source: Option<Source>,
    /// When the consumer was lost, and the pause after the next failure.
    lost: Option<(Instant, Duration)>,
}

struct Source {
    messages: pull::Stream,
    order: Order,
}

impl Tail {
    pub(super) const fn new(reader: Reader, after: Sequence, filter: Filter) -> Self {
        Self { reader, filter, at: after, source: None, lost: None }
    }

    /// The next record. Waits for it.
    pub(super) async fn next(&mut self) -> Result<Record, ReadError> {
        let reader = self.reader.clone();
        tokio::select! {
            biased;
            () = reader.closed.cancelled() => Err(closed()),
            next = self.wait() => next,
        }
    }

    async fn wait(&mut self) -> Result<Record, ReadError> {
        loop {
            match self.step().await {
                Ok(record) => {
                    self.lost = None;
                    self.at = record.sequence;
                    if self.filter.matches(&record.subject) {
                        return Ok(record);
                    }
                }
                Err(ReadError::Unavailable(reason)) => self.recover(reason).await?,
                Err(corrupt) => return Err(corrupt),
            }
        }
    }

    async fn step(&mut self) -> Result<Record, ReadError> {
        let source = match self.source.as_mut() {
            Some(source) => source,
            None => {
                let source = open(&self.reader, self.at, self.filter).await?;
                self.source.insert(source)
            }
        };
        match source.messages.next().await {
            Some(Ok(message)) => source.order.next(&message),
            Some(Err(error)) => Err(ReadError::Unavailable(error.to_string())),
            None => Err(ReadError::Unavailable("the consumer ended".to_owned())),
        }
    }

    /// Waits before the next try, longer each time; gives up when it has lasted too long.
    async fn recover(&mut self, reason: String) -> Result<(), ReadError> {
        self.source = None;
        let (since, pause) = self.lost.unwrap_or((Instant::now(), Duration::from_millis(100)));
        debug!(reason, after = self.at.0, "a tail lost its consumer");
        if since.elapsed() > TAIL_RECOVERY_MAX {
            return Err(ReadError::Unavailable(reason));
        }
        self.lost = Some((since, (pause * 2).min(PAUSE_MAX)));
        let part = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(pause.mul_f64(part)).await;
        Ok(())
    }
}

async fn open(reader: &Reader, after: Sequence, filter: Filter) -> Result<Source, ReadError> {
    // The stream may have been deleted and created anew meanwhile.
    reader.last_sequence().await?;
    let start_sequence = after.0.saturating_add(1);
    let policy = DeliverPolicy::ByStartSequence { start_sequence };
    let unavailable = |reason: String| ReadError::Unavailable(reason);
    let consumer =
        reader.stream.create_consumer(config(policy, vec![pattern(filter).to_owned()])).await;
    let consumer = consumer.map_err(|e| unavailable(e.to_string()))?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(PULL_MESSAGES_MAX)
        .max_bytes_per_batch(PULL_BYTES_MAX)
        .heartbeat(HEARTBEAT)
        .messages()
        .await
        .map_err(|e| unavailable(e.to_string()))?;
    Ok(Source { messages, order: Order::default() })
}
