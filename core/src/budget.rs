//! Money that stops by itself: day and month caps in millionths of a dollar.
//!
//! An estimate is reserved before a call and settled with the true cost after it. What is spent
//! and reserved never passes a cap, as long as estimates are upper bounds. A call belongs to the
//! day and month in which it was reserved, wherever its answer falls. Periods turn at midnight UTC.

use std::fmt;
use std::str::FromStr;

use copydesk_proto::{ProviderId, SiteId, Timestamp};
use jiff::tz::TimeZone;

/// Shares of a cap that raise an alert, in percent, each once per period.
pub const ALERT_PERCENTS: [u8; 3] = [50, 80, 100];

/// Caps in microdollars; `None` is no cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// Per day.
    pub day_microdollars: Option<u64>,
    /// Per calendar month.
    pub month_microdollars: Option<u64>,
}

/// Which cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// From midnight to midnight, UTC.
    Day,
    /// The calendar month, UTC.
    Month,
}

/// Whose money. Its text form is `provider:<name>` or `site:<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BudgetName {
    /// Everything a provider is paid.
    Provider(ProviderId),
    /// Everything that is paid for a site's posts.
    Site(SiteId),
}

/// The text names no budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a budget is provider:<name> or site:<name>")]
pub struct UnknownBudget;

impl fmt::Display for BudgetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(id) => write!(f, "provider:{id}"),
            Self::Site(id) => write!(f, "site:{id}"),
        }
    }
}

impl FromStr for BudgetName {
    type Err = UnknownBudget;

    fn from_str(text: &str) -> Result<Self, UnknownBudget> {
        let (kind, name) = text.split_once(':').ok_or(UnknownBudget)?;
        match kind {
            "provider" => name.parse().map(Self::Provider).map_err(|_| UnknownBudget),
            "site" => name.parse().map(Self::Site).map_err(|_| UnknownBudget),
            _ => Err(UnknownBudget),
        }
    }
}

/// A step that has to wait for money: by which budget, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// Whose cap.
    pub budget: BudgetName,
    /// Which of its caps.
    pub period: Period,
    /// The start of the next period; `None` when only a higher cap helps.
    pub until: Option<Timestamp>,
    /// Since when.
    pub since: Timestamp,
}

/// Work has to wait for money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BudgetRefusal {
    /// The room is reserved for calls that are out; some of it comes back when they end.
    #[error("the rest of the budget is reserved for calls under way")]
    Reserved,
    /// The cap leaves no room in this period.
    #[error("the budget of this period is used up")]
    UsedUp {
        /// Whose cap.
        period: Period,
        /// When the next period starts.
        until: Timestamp,
    },
    /// The call alone costs more than the cap: no period will have room for it.
    #[error("one call costs more than the whole budget")]
    OverCap {
        /// Whose cap.
        period: Period,
    },
}

/// A share of a cap was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetAlert {
    /// Whose cap.
    pub period: Period,
    /// One of [`ALERT_PERCENTS`]; 100 also when work was first held.
    pub percent: u8,
}

/// Money set aside for one call. Give it back with [`Budget::settle`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "money that is not settled stays reserved until its period ends"]
pub struct Reservation {
    microdollars: u64,
    day: i64,
    month: i64,
}

impl Reservation {
    /// How much, in microdollars.
    #[must_use]
    pub const fn microdollars(&self) -> u64 {
        self.microdollars
    }
}

/// What was spent and reserved against one cap in its present period.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    period: Period,
    cap: Option<u64>,
    /// Days or months since 1970.
    index: i64,
    spent: u64,
    reserved: u64,
    alerted_percent: u8,
}

impl Account {
    const fn new(period: Period, cap: Option<u64>) -> Self {
        Self { period, cap, index: i64::MIN, spent: 0, reserved: 0, alerted_percent: 0 }
    }

    /// A clock set back keeps the present period: no cap is granted twice.
    fn turn(&mut self, index: i64) {
        if index > self.index {
            *self = Self { index, ..Self::new(self.period, self.cap) };
        }
    }

    const fn booked(&self) -> u64 {
        self.spent.saturating_add(self.reserved)
    }

    /// Room in an equal part of what is not spent: nodes do not know what others have reserved.
    fn has_room(&self, microdollars: u64, sharers: u64) -> bool {
        let reserved = self.reserved.saturating_add(microdollars).saturating_mul(sharers);
        self.cap.is_none_or(|cap| self.spent.saturating_add(reserved) <= cap)
    }

