//! How a shard changes hands: moved by its holder, taken over from a deposed one, seized by an operator. And how what was
//! doubtful about it ends.

use std::collections::BTreeSet;

use super::closing::ClosingWhat;
use super::command::{Change, HostRole, LedgerReply};
use super::error::LedgerError;
use super::grants::{Grant, GrantKind, GrantState, Grants};
use super::orders::{Deed, Word};
use super::state::{LedgerPool, Outcome, State};
use crate::draft::MOST_SHARDS;
use crate::id::{Dot, Epoch, MemberId, Origin, PoolUid, Seq, ShardId};

/// Shards that change hands.
#[derive(Debug)]
pub(super) struct Handover<'a> {
    pub(super) pool: PoolUid,
    pub(super) shards: &'a [ShardId],
    pub(super) from: MemberId,
    pub(super) epoch: Epoch,
    pub(super) to: MemberId,
}

impl State {
    /// A quarantine goes along: why the shard is doubtful does not change with its holder.
    pub(super) fn move_shards(&mut self, of: &Handover<'_>, cut: Seq, changes: &mut Vec<Change>) -> Outcome {
        let (shards, next) = self.named(of)?;
        let origin = self.member(of.from)?.origin;
        self.check_taker(of)?;
        let dot = Dot { origin, seq: cut };
        let granted = self.handed_over(of, &shards, |grant, kind| Grant { kind, cut: Some(dot), ..grant })?;
        self.remember_cut(of.pool, &shards, dot);
        self.regrant(of.pool, granted, changes);
        Ok(LedgerReply::Granted { pool: of.pool, shards: shards.len() as u64, epoch: next })
    }

    /// The old holder's lease is over, but what it answered last may be known to nobody: all that is not allocated by the
    /// cut is quarantined.
    pub(super) fn take_over(&mut self, of: &Handover<'_>, cut: Seq, changes: &mut Vec<Change>) -> Outcome {
        let (shards, next) = self.named(of)?;
        let from = self.member(of.from)?;
        if !from.is_deposed() {
            return Err(LedgerError::NotDeposed { member: of.from, renewed: from.lease.renewed });
        }
        let origin = from.origin;
        let dot = Dot { origin, seq: cut };
        self.check_kind(of.pool, &shards, GrantKind::Leased)?;
        let to = self.check_taker(of)?;
        if to == HostRole::Edge {
            let (role, deposed) = (to, false);
            let weight = self.member(of.to)?.share();
            return Err(LedgerError::CannotOwn { member: of.to, role, weight, deposed });
        }
        let state = GrantState::Quarantined;
        let taken = self.handed_over(of, &shards, |grant, _| Grant { state, cut: Some(dot), ..grant })?;
        self.remember_cut(of.pool, &shards, dot);
        self.doubt(of.pool, &shards, origin);
        self.regrant(of.pool, taken, changes);
        Ok(LedgerReply::Granted { pool: of.pool, shards: shards.len() as u64, epoch: next })
    }

    /// An escrow holder needs nobody to go on, so a core or write host that still renews
    /// its lease is alive and keeps it; an edge does not renew, there it is the operator's word alone.
    pub(super) fn seize(&mut self, index: u64, of: &Handover<'_>, word: &Word, changes: &mut Vec<Change>) -> Outcome {
        word.check()?;
        let (shards, next) = self.named(of)?;
        let (from, to) = (self.member(of.from)?, self.member(of.to)?.node.clone());
        if !from.is_deposed() && from.role != HostRole::Edge {
            return Err(LedgerError::NotDeposed { member: of.from, renewed: from.lease.renewed });
        }
        let (origin, from) = (from.origin, from.node.clone());
        self.check_kind(of.pool, &shards, GrantKind::Escrow)?;
        self.check_taker(of)?;
        let draft = &self.pool(of.pool)?.record.draft;
        let (pool_id, tenant) = (draft.id.clone(), draft.tenant.clone());
        let state = GrantState::Forced;
        let seized = self.handed_over(of, &shards, |grant, kind| Grant { kind, state, cut: None, ..grant })?;
        let deed = Deed::Seized { pool: of.pool, pool_id, tenant, shards: shards.clone(), from, to, epoch: of.epoch };
        self.note_order(index, deed, word, changes);
        self.doubt(of.pool, &shards, origin);
        self.regrant(of.pool, seized, changes);
        let whole =
            |found: &LedgerPool| found.closing.as_ref().is_some_and(|closing| closing.what == ClosingWhat::Whole);
        if self.pools.get(&of.pool).is_some_and(whole) {
            self.no_longer_waits(of.pool, &shards, changes);
        }
        Ok(LedgerReply::Granted { pool: of.pool, shards: shards.len() as u64, epoch: next })
    }

