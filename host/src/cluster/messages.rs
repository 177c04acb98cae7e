//! What hosts say to each other, apart from the ledger's own log. The form is postcard's; a change of it is another version
//! of the channel.

use api::engine::Outcome;
use kernel::ledger::HostRole;
use kernel::{Batch, ClusterId, Command, Fingerprint, Leg, MemberId, NodeId, Origin, Seq, SnapshotPart};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Vector;

/// Most requests in one message.
pub(super) const CALLS: usize = 64;

/// Between hosts that may not know each other yet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HelloAsk {
    Who,
    /// May I be a member?
    Join {
        node: NodeId,
        origin: Origin,
        addresses: Vec<String>,
        role: HostRole,
        weight: u32,
        at_ms: u64,
    },
    /// How far do you know this log?
    Known {
        origin: Origin,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HelloAnswer {
    /// `seat`: which cluster it is in, and as whom.
    Who {
        node: NodeId,
        origin: Origin,
        seat: Option<(ClusterId, MemberId)>,
    },
    /// With whom the newcomer should speak.
    Welcome {
        cluster: ClusterId,
        member: MemberId,
        peers: Vec<(String, Vec<String>)>,
    },
    /// Why not, and what would help.
    Refused(String),
    /// Ask again later: why not now.
    NotNow(String),
    Known {
        through: Seq,
    },
}

/// About facts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum StateAsk {
    /// What do you have that I have not?
    Pull {
        vector: Vector,
        /// What the asker knows, as it last looked.
        fingerprint: Option<Fingerprint>,
    },
    /// How far do you know each log?
    Look,
    /// What do you know? From the beginning, or from where the last answer ended.
    Snapshot {
        cursor: Option<Cursor>,
        /// From the beginning: what it must cover, or the asker would forget.
        known: Vector,
    },
    /// What I wrote last: take it in, and say how far you have everything then, on your disk.
    Push(Batch),
}

/// The answer to a push.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PushAnswer {
    pub(super) vector: Vector,
}

/// Where a snapshot goes on; for the host that gave it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) table: u64,
    pub(super) after: Vec<u8>,
    pub(super) passed: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SnapshotAnswer {
    /// `passed` of `total` operations were looked at. Without `next` it is the last part.
    Part { part: SnapshotPart, next: Option<Cursor>, passed: u64, total: u64 },
    /// The checkpoint is gone: again from the beginning.
    Restart,
    /// Ask again later: why not now.
    NotYet(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StateAnswer {
    pub(super) batches: Vec<Batch>,
    /// There is more.
    pub(super) more: bool,
    pub(super) vector: Vector,
    /// Up to which entry of the ledger the kernel was told everything.
    pub(super) told: u64,
    /// Of these the log does not reach back so far.
    pub(super) gone: Vec<Origin>,
}

/// Requests that another host must decide.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RouteAsk {
    pub(super) calls: Vec<(Leg, Command)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RouteAnswer {
    pub(super) outcomes: Vec<Outcome>,
    /// Whose operations the outcomes are, and up to which they are in.
    pub(super) origin: Origin,
    pub(super) through: Seq,
}

/// Reads a message; the error says what is wrong with it.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    postcard::from_bytes(bytes).map_err(|why| format!("the message cannot be read: {why}"))
}

pub(super) fn write<T: Serialize>(message: &T) -> bytes::Bytes {
    postcard::to_stdvec(message).expect("a message has a form on the wire").into()
}
