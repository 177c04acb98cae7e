//! What a member knows of itself and the log.

use std::time::Duration;

use openraft::error::Fatal;
use openraft::{BasicNode, RaftMetrics};

use crate::storage::Progress;
use crate::transport::Peer;

/// For display, routing and waiting. It is late by its nature: only a committed entry is a reason to act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub member: u64,
    /// Who leads, as far as is known here. A leader that a majority does not answer is none.
    pub leader: Option<u64>,
    pub term: u64,
    /// Index of the last entry in the log here, committed or not.
    pub last_log: Option<u64>,
    pub committed: Option<u64>,
    pub applied: Option<u64>,
    /// As the entries applied here say; while voters change, those of before and after.
    pub voters: Vec<Peer>,
    pub learners: Vec<Peer>,
    /// The last entry that the newest snapshot here covers.
    pub snapshot_index: Option<u64>,
    /// Why the member stopped by itself; a failed disk, say. It has to be opened again.
    pub failure: Option<String>,
}

pub(crate) type Metrics = RaftMetrics<u64, BasicNode>;

/// The leader with a majority, and how it is reached.
pub(crate) fn leader(metrics: &Metrics, lost_after: Duration) -> Option<Peer> {
    let member = metrics.current_leader?;
    if member == metrics.id && majority_silent(metrics, lost_after) {
        return None;
    }
    let address = metrics.membership_config.membership().get_node(&member).map(|node| node.addr.clone());
    Some(Peer { member, address: address.unwrap_or_default() })
}

/// Whether this member takes itself for the leader though no majority answers. A leader that was restarted does so until
/// it heard from the others, and one that was cut off for ever.
pub(crate) fn majority_silent(metrics: &Metrics, lost_after: Duration) -> bool {
    let heard = metrics.millis_since_quorum_ack.map(Duration::from_millis);
    metrics.current_leader == Some(metrics.id) && heard.is_none_or(|ago| ago > lost_after)
}

impl State {
    pub(crate) fn of(metrics: &Metrics, progress: &Progress, lost_after: Duration) -> Self {
        let peers = |members: &std::collections::BTreeMap<u64, String>| {
            members.iter().map(|(member, address)| Peer { member: *member, address: address.clone() }).collect()
        };
        let failure =
            metrics.running_state.as_ref().err().filter(|why| **why != Fatal::Stopped).map(ToString::to_string);
        Self {
            member: metrics.id,
            // What its last word on that was is true no more once it has stopped.
            leader: leader(metrics, lost_after).filter(|_| failure.is_none()).map(|peer| peer.member),
            term: metrics.current_term,
            last_log: metrics.last_log_index,
            committed: progress.committed,
            applied: progress.applied,
            voters: peers(&progress.voters),
            learners: peers(&progress.learners),
            snapshot_index: metrics.snapshot.map(|id| id.index),
            failure,
        }
    }
}
