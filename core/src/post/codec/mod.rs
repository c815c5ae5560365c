//! Events and states as they are stored. Every stored version of any release stays readable; what
//! this release does not know is an error for that post, never a skip.

mod event;
mod state;

use copydesk_proto::{ContentHash, Timestamp, v1};

use super::event::{End, Incoming, Input, IntakePosition, Lane, PlanStep, SourceVersion, Step};
use crate::budget::{Period, Withheld};
use crate::content::{Answer, Field, FieldValue, FieldWrite, Mode};
use crate::failure::{Failure, FailureClass};

pub use event::{decode_event, encode_event};
pub use state::{decode_state, encode_state};

/// A stored record that this release cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored {0} is not readable by this release")]
pub struct DecodeError(pub &'static str);

pub(super) type Decoded<T> = Result<T, DecodeError>;

fn require<T>(part: Option<T>, name: &'static str) -> Decoded<T> {
    part.ok_or(DecodeError(name))
}

fn parse<T: std::str::FromStr>(text: &str, name: &'static str) -> Decoded<T> {
    text.parse().map_err(|_| DecodeError(name))
}

fn bytes<const N: usize>(bytes: &[u8], name: &'static str) -> Decoded<[u8; N]> {
    bytes.try_into().map_err(|_| DecodeError(name))
}

fn hash(stored: &[u8]) -> Decoded<ContentHash> {
    bytes(stored, "hash").map(ContentHash)
}

fn optional_hash(stored: &[u8]) -> Decoded<Option<ContentHash>> {
    if stored.is_empty() { Ok(None) } else { hash(stored).map(Some) }
}

fn optional_bytes(hash: Option<ContentHash>) -> Vec<u8> {
    hash.map_or_else(Vec::new, |h| h.0.to_vec())
}

fn step_number(step: Step) -> u32 {
    match step {
        Step::Read => 0,
        Step::Write => 1,
        Step::Enrich(place) => 2 + u32::from(place),
    }
}

fn step(number: u32) -> Decoded<Step> {
    match number {
        0 => Ok(Step::Read),
        1 => Ok(Step::Write),
        n => u8::try_from(n - 2).map(Step::Enrich).map_err(|_| DecodeError("step")),
    }
}

/// A source version as stored, also in intake records.
#[must_use]
pub fn encode_version(version: SourceVersion) -> v1::SourceVersion {
    use v1::source_version::Kind;
    v1::SourceVersion {
        kind: Some(match version {
            SourceVersion::Sequence(n) => Kind::Sequence(n),
            SourceVersion::Modified(ms) => Kind::ModifiedMs(ms),
        }),
    }
}

/// # Errors
/// [`DecodeError`] for a kind this release does not know.
pub fn decode_version(stored: &v1::SourceVersion) -> Decoded<SourceVersion> {
    use v1::source_version::Kind;
    Ok(match require(stored.kind.as_ref(), "version")? {
        Kind::Sequence(n) => SourceVersion::Sequence(*n),
        Kind::ModifiedMs(ms) => SourceVersion::Modified(*ms),
    })
}

fn encode_incoming(incoming: &Incoming) -> v1::Incoming {
    v1::Incoming {
        position: incoming.position.0,
        key: incoming.key.to_vec(),
        body: incoming.body.to_vec(),
        source: incoming.source.to_string(),
        route: incoming.route.as_ref().map(ToString::to_string).unwrap_or_default(),
        version: incoming.version.map(encode_version),
        text_hash: optional_bytes(incoming.text),
        again: incoming.again,
        received_at_ms: incoming.received_at.0,
        backfill: incoming.lane == Lane::Backfill,
    }
}

fn decode_incoming(stored: &v1::Incoming) -> Decoded<Incoming> {
    let route = match stored.route.as_str() {
        "" => None,
        name => Some(parse(name, "route")?),
    };
    Ok(Incoming {
        position: IntakePosition(stored.position),
        key: bytes(&stored.key, "key")?,
        body: bytes(&stored.body, "body hash")?,
        source: parse(&stored.source, "source")?,
        route,
        version: stored.version.as_ref().map(decode_version).transpose()?,
        text: optional_hash(&stored.text_hash)?,
        again: stored.again,
        received_at: Timestamp(stored.received_at_ms),
        lane: if stored.backfill { Lane::Backfill } else { Lane::Live },
    })
}

fn encode_end(end: &End) -> v1::End {
    use v1::end::Kind;
    let (kind, position, detail) = match end {
        End::Applied => (Kind::Applied, 0, ""),
        End::Kept => (Kind::Kept, 0, ""),
        End::Suggested => (Kind::Suggested, 0, ""),
        End::Unchanged => (Kind::Unchanged, 0, ""),
        End::Superseded { by } => (Kind::Superseded, by.0, ""),
        End::Duplicate { of } => (Kind::Duplicate, of.0, ""),
        End::Filtered { rule } => (Kind::Filtered, 0, rule.as_str()),
        End::Gone => (Kind::Gone, 0, ""),
        End::Dropped { by } => (Kind::Dropped, 0, by.as_str()),
    };
    v1::End { kind: kind.into(), position, detail: detail.to_owned() }
}

fn decode_end(stored: Option<&v1::End>) -> Decoded<End> {
    use v1::end::Kind;
    let stored = require(stored, "end")?;
    let position = IntakePosition(stored.position);
    Ok(match Kind::try_from(stored.kind).unwrap_or(Kind::Unspecified) {
        Kind::Unspecified => return Err(DecodeError("end")),
        Kind::Applied => End::Applied,
        Kind::Kept => End::Kept,
        Kind::Suggested => End::Suggested,
        Kind::Unchanged => End::Unchanged,
        Kind::Superseded => End::Superseded { by: position },
        Kind::Duplicate => End::Duplicate { of: position },
        Kind::Filtered => End::Filtered { rule: stored.detail.clone() },
        Kind::Gone => End::Gone,
        Kind::Dropped => End::Dropped { by: stored.detail.clone() },
    })
}

fn encode_input(input: Input) -> v1::Input {
    v1::Input { hash: input.hash.0.to_vec(), modified_at_ms: input.modified_at.map(|t| t.0) }
}

fn decode_input(stored: &v1::Input) -> Decoded<Input> {
    Ok(Input { hash: hash(&stored.hash)?, modified_at: stored.modified_at_ms.map(Timestamp) })
}

fn encode_mode(mode: Mode) -> i32 {
    match mode {
        Mode::Suggest => v1::Mode::Suggest,
        Mode::ApplyIfEmpty => v1::Mode::ApplyIfEmpty,
        Mode::Apply => v1::Mode::Apply,
    }
    .into()
}

fn decode_mode(stored: i32) -> Decoded<Mode> {
    Ok(match v1::Mode::try_from(stored).map_err(|_| DecodeError("mode"))? {
        v1::Mode::Suggest => Mode::Suggest,
        v1::Mode::ApplyIfEmpty => Mode::ApplyIfEmpty,
        v1::Mode::Apply => Mode::Apply,
    })
}

fn encode_plan(plan: &PlanStep) -> v1::PlanStep {
    v1::PlanStep {
        enrichment: plan.enrichment.to_string(),
        provider: plan.provider.to_string(),
        field: plan.field.to_string(),
        mode: encode_mode(plan.mode),
        prompt_version: plan.prompt_version,
    }
}

fn decode_plan(stored: &v1::PlanStep) -> Decoded<PlanStep> {
    Ok(PlanStep {
        enrichment: parse(&stored.enrichment, "enrichment")?,
        provider: parse(&stored.provider, "provider")?,
        field: parse(&stored.field, "field")?,
        mode: decode_mode(stored.mode)?,
        prompt_version: stored.prompt_version,
    })
}

fn encode_value(value: &FieldValue) -> v1::FieldValue {
    match value {
        FieldValue::Text(text) => v1::FieldValue { is_list: false, items: vec![text.clone()] },
        FieldValue::List(items) => v1::FieldValue { is_list: true, items: items.clone() },
    }
}

fn decode_value(stored: Option<&v1::FieldValue>) -> Decoded<FieldValue> {
    let stored = require(stored, "value")?;
    match (stored.is_list, stored.items.as_slice()) {
        (true, items) => Ok(FieldValue::List(items.to_vec())),
        (false, [text]) => Ok(FieldValue::Text(text.clone())),
        (false, _) => Err(DecodeError("value")),
    }
}

fn encode_answer(answer: &Answer) -> v1::Answer {
    v1::Answer {
        enrichment: answer.enrichment.to_string(),
        value: Some(encode_value(&answer.value)),
        model: answer.model.clone(),
        input_tokens: answer.input_tokens,
        output_tokens: answer.output_tokens,
        cost_microdollars: answer.cost_microdollars,
    }
}

fn decode_answer(stored: &v1::Answer) -> Decoded<Answer> {
    Ok(Answer {
        enrichment: parse(&stored.enrichment, "enrichment")?,
        value: decode_value(stored.value.as_ref())?,
        model: stored.model.clone(),
        input_tokens: stored.input_tokens,
        output_tokens: stored.output_tokens,
        cost_microdollars: stored.cost_microdollars,
    })
}

fn encode_write(write: &FieldWrite) -> v1::FieldWrite {
    v1::FieldWrite {
        field: write.field.to_string(),
        value: Some(encode_value(&write.value)),
        mode: encode_mode(write.mode),
        base: optional_bytes(write.base),
    }
}

fn decode_write(stored: &v1::FieldWrite) -> Decoded<FieldWrite> {
    Ok(FieldWrite {
        field: parse(&stored.field, "field")?,
        value: decode_value(stored.value.as_ref())?,
        mode: decode_mode(stored.mode)?,
        base: optional_hash(&stored.base)?,
    })
}

fn encode_stored(field: &Field, hash: ContentHash) -> v1::StoredField {
    v1::StoredField { field: field.to_string(), hash: hash.0.to_vec() }
}

fn decode_stored(stored: &v1::StoredField) -> Decoded<(Field, ContentHash)> {
    Ok((parse(&stored.field, "field")?, hash(&stored.hash)?))
}

fn encode_failure(failure: &Failure) -> v1::Failure {
    use v1::failure::Class;
    let class = match failure.class {
        FailureClass::Retry => Class::Retry,
        FailureClass::Unavailable => Class::Unavailable,
        FailureClass::Terminal => Class::Terminal,
    };
    v1::Failure {
        class: class.into(),
        code: failure.code.clone(),
        cause: failure.cause.clone(),
        retry_after_ms: failure.retry_after_ms,
        cost_microdollars: failure.cost_microdollars,
        response: failure.response.as_str().to_owned(),
    }
}

fn decode_failure(stored: Option<&v1::Failure>) -> Decoded<Failure> {
    use v1::failure::Class;
    let stored = require(stored, "failure")?;
    let class = match Class::try_from(stored.class).map_err(|_| DecodeError("failure"))? {
        Class::Retry => FailureClass::Retry,
        Class::Unavailable => FailureClass::Unavailable,
        Class::Terminal => FailureClass::Terminal,
    };
    Ok(Failure::new(class, stored.code.as_str(), stored.cause.as_str())
        .retry_after_ms(stored.retry_after_ms)
        .cost(stored.cost_microdollars)
        .response(&stored.response))
}

fn all<S, T>(stored: &[S], decode: impl Fn(&S) -> Decoded<T>) -> Decoded<Vec<T>> {
    stored.iter().map(decode).collect()
}

fn encode_withheld(withheld: &Withheld) -> v1::Withheld {
    v1::Withheld {
        budget: withheld.budget.to_string(),
        month: withheld.period == Period::Month,
        until_ms: withheld.until.map(|t| t.0),
        since_ms: withheld.since.0,
    }
}

fn decode_withheld(stored: Option<&v1::Withheld>) -> Decoded<Withheld> {
    let stored = require(stored, "withheld")?;
    Ok(Withheld {
        budget: parse(&stored.budget, "budget")?,
        period: if stored.month { Period::Month } else { Period::Day },
        until: stored.until_ms.map(Timestamp),
        since: Timestamp(stored.since_ms),
    })
}
