//! What is fuzzed: everything that reads bytes from outside, or from a disk. A target panics when a
//! promise is broken. `tests/it/corpus.rs` runs the committed corpus through them on stable.

use bytes::Bytes;
use copydesk_actors::records::{Decision, Intake};
use copydesk_core::content::{Field, FieldValue, PostText};
use copydesk_core::post::codec;
use copydesk_core::retry::retry_after;
use copydesk_core::sanitise::sanitise as clean;
use copydesk_core::signature::{Parts, SCHEMES, Secret, SecretRing, WP_RELAY, verify};
use copydesk_core::webhook::{Payload, SourceRules};
use copydesk_eventlog::archive::Archive;
use copydesk_eventlog::{Record, Sequence, Subject};
use copydesk_proto::{Timestamp, v1};

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
