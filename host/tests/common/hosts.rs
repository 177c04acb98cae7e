//! Hosts that know of each other, as real daemons.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Daemon, Start, call, directory, wait_for};

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Hosts that know of each other, running or not.
#[derive(Debug)]
pub struct Hosts {
    dirs: Vec<TempDir>,
    ports: Vec<u16>,
    running: Vec<Option<Daemon>>,
    /// The cluster key of hosts that start from now on.
    pub key: &'static str,
    /// What they are told beside.
    pub flags: Vec<&'static str>,
    /// Which build each is of when it starts from now on.
    pub builds: Vec<Build>,
}

/// A build of the daemon.
#[derive(Clone, Copy, Debug)]
pub enum Build {
    This,
    /// Speaks a minor more.
    Next,
    /// This one, as if it spoke that version.
    Speaking(&'static str),
}

/// Ports that nobody listens on, below those that the system gives to whoever asks for any: a host that is down finds its own
/// again. Each is given once in this process.
fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests of other processes begin elsewhere.
    let begin = u16::try_from(std::process::id() % 200).expect("below 200") * 100;
    let candidates = std::iter::repeat_with(|| 10_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000);
    candidates.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(count).collect()
}

impl Hosts {
    pub fn new(count: usize) -> Self {
        let dirs = (0..count).map(|_| directory()).collect();
        Self {
            dirs,
            ports: free_ports(count),
            running: (0..count).map(|_| None).collect(),
            key: KEY,
            flags: Vec::new(),
            builds: vec![Build::This; count],
        }
    }

    /// Formed: the first host began, the others joined.
    pub fn formed(count: usize) -> Self {
        Self::formed_with(count, &[])
    }

