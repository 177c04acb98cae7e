//! Who is in the cluster, and whose node lease is good.

use serde::{Deserialize, Serialize};

use super::command::{Change, HostRole, LedgerReply};
use super::error::LedgerError;
use super::grants::{Grant, GrantKind, GrantState, Grants};
use super::orders::{Deed, Word};
use super::state::{Outcome, State};
use crate::id::{MemberId, NodeId, Origin, PoolUid, ProtocolVersion, ShardId};

/// Most hosts in a cluster, edges among them.
const MOST_MEMBERS: usize = 4_096;

/// Identities that left are known for so many departures.
const MOST_DEPARTED: usize = 4_096;

const MOST_WEIGHT: u32 = 1_000;
const MOST_ADDRESSES: usize = 16;
const ADDRESS_BYTES: usize = 256;

/// A host of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: MemberId,
    pub node: NodeId,
    pub origin: Origin,
    /// Who it is on the network.
    pub peer: String,
    pub addresses: Vec<String>,
    pub role: HostRole,
    /// How much it owns compared to others; 0: nothing new.
    pub weight: u32,
    /// It is given nothing, whatever its weight, and what it holds goes to others.
    pub draining: bool,
    pub protocol: ProtocolVersion,
    /// The entry by which it first joined: members in the order of joining are in the order of their numbers too.
    pub joined: u64,
    pub joined_ms: u64,
    pub lease: NodeLease,
}

impl Member {
    /// True until it joins again after its lease was declared over.
    pub const fn is_deposed(&self) -> bool {
        self.lease.deposed.is_some()
    }

    /// True if it may be given shards.
    pub const fn takes_shards(&self) -> bool {
        self.role.owns() && self.share() > 0 && !self.is_deposed()
    }

    /// Its weight, or none while it drains.
    pub const fn share(&self) -> u32 {
        if self.draining { 0 } else { self.weight }
    }
}

/// A host's lease on all its leased shards. No clock is read here: whoever proposes `Depose` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLease {
    /// The entry of the last renewal, or by which it joined or came back.
    pub renewed: u64,
    /// Of the process that renewed; `None`: not renewed yet.
    pub nonce: Option<u64>,
    /// The terms when it was renewed. They count for this renewal even if they change before it ends: the holder may not
    /// have heard.
    pub lease_ms: u64,
    pub grace_ms: u64,
    /// The entry by which it was declared over.
    pub deposed: Option<u64>,
}

/// A host that left. If it returns it must be as a later incarnation, because its log was taken as complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Departed {
    incarnation: u64,
    at: u64,
}

/// What a host says when it joins.
#[derive(Debug)]
pub(super) struct Newcomer<'a> {
    pub(super) node: &'a NodeId,
    pub(super) origin: Origin,
    pub(super) peer: &'a str,
    pub(super) addresses: &'a [String],
    pub(super) role: HostRole,
    pub(super) weight: u32,
    pub(super) protocol: ProtocolVersion,
    pub(super) at_ms: u64,
}

impl State {
    /// The entry by which the list last grew or shrank.
    pub(super) fn members_changed(&self) -> u64 {
        let joined = self.members.values().map(|member| member.joined);
        joined.chain(self.departed.values().map(|departed| departed.at)).max().unwrap_or_default()
    }

    pub(super) fn join(&mut self, index: u64, newcomer: &Newcomer<'_>, changes: &mut Vec<Change>) -> Outcome {
        check_text("peer", newcomer.peer, ADDRESS_BYTES)?;
        check_addresses(newcomer.addresses)?;
        check_weight(newcomer.weight)?;
        let known = self.identify(newcomer)?;
        self.check_protocol(known, newcomer.protocol)?;
        match known {
            Some(member) => self.join_again(index, member, newcomer, changes),
            None => self.join_new(index, newcomer, changes),
        }
    }

    /// Which member it is, if any; an error if what it says of itself is partly another's.
    fn identify(&self, newcomer: &Newcomer<'_>) -> Result<Option<MemberId>, LedgerError> {
        let Newcomer { node, origin, peer, .. } = *newcomer;
        let mut known = None;
        for member in self.members.values() {
            match (member.origin.host == origin.host, member.node == *node) {
                (true, true) => known = Some(member.id),
                (false, true) => {
                    let (found, asked) = (member.origin.host, origin.host);
                    return Err(LedgerError::NodeTaken { node: node.clone(), member: member.id, found, asked });
                }
                (true, false) => {
                    let (found, asked) = (member.node.clone(), node.clone());
                    return Err(LedgerError::IdentityTaken { host: origin.host, member: member.id, found, asked });
                }
                (false, false) if member.peer == peer => {
                    return Err(LedgerError::PeerTaken { peer: peer.to_owned(), member: member.id });
                }
                (false, false) => {}
            }
        }
        Ok(known)
    }

