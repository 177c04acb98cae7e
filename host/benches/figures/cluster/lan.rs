//! Hosts of a cluster, each in a network namespace of its own, and clients beside each of them.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use crate::common::{Daemon, Start, directory, wait_for};
use crate::load::connections;
use crate::net::Lan;

/// A host, running or not, and the clients beside it.
#[derive(Debug)]
struct Place {
    daemon: Option<Daemon>,
    directory: TempDir,
    /// Its threads are in the host's namespace, and so are the sockets that they open.
    clients: Runtime,
}

/// Hosts and what joins them. The daemons end before their namespaces do.
#[derive(Debug)]
pub(crate) struct Cluster {
    places: Vec<Place>,
    pub(crate) lan: Lan,
}

impl Cluster {
    /// Lays the network for so many hosts; none runs yet.
    pub(crate) fn laid(count: usize) -> anyhow::Result<Self> {
        let lan = Lan::lay(count);
        let place = |host| {
            let clients = lan
                .inside(host, || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build())?;
            anyhow::Ok(Place { daemon: None, directory: directory(), clients })
        };
        let places = (0..count).map(place).collect::<anyhow::Result<_>>()?;
        Ok(Self { places, lan })
    }

    pub(crate) fn start(&mut self, host: usize) -> anyhow::Result<()> {
        let flags = self.lan.flags(host);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let place = self.places.get_mut(host).context("a host")?;
        let start = Start::on(place.directory.path()).named(&name(host)).with(&flags).with(&["--log-level", "error"]);
        place.daemon = Some(self.lan.inside(host, || start.run()));
        Ok(())
    }

    /// The first `count` hosts start, and the first forms the cluster that the others join.
    pub(crate) fn form(&mut self, count: usize) -> anyhow::Result<()> {
        for host in 0..count {
            self.start(host)?;
        }
        self.post(0, "/api/v1/cluster/init", &json!({}))?;
        for host in 1..count {
            self.post(host, "/api/v1/cluster/join", &json!({}))?;
        }
        Ok(())
    }

    /// Makes a pool, and waits until its shards are where they are to live and every host that runs has it.
    pub(crate) fn pool(&self, pool: &Value) -> anyhow::Result<()> {
        self.post(0, "/api/v1/pools", pool)?;
        let id = pool["id"].as_str().context("an id")?;
        for host in self.up() {
            let path = format!("/api/v1/pools/{id}");
            wait_for("every host has the pool", || (self.call(host, "GET", &path, None).ok()?.0 == 200).then_some(()));
        }
        wait_for("every shard is where it should be", || self.is_settled(0).ok()?.then_some(()));
        Ok(())
    }

    pub(crate) fn up(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|host| self.daemon(*host).is_ok()).collect()
    }

    pub(crate) fn kill(&mut self, host: usize) -> anyhow::Result<()> {
        self.places.get_mut(host).and_then(|place| place.daemon.take()).context("the host runs")?.kill();
        Ok(())
    }

    fn daemon(&self, host: usize) -> anyhow::Result<&Daemon> {
        self.places.get(host).and_then(|place| place.daemon.as_ref()).context("the host runs")
    }

    /// One request from beside the host.
    pub(crate) fn call(
        &self,
        host: usize,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let daemon = self.daemon(host)?;
        Ok(self.lan.inside(host, || daemon.call(method, path, body)))
    }

    pub(crate) fn get(&self, host: usize, path: &str) -> anyhow::Result<Value> {
        let (status, answer) = self.call(host, "GET", path, None)?;
        anyhow::ensure!(status == 200, "{path}: {status} {answer}");
        Ok(answer)
    }

    pub(crate) fn post(&self, host: usize, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, answer) = self.call(host, "POST", path, Some(body))?;
        anyhow::ensure!(matches!(status, 200 | 201), "{path}: {status} {answer}");
        Ok(answer)
    }

    pub(crate) fn ring(&self, host: usize) -> anyhow::Result<Vec<Value>> {
        let ring = self.get(host, "/api/v1/hashring")?;
        Ok(ring["pools"].as_array().context("pools")?.clone())
    }

    /// Whether all shards are where they should be, and in use.
    pub(crate) fn is_settled(&self, host: usize) -> anyhow::Result<bool> {
        let pools = self.ring(host)?;
        let mut shards = pools.iter().filter_map(|pool| pool["shards"].as_array()).flatten();
        Ok(shards.all(|shard| shard["owner"] == shard["wished"] && shard["state"] == "held"))
    }

    /// A member as a host sees it.
    pub(crate) fn member(&self, host: usize, other: usize) -> anyhow::Result<Value> {
        let status = self.get(host, "/api/v1/cluster/status")?;
        let members = status["members"].as_array().context("members")?;
        members.iter().find(|member| member["node_id"] == name(other)).cloned().context("a member")
    }

    /// Does something beside a host, on that host's network.
    pub(crate) fn beside<T: Send + 'static>(
        &self,
        host: usize,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<Work<T>> {
        Ok(Work(self.places.get(host).context("a host")?.clients.spawn(work)))
    }

    pub(crate) fn grpc(&self, host: usize) -> anyhow::Result<String> {
        Ok(self.daemon(host)?.grpc.clone())
    }

    /// Connections to a host from beside it.
    pub(crate) fn connections(&self, host: usize, count: usize) -> anyhow::Result<Vec<Channel>> {
        self.connect(host, self.grpc(host)?, count)
    }

    /// Connections from beside a host.
    pub(crate) fn connect(&self, host: usize, address: String, count: usize) -> anyhow::Result<Vec<Channel>> {
        self.beside(host, async move { connections(&address, count).await })?.wait()
    }

    /// Bytes that went over the hosts' cables so far, each counted where it arrived.
    pub(crate) fn bytes_arrived(&self) -> anyhow::Result<u64> {
        let mut all = 0;
        for host in self.up() {
            let counter = Path::new("/sys/class/net/eth0/statistics/rx_bytes");
            let read =
                Command::new("ip").args(["netns", "exec", &self.lan.space(host), "cat"]).arg(counter).output()?;
            let text = String::from_utf8(read.stdout)?;
            all += text.trim().parse::<u64>().with_context(|| format!("the counter of {}", name(host)))?;
        }
        Ok(all)
    }
}

/// Something under way beside a host.
#[derive(Debug)]
pub(crate) struct Work<T>(tokio::task::JoinHandle<anyhow::Result<T>>);

impl<T> Work<T> {
    /// What came of it.
    pub(crate) fn wait(self) -> anyhow::Result<T> {
        let waiting = tokio::runtime::Builder::new_current_thread().build()?;
        waiting.block_on(self.0)?
    }
}

pub(crate) fn name(host: usize) -> String {
    format!("core-{}", host + 1)
}
