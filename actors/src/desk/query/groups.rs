//! Dead letters by what they have in common: one trouble seldom strikes one post.

use std::collections::HashMap;

use copydesk_eventlog::{EventLog, ReadError};
use copydesk_proto::{PostKey, SiteId, Timestamp};

use super::posts::{PostFilter, dead_posts, fold};

/// Groups one look answers, the largest first. Causes come from a few dozen sentences.
const GROUPS_MAX: usize = 200;

/// Groups counted at most; a cause beyond them is not grouped any more but counted by its code.
const CAUSES_MAX: usize = 2_000;

/// Dead letters of one site with one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// The site.
    pub site: SiteId,
    /// Stable code of the failure.
    pub code: String,
    /// The cause of the newest of them; of causes that differ in numbers only, one.
    pub cause: String,
    /// How many dead letters.
    pub letters: u64,
    /// Of how many posts.
    pub posts: u64,
    /// When the first of them died.
    pub first_at: Timestamp,
    /// When the last of them died.
    pub last_at: Timestamp,
    /// One of the posts, to look at.
    pub example: PostKey,
}

/// The dead letters of a filter by site and cause, the largest group first; of the 10,000 posts
/// with dead letters last touched.
///
/// # Errors
/// As [`dead_letters`](super::dead_letters).
pub async fn dead_letter_groups(
    log: &dyn EventLog,
    filter: &PostFilter,
) -> Result<Vec<DeadLetterGroup>, ReadError> {
    let mut groups: HashMap<(SiteId, String, String), DeadLetterGroup> = HashMap::new();
    for (_, key) in dead_posts(log, filter).await?.into_iter().rev() {
        let Some((state, _)) = fold(log, &key).await? else { continue };
        for dead in &state.dead {
            let failure = &dead.failure;
            if filter.code.as_ref().is_some_and(|code| *code != failure.code) {
                continue;
            }
            let mut name =
                (key.site.clone(), failure.code.clone(), without_numbers(&failure.cause));
            if groups.len() >= CAUSES_MAX && !groups.contains_key(&name) {
                name.2.clear();
            }
            let group = groups.entry(name).or_insert_with(|| DeadLetterGroup {
                site: key.site.clone(),
                code: failure.code.clone(),
                cause: failure.cause.clone(),
                letters: 0,
                posts: 0,
                first_at: dead.at,
                last_at: dead.at,
                example: key.clone(),
            });
            // All letters of a post come one after the other.
            group.posts += u64::from(group.letters == 0 || group.example != key);
            group.letters += 1;
            group.example = key.clone();
            group.first_at = group.first_at.min(dead.at);
            if dead.at >= group.last_at {
                (group.last_at, group.cause) = (dead.at, failure.cause.clone());
            }
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|a, b| {
        let name = |g: &DeadLetterGroup| (g.site.clone(), g.code.clone(), g.cause.clone());
        b.posts.cmp(&a.posts).then_with(|| name(a).cmp(&name(b)))
    });
    groups.truncate(GROUPS_MAX);
    Ok(groups)
}

/// "3 of 17 characters" and "4 of 19 characters" are one cause.
pub(super) fn without_numbers(cause: &str) -> String {
    let mut text = String::with_capacity(cause.len());
    for c in cause.chars() {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !text.ends_with('0') {
            text.push('0');
        }
    }
    text
}