    /// The highest share newly reached; `held` means that work was refused for this cap.
    fn alert(&mut self, held: bool) -> Option<BudgetAlert> {
        let cap = u128::from(self.cap?);
        let reached = |percent: u8| u128::from(self.booked()) * 100 >= cap * u128::from(percent);
        let percent = if held {
            100
        } else {
            ALERT_PERCENTS.into_iter().rev().find(|&percent| reached(percent))?
        };
        if percent <= self.alerted_percent {
            return None;
        }
        self.alerted_percent = percent;
        Some(BudgetAlert { period: self.period, percent })
    }
}

/// The budget of one provider or one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    day: Account,
    month: Account,
}

impl Budget {
    /// An unspent budget. After a restart, [`Budget::book`] what the log says was spent.
    #[must_use]
    pub const fn new(caps: Caps) -> Self {
        Self {
            day: Account::new(Period::Day, caps.day_microdollars),
            month: Account::new(Period::Month, caps.month_microdollars),
        }
    }

    /// Sets other caps; what is spent stays spent, and alerts may be raised again.
    pub const fn set_caps(&mut self, caps: Caps) {
        self.day.cap = caps.day_microdollars;
        self.month.cap = caps.month_microdollars;
        self.day.alerted_percent = 0;
        self.month.alerted_percent = 0;
    }

    /// Sets an estimate aside before a call, or says what to wait for. So many nodes share the
    /// budget, at least 1. Alerts go to `alerts`.
    ///
    /// # Errors
    /// [`BudgetRefusal`]; nothing is reserved then.
    pub fn reserve(
        &mut self,
        estimate_microdollars: u64,
        sharers: u64,
        now: Timestamp,
        alerts: &mut Vec<BudgetAlert>,
    ) -> Result<Reservation, BudgetRefusal> {
        self.turn(now);
        for account in [&mut self.month, &mut self.day] {
            if account.has_room(estimate_microdollars, sharers) {
                continue;
            }
            let period = account.period;
            let without_calls = Account { reserved: 0, ..account.clone() };
            if without_calls.has_room(estimate_microdollars, sharers) {
                return Err(BudgetRefusal::Reserved);
            }
            alerts.extend(account.alert(true));
            if account.cap.is_some_and(|cap| estimate_microdollars > cap) {
                return Err(BudgetRefusal::OverCap { period });
            }
            return Err(BudgetRefusal::UsedUp { period, until: end_of(period, account.index) });
        }
        for account in [&mut self.day, &mut self.month] {
            account.reserved = account.reserved.saturating_add(estimate_microdollars);
            alerts.extend(account.alert(false));
        }
        Ok(Reservation {
            microdollars: estimate_microdollars,
            day: self.day.index,
            month: self.month.index,
        })
    }

    /// Replaces a reservation by what the call truly cost; 0 for a call that was not made.
    pub fn settle(
        &mut self,
        reservation: Reservation,
        actual_microdollars: u64,
        alerts: &mut Vec<BudgetAlert>,
    ) {
        let Reservation { microdollars, day, month } = reservation;
        for (account, index) in [(&mut self.day, day), (&mut self.month, month)] {
            if account.index == index {
                account.reserved = account.reserved.saturating_sub(microdollars);
                account.spent = account.spent.saturating_add(actual_microdollars);
                alerts.extend(account.alert(false));
            }
        }
    }

    /// Books money spent at `at` without a reservation: what the log remembers, in any order.
    pub fn book(&mut self, at: Timestamp, microdollars: u64) {
        self.turn(at);
        let (day, month) = indices(at);
        for (account, index) in [(&mut self.day, day), (&mut self.month, month)] {
            if account.index == index {
                account.spent = account.spent.saturating_add(microdollars);
            }
        }
    }

    /// The caps in force.
    #[must_use]
    pub const fn caps(&self) -> Caps {
        Caps { day_microdollars: self.day.cap, month_microdollars: self.month.cap }
    }

    /// Spent in the present period of this cap, in microdollars.
    #[must_use]
    pub const fn spent(&self, period: Period) -> u64 {
        match period {
            Period::Day => self.day.spent,
            Period::Month => self.month.spent,
        }
    }

    /// Spent and reserved in the present period of this cap, in microdollars.
    #[must_use]
    pub const fn booked(&self, period: Period) -> u64 {
        match period {
            Period::Day => self.day.booked(),
            Period::Month => self.month.booked(),
        }
    }

