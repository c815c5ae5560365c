//! Notices: what a subscriber is told, and its way into the log.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use copydesk_core::content::FieldValue;
use copydesk_core::limits::BODY_BYTES_MAX;
use copydesk_core::post::{NoticeKind, NoticeNumber, Owed, RoutePlan, SourceVersion};
use copydesk_core::routes::Coalesce;
use copydesk_core::subscribers::{PAYLOAD, Subscription};
use copydesk_core::webhook::Payload;
use copydesk_eventlog::{AppendError, crash_point};
use copydesk_proto::{PostId, PostKey, RouteId, TraceContext};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::World;
use crate::mistakes::{Mistake, makes};
use crate::records::{Intake, rfc3339};

/// The route of every notice: handed over one after the other, and the next goes on when one could
/// not be.
pub(crate) static ROUTE: LazyLock<RouteId> =
    LazyLock::new(|| "notices".parse().expect("a constant name"));

/// The plans of a notice's post, while its subscriber is known.
pub(crate) fn plans() -> Arc<HashMap<RouteId, RoutePlan>> {
    static PLANS: LazyLock<Arc<HashMap<RouteId, RoutePlan>>> = LazyLock::new(|| {
        let coalesce = Coalesce::Every;
        let plan = RoutePlan { steps: Vec::new(), coalesce, blocks: false, gap_wait_ms: 0 };
        Arc::new(HashMap::from([(ROUTE.clone(), plan)]))
    });
    Arc::clone(&PLANS)
}

/// A notice on its way out.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// Its id, the same at every try and replay.
    pub id: String,
    /// `post.applied`, …
    pub kind: String,
    /// The JSON.
    pub body: Bytes,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
}

impl Parcel {
    /// `{"id": …, "type": …, "timestamp": …, "data": …}` and a line end: the body with its id, which
    /// elsewhere is a header.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = format!("{{\"id\":\"{}\",", self.id).into_bytes();
        // Of our own making: an object with members, on one line.
        line.extend_from_slice(self.body.get(1..).unwrap_or_default());
        line.push(b'\n');
        line
    }
}

/// The id of a notice: a UUID of the time of the end, else made of what it is about, so that the
/// same notice has the same id whenever it is made.
#[must_use]
pub fn id_of(log: u64, key: &PostKey, notice: NoticeNumber, at_ms: i64) -> String {
    let digest = Sha256::digest(format!("{log}/{key}/{}", notice.0));
    let mut rest = [0; 10];
    rest.copy_from_slice(&digest[..10]);
    let ms = u64::try_from(at_ms).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(ms, &rest).into_uuid().to_string()
}

/// Puts the notices of a run's end into the log, each under its subscriber's key. Another time adds
/// nothing: a notice's id is its idempotency key.
///
/// # Errors
/// The log's; notices before the one that failed are in it.
pub(crate) async fn tell(
    world: &World,
    key: &PostKey,
    owed: &Owed,
    leading: Option<&Intake>,
) -> Result<(), AppendError> {
    let data = data(world, key, owed, leading);
    for id in &owed.to {
        // One that was removed since is told nothing more.
        let Some(member) = world.subscribers.get(id) else { continue };
        if !member.subscription().wants(&data) {
            continue;
        }
        let told = key.notices_to(id.clone());
        let intake = intake(world, &told, owed, member.subscription(), &data, leading);
        crash_point("notice.appending");
        world.log.append(intake.record(&told)).await?;
        crash_point("notice.appended");
    }
    Ok(())
}

fn intake(
    world: &World,
    told: &PostKey,
    owed: &Owed,
    subscription: &Subscription,
    data: &Map<String, Value>,
    leading: Option<&Intake>,
) -> Intake {
    let at = if makes(Mistake::NoticeIdOfTheTry) { World::now() } else { owed.at };
    let id = id_of(world.log.id().0, told, owed.notice, at.0);
    let body = body(owed, subscription, data);
    Intake {
        idempotency_key: id.clone(),
        event_id: id,
        source: owed.incoming.source.clone(),
        event_type: owed.kind.name().to_owned(),
        external_id: leading.map(|intake| intake.external_id.clone()).unwrap_or_default(),
        body_hash: Sha256::digest(&body).into(),
        version: None,
        text_hash: None,
        again: false,
        received_at: World::now(),
        key_id: String::new(),
        trace: leading.and_then(|intake| intake.trace),
        body,
        route: Some(ROUTE.clone()),
        sent_by: String::new(),
        replay: None,
    }
}

/// The JSON of a notice. Where the payload makes it longer than any webhook may be, it is left out.
fn body(owed: &Owed, subscription: &Subscription, data: &Map<String, Value>) -> Bytes {
    let mut data = subscription.select(data);
    let text = |data: &Map<String, Value>| {
        let at = rfc3339(owed.at);
        json!({ "type": owed.kind.name(), "timestamp": at, "data": data }).to_string()
    };
    let mut body = text(&data);
    if body.len() > BODY_BYTES_MAX {
        data.insert(PAYLOAD.to_owned(), Value::Null);
        body = text(&data);
    }
    body.into()
}

/// All that there is to tell; what of it a subscriber gets is its own affair.
fn data(world: &World, key: &PostKey, owed: &Owed, leading: Option<&Intake>) -> Map<String, Value> {
    let incoming = &owed.incoming;
    let mut data = Map::new();
    let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
    put("site", json!(key.site));
    put("post", json!(key.post.to_string()));
    if let PostId::Number(number) = key.post {
        put("post_id", json!(number));
    }
    put("source", json!(incoming.source));
    if let Some(route) = &incoming.route {
        put("route", json!(route));
    }
    put("received_at", json!(rfc3339(incoming.received_at)));
    if let Some(SourceVersion::Sequence(sequence)) = incoming.version {
        put("sequence", json!(sequence));
    }
    put("results", results(owed));
    if let Some(failure) = &owed.failure {
        put("failure", json!({ "code": failure.code, "cause": failure.cause }));
    }
    if let Some(leading) = leading {
        put("event_id", json!(leading.event_id));
        put("event_type", json!(leading.event_type));
        if !leading.external_id.is_empty() {
            put("external_id", json!(leading.external_id));
        }
        let rules = world.sources.get(&leading.source);
        let payload = rules.and_then(|rules| Payload::read(&rules.payload, &leading.body).ok());
        if let Some(payload) = payload {
            put(PAYLOAD, Value::Object(payload.fields));
        }
    }
    data
}

fn results(owed: &Owed) -> Value {
    let outcome = |field| match owed.kind {
        _ if owed.kept.contains(field) => "kept",
        _ if owed.suggested.contains(field) => "suggested",
        NoticeKind::Applied | NoticeKind::Kept => "applied",
        NoticeKind::Suggested => "suggested",
        NoticeKind::Unchanged
        | NoticeKind::Filtered
        | NoticeKind::Gone
        | NoticeKind::Dropped
        | NoticeKind::DeadLettered => "not_written",
    };
    let made = owed.made.iter().map(|(field, answer)| {
        let value = match &answer.value {
            FieldValue::Text(text) => json!(text),
            FieldValue::List(items) => json!(items),
        };
        json!({
            "field": field.to_string(), "value": value, "outcome": outcome(field),
            "enrichment": answer.enrichment, "model": answer.model,
        })
    });
    Value::Array(made.collect())
}
