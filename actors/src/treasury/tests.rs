use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use copydesk_core::budget::Caps;
use ractor::Actor;
use tokio::task::JoinSet;

use super::*;
use crate::alerts::Alerts;
use crate::cluster::Sharers;

async fn treasury(day_microdollars: u64) -> ractor::ActorRef<TreasuryMessage> {
    let caps = Caps { day_microdollars: Some(day_microdollars), month_microdollars: None };
    let caps = vec![("provider:main".parse().unwrap(), caps)];
    let opening =
        Opening { caps, spent: Vec::new(), alerts: Alerts::none(), sharers: Sharers::default() };
    Actor::spawn(None, TreasuryActor, opening).await.unwrap().0
}

/// 500 calls from 64 tasks, each of which costs a third of its estimate: what is spent and what
/// is out never pass the cap together, and no call is withheld while one fits.
#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_never_pass_the_cap() {
    let treasury = treasury(10_000).await;
    let (main, news) = ("main".parse().unwrap(), "news".parse().unwrap());
    let out = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (treasury, out) = (treasury.clone(), Arc::clone(&out));
        let (main, news): (copydesk_proto::ProviderId, copydesk_proto::SiteId) =
            (copydesk_proto::ProviderId::clone(&main), copydesk_proto::SiteId::clone(&news));
        tasks.spawn(async move {
            let mut spent = 0;
            for _ in 0..8 {
                let Ok(reserved) = reserve(&treasury, &main, &news, 90).await else { break };
                let before = out.fetch_add(90, Ordering::SeqCst);
                assert!(before + 90 <= 10_000);
                tokio::task::yield_now().await;
                // Counted as free here before it is there, so that this count is never high.
                out.fetch_sub(60, Ordering::SeqCst);
                reserved.settle(30);
                spent += 30;
            }
            spent
        });
    }
    let spent: u64 = tasks.join_all().await.into_iter().sum();
    assert!(spent <= 10_000, "{spent}");
    assert!(spent > 10_000 - 90, "{spent}: the cap is used as far as calls fit");
}

#[tokio::test]
async fn dropped_money_is_spent_money() {
    let treasury = treasury(100).await;
    let (main, news) = ("main".parse().unwrap(), "news".parse().unwrap());
    drop(reserve(&treasury, &main, &news, 60).await.unwrap());
    let refused = reserve(&treasury, &main, &news, 60).await;
    assert!(matches!(refused, Err(NoMoney::Withheld(_))), "{refused:?}");
    let free = reserve(&treasury, &main, &news, 0).await;
    assert!(free.is_ok(), "what costs nothing needs no money");
}
