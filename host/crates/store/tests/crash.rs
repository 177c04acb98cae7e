//! Killed at any moment, or without power at any moment: everything answered is there, and nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "support/image.rs"]
mod image;
#[path = "support/load.rs"]
mod load;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::{Medium, Step, Survives};
use tempfile::TempDir;

/// Writes, if this binary was started again by one of the tests below.
#[test]
fn load() {
    load::run_if_asked();
}

#[test]
fn killed_under_load_everything_answered_is_there() {
    let dir = TempDir::new().unwrap();
    let mut oracle = load::Oracle::new();
    let mut begun = 0;
    for round in 0..12 {
        let mut child = load::command(dir.path(), 1_000_000).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut answers = lines.by_ref().filter_map(|line| load::answered(&line.unwrap()));
        // Each round is killed at another point of the work.
        let last = answers.nth(20 + round * 37).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died counts too.
        let last = answers.last().unwrap_or(last);
        assert!(last > begun, "round {round} did not go on from {begun}");
        begun = load::verify(dir.path(), &mut oracle, last).unwrap_or_else(|why| panic!("round {round}: {why}"));
        // The operation that verifying added must fit the groups.
        finish_group(dir.path(), begun);
    }
}

/// Adds the rest of the group that [`load::verify`] began.
fn finish_group(dir: &Path, first: u64) {
    let (mut store, _) = store::Store::open(dir, load::settings(), 0).unwrap();
    let ops: Vec<_> = (first + 1..first + load::group(first)).map(load::op).collect();
    store.append(&ops).unwrap();
}

/// Builds the recorder with the compiler that Rust links with.
fn recorder(dir: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/recorder.c");
    let library = dir.join("recorder.so");
    let status = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(&source)
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("a C compiler named cc, which Rust needs for linking too");
    assert!(status.success(), "recorder.c does not compile");
    library
}

/// A run of the loader, every touch of the disk recorded, with an opening in its middle.
fn record(place: &Path, groups: u64) -> (PathBuf, Vec<Step>) {
    let root = place.join("run");
    let trace = place.join("trace");
    let status = load::command(&root, groups)
        .env("LD_PRELOAD", recorder(place))
        .env("NEXUS_RECORD_ROOT", &root)
        .env("NEXUS_RECORD_TRACE", &trace)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the loader failed");
    (root, image::steps(&std::fs::read(trace).unwrap()))
}

/// Cuts the power at about `cuts` moments of the run; the first failure, if any.
fn cut(place: &Path, root: &Path, steps: &[Step], cuts: usize) -> Result<usize, String> {
    let risky: Vec<usize> = moments(steps);
    assert!(risky.len() > cuts, "only {} moments are worth a cut", risky.len());
    let mut medium = Medium::default();
    let mut oracle = load::Oracle::new();
    let mut answered = 0;
    let mut tried = 0;
    let mut wanted = (0..cuts).map(|nth| risky[nth * risky.len() / cuts]).peekable();
    for (at, step) in steps.iter().enumerate() {
        if wanted.next_if_eq(&at).is_some() {
            let seed = at as u64;
            let survives = match tried % 8 {
                0 => Survives::Nothing,
                1 => Survives::Everything,
                2 => Survives::BytesOnly,
                3 => Survives::NamesOnly,
                4 | 5 => Survives::Some(seed),
                _ => Survives::Latest(seed),
            };
            tried += 1;
            let image = place.join("image");
            medium.image(root, &image, survives);
            let verdict = load::verify(&image, &mut oracle, answered);
            std::fs::remove_dir_all(&image).unwrap();
            verdict.map_err(|why| format!("cut before step {at}, {survives:?} survives: {why}"))?;
        }
        if step.kind == 'A' {
            let text = String::from_utf8_lossy(&step.data);
            answered = text.lines().filter_map(load::answered).next_back().unwrap_or(answered);
        } else {
            medium.take(step);
        }
    }
    Ok(tried)
}

/// Where something is at risk: before every sync, and wherever it differs from the step before.
fn moments(steps: &[Step]) -> Vec<usize> {
    let mut medium = Medium::default();
    let mut moments = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        if step.kind == 'A' {
            moments.push(at);
            continue;
        }
        // Names and syncs are few; of the many writes between them, the last shows most.
        if medium.is_at_risk() && step.kind != 'W' {
            moments.push(at);
        }
        medium.take(step);
    }
    moments
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_answered() {
    let place = TempDir::new().unwrap();
    let (root, steps) = record(place.path(), 700);
    let manifests = steps.iter().filter(|step| step.kind == 'R' && step.path.ends_with("manifest.new")).count();
    assert!(manifests >= 3, "only {manifests} checkpoints were recorded");
    let tried = cut(place.path(), &root, &steps, 400).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried >= 300);
}

/// Tells which steps are left out.
type IsLeftOut<'a> = &'a dyn Fn(&Step) -> bool;

/// A proof that the test above can fail: each kind of sync, left out of the run, must cost an answer somewhere.
#[test]
fn each_sync_that_is_left_out_costs_an_answer() {
    let place = TempDir::new().unwrap();
    let (root, steps) = record(place.path(), 400);
    let name = |step: &Step| step.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kinds: [(&str, IsLeftOut<'_>); 4] = [
        ("the log's", &|step| name(step).starts_with("log-")),
        ("a table's", &|step| step.path.parent().is_some_and(|dir| dir.to_string_lossy().contains("table-"))),
        ("the manifest's", &|step| name(step) == "manifest.new"),
        ("the directory's", &|step| step.path == root),
    ];
    for (whose, is_left_out) in kinds {
        let left: Vec<Step> = steps.iter().filter(|step| step.kind != 'S' || !is_left_out(step)).cloned().collect();
        assert!(left.len() < steps.len(), "{whose} sync was not recorded at all");
        let verdict = cut(place.path(), &root, &left, 300);
        assert!(verdict.is_err(), "nothing was lost without {whose} sync");
    }
}
