//! What a webhook says: its fields, judged once and kept in one parsed form.

use copydesk_proto::{PostId, SiteId, Timestamp};
use serde_json::{Map, Value};
use url::Url;

use super::key::IdempotencyKey;
use super::mapping::{Mapping, Requirement, SCHEDULE_EVENT, SYNC_EVENT};
use super::{form, json, mapping, time};
use crate::content::PostText;
use crate::limits::{
    EVENT_TYPE_BYTES_MAX, EXCERPT_BYTES_MAX, TERM_CHARS_MAX, TERMS_MAX, TITLE_CHARS_MAX,
    URL_BYTES_MAX, WORD_CHARS_MAX,
};
use crate::pointer::Pointer;
use crate::post::SourceVersion;
use crate::refusal::{Code, Refusal};

/// The event types Copydesk knows; a source may accept others.
pub const EVENT_TYPES: &[&str] = &[
    "post.published",
    "post.updated",
    "post.unpublished",
    "post.trashed",
    "post.untrashed",
    "post.deleted",
    SYNC_EVENT,
    SCHEDULE_EVENT,
    "comment.created",
    "comment.updated",
    "lead.created",
    "provider.completed",
    "provider.failed",
    "provider.updated",
    "copydesk.test",
];

/// How a source's payloads are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadRules {
    /// The site the source writes for; a payload that names another is refused.
    pub site: SiteId,
    /// What its payloads are about.
    pub subject: Subject,
    /// Which field says how new a payload is.
    pub version: VersionRule,
    /// Where they keep what Copydesk needs to know.
    pub map: Mapping,
    /// Whether a body may be a form instead of JSON.
    pub form: bool,
    /// Whether a body with nothing but a post's id is a sync trigger.
    pub trigger: bool,
    /// Fields that event types must have.
    pub required: Vec<Requirement>,
    /// Event types of the source's own, known besides [`EVENT_TYPES`].
    pub own_events: Vec<String>,
    /// Whether an event type outside [`EVENT_TYPES`] is taken.
    pub accept_unknown_events: bool,
    /// Hosts that `url` and `site` may name; empty: any. WordPress's public name may differ from
    /// the one we reach it by.
    pub url_hosts: Vec<String>,
}

/// What a payload is about, when it names both a post and a foreign item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// `post_id` counts before `external_id`; `event` is required.
    Post,
    /// `external_id` counts before `post_id`; without `event` the `status` says which it is.
    Item,
}

/// Which field says how new a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionRule {
    /// `sequence` where present, else `modified_gmt`.
    #[default]
    Newest,
    /// `sequence` only.
    Sequence,
    /// `modified_gmt` only.
    Modified,
    /// Neither: log order is the only order.
    None,
}

/// A payload whose fields have been judged.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Payload {
    /// What happened: `post.published`, …
    pub event_type: String,
    /// To which post or item.
    pub post: PostId,
    /// The foreign id as the sender wrote it, where there is one.
    pub external_id: Option<String>,
    /// How new it is, by the sender's own counting.
    pub version: Option<SourceVersion>,
    /// The signed copy of the idempotency key.
    pub key: Option<IdempotencyKey>,
    /// The whole object, for matchers and for what is handed on. `url` is in its normal form, so
    /// that one address is one text.
    pub fields: Map<String, Value>,
    /// Where the text stands when it is not a post's.
    text_at: TextAt,
}

/// Where the text that enrichments read stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TextAt {
    /// In `title`, `content`, `excerpt`.
    Post,
    /// In `comment`.
    Comment,
    /// Where the source says: heading and text.
    Mapped(Option<Pointer>, Pointer),
}

