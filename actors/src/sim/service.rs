//! The AI service: repeats the mark of the text it is asked about, fails, and keeps its books.

use std::sync::{Arc, Mutex};

use copydesk_core::content::FieldValue;
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_eventlog::{EventLog, MemoryLog};
use copydesk_proto::PostKey;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::lab::{Lab, lock};
use super::{mark, marked};
use crate::enrichment::provider::{Provider, Question, Reply};

/// A call that reached the service.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) key: PostKey,
    pub(super) version: u64,
    /// Where the log ended when the call began.
    pub(super) at: u64,
}

/// The service, over all lives of the nodes.
#[derive(Debug)]
pub(super) struct Service {
    lab: Arc<Lab>,
    log: MemoryLog,
    calls: Mutex<Vec<Call>>,
}

impl Service {
    pub(super) fn new(lab: Arc<Lab>, log: MemoryLog) -> Self {
        Self { lab, log, calls: Mutex::default() }
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    async fn answer(&self, question: &Question) -> Result<Reply, Failure> {
        let lab = &self.lab;
        let (key, version) = marked(&question.text.content).unwrap();
        let at = self.log.last_sequence().await.unwrap().0;
        lock(&self.calls).push(Call { key: key.clone(), version, at });
        lab.step(format!("ask {key} v{version}")).await;
        lab.linger(50).await;
        if lab.chance(lab.plan.world_percent) {
            let failed = |class, code| Err(Failure::new(class, code, "the service says no"));
            match lab.below(20) {
                0 => return failed(FailureClass::Terminal, "provider_refused"),
                1..=9 => return failed(FailureClass::Retry, "provider_error"),
                _ => return failed(FailureClass::Unavailable, "provider_down"),
            }
        }
        lab.step(format!("answer {key} v{version}")).await;
        Ok(Reply {
            value: FieldValue::Text(mark(&key, version)),
            model: "stand-in".to_owned(),
            input_tokens: 10,
            output_tokens: 5,
            cost_microdollars: 3,
            finish_reason: "stop",
        })
    }
}

impl Provider for Service {
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Reply, Failure>> {
        self.answer(question).boxed()
    }

    fn cost_max_microdollars(&self, _: &Question) -> u64 {
        3
    }
}
