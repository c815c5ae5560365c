//! The span and the count of an append to the intake log. The span's context goes into the record:
//! whoever works on the event, in whatever process, follows from it.

use std::time::Instant;

use copydesk_eventlog::Appended;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use crate::World;
use crate::records::Intake;
use crate::telemetry::{Close, Open, names};

/// An append under way.
pub(super) struct Publishing {
    began: Instant,
    open: Option<Open>,
}

impl Publishing {
    pub(super) fn begin(world: &World, intake: &mut Intake) -> Self {
        let open = world.telemetry.open(intake.trace);
        if let Some(open) = open {
            intake.trace = Some(open.context);
        }
        Self { began: Instant::now(), open }
    }

    pub(super) fn end(self, world: &World, intake: &Intake, appended: Option<&Appended>) {
        let Self { began, open } = self;
        world.telemetry.metrics().append("in", appended.is_some(), began.elapsed());
        let Some(open) = open else { return };
        let mut close = Close::named("publish cd.in", SpanKind::Producer);
        let size = i64::try_from(intake.body.len()).unwrap_or(i64::MAX);
        close.attributes = vec![
            KeyValue::new(names::MESSAGING_SYSTEM, world.messaging_system),
            KeyValue::new(names::MESSAGING_OPERATION, "publish"),
            KeyValue::new(names::MESSAGING_DESTINATION, "cd.in"),
            KeyValue::new(names::MESSAGING_BODY_SIZE, size),
            KeyValue::new(names::EVENT_ID, intake.event_id.clone()),
        ];
        match appended {
            Some(Appended::Stored(sequence) | Appended::Duplicate(sequence)) => {
                close
                    .attributes
                    .push(KeyValue::new(names::MESSAGING_MESSAGE, sequence.to_string()));
            }
            None => close.error = Some("log_unavailable".into()),
        }
        world.telemetry.close(open, close);
    }
}
