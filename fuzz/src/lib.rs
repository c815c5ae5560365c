//! What is fuzzed: everything that reads bytes from outside, or from a disk. A target panics when a
//! promise is broken. `tests/it/corpus.rs` runs the committed corpus through them on stable.

mod recovery;
mod site;

use std::net::IpAddr;

use bytes::Bytes;
use copydesk_actors::enrichment::recipe::Recipe;
use copydesk_actors::records::{Decision, Intake, Subjects, summarise};
use copydesk_core::content::{Field, FieldValue, PostText};
use copydesk_core::outbound::Rules;
use copydesk_core::post::{PostState, codec, evolve, outstanding};
use copydesk_core::retry::retry_after;
use copydesk_core::roster::Roster;
use copydesk_core::routes::{Matcher, Pattern, Test};
use copydesk_core::sanitise::sanitise as clean;
use copydesk_core::signature::{Parts, SCHEMES, Secret, SecretRing, WP_RELAY, sign, verify};
use copydesk_core::webhook::{self, Head, Payload, SourceRules};
use copydesk_eventlog::archive::Archive;
use copydesk_eventlog::{Record, Sequence, Subject};
use copydesk_proto::{Timestamp, v1};

pub use self::recovery::log_recover;
pub use self::site::wp_response;

/// A webhook's body: what we take, serde_json takes, and it is an object.
pub fn payload(data: &[u8]) {
    let rules = SourceRules::new(name(), name(), &WP_RELAY, ring());
    let Ok(payload) = Payload::read(&rules.payload, data) else { return };
    let plain: serde_json::Value = serde_json::from_slice(data).expect("we are stricter");
    assert_eq!(plain.as_object().expect("an object").len(), payload.fields.len(), "a key twice");
}

/// No signature is good without the secret.
pub fn signature(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (header, body) = text.split_once('\n').unwrap_or((&text, ""));
    for scheme in SCHEMES {
        let ring = ring();
        let parts = Parts { timestamp: "1700000000", key: "k", body: body.as_bytes() };
        assert_eq!(verify(scheme, &ring, &parts, header, None), None);
    }
}

/// A whole request: header lines up to an empty one, then the body. Without the secret nothing is
/// let in; what could be let in has a post that names only its own subjects.
pub fn ingress(data: &[u8]) {
    let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let (head, body) = data.split_at(end);
    let body = Bytes::copy_from_slice(body.get(2..).unwrap_or_default());
    let rules = SourceRules::new(name(), name(), &WP_RELAY, ring());
    let lines = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (header, value) = line.split_at(colon);
        Some((std::str::from_utf8(header).ok()?, &value[1..]))
    });
    let headers: Vec<(&str, &[u8])> = lines.collect();
    let head = Head { method: "POST", peer: None, headers: &headers };
    assert!(webhook::verify(&rules, &head, &body, NOW).is_err(), "let in without the secret");
    let key = webhook::IdempotencyKey::new("k").expect("a key");
    if let Ok(event) = webhook::accept(&rules, &body, key, webhook::Origin::Signed) {
        let subjects = Subjects::of(&event.post);
        assert_eq!(subjects.intake.as_str().matches('.').count(), 4, "{}", subjects.intake);
    }
}

/// A signed timestamp: taken only as ten digits or fewer, without a zero before them, and near now.
pub fn timestamp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let rules = SourceRules::new(name(), name(), &WP_RELAY, ring());
    let body = Bytes::from_static(br#"{"event":"post.updated","post_id":1,"idempotency_key":"k"}"#);
    let parts = Parts { timestamp: text, key: "k", body: &body };
    let signed = sign(&WP_RELAY, ring().signing(), &parts);
    let mut headers: Vec<(&str, &[u8])> =
        signed.iter().map(|(header, value)| (header.as_str(), value.as_bytes())).collect();
    headers.push(("content-type", b"application/json"));
    let head = Head { method: "POST", peer: None, headers: &headers };
    let is_plain = text.trim().parse::<u64>().is_ok_and(|s| s.to_string() == text.trim());
    let is_near = text.trim().parse::<i64>().is_ok_and(|s| (NOW.0 / 1_000).abs_diff(s) <= 300);
    let taken = webhook::verify(&rules, &head, &body, NOW).is_ok();
    assert!(!taken || is_plain && is_near, "{text:?} was taken");
}

const NOW: Timestamp = Timestamp(1_795_600_800_000);

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>() -> T {
    "news".parse().expect("a name")
}

fn ring() -> SecretRing {
    let secret = Secret::new("k1", b"thirty-two bytes that nobody guesses").expect("long enough");
    SecretRing::new(vec![secret]).expect("one secret")
}

fn record(subject: &str, data: &[u8]) -> Record {
    Record {
        sequence: Sequence(7),
        time_ms: 0,
        subject: Subject::new(subject).expect("a subject"),
        headers: Vec::new(),
        payload: Bytes::copy_from_slice(data),
    }
}

/// A stored webhook: what can be read is written and read as the same.
pub fn intake(data: &[u8]) {
    let Ok(intake) = Intake::read(&record("cd.0.news.1.in", data)) else { return };
    let again = intake.record(&"news/1".parse().expect("a post")).payload;
    assert_eq!(Intake::read(&record("cd.0.news.1.in", &again)).expect("our own"), intake);
}

