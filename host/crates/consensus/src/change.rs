//! Changing who takes part. Each change is an entry (two, while voters change) and wants a majority of the voters.

use std::collections::{BTreeMap, BTreeSet};

use openraft::error::RaftError;
use openraft::{BasicNode, ChangeMembers};
use tokio::time::Instant;

use crate::consensus::Consensus;
use crate::error::ProposeError;
use crate::transport::Peer;
use crate::wire::{Ask, Asked, Change};

impl Consensus {
    /// Adds a member that gets the log but does not vote. Returns the index of the entry that says so. Adding it again at
    /// the same address changes nothing.
    ///
    /// # Errors
    ///
    /// Refused if the number is taken by a member at another address.
    pub async fn add_learner(&self, peer: Peer) -> Result<u64, ProposeError> {
        self.change(Change::AddLearner { member: peer.member, address: peer.address }).await
    }

    /// Makes voters of learners. They should have caught up: until then they count for a majority without helping it.
    ///
    /// # Errors
    ///
    /// Refused if one of them is no member.
    pub async fn promote(&self, members: BTreeSet<u64>) -> Result<u64, ProposeError> {
        self.change(Change::Promote(members)).await
    }

    /// Makes learners of voters.
    ///
    /// # Errors
    ///
    /// Refused if no voter would be left, or one of them is none.
    pub async fn demote(&self, members: BTreeSet<u64>) -> Result<u64, ProposeError> {
        self.change(Change::Demote(members)).await
    }

    /// Ends a member's part in the log, voter or learner. Its number may be used again only by a
    /// member that begins with an empty directory: whatever it said before counts no more once this is committed.
    ///
    /// # Errors
    ///
    /// Refused if there is no such member, or no voter would be left.
    pub async fn remove(&self, member: u64) -> Result<u64, ProposeError> {
        self.change(Change::Remove(member)).await
    }

    async fn change(&self, change: Change) -> Result<u64, ProposeError> {
        let until = Instant::now() + self.inner.settings.change_timeout;
        Ok(self.ask(Ask::Change(change), until).await?.index)
    }

    pub(crate) async fn lead_change(&self, change: Change) -> Asked {
        let (voters, nodes) = {
            let metrics = self.inner.raft.metrics();
            let metrics = metrics.borrow();
            let members = metrics.membership_config.membership();
            let nodes = members.nodes().map(|(member, node)| (*member, node.addr.clone()));
            (members.voter_ids().collect(), nodes.collect())
        };
        let (change, retain) = match plan(change, &voters, &nodes) {
            Ok(plan) => plan,
            Err(why) => return Asked::Refused(why),
        };
        let truncations = self.inner.log.truncations();
        match self.inner.raft.change_membership(change, retain).await {
            Ok(written) => Asked::Done { index: written.log_id.index, bytes: Vec::new() },
            Err(RaftError::APIError(why)) => self.not_written(why, truncations),
            Err(RaftError::Fatal(why)) => Asked::Stopped(why.to_string()),
        }
    }
}

/// The change in openraft's words, and whether voters that are no more stay as learners.
fn plan(
    change: Change,
    voters: &BTreeSet<u64>,
    nodes: &BTreeMap<u64, String>,
) -> Result<(ChangeMembers<u64, BasicNode>, bool), String> {
    let missing = |members: &BTreeSet<u64>| members.iter().find(|member| !nodes.contains_key(member)).copied();
    match change {
        Change::AddLearner { member, address } => match nodes.get(&member) {
            Some(known) if *known != address => {
                Err(format!("member {member} is at {known}; a member at {address} needs a number of its own"))
            }
            _ => Ok((ChangeMembers::AddNodes(BTreeMap::from([(member, BasicNode::new(address))])), true)),
        },
        Change::Promote(members) => match missing(&members) {
            Some(member) => Err(format!("{member} is no member; it has to be added as a learner first")),
            None => Ok((ChangeMembers::AddVoterIds(members), true)),
        },
        Change::Demote(members) => match members.iter().find(|member| !voters.contains(member)) {
            Some(member) => Err(format!("{member} is no voter")),
            None if members.is_superset(voters) => Err("no voter would be left".to_owned()),
            None => Ok((ChangeMembers::RemoveVoters(members), true)),
        },
        Change::Remove(member) if !nodes.contains_key(&member) => Err(format!("{member} is no member")),
        Change::Remove(member) if !voters.contains(&member) => {
            Ok((ChangeMembers::RemoveNodes(BTreeSet::from([member])), true))
        }
        Change::Remove(_) if voters.len() == 1 => Err("no voter would be left".to_owned()),
        Change::Remove(member) => Ok((ChangeMembers::RemoveVoters(BTreeSet::from([member])), false)),
    }
}