    pub(super) fn released(
        &mut self,
        pool: PoolUid,
        shards: &[ShardId],
        member: MemberId,
        epoch: Epoch,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let of = Handover { pool, shards, from: member, epoch, to: member };
        let (shards, _) = self.named(&of)?;
        let found = self.pool(pool)?;
        for shard in &shards {
            match found.grants.of(*shard).map(|grant| grant.state) {
                Some(GrantState::Quarantined | GrantState::Forced) | None => {}
                Some(state @ (GrantState::Held | GrantState::Closing)) => {
                    let right = "Quarantined or Forced".into();
                    return Err(LedgerError::StateDiffers { pool, shard: *shard, found: state, right });
                }
            }
        }
        let grants = found.grants.with(&shards, |grant| Grant { state: GrantState::Held, ..grant });
        let grants = with_closing(found, grants);
        if let Some(found) = self.pools.get_mut(&pool) {
            found.doubts.retain(|shard, _| shards.binary_search(shard).is_err());
        }
        self.regrant(pool, grants, changes);
        Ok(LedgerReply::Released { pool, shards: shards.len() as u64 })
    }

    /// Another term of the same holder, who knows its own log, so there is no new cut. From then on an offer that nobody took
    /// names a term that is over. The kind stays: what was handed out of escrow unheard may last longer than a lease.
    pub(super) fn take_back(&mut self, of: &Handover<'_>, changes: &mut Vec<Change>) -> Outcome {
        let (shards, next) = self.named(of)?;
        let holder = self.member(of.from)?;
        // A deposed holder's leased shards are about to be taken over.
        if let Some(at) = holder.lease.deposed {
            return Err(LedgerError::Deposed { member: of.from, at });
        }
        let grants = self.handed_over(of, &shards, |grant, _| grant)?;
        self.regrant(of.pool, grants, changes);
        Ok(LedgerReply::Granted { pool: of.pool, shards: shards.len() as u64, epoch: next })
    }

    /// The host is gone and its log ends here: what it wrote behind that may be answers that somebody goes on using. How it held
    /// the shards then is not known any more, so no time ends the doubt.
    pub(super) fn forgo(&mut self, of: &Handover<'_>, logs: &[Dot], changes: &mut Vec<Change>) -> Outcome {
        let (shards, next) = self.named(of)?;
        let holder = self.member(of.from)?;
        if let Some(at) = holder.lease.deposed {
            return Err(LedgerError::Deposed { member: of.from, at });
        }
        if logs.is_empty() {
            return Err(LedgerError::field("the number of logs", 0, "1 or more"));
        }
        let found = self.pool(of.pool)?;
        for shard in &shards {
            let grant = grant_of(of.pool, found, *shard)?;
            for log in logs {
                let comes = self.members.values().any(|member| member.origin == log.origin);
                let awaits = found.needs(*shard, grant).any(|need| need.origin == log.origin && need.seq > log.seq);
                if comes || !awaits {
                    return Err(LedgerError::LogNotLost { pool: of.pool, shard: *shard, log: *log });
                }
            }
        }
        let ends = |cut: Dot| logs.iter().copied().find(|log| log.origin == cut.origin && log.seq < cut.seq);
        let grants = self.handed_over(of, &shards, |grant, _| {
            let state = if grant.state == GrantState::Forced { grant.state } else { GrantState::Quarantined };
            Grant { state, cut: grant.cut.map(|cut| ends(cut).unwrap_or(cut)), ..grant }
        })?;
        if let Some(found) = self.pools.get_mut(&of.pool) {
            for shard in &shards {
                found.cuts.extend(logs.iter().map(|log| ((*shard, log.origin), log.seq)));
                let doubts = logs.iter().map(|log| (log.origin, GrantKind::Escrow));
                found.doubts.entry(*shard).or_default().extend(doubts);
            }
        }
        self.regrant(of.pool, grants, changes);
        Ok(LedgerReply::Granted { pool: of.pool, shards: shards.len() as u64, epoch: next })
    }

    /// The shards that are named, sorted, and the epoch after theirs, if all are what the proposer thinks: there, held by
    /// whom it says, in the epoch it says.
    fn named(&self, of: &Handover<'_>) -> Result<(Vec<ShardId>, Epoch), LedgerError> {
        let Handover { pool, from, epoch, .. } = *of;
        let found = self.pool(pool)?;
        let shards = distinct(of.shards)?;
        for shard in &shards {
            let grant = grant_of(pool, found, *shard)?;
            if grant.holder != from {
                return Err(LedgerError::HolderDiffers { pool, shard: *shard, found: grant.holder, asked: from });
            }
            if grant.epoch != epoch {
                return Err(LedgerError::EpochDiffers { pool, shard: *shard, found: grant.epoch, asked: epoch });
            }
        }
        let next = epoch.0.checked_add(1).map(Epoch);
        Ok((shards, next.ok_or(LedgerError::NumbersUsedUp { what: "epochs".into() })?))
    }

