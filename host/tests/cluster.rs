//! Real daemons that share pools: any of them serves, none forgets, nothing is held twice.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::Mutex;

use common::{Daemon, Start, call, directory, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Hosts that know of each other, running or not.
struct Hosts {
    dirs: Vec<TempDir>,
    ports: Vec<u16>,
    running: Vec<Option<Daemon>>,
    key: &'static str,
}

/// Ports that nobody listens on now. Somebody else may take one before the daemon does; then the test fails and says so.
fn free_ports(count: usize) -> Vec<u16> {
    let sockets: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    sockets.iter().map(|socket| socket.local_addr().expect("bound").port()).collect()
}

impl Hosts {
    fn new(count: usize) -> Self {
        let dirs = (0..count).map(|_| directory()).collect();
        Self { dirs, ports: free_ports(count), running: (0..count).map(|_| None).collect(), key: KEY }
    }

    /// Formed: the first host began, the others joined.
    fn formed(count: usize) -> Self {
        let mut hosts = Self::new(count);
        for host in 0..count {
            hosts.start(host);
        }
        assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 200);
        for host in 1..count {
            let (status, answer) = hosts.post(host, "/api/v1/cluster/join", &json!({}));
            assert_eq!(status, 200, "{answer}");
        }
        for host in 0..count {
            hosts.await_members(host, count);
        }
        hosts
    }

    fn start(&mut self, host: usize) {
        self.running[host] = Some(self.start_of(host).run());
    }

    fn start_of(&self, host: usize) -> Start {
        let others = self.ports.iter().enumerate().filter(|(other, _)| *other != host);
        let peers: Vec<String> = others.map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        Start::on(self.dirs[host].path()).named(&format!("core-{}", host + 1)).with(&[
            "--p2p-port",
            &self.ports[host].to_string(),
            "--peers",
            &peers.join(","),
            "--cluster-key",
            self.key,
        ])
    }

    fn daemon(&self, host: usize) -> &Daemon {
        self.running[host].as_ref().expect("the host runs")
    }

    fn get(&self, host: usize, path: &str) -> (u16, Value) {
        self.daemon(host).get(path)
    }

    fn post(&self, host: usize, path: &str, body: &Value) -> (u16, Value) {
        self.daemon(host).post(path, body)
    }

    fn kill(&mut self, host: usize) {
        self.running[host].take().expect("the host runs").kill();
    }

    fn status(&self, host: usize) -> Value {
        let (status, answer) = self.get(host, "/api/v1/cluster/status");
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Waits until a host sees all members, reaches them, and knows who leads the ledger.
    fn await_members(&self, host: usize, count: usize) {
        wait_for("the host sees the whole cluster", || {
            let status = self.status(host);
            let members = status["members"].as_array()?;
            let reached = members.iter().filter(|member| member["reachable"] == true).count();
            (members.len() == count && reached == count && status["ledger"]["leader"].is_number()).then_some(())
        });
    }

    fn create(&self, host: usize, pool: &Value) {
        let (status, answer) = self.post(host, "/api/v1/pools", pool);
        assert_eq!(status, 201, "{answer}");
        for other in (0..self.running.len()).filter(|other| self.running[*other].is_some()) {
            let path = format!("/api/v1/pools/{}", pool["id"].as_str().expect("an id"));
            wait_for("every host has the pool", || (self.get(other, &path).0 == 200).then_some(()));
        }
    }

    /// Until it is decided: what is retryable is asked again.
    fn allocate(&self, host: usize, subscriber: &str) -> Value {
        let url = format!("{}/api/v1/allocate", self.daemon(host).rest);
        let body = json!({"pool_id": "homes", "subscriber_id": subscriber}).to_string();
        wait_for("an allocation is decided", || match call(&url, "POST", &[], Some(body.clone())) {
            (200 | 201, answer) => Some(answer),
            (503, _) => None,
            other => panic!("{other:?}"),
        })
    }

    fn held(&self, host: usize) -> BTreeMap<String, String> {
        let (status, page) = self.get(host, "/api/v1/allocations?pool_id=homes&limit=10000");
        assert_eq!(status, 200, "{page}");
        let text = |row: &Value, name: &str| row[name].as_str().expect("text").to_owned();
        page["allocations"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| (text(row, "subscriber_id"), text(row, "ip")))
            .collect()
    }

    /// Waits until every host that runs shows exactly this.
    fn await_held(&self, answered: &BTreeMap<String, String>) {
        for host in (0..self.running.len()).filter(|host| self.running[*host].is_some()) {
            wait_for("the hosts agree", || (self.held(host) == *answered).then_some(()));
        }
    }
}

fn pool() -> Value {
    json!({"id": "homes", "cidr": "100.64.0.0/18"})
}

fn address(answer: &Value) -> String {
    answer["ip"].as_str().expect("an address").to_owned()
}

fn distinct(answered: &BTreeMap<String, String>) {
    let addresses: BTreeSet<&String> = answered.values().collect();
    assert_eq!(addresses.len(), answered.len(), "an address was given twice");
}

#[test]
fn three_hosts_share_a_pool_and_one_subscriber_gets_one_address_whomever_he_asks() {
    let hosts = Hosts::formed(3);
    hosts.create(1, &pool());
    let answered = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for host in 0..3 {
            let (hosts, answered) = (&hosts, &answered);
            scope.spawn(move || {
                // The same subscribers at all three hosts at once.
                for line in 0..60 {
                    let name = format!("line-{line}");
                    let ip = address(&hosts.allocate(host, &name));
                    let former = answered.lock().expect("no thread panicked").insert(name.clone(), ip.clone());
                    assert!(former.is_none_or(|former| former == ip), "{name} has two addresses");
                }
            });
        }
    });
    let mut answered = answered.into_inner().expect("no thread panicked");
    distinct(&answered);
    hosts.await_held(&answered);
    // Every host hands out: the pool's shards are dealt out.
    let owners: BTreeSet<u64> = hosts.status(0)["members"]
        .as_array()
        .expect("members")
        .iter()
        .filter(|member| member["shards"].as_u64().is_some_and(|shards| shards > 0))
        .map(|member| member["member"].as_u64().expect("a number"))
        .collect();
    assert_eq!(owners.len(), 3);
    // What is released at one host is free at all, whoever handed it out.
    for line in 0..20 {
        let name = format!("line-{line}");
        let path = format!("/api/v1/allocations/{name}?pool_id=homes");
        let released = wait_for("a release is decided", || {
            let (status, _) = hosts.daemon(line % 3).call("DELETE", &path, None);
            (status != 503).then_some(status)
        });
        assert_eq!(released, 204, "{name}");
        answered.remove(&name);
    }
    hosts.await_held(&answered);
    // A pool in use is not removed; forced it is gone everywhere.
    assert_eq!(hosts.daemon(2).call("DELETE", "/api/v1/pools/homes", None).0, 409);
    assert_eq!(hosts.daemon(2).call("DELETE", "/api/v1/pools/homes?force=true", None).0, 204);
    for host in 0..3 {
        wait_for("the pool is gone", || (hosts.get(host, "/api/v1/pools/homes").0 == 404).then_some(()));
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
}

