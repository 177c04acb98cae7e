//! The README's tour, typed as it stands there, into a real daemon.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Start, directory};

/// The shell blocks after "Five minutes", joined: what a reader types, in order.
fn tour(readme: &str) -> String {
    let (_, tour) = readme.split_once("## Five minutes").expect("the README has its tour");
    // Three hosts are another matter: `deploy/tests` starts them.
    let (tour, _) = tour.split_once("\n## ").expect("the tour ends");
    let blocks = tour.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_command_of_the_readme_works_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("a README");
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    let commands = tour(&readme).replace("localhost:9000", daemon.rest.trim_start_matches("http://"));
    assert!(commands.lines().filter(|line| line.starts_with("nexus ") || line.starts_with("curl ")).count() > 12);
    let script = format!(
        "set -eu\nnexus() {{ \"$NEXUS_BINARY\" \"$@\"; }}\ncurl() {{ command curl --fail-with-body \"$@\"; }}\nset -x\n{commands}"
    );
    let ran = Command::new("bash")
        .args(["-c", &script])
        .current_dir(root)
        .env("NEXUS_BINARY", env!("CARGO_BIN_EXE_nexus"))
        .env("NEXUS_SERVER", &daemon.grpc)
        .output()
        .expect("bash is here");
    let (told, shown) = (String::from_utf8_lossy(&ran.stderr), String::from_utf8_lossy(&ran.stdout));
    assert!(ran.status.success(), "{shown}\n{told}");
    assert!(shown.contains("10.0.0.2"), "the first address after the gateway is given:\n{shown}");
}
