//! A node in this process: open, start, listen, stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use copydesk_actors::desk::{HoldError, TokenBook, TokenError};
use copydesk_actors::node::{Node, Settings};
use copydesk_actors::records::BadRecord;
use copydesk_actors::subscribers::BookError;
use copydesk_eventlog::ReadError;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{Instrument, info, info_span, warn};

use crate::admin::{Access, AdminApi, AdminSettings};
use crate::config::{Config, Secrets};
use crate::http::{DRAIN_MAX, Drain, Ingress, Server};
use crate::open_files;
use crate::telemetry::{SPANS, Telemetry};
use crate::wiring::{
    NodeDesk, NodeIntake, OpenLog, cluster_settings, node_settings, open_log, open_snapshots,
};

/// Exit code of a start that the configuration or the log refuses: `EX_CONFIG` of sysexits.
pub const EXIT_REFUSED: u8 = 78;

/// A start that the log refuses: a fresh one would find the same.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct RefusedStart(anyhow::Error);

impl RefusedStart {
    /// Tells what only a person or another release mends from what may be gone at the next start.
    #[must_use]
    pub fn find(error: anyhow::Error) -> anyhow::Error {
        let is_corrupt = |read: &ReadError| matches!(read, ReadError::Corrupt { .. });
        let is_refused = error.chain().any(|cause| {
            cause.is::<BadRecord>()
                || cause.downcast_ref().is_some_and(is_corrupt)
                || matches!(cause.downcast_ref(), Some(HoldError::Unreadable))
                || matches!(cause.downcast_ref(), Some(BookError::Unreadable))
                || matches!(cause.downcast_ref(), Some(TokenError::Unreadable))
        });
        if is_refused { Self(error).into() } else { error }
    }
}

/// Exit code when the log has failed for good: `EX_IOERR` of sysexits.
pub const EXIT_LOG_FAILED: u8 = 74;

/// Exit code when a permanent actor has failed: `EX_SOFTWARE` of sysexits.
pub const EXIT_ACTOR_FAILED: u8 = 70;

/// Connections of the admin listener: an operator and a few dashboards.
const ADMIN_CONNECTIONS_MAX: usize = 100;

/// Why a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// The log failed for good; a fresh start finds out what is on the disk.
    LogFailed,
    /// A permanent actor failed; a fresh start goes on from the log.
    ActorFailed,
}

/// A node that listens.
pub struct Running {
    /// Where webhooks arrive.
    pub http: SocketAddr,
    /// Where operators' commands arrive.
    pub admin: Access,
    /// What the log's acknowledgement survives.
    pub durability: copydesk_eventlog::Durability,
    node: Node,
    drain: Drain,
    fatal: futures::future::BoxFuture<'static, String>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

/// Opens the log, takes up unfinished work, and listens.
///
/// # Errors
/// Why the node does not start.
pub async fn start(
    config: &Config,
    secrets: &Secrets,
    telemetry: &Telemetry,
) -> anyhow::Result<Running> {
    let span = info_span!(target: SPANS, "start");
    start_parts(config, secrets, telemetry).instrument(span).await
}

async fn start_parts(
    config: &Config,
    secrets: &Secrets,
    telemetry: &Telemetry,
) -> anyhow::Result<Running> {
    let drain = Drain::default();
    let http = &config.http;
    open_files::allow(http.connections_max);
    // Bound before anything is opened: a second node on the same port must touch nothing.
    let public =
        Server::bind(http.listen, http.connections_max, http.connections_per_ip_max, drain.clone())
            .await
            .with_context(|| format!("http.listen: {} cannot be used", http.listen))?;
    let span = |name| info_span!(target: SPANS, "open", what = name);
    let OpenLog { log, shared, fatal } = open_log(config).instrument(span("log")).await?;
    let cluster = cluster_settings(config, shared).instrument(span("cluster")).await?;
    let snapshots = open_snapshots(&config.data_dir).instrument(span("snapshots")).await;
    let durability = log.durability();
    let settings = node_settings(config, secrets, log, snapshots)?;
    let settings = Settings { telemetry: telemetry.actors(), cluster, ..settings };
    let began = Instant::now();
    let node = Node::start(settings).instrument(info_span!(target: SPANS, "recover")).await?;
    let ready_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);

