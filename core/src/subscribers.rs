//! Who is told how events end: which of them, what of it, and when a subscriber is left alone.

use std::collections::BTreeMap;

use copydesk_proto::{SiteId, SubscriberId, Timestamp};
use serde_json::{Map, Value};

use crate::limits::{
    NOTICE_WAITS_MS, SUBSCRIBER_FAILING_MS, SUBSCRIBER_ITEMS_MAX, SUBSCRIBER_NOTED_MS,
};
use crate::pointer::{BadPointer, Pointer};
use crate::post::NoticeKind;
use crate::routes::{EventPattern, Matcher, Pattern, RouteError, Test};

/// What one subscriber wants to know.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Its name.
    pub id: SubscriberId,
    /// Which event types.
    pub events: Vec<EventPattern>,
    /// Of which sites; empty: of all.
    pub sites: Vec<SiteId>,
    /// What the notice's data must hold, all of it.
    pub matchers: Vec<Matcher>,
    /// What of the data it gets; empty: all but the event's own payload.
    pub fields: Vec<Pointer>,
}

/// A subscription in words, as the configuration and the API have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Its name.
    pub id: SubscriberId,
    /// Event patterns.
    pub events: Vec<String>,
    /// Sites.
    pub sites: Vec<SiteId>,
    /// Matchers.
    pub matches: Vec<MatchSpec>,
    /// JSON pointers into the notice's data.
    pub fields: Vec<String>,
}

/// A matcher in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchSpec {
    /// A JSON pointer into the notice's data.
    pub field: String,
    /// `any`, `is`, `startswith`, `endswith`, `contains` or `like`.
    pub test: String,
    /// What the field is compared with.
    pub text: String,
}

/// A part of a [`Spec`] that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SpecError {
    /// Which: `events`, `sites`, `match` or `fields`.
    pub setting: &'static str,
    /// Which of them, from 0.
    pub place: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl Spec {
    /// The subscription it means.
    ///
    /// # Errors
    /// The first part that is wrong.
    pub fn subscription(&self) -> Result<Subscription, SpecError> {
        let wrong = |setting, place, reason: String| SpecError { setting, place, reason };
        let counts = [
            ("events", self.events.len()),
            ("sites", self.sites.len()),
            ("match", self.matches.len()),
            ("fields", self.fields.len()),
        ];
        if let Some((setting, _)) = counts.iter().find(|(_, n)| *n > SUBSCRIBER_ITEMS_MAX) {
            let reason = format!("more than {SUBSCRIBER_ITEMS_MAX} {setting}");
            return Err(wrong(setting, SUBSCRIBER_ITEMS_MAX, reason));
        }
        if self.events.is_empty() {
            return Err(wrong("events", 0, "events is empty; \"*\" stands for every event".into()));
        }
        let events = self.events.iter().enumerate().map(|(place, event)| {
            let pattern: EventPattern =
                event.parse().map_err(|e: RouteError| wrong("events", place, e.to_string()))?;
            if NoticeKind::ALL.iter().any(|kind| pattern.matches(kind.name())) {
                return Ok(pattern);
            }
            let known: Vec<_> = NoticeKind::ALL.iter().map(|kind| kind.name()).collect();
            let reason = format!("no event is called {event}; there are {}", known.join(", "));
            Err(wrong("events", place, reason))
        });
        let matchers = self.matches.iter().enumerate().map(|(place, matches)| {
            matches.matcher().map_err(|e| wrong("match", place, e.to_string()))
        });
        let fields = self.fields.iter().enumerate().map(|(place, field)| {
            field.parse().map_err(|e: BadPointer| wrong("fields", place, e.to_string()))
        });
        Ok(Subscription {
            id: self.id.clone(),
            events: events.collect::<Result<_, _>>()?,
            sites: self.sites.clone(),
            matchers: matchers.collect::<Result<_, _>>()?,
            fields: fields.collect::<Result<_, _>>()?,
        })
    }
}

impl MatchSpec {
    /// The tests there are.
    pub const TESTS: [&str; 6] = ["any", "is", "startswith", "endswith", "contains", "like"];

    fn matcher(&self) -> Result<Matcher, RouteError> {
        let text = self.text.clone();
        let test = match self.test.as_str() {
            "any" => Test::Any,
            "is" => Test::Is(text),
            "startswith" => Test::Startswith(text),
            "endswith" => Test::Endswith(text),
            "contains" => Test::Contains(text),
            "like" => Test::Like(Pattern::new(&text)?),
            _ => return Err(RouteError::Pointer),
        };
        Matcher::new(&self.field, test)
    }
}

/// The part of a notice's data that only a field list brings: it may hold anything a sender sent.
pub const PAYLOAD: &str = "event";

