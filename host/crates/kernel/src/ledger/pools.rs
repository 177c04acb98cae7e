//! Pools are made, changed and adopted here, with the same checks as on a host that is alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::closing::{Closing, ClosingWhat};
use super::command::{Change, LedgerReply};
use super::error::LedgerError;
use super::grants::{Grant, GrantKind, GrantState, Grants};
use super::quarantine::Former;
use super::shrink::gives_up;
use super::state::{LedgerPool, Outcome, State};
use crate::draft::{self, FixedField, MOST_SHARDS, differences, fixed_difference, more_shards};
use crate::id::{Epoch, MemberId, PoolId, PoolUid, Revision, ShardId, TenantId};
use crate::pool::{Pool, PoolDraft, Shard};
use crate::space::Layout;

/// Most pools in a ledger.
const MOST_POOLS: usize = 16_384;

/// Most spans and exclusions a pool is described by.
const MOST_RUNS: usize = 65_536;

/// Most bytes of a pool's texts together.
const MOST_TEXT: usize = 1 << 20;

/// A pool from a host's past has no later epoch, so that numbers are left.
const LATEST_ADOPTED: Epoch = Epoch(u32::MAX / 2);

impl State {
    pub(super) fn create_pool(&mut self, draft: &PoolDraft, at_ms: u64, changes: &mut Vec<Change>) -> Outcome {
        if let Some(found) = self.pool_named(&draft.tenant, &draft.id) {
            return existing(found, draft);
        }
        check_size(draft)?;
        if self.pools.len() >= MOST_POOLS {
            return Err(LedgerError::PoolsFull { found: self.pools.len() as u64, most: MOST_POOLS as u64 });
        }
        self.check_overlap(draft, None)?;
        let uid = self.next_pool;
        let next = uid.0.checked_add(1).ok_or(LedgerError::NumbersUsedUp { what: "pools".into() })?;
        let shards = draft::shards(draft).map_err(|why| geometry(draft, &why))?;
        layout(draft, &shards)?;
        let grants = self.grants_with(uid, draft, &Grants::default(), shards.len())?;
        let revision = Revision(1);
        let record = Pool { uid, revision, created_ms: at_ms, updated_ms: at_ms, draft: draft.clone(), shards };
        self.next_pool = PoolUid(next);
        self.put_record(uid, record, grants, changes);
        Ok(LedgerReply::PoolCreated { pool: uid, revision })
    }

    pub(super) fn update_pool(
        &mut self,
        index: u64,
        uid: PoolUid,
        expected: Option<Revision>,
        draft: &PoolDraft,
        at_ms: u64,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let found = self.open_pool(uid)?;
        let was = &found.record;
        if let Some(asked) = expected.filter(|expected| *expected != was.revision) {
            let pool = was.draft.id.clone();
            return Err(LedgerError::RevisionDiffers { pool, found: was.revision, asked });
        }
        if let Some(FixedField { field, found, wanted }) = fixed_difference(&was.draft, draft) {
            let short = |text: compact_str::CompactString| text.chars().take(100).collect();
            let (pool, found, asked) = (was.draft.id.clone(), short(found), short(wanted));
            return Err(LedgerError::PoolFieldFixed { pool, field: field.into(), found, asked });
        }
        if *draft == was.draft {
            return Ok(LedgerReply::PoolUpdated { pool: uid, revision: was.revision });
        }
        check_size(draft)?;
        self.check_overlap(draft, Some(uid))?;
        let (record, grants) = self.changed_record(uid, found, draft.clone(), at_ms)?;
        if gives_up(&was.draft.geometry, &draft.geometry) {
            let (old, new) = (layout(&was.draft, &was.shards)?, layout(draft, &record.shards)?);
            let differ = was.shards.iter().filter(|shard| !old.same_inside(&new, shard.cover));
            let shards: BTreeSet<ShardId> = differ.map(|shard| shard.id).collect();
            let what = ClosingWhat::Update(Box::new(draft.clone()));
            let closing = Closing { since: index, at_ms, what, waiting: shards.clone(), shards };
            return Ok(self.begin_closing(uid, closing, changes));
        }
        let revision = record.revision;
        self.put_record(uid, record, grants, changes);
        Ok(LedgerReply::PoolUpdated { pool: uid, revision })
    }