#[test]
fn a_killed_host_is_missed_by_nobody_and_comes_back_with_everything() {
    let mut hosts = Hosts::formed(3);
    hosts.create(0, &pool());
    let mut answered = BTreeMap::new();
    for line in 0..60 {
        let name = format!("line-{line}");
        let ip = address(&hosts.allocate(line % 3, &name));
        answered.insert(name, ip);
    }
    hosts.kill(2);
    // New subscribers are served without it, at once or after a repeat.
    for line in 60..120 {
        let name = format!("line-{line}");
        let ip = address(&hosts.allocate(line % 2, &name));
        answered.insert(name, ip);
    }
    distinct(&answered);
    // Two of three decide about pools, too.
    let (status, answer) = hosts.post(0, "/api/v1/pools", &json!({"id": "tags", "type": "vlan", "range": "100-200"}));
    assert_eq!(status, 201, "{answer}");
    hosts.start(2);
    hosts.await_members(2, 3);
    hosts.await_held(&answered);
    wait_for("the host has the pool that was made without it", || {
        (hosts.get(2, "/api/v1/pools/tags").0 == 200).then_some(())
    });
    for (name, ip) in &answered {
        assert_eq!(&address(&hosts.allocate(2, name)), ip, "{name}");
    }
    for host in 0..3 {
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
}

#[test]
fn a_host_that_joins_later_gets_its_share_and_one_that_leaves_gives_everything_back() {
    let mut hosts = Hosts::new(2);
    hosts.start(0);
    assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 200);
    hosts.create(0, &pool());
    let mut answered = BTreeMap::new();
    for line in 0..30 {
        let name = format!("line-{line}");
        answered.insert(name.clone(), address(&hosts.allocate(0, &name)));
    }
    hosts.start(1);
    assert_eq!(hosts.post(1, "/api/v1/cluster/join", &json!({})).0, 200);
    hosts.await_members(1, 2);
    let shards = |hosts: &Hosts, member: u64| {
        let status = hosts.status(0);
        let members = status["members"].as_array().expect("members").clone();
        let found = members.into_iter().find(|found| found["member"] == member);
        found.map_or(0, |found| found["shards"].as_u64().expect("a number"))
    };
    wait_for("the second host has its share", || (shards(&hosts, 2) >= 24).then_some(()));
    hosts.await_held(&answered);
    for line in 30..90 {
        let name = format!("line-{line}");
        answered.insert(name.clone(), address(&hosts.allocate(1, &name)));
    }
    distinct(&answered);
    hosts.await_held(&answered);
    // It leaves: everything in its shards is the first one's then.
    let (status, answer) = hosts.post(1, "/api/v1/cluster/leave", &json!({}));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(shards(&hosts, 2), 0);
    for (name, ip) in &answered {
        assert_eq!(&address(&hosts.allocate(0, name)), ip, "{name}");
    }
}