impl Subscription {
    /// Whether it may want to know of such an end; its matchers have the last word.
    #[must_use]
    pub fn listens(&self, site: &SiteId, kind: NoticeKind) -> bool {
        (self.sites.is_empty() || self.sites.contains(site))
            && self.events.iter().any(|pattern| pattern.matches(kind.name()))
    }

    /// Whether it wants this notice.
    #[must_use]
    pub fn wants(&self, data: &Map<String, Value>) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(data))
    }

    /// What it gets of a notice's data.
    #[must_use]
    pub fn select(&self, data: &Map<String, Value>) -> Map<String, Value> {
        if self.fields.is_empty() {
            let all = data.iter().filter(|(name, _)| *name != PAYLOAD);
            return all.map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        let paths: Vec<Vec<String>> = self.fields.iter().map(Pointer::keys).collect();
        let paths: Vec<&[String]> = paths.iter().map(Vec::as_slice).collect();
        keep(data, &paths)
    }
}

/// The fields that paths lead to. A list is gone through item by item, so `/results/value` is the
/// value of each.
fn keep(fields: &Map<String, Value>, paths: &[&[String]]) -> Map<String, Value> {
    let mut below: BTreeMap<&str, Vec<&[String]>> = BTreeMap::new();
    for path in paths {
        if let Some((first, rest)) = path.split_first() {
            below.entry(first).or_default().push(rest);
        }
    }
    let kept = fields.iter().filter_map(|(name, value)| {
        Some((name.clone(), keep_of(value, below.get(name.as_str())?)?))
    });
    kept.collect()
}

