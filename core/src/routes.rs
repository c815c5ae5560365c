//! Which work a webhook asks for: the first route that matches wins.

use std::collections::{HashMap, HashSet};

use copydesk_proto::{EnrichmentId, RouteId, SourceId};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use crate::limits::{
    COALESCE_MS_MAX, MATCHER_BYTES_MAX, PATTERN_COMPILED_BYTES_MAX, ROUTE_ITEMS_MAX, ROUTES_MAX,
};
use crate::pointer::Pointer;
use crate::webhook::{VerifiedWebhook, is_event_type};

/// What to do with the events of one source that match.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name.
    pub id: RouteId,
    /// Whose webhooks.
    pub source: SourceId,
    /// Which events; one of these must match.
    pub events: Vec<EventPattern>,
    /// What their fields must hold; all of these must match.
    pub matchers: Vec<Matcher>,
    /// The enrichments to run, in order; none hands the event on as it is.
    pub enrich: Vec<EnrichmentId>,
    /// Whether each event takes effect.
    pub coalesce: Coalesce,
    /// What a dead letter does to the post.
    pub on_dead_letter: OnDeadLetter,
}

/// Whether each event of a post takes effect, or the newest of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coalesce {
    /// Each one.
    #[default]
    Every,
    /// The newest, once the post has been quiet.
    Latest {
        /// How long without an event is quiet, in milliseconds.
        quiet_ms: u64,
        /// The longest wait of the first event, however busy the post is, in milliseconds.
        max_wait_ms: u64,
    },
}

/// What a dead letter does to the later events of its post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeadLetter {
    /// They go on.
    #[default]
    Continue,
    /// They wait until someone retries or drops it.
    Block,
}

/// Which event types a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventPattern {
    /// `*`: all.
    Any,
    /// `post.*`: all that start with `post.`; the dot is kept.
    Under(String),
    /// `post.published`.
    Exact(String),
}

impl std::str::FromStr for EventPattern {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_suffix(".*") {
            Some(stem) if is_event_type(stem) => Ok(Self::Under(format!("{stem}."))),
            None if is_event_type(text) => Ok(Self::Exact(text.to_owned())),
            Some(_) | None => Err(RouteError::Event(text.chars().take(80).collect())),
        }
    }
}

impl EventPattern {
    /// Whether it takes this event type.
    #[must_use]
    pub fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Under(stem) => event_type.starts_with(stem.as_str()),
            Self::Exact(name) => event_type == name,
        }
    }
}

/// What one field of the body must hold.
///
/// A number or truth value is compared by its JSON text; a list matches when one of its items
/// does; an object, `null` or a missing field matches nothing but [`Test::Any`].
#[derive(Debug, Clone)]
pub struct Matcher {
    pointer: Pointer,
    test: Test,
}

/// How a field is compared; texts are compared with their case.
#[derive(Debug, Clone)]
pub enum Test {
    /// The field is there and not `null`.
    Any,
    /// Equal.
    Is(String),
    /// Starts with.
    Startswith(String),
    /// Ends with.
    Endswith(String),
    /// Holds this text.
    Contains(String),
    /// Holds a match of this pattern.
    Like(Pattern),
}

/// A regular expression that is searched in linear time and bounded in size.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern in the syntax of the `regex` crate: no look-around, no back-references.
    ///
    /// # Errors
    /// [`RouteError::Pattern`] when it is none, or too large.
    pub fn new(text: &str) -> Result<Self, RouteError> {
        let too_long = text.len() > MATCHER_BYTES_MAX;
        let compiled = RegexBuilder::new(text)
            .size_limit(PATTERN_COMPILED_BYTES_MAX)
            .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX)
            .build();
        match compiled {
            Ok(regex) if !too_long => Ok(Self(regex)),
            Ok(_) => Err(RouteError::Pattern("it is too long".to_owned())),
            Err(error) => Err(RouteError::Pattern(error.to_string())),
        }
    }
}

