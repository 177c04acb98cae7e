//! The `OpenAPI` document.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// Every operation with its path.
fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
    });
    all.filter(|(_, method, _)| *method != "parameters")
        .map(|(path, method, operation)| (format!("{method} {path}"), operation.clone()))
        .collect()
}

#[tokio::test]
async fn the_document_is_served() {
    let document = Face::start().get("/openapi.json").await.with(200);
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn the_document_is_the_one_in_docs() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/openapi.json");
    let found = super::super::openapi();
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    let differs = golden.lines().zip(found.lines()).position(|(golden, found)| golden != found);
    assert!(
        golden == found,
        "docs/openapi.json differs from line {differs:?} on; `cargo xtask openapi` writes it anew"
    );
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_what_it_may_answer() {
    let document: Value = serde_json::from_str(&super::super::openapi()).unwrap();
    let mut names = BTreeSet::new();
    for (path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name.clone()), "{name} is there twice");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{path} has no success");
        if path.contains("/api/") {
            for status in ["400", "401", "403", "405", "503"] {
                assert!(responses.contains_key(status), "{path} lacks {status}");
            }
        }
    }
}

#[test]
fn every_schema_has_an_example() {
    let document: Value = serde_json::from_str(&super::super::openapi()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let without = |schema: &Value| schema.get("example").or(schema.get("examples")).is_none();
    let lacking: Vec<_> = schemas.iter().filter(|(_, schema)| without(schema)).map(|(name, _)| name).collect();
    assert!(lacking.is_empty() && !schemas.is_empty(), "{lacking:?}");
}

#[test]
fn what_changes_an_answer_is_documented_with_both_names_of_a_path() {
    let document: Value = serde_json::from_str(&super::super::openapi()).unwrap();
    let named = |pointer: &str| -> Vec<_> {
        let parameters = document.pointer(pointer).and_then(Value::as_array).unwrap();
        parameters.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(named("/paths/~1api~1v1~1allocate/post/parameters"), ["attributes"]);
    assert_eq!(named("/paths/~1api~1v1~1allocations/post/parameters"), ["attributes"]);
    let removing = "/paths/~1api~1v1~1pools~1{id}~1reservations~1{resource}/delete/parameters";
    assert_eq!(named(removing), ["id", "resource", "olt_id", "attributes"]);
}

#[test]
fn every_reference_of_the_document_is_there() {
    let text = super::super::openapi();
    let document: Value = serde_json::from_str(&text).unwrap();
    for part in text.split("\"$ref\": \"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn every_documented_path_is_a_route_and_every_route_is_documented() {
    let face = Face::start();
    let document: Value = serde_json::from_str(&super::super::openapi()).unwrap();
    for (operation, _) in operations(&document) {
        let (method, path) = operation.split_once(' ').unwrap();
        let names = ["{id}", "{subscriber}", "{type}", "{resource}", "{member}"];
        let path = names.iter().fold(path.to_owned(), |path, name| path.replace(name, "x"));
        if path == "/api/v1/watch" {
            continue;
        }
        let method = method.to_uppercase().parse().unwrap();
        let told = face.ask(method, &path, "{}").await;
        assert!(!told.text.contains("NO_SUCH_PATH") && told.status != 405, "{operation}: {}", told.text);
    }
}
