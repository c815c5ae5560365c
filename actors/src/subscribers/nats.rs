//! A sink that is a NATS subject, which a JetStream stream keeps.

use copydesk_core::failure::{Failure, FailureClass};
use copydesk_eventlog::jetstream::{Destination, PublishError, Publisher};

use super::notice::Parcel;

/// A notice is a message: the body as it is, its id as `Nats-Msg-Id`, the trace as `traceparent`.
///
/// It got through when a stream acknowledged it. What core NATS does with a message nobody says, so
/// a subject without a stream would break what subscribers are promised.
#[derive(Debug)]
pub struct NatsSubject {
    publisher: Publisher,
    target: String,
}

impl NatsSubject {
    pub(super) fn new(destination: Destination) -> Self {
        let target = format!("{} on {}", destination.subject, destination.url);
        Self { publisher: Publisher::new(destination), target }
    }

    pub(super) fn target(&self) -> String {
        self.target.clone()
    }

    pub(super) async fn send(&self, parcel: &Parcel) -> Result<(), Failure> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        headers.extend(parcel.trace.map(|trace| ("traceparent", trace.to_string())));
        let sent = self.publisher.publish(&parcel.id, &headers, parcel.body.clone()).await;
        sent.map_err(|error| failed(&error))
    }
}

fn failed(error: &PublishError) -> Failure {
    let (code, cause) = match error {
        PublishError::Connect(_) | PublishError::Disconnected => {
            ("sink_unreachable", error.to_string())
        }
        PublishError::NoStream => {
            ("sink_no_stream", format!("{error}; make one whose subjects have it"))
        }
        PublishError::Unknown => ("sink_timeout", error.to_string()),
        PublishError::Refused(_) => ("sink_refuses", error.to_string()),
    };
    Failure::new(FailureClass::Retry, code, cause)
}
