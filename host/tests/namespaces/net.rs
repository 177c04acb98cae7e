//! Network namespaces: one for each host, and one with the bridge that joins them.
//!
//! They are named `nexus-test-<process>-<what>`, so runs do not meet, and a run that died without tidying up is recognised by
//! the next one, which does it.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Output};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const PREFIX: &str = "nexus-test-";

const P2P: u16 = 33_123;
const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Where `ip netns` keeps them.
const FOLDER: &str = "/run/netns";

/// The hosts' namespaces; gone when dropped, and what still runs in them with them.
#[derive(Debug)]
pub(crate) struct Lan {
    /// What all its names begin with.
    prefix: String,
    hosts: usize,
}

/// The address of a host, counted from 0.
pub(crate) fn address(host: usize) -> String {
    format!("10.77.0.{}", host + 1)
}

impl Lan {
    /// Fails with what is missing where there can be none.
    pub(crate) fn lay(hosts: usize) -> Self {
        assert!(
            Command::new("ip").arg("-V").output().is_ok_and(|output| output.status.success()),
            "this needs network namespaces, and the command `ip` is missing: apt-get install iproute2"
        );
        assert!(
            rustix::process::geteuid().is_root(),
            "this needs network namespaces, and only root may make them: run it as root"
        );
        tidy();
        let lan = Self { prefix: format!("{PREFIX}{}-", std::process::id()), hosts };
        let switch = lan.switch();
        if let Err(why) = ip(&["netns", "add", &switch]) {
            panic!(
                "this needs network namespaces, and this machine makes none ({why}): the kernel must have them \
                 (CONFIG_NET_NS), and a container needs CAP_SYS_ADMIN and CAP_NET_ADMIN"
            );
        }
        need(&["-n", &switch, "link", "add", "bridge", "type", "bridge"]);
        need(&["-n", &switch, "link", "set", "bridge", "up"]);
        for host in 0..hosts {
            let (space, port) = (lan.space(host), port(host));
            need(&["netns", "add", &space]);
            need(&["-n", &space, "link", "set", "lo", "up"]);
            need(&["-n", &space, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", &switch]);
            need(&["-n", &space, "address", "add", &format!("{}/24", address(host)), "dev", "eth0"]);
            need(&["-n", &space, "link", "set", "eth0", "up"]);
            need(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"]);
        }
        lan
    }

    /// What a host is told of the others.
    pub(crate) fn flags(&self, host: usize) -> Vec<String> {
        let others = (0..self.hosts).filter(|other| *other != host);
        let peers: Vec<String> = others.map(|other| format!("{}:{P2P}", address(other))).collect();
        let (port, peers) = (P2P.to_string(), peers.join(","));
        ["--p2p-listen", &address(host), "--p2p-port", &port, "--peers", &peers, "--cluster-key", KEY]
            .map(str::to_owned)
            .to_vec()
    }

    fn switch(&self) -> String {
        format!("{}switch", self.prefix)
    }

    pub(crate) fn space(&self, host: usize) -> String {
        format!("{}{host}", self.prefix)
    }

    /// Runs on a thread of its own inside a host's namespace: its sockets are there, and so are processes it starts.
    pub(crate) fn inside<T: Send>(&self, host: usize, run: impl FnOnce() -> T + Send) -> T {
        let place = Path::new(FOLDER).join(self.space(host));
        let ran = std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let entry = File::open(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
                move_into_link_name_space(entry.as_fd(), Some(LinkNameSpaceType::Network)).expect("it may be entered");
                run()
            });
            inside.join()
        });
        ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Nothing gets from or to this host any more.
    pub(crate) fn cut(&self, host: usize) {
        need(&["-n", &self.switch(), "link", "set", &port(host), "down"]);
    }

    pub(crate) fn mend(&self, host: usize) {
        need(&["-n", &self.switch(), "link", "set", &port(host), "up"]);
    }

    /// What the one sends to the other is lost; the other way is open.
    pub(crate) fn cut_one_way(&self, from: usize, to: usize) {
        need(&["-n", &self.space(from), "route", "add", "blackhole", &address(to)]);
    }

    pub(crate) fn mend_one_way(&self, from: usize, to: usize) {
        need(&["-n", &self.space(from), "route", "del", "blackhole", &address(to)]);
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in 0..self.hosts {
            remove(&self.space(host));
        }
        remove(&self.switch());
    }
}

/// The bridge's end of a host's cable.
fn port(host: usize) -> String {
    format!("port{host}")
}

/// Removes what test processes left that no longer run.
fn tidy() {
    let Ok(spaces) = std::fs::read_dir(FOLDER) else { return };
    for space in spaces.flatten() {
        let name = space.file_name().to_string_lossy().into_owned();
        let of = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).map(str::to_owned);
        if of.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            remove(&name);
        }
    }
}

/// With the processes in it: only what these tests start is ever there.
fn remove(space: &str) {
    let inside = ip(&["netns", "pids", space]).unwrap_or_default();
    for pid in inside.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)) {
        // It may have ended meanwhile.
        let _ended = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    // It may not have been made, or be gone.
    let _gone = ip(&["netns", "del", space]);
}

fn ip(arguments: &[&str]) -> Result<String, String> {
    match Command::new("ip").args(arguments).output() {
        Ok(Output { status, stdout, .. }) if status.success() => Ok(String::from_utf8_lossy(&stdout).into_owned()),
        Ok(Output { stderr, .. }) => Err(String::from_utf8_lossy(&stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn need(arguments: &[&str]) {
    if let Err(why) = ip(arguments) {
        panic!("`ip {}` failed: {why}", arguments.join(" "));
    }
}
