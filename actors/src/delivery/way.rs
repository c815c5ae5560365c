//! Which way a site is read and written: as configured, or, with `auto`, by the plugin while it
//! answers. What was found is kept; it is looked for again when the plugin's routes are gone, and
//! every ten minutes while they are not there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use copydesk_core::failure::Failure;
use http::StatusCode;
use serde::Deserialize;
use tracing::{info, warn};

use super::client::SiteClient;
use super::fault;
use super::site::DeliveryKind;
use super::transport::Request;

/// The version of the plugin's routes that this release speaks; fields may be added to one.
pub(super) const API: u64 = 1;

/// How long "no plugin" is believed. A look costs WordPress 30 ms; whoever installs the plugin
/// waits this long at most.
const ABSENT_TTL: Duration = Duration::from_secs(600);

/// A way to a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Core,
    Ingest,
    Plugin,
}

/// What was found at a site that is to be found out about.
#[derive(Debug, Default)]
pub(super) struct Found(ArcSwapOption<(Way, Instant)>);

impl Found {
    fn fresh(&self) -> Option<Way> {
        let found = self.0.load();
        let (way, at) = **found.as_ref()?;
        (way == Way::Plugin || at.elapsed() < ABSENT_TTL).then_some(way)
    }
}

/// `GET status`.
#[derive(Debug, Deserialize)]
pub(super) struct PluginStatus {
    pub(super) plugin: String,
    pub(super) api: u64,
    #[serde(default)]
    pub(super) post_types: Vec<String>,
    #[serde(default)]
    pub(super) statuses: Vec<String>,
    #[serde(default)]
    pub(super) seo: Option<String>,
}

/// What the plugin says to us.
#[derive(Debug)]
pub(super) enum Answering {
    Yes(PluginStatus),
    /// There is no such route.
    Absent,
    /// The route is there and not for us.
    Forbidden,
}

impl SiteClient {
    /// The way known without asking.
    pub(super) fn known_way(&self) -> Option<Way> {
        match self.site.kind {
            DeliveryKind::Core => Some(Way::Core),
            DeliveryKind::Ingest => Some(Way::Ingest),
            DeliveryKind::Plugin => Some(Way::Plugin),
            DeliveryKind::Auto => self.found.fresh(),
        }
    }

    /// The way, found out if need be.
    pub(super) async fn way(&self) -> Result<Way, Failure> {
        if let Some(way) = self.known_way() {
            return Ok(way);
        }
        let way = match self.ask_plugin().await? {
            Answering::Yes(status) if status.api >= API => Way::Plugin,
            Answering::Yes(_) | Answering::Absent => Way::Core,
            Answering::Forbidden => {
                warn!(
                    site = %self.site.id,
                    "the plugin does not let this user in; written by WordPress's own routes"
                );
                Way::Core
            }
        };
        info!(site = %self.site.id, way = ?way, "found how to write to the site");
        self.found.0.store(Some(Arc::new((way, Instant::now()))));
        Ok(way)
    }

    /// The plugin's routes are gone: the next request looks again.
    pub(super) fn forget_way(&self) {
        self.found.0.store(None);
    }

    /// Asks the plugin how it is.
    pub(super) async fn ask_plugin(&self) -> Result<Answering, Failure> {
        let reply = self.send(Request::get("/copydesk/v1/status", "")).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(Answering::Absent),
            StatusCode::FORBIDDEN if fault::code_of(&reply).is_empty() => Ok(Answering::Absent),
            StatusCode::FORBIDDEN => Ok(Answering::Forbidden),
            _ => reply.parse().map(Answering::Yes),
        }
    }
}
