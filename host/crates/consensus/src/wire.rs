//! What members say to each other. One byte for the version, then the message; a version that is not ours is refused.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::record::{Entry, LogId, SnapshotMeta, Vote};

const VERSION: u8 = 1;

/// Larger bodies are not even looked at. Nothing we send comes near it.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// A message, and whom it is for: an address may come to belong to another member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) message: Message,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    Append { vote: Vote, previous: Option<LogId>, entries: Vec<Entry>, committed: Option<LogId> },
    Vote { vote: Vote, last: Option<LogId> },
    Snapshot { vote: Vote, meta: SnapshotMeta, offset: u64, bytes: Vec<u8>, done: bool },
    Ask { ask: Ask, within_ms: u64 },
}

/// What only a leader can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    Propose(Vec<u8>),
    Read,
    Change(Change),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    AddLearner { member: u64, address: String },
    Promote(BTreeSet<u64>),
    Demote(BTreeSet<u64>),
    Remove(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Appended,
    AppendedUpTo(Option<LogId>),
    AppendConflict,
    HigherVote(Vote),
    Voted {
        vote: Vote,
        granted: bool,
        last: Option<LogId>,
    },
    SnapshotTaken {
        vote: Vote,
    },
    /// A part does not follow what was received; to be sent again from the start.
    SnapshotRestart,
    Asked(Asked),
    /// The message is rubbish or not for this member.
    Refused(String),
    Stopped(String),
}

/// What a leader, or who was taken for one, says to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Asked {
    /// Committed, and applied at the leader; or for a read, how far a reader must have applied.
    Done {
        index: u64,
        bytes: Vec<u8>,
    },
    /// Nothing was done.
    NotLeader,
    /// Nothing was done.
    NoMajority,
    /// Nothing was done; it may work a moment later.
    Busy(String),
    /// Nothing was done, and nothing will be.
    Refused(String),
    /// It may have been done, or may still be.
    Unfinished,
    Stopped(String),
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.append(&mut crate::storage::encode(value));
    bytes
}

pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if body.len() > BODY_LIMIT {
        return Err(format!("the message has {} bytes, but must have at most {BODY_LIMIT}", body.len()));
    }
    let Some((version, rest)) = body.split_first() else {
        return Err("the message is empty".to_owned());
    };
    if *version != VERSION {
        return Err(format!("the message is of version {version}, but this build speaks version {VERSION}"));
    }
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        Ok((_, left)) => Err(format!("the message has {} bytes too many", left.len())),
        Err(why) => Err(format!("the message cannot be read: {why}")),
    }
}
