//! The rows, and how decisions change them.

use std::collections::{BTreeMap, BTreeSet};

use copydesk_core::post::PostEvent;
use copydesk_eventlog::{EventLog, ReadError, Record, Sequence, Subject};
use copydesk_proto::{PostKey, ProviderId, SCHEMA_VERSION, SiteId, Timestamp, v1};
use tracing::warn;

use crate::records::{DECISIONS, Decision, post_of};

/// The subject of the books.
pub const COSTS_SUBJECT: &str = "cd.desk.costs";

/// Days of rows that are kept: this month, the last two, and some to compare with. At 40 sites
/// with 5 enrichments this is 20,000 rows, about 4 MB.
const DAYS_MAX: i32 = 100;

/// Records read at a time.
const PAGE: usize = 256;

/// Decisions read at a time, about a megabyte: with JetStream each page costs a new consumer.
const DECISIONS_PAGE: usize = 2_048;

/// Rows of one record; of the longest names, 300 KiB.
pub(super) const ROWS_MAX: usize = 500;

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CostRow {
    /// Days since 1970, UTC.
    pub day: i32,
    /// Whose post.
    pub site: String,
    /// Who was asked; empty in the records of early releases.
    pub provider: String,
    /// Which enrichment; empty for calls that failed.
    pub enrichment: String,
    /// Where the answer goes; empty in the records of early releases.
    pub field: String,
    /// The model that answered; empty for calls that failed.
    pub model: String,
}

/// What calls took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CostSums {
    /// Calls answered.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// Price in millionths of a dollar.
    pub cost_microdollars: u64,
}

impl CostSums {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cost_microdollars = self.cost_microdollars.saturating_add(other.cost_microdollars);
    }
}

/// Which rows are wanted. Empty fields want all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CostFilter {
    /// From this day on, in days since 1970.
    pub since_day: Option<i32>,
    /// Before this day.
    pub until_day: Option<i32>,
    /// Only of this site.
    pub site: Option<String>,
    /// Only of this provider.
    pub provider: Option<String>,
    /// Only for this field.
    pub field: Option<String>,
    /// Only of this model.
    pub model: Option<String>,
}

impl CostFilter {
    fn wants(&self, row: &CostRow) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|w| w == has);
        self.since_day.is_none_or(|day| row.day >= day)
            && self.until_day.is_none_or(|day| row.day < day)
            && is(&self.site, &row.site)
            && is(&self.provider, &row.provider)
            && is(&self.field, &row.field)
            && is(&self.model, &row.model)
    }
}

/// What rows can be summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostKey {
    /// The day.
    Day,
    /// The site.
    Site,
    /// The provider.
    Provider,
    /// The enrichment.
    Enrichment,
    /// The field.
    Field,
    /// The model.
    Model,
}

/// Sums rows by some of their names; the others are empty in the answer, and the day 0.
#[must_use]
pub fn grouped(rows: &[(CostRow, CostSums)], by: &[CostKey]) -> Vec<(CostRow, CostSums)> {
    let mut sums: BTreeMap<CostRow, CostSums> = BTreeMap::new();
    for (row, of_row) in rows {
        let named = |key, name: &str| {
            if by.contains(&key) { name.to_owned() } else { String::new() }
        };
        let group = CostRow {
            day: if by.contains(&CostKey::Day) { row.day } else { 0 },
            site: named(CostKey::Site, &row.site),
            provider: named(CostKey::Provider, &row.provider),
            enrichment: named(CostKey::Enrichment, &row.enrichment),
            field: named(CostKey::Field, &row.field),
            model: named(CostKey::Model, &row.model),
        };
        sums.entry(group).or_default().add(*of_row);
    }
    sums.into_iter().collect()
}

/// Money spent by one decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(super) provider: ProviderId,
    pub(super) site: SiteId,
    pub(super) at: Timestamp,
    pub(super) microdollars: u64,
    /// Which process decided.
    pub(super) owner: u64,
}

/// All rows as of a place in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    pub(super) through: Sequence,
    rows: BTreeMap<CostRow, CostSums>,
    pub(super) changed: BTreeSet<CostRow>,
}

impl Books {
    /// The rows as they were written down last, and the last sequence of their subject.
    pub(super) async fn load(log: &dyn EventLog) -> Result<(Self, Sequence), ReadError> {
        let (mut books, mut last) = (Self::default(), Sequence(0));
        // Records of one writing-down; without its end it counts for nothing.
        let mut parts: Vec<v1::CostsBooked> = Vec::new();
        loop {
            let page = log.history(&subject(), last, PAGE).await?;
            for record in &page {
                last = record.sequence;
                match copydesk_proto::decode::<v1::CostsBooked>(record.payload.clone()) {
                    Ok(booked) if booked.schema_version <= SCHEMA_VERSION => {
                        parts.retain(|part| part.through == booked.through);
                        let is_whole = !booked.more;
                        parts.push(booked);
                        if is_whole {
                            parts.drain(..).for_each(|part| books.take(part));
                        }
                    }
                    // What is not readable is folded again from the decisions that are left.
                    Ok(_) | Err(_) => warn!(at = last.0, "a record of the books is unreadable"),
                }
            }
            if page.len() < PAGE {
                return Ok((books, last));
            }
        }
    }

    fn take(&mut self, booked: v1::CostsBooked) {
        self.through = self.through.max(Sequence(booked.through));
        for row in booked.rows {
            let sums = CostSums {
                calls: row.calls,
                failed: row.failed,
                input_tokens: row.input_tokens,
                output_tokens: row.output_tokens,
                cost_microdollars: row.cost_microdollars,
            };
            let (day, site, provider) = (row.day, row.site, row.provider);
            let (enrichment, field, model) = (row.enrichment, row.field, row.model);
            self.rows.insert(CostRow { day, site, provider, enrichment, field, model }, sums);
        }
    }