    /// Turns the periods that have ended.
    pub fn turn(&mut self, now: Timestamp) {
        let (day, month) = indices(now);
        self.day.turn(day);
        self.month.turn(month);
    }
}

/// Days and months since 1970 in UTC.
fn indices(at: Timestamp) -> (i64, i64) {
    let day = at.0.div_euclid(86_400_000);
    let date = jiff::Timestamp::from_millisecond(at.0).map(|at| at.to_zoned(TimeZone::UTC).date());
    // Only times beyond the year 9999 fail; there the day alone goes on.
    let month =
        date.map_or(i64::MAX, |d| (i64::from(d.year()) - 1970) * 12 + i64::from(d.month()) - 1);
    (day, month)
}

/// The start of the period after this one.
fn end_of(period: Period, index: i64) -> Timestamp {
    match period {
        Period::Day => Timestamp(index.saturating_add(1).saturating_mul(86_400_000)),
        Period::Month => {
            let next = index.saturating_add(1);
            let year = i16::try_from(next.div_euclid(12).saturating_add(1970)).ok();
            let month = i8::try_from(next.rem_euclid(12) + 1).ok();
            let start = year.zip(month).and_then(|(y, m)| jiff::civil::Date::new(y, m, 1).ok());
            let zoned = start.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
            zoned.map_or(Timestamp(i64::MAX), |at| Timestamp(at.timestamp().as_millisecond()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn budget(day: u64, month: u64) -> Budget {
        Budget::new(Caps { day_microdollars: Some(day), month_microdollars: Some(month) })
    }

    #[test]
    fn nodes_that_share_a_budget_reserve_from_equal_parts_of_the_rest() {
        let (mut budget, now) = (budget(100, 1_000), at("2024-01-01T00:00:00Z"));
        let mut alerts = Vec::new();
        let call = budget.reserve(50, 2, now, &mut alerts).unwrap();
        assert_eq!(budget.reserve(1, 2, now, &mut alerts), Err(BudgetRefusal::Reserved));
        budget.settle(call, 40, &mut alerts);
        assert!(budget.reserve(31, 2, now, &mut alerts).is_err());
    }

    #[test]
    fn a_cap_holds_until_its_period_turns() {
        let mut alerts = Vec::new();
        let mut budget = budget(100, 150);
        let evening = at("2024-02-28T23:59:59.999Z");
        let call = budget.reserve(100, 1, evening, &mut alerts).unwrap();
        budget.settle(call, 100, &mut alerts);
        assert_eq!(
            budget.reserve(1, 1, evening, &mut alerts),
            Err(BudgetRefusal::UsedUp { period: Period::Day, until: at("2024-02-29T00:00:00Z") })
        );
        let leap_day = at("2024-02-29T00:00:00Z");
        assert_eq!(
            budget.reserve(51, 1, leap_day, &mut alerts),
            Err(BudgetRefusal::UsedUp { period: Period::Month, until: at("2024-03-01T00:00:00Z") })
        );
        let call = budget.reserve(50, 1, leap_day, &mut alerts).unwrap();
        budget.settle(call, 50, &mut alerts);
        assert!(budget.reserve(100, 1, at("2024-03-01T00:00:00Z"), &mut alerts).is_ok());
        assert_eq!(
            end_of(Period::Month, indices(at("2024-12-31T12:00:00Z")).1),
            at("2025-01-01T00:00:00Z")
        );
    }

    #[test]
    fn a_call_larger_than_the_cap_says_so() {
        let mut alerts = Vec::new();
        let refused = budget(100, 1_000).reserve(101, 1, at("2024-01-01T00:00:00Z"), &mut alerts);
        assert_eq!(refused, Err(BudgetRefusal::OverCap { period: Period::Day }));
    }

    #[test]
    fn a_call_belongs_to_the_period_it_was_reserved_in() {
        let mut alerts = Vec::new();
        let mut budget = budget(100, 1_000);
        let call = budget.reserve(60, 1, at("2024-01-01T23:59:00Z"), &mut alerts).unwrap();
        let next = budget.reserve(100, 1, at("2024-01-02T00:01:00Z"), &mut alerts).unwrap();
        budget.settle(call, 60, &mut alerts);
        assert_eq!(budget.booked(Period::Day), 100);
        assert_eq!(budget.booked(Period::Month), 160);
        budget.settle(next, 0, &mut alerts);
        assert_eq!(budget.booked(Period::Day), 0);
        assert_eq!(budget.booked(Period::Month), 60);
    }

    #[test]
    fn each_alert_is_raised_once_and_the_last_when_work_is_held() {
        let mut alerts = Vec::new();
        let mut budget =
            Budget::new(Caps { day_microdollars: Some(100), month_microdollars: None });
        let now = at("2024-01-01T00:00:00Z");
        let mut percents = |budget: &mut Budget, estimate: u64, now: Timestamp| {
            let held = budget.reserve(estimate, 1, now, &mut alerts).is_err();
            (held, alerts.drain(..).map(|alert| alert.percent).collect::<Vec<_>>())
        };
        assert_eq!(percents(&mut budget, 49, now), (false, vec![]));
        assert_eq!(percents(&mut budget, 1, now), (false, vec![50]));
        assert_eq!(percents(&mut budget, 1, now), (false, vec![]));
        assert_eq!(percents(&mut budget, 35, now), (false, vec![80]));
        assert_eq!(percents(&mut budget, 20, now), (true, vec![]), "reserved, not spent");
        budget.book(now, 81);
        assert_eq!(percents(&mut budget, 20, now), (true, vec![100]));
        assert_eq!(percents(&mut budget, 20, now), (true, vec![]));
        budget.set_caps(Caps { day_microdollars: Some(300), month_microdollars: None });
        assert_eq!(percents(&mut budget, 20, now), (false, vec![50]), "raised: work goes on");
        assert_eq!(percents(&mut budget, 300, now.after_ms(86_400_000)), (false, vec![100]));
    }

    #[test]
    fn a_clock_set_back_grants_no_second_cap() {
        let mut alerts = Vec::new();
        let mut budget = budget(100, 1_000);
        let call = budget.reserve(100, 1, at("2024-01-02T00:00:00Z"), &mut alerts).unwrap();
        budget.settle(call, 100, &mut alerts);
        assert!(budget.reserve(1, 1, at("2024-01-01T00:00:00Z"), &mut alerts).is_err());
    }

    #[test]
    fn booking_from_the_log_counts_the_present_period() {
        let mut budget = budget(100, 1_000);
        budget.book(at("2024-01-31T10:00:00Z"), 5);
        budget.book(at("2024-02-01T10:00:00Z"), 7);
        budget.book(at("2024-02-02T10:00:00Z"), 11);
        budget.book(at("2024-02-01T11:00:00Z"), 13);
        assert_eq!((budget.booked(Period::Day), budget.booked(Period::Month)), (11, 31));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Reserve(u64),
        /// Settle the oldest reservation with this share of it, in percent.
        Settle(u8),
        Wait(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0_u64..400).prop_map(Act::Reserve),
            4 => (0_u8..=100).prop_map(Act::Settle),
            1 => (0_u64..40 * 86_400_000).prop_map(Act::Wait),
        ]
    }

    proptest! {
        #[test]
        fn spend_never_passes_a_cap(
            day in 1_u64..1_000,
            month in 1_u64..3_000,
            acts in prop::collection::vec(act(), 1..300),
        ) {
            use std::collections::{HashMap, VecDeque};
            let mut alerts = Vec::new();
            let mut budget = budget(day, month);
            let mut now = at("2024-01-30T12:00:00Z");
            let mut open = VecDeque::new();
            // The oracle: true spend by the day and month in which each call was reserved.
            let mut spent: HashMap<(Period, i64), u64> = HashMap::new();
            for act in acts {
                match act {
                    Act::Wait(ms) => now = now.after_ms(ms),
                    Act::Reserve(estimate) => {
                        if let Ok(call) = budget.reserve(estimate, 1, now, &mut alerts) {
                            open.push_back((call, indices(now)));
                        }
                    }
                    Act::Settle(percent) => {
                        let Some((call, (d, m))) = open.pop_front() else { continue };
                        let actual = call.microdollars() * u64::from(percent) / 100;
                        budget.settle(call, actual, &mut alerts);
                        *spent.entry((Period::Day, d)).or_default() += actual;
                        *spent.entry((Period::Month, m)).or_default() += actual;
                    }
                }
                prop_assert!(budget.booked(Period::Day) <= day);
                prop_assert!(budget.booked(Period::Month) <= month);
            }
            for ((period, _), total) in spent {
                let cap = match period { Period::Day => day, Period::Month => month };
                prop_assert!(total <= cap, "{:?} spent {} of {}", period, total, cap);
            }
        }
    }
}
