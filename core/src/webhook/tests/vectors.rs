//! Every scheme through the whole of `verify`: its vectors are taken, and each change of them is
//! refused.

use serde_json::Value;

use super::*;
use crate::signature::{SCHEMES, Scheme, TimestampAt};

/// A vector of the fixture as a request.
struct Vector {
    name: String,
    rules: SourceRules,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    now: Timestamp,
}

impl Vector {
    fn all() -> Vec<Self> {
        let fixture = include_str!("../../../../proto/fixtures/signatures.json");
        let fixture: Value = serde_json::from_str(fixture).unwrap();
        let vectors = fixture["vectors"].as_array().unwrap().iter();
        // An empty body is refused before its signature is looked at.
        vectors.filter(|vector| vector["body"] != "").map(Self::of).collect()
    }

    fn of(vector: &Value) -> Self {
        let text = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let scheme = Scheme::named(&text("scheme")).unwrap();
        let secret = Secret::of(scheme, "k1", text("secret").as_bytes()).unwrap();
        let ring = SecretRing::new(vec![secret]).unwrap();
        let mut rules = SourceRules::new("a".parse().unwrap(), "a".parse().unwrap(), scheme, ring);
        rules.payload.form = true;
        let mut headers = vec![(scheme.signature_header.to_string(), text("signature"))];
        if let TimestampAt::Header(name) = &scheme.timestamp {
            headers.push((name.to_string(), text("timestamp")));
        }
        if let Some(name) = &scheme.key_header {
            let key = if text("id").is_empty() { "key-1".to_owned() } else { text("id") };
            headers.push((name.to_string(), key));
        }
        let now = text("timestamp").parse().unwrap_or(NOW_S);
        Self {
            name: text("name"),
            rules,
            headers,
            body: text("body").into_bytes(),
            now: Timestamp(now * 1_000),
        }
    }

    /// Whether the signature was taken; what follows it (fields, key) is not in question here.
    fn is_signed(&self, headers: &[(String, String)], body: &[u8], now: Timestamp) -> bool {
        let mut lines: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        lines.push(("content-type", b"application/x-www-form-urlencoded"));
        let head = Head { method: "POST", peer: None, headers: &lines };
        match verify(&self.rules, &head, &Bytes::copy_from_slice(body), now) {
            Ok(_) => true,
            Err(refusal) => ![
                "bad_signature",
                "bad_timestamp",
                "timestamp_out_of_window",
                "missing_header",
                "bad_header",
                "bad_idempotency_key",
            ]
            .contains(&refusal.code),
        }
    }
}

#[test]
fn every_vector_is_taken_and_every_change_of_it_refused() {
    for vector in Vector::all() {
        let Vector { name, rules, headers, body, now } = &vector;
        assert!(vector.is_signed(headers, body, *now), "{name}");
        let window = i64::from(rules.scheme.window_s) * 1_000;
        if rules.scheme.timestamp != TimestampAt::Nowhere {
            for (offset, good) in [(-window, true), (window, true), (window + 1_000, false)] {
                let at = Timestamp(now.0 + offset);
                assert_eq!(vector.is_signed(headers, body, at), good, "{name} {offset}");
            }
        }
        if rules.scheme.proof.is_signature() {
            for place in (0..body.len()).chain([usize::MAX]) {
                let mut other = body.clone();
                match other.get_mut(place) {
                    Some(byte) => *byte ^= 1,
                    None => other.push(b'\n'),
                }
                assert!(!vector.is_signed(headers, &other, *now), "{name}: body at {place}");
            }
        }
        for (at, (header, value)) in headers.iter().enumerate() {
            let key_header = rules.scheme.key_header.as_deref() == Some(header);
            if key_header && !rules.scheme.signs_key() {
                continue;
            }
            // Of a list, only the last signature is the one that counts.
            let from = value.rfind(' ').filter(|_| name.ends_with("-list")).unwrap_or(0);
            for place in from..value.len() {
                let mut other = headers.clone();
                let mut bytes = value.clone().into_bytes();
                bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
                other[at].1 = String::from_utf8(bytes).unwrap();
                assert!(!vector.is_signed(&other, body, *now), "{name}: {header} at {place}");
            }
            let mut without = headers.clone();
            without.remove(at);
            assert!(!vector.is_signed(&without, body, *now), "{name}: no {header}");
        }
    }
}

#[test]
fn a_secret_of_one_scheme_proves_nothing_under_another() {
    let body = br#"{"event":"post.updated","post_id":7}"#;
    let text = "copydesk:0123456789abcdef0123456789abcdef";
    for scheme in SCHEMES.iter().filter(|scheme| scheme.name != "standard-webhooks") {
        let secret = Secret::of(scheme, "k1", text.as_bytes()).unwrap();
        let stamp = NOW_S.to_string();
        let parts = Parts { timestamp: &stamp, key: "key-1", body };
        let made = sign(scheme, &secret, &parts);
        for other in SCHEMES.iter().filter(|other| other.name != "standard-webhooks") {
            let ring =
                SecretRing::new(vec![Secret::of(other, "k1", text.as_bytes()).unwrap()]).unwrap();
            let rules = SourceRules::new("a".parse().unwrap(), "a".parse().unwrap(), other, ring);
            let mut headers: Vec<(&str, &[u8])> =
                made.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            headers.push(("content-type", b"application/json"));
            let head = Head { method: "POST", peer: None, headers: &headers };
            let now = Timestamp(NOW_S * 1_000);
            let answer = verify(&rules, &head, &Bytes::from_static(body), now);
            let code = answer.err().map(|refusal| refusal.code);
            if scheme.name == other.name {
                assert!(matches!(code, None | Some("key_mismatch")), "{}", scheme.name);
            } else {
                let refused = ["missing_header", "bad_signature"].map(Some);
                assert!(refused.contains(&code), "{} at {}", scheme.name, other.name);
            }
        }
    }
}