    let admin = Server::bind(
        config.admin.listen,
        ADMIN_CONNECTIONS_MAX,
        ADMIN_CONNECTIONS_MAX,
        drain.clone(),
    )
    .await
    .with_context(|| format!("admin.listen: {} cannot be used", config.admin.listen))?;
    let book = TokenBook::open(Arc::clone(&node.desk.world().log)).await?;
    let access = Access::open(&book, &config.data_dir, admin.address()?).await?;
    let ending = drain.clone();
    let following = Arc::clone(&book);
    tokio::spawn(async move {
        tokio::select! {
            () = following.follow() => {}
            () = ending.begun() => {}
        }
    });
    let (receivers, cluster) = (node.receivers.clone(), node.cluster.clone());
    let desk = Arc::new(NodeDesk::new(node.desk.clone(), receivers, cluster, config));
    let admin_settings = AdminSettings {
        address: access.address,
        hosts: config.admin.hosts.clone(),
        requests_per_second: config.admin.requests_per_second,
    };
    let api = AdminApi::new(desk, book, &admin_settings, drain.clone())?;
    let api = Arc::new(api.showing(telemetry.scrape()));
    let partitions = Arc::clone(&node.desk.world().partitions);
    let intake = NodeIntake::new(config, node.receivers.clone())?.telling(partitions);
    let intake = Arc::new(intake);
    let sources = config.sources.keys().cloned().collect();
    let ingress = Ingress::new(intake, http.public_hosts.clone(), drain.clone());
    let ingress = Arc::new(ingress.counted_by(telemetry.actors(), sources));
    let address = public.address()?;
    let servers = vec![tokio::spawn(public.run(ingress)), tokio::spawn(admin.run(api))];
    info!(
        http = %address, admin = %access.address, ready_ms,
        log = durability.profile, backlog = node.desk.world().backlog(),
        "copydesk takes webhooks"
    );
    if durability.warn {
        warn!(log = durability.profile, "{}", durability.sentence);
    } else {
        info!(log = durability.profile, "{}", durability.sentence);
    }
    Ok(Running { http: address, admin: access, durability, node, drain, fatal, servers })
}

impl Running {
    /// Runs until SIGTERM, SIGINT or a failure that only a fresh start mends; then stops in
    /// order: no new requests, requests under way, work under way, the log.
    ///
    /// # Errors
    /// When the process cannot listen for signals.
    pub async fn until_ended(self) -> anyhow::Result<Ended> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let Self { node, drain, fatal, servers, .. } = self;
        let ended = tokio::select! {
            _ = terminate.recv() => Ended::Asked,
            _ = interrupt.recv() => Ended::Asked,
            reason = fatal => {
                tracing::error!(%reason, "the log has failed; nothing more is taken");
                Ended::LogFailed
            }
            () = node.failed() => Ended::ActorFailed,
        };
        info!("stopping: requests and work under way are finished first");
        drain.begin();
        let limit = if ended == Ended::Asked { DRAIN_MAX } else { Duration::ZERO };
        let began = Instant::now();
        // Requests under way come first: they append to the log that the node closes.
        let finishing = tokio::time::timeout(limit, drain.over());
        // Other nodes go on with this one's posts meanwhile.
        let _cut_off = tokio::join!(finishing, node.hand_over(limit)).0;
        let finished = node.stop(limit.saturating_sub(began.elapsed())).await;
        if !finished {
            info!("work under way goes on at the next start");
        }
        for server in servers {
            let _ = server.await;
        }
        Ok(ended)
    }
}
