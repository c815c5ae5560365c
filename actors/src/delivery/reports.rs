//! What a site's list of posts is to be told, until it is sent: the newest of each post, and of
//! those no more than one request takes. Beyond that the oldest goes: it is a courtesy.

use std::collections::VecDeque;
use std::time::Duration;

use super::message::PostStatus;

/// Most reports that wait, and go in one request: what the plugin takes.
const REPORTS_MAX: usize = 100;
/// How long the first one waits for others: editors do not look sooner, and WordPress pays 30 ms
/// for a request whatever is in it.
pub(super) const GATHER: Duration = Duration::from_secs(2);

/// Reports that wait.
#[derive(Debug, Default)]
pub(super) struct Reports(VecDeque<PostStatus>);

impl Reports {
    /// Takes one in. `true` when there is no room for another.
    pub(super) fn push(&mut self, report: PostStatus) -> bool {
        self.0.retain(|waiting| waiting.id != report.id);
        if self.0.len() == REPORTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(report);
        self.0.len() == REPORTS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, oldest first.
    pub(super) fn take(&mut self) -> Vec<PostStatus> {
        self.0.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use copydesk_proto::Timestamp;

    use super::*;

    fn report(id: u64, sequence: u64) -> PostStatus {
        let cause = String::new();
        PostStatus { id, sequence, state: "unchanged", cause, at: Timestamp(0) }
    }

    #[test]
    fn the_newest_of_each_post_and_the_newest_hundred_are_kept() {
        let mut reports = Reports::default();
        let full: Vec<bool> = (0..100).map(|id| reports.push(report(id, 1))).collect();
        assert_eq!(full.iter().filter(|full| **full).count(), 1);
        assert!(reports.push(report(0, 2)) && reports.push(report(100, 1)));
        let kept: Vec<_> = reports.take().iter().map(|r| (r.id, r.sequence)).collect();
        assert_eq!((kept[0], kept[98], kept[99]), ((2, 1), (0, 2), (100, 1)));
        assert!(reports.is_empty());
    }
}
