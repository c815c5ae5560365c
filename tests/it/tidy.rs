//! The repository's own order, checked as fast as a unit test: which crate may use which, how long
//! a file may be, words that may not stay, and documents that still say what is there.
//!
//! Each rule is a function from data to findings, so that `bad_samples_are_found` can show it the
//! wrong thing: a rule that cannot fail is worth nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The layers, lowest first: a crate and the crates of ours it may use. Dev-dependencies count.
const LAYERS: [(&str, &[&str]); 5] = [
    ("copydesk-proto", &[]),
    ("copydesk-core", &["copydesk-proto"]),
    ("copydesk-eventlog", &[]),
    ("copydesk-actors", &["copydesk-core", "copydesk-eventlog", "copydesk-proto"]),
    ("copydesk", &["copydesk-actors", "copydesk-core", "copydesk-eventlog", "copydesk-proto"]),
];

/// A dependency and all crates of ours that use it outside tests. What the world looks like is
/// known in one place each, so that a change of library is a change of one crate.
const ONLY_IN: [(&str, &[&str]); 20] = [
    ("ammonia", &["copydesk-core"]),
    ("async-nats", &["copydesk-eventlog"]),
    ("axum", &["copydesk"]),
    ("clap", &["copydesk"]),
    ("fjall", &["copydesk-eventlog"]),
    ("genai", &["copydesk-actors"]),
    ("hmac", &["copydesk-core"]),
    // Kinds and attributes of spans, and meters; who takes them is the process's business.
    ("opentelemetry", &["copydesk", "copydesk-actors"]),
    ("opentelemetry-otlp", &["copydesk"]),
    ("opentelemetry-prometheus", &["copydesk"]),
    ("opentelemetry_sdk", &["copydesk"]),
    ("prometheus", &["copydesk"]),
    ("prost", &["copydesk-proto"]),
    ("prost-build", &["copydesk-proto"]),
    ("protox", &["copydesk-proto"]),
    ("ractor", &["copydesk-actors"]),
    // The commands talk to a running node over its admin API.
    ("reqwest", &["copydesk", "copydesk-actors"]),
    // Content hashes (proto), signatures and keys (core), message ids and partitions (actors).
    ("sha2", &["copydesk-actors", "copydesk-core", "copydesk-proto"]),
    ("sled", &["copydesk-eventlog"]),
    ("toml", &["copydesk"]),
];

const FILE_LINES_MAX: usize = 500;

/// Joined here, so that this file does not hold the words it looks for.
const BANNED: [&str; 9] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("db", "g!("),
    concat!("#[ig", "nore"),
    concat!("#[al", "low("),
    concat!("#![al", "low("),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("<<<<", "<<< "),
];

/// A crate of ours with what its `Cargo.toml` asks for.
#[derive(Debug)]
struct Package {
    name: String,
    /// The folders its code is in, from the root.
    folders: Vec<String>,
    benches: Vec<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    dev: bool,
}

/// A file of ours, by its path from the root.
#[derive(Debug)]
struct Source {
    path: String,
    text: String,
}

#[test]
fn layers_are_kept() {
    check(layer_findings(&packages()));
}

#[test]
fn dependencies_are_used() {
    let sources = sources(&["rs"]);
    check(packages().iter().flat_map(|package| unused_findings(package, &sources)));
}

#[test]
fn benches_are_run() {
    let script = fs::read_to_string(root().join("scripts/test")).unwrap();
    check(bench_findings(&packages(), &script));
}

#[test]
fn files_are_short_and_finished() {
    let sources = sources(&["rs", "php", "sh"]);
    assert!(sources.len() > 50, "only {} files found: is this the root?", sources.len());
    check(sources.iter().flat_map(source_findings));
}

#[test]
fn documents_name_what_is_there() {
    let exists = |path: &str| root().join(path).exists();
    check(sources(&["md"]).iter().flat_map(|document| document_findings(document, &exists)));
}

#[test]
fn decisions_are_numbered() {
    check(decision_findings(&sources_in("docs/adr", &["md"])));
}

#[test]
fn changes_are_named() {
    check(names_in("docs/changelog.d").iter().filter_map(|name| fragment_finding(name)));
}

