//! The ingress's way to the receivers.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use copydesk_actors::World;
use copydesk_actors::receiver::Receiver;
use copydesk_core::refusal::{Code, Refusal};
use copydesk_core::signature::{Secret, SecretRing, WP_RELAY};
use copydesk_core::webhook::{Head, SourceRules, verify};
use copydesk_proto::SourceId;

use super::taking::Taking;
use crate::config::Config;
use crate::http::{Arrival, Intake, Receipt, Storing};

/// Where the paths of sources begin.
const PREFIX: &str = "/webhooks/";

/// The receivers of a node, by path.
#[derive(Debug)]
pub struct NodeIntake {
    receivers: HashMap<SourceId, Receiver>,
    /// Paths that sources set for themselves.
    paths: HashMap<String, SourceId>,
    /// Rules over a random secret, for sources that do not exist: the answer and its time are
    /// those of a wrong signature.
    nobody: Arc<SourceRules>,
}

impl NodeIntake {
    /// The ways in of these receivers.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(config: &Config, receivers: HashMap<SourceId, Receiver>) -> anyhow::Result<Self> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        let secrets = SecretRing::new(vec![Secret::new("none", &random)?])?;
        let nobody = SourceRules::new("nobody".parse()?, "nobody".parse()?, &WP_RELAY, secrets);
        let own = |(id, source): (&SourceId, &crate::config::Source)| {
            source.path.clone().map(|path| (path, id.clone()))
        };
        let paths = config.sources.iter().filter_map(own).collect();
        Ok(Self { receivers, paths, nobody: Arc::new(nobody) })
    }
}

impl Intake for NodeIntake {
    fn knows(&self, path: &str) -> Option<SourceId> {
        if let Some(source) = self.paths.get(path) {
            return Some(source.clone());
        }
        path.strip_prefix(PREFIX)?.parse().ok()
    }

    fn receive(
        &self,
        source: &SourceId,
        head: &Head<'_>,
        body: Bytes,
        arrival: Arrival,
    ) -> Result<Storing, Refusal> {
        let Some(receiver) = self.receivers.get(source).cloned() else {
            let made_up = verify(&self.nobody, head, &body, World::now());
            return Err(made_up
                .err()
                .unwrap_or_else(|| Code::BadSignature.refuse("no such source")));
        };
        let mut webhook = receiver.verify(head, &body)?;
        let taking = Taking::begin(receiver.telemetry(), &mut webhook, arrival);
        Ok(Box::pin(async move {
            let stored = receiver.store(webhook).await;
            taking.end(receiver.telemetry(), stored.as_ref());
            let receipt = stored?;
            Ok(Receipt { event_id: receipt.event_id, duplicate: receipt.duplicate })
        }))
    }

    fn ready(&self) -> Result<(), Refusal> {
        Ok(())
    }
}
