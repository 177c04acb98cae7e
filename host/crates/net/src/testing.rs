//! Hosts for tests: real swarms on loopback, with times shortened where a test must outlast them.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use crate::limits::Timing;
use crate::{Channel, Net, NetEvent, NetEvents, NetSettings, PeerId, RequestError, Response};

/// How long a test waits for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const KEY: &str = "correct horse battery staple";

pub(crate) struct Host {
    pub(crate) net: Net,
    pub(crate) events: NetEvents,
}

/// Redials at once, bans briefly.
pub(crate) fn quick() -> Timing {
    Timing { redial_first: Duration::from_millis(20), redial_most: Duration::from_millis(100), ..Timing::default() }
}

pub(crate) fn settings(dir: &Path, peers: &[String]) -> NetSettings {
    NetSettings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
        cluster_key: Some(KEY.parse().unwrap()),
        data_dir: dir.to_path_buf(),
        process: rand::random(),
        majors: vec![1],
        agent: "nexus/test".to_owned(),
    }
}

impl Host {
    pub(crate) async fn start(settings: NetSettings) -> Self {
        Self::start_with(settings, quick()).await
    }

    pub(crate) async fn start_with(settings: NetSettings, timing: Timing) -> Self {
        let (net, events) = Net::start_with(settings, timing).await.unwrap();
        Self { net, events }
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.net.local_peer()
    }

    pub(crate) fn address(&self) -> String {
        self.net.local_addresses().remove(0)
    }

    /// The port that is listened on, for a plain connection.
    pub(crate) fn port(&self) -> u16 {
        self.address().rsplit('/').next().unwrap().parse().unwrap()
    }

    pub(crate) async fn next(&mut self) -> NetEvent {
        tokio::time::timeout(DEADLINE, self.events.next()).await.expect("an event in time").expect("still running")
    }

    /// Waits for the event that is wanted, and leaves out what comes before.
    pub(crate) async fn wait<T>(&mut self, mut wanted: impl FnMut(NetEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next().await) {
                return found;
            }
        }
    }

    pub(crate) async fn wait_for(&mut self, wanted: PeerId) -> (Vec<String>, String) {
        self.wait(|event| match event {
            NetEvent::Connected { peer, addresses, agent } if peer == wanted => Some((addresses, agent)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn wait_without(&mut self, wanted: PeerId) {
        self.wait(|event| matches!(event, NetEvent::Disconnected { peer } if peer == wanted).then_some(())).await;
    }

    pub(crate) async fn ask(
        &self,
        to: PeerId,
        channel: Channel,
        body: &'static [u8],
    ) -> Result<Response, RequestError> {
        self.net.request(to, channel, Bytes::from_static(body), DEADLINE).await
    }

    /// Answers every request with its own body, for as long as the network runs. Gives the handle back.
    pub(crate) fn echo(self) -> Net {
        let Self { net, mut events } = self;
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let NetEvent::Request { body, reply, .. } = event {
                    reply.reply(body);
                }
            }
        });
        net
    }
}

/// Two hosts that found and allowed each other.
pub(crate) async fn two() -> (Host, Host, TempDir, TempDir) {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut one = Host::start(settings(one_dir.path(), &[])).await;
    let mut two = Host::start(settings(two_dir.path(), &[one.address()])).await;
    meet(&mut one, &mut two).await;
    (one, two, one_dir, two_dir)
}

pub(crate) async fn meet(one: &mut Host, two: &mut Host) {
    one.wait_for(two.peer()).await;
    two.wait_for(one.peer()).await;
    one.net.allow(two.peer());
    two.net.allow(one.peer());
    // Both ends have opened the gate once a request passed each way.
    let (to_one, to_two) = (one.peer(), two.peer());
    pass(one, two, to_two).await;
    pass(two, one, to_one).await;
}

async fn pass(from: &mut Host, to: &mut Host, peer: PeerId) {
    let answer = async {
        let reply = to
            .wait(|event| match event {
                NetEvent::Request { reply, .. } => Some(reply),
                _ => None,
            })
            .await;
        reply.reply(Bytes::new());
    };
    let ask = until(async || from.ask(peer, Channel::State, b"").await.ok());
    tokio::join!(ask, answer);
}

/// Repeats until there is something, within the deadline.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(mut attempt: impl FnMut() -> F) -> T {
    let repeat = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, repeat).await.expect("the state in time")
}
