//! The forms of openraft's values on the disk and on the wire. They are ours, so that a new openraft cannot change a
//! file's meaning; every number that openraft counts on with is checked here, because it would panic at the end of `u64`.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{BasicNode, CommittedLeaderId, EntryPayload};
use serde::{Deserialize, Serialize};

use crate::raft;

/// Terms and indexes stay below this. No log gets there; beyond it is rubbish.
const COUNT_LIMIT: u64 = 1 << 62;

/// What a record from a peer or a file cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, but must be {must}")]
pub(crate) struct InvalidRecord {
    pub(crate) field: &'static str,
    pub(crate) value: String,
    pub(crate) must: &'static str,
}

fn count(field: &'static str, value: u64) -> Result<u64, InvalidRecord> {
    if value < COUNT_LIMIT {
        return Ok(value);
    }
    Err(InvalidRecord { field, value: value.to_string(), must: "below 2^62" })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogId {
    pub(crate) term: u64,
    pub(crate) leader: u64,
    pub(crate) index: u64,
}

impl LogId {
    pub(crate) fn of(id: &raft::LogId) -> Self {
        Self { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
    }

    pub(crate) fn to_raft(self) -> Result<raft::LogId, InvalidRecord> {
        let leader = CommittedLeaderId::new(count("term", self.term)?, self.leader);
        Ok(raft::LogId::new(leader, count("index", self.index)?))
    }
}

pub(crate) fn maybe_raft(id: Option<LogId>) -> Result<Option<raft::LogId>, InvalidRecord> {
    id.map(LogId::to_raft).transpose()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vote {
    pub(crate) term: u64,
    pub(crate) member: u64,
    pub(crate) committed: bool,
}

impl Vote {
    pub(crate) fn of(vote: &raft::Vote) -> Self {
        Self { term: vote.leader_id.term, member: vote.leader_id.node_id, committed: vote.committed }
    }

    pub(crate) fn to_raft(self) -> Result<raft::Vote, InvalidRecord> {
        let mut vote = raft::Vote::new(count("term", self.term)?, self.member);
        vote.committed = self.committed;
        Ok(vote)
    }
}

/// One set of voters, or two while the log goes from one to the other; and everybody's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    pub(crate) configs: Vec<BTreeSet<u64>>,
    pub(crate) addresses: BTreeMap<u64, String>,
}

impl Membership {
    pub(crate) fn of(membership: &raft::Membership) -> Self {
        let addresses = membership.nodes().map(|(member, node)| (*member, node.addr.clone())).collect();
        Self { configs: membership.get_joint_config().clone(), addresses }
    }

    pub(crate) fn to_raft(&self) -> Result<raft::Membership, InvalidRecord> {
        if let Some(voter) = self.configs.iter().flatten().find(|voter| !self.addresses.contains_key(voter)) {
            let value = voter.to_string();
            return Err(InvalidRecord { field: "voter", value, must: "among the members with an address" });
        }
        let node = |(member, address): (&u64, &String)| (*member, BasicNode::new(address));
        let nodes: BTreeMap<u64, BasicNode> = self.addresses.iter().map(node).collect();
        Ok(raft::Membership::new(self.configs.clone(), nodes))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Payload {
    Blank,
    Normal(Vec<u8>),
    Membership(Membership),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: LogId,
    pub(crate) payload: Payload,
}

impl Entry {
    pub(crate) fn of(entry: &raft::Entry) -> Self {
        let payload = match &entry.payload {
            EntryPayload::Blank => Payload::Blank,
            EntryPayload::Normal(bytes) => Payload::Normal(bytes.clone()),
            EntryPayload::Membership(membership) => Payload::Membership(Membership::of(membership)),
        };
        Self { id: LogId::of(&entry.log_id), payload }
    }

    pub(crate) fn into_raft(self) -> Result<raft::Entry, InvalidRecord> {
        let payload = match self.payload {
            Payload::Blank => EntryPayload::Blank,
            Payload::Normal(bytes) => EntryPayload::Normal(bytes),
            Payload::Membership(membership) => EntryPayload::Membership(membership.to_raft()?),
        };
        Ok(raft::Entry { log_id: self.id.to_raft()?, payload })
    }
}

/// What a snapshot covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotMeta {
    pub(crate) last: Option<LogId>,
    pub(crate) membership_id: Option<LogId>,
    pub(crate) membership: Membership,
    /// Equal names mean equal bytes.
    pub(crate) name: String,
}

impl SnapshotMeta {
    pub(crate) fn of(meta: &raft::SnapshotMeta) -> Self {
        Self {
            last: meta.last_log_id.as_ref().map(LogId::of),
            membership_id: meta.last_membership.log_id().as_ref().map(LogId::of),
            membership: Membership::of(meta.last_membership.membership()),
            name: meta.snapshot_id.clone(),
        }
    }

    pub(crate) fn to_raft(&self) -> Result<raft::SnapshotMeta, InvalidRecord> {
        let membership = raft::StoredMembership::new(maybe_raft(self.membership_id)?, self.membership.to_raft()?);
        Ok(raft::SnapshotMeta {
            last_log_id: maybe_raft(self.last)?,
            last_membership: membership,
            snapshot_id: self.name.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u64) -> LogId {
        LogId { term: 3, leader: 2, index }
    }

    #[test]
    fn every_payload_comes_back_as_it_was() {
        let membership = Membership {
            configs: vec![BTreeSet::from([1, 2]), BTreeSet::from([1])],
            addresses: BTreeMap::from([(1, "a".to_owned()), (2, "b".to_owned()), (7, "learner".to_owned())]),
        };
        for payload in [Payload::Blank, Payload::Normal(vec![0, 1, 255]), Payload::Membership(membership)] {
            let entry = Entry { id: id(9), payload };
            assert_eq!(Entry::of(&entry.clone().into_raft().expect("valid")), entry);
        }
    }

    #[test]
    fn numbers_that_nothing_could_follow_are_refused() {
        assert_eq!(id(u64::MAX).to_raft().expect_err("refused").field, "index");
        assert_eq!(LogId { term: COUNT_LIMIT, ..id(1) }.to_raft().expect_err("refused").field, "term");
        let vote = Vote { term: u64::MAX, member: 1, committed: true };
        assert_eq!(vote.to_raft().expect_err("refused").field, "term");
    }

    #[test]
    fn a_voter_without_an_address_is_refused() {
        let membership = Membership { configs: vec![BTreeSet::from([4])], addresses: BTreeMap::new() };
        assert_eq!(membership.to_raft().expect_err("refused").value, "4");
    }
}
