//! When a schedule is due: cron expressions in a time zone, and what is made up for.

use copydesk_proto::Timestamp;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;

/// How long after its time a tick that nobody was there for is made up for. Of several only the
/// newest is: each would go through the same posts.
pub const CATCH_UP_MS: u64 = 24 * 3_600 * 1_000;

/// Times at which something is to be done.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields of a cron expression, or one whose time never comes.
    #[error("a cron expression has five fields, minute to day of the week, such as \"0 3 * * *\"")]
    Cron,
    /// No time zone of the IANA database.
    #[error("there is no time zone of this name; names are such as \"Europe/Berlin\" or \"UTC\"")]
    Zone,
}

/// What is known of the last tick of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Its time.
    pub at: Timestamp,
    /// Whether everything about it is done.
    pub done: bool,
}

/// What a schedule asks for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing is known of it: it begins now, and its first tick is the next one.
    Begin,
    /// This tick is to be done, or gone on with.
    Do(Timestamp),
    /// Nothing before this time; `None`: never again.
    Wait(Option<Timestamp>),
}

impl Schedule {
    /// A schedule of a cron expression of five fields, in this time zone.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub fn new(cron: &str, zone: &str) -> Result<Self, ScheduleError> {
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(cron).map_err(|_| ScheduleError::Cron)?;
        let zone = TimeZone::get(zone).map_err(|_| ScheduleError::Zone)?;
        let schedule = Self { cron, zone };
        // "0 0 30 2 *" has a good form and no time.
        schedule.next_after(Timestamp(0)).ok_or(ScheduleError::Cron)?;
        Ok(schedule)
    }

    /// The first tick after a time.
    #[must_use]
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let at = jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&at, false).ok()?;
        Some(Timestamp(next.timestamp().as_millisecond()))
    }

    /// The last tick up to a time.
    #[must_use]
    pub fn last_until(&self, at: Timestamp) -> Option<Timestamp> {
        let at = jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(self.zone.clone());
        let last = self.cron.find_previous_occurrence(&at, true).ok()?;
        Some(Timestamp(last.timestamp().as_millisecond()))
    }

    /// What is to be done now. A tick that is not done is gone on with until a newer one takes its
    /// place.
    #[must_use]
    pub fn turn(&self, known: Option<Tick>, now: Timestamp) -> Turn {
        let Some(known) = known else { return Turn::Begin };
        let newest = self
            .last_until(now)
            .filter(|newest| *newest > known.at && now.since_ms(*newest) <= CATCH_UP_MS);
        match newest {
            Some(newest) => Turn::Do(newest),
            None if !known.done => Turn::Do(known.at),
            None => Turn::Wait(self.next_after(now.max(known.at))),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn a_tick_is_at_its_time_in_its_zone_whatever_the_season() {
        let nightly = Schedule::new("0 3 * * *", "Europe/Berlin").unwrap();
        let next = |text: &str| nightly.next_after(at(text)).unwrap();
        assert_eq!(next("2026-07-01T00:00:00Z"), at("2026-07-01T01:00:00Z"));
        assert_eq!(next("2026-12-01T00:00:00Z"), at("2026-12-01T02:00:00Z"));
        assert_eq!(
            nightly.last_until(at("2026-12-01T02:00:00Z")),
            Some(at("2026-12-01T02:00:00Z"))
        );
        assert_eq!(
            nightly.last_until(at("2026-12-01T01:59:59Z")),
            Some(at("2026-11-30T02:00:00Z"))
        );
    }

    #[test]
    fn a_tick_is_done_once_and_gone_on_with_until_it_is() {
        let hourly = Schedule::new("0 * * * *", "UTC").unwrap();
        let known = |text: &str, done| Some(Tick { at: at(text), done });
        let check = |known, now: &str, expected| assert_eq!(hourly.turn(known, at(now)), expected);
        let (ten, eleven) = (at("2026-11-25T10:00:00Z"), at("2026-11-25T11:00:00Z"));
        check(None, "2026-11-25T10:30:00Z", Turn::Begin);
        // It began between two ticks: the one before that is not made up for.
        check(
            known("2026-11-25T10:30:00Z", true),
            "2026-11-25T10:31:00Z",
            Turn::Wait(Some(eleven)),
        );
        check(known("2026-11-25T09:00:00Z", true), "2026-11-25T10:00:00Z", Turn::Do(ten));
        check(known("2026-11-25T10:00:00Z", false), "2026-11-25T10:59:00Z", Turn::Do(ten));
        check(known("2026-11-25T10:00:00Z", false), "2026-11-25T11:00:00Z", Turn::Do(eleven));
        check(
            known("2026-11-25T10:00:00Z", true),
            "2026-11-25T10:00:01Z",
            Turn::Wait(Some(eleven)),
        );
        // Down for a day and a half: only the newest is made up for.
        check(known("2026-11-23T22:00:00Z", true), "2026-11-25T10:30:00Z", Turn::Do(ten));
        // A clock that went back does nothing twice.
        check(
            known("2026-11-25T10:00:00Z", true),
            "2026-11-25T09:30:00Z",
            Turn::Wait(Some(eleven)),
        );
        let yearly = Schedule::new("0 0 1 1 *", "UTC").unwrap();
        let before = Some(Tick { at: at("2024-01-01T00:00:00Z"), done: true });
        let next = Turn::Wait(Some(at("2027-01-01T00:00:00Z")));
        assert_eq!(yearly.turn(before, at("2026-06-01T00:00:00Z")), next);
    }

    #[test]
    fn what_has_no_time_is_no_schedule() {
        for cron in
            ["", "0 3 * *", "0 0 3 * * *", "60 3 * * *", "x", "0 0 30 2 *", "0 3 * * * 2026"]
        {
            assert_eq!(Schedule::new(cron, "UTC").unwrap_err(), ScheduleError::Cron, "{cron}");
        }
        for zone in ["", "Mars/Olympus", "../etc/passwd"] {
            assert_eq!(
                Schedule::new("0 3 * * *", zone).unwrap_err(),
                ScheduleError::Zone,
                "{zone}"
            );
        }
    }
}
