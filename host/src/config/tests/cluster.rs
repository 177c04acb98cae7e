//! What a host is to other hosts.

use std::os::unix::fs::PermissionsExt as _;

use super::super::cluster::{ClusterKey, HostRole};
use super::*;

const SECRET: &str = "correct horse battery staple";

fn told(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn without_peers_a_host_is_a_core_that_listens_where_the_rest_does() {
    let config = load("server: {listen: 127.0.0.2}\np2p: {listen_port: 4000}\n", &[], &[]).expect("usable");
    assert_eq!((config.p2p.listen, config.p2p.peers.len()), (vec!["127.0.0.2:4000".parse().unwrap()], 0));
    assert_eq!((config.part.role, config.part.weight.get()), (HostRole::Core, 1));
    assert_eq!((config.part.node_lease.as_secs(), config.part.response_deadline.as_secs()), (60, 5));
    let faults = load("node: {role: read}\n", &[], &[]).unwrap_err();
    assert!(
        told(&faults)[0].ends_with("line 1: node.role: must be core on a host without p2p.peers: it does everything")
    );
    let faults = load("", &[], &[("role", "edge")]).unwrap_err();
    assert_eq!(told(&faults), ["--role (node.role): \"edge\" is not there yet; possible are core, write and read"]);
}

#[test]
fn lists_stand_in_the_file_as_lists_and_elsewhere_with_commas() {
    let text = "node: {role: write, weight: 1000}\np2p:\n  peers:\n    - core-2.example:33123\n    - dns:nexus.svc:33123\n  \
                listen: [127.0.0.1, '[::1]:5000']\n";
    let config = load(text, &[], &[]).expect("usable");
    assert_eq!(config.p2p.peers, ["core-2.example:33123", "dns:nexus.svc:33123"]);
    assert_eq!(config.p2p.listen, ["127.0.0.1:33123".parse().unwrap(), "[::1]:5000".parse().unwrap()]);
    let peers = "10.0.0.1:7, /ip4/10.0.0.2/tcp/7,/dns4/core-3/tcp/7";
    let config = load(text, &[("NEXUS_PEERS", peers)], &[]).expect("usable");
    assert_eq!(config.p2p.peers, ["10.0.0.1:7", "/ip4/10.0.0.2/tcp/7", "/dns4/core-3/tcp/7"]);
}

#[test]
fn what_is_no_peer_and_what_is_out_of_range_is_told() {
    for wrong in
        ["core-2", "core-2:0", "core-2:http", ":7", "0.0.0.0:7", "/ip4/10.0.0.1", "/ip4/10.0.0.1/udp/7", "a b:7"]
    {
        let faults = load("", &[], &[("peers", wrong)]).unwrap_err();
        assert!(told(&faults)[0].contains("is not a list of at most 1024 peers"), "{wrong}: {faults:?}");
    }
    let flags = [
        ("weight", "0"),
        ("weight", "1001"),
        ("node-lease", "4s"),
        ("node-lease", "61m"),
        ("response-deadline", "50ms"),
        ("rebroadcast-interval", "0"),
        ("p2p-listen", "everywhere"),
        ("p2p-listen", ","),
    ];
    for flag in flags {
        assert_eq!(load("", &[], &[flag]).unwrap_err().len(), 1, "{flag:?}");
    }
    let faults = load("p2p: {peers: [{host: a}]}\n", &[], &[]).unwrap_err();
    assert!(told(&faults)[0].contains("p2p.peers is a list of other than plain values"), "{faults:?}");
}

#[test]
fn beyond_loopback_peers_need_a_key() {
    let peers = ("peers", "core-2:33123");
    assert!(load("", &[], &[peers]).is_ok());
    for open in ["0.0.0.0", "192.0.2.1", "127.0.0.1,192.0.2.1"] {
        let faults = load("", &[], &[peers, ("p2p-listen", open)]).unwrap_err();
        let told = told(&faults);
        assert!(
            told[0].starts_with("p2p.cluster_key: is missing") && told[0].contains("p2p.cluster_key_file"),
            "{told:?}"
        );
        assert!(load("", &[], &[peers, ("p2p-listen", open), ("cluster-key", SECRET)]).is_ok());
    }
    // Without peers nothing is listened on.
    assert!(load("", &[], &[("p2p-listen", "0.0.0.0")]).is_ok());
}

#[test]
fn peers_and_faces_do_not_share_a_port() {
    let faults = load("", &[], &[("peers", "core-2:33123"), ("p2p-port", "9001")]).unwrap_err();
    assert_eq!(told(&faults), ["p2p.listen: port 9001 is also server.grpc_port"]);
}

#[test]
fn a_key_is_never_shown() {
    let config = load("", &[], &[("cluster-key", SECRET)]).expect("usable");
    assert!(!format!("{config:?}").contains(SECRET));
    assert_eq!(config.p2p.cluster_key.map(|key| key.read().unwrap().expose().to_owned()).as_deref(), Some(SECRET));
    let faults = load("p2p: {cluster_key: too short}\n", &[], &[]).unwrap_err();
    assert!(!format!("{faults:?}").contains("too short") && told(&faults)[0].contains("16 characters"), "{faults:?}");
    let faults = load("p2p: {cluster_key_file: k}\n", &[("NEXUS_CLUSTER_KEY", SECRET)], &[]).unwrap_err();
    assert!(told(&faults)[0].contains("is set beside p2p.cluster_key_file") && !format!("{faults:?}").contains(SECRET));
}

#[test]
fn a_key_file_is_read_unless_everybody_may_read_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("key");
    std::fs::write(&file, format!("{SECRET}\n")).expect("written");
    let set = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("ours");
    let key = ClusterKey::File(file.clone());
    set(0o640);
    assert_eq!(key.read().expect("usable").expose(), SECRET);
    set(0o644);
    let open = key.read().unwrap_err().to_string();
    assert!(open.contains("has mode 644") && open.contains("chmod 600"), "{open}");
    set(0o600);
    std::fs::write(&file, "x".repeat(5_000)).expect("written");
    assert!(key.read().unwrap_err().to_string().contains("does not hold 16 characters"));
    std::fs::write(&file, [0xff; 40]).expect("written");
    assert!(key.read().is_err());
    assert!(ClusterKey::File(directory.path().to_owned()).read().is_err());
    assert!(ClusterKey::File(directory.path().join("absent")).read().unwrap_err().to_string().contains("absent"));
}

#[test]
fn a_key_in_a_file_that_everybody_may_read_is_warned_of() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("nexus.yaml");
    std::fs::write(&file, format!("p2p: {{cluster_key: {SECRET}}}\n")).expect("written");
    for (mode, warned) in [(0o644, 1), (0o600, 0)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("ours");
        let config = Config::load(Some(&file), std::iter::empty(), std::iter::empty()).expect("usable");
        assert_eq!(config.warnings.len(), warned, "{mode:o}: {:?}", config.warnings);
    }
}

#[test]
fn todays_name_of_a_renamed_key_wins() {
    for text in [
        "clset: {rebroadcast_interval: 9s}\np2p: {rebroadcast_interval: 3s}\n",
        "p2p: {rebroadcast_interval: 3s}\nclset: {rebroadcast_interval: 9s}\n",
    ] {
        let config = load(text, &[], &[]).expect("usable");
        assert_eq!(config.p2p.rebroadcast_interval, Duration::from_secs(3), "{text}");
    }
}
