//! `[sources.<name>]`: who may send, how it proves itself, and how its payloads are read.

use std::collections::BTreeMap;
use std::time::Duration;

use copydesk_core::pointer::Pointer;
use copydesk_core::signature::{self, Custom, SchemeError};
use copydesk_core::webhook::Mapping;
use copydesk_proto::SiteId;
use ipnet::IpNet;
use serde::Deserialize;

use super::values::{SecretRef, duration, duration_opt, networks, pointer_opt};

/// `[sources.<name>]`: a sender; its webhooks arrive at `POST /webhooks/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// How it proves itself.
    #[serde(default)]
    pub scheme: Scheme,
    /// `token`: the header that holds it.
    #[serde(default)]
    pub token_header: Option<String>,
    /// `custom`: how it signs.
    #[serde(default)]
    pub custom: Option<CustomScheme>,
    /// Its live secrets, newest first; none where nothing is signed.
    #[serde(default)]
    pub secrets: Vec<SourceSecret>,
    /// The site its posts belong to; the site of the source's own name when absent.
    #[serde(default)]
    pub site: Option<SiteId>,
    /// A further path it may post to.
    #[serde(default)]
    pub path: Option<String>,
    /// Networks it may send from; empty: any.
    #[serde(default, deserialize_with = "networks")]
    pub allow: Vec<IpNet>,
    /// Webhooks a minute it may send; no limit when absent.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// What its payloads are about; items for `provider`, else posts.
    #[serde(default)]
    pub about: Option<About>,
    /// How its bodies are written.
    #[serde(default)]
    pub body: Body,
    /// Whether a body with nothing but a post's id means: read that post and run its route.
    #[serde(default)]
    pub trigger: bool,
    /// Where its payloads keep what Copydesk needs to know.
    #[serde(default)]
    pub map: Map,
    /// Fields that events must have, by event pattern.
    #[serde(default)]
    pub require: BTreeMap<String, Vec<String>>,
    /// Event types of its own, besides those that everyone knows.
    #[serde(default)]
    pub events: Vec<String>,
    /// `schedule`: when its events come, and of which posts.
    #[serde(default)]
    pub schedule: Option<ScheduleTable>,
    /// Hosts that `url` and `site` of a payload may name; empty: any.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What happens to event types no one knows.
    #[serde(default)]
    pub unknown_events: UnknownEvents,
    /// Which field says how new an event is.
    #[serde(default)]
    pub version: Version,
    /// Where the idempotency key comes from.
    #[serde(default)]
    pub idempotency: Idempotency,
    /// `false` answers 403.
    #[serde(default = "Source::default_enabled")]
    pub enabled: bool,
}

impl Source {
    const fn default_enabled() -> bool {
        true
    }

    /// The row of the table of schemes, or the one that `custom` describes.
    ///
    /// # Errors
    /// The key that is wrong: of the source, or of its `custom` table.
    pub fn signature(&self) -> Result<signature::Scheme, SchemeError> {
        let wrong = |setting, reason| Err(SchemeError { setting, reason });
        if self.token_header.is_some() && self.scheme != Scheme::Token {
            return wrong("token_header", "token_header goes with scheme = \"token\"");
        }
        match (self.scheme, &self.custom) {
            (Scheme::Custom, Some(custom)) => signature::Scheme::custom(&custom.clone().into()),
            (Scheme::Custom, None) => {
                wrong("scheme", "scheme = \"custom\" needs a table [sources.<name>.custom]")
            }
            (_, Some(_)) => wrong("custom", "this table goes with scheme = \"custom\""),
            (scheme, None) => match &self.token_header {
                Some(header) => signature::Scheme::token_in(header),
                None => Ok(scheme.row().clone()),
            },
        }
    }
}

/// One live secret of a source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSecret {
    /// Key id, as in `X-WP-Key-Id`.
    pub id: String,
    /// Where the secret is kept.
    pub value: SecretRef,
}