    /// As [`Self::formed`], of hosts that are told something beside.
    pub fn formed_with(count: usize, flags: &[&'static str]) -> Self {
        let mut hosts = Self::new(count);
        hosts.flags = flags.to_vec();
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

    pub fn start(&mut self, host: usize) {
        self.start_as(host, &self.start_of(host));
    }

    /// Starts a host in its place in another way.
    pub fn start_as(&mut self, host: usize, start: &Start) {
        self.running[host] = Some(start.run());
    }

    /// What runs in a host's place.
    pub fn put_daemon(&mut self, host: usize, daemon: Daemon) {
        self.running[host] = Some(daemon);
    }

    /// How a host is started.
    pub fn start_of(&self, host: usize) -> Start {
        let others: Vec<usize> = (0..self.ports.len()).filter(|other| *other != host).collect();
        self.start_beside(host, &others)
    }

    /// The same, of one that is told of these only.
    pub fn start_beside(&self, host: usize, others: &[usize]) -> Start {
        let peers: Vec<String> = others.iter().map(|other| format!("127.0.0.1:{}", self.ports[*other])).collect();
        let start = Start::on(self.dirs[host].path());
        let start = match self.builds[host] {
            Build::This => start,
            Build::Next => start.of_next_release(),
            Build::Speaking(protocol) => start.variable("NEXUS_TEST_PROTOCOL", protocol),
        };
        start
            .named(&format!("core-{}", host + 1))
            .with(&[
                "--p2p-port",
                &self.ports[host].to_string(),
                "--peers",
                &peers.join(","),
                "--cluster-key",
                self.key,
            ])
            .with(&self.flags)
    }

    /// Gives a host that does not run another data directory, and back the one it had.
    pub fn put_dir(&mut self, host: usize, dir: TempDir) -> TempDir {
        assert!(self.running[host].is_none(), "a directory in use stays");
        std::mem::replace(&mut self.dirs[host], dir)
    }

    pub fn dir(&self, host: usize) -> &std::path::Path {
        self.dirs[host].path()
    }

    pub fn daemon(&self, host: usize) -> &Daemon {
        self.running[host].as_ref().expect("the host runs")
    }

    pub fn get(&self, host: usize, path: &str) -> (u16, Value) {
        self.daemon(host).get(path)
    }

    pub fn post(&self, host: usize, path: &str, body: &Value) -> (u16, Value) {
        self.daemon(host).post(path, body)
    }

    pub fn kill(&mut self, host: usize) {
        self.running[host].take().expect("the host runs").kill();
    }

    /// Ends a host as an upgrade does: it answers what it was asked and asks for nothing more.
    pub fn stop(&mut self, host: usize) {
        assert!(self.running[host].take().expect("the host runs").stop().success());
    }

    pub fn status(&self, host: usize) -> Value {
        let (status, answer) = self.get(host, "/api/v1/cluster/status");
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// What a host tells its operator.
    pub fn warnings(&self, host: usize) -> String {
        self.status(host)["warnings"].to_string()
    }

    /// How many shards a host holds, as another one sees it.
    pub fn shards(&self, seen_by: usize, node: &str) -> u64 {
        let status = self.status(seen_by);
        let members = status["members"].as_array().expect("members").clone();
        let found = members.into_iter().find(|member| member["node_id"] == node).expect("a member");
        found["shards"].as_u64().expect("a number")
    }

    /// Waits until a host sees all members, reaches them, and knows who leads the ledger.
    pub fn await_members(&self, host: usize, count: usize) {
        wait_for("the host sees the whole cluster", || {
            let status = self.status(host);
            let members = status["members"].as_array()?;
            let reached = members.iter().filter(|member| member["reachable"] == true).count();
            (members.len() == count && reached == count && status["ledger"]["leader"].is_number()).then_some(())
        });
    }

    pub fn create(&self, host: usize, pool: &Value) {
        let (status, answer) = self.post(host, "/api/v1/pools", pool);
        assert_eq!(status, 201, "{answer}");
        for other in (0..self.running.len()).filter(|other| self.running[*other].is_some()) {
            let path = format!("/api/v1/pools/{}", pool["id"].as_str().expect("an id"));
            wait_for("every host has the pool", || (self.get(other, &path).0 == 200).then_some(()));
        }
    }

    /// Until it is decided: what is retryable is asked again.
    pub fn allocate(&self, host: usize, subscriber: &str) -> Value {
        let url = format!("{}/api/v1/allocate", self.daemon(host).rest);
        let body = json!({"pool_id": "homes", "subscriber_id": subscriber}).to_string();
        wait_for("an allocation is decided", || match call(&url, "POST", &[], Some(body.clone())) {
            (200 | 201, answer) => Some(answer),
            (503, _) => None,
            other => panic!("{other:?}"),
        })
    }

    /// Subscribers of these numbers get an address at this host, in batches.
    pub fn allocate_many(&self, host: usize, numbers: Range<usize>) -> BTreeMap<String, String> {
        let count = numbers.len();
        let mut wanted: Vec<String> = numbers.map(|line| format!("crowd-{host}-{line}")).collect();
        let mut given = BTreeMap::new();
        wait_for("all are given", || {
            wanted.retain(|name| !given.contains_key(name));
            let some = wanted.iter().take(500);
            let requests: Vec<Value> = some.map(|name| json!({"pool_id": "homes", "subscriber_id": name})).collect();
            let (status, answer) = self.post(host, "/api/v1/allocations:batch", &json!({"requests": requests}));
            assert_eq!(status, 200, "{answer}");
            let results = answer["results"].as_array().expect("results");
            let allocated = results.iter().map(|one| &one["allocation"]).filter(|one| one.is_object());
            given.extend(allocated.map(|one| (one["subscriber_id"].as_str().expect("text").to_owned(), address(one))));
            (given.len() == count).then_some(())
        });
        given
    }

    pub fn held(&self, host: usize) -> BTreeMap<String, String> {
        self.rows(host).into_iter().collect()
    }

    /// Who holds which address of the pool; somebody may hold two.
    pub fn rows(&self, host: usize) -> BTreeSet<(String, String)> {
        let text = |row: &Value, name: &str| row[name].as_str().expect("text").to_owned();
        let mut rows = BTreeSet::new();
        let mut path = "/api/v1/allocations?pool_id=homes&limit=10000".to_owned();
        loop {
            let (status, page) = self.get(host, &path);
            assert_eq!(status, 200, "{page}");
            let list = page["allocations"].as_array().expect("rows");
            rows.extend(list.iter().map(|row| (text(row, "subscriber_id"), text(row, "ip"))));
            let Some(next) = page["next_cursor"].as_str() else { return rows };
            path = format!("/api/v1/allocations?pool_id=homes&limit=10000&cursor={next}");
        }
    }

    /// Waits until every host that runs shows exactly this.
    pub fn await_held(&self, answered: &BTreeMap<String, String>) {
        for host in (0..self.running.len()).filter(|host| self.running[*host].is_some()) {
            wait_for("the hosts agree", || (self.held(host) == *answered).then_some(()));
        }
    }
}

pub fn pool() -> Value {
    json!({"id": "homes", "cidr": "100.64.0.0/16"})
}

pub fn address(answer: &Value) -> String {
    answer["ip"].as_str().expect("an address").to_owned()
}

pub fn distinct(answered: &BTreeMap<String, String>) {
    let addresses: BTreeSet<&String> = answered.values().collect();
    assert_eq!(addresses.len(), answered.len(), "an address was given twice");
}
