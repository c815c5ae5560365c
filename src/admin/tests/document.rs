//! The OpenAPI document.

use std::path::Path;

use super::*;

#[test]
fn the_document_that_is_checked_in_is_the_one_that_is_answered() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api/openapi.json");
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        checked_in == document(),
        "docs/api/openapi.json is old: cargo run -- openapi > docs/api/openapi.json"
    );
}

#[test]
fn the_document_is_openapi_3_1_and_names_the_problems() {
    let document: Value = serde_json::from_str(&document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let routes = document["paths"].as_object().unwrap();
    for (path, item) in routes {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "401", "403", "404", "405", "421", "429", "503"] {
                assert!(responses.contains_key(status), "{method} {path}: {status}");
            }
            assert!(operation["operationId"].is_string(), "{method} {path}");
        }
    }
}

#[test]
fn every_code_is_stable_and_has_a_page() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors");
    for code in Code::ALL {
        let (status, name, _) = code.parts();
        let page = std::fs::read_to_string(pages.join(format!("{name}.md")));
        let page = page.unwrap_or_else(|error| panic!("{name}: {error}"));
        let title = format!("# `{name}` ({status}): ");
        assert!(page.starts_with(&title), "{name} begins with {title}");
    }
}
