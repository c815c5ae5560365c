//! All budgets together: a call is paid by its provider's budget and by its site's, or by neither.

use std::collections::BTreeMap;

use copydesk_proto::{ProviderId, SiteId, Timestamp};

use crate::budget::{
    Budget, BudgetAlert, BudgetName, BudgetRefusal, Caps, Period, Reservation, Withheld,
};

/// The budgets of a node. One without caps is kept too: it counts what is spent.
#[derive(Debug)]
pub struct Treasury {
    budgets: BTreeMap<BudgetName, Budget>,
    alerts: Vec<(BudgetName, BudgetAlert)>,
    sharers: u64,
}

impl Default for Treasury {
    fn default() -> Self {
        Self { budgets: BTreeMap::new(), alerts: Vec::new(), sharers: 1 }
    }
}

/// Money set aside for one call, in each of its budgets. Give it back with [`Treasury::settle`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "money that is not settled stays reserved until its period ends"]
pub struct Grant {
    parts: Vec<(BudgetName, Reservation)>,
}

/// Why no money was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoGrant {
    /// Calls under way hold the room; ask again when one of them has ended.
    Later,
    /// The work is withheld.
    Withheld(Withheld),
}

/// How a budget stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Whose.
    pub name: BudgetName,
    /// The caps in force.
    pub caps: Caps,
    /// Spent this day, in microdollars.
    pub day_spent: u64,
    /// Spent this month.
    pub month_spent: u64,
    /// Reserved for calls under way.
    pub reserved: u64,
}

impl Treasury {
    /// Puts caps in force. What is spent stays spent.
    pub fn set_caps(&mut self, name: BudgetName, caps: Caps) {
        self.budget(name).set_caps(caps);
    }

    /// So many nodes share the budgets, this one among them.
    pub fn set_sharers(&mut self, sharers: u64) {
        self.sharers = sharers.max(1);
    }

    /// Sets an estimate aside in both budgets of a call, or in none.
    ///
    /// # Errors
    /// [`NoGrant`]; nothing is reserved then.
    pub fn reserve(
        &mut self,
        provider: &ProviderId,
        site: &SiteId,
        estimate_microdollars: u64,
        now: Timestamp,
    ) -> Result<Grant, NoGrant> {
        let mut grant = Grant { parts: Vec::new() };
        let sharers = self.sharers;
        for name in [BudgetName::Provider(provider.clone()), BudgetName::Site(site.clone())] {
            let mut alerts = Vec::new();
            let reserved =
                self.budget(name.clone()).reserve(estimate_microdollars, sharers, now, &mut alerts);
            self.alerts.extend(alerts.into_iter().map(|alert| (name.clone(), alert)));
            let (period, until) = match reserved {
                Ok(reservation) => {
                    grant.parts.push((name, reservation));
                    continue;
                }
                Err(BudgetRefusal::Reserved) => {
                    self.settle(grant, 0);
                    return Err(NoGrant::Later);
                }
                Err(BudgetRefusal::UsedUp { period, until }) => (period, Some(until)),
                Err(BudgetRefusal::OverCap { period }) => (period, None),
            };
            self.settle(grant, 0);
            let withheld = Withheld { budget: name, period, until, since: now };
            return Err(NoGrant::Withheld(withheld));
        }
        Ok(grant)
    }

    /// Replaces a grant by what the call truly cost; 0 for a call that was not made.
    pub fn settle(&mut self, grant: Grant, actual_microdollars: u64) {
        for (name, reservation) in grant.parts {
            let mut alerts = Vec::new();
            self.budget(name.clone()).settle(reservation, actual_microdollars, &mut alerts);
            self.alerts.extend(alerts.into_iter().map(|alert| (name.clone(), alert)));
        }
    }

    /// Books money spent at `at` that no grant of this treasury stands for.
    pub fn book(&mut self, provider: &ProviderId, site: &SiteId, at: Timestamp, microdollars: u64) {
        self.budget(BudgetName::Provider(provider.clone())).book(at, microdollars);
        self.budget(BudgetName::Site(site.clone())).book(at, microdollars);
    }

