//! What a receiver is asked, and what it answers.

use copydesk_core::refusal::Refusal;
use copydesk_core::webhook::VerifiedWebhook;
use copydesk_eventlog::Sequence;
use tokio::sync::oneshot;

/// The webhook is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its id: of the first copy, when this is a repeat.
    pub event_id: String,
    /// Whether it was there before.
    pub duplicate: bool,
    /// Its place in the log.
    pub position: Sequence,
}

/// What a receiver understands.
#[derive(Debug)]
pub enum ReceiverMessage {
    /// Admit and append.
    Store(Box<VerifiedWebhook>, oneshot::Sender<Result<Receipt, Refusal>>),
}
