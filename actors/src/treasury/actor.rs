//! The actor.

use std::collections::VecDeque;

use copydesk_core::budget::{BudgetAlert, BudgetName, Caps, Period};
use copydesk_core::treasury::{Grant, NoGrant, Treasury};
use copydesk_proto::{ProviderId, SiteId, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tracing::warn;

use super::message::{NoMoney, Request, TreasuryMessage};
use crate::World;
use crate::alerts::{Alert, Alerts};
use crate::cluster::Sharers;

/// Asks that wait for calls under way. The dispatcher's credits keep the number below; past it an
/// ask is turned away and comes back.
const WAITING_MAX: usize = 10_000;

/// The actor; its state is [`State`].
#[derive(Debug, Clone, Copy)]
pub struct TreasuryActor;

/// What the treasury starts with.
#[derive(Debug)]
pub struct Opening {
    /// The caps in force.
    pub caps: Vec<(BudgetName, Caps)>,
    /// What was spent before, in any order.
    pub spent: Vec<(ProviderId, SiteId, Timestamp, u64)>,
    /// Where alerts go.
    pub alerts: Alerts,
    /// The nodes that share the budgets.
    pub sharers: Sharers,
}

type Reply = oneshot::Sender<Result<Grant, NoMoney>>;

/// The actor's state.
#[derive(Debug)]
pub struct State {
    treasury: Treasury,
    /// Asks for which calls under way hold the room, oldest first.
    waiting: VecDeque<(Request, Reply)>,
    alerts: Alerts,
    sharers: Sharers,
}

impl Actor for TreasuryActor {
    type Msg = TreasuryMessage;
    type State = State;
    type Arguments = Opening;

    async fn pre_start(
        &self,
        _: ActorRef<TreasuryMessage>,
        opening: Opening,
    ) -> Result<State, ActorProcessingErr> {
        let mut treasury = Treasury::default();
        for (name, caps) in opening.caps {
            treasury.set_caps(name, caps);
        }
        for (provider, site, at, microdollars) in opening.spent {
            treasury.book(&provider, &site, at, microdollars);
        }
        let (alerts, sharers) = (opening.alerts, opening.sharers);
        Ok(State { treasury, waiting: VecDeque::new(), alerts, sharers })
    }

    async fn handle(
        &self,
        _: ActorRef<TreasuryMessage>,
        message: TreasuryMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TreasuryMessage::Reserve(request, reply) => state.reserve(request, reply),
            TreasuryMessage::Settle(grant, microdollars) => {
                state.treasury.settle(grant, microdollars);
                state.serve_waiting();
            }
            TreasuryMessage::Book { provider, site, at, microdollars } => {
                state.treasury.book(&provider, &site, at, microdollars);
            }
            TreasuryMessage::SetCaps(name, caps) => {
                state.treasury.set_caps(name, caps);
                state.serve_waiting();
            }
            TreasuryMessage::Status(reply) => {
                // Whoever asked may be gone.
                let _ = reply.send(state.treasury.status(World::now()));
            }
        }
        for (name, alert) in state.treasury.take_alerts() {
            warn!(budget = %name, period = ?alert.period, percent = alert.percent, "budget");
            state.alerts.raise(told(&name, alert));
        }
        Ok(())
    }
}

impl State {
    fn reserve(&mut self, request: Request, reply: Reply) {
        if let Some((request, reply)) = self.try_to(request, reply) {
            if self.waiting.len() >= WAITING_MAX {
                let _ = reply.send(Err(NoMoney::Busy));
            } else {
                self.waiting.push_back((request, reply));
            }
        }
    }

    /// Answers what can be answered; one large call does not keep smaller ones behind it waiting.
    fn serve_waiting(&mut self) {
        for _ in 0..self.waiting.len() {
            let Some((request, reply)) = self.waiting.pop_front() else { return };
            if let Some(waits) = self.try_to(request, reply) {
                self.waiting.push_back(waits);
            }
        }
    }

    /// Gives the ask back when it has to wait for calls under way.
    fn try_to(&mut self, request: Request, reply: Reply) -> Option<(Request, Reply)> {
        if reply.is_closed() {
            return None;
        }
        let Request { provider, site, estimate_microdollars } = &request;
        self.treasury.set_sharers(self.sharers.count());
        let asked = self.treasury.reserve(provider, site, *estimate_microdollars, World::now());
        let answer = match asked {
            Ok(grant) => Ok(grant),
            Err(NoGrant::Withheld(withheld)) => Err(NoMoney::Withheld(withheld)),
            Err(NoGrant::Later) => return Some((request, reply)),
        };
        if let Err(Ok(grant)) = reply.send(answer) {
            // Nobody waits any more: no call is made.
            self.treasury.settle(grant, 0);
        }
        None
    }
}

fn told(name: &BudgetName, alert: BudgetAlert) -> Alert {
    let period = match alert.period {
        Period::Day => "day",
        Period::Month => "month",
    };
    Alert {
        group: format!("budget {name} {period} {}", alert.percent),
        text: match alert.percent {
            100 => format!(
                "the {period}'s budget of {name} is used up: work is held until it turns or is raised"
            ),
            percent => {
                format!("{percent} % of the {period}'s budget of {name} is spent or reserved")
            }
        },
    }
}