impl Matcher {
    /// A test of the field at an RFC 6901 pointer, such as `/categories` or `/meta/section`.
    ///
    /// # Errors
    /// [`RouteError::Pointer`] when it starts with no slash, or it or the text is too long.
    pub fn new(pointer: &str, test: Test) -> Result<Self, RouteError> {
        let text = match &test {
            Test::Any | Test::Like(_) => "",
            Test::Is(t) | Test::Startswith(t) | Test::Endswith(t) | Test::Contains(t) => t,
        };
        if text.len() > MATCHER_BYTES_MAX {
            return Err(RouteError::Pointer);
        }
        Ok(Self { pointer: pointer.parse().map_err(|_| RouteError::Pointer)?, test })
    }

    /// Whether the field holds what it must.
    #[must_use]
    pub fn matches(&self, fields: &Map<String, Value>) -> bool {
        self.pointer.find(fields).is_some_and(|value| self.test.accepts(value))
    }

    /// The field.
    #[must_use]
    pub const fn field(&self) -> &Pointer {
        &self.pointer
    }
}

impl Test {
    fn accepts(&self, value: &Value) -> bool {
        match value {
            Value::Null => false,
            Value::Object(_) => matches!(self, Self::Any),
            Value::Array(items) => {
                matches!(self, Self::Any) || items.iter().any(|item| self.accepts_scalar(item))
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => self.accepts_scalar(value),
        }
    }

    fn accepts_scalar(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.accepts_text(text),
            Value::Number(number) => self.accepts_text(&number.to_string()),
            Value::Bool(true) => self.accepts_text("true"),
            Value::Bool(false) => self.accepts_text("false"),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }

    fn accepts_text(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Is(wanted) => text == wanted,
            Self::Startswith(wanted) => text.starts_with(wanted.as_str()),
            Self::Endswith(wanted) => text.ends_with(wanted.as_str()),
            Self::Contains(wanted) => text.contains(wanted.as_str()),
            Self::Like(Pattern(regex)) => regex.is_match(text),
        }
    }
}

/// Why routes cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// More routes than are ever searched.
    #[error("there are more than {ROUTES_MAX} routes")]
    Count,
    /// Two routes have the same name.
    #[error("two routes are named {0}")]
    Twice(RouteId),
    /// A route without events, or with too many items.
    #[error(
        "route {0} has no events, or more than {ROUTE_ITEMS_MAX} events, matchers or enrichments"
    )]
    Items(RouteId),
    /// Waits that cannot be kept.
    #[error("route {0} needs quiet_ms <= max_wait_ms <= {COALESCE_MS_MAX}, and quiet_ms over 0")]
    Coalesce(RouteId),
    /// An event pattern has the wrong form.
    #[error("an event is written post.published, post.* or *, not {0:?}")]
    Event(String),
    /// A matcher's field or text has the wrong form.
    #[error(
        "a matcher's field is a JSON pointer such as /type, and its text has up to {MATCHER_BYTES_MAX} bytes"
    )]
    Pointer,
    /// A pattern does not compile.
    #[error("the pattern of like cannot be used: {0}")]
    Pattern(String),
}

/// The routes, in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    by_source: HashMap<SourceId, Vec<usize>>,
}

impl RouteTable {
    /// Checks and indexes the routes.
    ///
    /// # Errors
    /// [`RouteError`], for the first route that is wrong.
    pub fn new(routes: Vec<Route>) -> Result<Self, RouteError> {
        if routes.len() > ROUTES_MAX {
            return Err(RouteError::Count);
        }
        let mut ids = HashSet::new();
        let mut by_source: HashMap<SourceId, Vec<usize>> = HashMap::new();
        for (place, route) in routes.iter().enumerate() {
            route.check()?;
            if !ids.insert(&route.id) {
                return Err(RouteError::Twice(route.id.clone()));
            }
            by_source.entry(route.source.clone()).or_default().push(place);
        }
        Ok(Self { routes, by_source })
    }

