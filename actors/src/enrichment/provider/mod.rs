//! AI services behind one trait.
//!
//! To add a service: implement [`Provider`]. Two examples are beside this file:
//! [`Builtin`](super::builtin::Builtin) (in the process) and [`network::Network`] (over HTTP).

pub mod network;

use std::sync::Arc;

use copydesk_core::content::{Field, FieldValue, PostText};
use copydesk_core::failure::Failure;
use copydesk_core::post::Lane;
use copydesk_proto::{SiteId, TraceContext};
use futures::future::BoxFuture;
use opentelemetry::StringValue;

use super::recipe::Recipe;

/// One AI job for one revision of a post.
#[derive(Debug, Clone)]
pub struct Question {
    /// What to make.
    pub recipe: Recipe,
    /// The field the answer is for: its limits apply.
    pub field: Field,
    /// The post, and the site's terms.
    pub text: Arc<PostText>,
    /// Whose post: calls of different sites take turns.
    pub site: SiteId,
    /// Live work goes before backfill.
    pub lane: Lane,
    /// Constant over all tries of this job, so that a service may recognise a repeat.
    pub call_id: String,
    /// The trace this call belongs to.
    pub trace: Option<TraceContext>,
    /// Most tokens the answer may take; [`Recipe::output_tokens_max`] where nothing else is said.
    pub max_output_tokens: u32,
}

/// What came of a question, cleaned and ready for WordPress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The value for the question's field. Empty when there is nothing to say about the post; an
    /// empty value is never written.
    pub value: FieldValue,
    /// The model that answered, as the service named it.
    pub model: String,
    /// Prompt tokens of all calls made; estimated where the service gave none.
    pub input_tokens: u32,
    /// Answer tokens of all calls made; estimated where the service gave none.
    pub output_tokens: u32,
    /// Price of all calls made, in millionths of a dollar, rounded up.
    pub cost_microdollars: u64,
    /// Why the last answer ended: `stop`, `length`, …
    pub finish_reason: &'static str,
}

/// Whom a provider asks, as spans and metrics name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Face {
    /// `openai`, `anthropic`; `copydesk` where no call leaves the process.
    pub system: &'static str,
    /// The model asked for.
    pub model: StringValue,
    /// The host asked; `None` where no call leaves the process.
    pub host: Option<StringValue>,
}

/// An AI service.
///
/// - `ask` is one logical call: at most two requests leave for it (one repair of a malformed or
///   cut-off answer). It does not wait for limits and does not try again after errors: that is
///   the [actor's](super::actor) and the post's business.
/// - It ends: within the timeout of its settings, with a [`Reply`] whose value has been cleaned,
///   or with a [`Failure`] in words an operator can act on, without post content or secrets.
/// - Dropping the future abandons the call; the service may still bill it.
pub trait Provider: Send + Sync + 'static {
    /// Whom it asks.
    fn face(&self) -> Face {
        Face { system: "copydesk", model: "builtin".into(), host: None }
    }

    /// Asks the question.
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Reply, Failure>>;

    /// The most that the question may cost, in millionths of a dollar: what is reserved for it.
    /// An upper bound, for the budget stands on it; 0 for what is free.
    fn cost_max_microdollars(&self, question: &Question) -> u64;
}

/// What tokens cost, in millionths of a dollar per million tokens: $0.15 is 150,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prices {
    /// Per million prompt tokens.
    pub input_microdollars_per_million: u64,
    /// Per million answer tokens.
    pub output_microdollars_per_million: u64,
}

impl Prices {
    /// The price of a call in millionths of a dollar, rounded up, so that no call is free by
    /// rounding.
    #[must_use]
    pub fn cost_microdollars(self, input_tokens: u32, output_tokens: u32) -> u64 {
        let cost = u128::from(input_tokens) * u128::from(self.input_microdollars_per_million)
            + u128::from(output_tokens) * u128::from(self.output_microdollars_per_million);
        u64::try_from(cost.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// Tokens of a text at most: every token stands for at least a byte.
#[must_use]
pub fn tokens_max(text_bytes: usize) -> u32 {
    u32::try_from(text_bytes).unwrap_or(u32::MAX)
}

/// Tokens of a text when the service does not say: one per four bytes is high for English and
/// about right for other scripts, and never zero. Better booked too much than not at all.
#[must_use]
pub fn estimate_tokens(text: &str) -> u32 {
    u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX).max(1)
}
