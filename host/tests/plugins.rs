//! The folder of a real daemon: a new type appears, a broken file is refused and says why, a type in use is not retired.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Daemon, Start, directory, wait_for};
use serde_json::{Value, json};

/// Where `cargo xtask plugins` puts components.
fn built() -> PathBuf {
    let named = std::env::var_os("NEXUS_PLUGINS_DIR").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_BIN_EXE_nexus")).ancestors().nth(2).map(|target| target.join("nexus-plugins"));
    let folder = named.or(beside).expect("the daemon lies in a target directory");
    assert!(folder.join("examples/minimal.wasm").is_file(), "no plugins: run cargo xtask plugins or set plugins.dir");
    folder
}

fn plugins(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/api/v1/plugins").1["plugins"].as_array().expect("a list").clone()
}

fn run(directory: &tempfile::TempDir) -> (Daemon, PathBuf) {
    let daemon = Start::on(directory.path()).with(&["--plugin-settle", "100ms"]).run();
    (daemon, directory.path().join("plugins"))
}

#[test]
fn a_dropped_in_type_serves_and_survives_a_restart() {
    let directory = directory();
    let (daemon, folder) = run(&directory);
    let before = plugins(&daemon).len();
    std::fs::copy(built().join("examples/minimal.wasm"), folder.join("minimal.wasm")).expect("copied");
    let new = wait_for("the new type", || {
        let now = plugins(&daemon);
        (now.len() > before).then(|| now.into_iter().find(|plugin| plugin["source"] != "embedded")).flatten()
    });
    let kind = new["type"].as_str().expect("a type").to_owned();
    let pool = json!({"id": "dropped", "type": kind, "spec": {"range": "1-99"}});
    let (status, made) = daemon.post("/api/v1/pools", &pool);
    assert_eq!(status, 201, "{made}");
    let ask = json!({"pool_id": "dropped", "subscriber_id": "a"});
    let (status, first) = daemon.post("/api/v1/allocate", &ask);
    assert_eq!(status, 201, "{first}");
    assert_eq!(daemon.call("POST", &format!("/api/v1/plugins/{kind}/retire"), None).0, 409, "a pool uses it");
    std::fs::remove_file(folder.join("minimal.wasm")).expect("it is there");
    daemon.kill();
    let (daemon, _) = run(&directory);
    let (status, again) = daemon.post("/api/v1/allocate", &ask);
    assert_eq!((status, &again["resource"]), (200, &first["resource"]), "the recorded file serves on");
    let shown = plugins(&daemon).into_iter().find(|plugin| plugin["type"] == kind).expect("it serves");
    assert_eq!((&new["missing"], &shown["missing"]), (&json!(false), &json!(true)), "{shown}");
    assert_eq!(shown["source"], new["source"]);
}

#[test]
fn a_broken_file_is_refused_and_the_old_version_serves() {
    let directory = directory();
    let (daemon, folder) = run(&directory);
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v", "type": "vlan", "range": "1-100"})).0, 201);
    let whole = std::fs::read(built().join("vlan.wasm")).expect("the component");
    std::fs::write(folder.join("vlan.wasm"), &whole[..whole.len() / 2]).expect("written");
    let refused = wait_for("the refusal", || plugins(&daemon).into_iter().find(|plugin| plugin["state"] == "refused"));
    assert!(refused["why"].as_str().is_some_and(|why| !why.is_empty()), "{refused}");
    assert_eq!(daemon.post("/api/v1/allocate", &json!({"pool_id": "v", "subscriber_id": "a"})).0, 201);
    assert!(
        daemon.metric("nexus_plugin_failures_total").is_some()
            || daemon.get("/ready").1.to_string().contains("refused")
    );
}

#[test]
fn plugin_check_tells_a_component_from_a_core_module() {
    let file = built().join("vlan.wasm");
    let checked =
        Command::new(env!("CARGO_BIN_EXE_nexus")).args(["plugin", "check"]).arg(&file).output().expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let broken = directory();
    let core = (broken.path().join("broken.wasm"), b"\0asm\x01\0\0\0".as_slice(), "component");
    let text = (broken.path().join("pool.yaml"), b"id: a\n".as_slice(), "is refused");
    for (path, bytes, told) in [core, text] {
        std::fs::write(&path, bytes).expect("written");
        let checked =
            Command::new(env!("CARGO_BIN_EXE_nexus")).args(["plugin", "check"]).arg(&path).output().expect("it runs");
        let why = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.code() == Some(2) && why.contains(told), "{}: {why}", path.display());
    }
}
