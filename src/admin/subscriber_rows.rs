//! Subscribers, as the API's JSON has them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who is told how events end. Never a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriberRow {
    /// Its name.
    pub name: String,
    /// `webhook`, `folder`, `store` or `nats`.
    pub kind: String,
    /// Where to, without a query.
    pub target: String,
    /// `enabled`, `failing` (enabled, and every try fails) or `disabled`.
    pub state: String,
    /// Whether it stands in the configuration file.
    pub configured: bool,
    /// Event patterns.
    pub events: Vec<String>,
    /// Of which sites; empty: of all.
    pub sites: Vec<String>,
    /// What a notice's data must hold.
    #[serde(rename = "match")]
    pub matches: Vec<NoticeMatch>,
    /// What of the data it gets; empty: all but the event's own payload.
    pub fields: Vec<String>,
    /// The ids of its live keys, newest first.
    pub keys: Vec<String>,
    /// Who added it or, while it is disabled, who disabled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Milliseconds since 1970 of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// Milliseconds since 1970 since which every try has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<i64>,
}

/// One test of a notice's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoticeMatch {
    /// A JSON pointer into the data.
    #[schema(pattern = "^/", max_length = 512)]
    pub field: String,
    /// `any`, `is`, `startswith`, `endswith`, `contains` or `like`.
    #[schema(pattern = "^(any|is|startswith|endswith|contains|like)$")]
    pub test: String,
    /// What the field is compared with.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub text: String,
}

/// A subscriber and its last attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriberView {
    /// The subscriber.
    pub row: SubscriberRow,
    /// The last hundred attempts since the node's start, newest first. All attempts of one post are
    /// at `/posts/{site}/to-{subscriber}-{post}/attempts`.
    pub attempts: Vec<NoticeAttemptRow>,
}

/// One try to hand a notice over. What the other side said is not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeAttemptRow {
    /// The notice's id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Milliseconds since 1970 of its end.
    pub at: i64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether it got through.
    pub ok: bool,
    /// The failure's code; empty when it got through.
    pub code: String,
    /// Why, in words.
    pub cause: String,
}

/// A subscriber to add.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriberRequest {
    /// Its name.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    pub name: String,
    /// Where notices are posted: a public https address, unless `outbound` of the configuration
    /// allows more.
    #[schema(max_length = 2048)]
    pub url: String,
    /// Event patterns; every event when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 64)]
    pub events: Option<Vec<String>>,
    /// Only of these sites; of all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 64)]
    pub sites: Option<Vec<String>>,
    /// What a notice's data must hold, all of it.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 64)]
    pub matches: Option<Vec<NoticeMatch>>,
    /// What of the data it gets, by JSON pointer; all but the event's own payload when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 64)]
    pub fields: Option<Vec<String>>,
    /// The person behind the token; recorded beside the token's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub by: Option<String>,
    /// Why, for whoever finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A new secret, shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewSubscriber {
    /// `whsec_` and base64. It is not kept and cannot be shown again.
    pub secret: String,
    /// The subscriber, when it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<SubscriberRow>,
}

impl std::fmt::Debug for NewSubscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSubscriber").field("row", &self.row).finish_non_exhaustive()
    }
}
