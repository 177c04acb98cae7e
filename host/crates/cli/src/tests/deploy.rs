//! What operators copy from `deploy/` can be read, names what exists, and agrees with itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{pool_file, yaml};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// A chart's templates are YAML only once Helm has rendered them, which `cargo xtask deploy` checks; and what Python leaves
/// behind is nobody's file.
fn is_apart(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "templates" || part.as_os_str() == "__pycache__")
}

#[test]
fn every_file_is_well_formed() {
    let mut found = Vec::new();
    files(&root().join("deploy"), &mut found);
    for path in found.iter().filter(|path| !is_apart(path)) {
        let text = std::fs::read_to_string(path).unwrap();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml") => assert_eq!(yaml::read(&text).map(|documents| documents.len()), Ok(1), "{}", path.display()),
            Some("json") => {
                serde_json::from_str::<serde_json::Value>(&text)
                    .unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            }
            _ => assert!(!text.is_empty(), "{}", path.display()),
        }
    }
}

#[test]
fn the_example_pools_can_be_applied() {
    let pools = pool_file::read(&text("deploy/examples/isp-east.yaml")).unwrap();
    let types: Vec<_> =
        pools.iter().filter_map(|pool| pool.document.field("type").and_then(|kind| kind.as_text())).collect();
    assert_eq!(types, ["ipv4", "ipv6", "vlan", "svlan", "port"]);
}

/// Names such as `nexus_pool_total`, without what Prometheus adds to a histogram's.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '_'));
    let metrics = words.filter(|word| word.starts_with("nexus_"));
    let bare = |word: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    metrics.map(bare).collect()
}

#[test]
fn alerts_and_dashboard_use_documented_metrics() {
    let known = metrics(&text("docs/OPERATIONS.md"));
    for path in ["deploy/prometheus/nexus.rules.yaml", "deploy/grafana/nexus.json"] {
        let used = metrics(&text(path));
        assert!(!used.is_empty() && used.is_subset(&known), "{path}: {:?}", used.difference(&known));
    }
}

#[test]
fn the_service_waits_for_the_drain_and_lets_plugins_compile() {
    let unit = text("deploy/systemd/nexus.service");
    let set = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let drain: u64 = 30;
    assert!(text("deploy/nexus.example.yaml").contains(&format!("timeout: {drain}s")));
    assert!(set("TimeoutStopSec").and_then(|seconds| seconds.parse().ok()).is_some_and(|seconds: u64| seconds > drain));
    assert_eq!(set("MemoryDenyWriteExecute"), None);
    assert_eq!((set("DynamicUser"), set("StateDirectory")), (Some("yes"), Some("nexus")));
}