    /// Whoever is a member speaks to all others, those that are down among them: they come back as they are.
    fn check_protocol(&self, known: Option<MemberId>, asked: ProtocolVersion) -> Result<(), LedgerError> {
        let mut others = self.members.values().filter(|member| Some(member.id) != known);
        match others.find(|member| !member.protocol.works_with(asked)) {
            Some(member) => {
                Err(LedgerError::ProtocolApart { node: member.node.clone(), found: member.protocol, asked })
            }
            None => Ok(()),
        }
    }

    fn join_new(&mut self, index: u64, newcomer: &Newcomer<'_>, changes: &mut Vec<Change>) -> Outcome {
        let Newcomer { node, origin, peer, addresses, role, weight, protocol, at_ms } = *newcomer;
        if let Some(departed) = self.departed.get(&origin.host).filter(|left| left.incarnation >= origin.incarnation) {
            return Err(LedgerError::IncarnationOld { found: departed.incarnation, asked: origin });
        }
        if self.members.len() >= MOST_MEMBERS {
            return Err(LedgerError::MembersFull { found: self.members.len() as u64, most: MOST_MEMBERS as u64 });
        }
        let id = self.next_member;
        let next = id.0.checked_add(1).ok_or(LedgerError::NumbersUsedUp { what: "members".into() })?;
        let member = Member {
            id,
            node: node.clone(),
            origin,
            peer: peer.to_owned(),
            addresses: addresses.to_vec(),
            role,
            weight,
            draining: false,
            protocol,
            joined: index,
            joined_ms: at_ms,
            lease: self.fresh_lease(index),
        };
        self.next_member = MemberId(next);
        self.departed.remove(&origin.host);
        changes.push(Change::Member(member.clone().into()));
        self.members.insert(id, member);
        Ok(LedgerReply::Joined { member: id, new: true, quarantined: 0, reinstated: false })
    }

    /// The lease of who has not renewed.
    fn fresh_lease(&self, index: u64) -> NodeLease {
        let Self { terms, .. } = self;
        NodeLease { renewed: index, nonce: None, lease_ms: terms.lease_ms, grace_ms: terms.grace_ms, deposed: None }
    }

    /// A lower incarnation is an old disk. A higher one is a disk that is not what it was: what its log said last is not
    /// known to it, so all it holds is quarantined. If it was deposed its leased grants begin another term, so that a
    /// takeover which was prepared before, with a cut of then, is refused.
    fn join_again(&mut self, index: u64, id: MemberId, newcomer: &Newcomer<'_>, changes: &mut Vec<Change>) -> Outcome {
        let found = self.member(id)?;
        if newcomer.origin.incarnation < found.origin.incarnation {
            return Err(LedgerError::IncarnationOld { found: found.origin.incarnation, asked: newcomer.origin });
        }
        let (former, another) = (found.origin, newcomer.origin != found.origin);
        let reinstated = found.is_deposed();
        let mut member = Member {
            origin: newcomer.origin,
            peer: newcomer.peer.to_owned(),
            addresses: newcomer.addresses.to_vec(),
            protocol: newcomer.protocol,
            ..found.clone()
        };
        if reinstated {
            member.lease = self.fresh_lease(index);
        }
        let begins = |grant: Grant| grant.holder == id && (another || (reinstated && grant.kind == GrantKind::Leased));
        let regranted = self.new_terms(begins, another)?;
        let held = |grants: &Grants| grants.iter().filter(|(_, grant)| grant.holder == id).count() as u64;
        let quarantined = if another { regranted.iter().map(|(_, grants)| held(grants)).sum() } else { 0 };
        if member != *found {
            changes.push(Change::Member(member.clone().into()));
            self.members.insert(id, member);
        }
        for (pool, grants) in regranted {
            if another {
                self.wait_again(pool, id, changes);
                let held: Vec<ShardId> =
                    grants.iter().filter(|(_, grant)| grant.holder == id).map(|(shard, _)| shard).collect();
                self.doubt(pool, &held, former);
            }
            self.regrant(pool, grants, changes);
        }
        Ok(LedgerReply::Joined { member: id, new: false, quarantined, reinstated })
    }

    /// The grants of all pools in which some begin another term with the same holder.
    fn new_terms(
        &self,
        begins: impl Fn(Grant) -> bool,
        quarantine: bool,
    ) -> Result<Vec<(PoolUid, Grants)>, LedgerError> {
        let mut regranted = Vec::new();
        for (uid, pool) in &self.pools {
            let mut used_up = false;
            let grants = pool.grants.rewritten(|grant| {
                if !begins(grant) {
                    return grant;
                }
                used_up |= grant.next_epoch().is_none();
                let epoch = grant.next_epoch().unwrap_or(grant.epoch);
                let state = if quarantine { GrantState::Quarantined } else { grant.state };
                Grant { epoch, state, cut: grant.cut.filter(|_| !quarantine), ..grant }
            });
            if used_up {
                return Err(LedgerError::NumbersUsedUp { what: "epochs".into() });
            }
            if grants != pool.grants {
                regranted.push((*uid, grants));
            }
        }
        Ok(regranted)
    }