impl Payload {
    /// Reads the raw body of a webhook: of one that was just verified, or of one in the log.
    ///
    /// # Errors
    /// The refusals of rows 93 to 120 of the bad-input table: strict JSON, then the fields.
    pub fn read(rules: &PayloadRules, body: &[u8]) -> Result<Self, Refusal> {
        let is_form = rules.form && form::is_form(body);
        let mut fields = if is_form { form::object(body)? } else { json::object(body)? };
        let key = mapping::signed_key(rules, &fields)?;
        let event_type = mapping::event_type(rules, &fields)?;
        check_site(rules, &fields)?;
        let (post, external_id) = mapping::subject(rules, &event_type, &fields)?;
        let version = mapping::version(rules, &fields)?;
        mapping::check_required(rules, &event_type, &fields)?;
        check_texts(&fields)?;
        if let Some(url) = check_url(rules, &fields)? {
            fields.insert("url".to_owned(), Value::String(url.into()));
        }
        if let Some(text) = text_of(&fields, "published_at")? {
            time::rfc3339(text).ok_or(
                Code::InvalidEvent.refuse("published_at is an RFC 3339 time with an offset"),
            )?;
        }
        let text_at = match &rules.map.text {
            Some(text) => TextAt::Mapped(rules.map.title.clone(), text.clone()),
            None if mapping::is_comment(rules, &event_type) => TextAt::Comment,
            None => TextAt::Post,
        };
        Ok(Self { event_type, post, external_id, version, key, fields, text_at })
    }

    /// The post's text, when the payload carries `content`; else the post must be read, as it is
    /// always for a sync trigger and a schedule.
    #[must_use]
    pub fn text(&self) -> Option<PostText> {
        if [SYNC_EVENT, SCHEDULE_EVENT].contains(&self.event_type.as_str()) {
            return None;
        }
        let field = |name| self.field(name).and_then(Value::as_str);
        let mapped = |at: &Pointer| at.find(&self.fields).and_then(Value::as_str);
        let of_comment = |name| self.field("comment")?.get(name)?.as_str();
        let (title, content) = match &self.text_at {
            TextAt::Post => (field("title"), field("content")?),
            TextAt::Comment => (of_comment("author_name"), of_comment("content")?),
            TextAt::Mapped(title, text) => (title.as_ref().and_then(mapped), mapped(text)?),
        };
        let of_post = |name| field(name).filter(|_| self.text_at == TextAt::Post);
        Some(PostText {
            title: title.unwrap_or_default().to_owned(),
            content: content.to_owned(),
            excerpt: of_post("excerpt").unwrap_or_default().to_owned(),
            language: field("language").unwrap_or_default().to_owned(),
            terms: Vec::new(),
        })
    }

    /// Whether a person asks for new results though the text may be unchanged.
    #[must_use]
    pub fn again(&self) -> bool {
        self.field("again") == Some(&Value::Bool(true))
    }

    /// The status of a provider's item or of the post.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.field("status").and_then(Value::as_str)
    }

    /// The status of the comment it is about, when it was sent.
    #[must_use]
    pub fn comment_status(&self) -> Option<&str> {
        self.field("comment")?.get("status")?.as_str()
    }

    /// When the post was saved, where the sender says: the beginning of the trace it names.
    #[must_use]
    pub fn saved_at(&self) -> Option<Timestamp> {
        self.field("saved_at").and_then(Value::as_i64).filter(|ms| *ms > 0).map(Timestamp)
    }

    /// A provider's summary of the item.
    #[must_use]
    pub fn summary(&self) -> Option<&str> {
        self.field("summary").and_then(Value::as_str)
    }

    /// A provider's metadata of the item, as sent.
    #[must_use]
    pub fn metadata(&self) -> Option<&Value> {
        self.field("metadata")
    }

    /// A top-level field; `null` counts as absent.
    fn field(&self, name: &str) -> Option<&Value> {
        present(&self.fields, name)
    }
}

pub(super) const fn invalid(detail: &'static str) -> Refusal {
    Code::InvalidEvent.refuse(detail)
}

