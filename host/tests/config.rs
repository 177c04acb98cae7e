//! What operators set, as a real daemon takes it.

mod common;

use common::{Start, directory};

#[test]
fn variables_of_other_commands_and_of_the_build_are_no_surprise_to_the_daemon() {
    let directory = directory();
    let others = [
        ("NEXUS_SERVER", "http://127.0.0.1:9001"),
        ("NEXUS_CA", "ca.pem"),
        ("NEXUS_CERT", "cert.pem"),
        ("NEXUS_CERT_KEY", "key.pem"),
        ("NEXUS_TOKEN_FILE", "token"),
        ("NEXUS_TENANT", "t"),
        ("NEXUS_OUTPUT", "json"),
        ("NEXUS_PLUGINS_DIR", "components"),
        ("NEXUS_SERVICE_HOST", "10.0.0.1"),
    ];
    let foreign = "warning: variable NEXUS_SERVICE_HOST is not a setting and is ignored\n";
    // A token and a file that holds one exclude each other.
    for (variables, warned) in [(&others[..], foreign), (&[("NEXUS_TOKEN", "secret")], "")] {
        let start = Start::on(directory.path()).with(&["--check-config"]);
        let checked = start.command().envs(variables.iter().copied()).output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&checked.stderr), warned);
        assert!(checked.status.success());
    }
}

#[test]
fn the_configuration_file_may_be_named_by_a_variable() {
    let directory = directory();
    let file = directory.path().join("nexus.yaml");
    std::fs::write(&file, "log: {format: json}\n").expect("written");
    let start = Start::on(directory.path()).with(&["--check-config"]);
    let checked = start.command().env("NEXUS_CONFIG", &file).output().expect("it runs");
    assert_eq!((checked.status.success(), String::from_utf8_lossy(&checked.stderr).as_ref()), (true, ""));
}

#[test]
fn the_description_is_served_unless_it_is_switched_off() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    assert_eq!(daemon.get("/openapi.json").0, 200);
    assert!(daemon.stop().success());
    let daemon = Start::on(directory.path()).with(&["--openapi", "false"]).run();
    let (status, problem) = daemon.get("/openapi.json");
    assert_eq!((status, problem.get("reason").and_then(|reason| reason.as_str())), (404, Some("NO_SUCH_PATH")));
    assert_eq!(daemon.get("/api/v1/pools").0, 200);
}
