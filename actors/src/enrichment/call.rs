//! The span and the counts of one call to an AI service, as OpenTelemetry's GenAI conventions have
//! them, without what was asked and answered.

use std::time::Instant;

use copydesk_core::failure::Failure;
use copydesk_proto::ProviderId;
use opentelemetry::trace::SpanKind;
use opentelemetry::{Array, KeyValue, StringValue, Value};

use super::provider::{Face, Question, Reply};
use crate::telemetry::{AiCall, Close, Open, Telemetry, names};

/// A call under way.
pub(super) struct Call {
    began: Instant,
    open: Option<Open>,
}

impl Call {
    /// The question's requests carry the call's own context from here on.
    pub(super) fn begin(telemetry: &Telemetry, question: &mut Question) -> Self {
        let open = telemetry.open(question.trace);
        if let Some(open) = open {
            question.trace = Some(open.context);
        }
        Self { began: Instant::now(), open }
    }

    pub(super) fn end(
        self,
        telemetry: &Telemetry,
        id: &ProviderId,
        face: Face,
        answer: Result<&Reply, &Failure>,
    ) {
        let reply = answer.ok();
        telemetry.metrics().ai_call(AiCall {
            provider: id.to_shared().into(),
            model: face.model.clone(),
            outcome: answer.err().map_or("ok".into(), |failure| failure.code.clone().into()),
            input_tokens: reply.map_or(0, |r| r.input_tokens),
            output_tokens: reply.map_or(0, |r| r.output_tokens),
            cost_microdollars: reply.map_or(0, |r| r.cost_microdollars),
            took: self.began.elapsed(),
        });
        let Some(open) = self.open else { return };
        // The conventions allow a model in the process to be no call to elsewhere.
        let kind = if face.host.is_some() { SpanKind::Client } else { SpanKind::Internal };
        let mut close = Close::named(format!("chat {}", face.model), kind);
        close.attributes = attributes(id, face, reply);
        close.error = answer.err().map(|failure| failure.code.clone().into());
        telemetry.close(open, close);
    }
}

fn attributes(id: &ProviderId, face: Face, reply: Option<&Reply>) -> Vec<KeyValue> {
    let Face { system, model, host } = face;
    let mut all = Vec::with_capacity(10);
    all.extend([
        KeyValue::new(names::GEN_AI_OPERATION, "chat"),
        KeyValue::new(names::GEN_AI_PROVIDER, system),
        KeyValue::new(names::GEN_AI_REQUEST_MODEL, model.clone()),
        KeyValue::new(names::PROVIDER, id.to_shared()),
    ]);
    all.extend(host.map(|host| KeyValue::new(names::SERVER_ADDRESS, host)));
    let Some(reply) = reply else { return all };
    // Mostly the one that was asked for.
    let answered = if reply.model == model.as_str() { model } else { reply.model.clone().into() };
    let reasons = Array::String(vec![StringValue::from(reply.finish_reason)]);
    let cost = i64::try_from(reply.cost_microdollars).unwrap_or(i64::MAX);
    all.extend([
        KeyValue::new(names::GEN_AI_RESPONSE_MODEL, answered),
        KeyValue::new(names::GEN_AI_FINISH_REASONS, Value::Array(reasons)),
        KeyValue::new(names::GEN_AI_INPUT_TOKENS, i64::from(reply.input_tokens)),
        KeyValue::new(names::GEN_AI_OUTPUT_TOKENS, i64::from(reply.output_tokens)),
        KeyValue::new(names::COST, cost),
    ]);
    all
}