fn keep_of(value: &Value, paths: &[&[String]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::Object(fields) => Some(Value::Object(keep(fields, paths))),
        Value::Array(items) => {
            let items = items.iter().filter_map(|item| keep_of(item, paths));
            Some(Value::Array(items.collect()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// The wait after a notice's `failures`th failure in milliseconds, a tenth of it spread by
/// `random`, and no less than the subscriber's own wish; `None` when the schedule is over.
#[must_use]
pub fn notice_wait_ms(failures: u32, random: u64, retry_after_ms: Option<u64>) -> Option<u64> {
    let place = usize::try_from(failures.saturating_sub(1)).ok()?;
    let wait = *NOTICE_WAITS_MS.get(place)?;
    let wait = wait.max(retry_after_ms.unwrap_or(0));
    Some(wait + random % (wait / 10 + 1))
}

/// How a subscriber has fared, as the log and this process know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Since when every try has failed; `None` when the last one did not.
    pub failing_since: Option<Timestamp>,
    /// Whether the log knows that it fails.
    pub noted: bool,
}

/// What a try means for its subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing new.
    Same,
    /// It fails for long enough that the next process must know since when.
    NoteFailing(Timestamp),
    /// It answers again, and the log says otherwise.
    NoteWell,
    /// It has failed for days: it is told no more until someone looks.
    Disable,
}

impl Health {
    /// A try ended.
    #[must_use]
    pub fn tried(&mut self, well: bool, now: Timestamp) -> Verdict {
        if well {
            let was_noted = std::mem::take(self).noted;
            return if was_noted { Verdict::NoteWell } else { Verdict::Same };
        }
        let since = *self.failing_since.get_or_insert(now);
        let ms = now.since_ms(since);
        if ms >= SUBSCRIBER_FAILING_MS {
            Verdict::Disable
        } else if ms >= SUBSCRIBER_NOTED_MS && !self.noted {
            self.noted = true;
            Verdict::NoteFailing(since)
        } else {
            Verdict::Same
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use serde_json::json;

    use super::*;

    fn subscription(events: &[&str], fields: &[&str]) -> Subscription {
        Subscription {
            id: "crm".parse().unwrap(),
            events: events.iter().map(|event| event.parse().unwrap()).collect(),
            sites: Vec::new(),
            matchers: Vec::new(),
            fields: fields.iter().map(|field| field.parse().unwrap()).collect(),
        }
    }

    fn data() -> Map<String, Value> {
        let data = json!({
            "site": "news", "post": "42", "source": "news",
            "results": [
                { "field": "excerpt", "value": "A summary.", "outcome": "applied" },
                { "field": "tags", "value": ["a"], "outcome": "kept" },
            ],
            "event": { "title": "A title", "section": "sport", "email": "ann@example.org" },
        });
        data.as_object().unwrap().clone()
    }

    #[test]
    fn the_payload_goes_only_to_those_that_list_it() {
        let check = |fields: &[&str], expected: Value| {
            let selected = subscription(&["*"], fields).select(&data());
            assert_eq!(Value::Object(selected), expected, "{fields:?}");
        };
        let mut all = data();
        all.remove("event");
        check(&[], Value::Object(all));
        check(&["/post", "/event/title"], json!({ "post": "42", "event": { "title": "A title" } }));
        check(
            &["/results/field", "/results/value"],
            json!({ "results": [
                { "field": "excerpt", "value": "A summary." }, { "field": "tags", "value": ["a"] },
            ] }),
        );
        check(&["/event/none", "/post/deeper"], json!({ "event": {} }));
        check(&["/event", "/event/title"], json!({ "event": data()["event"].clone() }));
    }

    #[test]
    fn a_subscriber_hears_of_the_ends_sites_and_fields_it_named() {
        let (news, blog): (SiteId, SiteId) = ("news".parse().unwrap(), "blog".parse().unwrap());
        let mut some = subscription(&["post.applied", "post.dead_lettered"], &[]);
        assert!(some.listens(&news, NoticeKind::Applied));
        assert!(!some.listens(&news, NoticeKind::Kept));
        some.sites = vec![blog.clone()];
        assert!(!some.listens(&news, NoticeKind::Applied));
        assert!(some.listens(&blog, NoticeKind::DeadLettered));
        let is = |field: &str, text: &str| Matcher::new(field, Test::Is(text.to_owned())).unwrap();
        some.matchers = vec![is("/event/section", "sport"), is("/site", "news")];
        assert!(some.wants(&data()));
        some.matchers.push(is("/event/section", "art"));
        assert!(!some.wants(&data()));
    }

    #[test]
    fn a_spec_says_what_is_wrong_with_it() {
        let spec = || Spec {
            id: "crm".parse().unwrap(),
            events: vec!["post.*".to_owned()],
            sites: Vec::new(),
            matches: vec![MatchSpec {
                field: "/event/section".to_owned(),
                test: "like".to_owned(),
                text: "^sport".to_owned(),
            }],
            fields: vec!["/post".to_owned()],
        };
        assert!(spec().subscription().is_ok());
        let check = |change: fn(&mut Spec), setting: &str| {
            let mut spec = spec();
            change(&mut spec);
            assert_eq!(spec.subscription().unwrap_err().setting, setting);
        };
        check(|spec| spec.events.clear(), "events");
        check(|spec| spec.events.push("post.published".to_owned()), "events");
        check(|spec| spec.events = vec!["*".to_owned(); 65], "events");
        check(|spec| spec.matches[0].text = "(".to_owned(), "match");
        check(|spec| spec.matches[0].test = "equals".to_owned(), "match");
        check(|spec| spec.fields.push("post".to_owned()), "fields");
    }

    #[test]
    fn every_kind_is_an_event_type_of_its_own() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::named(kind.name()), Some(kind));
            let pattern: EventPattern = kind.name().parse().unwrap();
            assert!(pattern.matches(kind.name()));
        }
        assert_eq!(NoticeKind::named("post.published"), None);
    }

    #[test]
    fn the_schedule_of_a_notice_takes_days_and_ends() {
        let minutes = |n| notice_wait_ms(n, 0, None).map(|ms| ms / 60_000);
        let all: Vec<u64> = (1..).map_while(minutes).collect();
        assert_eq!(all, [0, 5, 30, 120, 300, 600, 840, 1_200, 1_440]);
        assert_eq!(notice_wait_ms(1, 0, None), Some(5_000));
        assert_eq!(notice_wait_ms(1, u64::MAX, None).map(|ms| ms <= 5_500), Some(true));
        assert_eq!(notice_wait_ms(1, 0, Some(60_000)), Some(60_000), "its own wish");
        assert_eq!(notice_wait_ms(3, 0, Some(60_000)), Some(1_800_000), "but not sooner");
        assert_eq!(notice_wait_ms(10, 0, None), None);
    }

    #[test]
    fn a_subscriber_that_fails_for_days_is_left_alone() {
        let start = Timestamp(1_000);
        let after = |hours: u64| start.after_ms(hours * 3_600_000);
        let mut health = Health::default();
        assert_eq!(health.tried(true, start), Verdict::Same);
        assert_eq!(health.tried(false, start), Verdict::Same);
        assert_eq!(health.tried(false, after(1)), Verdict::NoteFailing(start));
        assert_eq!(health.tried(false, after(2)), Verdict::Same, "noted once");
        assert_eq!(health.tried(true, after(100)), Verdict::NoteWell);
        assert_eq!(health.tried(false, after(101)), Verdict::Same, "counted from its last success");
        assert_eq!(health.tried(false, after(101 + 119)), Verdict::NoteFailing(after(101)));
        assert_eq!(health.tried(false, after(101 + 120)), Verdict::Disable);
        // A process that took over from the log.
        let mut health = Health { failing_since: Some(start), noted: true };
        assert_eq!(health.tried(false, after(120)), Verdict::Disable);
    }
}
