//! The admin API's desk, over a running node.
use copydesk_actors::desk::Desk as Office;
#[derive(Debug)]
pub struct NodeDesk {
    office: Office,
}
impl NodeDesk {
    pub fn new(office: Office) -> Self {
        Self { office }
    }
}
use crate::admin::*;
use copydesk_core::holds::HoldScope;
use copydesk_proto::PostKey;
use futures::FutureExt;
fn no<'a, T: Send + 'a>() -> Asked<'a, T> {
    async { Err(DeskError::NotFound) }.boxed()
}
impl Desk for NodeDesk {
    fn status(&self) -> Asked<'_, Status> {
        async {
            let s = self.office.status().await.unwrap_or_default();
            Ok(Status {
                backlog: self.office.world().backlog(),
                busy_posts: s.busy as u64,
                ..Status::default()
            })
        }
        .boxed()
    }
    fn events(&self, _: Filter) -> Asked<'_, Vec<EventRow>> {
        no()
    }
    fn event(&self, _: String) -> Asked<'_, EventRow> {
        no()
    }
    fn follow(&self, _: Option<PostKey>) -> Asked<'_, Following> {
        no()
    }
    fn posts(&self, _: Filter) -> Asked<'_, Vec<PostRow>> {
        no()
    }
    fn post(&self, _: PostKey) -> Asked<'_, PostView> {
        no()
    }
    fn dead_letters(&self, _: Filter) -> Asked<'_, Vec<DeadLetterRow>> {
        no()
    }
    fn retry(&self, _: PostKey, _: u64) -> Asked<'_, ()> {
        no()
    }
    fn drop_dead_letter(&self, _: PostKey, _: u64) -> Asked<'_, ()> {
        no()
    }
    fn holds(&self) -> Asked<'_, Vec<HoldRow>> {
        no()
    }
    fn hold(&self, _: HoldScope, _: String, _: String) -> Asked<'_, HoldRow> {
        no()
    }
    fn release(&self, _: HoldScope) -> Asked<'_, ()> {
        no()
    }
    fn verify(&self) -> Asked<'_, VerifyReport> {
        no()
    }
}