    /// Reads the decisions after the place reached, to the end of the log.
    pub(super) async fn catch_up(&mut self, log: &dyn EventLog) -> Result<Vec<Spent>, ReadError> {
        let mut spent = Vec::new();
        loop {
            let page = log.read(self.through, DECISIONS, DECISIONS_PAGE).await?;
            if page.is_empty() {
                return Ok(spent);
            }
            spent.extend(self.see_all(&page));
        }
    }

    /// Adds decisions that follow on the place reached. Those before it are in the books.
    pub(super) fn see_all(&mut self, page: &[Record]) -> Vec<Spent> {
        let (through, mut spent) = (self.through, Vec::new());
        for record in page.iter().filter(|record| record.sequence > through) {
            if let Some(key) = post_of(&record.subject) {
                spent.extend(self.see(&key, record));
            }
        }
        self.through = page.last().map_or(through, |last| through.max(last.sequence));
        spent
    }

    /// Adds what a decision about a post cost.
    pub(crate) fn see(&mut self, key: &PostKey, record: &Record) -> Vec<Spent> {
        let decision = match Decision::read(record) {
            Ok(decision) => decision,
            Err(error) => {
                warn!(post = %key, %error, "its costs are not in the books");
                return Vec::new();
            }
        };
        let mut spent = Vec::new();
        for event in &decision.events {
            let Some((of, enrichment, model, sums)) = cost_of(event) else { continue };
            let row = CostRow {
                day: day_of(decision.decided_at),
                site: key.site.to_string(),
                provider: of.map(|of| of.provider.to_string()).unwrap_or_default(),
                enrichment,
                field: of.map(|of| of.field.to_string()).unwrap_or_default(),
                model,
            };
            self.rows.entry(row.clone()).or_default().add(sums);
            self.changed.insert(row);
            if let (Some(of), true) = (of, sums.cost_microdollars > 0) {
                spent.push(Spent {
                    provider: of.provider.clone(),
                    site: key.site.clone(),
                    at: decision.decided_at,
                    microdollars: sums.cost_microdollars,
                    owner: decision.owner,
                });
            }
        }
        spent
    }

    /// The rows that are wanted.
    #[must_use]
    pub fn rows(&self, filter: &CostFilter) -> Vec<(CostRow, CostSums)> {
        let wanted = self.rows.iter().filter(|(row, _)| filter.wants(row));
        wanted.map(|(row, sums)| (row.clone(), *sums)).collect()
    }

    /// Forgets the days before those that are kept.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        let first = day_of(now) - DAYS_MAX;
        self.rows.retain(|row, _| row.day >= first);
        self.changed.retain(|row| row.day >= first);
    }

    /// The changed rows as records, oldest day first.
    pub(super) fn booked(&self) -> Vec<v1::CostsBooked> {
        let rows: Vec<v1::CostRow> = self
            .changed
            .iter()
            .filter_map(|row| self.rows.get(row).map(|sums| stored(row, sums)))
            .collect();
        let last = rows.len().div_ceil(ROWS_MAX).saturating_sub(1);
        rows.chunks(ROWS_MAX)
            .enumerate()
            .map(|(part, rows)| v1::CostsBooked {
                schema_version: SCHEMA_VERSION,
                through: self.through.0,
                rows: rows.to_vec(),
                more: part < last,
            })
            .collect()
    }

    #[cfg(test)]
    pub(super) fn fill(&mut self, row: CostRow) {
        self.rows.insert(row.clone(), CostSums::default());
        self.changed.insert(row);
    }

    /// Marks every row, so that the next records stand for all earlier ones.
    pub(super) fn mark_all(&mut self) {
        self.changed = self.rows.keys().cloned().collect();
    }
}

fn stored(row: &CostRow, sums: &CostSums) -> v1::CostRow {
    v1::CostRow {
        day: row.day,
        site: row.site.clone(),
        provider: row.provider.clone(),
        enrichment: row.enrichment.clone(),
        field: row.field.clone(),
        model: row.model.clone(),
        calls: sums.calls,
        failed: sums.failed,
        input_tokens: sums.input_tokens,
        output_tokens: sums.output_tokens,
        cost_microdollars: sums.cost_microdollars,
    }
}

type Cost<'e> = (Option<&'e copydesk_core::post::Asked>, String, String, CostSums);

#[expect(clippy::wildcard_enum_match_arm, reason = "two kinds of event cost money; no other may")]
fn cost_of(event: &PostEvent) -> Option<Cost<'_>> {
    match event {
        PostEvent::EnrichmentAnswered { answer, reused: false, of, .. } => Some((
            of.as_ref(),
            answer.enrichment.to_string(),
            answer.model.clone(),
            CostSums {
                calls: 1,
                failed: 0,
                input_tokens: answer.input_tokens.into(),
                output_tokens: answer.output_tokens.into(),
                cost_microdollars: answer.cost_microdollars,
            },
        )),
        PostEvent::AttemptFailed { failure, of: of @ Some(_), .. } => Some((
            of.as_ref(),
            String::new(),
            String::new(),
            CostSums {
                failed: 1,
                cost_microdollars: failure.cost_microdollars,
                ..CostSums::default()
            },
        )),
        _ => None,
    }
}

/// Days since 1970, UTC.
pub(super) fn day_of(at: Timestamp) -> i32 {
    i32::try_from(at.0.div_euclid(86_400_000)).unwrap_or(i32::MAX)
}

pub(super) fn subject() -> Subject {
    Subject::new(COSTS_SUBJECT).expect("a constant of plain tokens")
}
