//! A subject's records, one after the other, without holding more than a page.

use std::ops::ControlFlow;

use copydesk_eventlog::{EventLog, ReadError, Record, Sequence, Subject};

use crate::records::BadRecord;

/// Records read at a time, at most; of the largest, 24 MiB.
pub(in crate::desk) const PAGE: usize = 64;

/// Records read first: what most looks for one event need.
const FIRST_PAGE: usize = 8;

/// Shows each record of the subject after `after`, until told to stop or at the end.
pub(in crate::desk) async fn walk(
    log: &dyn EventLog,
    subject: &Subject,
    mut after: Sequence,
    mut show: impl FnMut(&Record) -> ControlFlow<()> + Send,
) -> Result<(), ReadError> {
    let mut limit = FIRST_PAGE;
    loop {
        let page = log.history(subject, after, limit).await?;
        for record in &page {
            if show(record).is_break() {
                return Ok(());
            }
            after = record.sequence;
        }
        if page.len() < limit {
            return Ok(());
        }
        limit = PAGE;
    }
}

/// A view that needs a whole history cannot do without one of its records.
pub(in crate::desk) fn corrupt(bad: BadRecord) -> ReadError {
    let BadRecord { sequence, reason } = bad;
    ReadError::Corrupt { place: format!("record {sequence}"), reason }
}
