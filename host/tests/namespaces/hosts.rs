//! The daemons, each in its namespace, and what operators ask of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::checker::{Held, Listing};
use crate::common::{Daemon, Disk, Start, call, directory, wait_for};
use crate::history::boot_ms;
use crate::net::Lan;
use crate::{GRPC, REST};

const METRICS: u16 = 9002;

/// This host's disk is small.
pub(crate) const SMALL: usize = 1;

/// Hosts, running or not. Those that run end when it is dropped.
pub(crate) struct Hosts {
    running: Vec<Option<Daemon>>,
    starts: usize,
    _disk: Disk,
    dirs: Vec<TempDir>,
    /// Kept if the test fails.
    logs: TempDir,
    pub(crate) lan: Arc<Lan>,
}

impl Hosts {
    pub(crate) fn new(count: usize) -> Self {
        let lan = Arc::new(Lan::lay(count));
        let dirs: Vec<TempDir> = (0..count).map(|_| directory()).collect();
        let disk = Disk::mount(dirs[SMALL].path(), "192m");
        Self { running: (0..count).map(|_| None).collect(), starts: 0, _disk: disk, dirs, logs: directory(), lan }
    }

    pub(crate) fn count(&self) -> usize {
        self.dirs.len()
    }

    /// Those that run.
    pub(crate) fn up(&self) -> Vec<usize> {
        (0..self.count()).filter(|host| self.running[*host].is_some()).collect()
    }

    pub(crate) fn logs(&self) -> &Path {
        self.logs.path()
    }

    pub(crate) fn folder(&self, host: usize) -> &Path {
        self.dirs[host].path()
    }

    pub(crate) fn data(&self, host: usize) -> PathBuf {
        self.folder(host).join("data")
    }

    fn start_of(&self, host: usize, log: &Path) -> Start {
        let flags = self.lan.flags(host);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let start = Start::on(&self.data(host)).named(&name(host)).ports(REST, GRPC, METRICS).log(log);
        start.with(&flags).with(&[
            // Who is away for longer is lost, and others take over.
            "--node-lease",
            "5s",
            "--lease-grace",
            "1s",
            "--listen",
            "0.0.0.0",
            // Refused from there on, whatever room the log has of its own.
            "--min-free",
            "16MiB",
            "--rebroadcast-interval",
            "1s",
            // Or a host that was restarted would show leases that are over for minutes.
            "--restart-grace",
            "1s",
        ])
    }

    fn next_log(&mut self, host: usize) -> PathBuf {
        self.starts += 1;
        self.logs.path().join(format!("{}-start-{}.log", name(host), self.starts))
    }

    pub(crate) fn start(&mut self, host: usize) {
        let log = self.next_log(host);
        let start = self.start_of(host, &log);
        self.running[host] = Some(self.lan.inside(host, || start.run()));
    }

    /// Starts a host that should refuse to; gives what it says.
    pub(crate) fn start_in_vain(&mut self, host: usize) -> String {
        let log = self.next_log(host);
        let start = self.start_of(host, &log);
        let mut child = self.lan.inside(host, || {
            let output = std::fs::File::create(&log).expect("a file for the log");
            start.command().stderr(output).stdout(std::process::Stdio::null()).spawn().expect("the daemon starts")
        });
        let started = std::time::Instant::now();
        let ended = loop {
            match child.try_wait().expect("the daemon's state is known") {
                Some(ended) => break Some(ended),
                None if started.elapsed() > crate::common::DEADLINE => break None,
                None => std::thread::park_timeout(std::time::Duration::from_millis(10)),
            }
        };
        if ended.is_none() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
        let told = std::fs::read_to_string(&log).expect("it says something");
        let ended = ended.unwrap_or_else(|| panic!("{} serves with an old disk:\n{told}", name(host)));
        assert!(!ended.success(), "{told}");
        told
    }

    pub(crate) fn kill(&mut self, host: usize) {
        self.running[host].take().expect("the host runs").kill();
    }

    pub(crate) fn stop(&mut self, host: usize) {
        assert!(self.running[host].take().expect("the host runs").stop().success(), "{}", name(host));
    }

    pub(crate) fn signal(&self, host: usize, signal: rustix::process::Signal) {
        let pid = self.running[host].as_ref().expect("the host runs").pid();
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("the daemon runs");
    }

    /// One request from beside the host.
    pub(crate) fn call(&self, host: usize, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{REST}/api/v1/{path}");
        self.lan.inside(host, || call(&url, method, &[], body.map(ToString::to_string)))
    }

    pub(crate) fn is_ready(&self, host: usize) -> bool {
        self.lan.inside(host, || call(&format!("http://127.0.0.1:{REST}/ready"), "GET", &[], None)).0 == 200
    }

