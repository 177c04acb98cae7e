//! A member's place in the cluster: which cluster, which number, and its part of the replicated log.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use consensus::{Call, Consensus, Peer, ProposeError, Transport, Unreachable};
use kernel::ledger::{LedgerCommand, LedgerEntry, LedgerReply};
use kernel::{ClusterId, CommandId, MemberId};
use net::{Channel, Net, PeerId};
use serde::{Deserialize, Serialize};

use super::book::{Book, Decision, read_entry};
use super::{Cluster, random};

pub(crate) const FILE: &str = "membership.json";
const LEDGER: &str = "ledger";

/// Kept in the data directory from the moment a host became a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    pub(super) format: u32,
    pub(crate) cluster: ClusterId,
    pub(super) member: MemberId,
}

impl Membership {
    const FORMAT: u32 = 1;

    pub(super) const fn new(cluster: ClusterId, member: MemberId) -> Self {
        Self { format: Self::FORMAT, cluster, member }
    }
}

/// What the data directory says; `None`: its host never was a member.
pub(crate) fn read(dir: &Path) -> anyhow::Result<Option<Membership>> {
    let path = dir.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let found: Membership = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} is damaged; without it nobody knows which member this host is: put it back from a backup",
            path.display()
        )
    })?;
    if found.format != Membership::FORMAT {
        bail!("{} has format {}, this version reads {}", path.display(), found.format, Membership::FORMAT);
    }
    Ok(Some(found))
}

/// Whether the data directory is a cluster member's.
pub(crate) fn is_member(dir: &Path) -> bool {
    dir.join(FILE).exists()
}

/// Replaces a small file so that a crash leaves the old or the new one.
pub(crate) fn replace(dir: &Path, name: &str, content: &[u8]) -> anyhow::Result<()> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// A member's part in the cluster.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) cluster: ClusterId,
    pub(super) me: MemberId,
    pub(super) consensus: Consensus,
    pub(super) book: Arc<Book>,
}

/// Why the ledger decided nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Undecided {
    /// Nothing was written.
    #[error("{0}")]
    Unavailable(String),
    /// It may have been written; the same command id tells.
    #[error("{0}")]
    Unknown(String),
}

impl Seat {
    /// Opens this member's part of the log. Written down first, so that a crash never leaves a log whose member nobody knows.
    pub(super) async fn take(cluster: &Cluster, membership: Membership) -> anyhow::Result<Self> {
        let settings = &cluster.inner.settings;
        if read(&settings.data_path)? != Some(membership) {
            let text = serde_json::to_vec_pretty(&membership).context("membership has no text")?;
            replace(&settings.data_path, FILE, &text)?;
        }
        let book = Book::new(membership.cluster);
        let transport = Arc::new(Wire(cluster.inner.net.clone()));
        let dir = settings.data_path.join(LEDGER);
        let me = u64::from(membership.member.0);
        let admits = |entry: &[u8]| read_entry(entry).map(drop);
        let log = consensus::Settings { admits, ..settings.consensus.clone() };
        let consensus = Consensus::open(&dir, me, log, book.machine(), transport)
            .await
            .context("the ledger's log cannot be opened")?;
        Ok(Self { cluster: membership.cluster, me: membership.member, consensus, book })
    }

    /// Opens this member's part of the log again after it ended by itself: a write failed for want of space, say. It is found as a
    /// start of the daemon would find it, and all else goes on meanwhile.
    pub(super) async fn retake(&self, cluster: &Cluster) -> anyhow::Result<Self> {
        self.consensus.stop().await;
        Self::take(cluster, Membership::new(self.cluster, self.me)).await
    }

    /// What the ledger makes of a command; a command whose fate is unknown is asked about again under its own id.
    pub(super) async fn decide(&self, command: LedgerCommand, within: Duration) -> Result<Decision, Undecided> {
        let id = random::<16>().map_err(|why| Undecided::Unavailable(why.to_string()))?;
        let entry = LedgerEntry { id: CommandId(u128::from_le_bytes(id)), command };
        let bytes = super::messages::write(&entry).to_vec();
        let until = tokio::time::Instant::now() + within;
        let mut unknown: Option<String> = None;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let error = match self.consensus.propose(bytes.clone(), left).await {
                Ok(outcome) => {
                    let decision: Result<Decision, String> =
                        postcard::from_bytes(&outcome.bytes).unwrap_or_else(|why| Err(why.to_string()));
                    return decision.map_err(Undecided::Unavailable);
                }
                Err(error) => error,
            };
            if error.outcome_unknown() {
                unknown = Some(error.to_string());
            }
            let again = match &error {
                ProposeError::NoLeader | ProposeError::LeaderLost { .. } | ProposeError::NoMajority { .. } => true,
                ProposeError::TimedOut | ProposeError::Refused { .. } | ProposeError::Stopped { .. } => false,
            };
            let pause = Duration::from_millis(100);
            if !again || left <= pause {
                return Err(match unknown {
                    Some(why) => Undecided::Unknown(why),
                    None => Undecided::Unavailable(error.to_string()),
                });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The same, for a command that is refused only by mistake.
    pub(super) async fn carry_out(&self, command: LedgerCommand, within: Duration) -> anyhow::Result<LedgerReply> {
        Ok(self.decide(command, within).await??)
    }

    /// Whether this host leads the ledger.
    pub(super) fn leads(&self) -> bool {
        self.consensus.state().leader == Some(u64::from(self.me.0))
    }

    /// Whether the ledger, as far as it is known here, does not list this host any more.
    pub(super) fn is_removed(&self) -> bool {
        let ledger = self.book.ledger();
        ledger.last_index() > 0 && ledger.member(self.me).is_none()
    }

    /// Who votes now, by the log as it is known here; while voters change, those of before and after.
    pub(super) fn voters(&self) -> BTreeSet<MemberId> {
        members(&self.consensus.state().voters)
    }

    /// Who a member is on the network.
    pub(super) fn peer_of(&self, member: MemberId) -> Option<PeerId> {
        self.book.ledger().member(member)?.peer.parse().ok()
    }

    /// Which member a peer is.
    pub(super) fn member_of(&self, peer: PeerId) -> Option<MemberId> {
        let peer = peer.to_string();
        self.book.ledger().members().values().find(|member| member.peer == peer).map(|member| member.id)
    }
}

/// The numbers by which the ledger knows those that take part in its log.
pub(super) fn members(peers: &[Peer]) -> BTreeSet<MemberId> {
    peers.iter().filter_map(|peer| Some(MemberId(u32::try_from(peer.member).ok()?))).collect()
}

/// Carries the log's messages.
#[derive(Debug)]
struct Wire(Net);

impl Transport for Wire {
    fn call(&self, to: Peer, body: Vec<u8>, within: Duration) -> Call {
        let net = self.0.clone();
        Box::pin(async move {
            let peer: PeerId = to.address.parse().map_err(|why| unreachable(&why))?;
            let response = net.request(peer, Channel::Ledger, Bytes::from(body), within).await;
            response.map(|response| response.body.to_vec()).map_err(|why| unreachable(&why))
        })
    }
}

fn unreachable(why: &dyn std::fmt::Display) -> Unreachable {
    Unreachable { why: why.to_string() }
}
