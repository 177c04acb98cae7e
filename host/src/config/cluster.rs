//! What this host is to other hosts: where it listens for them, whom it looks for, and the secret they share.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::value::items;
use super::{Origin, Raw};

/// Largest weight of a host.
const MOST_WEIGHT: u32 = 1_000;

/// Most addresses to listen on, and most peers.
const MOST_LISTEN: usize = 16;
const MOST_PEERS: usize = 1_024;

/// Longest peer address, in bytes.
const MOST_PEER: usize = 512;

/// What a cluster key may have: characters at least, bytes at most.
const KEY_CHARACTERS: usize = 16;
const KEY_BYTES: usize = 4_096;

const PEERS: &str = "a list of at most 1024 peers, each as HOST:PORT, dns:NAME:PORT (every address of the name is a host), \
                     or /ip4/IP/tcp/PORT";

const KEY: &str = "16 characters to 4096 bytes, best 64 hexadecimal digits at random (openssl rand -hex 32)";

/// What a host does in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostRole {
    /// Everything; its vote counts.
    Core,
    /// Hands out, and does not vote.
    Write,
    /// Answers look-ups only.
    Read,
}

/// A secret. Shows itself to nobody by accident.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret itself, for whoever needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// A cluster key, without the white space around it: files end in a line feed.
    fn cluster_key(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = text.chars().count() >= KEY_CHARACTERS && text.len() <= KEY_BYTES;
        fits.then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where the cluster key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClusterKey {
    Given(Secret),
    File(PathBuf),
}

/// Why a cluster key file cannot be used. Never holds what is in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} has mode {mode:03o}: every user of this machine can read it; chmod 600 it, or 640 for a group of its own", path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("{} does not hold {KEY}", path.display())]
    Unusable { path: PathBuf },
}

impl ClusterKey {
    /// The key; reads the file if it is in one.
    pub(crate) fn read(&self) -> Result<Secret, KeyFileError> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path) => read_file(path),
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, KeyFileError> {
    let unreadable = |source| KeyFileError::Unreadable { path: path.to_owned(), source };
    let about = std::fs::metadata(path).map_err(unreadable)?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o004 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    let unusable = || KeyFileError::Unusable { path: path.to_owned() };
    // A device or a pipe has no length, and might never end.
    if !about.is_file() || about.len() > KEY_BYTES as u64 {
        return Err(unusable());
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).ok().as_deref().and_then(Secret::cluster_key).ok_or_else(unusable)
}

/// How this host finds and hears other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct P2p {
    /// Where it listens for other hosts, if it has peers.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where other hosts may be found. None: this host is alone.
    pub(crate) peers: Vec<String>,
    pub(crate) cluster_key: Option<ClusterKey>,
    /// How often what another host may have missed is told again.
    pub(crate) rebroadcast_interval: Duration,
}

/// This host's part in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) role: HostRole,
    /// How much it owns compared to other hosts.
    pub(crate) weight: NonZeroU32,
    /// How long it may hand out of leased shards without hearing from the ledger.
    pub(crate) node_lease: Duration,
    /// How much longer others wait before its leased shards are theirs.
    pub(crate) lease_grace: Duration,
    /// Points on the hashring of a host of weight 1.
    pub(crate) virtual_nodes: u32,
    /// How long a request may wait for other hosts.
    pub(crate) response_deadline: Duration,
}

impl Raw {
    pub(super) fn part(&mut self) -> Option<Part> {
        let role = self.role();
        let weight = self.get("node.weight", "a whole number from 1 to 1000", |text| {
            text.parse().ok().filter(|weight: &NonZeroU32| weight.get() <= MOST_WEIGHT)
        });
        let node_lease = self.duration_within("cluster.node_lease", "a time from 5s to 1h", 5_000, 3_600_000);
        let lease_grace = self.duration_within("cluster.lease_grace", "a time from 1s to 1h", 1_000, 3_600_000);
        let virtual_nodes = self.get("cluster.virtual_nodes", "a whole number from 1 to 2048", |text| {
            text.parse().ok().filter(|count| (1..=2_048).contains(count))
        });
        let response_deadline =
            self.duration_within("cluster.response_deadline", "a time from 100ms to 1m", 100, 60_000);
        Some(Part {
            role: role?,
            weight: weight?,
            node_lease: node_lease?,
            lease_grace: lease_grace?,
            virtual_nodes: virtual_nodes?,
            response_deadline: response_deadline?,
        })
    }

    fn role(&mut self) -> Option<HostRole> {
        let text = self.text("node.role")?;
        let what = match text.as_str() {
            "core" => return Some(HostRole::Core),
            "write" => return Some(HostRole::Write),
            "read" => return Some(HostRole::Read),
            "edge" => "\"edge\" is not there yet; possible are core, write and read".to_owned(),
            other => format!("{other:?} is not a role (core, write or read)"),
        };
        self.fault(&self.place("node.role"), what);
        None
    }

