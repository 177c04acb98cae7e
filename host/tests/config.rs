//! What operators set, as a real daemon takes it.

mod common;

use std::process::Command;

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

/// What `serve` says and how it ends, with and without `--check-config`: the same, for what is wrong.
fn refused(start: &[&str], expected: &[&str]) {
    for check in [&["--check-config"][..], &[]] {
        let directory = directory();
        let start = Start::on(directory.path()).with(start).with(check);
        let ended = start.command().output().expect("it runs");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{told}");
        assert!(expected.iter().all(|part| told.contains(part)), "{told}");
        assert!(std::fs::read_dir(directory.path()).expect("it is there").next().is_none(), "nothing was opened");
    }
}

#[test]
fn files_that_the_configuration_names_are_read_before_anything_is_opened() {
    let directory = directory();
    let path = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (tokens, cert) = (path("tokens.yaml", "tokens: [{name: a}]\n"), path("cert.pem", "no PEM\n"));
    let absent = directory.path().join("absent").display().to_string();
    refused(&["--tokens-file", &absent], &["auth.tokens_file", "absent"]);
    refused(&["--tokens-file", &tokens], &["auth.tokens_file", "sha256"]);
    refused(&["--tls-cert", &cert, "--tls-key", &cert], &["server.tls", "cert.pem"]);
    let both = ["--tls-cert", &absent, "--tls-key", &absent, "--tokens-file", &absent];
    refused(&both, &["auth.tokens_file", "server.tls"]);
}

#[test]
fn a_level_that_is_none_is_refused() {
    refused(&["--log-level", "loud"], &["--log-level (log.level): \"loud\" is not a level (error, warn, info"]);
}

#[test]
fn commands_that_name_nothing_end_with_the_code_of_a_wrong_argument() {
    let directory = directory();
    for line in [["plugin", "check"], ["store", "check"]] {
        let nothing = directory.path().join("nothing");
        let ended = Command::new(env!("CARGO_BIN_EXE_nexus")).args(line).arg(nothing).output().expect("it runs");
        assert_eq!(ended.status.code(), Some(2), "{line:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn a_cluster_is_checked_before_anything_is_opened() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = directory();
    let key = directory.path().join("cluster.key");
    std::fs::write(&key, "correct horse battery staple\n").expect("written");
    let set = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("ours");
    let file = key.display().to_string();
    let open = ["--peers", "core-2:33123,dns:nexus.svc:33123", "--p2p-listen", "0.0.0.0", "--weight", "2"];
    refused(&open, &["p2p.cluster_key: is missing", "p2p.cluster_key_file"]);
    let with_key = [open.as_slice(), &["--cluster-key-file", &file]].concat();
    set(0o644);
    refused(&with_key, &["p2p.cluster_key_file", "has mode 644", "chmod 600"]);
    refused(&["--peers", "core-2"], &["--peers (p2p.peers): \"core-2\" is not a list of at most 1024 peers"]);
    refused(&["--role", "read"], &["node.role", "must be core on a host without p2p.peers"]);
    refused(&["--cluster-key", "short"], &["p2p.cluster_key", "16 characters"]);
    set(0o600);
    let roled = [with_key.as_slice(), &["--role", "write", "--check-config"]].concat();
    let checked = Start::on(&directory.path().join("data")).with(&roled).command().output().expect("it runs");
    let told = [checked.stdout, checked.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(checked.status.success() && !told.contains("correct horse"), "{told}");
}
