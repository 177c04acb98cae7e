use super::*;
use proptest::prelude::*;

fn load(text: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("nexus.yaml");
    std::fs::write(&file, text).expect("the file is writable");
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flagged = |(flag, value): &(&str, &str)| {
        (KEYS.iter().find(|key| key.flag == *flag).expect("a known flag"), (*value).to_owned())
    };
    Config::load(Some(&file), variables.iter().map(owned), flags.iter().map(flagged))
}

#[test]
fn flag_over_variable_over_file_over_default() {
    let text = "server: {http_port: 1, grpc_port: 2, metrics_port: 3}\n";
    let config = load(text, &[("NEXUS_GRPC_PORT", "20"), ("NEXUS_METRICS_PORT", "30")], &[("metrics-port", "300")]);
    let config = config.expect("all usable");
    assert_eq!([config.http.port(), config.grpc.port(), config.metrics.port()], [1, 20, 300]);
}

#[test]
fn every_fault_is_told_at_once_with_line_key_and_value() {
    let faults = load("server:\n  http_port: 90000\n  grcp_port: 9\nlog:\n  format: xml\n", &[], &[]).unwrap_err();
    let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].ends_with("line 3: key server.grcp_port is unknown, the nearest known is server.grpc_port"),
        "{told:?}"
    );
    assert!(told[1].ends_with("line 2: server.http_port: \"90000\" is not a port, 0 to 65535"), "{told:?}");
    assert!(told[2].ends_with("line 5: log.format: \"xml\" is not text or json"), "{told:?}");
}

#[test]
fn a_key_that_is_near_to_none_is_not_taken_for_another() {
    let faults = load("database:\n  url: postgres\n", &[], &[]).unwrap_err();
    let told = faults.first().expect("a fault").to_string();
    assert!(told.contains("database.url is unknown") && told.contains("nexus serve --help"), "{told}");
    assert!(!told.contains("nearest"), "{told}");
}

#[test]
fn the_predecessors_file_is_accepted() {
    let text = "server:\n  http_port: 9000\nnode:\n  id: core-1\n  role: core\np2p:\n  listen_port: 33123\nstorage:\n  \
                path: /var/lib/nexus\nclset:\n  rebroadcast_interval: 7s\n  topic: nexus-state\ngraceful_shutdown:\n  \
                timeout: 15s\n  drain_delay: 2s\n";
    let config = load(text, &[], &[]).expect("accepted");
    assert_eq!(config.shutdown_timeout, Duration::from_secs(15));
    assert_eq!(config.data_path, PathBuf::from("/var/lib/nexus"));
    assert_eq!(config.p2p.rebroadcast_interval, Duration::from_secs(7));
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
}

#[test]
fn the_older_form_may_say_more_than_is_known_here() {
    let text = "node:\n  id: core-1\n  region: east\np2p:\n  listen_port: 33123\n  bootstrap:\n    - /ip4/10.0.0.1\n    - \
                /ip4/10.0.0.2\nclset: {peers: [a, {b: c}], topic: t}\nserver: {read_timeout: 5s}\n";
    let config = load(text, &[], &[]).expect("accepted");
    let named = ["node.region", "p2p.bootstrap", "clset.peers", "clset.topic", "server.read_timeout"];
    assert_eq!(config.warnings.len(), named.len(), "{:?}", config.warnings);
    for (warning, key) in config.warnings.iter().zip(named) {
        assert!(warning.ends_with(&format!("{key} is of the older form and has no effect yet")), "{warning}");
    }
}

#[test]
fn a_list_hides_no_other_fault() {
    let faults = load("server: {http_port: [9000], grpc: 1}\nnode: {role: owner}\nlog: {level: loud}\n", &[], &[]);
    let told: Vec<_> = faults.unwrap_err().iter().map(ToString::to_string).collect();
    let expected = [
        "is a list; a single value is wanted",
        "key server.grpc is unknown",
        "\"owner\" is not a role (core, write or read)",
        "\"loud\" is not a level",
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (fault, part) in told.iter().zip(expected) {
        assert!(fault.contains(part), "{fault}");
    }
}

#[test]
fn half_of_tls_and_twin_ports_are_faults() {
    let faults = load("server: {http_port: 9001, tls: {cert: a.pem}}\n", &[], &[]).unwrap_err();
    let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|fault| fault.contains("port 9001 is also server.http_port")), "{told:?}");
    assert!(told.iter().any(|fault| fault.starts_with("server.tls.key: is missing")), "{told:?}");
}

#[test]
fn beyond_loopback_without_tls_or_tokens_is_warned_of() {
    let config = load("server: {listen: 0.0.0.0}\n", &[("NEXUS_SERVICE_HOST", "10.0.0.1")], &[]).expect("usable");
    assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
}

proptest! {
    #[test]
    fn no_value_panics(path in 0..KEYS.len(), value in "\\PC{0,40}") {
        let _config_or_faults = Config::load(
            None,
            std::iter::empty(),
            std::iter::once((&KEYS[path], value)),
        );
    }
}

mod cluster;