/// How a source proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// `X-WP-Timestamp`, `X-WP-Signature`: hex HMAC-SHA256 of `timestamp.body`.
    #[default]
    WpRelay,
    /// `X-Provider-Timestamp`, `X-Provider-Signature`: the same in base64.
    Provider,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`, as standardwebhooks.com has them.
    StandardWebhooks,
    /// `X-Hub-Signature-256`.
    Github,
    /// `Stripe-Signature`.
    Stripe,
    /// `X-Shopify-Hmac-SHA256`.
    Shopify,
    /// `X-Slack-Signature`, `X-Slack-Request-Timestamp`.
    Slack,
    /// A fixed secret in a header, `X-Copydesk-Token` unless `token_header` names another.
    Token,
    /// `Authorization: Basic`; the secret is `user:password`.
    Basic,
    /// As the table `custom` describes it.
    #[value(skip)]
    Custom,
    /// Not at all: its events come through the admin API, whose tokens say who may.
    #[value(skip)]
    Api,
    /// Not at all: its events come by themselves, when the table `schedule` says.
    #[value(skip)]
    Schedule,
}

impl Scheme {
    /// Whether webhooks come from it. From the others nobody takes a request.
    #[must_use]
    pub const fn is_sender(self) -> bool {
        !matches!(self, Self::Api | Self::Schedule)
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Api => "api",
            Self::Schedule => "schedule",
            Self::WpRelay
            | Self::Provider
            | Self::StandardWebhooks
            | Self::Github
            | Self::Stripe
            | Self::Shopify
            | Self::Slack
            | Self::Token
            | Self::Basic => self.row().name,
        }
    }

    /// Its row of the table. `custom` has none of its own; it is what it is made of. Nor has what
    /// signs nothing; its secret is one that nobody knows.
    #[must_use]
    pub fn row(self) -> &'static signature::Scheme {
        match self {
            Self::WpRelay | Self::Custom | Self::Api | Self::Schedule => &signature::WP_RELAY,
            Self::Provider => &signature::PROVIDER,
            Self::StandardWebhooks => &signature::STANDARD_WEBHOOKS,
            Self::Github => &signature::GITHUB,
            Self::Stripe => &signature::STRIPE,
            Self::Shopify => &signature::SHOPIFY,
            Self::Slack => &signature::SLACK,
            Self::Token => &signature::TOKEN,
            Self::Basic => &signature::BASIC,
        }
    }
}

/// `[sources.<name>.schedule]`: when the posts of a site have their turn, and which of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleTable {
    /// Five fields of cron: minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// The time zone the fields are in.
    #[serde(default = "ScheduleTable::utc")]
    pub timezone: String,
    /// Which list of WordPress: `posts`, or the `rest_base` of another type.
    #[serde(default = "ScheduleTable::usual_list")]
    pub rest_base: String,
    /// What that list is asked for, besides published posts: a parameter of
    /// `GET /wp/v2/<rest_base>` and its value.
    #[serde(default)]
    pub posts: BTreeMap<String, String>,
    /// Only posts published so long ago at most.
    #[serde(default, deserialize_with = "duration_opt")]
    pub newer_than: Option<Duration>,
    /// Only posts published so long ago at least.
    #[serde(default, deserialize_with = "duration_opt")]
    pub older_than: Option<Duration>,
    /// At most so many, newest first.
    #[serde(default = "ScheduleTable::usual_limit")]
    pub limit: usize,
}

impl ScheduleTable {
    fn utc() -> String {
        "UTC".to_owned()
    }

    fn usual_list() -> String {
        "posts".to_owned()
    }

    const fn usual_limit() -> usize {
        1_000
    }

    /// What may stand in `posts`: filters of WordPress, nothing that changes how it answers.
    pub const PARAMETERS: [&'static str; 16] = [
        "after",
        "author",
        "author_exclude",
        "before",
        "categories",
        "categories_exclude",
        "exclude",
        "include",
        "lang",
        "modified_after",
        "modified_before",
        "search",
        "slug",
        "status",
        "sticky",
        "tags",
    ];
}

/// `[sources.<name>.custom]`: a scheme that is not in the table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomScheme {
    /// The header with the signature.
    pub signature_header: String,
    /// How the HMAC-SHA256 is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// What stands before a signature.
    #[serde(default)]
    pub prefix: String,
    /// What stands between several.
    #[serde(default)]
    pub separator: Option<char>,
    /// The header with the time of signing, in seconds since 1970.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// Or what stands before it in the signature header.
    #[serde(default)]
    pub timestamp_prefix: Option<String>,
    /// The header with the idempotency key.
    #[serde(default)]
    pub key_header: Option<String>,
    /// The header with the secret's id.
    #[serde(default)]
    pub key_id_header: Option<String>,
    /// What is signed: text with `{timestamp}`, `{key}` and `{body}`.
    pub signed: String,
    /// How far the time of signing may be from ours.
    #[serde(default = "CustomScheme::default_window", deserialize_with = "duration")]
    pub window: Duration,
}

impl CustomScheme {
    const fn default_window() -> Duration {
        Duration::from_secs(300)
    }
}

impl From<CustomScheme> for Custom {
    fn from(custom: CustomScheme) -> Self {
        Self {
            signature_header: custom.signature_header,
            base64: custom.encoding == Encoding::Base64,
            prefix: custom.prefix,
            separator: custom.separator,
            timestamp_header: custom.timestamp_header,
            timestamp_prefix: custom.timestamp_prefix,
            window_s: u32::try_from(custom.window.as_secs()).unwrap_or(u32::MAX),
            key_header: custom.key_header,
            key_id_header: custom.key_id_header,
            signed: custom.signed,
        }
    }
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hex digits.
    #[default]
    Hex,
    /// Padded base64.
    Base64,
}

/// What payloads are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// Posts of WordPress, by number.
    Post,
    /// Items of the sender's, by their id there.
    Item,
}

/// How bodies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// As JSON.
    #[default]
    Json,
    /// As a form, or as JSON.
    Form,
}

/// `[sources.<name>.map]`: where payloads keep what Copydesk needs to know, by JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Map {
    /// The event type; `/event`.
    #[serde(deserialize_with = "pointer_opt")]
    pub event: Option<Pointer>,
    /// The event type of payloads that name none.
    pub event_default: Option<String>,
    /// The post's number; `/post_id`.
    #[serde(deserialize_with = "pointer_opt")]
    pub post: Option<Pointer>,
    /// The item's id; `/external_id`.
    #[serde(deserialize_with = "pointer_opt")]
    pub external_id: Option<Pointer>,
    /// How new it is, as a number that grows or a time; see `version`.
    #[serde(deserialize_with = "pointer_opt")]
    pub version: Option<Pointer>,
    /// The idempotency key; `/idempotency_key`.
    #[serde(deserialize_with = "pointer_opt")]
    pub key: Option<Pointer>,
    /// The text that enrichments read; a post's `/content`.
    #[serde(deserialize_with = "pointer_opt")]
    pub text: Option<Pointer>,
    /// The heading of that text; a post's `/title`.
    #[serde(deserialize_with = "pointer_opt")]
    pub title: Option<Pointer>,
}

impl From<Map> for Mapping {
    fn from(map: Map) -> Self {
        let Map { event, event_default, post, external_id, version, key, text, title } = map;
        Self { event, event_default, post, external_id, version, key, text, title }
    }
}

/// What happens to event types no one knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownEvents {
    /// 422.
    #[default]
    Refuse,
    /// Stored; does nothing unless a route names it.
    Accept,
}

/// Which field says how new an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// `sequence` when there, else `modified_gmt` when there.
    #[default]
    Auto,
    /// A whole number that grows with every event of a post.
    Sequence,
    /// WordPress's time of the last change.
    ModifiedGmt,
    /// None: order of arrival.
    None,
}

/// Where the idempotency key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idempotency {
    /// The scheme's header, repeated in the body where the scheme does not sign it; or the body
    /// alone, where the scheme has no such header.
    #[default]
    Header,
    /// The hash of timestamp and body.
    Derived,
}