    /// The first route that takes this webhook.
    #[must_use]
    pub fn route(&self, webhook: &VerifiedWebhook) -> Option<&Route> {
        self.route_for(&webhook.source, &webhook.payload.event_type, &webhook.payload.fields)
    }

    /// The same for a payload from the log.
    #[must_use]
    pub fn route_for(
        &self,
        source: &SourceId,
        event_type: &str,
        fields: &Map<String, Value>,
    ) -> Option<&Route> {
        let places = self.by_source.get(source)?;
        places.iter().map(|&place| &self.routes[place]).find(|route| {
            route.events.iter().any(|pattern| pattern.matches(event_type))
                && route.matchers.iter().all(|matcher| matcher.matches(fields))
        })
    }

    /// The routes, in order.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

impl Route {
    fn check(&self) -> Result<(), RouteError> {
        let fits = [self.events.len(), self.matchers.len(), self.enrich.len()]
            .iter()
            .all(|&count| count <= ROUTE_ITEMS_MAX);
        if self.events.is_empty() || !fits {
            return Err(RouteError::Items(self.id.clone()));
        }
        match self.coalesce {
            Coalesce::Every => Ok(()),
            Coalesce::Latest { quiet_ms, max_wait_ms }
                if quiet_ms > 0 && quiet_ms <= max_wait_ms && max_wait_ms <= COALESCE_MS_MAX =>
            {
                Ok(())
            }
            Coalesce::Latest { .. } => Err(RouteError::Coalesce(self.id.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use serde_json::json;

    use super::*;

    fn route(id: &str, events: &[&str], matchers: &[(&str, Test)]) -> Route {
        Route {
            id: id.parse().unwrap(),
            source: "news".parse().unwrap(),
            events: events.iter().map(|e| e.parse().unwrap()).collect(),
            matchers: matchers
                .iter()
                .map(|(pointer, test)| Matcher::new(pointer, test.clone()).unwrap())
                .collect(),
            enrich: vec!["summary".parse().unwrap()],
            coalesce: Coalesce::Every,
            on_dead_letter: OnDeadLetter::Continue,
        }
    }

    fn chosen<'t>(
        table: &'t RouteTable,
        source: &str,
        event: &str,
        body: &Value,
    ) -> Option<&'t str> {
        let fields = body.as_object().unwrap();
        table.route_for(&source.parse().unwrap(), event, fields).map(|route| route.id.as_str())
    }

    #[test]
    fn the_first_route_that_matches_wins() {
        let sport = || Test::Is("sport".to_owned());
        let table = RouteTable::new(vec![
            route("sport", &["post.published", "post.updated"], &[("/section", sport())]),
            route("posts", &["post.*"], &[]),
            route("all", &["*"], &[]),
        ])
        .unwrap();
        let check = |event: &str, body: &Value, expected: Option<&str>| {
            assert_eq!(chosen(&table, "news", event, body), expected, "{event} {body}");
        };
        check("post.published", &json!({"section": "sport"}), Some("sport"));
        check("post.published", &json!({"section": "art"}), Some("posts"));
        check("post.trashed", &json!({"section": "sport"}), Some("posts"));
        check("poster.made", &json!({}), Some("all"));
        check("post", &json!({}), Some("all"));
        assert_eq!(chosen(&table, "blog", "post.published", &json!({})), None);
        assert_eq!(table.routes().len(), 3);
    }

    #[test]
    fn matchers_compare_fields() {
        let body = json!({
            "title": "Élan vital", "count": 42, "price": 1.5, "live": true, "none": null,
            "tags": ["art", "sport", 7, ["deep"]], "meta": {"a/b": {"~c": "x"}}, "list": [{"k": "v"}],
        });
        let fields = body.as_object().unwrap();
        let text = |t: &str| t.to_owned();
        let like = |p: &str| Test::Like(Pattern::new(p).unwrap());
        let check = |pointer: &str, test: Test, expected: bool| {
            let matcher = Matcher::new(pointer, test).unwrap();
            assert_eq!(matcher.matches(fields), expected, "{matcher:?}");
        };
        check("/title", Test::Any, true);
        check("/meta", Test::Any, true);
        check("/tags", Test::Any, true);
        check("/none", Test::Any, false);
        check("/gone", Test::Any, false);
        check("/title", Test::Is(text("Élan vital")), true);
        check("/title", Test::Is(text("élan vital")), false);
        check("/title", Test::Startswith(text("Éla")), true);
        check("/title", Test::Startswith(text("vital")), false);
        check("/title", Test::Endswith(text("vital")), true);
        check("/title", Test::Contains(text("n v")), true);
        check("/title", like("(?i)^élan"), true);
        check("/title", like("^vital"), false);
        check("/count", Test::Is(text("42")), true);
        check("/price", Test::Is(text("1.5")), true);
        check("/live", Test::Is(text("true")), true);
        check("/tags", Test::Is(text("sport")), true);
        check("/tags", Test::Is(text("7")), true);
        check("/tags", Test::Is(text("deep")), false);
        check("/tags", Test::Contains(text("spo")), true);
        check("/tags/0", Test::Is(text("art")), true);
        check("/meta/a~1b/~0c", Test::Is(text("x")), true);
        check("/list/0/k", Test::Is(text("v")), true);
        check("/meta", Test::Contains(text("x")), false);
        check("/none", like(".*"), false);
    }

    #[test]
    fn wrong_routes_are_refused() {
        let refused = |route: Route| RouteTable::new(vec![route]).unwrap_err();
        let id: RouteId = "a".parse().unwrap();
        assert_eq!(refused(route("a", &[], &[])), RouteError::Items(id.clone()));
        assert_eq!(refused(route("a", &["*"; 17], &[])), RouteError::Items(id.clone()));
        for (quiet_ms, max_wait_ms) in [(0, 5), (9, 5), (1, COALESCE_MS_MAX + 1)] {
            let coalesce = Coalesce::Latest { quiet_ms, max_wait_ms };
            let wrong = Route { coalesce, ..route("a", &["*"], &[]) };
            assert_eq!(refused(wrong), RouteError::Coalesce(id.clone()));
        }
        let twice = vec![route("a", &["*"], &[]), route("a", &["*"], &[])];
        assert_eq!(RouteTable::new(twice).unwrap_err(), RouteError::Twice(id));
        let many = (0..=ROUTES_MAX).map(|n| route(&format!("r{n}"), &["*"], &[])).collect();
        assert_eq!(RouteTable::new(many).unwrap_err(), RouteError::Count);
    }

    #[test]
    fn wrong_patterns_and_pointers_are_refused() {
        for text in ["", ".", "post.", ".*", "post.**", "post*", "Post.*", "a b", "post..x", "*.*"]
        {
            assert!(text.parse::<EventPattern>().is_err(), "{text}");
        }
        for text in ["(", "(?=x)", r"(a)\1", "(a{1000}){1000}", &"a".repeat(513)] {
            assert!(matches!(Pattern::new(text), Err(RouteError::Pattern(_))));
        }
        for pointer in ["", "title", &format!("/{}", "a".repeat(512))] {
            assert_eq!(Matcher::new(pointer, Test::Any).unwrap_err(), RouteError::Pointer);
        }
        let long = Test::Is("a".repeat(513));
        assert_eq!(Matcher::new("/a", long).unwrap_err(), RouteError::Pointer);
    }

    #[test]
    fn a_hostile_text_cannot_slow_a_pattern_down() {
        // Catastrophic for a backtracking engine: the exponent would be the length of the text.
        let pattern = Pattern::new("^(a+)+$").unwrap();
        let text = format!("{}b", "a".repeat(200_000));
        assert!(!Test::Like(pattern).accepts_text(&text));
    }
}
