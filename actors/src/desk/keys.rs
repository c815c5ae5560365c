//! When each secret of a source last proved a webhook: what tells that an old one may go.

use std::collections::{BTreeMap, BTreeSet};

use copydesk_eventlog::{EventLog, ReadError, Record, Sequence};
use copydesk_proto::{SourceId, Timestamp};

use super::journey::walk::PAGE;
use crate::records::{INTAKE, Intake};

/// Log positions looked at backwards: some seconds of reading. A secret that none of them names
/// has long been out of use, or its source is silent.
const POSITIONS_MAX: u64 = 1_000_000;

/// Positions read in one go; they are read forwards.
const WINDOW: u64 = 5_000;

/// A secret: its source, and its id there.
pub type KeyName = (SourceId, String);

/// What the log says of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyUses {
    /// When each that was found last proved a webhook.
    pub last: BTreeMap<KeyName, Timestamp>,
    /// The others proved none since; `None`: none that the log keeps.
    pub since: Option<Timestamp>,
}

/// Looks for the last use of each of these secrets, newest webhooks first.
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub async fn key_uses(log: &dyn EventLog, wanted: BTreeSet<KeyName>) -> Result<KeyUses, ReadError> {
    let mut uses = KeyUses::default();
    let mut end = log.last_sequence().await?.0;
    let oldest = end.saturating_sub(POSITIONS_MAX);
    while end > oldest && uses.last.len() < wanted.len() {
        let start = end.saturating_sub(WINDOW).max(oldest);
        let mut window = KeyUses::default();
        let mut at = Sequence(start);
        while at.0 < end {
            let page = log.read(at, INTAKE, PAGE).await?;
            let Some(last) = page.last() else { break };
            at = last.sequence;
            for record in page.iter().filter(|record| record.sequence.0 <= end) {
                window.see(record, &wanted);
            }
        }
        // What is known already is newer.
        for (name, at) in window.last {
            uses.last.entry(name).or_insert(at);
        }
        uses.since = window.since.or(uses.since);
        end = start;
    }
    if end == 0 {
        uses.since = None;
    }
    Ok(uses)
}

impl KeyUses {
    fn see(&mut self, record: &Record, wanted: &BTreeSet<KeyName>) {
        self.since.get_or_insert(Timestamp(record.time_ms));
        // A replay carries the key of the webhook that it repeats.
        let Ok(Intake { source, key_id, received_at, replay: None, .. }) = Intake::read(record)
        else {
            return;
        };
        let name = (source, key_id);
        if wanted.contains(&name) {
            self.last.insert(name, received_at);
        }
    }
}
