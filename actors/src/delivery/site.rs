//! The settings of one site.

use std::time::Duration;

use copydesk_core::breaker::BreakerPolicy;
use copydesk_core::outbound::{Refused, Rules};
use copydesk_proto::SiteId;
use secrecy::SecretString;
use url::Url;

use crate::cluster::Sharers;
use crate::telemetry::Telemetry;

/// How results are to reach a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryKind {
    /// WordPress's own `wp/v2` routes.
    Core,
    /// A route of the site's own that takes `{source, external_id, status, summary, metadata}`
    /// and inserts or updates by `external_id`.
    Ingest,
    /// The routes of Copydesk's own plugin.
    Plugin,
    /// The plugin's while it answers, else WordPress's own.
    Auto,
}

impl DeliveryKind {
    /// Whether the site may have a place where its editors see suggestions.
    #[must_use]
    pub const fn takes_suggestions(self) -> bool {
        match self {
            Self::Plugin | Self::Auto => true,
            Self::Core | Self::Ingest => false,
        }
    }
}

/// One WordPress site as configured.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name in the configuration.
    pub id: SiteId,
    /// Address of the home page; may have a path (`https://example.com/blog`).
    pub url: Url,
    /// Login name or e-mail address of the user we write as.
    pub user: String,
    /// That user's application password, with or without its spaces.
    pub application_password: SecretString,
    /// How results reach it.
    pub kind: DeliveryKind,
    /// Path of the ingest route; a path below `/wp-json/` also works with plain permalinks.
    pub ingest_path: String,
    /// Requests in flight at once, at least 1. Every one holds a PHP worker, and shared hosts
    /// have 2 to 10 of them.
    pub concurrency: usize,
    /// Most requests a minute; `None` for no limit.
    pub per_minute: Option<u32>,
    /// From sending a request to the end of its answer.
    pub timeout: Duration,
    /// For the connection, TLS included.
    pub connect_timeout: Duration,
    /// How often webhooks are fetched from the plugin's outbox; `None`: the site sends them.
    pub pull: Option<Duration>,
    /// When the site is left alone, and for how long.
    pub breaker: BreakerPolicy,
    /// Which addresses its name may have.
    pub rules: Rules,
    /// Where spans and counts go.
    pub telemetry: Telemetry,
    /// The nodes that share its limits.
    pub sharers: Sharers,
}

impl Site {
    /// A site with the defaults: core REST, 2 in flight, no rate, 15 s, 5 s to connect.
    #[must_use]
    pub fn new(id: SiteId, url: Url, user: String, application_password: SecretString) -> Self {
        Self {
            id,
            url,
            user,
            application_password,
            kind: DeliveryKind::Core,
            ingest_path: "/wp-json/ai-guy/v1/ingest".to_owned(),
            concurrency: 2,
            per_minute: None,
            timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            pull: None,
            breaker: BreakerPolicy::default(),
            rules: Rules::trusting(),
            telemetry: Telemetry::default(),
            sharers: Sharers::default(),
        }
    }
}

/// Why settings make no client.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The address cannot be one of a site.
    #[error("a site's url is http(s)://host with an optional path: no user, no query, no fragment")]
    Url,
    /// The ingest path is no path.
    #[error("ingest_path starts with / and names a route, for example /wp-json/ai-guy/v1/ingest")]
    IngestPath,
    /// The user name would break the Authorization header.
    #[error("the user name is empty or has a colon or a control character")]
    User,
    /// The address is not one that may be called.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The HTTP client could not be built.
    #[error("failed to set up the HTTP client")]
    Http(#[source] reqwest::Error),
}
