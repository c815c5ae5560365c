//! Money and attempts: the desk's rows as the API's JSON has them.

use copydesk_actors::desk::{self, Costs};
use copydesk_core::access::Reach;
use copydesk_core::treasury::BudgetStatus;

use crate::admin::{AttemptRow, BudgetRow, CostRow};

pub(super) fn budget_row(status: BudgetStatus) -> BudgetRow {
    let BudgetStatus { name, caps, day_spent, month_spent, reserved } = status;
    BudgetRow {
        budget: name.to_string(),
        day_cap: caps.day_microdollars,
        month_cap: caps.month_microdollars,
        day_spent,
        month_spent,
        reserved,
    }
}

/// The rows of the sites that are seen.
pub(super) fn of_reach(rows: Costs, reach: &Reach) -> Costs {
    let seen = |site: &str| site.parse().is_ok_and(|site| reach.has(&site));
    rows.into_iter().filter(|(row, _)| seen(&row.site)).collect()
}

pub(super) fn cost_rows(rows: Costs) -> Vec<CostRow> {
    let row =
        |(row, sums): (copydesk_actors::ledger::CostRow, copydesk_actors::ledger::CostSums)| {
            CostRow {
                day: if row.day == 0 { String::new() } else { date(row.day) },
                site: row.site,
                provider: row.provider,
                enrichment: row.enrichment,
                field: row.field,
                model: row.model,
                calls: sums.calls,
                failed: sums.failed,
                input_tokens: sums.input_tokens,
                output_tokens: sums.output_tokens,
                cost_microdollars: sums.cost_microdollars,
            }
        };
    rows.into_iter().map(row).collect()
}

/// `2026-11-25`, of days since 1970.
fn date(days: i32) -> String {
    let epoch = jiff::civil::date(1970, 1, 1);
    let date = epoch.checked_add(jiff::Span::new().days(days));
    date.map(|date| date.to_string()).unwrap_or_default()
}

pub(super) fn attempt_row(row: desk::AttemptRow) -> AttemptRow {
    AttemptRow {
        run: row.run,
        step: row.step,
        attempt: row.attempt,
        asked_at: row.asked_at.0,
        ended_at: row.ended_at.map(|at| at.0),
        outcome: row.outcome.to_owned(),
        code: row.code,
        cause: row.cause,
        response: row.response,
        cost_microdollars: row.cost_microdollars,
        retry_at: row.retry_at.map(|at| at.0),
    }
}
