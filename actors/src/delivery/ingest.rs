//! Writing by a site's own ingest route: one POST, inserted or updated by `external_id`.

use std::borrow::Cow;

use copydesk_core::content::{Field, FieldValue, FieldWrite, Mode};
use copydesk_core::failure::Failure;
use copydesk_proto::{PostId, Timestamp};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::client::{SiteClient, write_headers};
use super::core_rest::is_gone;
use super::fault;
use super::message::{Made, Write, WriteOutcome};
use super::plan::text_of;
use super::transport::{ANSWER_BYTES_MAX, Place, Reply, Request};

/// Status sent when neither the event nor an enrichment names one.
const STATUS: &str = "completed";

impl SiteClient {
    /// Sends the results, whatever is there already: the route's owner decides. The same bytes
    /// and the same key go out at every try.
    pub(super) async fn write_ingest(&self, write: &Write) -> Result<WriteOutcome, Failure> {
        let item = item_of(write)?;
        let body = serde_json::to_vec(&item).map_err(|_| fault::unexpected_answer())?;
        let request = Request {
            method: Method::POST,
            place: place_of(&self.site.ingest_path),
            query: "",
            headers: write_headers(write)?,
            body: Some(body.into()),
            answer_bytes_max: ANSWER_BYTES_MAX,
            signed: true,
            trace: write.trace,
        };
        let reply = self.send(request).await?;
        if reply.status == StatusCode::CONFLICT && fault::code_of(&reply).starts_with("stale") {
            return Ok(WriteOutcome::Stale { current: current_of(&reply) });
        }
        if is_gone(&reply) {
            return Ok(WriteOutcome::Gone);
        }
        // A route that answers without an object is not known to have stored anything.
        reply.parse::<Map<String, Value>>()?;
        Ok(stored_whole(write, false))
    }
}

/// The outcome of a write that takes all its values as they are.
pub(super) fn stored_whole(write: &Write, already: bool) -> WriteOutcome {
    let (sent, held): (Vec<_>, Vec<_>) = write.fields.iter().partition(|field| is_sent(field));
    WriteOutcome::Applied {
        stored: sent.into_iter().map(|f| (f.field.clone(), f.value.hash())).collect(),
        kept: Vec::new(),
        suggested: held.into_iter().map(|f| f.field.clone()).collect(),
        already,
        modified_at: Timestamp::default(),
    }
}

/// A path below `/wp-json/` is a route and works with both forms of permalinks.
pub(super) fn place_of(path: &str) -> Place<'_> {
    match path.strip_prefix("/wp-json") {
        Some(route) if route.starts_with('/') => Place::Route(route),
        _ => Place::Path(path),
    }
}

fn is_sent(write: &FieldWrite) -> bool {
    write.mode != Mode::Suggest
}

/// The item as the ingest route and the plugin's `events` take it.
#[derive(Debug, Serialize)]
pub(super) struct Item<'w> {
    source: &'w str,
    external_id: Cow<'w, str>,
    status: Cow<'w, str>,
    summary: String,
    metadata: Map<String, Value>,
}

pub(super) fn item_of(write: &Write) -> Result<Item<'_>, Failure> {
    let external_id = match (&write.external_id, &write.key.post) {
        (Some(id), _) => id.into(),
        (None, PostId::Number(id)) => id.to_string().into(),
        (None, PostId::External(_) | PostId::Notices { .. }) => {
            return Err(fault::terminal(
                "external_id_missing",
                "the item's foreign id is not known any more, so the ingest route cannot find it",
            ));
        }
    };
    let made = |made: &Made| {
        let of = json!({"model": made.model, "prompt_version": made.prompt_version});
        (made.enrichment.to_string(), of)
    };
    let mut metadata: Map<String, Value> = write.made.iter().map(made).collect();
    metadata.extend(write.metadata.clone());
    let mut status = write.event_status.as_deref().map(Cow::from);
    let sent: Vec<_> = write.fields.iter().filter(|field| is_sent(field)).collect();
    let summary = sent
        .iter()
        .find(|f| f.field == Field::Excerpt)
        .or_else(|| {
            sent.iter()
                .find(|f| matches!((&f.field, &f.value), (Field::Meta(_), FieldValue::Text(_))))
        })
        .copied();
    for field in sent {
        if summary.is_some_and(|s| s.field == field.field) {
            continue;
        }
        if field.field == Field::Status {
            status.get_or_insert_with(|| text_of(&field.value).into());
            continue;
        }
        let value = match &field.value {
            FieldValue::Text(text) => json!(text),
            FieldValue::List(items) => json!(items),
        };
        metadata.insert(field.field.to_string(), value);
    }
    Ok(Item {
        source: write.source.as_str(),
        external_id,
        status: status.unwrap_or(STATUS.into()),
        summary: summary.map(|s| text_of(&s.value)).unwrap_or_default(),
        metadata,
    })
}

/// `{"code": "stale_write", "current": 7}`, or in `data` as WordPress's errors put it.
pub(super) fn current_of(reply: &Reply) -> u64 {
    #[derive(Default, Deserialize)]
    struct Stale {
        current: Option<u64>,
        #[serde(default)]
        data: Option<Data>,
    }
    #[derive(Default, Deserialize)]
    struct Data {
        current: Option<u64>,
    }
    let stale: Stale = serde_json::from_slice(&reply.body).unwrap_or_default();
    stale.current.or_else(|| stale.data.and_then(|data| data.current)).unwrap_or(0)
}
