//! What decisions are given to know: the routes' plans, the holds, the bounds.

use std::collections::HashMap;
use std::sync::Arc;

use copydesk_proto::{PostKey, RouteId, SubscriberId, Timestamp};

use super::event::PlanStep;
use super::notice::NoticeKind;
use crate::holds::{Hold, HoldScope, Holds};
use crate::retry::RetryPolicy;
use crate::routes::Coalesce;
use crate::subscribers::Subscription;

/// Knowledge for one post's decisions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The post.
    pub key: PostKey,
    /// What each route asks for.
    pub plans: Arc<HashMap<RouteId, RoutePlan>>,
    /// What is held at present.
    pub holds: Arc<Holds>,
    /// When caps were last changed: work withheld before that is asked for again.
    pub budgets_changed_at: Timestamp,
    /// How tries are spaced and counted.
    pub tries: Tries,
    /// Whether the post's site takes suggestions.
    pub suggests: bool,
    /// Who may want to know how runs end.
    pub subscriptions: Arc<Vec<Subscription>>,
    /// Of notices: why their subscriber is told nothing at present.
    pub closed: Option<Arc<Hold>>,
}

/// What a route asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutePlan {
    /// The enrichments, in order.
    pub steps: Vec<PlanStep>,
    /// Whether each event takes effect or only the newest.
    pub coalesce: Coalesce,
    /// Whether a dead letter stops the post.
    pub blocks: bool,
    /// How long an event waits for the versions before its own, in milliseconds; 0: not at all.
    pub gap_wait_ms: u64,
}

/// How tries are spaced and counted, by kind of step.
#[derive(Debug, Clone, Copy)]
pub struct Tries {
    /// Reading a post.
    pub read: RetryPolicy,
    /// Asking an AI service.
    pub enrich: RetryPolicy,
    /// Writing to WordPress; notices have a schedule of their own.
    pub write: RetryPolicy,
    /// How long the other side may be unavailable before the run is dead-lettered.
    pub unavailable_max_ms: u64,
    /// AI calls one post may ask for in an hour, a last guard against loops.
    pub asks_per_hour_max: u32,
}

impl Policy {
    /// The first hold on any of what this needs, the post and its site included.
    #[must_use]
    pub(super) fn held(&self, needs: &[HoldScope]) -> Option<&Hold> {
        if let Some(closed) = &self.closed {
            return Some(closed);
        }
        if self.holds.is_empty() {
            return None;
        }
        let mut always = vec![
            HoldScope::All,
            HoldScope::Site(self.key.site.clone()),
            HoldScope::Post(self.key.clone()),
        ];
        if let Some(subscriber) = self.key.subscriber() {
            // A notice is no delivery to WordPress, and its source and route had their say.
            always.push(HoldScope::Subscriber(subscriber.clone()));
            return self.holds.blocks(&always);
        }
        self.holds.blocks(&always).or_else(|| self.holds.blocks(needs))
    }

    /// Whom to tell of such an end. Of notices nobody is told.
    pub(super) fn listeners(&self, kind: NoticeKind) -> Vec<SubscriberId> {
        if self.key.subscriber().is_some() {
            return Vec::new();
        }
        let listening = self.subscriptions.iter().filter(|s| s.listens(&self.key.site, kind));
        listening.map(|subscription| subscription.id.clone()).collect()
    }
}