    fn check_kind(&self, pool: PoolUid, shards: &[ShardId], right: GrantKind) -> Result<(), LedgerError> {
        let found = self.pool(pool)?;
        for shard in shards {
            let grant = grant_of(pool, found, *shard)?;
            if grant.kind != right {
                return Err(LedgerError::KindDiffers { pool, shard: *shard, found: grant.kind, right });
            }
        }
        Ok(())
    }

    /// Another member, and one that may be given shards; gives its role.
    fn check_taker(&self, of: &Handover<'_>) -> Result<HostRole, LedgerError> {
        if of.from == of.to {
            return Err(LedgerError::SameMember { member: of.to });
        }
        let to = self.member(of.to)?;
        if !to.takes_shards() {
            let (role, weight, deposed) = (to.role, to.share(), to.is_deposed());
            return Err(LedgerError::CannotOwn { member: of.to, role, weight, deposed });
        }
        let pool = self.pool(of.pool)?;
        if let Some(misread) = pool.misread.get(&of.to) {
            let (pool, why) = (pool.record.draft.id.clone(), misread.to_string());
            return Err(LedgerError::CannotRead { pool, member: of.to, why });
        }
        Ok(to.role)
    }

    /// The pool's grants with these shards in their next epoch. `grant` is told of what kind the taker should hold each.
    fn handed_over(
        &self,
        of: &Handover<'_>,
        shards: &[ShardId],
        mut grant: impl FnMut(Grant, GrantKind) -> Grant,
    ) -> Result<Grants, LedgerError> {
        let found = self.pool(of.pool)?;
        let mut kinds = self.kinds(&found.grants, of.to, shards.len());
        Ok(found.grants.with(shards, |former| {
            let epoch = former.next_epoch().unwrap_or(former.epoch);
            let kind = kinds.next().unwrap_or(GrantKind::Escrow);
            grant(Grant { epoch, holder: of.to, ..former }, kind)
        }))
    }

    /// What this origin wrote last about the shards, which it held until now, may be known to nobody.
    pub(super) fn doubt(&mut self, pool: PoolUid, shards: &[ShardId], origin: Origin) {
        let Some(found) = self.pools.get_mut(&pool) else { return };
        for shard in shards {
            let Some(kind) = found.grants.of(*shard).map(|grant| grant.kind) else { continue };
            let held = found.doubts.entry(*shard).or_default().entry(origin).or_insert(kind);
            if kind == GrantKind::Escrow {
                *held = kind;
            }
        }
    }

    fn remember_cut(&mut self, pool: PoolUid, shards: &[ShardId], cut: Dot) {
        let Some(found) = self.pools.get_mut(&pool) else { return };
        for shard in shards {
            let through = found.cuts.entry((*shard, cut.origin)).or_default();
            *through = cut.seq.max(*through);
        }
    }
}

/// What closes is closing, whoever holds it, unless it is quarantined beside.
pub(super) fn with_closing(pool: &LedgerPool, grants: Grants) -> Grants {
    let Some(closing) = &pool.closing else { return grants };
    let shards: Vec<ShardId> = closing.shards.iter().copied().collect();
    grants.with(&shards, |grant| match grant.state {
        GrantState::Held => Grant { state: GrantState::Closing, ..grant },
        GrantState::Closing | GrantState::Quarantined | GrantState::Forced => grant,
    })
}

pub(super) fn grant_of(uid: PoolUid, pool: &LedgerPool, shard: ShardId) -> Result<Grant, LedgerError> {
    let shards = u64::from(pool.grants.shards());
    pool.grants.of(shard).ok_or(LedgerError::ShardUnknown { pool: uid, shard, shards })
}

/// The shards sorted, if each is named once, and not too many.
pub(super) fn distinct(shards: &[ShardId]) -> Result<Vec<ShardId>, LedgerError> {
    if shards.is_empty() || shards.len() > MOST_SHARDS {
        return Err(LedgerError::ShardCount { found: shards.len() as u64, most: MOST_SHARDS as u64 });
    }
    let mut seen = BTreeSet::new();
    match shards.iter().find(|shard| !seen.insert(**shard)) {
        Some(shard) => Err(LedgerError::ShardTwice { shard: *shard }),
        None => Ok(seen.into_iter().collect()),
    }
}