    /// The pool's next record, and its grants with those of the shards that new space needs.
    pub(super) fn changed_record(
        &self,
        uid: PoolUid,
        found: &LedgerPool,
        draft: PoolDraft,
        at_ms: u64,
    ) -> Result<(Pool, Grants), LedgerError> {
        let was = &found.record;
        let shards = more_shards(&draft, was.shards.clone()).map_err(|why| geometry(&draft, &why))?;
        layout(&draft, &shards)?;
        let grants = self.grants_with(uid, &draft, &found.grants, shards.len())?;
        let next = was.revision.0.checked_add(1).map(Revision);
        let revision = next.ok_or(LedgerError::NumbersUsedUp { what: "revisions".into() })?;
        let mut record = Pool { uid, revision, created_ms: was.created_ms, updated_ms: at_ms, draft, shards };
        stamp_epochs(&mut record, &grants);
        Ok((record, grants))
    }

    pub(super) fn put_record(&mut self, uid: PoolUid, record: Pool, grants: Grants, changes: &mut Vec<Change>) {
        let record = Arc::new(record);
        changes.push(Change::Pool(Arc::clone(&record)));
        if let Some(found) = self.pools.get_mut(&uid) {
            let was = found.record.draft.terms.lease;
            if was != record.draft.terms.lease {
                let before = found.former.map_or(was.longest(), |former| former.longest.max(was.longest()));
                found.former = Some(Former { longest: before, until: record.revision });
            }
            found.record = record;
        } else {
            let (grants, closing, cuts) = (Grants::default(), None, BTreeMap::new());
            let (misread, doubts, former) = (BTreeMap::new(), BTreeMap::new(), None);
            self.pools.insert(uid, LedgerPool { record, grants, closing, cuts, misread, doubts, former });
        }
        self.regrant(uid, grants, changes);
    }

    /// What is checked is all that a host alone would have checked when it made them: its disk is not this ledger's.
    pub(super) fn adopt(&mut self, member: MemberId, pools: &[Pool], changes: &mut Vec<Change>) -> Outcome {
        self.member(member)?;
        if self.next_pool != PoolUid(0) || self.members.len() != 1 {
            let (pools, members) = (self.pools.len() as u64, self.members.len() as u64);
            return Err(LedgerError::NotFirst { pools, members });
        }
        if pools.len() > MOST_POOLS {
            return Err(LedgerError::PoolsFull { found: pools.len() as u64, most: MOST_POOLS as u64 });
        }
        let mut adopted: BTreeMap<PoolUid, (Pool, Grants)> = BTreeMap::new();
        let mut next = 0;
        for pool in pools {
            check_adopted(pool)?;
            for (other, _) in adopted.values() {
                check_apart(&pool.draft, &other.draft)?;
            }
            let after = pool.uid.0.checked_add(1).ok_or(LedgerError::NumbersUsedUp { what: "pools".into() })?;
            next = after.max(next);
            if adopted.insert(pool.uid, (pool.clone(), self.grants_of_past(member, pool))).is_some() {
                return Err(LedgerError::PoolTwice { pool: pool.uid });
            }
        }
        let shards = adopted.values().map(|(pool, _)| pool.shards.len() as u64).sum();
        self.next_pool = PoolUid(next);
        for (uid, (pool, grants)) in adopted {
            self.put_record(uid, pool, grants, changes);
        }
        Ok(LedgerReply::Adopted { pools: pools.len() as u64, shards })
    }

    /// All to one host, in the epochs they have.
    fn grants_of_past(&self, holder: MemberId, pool: &Pool) -> Grants {
        let mut grants = Grants::default();
        let mut shards: Vec<&Shard> = pool.shards.iter().collect();
        shards.sort_unstable_by_key(|shard| shard.id);
        let kinds = self.kinds(&grants, holder, shards.len()).collect::<Vec<GrantKind>>();
        for (shard, kind) in shards.into_iter().zip(kinds) {
            grants.push(Grant { epoch: shard.epoch, holder, kind, state: GrantState::Held, cut: None });
        }
        grants
    }

    fn pool_named(&self, tenant: &TenantId, id: &PoolId) -> Option<&LedgerPool> {
        self.pools.values().find(|pool| pool.record.draft.id == *id && pool.record.draft.tenant == *tenant)
    }