    pub(super) fn set_member(
        &mut self,
        id: MemberId,
        role: Option<HostRole>,
        weight: Option<u32>,
        draining: Option<bool>,
        addresses: Option<&[String]>,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let found = self.member(id)?;
        weight.map_or(Ok(()), check_weight)?;
        addresses.map_or(Ok(()), check_addresses)?;
        if role.is_some_and(|role| role != HostRole::Core) {
            self.check_last_core(id)?;
        }
        let member = Member {
            role: role.unwrap_or(found.role),
            weight: weight.unwrap_or(found.weight),
            draining: draining.unwrap_or(found.draining),
            addresses: addresses.map_or_else(|| found.addresses.clone(), <[String]>::to_vec),
            ..found.clone()
        };
        if member != *found {
            changes.push(Change::Member(member.clone().into()));
            self.members.insert(id, member);
        }
        Ok(LedgerReply::MemberSet(id))
    }

    pub(super) fn remove(&mut self, index: u64, id: MemberId, word: &Word, changes: &mut Vec<Change>) -> Outcome {
        word.check()?;
        let node = self.member(id)?.node.clone();
        let reply = self.depart(index, id, LedgerReply::Removed(id), changes)?;
        self.note_order(index, Deed::Removed { node }, word, changes);
        Ok(reply)
    }

    /// An error if shards are this member's.
    pub(super) fn check_empty(&self, member: MemberId) -> Result<(), LedgerError> {
        let (mut escrow, mut leased) = (0_u64, 0_u64);
        for run in self.pools.values().flat_map(|pool| pool.grants.runs()).filter(|run| run.grant.holder == member) {
            match run.grant.kind {
                GrantKind::Escrow => escrow += u64::from(run.count),
                GrantKind::Leased => leased += u64::from(run.count),
            }
        }
        if escrow + leased > 0 { Err(LedgerError::HoldsShards { member, escrow, leased }) } else { Ok(()) }
    }

    pub(super) fn depart(
        &mut self,
        index: u64,
        id: MemberId,
        reply: LedgerReply,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let origin = self.member(id)?.origin;
        self.check_last_core(id)?;
        self.check_empty(id)?;
        self.members.remove(&id);
        for pool in self.pools.values_mut() {
            pool.misread.remove(&id);
        }
        self.departed.insert(origin.host, Departed { incarnation: origin.incarnation, at: index });
        if self.departed.len() > MOST_DEPARTED {
            let first = self.departed.iter().min_by_key(|(_, left)| left.at).map(|(host, _)| *host);
            first.and_then(|host| self.departed.remove(&host));
        }
        changes.push(Change::MemberGone(id));
        Ok(reply)
    }

    fn check_last_core(&self, id: MemberId) -> Result<(), LedgerError> {
        let core = |member: &&Member| member.role == HostRole::Core;
        let is_core = self.members.get(&id).as_ref().is_some_and(core);
        if is_core && self.members.values().filter(core).count() == 1 {
            return Err(LedgerError::LastCore { member: id });
        }
        Ok(())
    }

    pub(super) fn renew(&mut self, index: u64, id: MemberId, nonce: u64, changes: &mut Vec<Change>) -> Outcome {
        let lease = self.member(id)?.lease;
        if let Some(at) = lease.deposed {
            return Err(LedgerError::Deposed { member: id, at });
        }
        if lease.nonce.is_some_and(|held| held != nonce) {
            return Err(LedgerError::LeaseHeld { member: id, renewed: lease.renewed });
        }
        let lease = NodeLease { nonce: Some(nonce), ..self.fresh_lease(index) };
        if let Some(member) = self.members.get_mut(&id) {
            member.lease = lease;
        }
        changes.push(Change::Lease { member: id, lease });
        Ok(LedgerReply::Renewed { index, lease_ms: lease.lease_ms })
    }

    pub(super) fn depose(&mut self, index: u64, id: MemberId, asked: u64, changes: &mut Vec<Change>) -> Outcome {
        let lease = self.member(id)?.lease;
        if lease.renewed != asked {
            return Err(LedgerError::RenewalDiffers { member: id, found: lease.renewed, asked });
        }
        if lease.deposed.is_none() {
            if let Some(member) = self.members.get_mut(&id) {
                member.lease.deposed = Some(index);
            }
            changes.push(Change::Deposed { member: id });
        }
        Ok(LedgerReply::Deposed(id))
    }
}

fn check_weight(weight: u32) -> Result<(), LedgerError> {
    if weight > MOST_WEIGHT {
        return Err(LedgerError::field("weight", weight, "0 to 1000"));
    }
    Ok(())
}

fn check_addresses(addresses: &[String]) -> Result<(), LedgerError> {
    if addresses.len() > MOST_ADDRESSES {
        return Err(LedgerError::field("the number of addresses", addresses.len(), "at most 16"));
    }
    addresses.iter().try_for_each(|address| check_text("address", address, ADDRESS_BYTES))
}

pub(super) fn check_text(field: &str, text: &str, most: usize) -> Result<(), LedgerError> {
    if text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
        let right = format!("1 to {most} bytes of UTF-8 without control characters");
        return Err(LedgerError::field(field, format_args!("{text:?}"), &right));
    }
    Ok(())
}