pub(super) fn present<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f Value> {
    fields.get(name).filter(|value| !value.is_null())
}

pub(super) fn text_of<'f>(
    fields: &'f Map<String, Value>,
    name: &str,
) -> Result<Option<&'f str>, Refusal> {
    match present(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid("a field that must be text is not")),
    }
}

pub(super) const BAD_KEY: Refusal =
    Code::BadIdempotencyKey.refuse("an idempotency key is 1 to 128 of A-Z a-z 0-9 . _ : -");

/// Whether the text is an event type: words of `a-z 0-9 _` joined by single dots, up to 64 bytes.
#[must_use]
pub fn is_event_type(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.len() <= EVENT_TYPE_BYTES_MAX
        && name.split('.').all(|word| !word.is_empty() && word.bytes().all(plain))
}

/// A payload that names a site must name ours: by its id, or by an address of it.
fn check_site(rules: &PayloadRules, fields: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(named) = text_of(fields, "site")? else { return Ok(()) };
    let host = Url::parse(named).ok().and_then(|url| url.host_str().map(str::to_owned));
    let ours = match &host {
        Some(host) => allows_host(rules, host),
        None => {
            named == rules.site.as_str()
                || rules.url_hosts.iter().any(|host| host.eq_ignore_ascii_case(named))
        }
    };
    if ours { Ok(()) } else { Err(Code::SiteMismatch.refuse("site is not the one of this source")) }
}

fn allows_host(rules: &PayloadRules, host: &str) -> bool {
    rules.url_hosts.is_empty() || rules.url_hosts.iter().any(|h| h.eq_ignore_ascii_case(host))
}

fn check_texts(fields: &Map<String, Value>) -> Result<(), Refusal> {
    text_of(fields, "content")?;
    for (name, chars_max) in [
        ("title", TITLE_CHARS_MAX),
        ("status", WORD_CHARS_MAX),
        ("language", WORD_CHARS_MAX),
        ("type", WORD_CHARS_MAX),
    ] {
        let text = text_of(fields, name)?.unwrap_or_default();
        // Bytes bound characters from above, and are known without counting.
        if text.len() > chars_max && text.chars().count() > chars_max {
            return Err(TOO_LONG);
        }
    }
    for name in ["excerpt", "summary"] {
        if text_of(fields, name)?.unwrap_or_default().len() > EXCERPT_BYTES_MAX {
            return Err(TOO_LONG);
        }
    }
    for name in ["tags", "categories"] {
        let terms = match present(fields, name) {
            None => continue,
            Some(Value::Array(terms)) => terms,
            Some(_) => return Err(invalid("tags and categories are lists")),
        };
        if terms.len() > TERMS_MAX {
            return Err(TOO_LONG);
        }
        for term in terms {
            match term {
                Value::String(name) if name.chars().count() > TERM_CHARS_MAX => {
                    return Err(TOO_LONG);
                }
                Value::String(_) | Value::Number(_) => {}
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                    return Err(invalid("a tag or category is a name or a number"));
                }
            }
        }
    }
    Ok(())
}

const TOO_LONG: Refusal = Code::FieldTooLong.refuse(
    "title has up to 1,000 characters, a term 200, status, language and type 64, excerpt and \
     summary 65,535 bytes, and there are up to 100 tags and 100 categories",
);

fn check_url(rules: &PayloadRules, fields: &Map<String, Value>) -> Result<Option<Url>, Refusal> {
    const BAD: Refusal = Code::InvalidUrl
        .refuse("url is http or https, on the site's host, without credentials, up to 2,048 bytes");
    let Some(text) = text_of(fields, "url")? else { return Ok(None) };
    if text.len() > URL_BYTES_MAX {
        return Err(BAD);
    }
    let url = Url::parse(text).map_err(|_| BAD)?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.host_str().is_some_and(|host| allows_host(rules, host));
    if plain { Ok(Some(url)) } else { Err(BAD) }
}