    fn check_overlap(&self, draft: &PoolDraft, except: Option<PoolUid>) -> Result<(), LedgerError> {
        let others = self.pools.iter().filter(|(uid, _)| Some(**uid) != except);
        others.flat_map(|(_, pool)| pool.drafts()).try_for_each(|other| check_overlap_of(draft, other))
    }
}

/// Writes into a record in which epochs its shards stand.
pub(super) fn stamp_epochs(record: &mut Pool, grants: &Grants) {
    for shard in &mut record.shards {
        if let Some(grant) = grants.of(shard.id) {
            shard.epoch = grant.epoch;
        }
    }
}

/// A pool of this name is there: the same, or a conflict.
fn existing(found: &LedgerPool, draft: &PoolDraft) -> Outcome {
    let record = &found.record;
    if let Some(closing) = &found.closing {
        return Err(LedgerError::PoolClosing { pool: record.draft.id.clone(), since: closing.since });
    }
    let fields = differences(&record.draft, draft);
    if fields.is_empty() {
        Ok(LedgerReply::PoolExists { pool: record.uid, revision: record.revision })
    } else {
        Err(LedgerError::PoolDiffers { pool: record.draft.id.clone(), fields })
    }
}

fn check_overlap_of(draft: &PoolDraft, other: &PoolDraft) -> Result<(), LedgerError> {
    let Some(span) = draft.overlap(other) else { return Ok(()) };
    Err(LedgerError::PoolOverlaps {
        pool: draft.id.clone(),
        other: (other.tenant == draft.tenant).then(|| other.id.clone()),
        realm: draft.base_realm().to_owned(),
        span,
    })
}

fn check_apart(draft: &PoolDraft, other: &PoolDraft) -> Result<(), LedgerError> {
    if draft.id == other.id && draft.tenant == other.tenant {
        return Err(LedgerError::PoolDiffers { pool: draft.id.clone(), fields: vec!["number".into()] });
    }
    check_overlap_of(draft, other)
}

fn check_adopted(pool: &Pool) -> Result<(), LedgerError> {
    let refused = |why: String| Err(geometry(&pool.draft, &why));
    check_size(&pool.draft)?;
    let count = pool.shards.len();
    if count == 0 || count > MOST_SHARDS {
        return refused(format!("it has {count} shards, right would be 1 to {MOST_SHARDS}"));
    }
    let mut ids: Vec<u32> = pool.shards.iter().map(|shard| shard.id.0).collect();
    ids.sort_unstable();
    if !ids.into_iter().eq((0..).take(count)) {
        return refused(format!("its {count} shards are not numbered from 0 without a gap"));
    }
    if !pool.shards.is_sorted_by_key(|shard| shard.cover) {
        return refused("its shards are not in the order of their covers".to_owned());
    }
    let in_range = |shard: &&Shard| (Epoch(1)..=LATEST_ADOPTED).contains(&shard.epoch);
    if let Some(shard) = pool.shards.iter().find(|shard| !in_range(shard)) {
        return refused(format!(
            "shard {} is in epoch {}, right would be 1 to {LATEST_ADOPTED}",
            shard.id, shard.epoch
        ));
    }
    layout(&pool.draft, &pool.shards).map(|_| ())
}

fn check_size(draft: &PoolDraft) -> Result<(), LedgerError> {
    let runs = draft.geometry.spans.len() + draft.geometry.excluded.len();
    if runs > MOST_RUNS {
        return Err(LedgerError::field("the number of spans and exclusions", runs, "at most 65536"));
    }
    let attributes = draft.geometry.attributes.iter().map(|(name, value)| name.len() + value.len());
    let realm_by = draft.terms.realm_by.iter().map(compact_str::CompactString::len);
    let plain = [draft.spec.len(), draft.terms.metadata.len(), draft.extra.len(), draft.mapping_id.len()];
    let text: usize = attributes.chain(realm_by).chain(plain).sum();
    if text > MOST_TEXT {
        return Err(LedgerError::field("the length of the pool's texts", text, "at most 1048576 bytes"));
    }
    Ok(())
}

fn geometry(draft: &PoolDraft, why: &str) -> LedgerError {
    LedgerError::PoolGeometry { pool: draft.id.clone(), why: why.chars().take(500).collect() }
}

fn layout(draft: &PoolDraft, shards: &[Shard]) -> Result<Layout, LedgerError> {
    Layout::new(Arc::clone(&draft.geometry), shards).map_err(|why| geometry(draft, &why))
}