    pub(super) fn p2p(&mut self, host: Option<IpAddr>, port: Option<u16>) -> Option<P2p> {
        let peers = self.get("p2p.peers", PEERS, peers).unwrap_or_default();
        let listen = if self.values.contains_key("p2p.listen") {
            let wanted = "at most 16 addresses such as 192.0.2.1, 192.0.2.1:33123 or [2001:db8::1]:33123";
            self.get("p2p.listen", wanted, |text| listen(text, port?))
        } else {
            host.zip(port).map(|(host, port)| vec![SocketAddr::new(host, port)])
        };
        let cluster_key = self.cluster_key();
        let wanted = "a time from 100ms to 1h";
        let rebroadcast_interval = self.duration_within("p2p.rebroadcast_interval", wanted, 100, 3_600_000);
        Some(P2p { listen: listen?, peers, cluster_key, rebroadcast_interval: rebroadcast_interval? })
    }

    /// Faults never repeat the key: what is misspelt may still be most of a secret.
    fn cluster_key(&mut self) -> Option<ClusterKey> {
        let file = self.path("p2p.cluster_key_file").map(ClusterKey::File);
        let Some(text) = self.text("p2p.cluster_key") else { return file };
        let place = self.place("p2p.cluster_key");
        if file.is_some() {
            self.fault(&place, "is set beside p2p.cluster_key_file; set one of them".to_owned());
            return None;
        }
        if matches!(self.values.get("p2p.cluster_key"), Some((_, Origin::File { .. }))) {
            self.warn_of_an_open_file(&place);
        }
        let key = Secret::cluster_key(&text);
        if key.is_none() {
            self.fault(&place, format!("is no cluster key: it needs {KEY}"));
        }
        key.map(ClusterKey::Given)
    }

    fn warn_of_an_open_file(&mut self, place: &str) {
        let open = std::fs::metadata(&self.file).is_ok_and(|about| about.permissions().mode() & 0o004 != 0);
        if open {
            self.warnings.push(format!("{place} stands in a file that every user can read: use p2p.cluster_key_file"));
        }
    }

    /// What each setting may be only beside others.
    pub(super) fn check_cluster(&mut self, part: &Part, p2p: &P2p) {
        if p2p.peers.is_empty() {
            if part.role != HostRole::Core {
                let what = "must be core on a host without p2p.peers: it does everything";
                self.fault(&self.place("node.role"), what.to_owned());
            }
            return;
        }
        let open = p2p.listen.iter().find(|address| !address.ip().is_loopback());
        // A fault of the key itself was told already.
        let told = self.values.contains_key("p2p.cluster_key") || self.values.contains_key("p2p.cluster_key_file");
        if let (Some(open), false) = (open, told) {
            let what = format!(
                "is missing: with p2p.peers this host listens on {open}, where whoever connects could speak as a host; put \
                 one secret into a file on every host (openssl rand -hex 32) and set p2p.cluster_key_file, or set \
                 p2p.listen to loopback"
            );
            self.fault("p2p.cluster_key", what);
        }
    }

    fn text(&self, path: &'static str) -> Option<String> {
        self.values.get(path).map(|(text, _)| text.clone())
    }

    fn duration_within(&mut self, path: &'static str, wanted: &str, least_ms: u128, most_ms: u128) -> Option<Duration> {
        self.get(path, wanted, |text| {
            super::duration(text).filter(|time| (least_ms..=most_ms).contains(&time.as_millis()))
        })
    }
}

fn peers(text: &str) -> Option<Vec<String>> {
    let peers: Vec<String> = items(text).map(str::to_owned).collect();
    (peers.len() <= MOST_PEERS && peers.iter().all(|peer| is_peer(peer))).then_some(peers)
}

/// Whether it has the shape of a peer's address; whoever dials it reads it in full.
fn is_peer(text: &str) -> bool {
    if text.len() > MOST_PEER || text.chars().any(|one| one.is_control() || one.is_whitespace()) {
        return false;
    }
    let port = |text: &str| text.parse::<u16>().is_ok_and(|port| port != 0);
    if let Some(parts) = text.strip_prefix('/') {
        let parts: Vec<&str> = parts.split('/').collect();
        return match parts.as_slice() {
            ["ip4" | "ip6" | "dns" | "dns4" | "dns6", host, "tcp", at]
            | ["ip4" | "ip6" | "dns" | "dns4" | "dns6", host, "tcp", at, "p2p", _] => !host.is_empty() && port(at),
            _ => false,
        };
    }
    let text = text.strip_prefix("dns:").unwrap_or(text);
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address.port() != 0 && !address.ip().is_unspecified();
    }
    let name = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    text.rsplit_once(':').is_some_and(|(host, at)| name(host) && port(at))
}

fn listen(text: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let read = |item: &str| {
        let bare = item.parse().map(|ip: IpAddr| SocketAddr::new(ip, port));
        bare.or_else(|_| item.parse()).ok()
    };
    let addresses: Vec<SocketAddr> = items(text).map(read).collect::<Option<_>>()?;
    (1..=MOST_LISTEN).contains(&addresses.len()).then_some(addresses)
}
