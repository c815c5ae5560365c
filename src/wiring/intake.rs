//! The ingress's way to the receivers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use copydesk_actors::World;
use copydesk_actors::cluster::Partitions;
use copydesk_actors::receiver::{Came, Receiver, Taking};
use copydesk_core::rate::RateLimit;
use copydesk_core::refusal::{Code, Refusal};
use copydesk_core::signature::{SecretRing, WP_RELAY};
use copydesk_core::webhook::{Head, SourceRules, client_address, verify};
use copydesk_proto::SourceId;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::settings::nobodys_secret;
use crate::config::Config;
use crate::http::{Arrival, Intake, Receipt, Storing};

/// Where the paths of sources begin.
const PREFIX: &str = "/webhooks/";

/// The header that proxies write the sender's address into.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// A burst of ten seconds' worth: a bulk edit in WordPress is taken, a loop is not.
const BURSTS_A_MINUTE: u32 = 6;

/// The receivers of a node, by path.
#[derive(Debug)]
pub struct NodeIntake {
    receivers: HashMap<SourceId, Receiver>,
    /// Paths that sources set for themselves.
    paths: HashMap<String, SourceId>,
    /// Rules over a random secret, for sources that do not exist: the answer and its time are
    /// those of a wrong signature.
    nobody: Arc<SourceRules>,
    /// How often sources may send; those without a limit are not here.
    rates: HashMap<SourceId, Mutex<RateLimit>>,
    trusted_proxies: Vec<IpNet>,
    /// What the node works on, for whoever asks whether it is ready.
    partitions: Option<Arc<Partitions>>,
}

impl NodeIntake {
    /// The ways in of these receivers.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(
        config: &Config,
        mut receivers: HashMap<SourceId, Receiver>,
    ) -> anyhow::Result<Self> {
        // To the outside, a source that takes no webhooks is one that does not exist.
        receivers.retain(|id, _| config.sources.get(id).is_some_and(|s| s.scheme.is_sender()));
        let secrets = SecretRing::new(vec![nobodys_secret()?])?;
        let nobody = SourceRules::new("nobody".parse()?, "nobody".parse()?, &WP_RELAY, secrets);
        let own = |(id, source): (&SourceId, &crate::config::Source)| {
            source.path.clone().map(|path| (path, id.clone()))
        };
        let paths = config.sources.iter().filter_map(own).collect();
        let rate = |(id, source): (&SourceId, &crate::config::Source)| {
            let per_minute = source.requests_per_minute?;
            let burst = (per_minute / BURSTS_A_MINUTE).max(1);
            let limit = RateLimit::new(per_minute, burst, World::now()).ok()?;
            Some((id.clone(), Mutex::new(limit)))
        };
        let rates = config.sources.iter().filter_map(rate).collect();
        let trusted_proxies = config.http.trusted_proxies.clone();
        let (nobody, partitions) = (Arc::new(nobody), None);
        Ok(Self { receivers, paths, nobody, rates, trusted_proxies, partitions })
    }

    /// Tells load balancers what the node works on, where several share the log.
    #[must_use]
    pub fn telling(self, partitions: Arc<Partitions>) -> Self {
        Self { partitions: Some(partitions).filter(|all| all.are_leased()), ..self }
    }

    /// Counts a webhook whose signature is good: what strangers send costs a source nothing.
    fn admit(&self, source: &SourceId) -> Result<(), Refusal> {
        let Some(rate) = self.rates.get(source) else { return Ok(()) };
        let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.admit(World::now(), 1).map_err(|wait_ms| {
            let seconds = u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
            let refusal = Code::RateLimited.refuse("this source sends more than it may");
            refusal.retry_after_s(seconds)
        })
    }
}

impl Intake for NodeIntake {
    fn knows(&self, path: &str) -> Option<SourceId> {
        if let Some(source) = self.paths.get(path) {
            return Some(source.clone());
        }
        path.strip_prefix(PREFIX)?.parse().ok()
    }

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers.get_all(FORWARDED_FOR).into_iter().map(HeaderValue::as_bytes);
        client_address(peer, forwarded, &self.trusted_proxies)
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
        self.admit(source)?;
        let taking = Taking::begin(receiver.telemetry(), &mut webhook, arrival.at);
        Ok(Box::pin(async move {
            let stored = receiver.store(webhook).await;
            let came = Came::Sent(&arrival.request_id);
            taking.end(receiver.telemetry(), &came, stored.as_ref());
            let receipt = stored?;
            Ok(Receipt { event_id: receipt.event_id, duplicate: receipt.duplicate })
        }))
    }

    fn ready(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn partitions(&self) -> Option<usize> {
        self.partitions.as_ref().map(|partitions| partitions.held().len())
    }
}