#[test]
fn bad_samples_are_found() {
    let package = |name: &str, dependencies: &[(&str, bool)]| {
        let dependency = |&(name, dev): &(&str, bool)| Dependency { name: name.to_owned(), dev };
        Package {
            name: name.to_owned(),
            folders: vec!["core".to_owned()],
            benches: vec!["decide".to_owned()],
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    };
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let found = |findings: Vec<String>, word: &str| {
        assert!(findings.iter().any(|f| f.contains(word)), "{word} is not in {findings:?}");
    };

    let upward = package("copydesk-core", &[("copydesk-actors", true)]);
    found(layer_findings(&[upward]), "copydesk-core may not use copydesk-actors");
    let second_door = package("copydesk-core", &[("sled", false)]);
    found(layer_findings(&[second_door]), "sled is used by");
    found(layer_findings(&[package("copydesk-util", &[])]), "copydesk-util is in no layer");
    found(layer_findings(&[]), "copydesk-proto is not in the workspace");

    let rate = package("copydesk-core", &[("token-bucket", false)]);
    let used = source("core/src/rate.rs", "use token_bucket::Bucket;");
    assert_eq!(unused_findings(&rate, &[used]), Vec::<String>::new());
    let elsewhere = source("src/rate.rs", "use token_bucket::Bucket;");
    found(unused_findings(&rate, &[elsewhere]), "copydesk-core does not use token-bucket");

    let benched = [package("copydesk-core", &[])];
    assert_eq!(bench_findings(&benched, "x --bench decide -- --n 1"), Vec::<String>::new());
    found(bench_findings(&benched, "x --bench decided"), "decide is not run");

    let long = "fn f() {}\n".repeat(FILE_LINES_MAX + 1);
    found(source_findings(&source("a.rs", &long)), "501 lines");
    let with_reason = format!("//! One table: more lines than usual.\n{long}");
    assert_eq!(source_findings(&source("a.rs", &with_reason)), Vec::<String>::new());
    for word in BANNED {
        found(source_findings(&source("a.rs", &format!("fn f() {{ {word} }}"))), word);
    }

    let missing = |_: &str| false;
    found(document_findings(&source("docs/a.md", "see [b](b.md#c)"), &missing), "docs/b.md");
    found(
        document_findings(&source("docs/a.md", "see `core/src/x.rs`"), &missing),
        "core/src/x.rs",
    );
    let elsewhere = "`cargo run`, `a/b`, [x](https://x.org/y.md), [y](#z)";
    assert_eq!(document_findings(&source("a.md", elsewhere), &missing), Vec::<String>::new());

    let whole = "# 0001 A\nStatus: accepted\n## Context\n## Decision\n## Consequences\n";
    assert_eq!(decision_findings(&[source("docs/adr/0001-a.md", whole)]), Vec::<String>::new());
    found(decision_findings(&[source("docs/adr/0002-a.md", whole)]), "0001");
    found(decision_findings(&[source("docs/adr/0001-a.md", "# 0001 A")]), "## Context");

    assert_eq!(fragment_finding("12-faster-start.changed.md"), None);
    assert!(fragment_finding("faster.md").is_some());
}

/// Fails with all findings at once.
fn check(findings: impl IntoIterator<Item = String>) {
    let findings: Vec<_> = findings.into_iter().collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn layer_findings(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for (layer, _) in LAYERS {
        if !packages.iter().any(|p| p.name == layer) {
            findings.push(format!("{layer} is not in the workspace"));
        }
    }
    for package in packages {
        let Some((_, may_use)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
            findings.push(format!("{} is in no layer", package.name));
            continue;
        };
        // A crate may use itself in tests, with a feature that only tests need.
        let ours = package
            .dependencies
            .iter()
            .filter(|d| d.name.starts_with("copydesk") && d.name != package.name);
        for used in ours.filter(|d| !may_use.contains(&d.name.as_str())) {
            findings.push(format!("{} may not use {}", package.name, used.name));
        }
    }
    for (dependency, expected) in ONLY_IN {
        let uses = |p: &&Package| p.dependencies.iter().any(|d| d.name == dependency && !d.dev);
        let users: BTreeSet<_> = packages.iter().filter(uses).map(|p| p.name.as_str()).collect();
        if users != expected.iter().copied().collect() {
            findings.push(format!("{dependency} is used by {users:?}, not by {expected:?}"));
        }
    }
    findings
}

fn unused_findings(package: &Package, sources: &[Source]) -> Vec<String> {
    let ours =
        |source: &&Source| package.folders.iter().any(|f| Path::new(&source.path).starts_with(f));
    let is_named = |dependency: &Dependency| {
        let name = dependency.name.replace('-', "_");
        sources.iter().filter(ours).any(|source| source.text.contains(&name))
    };
    let unused = package.dependencies.iter().filter(|d| !is_named(d));
    unused.map(|d| format!("{} does not use {}", package.name, d.name)).collect()
}

fn bench_findings(packages: &[Package], script: &str) -> Vec<String> {
    let words: Vec<_> = script.split_whitespace().collect();
    let is_run = |bench: &&String| words.windows(2).any(|w| w == ["--bench", bench.as_str()]);
    let benches = packages.iter().flat_map(|p| &p.benches).filter(|b| !is_run(b));
    benches.map(|bench| format!("the bench {bench} is not run by scripts/test")).collect()
}

fn source_findings(source: &Source) -> Vec<String> {
    let Source { path, text } = source;
    let mut findings = Vec::new();
    let lines = text.lines().count();
    let head = text.lines().take_while(|l| l.starts_with("//!") || l.starts_with(" *"));
    if lines > FILE_LINES_MAX && !head.into_iter().any(|l| l.contains("lines")) {
        findings.push(format!("{path}: {lines} lines, and its module doc does not say why"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let banned = BANNED.iter().find(|word| line.contains(**word));
        findings.extend(banned.map(|word| format!("{path}:{number}: {word}")));
    }
    findings
}

/// Links to files, and files named in backticks, must be there.
fn document_findings(document: &Source, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let folder = Path::new(&document.path).parent().unwrap();
    let links = document.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = links
        .filter(|link| !link.contains("://") && !link.starts_with('#'))
        .map(|link| normal(&folder.join(link.split('#').next().unwrap())));
    let is_file = |word: &&str| {
        let known = [".md", ".php", ".proto", ".rs", ".sh", ".toml", ".yaml"];
        word.contains('/')
            && known.iter().any(|end| word.ends_with(end))
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
            && !word.starts_with('/')
    };
    let named = document.text.split('`').skip(1).step_by(2).filter(is_file).map(str::to_owned);
    files
        .chain(named)
        .filter(|file| !exists(file))
        .map(|file| format!("{}: there is no {file}", document.path))
        .collect()
}

/// `docs/adr/../a.md` as `docs/a.md`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.iter().map(|p| p.to_str().unwrap()) {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn decision_findings(decisions: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, decision) in (1..).zip(decisions) {
        let Source { path, text } = decision;
        if !path.starts_with(&format!("docs/adr/{number:04}-")) {
            findings.push(format!("{path}: expected number {number:04}"));
        }
        for part in ["Status: ", "## Context", "## Decision", "## Consequences"] {
            if !text.contains(part) {
                findings.push(format!("{path}: no {part:?}"));
            }
        }
    }
    findings
}

fn fragment_finding(name: &str) -> Option<String> {
    let kinds = ["added", "changed", "fixed", "removed", "security"];
    let parts: Vec<_> = name.split('.').collect();
    let good = matches!(parts.as_slice(), [title, kind, "md"]
        if kinds.contains(kind)
            && title.split_once('-').is_some_and(|(n, _)| n.parse::<u32>().is_ok()));
    let form = "<number>-<slug>.<added|changed|fixed|removed|security>.md";
    (!good && name != "README.md").then(|| format!("docs/changelog.d/{name} is not {form}"))
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let dependency = |d: &Value| Dependency { name: text(&d["name"]), dev: d["kind"] == "dev" };
    let folders = |manifest: &str| {
        let folder = Path::new(manifest).parent().unwrap().strip_prefix(root()).unwrap();
        let folder = folder.to_str().unwrap().to_owned();
        let of_root = || ["benches", "src", "tests"].map(str::to_owned).to_vec();
        if folder.is_empty() { of_root() } else { vec![folder] }
    };
    let is_bench = |target: &&Value| target["kind"][0] == "bench";
    let benches = |p: &Value| {
        let targets = p["targets"].as_array().unwrap();
        targets.iter().filter(is_bench).map(|target| text(&target["name"])).collect()
    };
    let package = |p: &Value| Package {
        name: text(&p["name"]),
        folders: folders(p["manifest_path"].as_str().unwrap()),
        benches: benches(p),
        dependencies: p["dependencies"].as_array().unwrap().iter().map(dependency).collect(),
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(extensions: &[&str]) -> Vec<Source> {
    sources_in("", extensions)
}

/// All files below a folder with one of the extensions, in the order of their paths. What tools
/// and runs leave behind (`target`, hidden folders, data) is not ours.
fn sources_in(folder: &str, extensions: &[&str]) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with('.') || ["target", "copydesk-data", "node_modules"].contains(&name)
            {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if extensions.iter().any(|e| path.extension().is_some_and(|p| p == *e)) {
                sources.push(source(path));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn source(path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).unwrap();
    Source { path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text }
}

fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