    /// Shards that are not where they should be, as this host sees it.
    pub(crate) fn misplaced(&self, host: usize) -> usize {
        let ring = self.get(host, "hashring");
        let pools = ring["pools"].as_array().expect("pools").iter();
        pools
            .flat_map(|pool| pool["shards"].as_array().expect("shards"))
            .filter(|shard| shard["owner"] != shard["wished"])
            .count()
    }

    pub(crate) fn get(&self, host: usize, path: &str) -> Value {
        let (status, answer) = self.call(host, "GET", path, None);
        assert_eq!(status, 200, "{}: {path}: {answer}", name(host));
        answer
    }

    /// Until it is decided: what may be asked again is.
    pub(crate) fn order(&self, host: usize, path: &str, body: &Value) -> Value {
        wait_for(path, || match self.call(host, "POST", path, Some(body)) {
            (200 | 201, answer) => Some(answer),
            (503, _) => None,
            (status, answer) => panic!("{}: {path}: {status} {answer}", name(host)),
        })
    }

    /// Hosts start, and the first forms the cluster that the others join.
    pub(crate) fn form(&mut self, count: usize) {
        for host in 0..count {
            self.start(host);
        }
        self.order(0, "cluster/init", &json!({}));
        for host in 1..count {
            self.order(host, "cluster/join", &json!({}));
        }
        self.await_all();
    }

    pub(crate) fn members(&self, host: usize) -> Vec<Value> {
        self.get(host, "cluster/status")["members"].as_array().expect("members").clone()
    }

    fn member(&self, seen_by: usize, host: usize) -> Value {
        let members = self.members(seen_by);
        members.into_iter().find(|member| member["node_id"] == name(host).as_str()).expect("a member")
    }

    pub(crate) fn shards(&self, host: usize, other: usize) -> u64 {
        self.member(host, other)["shards"].as_u64().expect("a number")
    }

    /// Whether a host was given up, and what it had by leases is others'.
    pub(crate) fn is_given_up(&self, seen_by: usize, host: usize) -> bool {
        let found = self.member(seen_by, host);
        found["deposed"] == true && found["shards"] == found["escrow"]
    }

    /// Whether a host renews its node lease and has shards by it.
    pub(crate) fn has_leases(&self, seen_by: usize, host: usize) -> bool {
        let found = self.member(seen_by, host);
        found["deposed"] == false && found["shards"].as_u64() > found["escrow"].as_u64()
    }

    /// Waits until all that run see each other and know who leads.
    pub(crate) fn await_all(&self) {
        let up = self.up();
        for host in &up {
            wait_for("all hosts see each other", || {
                let status = self.get(*host, "cluster/status");
                let members = status["members"].as_array()?;
                let reached = members.iter().filter(|member| member["reachable"] == true).count();
                (members.len() == up.len() && reached == up.len() && status["ledger"]["leader"].is_number())
                    .then_some(())
            });
        }
    }

    /// What a host knows of each host's operations, by the host's identity.
    pub(crate) fn vector(&self, host: usize) -> BTreeMap<String, u64> {
        let status = self.get(host, "cluster/status");
        let origins = status["vector"].as_array().expect("a vector");
        let known = origins.iter().map(|origin| {
            let host = origin["host"].as_str().expect("text").to_owned();
            (format!("{host}/{}", origin["incarnation"]), origin["through"].as_u64().expect("a number"))
        });
        known.collect()
    }

    pub(crate) fn listing(&self, host: usize) -> Listing {
        let before = self.vector(host);
        let at_ms = boot_ms();
        let mut held = Held::new();
        let mut path = "allocations?limit=1000".to_owned();
        loop {
            let page = self.get(host, &path);
            let text = |row: &Value, name: &str| row[name].as_str().expect("text").to_owned();
            for row in page["allocations"].as_array().expect("rows") {
                let whose = (text(row, "pool_id"), text(row, "subscriber_id"));
                held.entry(whose).or_default().push(text(row, "resource"));
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("allocations?limit=1000&cursor={cursor}"),
                None => return Listing { held, vector: before, at_ms },
            }
        }
    }

    pub(crate) fn metric(&self, host: usize, line: &str) -> Option<f64> {
        let url = format!("http://127.0.0.1:{METRICS}/metrics");
        let text = self.lan.inside(host, || call(&url, "GET", &[], None)).1;
        let text = text.as_str().expect("metrics are text").to_owned();
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.logs.disable_cleanup(true);
        }
    }
}

pub(crate) fn name(host: usize) -> String {
    format!("core-{}", host + 1)
}