    /// The alerts raised since the last call.
    pub fn take_alerts(&mut self) -> Vec<(BudgetName, BudgetAlert)> {
        std::mem::take(&mut self.alerts)
    }

    /// How the budgets stand, by name.
    pub fn status(&mut self, now: Timestamp) -> Vec<BudgetStatus> {
        let status = |(name, budget): (&BudgetName, &mut Budget)| {
            budget.turn(now);
            BudgetStatus {
                name: name.clone(),
                caps: budget.caps(),
                day_spent: budget.spent(Period::Day),
                month_spent: budget.spent(Period::Month),
                reserved: budget.booked(Period::Month) - budget.spent(Period::Month),
            }
        };
        self.budgets.iter_mut().map(status).collect()
    }

    fn budget(&mut self, name: BudgetName) -> &mut Budget {
        self.budgets.entry(name).or_insert_with(|| Budget::new(Caps::default()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use std::collections::{HashMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    const NOON: Timestamp = Timestamp(86_400_000 / 2);

    fn day(microdollars: u64) -> Caps {
        Caps { day_microdollars: Some(microdollars), month_microdollars: None }
    }

    fn name(text: &str) -> BudgetName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_reads_as_it_prints() {
        for text in ["provider:main", "site:news"] {
            assert_eq!(name(text).to_string(), text);
        }
        for text in ["", "main", "site:", "post:news/1", "site:A"] {
            assert!(text.parse::<BudgetName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_site_without_money_gives_the_providers_back() {
        let mut treasury = Treasury::default();
        treasury.set_caps(name("provider:main"), day(100));
        treasury.set_caps(name("site:news"), day(10));
        let (main, news, blog) =
            ("main".parse().unwrap(), "news".parse().unwrap(), "blog".parse().unwrap());
        let refused = treasury.reserve(&main, &news, 11, NOON);
        let withheld =
            Withheld { budget: name("site:news"), period: Period::Day, until: None, since: NOON };
        assert_eq!(refused, Err(NoGrant::Withheld(withheld)));
        let whole = treasury.reserve(&main, &blog, 100, NOON).unwrap();
        assert_eq!(treasury.reserve(&main, &blog, 1, NOON), Err(NoGrant::Later));
        treasury.settle(whole, 99);
        assert!(treasury.reserve(&main, &blog, 1, NOON).is_ok());
    }

    proptest! {
        /// Neither budget is ever passed, whatever is out at once and however it ends; and what
        /// is only `Later` has room once everything under way has ended.
        #[test]
        fn no_cap_is_passed_by_calls_in_flight(
            provider_cap in 1_u64..2_000,
            site_cap in 1_u64..2_000,
            calls in prop::collection::vec((0_u64..300, 0_usize..3, 0_u64..=100, any::<bool>()), 1..300),
        ) {
            let sites = ["a", "b", "c"];
            let mut treasury = Treasury::default();
            treasury.set_caps(name("provider:main"), day(provider_cap));
            for site in sites {
                treasury.set_caps(name(&format!("site:{site}")), day(site_cap));
            }
            let main = "main".parse().unwrap();
            let mut open = VecDeque::new();
            let mut spent: HashMap<&str, u64> = HashMap::new();
            for (estimate, site, share, ends) in calls {
                let site = sites[site];
                let asked = treasury.reserve(&main, &site.parse().unwrap(), estimate, NOON);
                if let Ok(grant) = asked {
                    open.push_back((grant, site, estimate * share / 100));
                } else if asked == Err(NoGrant::Later) {
                    prop_assert!(!open.is_empty(), "later, but nothing is under way");
                }
                if ends && let Some((grant, site, actual)) = open.pop_front() {
                    treasury.settle(grant, actual);
                    *spent.entry(site).or_default() += actual;
                }
                for status in treasury.status(NOON) {
                    let cap = status.caps.day_microdollars.unwrap();
                    prop_assert!(status.day_spent + status.reserved <= cap);
                }
            }
            prop_assert!(spent.values().sum::<u64>() <= provider_cap);
            prop_assert!(spent.values().all(|spent| *spent <= site_cap));
        }
    }
}
