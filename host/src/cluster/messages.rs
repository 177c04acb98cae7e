//! What hosts say to each other, apart from the ledger's own log. The form is postcard's, which writes neither names nor
//! lengths of what it writes. So this is how it may change while hosts of two adjacent minors work together, the ledger's
//! entries and snapshot included:
//!
//! - A message grows at its very end only. Whoever does not know the end passes over it.
//! - A new kind of question, answer or command is the last one of its enum. A minor first learns to read it; the next minor
//!   sends it. So what is sent is understood one minor below, and a host can go back by one, whatever the log has in it.
//! - The questions and answers of `hello` stay what they are, in any version: by them hosts learn that they are too far apart.
//!
//! Anything else is another major.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use api::engine::Outcome;
use kernel::ledger::{HostRole, Offer};
use kernel::{
    Batch, ClusterId, Command, Fingerprint, Leg, MemberId, NodeId, Origin, ProtocolVersion, Seq, SnapshotPart,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::founding::Blessing;
use super::{SPOKEN, Vector};

/// Most requests in one message.
pub(super) const CALLS: usize = 64;

/// What a host's clocks show, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hour {
    /// Since its process began.
    pub(super) age: u64,
    /// Since 1970, by the clock that leases are written and ended by; `None`: its host does not believe it.
    pub(super) kept: Option<u64>,
    /// How far two hosts' clocks may be apart.
    pub(super) tolerance: u64,
}

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
        protocol: ProtocolVersion,
    },
    /// How far do you know this log?
    Known {
        origin: Origin,
    },
    /// May I form the ledger? I ask all these, too.
    Form {
        node: NodeId,
        asks: Vec<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HelloAnswer {
    /// `seat`: which cluster it is in, and as whom.
    Who {
        node: NodeId,
        origin: Origin,
        seat: Option<(ClusterId, MemberId)>,
        protocol: ProtocolVersion,
        hour: Hour,
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
    Form(Blessing),
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
    /// Give these shards of yours away: somebody asked me to. The answer is a `Result<(), ClusterError>`.
    Give(Offer),
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
    /// Up to which entry of the ledger the kernel was told everything; 0: it has yet to hear what the others know.
    pub(super) told: u64,
    /// Of these the log does not reach back so far.
    pub(super) gone: Vec<Origin>,
    /// With whom the asked host counts majorities.
    pub(super) voters: BTreeSet<MemberId>,
}

/// Requests that another host must decide.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RouteAsk {
    pub(super) calls: Vec<(Leg, Command)>,
    /// The answer may take as long as the request may: nobody else waits for it.
    pub(super) alone: bool,
    /// What the asked host's clock showed when the asker last heard from it, by [`RouteAnswer::at_ms`]; 0: it never did.
    pub(super) heard_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RouteAnswer {
    /// `None`: more than a look at this host's own state is needed, and it was not asked alone. None at all: the asker heard
    /// from this host so long ago that its message may have waited somewhere, so nothing was done.
    pub(super) outcomes: Vec<Option<Outcome>>,
    /// Whose operations the outcomes are, and up to which they are in.
    pub(super) origin: Origin,
    pub(super) through: Seq,
    /// What its clock shows: milliseconds since its machine started.
    pub(super) at_ms: u64,
}

/// Reads a message, and passes over what a newer minor put at its end; the error says what is wrong with it.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    postcard::from_bytes(bytes).map_err(|why| format!("the message cannot be read: {why}"))
}

pub(super) fn write<T: Serialize>(message: &T) -> bytes::Bytes {
    let mut bytes = postcard::to_stdvec(message).expect("a message has a form on the wire");
    if GROWN.load(Ordering::Relaxed) {
        bytes.extend_from_slice(b"what this build does not know");
    }
    bytes.into()
}

/// Whether messages have an end that this build does not know.
static GROWN: AtomicBool = AtomicBool::new(false);

/// Speaks as a build of that version would: one that is newer than this sends more in every message.
pub(super) fn pretend(version: ProtocolVersion) {
    GROWN.store(version > SPOKEN, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use kernel::CommandId;
    use kernel::ledger::{LedgerCommand, LedgerEntry};

    use super::*;

    const VERSION: ProtocolVersion = ProtocolVersion { major: 1, minor: 9 };

    fn node() -> NodeId {
        "a".parse().expect("a node id")
    }

    /// These bytes are what other versions read. If this fails, a host can no longer tell another one that it is too old.
    #[test]
    fn hello_is_in_any_version_what_it_was() {
        let origin = Origin { host: 2, incarnation: 3 };
        let join = HelloAsk::Join {
            node: node(),
            origin,
            addresses: vec!["b".to_owned()],
            role: HostRole::Write,
            weight: 4,
            at_ms: 5,
            protocol: VERSION,
        };
        let asks = [HelloAsk::Who, join, HelloAsk::Known { origin }];
        let asks = asks.map(|ask| write(&ask).to_vec());
        assert_eq!(asks, [vec![0], vec![1, 1, b'a', 2, 3, 1, 1, b'b', 1, 4, 5, 1, 9], vec![2, 2, 3]]);
        let answers = [
            HelloAnswer::Who {
                node: node(),
                origin,
                seat: Some((ClusterId(7), MemberId(8))),
                protocol: VERSION,
                hour: Hour { age: 11, kept: Some(12), tolerance: 13 },
            },
            HelloAnswer::Welcome { cluster: ClusterId(7), member: MemberId(8), peers: Vec::new() },
            HelloAnswer::Refused("c".to_owned()),
            HelloAnswer::NotNow("d".to_owned()),
            HelloAnswer::Known { through: Seq(9) },
        ];
        let answers = answers.map(|answer| write(&answer).to_vec());
        let right: [&[u8]; 5] =
            [&[0, 1, b'a', 2, 3, 1, 7, 8, 1, 9, 11, 1, 12, 13], &[1, 7, 8, 0], &[2, 1, b'c'], &[3, 1, b'd'], &[4, 9]];
        assert_eq!(answers, right.map(<[u8]>::to_vec));
    }

    /// What is in logs and under way keeps its number; what is new comes behind it.
    #[test]
    fn kinds_of_messages_keep_their_numbers() {
        let first = |bytes: bytes::Bytes| bytes.first().copied();
        assert_eq!(first(write(&StateAsk::Pull { vector: Vector::new(), fingerprint: None })), Some(0));
        assert_eq!(first(write(&StateAsk::Look)), Some(1));
        assert_eq!(first(write(&StateAsk::Snapshot { cursor: None, known: Vector::new() })), Some(2));
        let (pool, member) = (kernel::PoolUid(0), MemberId(0));
        let offer = Offer { pool, shards: Vec::new(), epoch: kernel::Epoch(0), to: member };
        assert_eq!(first(write(&StateAsk::Give(offer))), Some(4));
        let commands = [
            (LedgerCommand::Adopt { member, pools: Vec::new() }, 0),
            (LedgerCommand::Leave { member }, 3),
            (LedgerCommand::FinishClose { pool }, 10),
            (LedgerCommand::Renew { member, nonce: 0 }, 11),
            (LedgerCommand::SetTerms(kernel::ledger::Terms::default()), 18),
            (LedgerCommand::SetReading { pool, revision: kernel::Revision(0), member, misread: None }, 19),
            (LedgerCommand::Forgo { pool, shards: Vec::new(), member, epoch: kernel::Epoch(0), logs: Vec::new() }, 20),
        ];
        for (command, number) in commands {
            assert_eq!(first(write(&command)), Some(number), "{command:?}");
        }
    }

    #[test]
    fn what_a_newer_minor_puts_at_the_end_is_passed_over_and_what_it_must_not_send_is_told() {
        let grown = |bytes: bytes::Bytes| [bytes.as_ref(), b"more"].concat();
        let entry = LedgerEntry { id: CommandId(1), command: LedgerCommand::Leave { member: MemberId(2) } };
        assert_eq!(read::<LedgerEntry>(&grown(write(&entry))), Ok(entry));
        assert!(matches!(read(&grown(write(&HelloAsk::Who))), Ok(HelloAsk::Who)));
        let error = read::<StateAsk>(&[200, 1]).expect_err("no such question");
        assert!(error.contains("cannot be read"), "{error}");
    }
}
