//! The fuzz targets on a stable compiler: each takes its committed corpus, every beginning of each
//! file, and some thousand files with a few bytes changed. `cargo +nightly fuzz run TARGET` lets the
//! fuzzer loose on them.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a library of its own for the fuzzer")]
mod targets;

use std::fs;
use std::path::Path;

use crate::support::Random;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 18] = [
    ("ai_answer", targets::ai_answer),
    ("archive", targets::archive),
    ("decision", targets::decision),
    ("fold", targets::fold),
    ("ingress", targets::ingress),
    ("intake", targets::intake),
    ("log_recover", targets::log_recover),
    ("matcher", targets::matcher),
    ("payload", targets::payload),
    ("retry_after", targets::retry_after_of),
    ("roster", targets::roster),
    ("sanitise", targets::sanitise),
    ("signature", targets::signature),
    ("state", targets::state),
    ("subject", targets::subject),
    ("timestamp", targets::timestamp),
    ("url", targets::url),
    ("wp_response", targets::wp_response),
];

/// Of each file; the whole takes seconds.
const CHANGED: u64 = 300;

/// Of each file for a target that opens a log or a connection each time.
const CHANGED_SLOW: u64 = 15;
const SLOW: [&str; 2] = ["log_recover", "wp_response"];

#[test]
fn every_target_takes_its_corpus_and_what_is_near_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in TARGETS {
        let mut files = 0;
        for file in fs::read_dir(folder.join(name)).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            target(&bytes);
            let (step, changes) =
                if SLOW.contains(&name) { (16, CHANGED_SLOW) } else { (1, CHANGED) };
            (0..bytes.len().min(256)).step_by(step).for_each(|end| target(&bytes[..end]));
            (0..changes).for_each(|seed| target(&changed(&bytes, seed)));
            files += 1;
        }
        assert!(files > 0, "{name} has no corpus");
    }
}

/// The bytes with one to four changes.
fn changed(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let place = usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap();
        let byte = u8::try_from(random.below(256)).unwrap();
        match bytes.get_mut(place) {
            Some(there) if random.percent(50) => *there = byte,
            Some(_) if random.percent(30) => drop(bytes.remove(place)),
            Some(_) | None => bytes.insert(place, byte),
        }
    }
    bytes
}