#[test]
fn hosts_that_start_together_form_nothing_by_themselves_and_two_clusters_do_not_meet() {
    let mut hosts = Hosts::new(3);
    for host in 0..3 {
        hosts.start(host);
    }
    for host in 0..3 {
        assert_eq!(hosts.status(host)["standing"], "waiting");
        let (status, answer) = hosts.post(host, "/api/v1/pools", &pool());
        assert_eq!(status, 503, "{answer}");
    }
    assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 200);
    // Once is enough, on any host.
    assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 409);
    let refused = wait_for("the second host meets the first", || {
        let (status, answer) = hosts.post(1, "/api/v1/cluster/init", &json!({}));
        (status != 200).then_some((status, answer))
    });
    assert_eq!(refused.0, 409, "{}", refused.1);
    assert!(refused.1["error"].as_str().is_some_and(|error| error.contains("core-1")), "{}", refused.1);
}

#[test]
fn a_stranger_with_another_key_is_not_let_in() {
    let mut hosts = Hosts::new(2);
    hosts.start(0);
    assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 200);
    hosts.key = "another key of at least sixteen characters";
    hosts.start(1);
    let (status, answer) = hosts.post(1, "/api/v1/cluster/join", &json!({}));
    assert_eq!(status, 503, "{answer}");
    assert_eq!(hosts.status(0)["members"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_host_that_comes_back_with_an_older_state_of_its_disk_does_not_serve() {
    let mut hosts = Hosts::formed(2);
    hosts.create(0, &pool());
    let mut answered = BTreeMap::new();
    let mut allocate = |hosts: &Hosts, lines: std::ops::Range<u32>| {
        for line in lines {
            let name = format!("line-{line}");
            answered.insert(name.clone(), address(&hosts.allocate(1, &name)));
        }
        hosts.await_held(&answered);
    };
    allocate(&hosts, 0..20);
    hosts.kill(1);
    let old = directory();
    let contents = format!("{}/.", hosts.dirs[1].path().display());
    let copied = std::process::Command::new("cp").arg("-a").arg(contents).arg(old.path()).status();
    assert!(copied.expect("cp runs").success());
    hosts.start(1);
    hosts.await_members(1, 2);
    allocate(&hosts, 20..60);
    hosts.kill(1);
    let latest = std::mem::replace(&mut hosts.dirs[1], old);
    let output = hosts.start_of(1).command().output().expect("it runs and ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("an older state of this host's disk"), "{told}");
    // With what it had last it serves.
    hosts.dirs[1] = latest;
    hosts.start(1);
    hosts.await_members(1, 2);
    hosts.await_held(&answered);
}