/// A stored decision.
pub fn decision(data: &[u8]) {
    let stored = record("cd.0.news.1.ev", data);
    let Ok(decision) = Decision::read(&stored) else { return };
    let again = decision.record(&stored.subject, Sequence(6)).payload;
    assert_eq!(Decision::read(&record("cd.0.news.1.ev", &again)).expect("our own"), decision);
}

/// A history of any events in any order: folding cannot fail, and what it gives can be saved.
pub fn fold(data: &[u8]) {
    let Ok(decision) = Decision::read(&record("cd.0.news.1.ev", data)) else { return };
    let state = decision.events.iter().fold(PostState::default(), evolve);
    let (_effects, _summary) = (outstanding(&state), summarise(&state, None, 1));
    let again = codec::decode_state(&codec::encode_state(&state)).expect("our own");
    assert_eq!(again, state);
}

/// The roster of nodes.
pub fn roster(data: &[u8]) {
    let Ok(roster) = Roster::decode(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(Roster::decode(roster.encode()).expect("our own"), roster);
}

/// A model's answer: its form is judged before its words are cleaned.
pub fn ai_answer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let post = PostText { terms: vec!["Harbour".to_owned()], ..PostText::default() };
    for recipe in Recipe::ALL {
        let Ok(value) = recipe.decode(&text, &post) else { continue };
        if let FieldValue::List(items) = &value {
            assert!(items.len() <= 20, "{} items", items.len());
        }
        let _cleaned = clean(&Field::Tags, &value, &post);
    }
}

/// An address to call: what the standard library takes for a private one is refused.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(url) = url::Url::parse(&text) else { return };
    if Rules::default().check_url(&url).is_err() {
        return;
    }
    assert_eq!((url.scheme(), url.username(), url.password()), ("https", "", None), "{text:?}");
    let host = url.host_str().expect("it was taken").trim_matches(['[', ']']).to_owned();
    let Ok(address) = host.parse::<IpAddr>() else { return };
    let is_private = match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_multicast(),
    };
    assert!(!is_private, "{text:?} was taken");
}

/// A matcher of a route or subscriber: pointer, kind and text, one a line, then the JSON.
pub fn matcher(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default().to_owned();
    let (pointer, kind, wanted, json) = (line(), line(), line(), line());
    let test = match kind.as_str() {
        "like" => Pattern::new(&wanted).map(Test::Like),
        "is" => Ok(Test::Is(wanted)),
        "startswith" => Ok(Test::Startswith(wanted)),
        "endswith" => Ok(Test::Endswith(wanted)),
        "contains" => Ok(Test::Contains(wanted)),
        _ => Ok(Test::Any),
    };
    let matcher = test.and_then(|test| Matcher::new(&pointer, test));
    if let (Ok(matcher), Ok(fields)) = (matcher, serde_json::from_str(&json)) {
        let any = Matcher::new(&pointer, Test::Any).expect("the same pointer");
        assert!(!matcher.matches(&fields) || any.matches(&fields), "what matches is there");
    }
}

/// A snapshot of a post.
pub fn state(data: &[u8]) {
    let stored = copydesk_proto::decode::<v1::PostState>(Bytes::copy_from_slice(data));
    let Ok(Ok(state)) = stored.as_ref().map(codec::decode_state) else { return };
    let again = codec::decode_state(&codec::encode_state(&state)).expect("our own");
    assert_eq!(again, state);
}

/// A model's words: clean text is clean, and stays as it is.
pub fn sanitise(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let input = PostText::default();
    for field in [Field::Title, Field::Excerpt, Field::SeoDescription] {
        let Ok(FieldValue::Text(once)) = clean(&field, &FieldValue::Text(text.clone()), &input)
        else {
            continue;
        };
        assert!(!once.contains("<script") && !once.contains("<!--"), "{once:?}");
        assert!(once.chars().all(|c| !c.is_control() || c == '\n'), "{once:?}");
        let twice = clean(&field, &FieldValue::Text(once.clone()), &input);
        assert_eq!(twice, Ok(FieldValue::Text(once)));
    }
}

/// A server's Retry-After: between a second and an hour, or nothing.
pub fn retry_after_of(data: &[u8]) {
    let wait = retry_after(&String::from_utf8_lossy(data), Timestamp(1_795_600_800_000));
    assert!(wait.is_none_or(|ms| (1_000..=3_600_000).contains(&ms)), "{wait:?}");
}

/// A subject of the log: only small letters, digits, `_`, `-` and dots between.
pub fn subject(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(subject) = Subject::new(&text) else { return };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
    assert!(subject.as_str().bytes().all(plain) && !subject.as_str().contains(".."), "{text:?}");
}

/// A backup: read to its end or refused, without a panic.
pub fn archive(data: &[u8]) {
    let mut path = std::env::temp_dir();
    path.push(format!("copydesk-fuzz-{}", std::process::id()));
    std::fs::write(&path, data).expect("a temporary file");
    let read = Archive::open(&path).and_then(Archive::to_the_end);
    let _removed = std::fs::remove_file(&path);
    assert!(read.is_err() || data.starts_with(b"cd-arch1"), "it is no archive");
}
