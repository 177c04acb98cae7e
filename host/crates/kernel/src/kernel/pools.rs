//! Making and deleting pools.

use std::sync::Arc;

use super::{Kernel, PoolState};
use crate::allocation::{Allocation, EndCause};
use crate::command::{CommandError, Reply, RequestId};
use crate::draft::{self, differences};
use crate::effects::Effects;
use crate::fact::Fact;
use crate::holders::Holders;
use crate::id::{PoolId, PoolUid, RealmUid, Revision, TenantId};
use crate::pool::{Pool, PoolDraft, Shard};
use crate::rules::Rule;
use crate::space::Layout;
use crate::stock::Stock;

/// Allocations released by a forced deletion in one step.
const RELEASED: usize = 500;

/// Allocations looked at by a forced deletion in one step before it takes a break.
const LOOKED_AT: usize = 20_000;

/// A forced deletion under way. Not recorded: after a crash the pool is there, with what was not released yet.
#[derive(Debug)]
pub(super) struct Deletion {
    pool: PoolUid,
    request: RequestId,
    /// Which part of the holders is looked through next.
    part: usize,
    released: u64,
}

/// What comes of a draft.
enum Planned {
    /// The pool that would be made.
    New(Arc<Pool>, Arc<Layout>),
    /// It is there, the same.
    There(Arc<Pool>),
}

impl Kernel {
    pub(super) fn create_pool(&mut self, draft: PoolDraft, effects: &mut Effects) -> Result<Reply, CommandError> {
        let (pool, layout) = match self.plan_pool(draft)? {
            Planned::New(pool, layout) => (pool, layout),
            Planned::There(pool) => return Ok(Reply::PoolExists(pool)),
        };
        let (uid, draft) = (pool.uid, &pool.draft);
        let realm = draft.terms.realm_by.is_empty().then(|| {
            let tenant = (!draft.realm.shared).then_some(&draft.tenant);
            self.realms.enter(tenant, draft.realm.name.clone(), &mut self.log, effects)
        });
        self.next_pool = PoolUid(uid.0.saturating_add(1));
        self.log.write(effects, |_| Fact::Pool(Arc::clone(&pool)));
        let state = PoolState::new(Arc::clone(&pool), layout, realm, self.unknown_tenure(pool.uid));
        if let Some(realm) = realm {
            self.stocks.insert((uid, realm), state.fresh_stock(self.lease_good()));
            self.touch((uid, realm));
        }
        self.pools.insert(uid, state);
        Ok(Reply::PoolCreated(pool))
    }

    /// What making the pool would do.
    pub(super) fn check_pool(&self, draft: PoolDraft) -> Result<Reply, CommandError> {
        Ok(match self.plan_pool(draft)? {
            Planned::New(pool, _) => Reply::PoolWouldCreate(pool),
            Planned::There(pool) => Reply::PoolExists(pool),
        })
    }

    fn plan_pool(&self, draft: PoolDraft) -> Result<Planned, CommandError> {
        if let Some(state) = self.pool_named(&draft.tenant, &draft.id) {
            return existing(state, &draft).map(Planned::There);
        }
        self.check_overlap(&draft, None)?;
        let shards = shards(&draft)?;
        let layout = layout(&draft, &shards)?;
        let now_ms = self.log.clock.now_ms();
        let uid = self.next_pool;
        let pool = Pool { uid, revision: Revision(1), created_ms: now_ms, updated_ms: now_ms, draft, shards };
        Ok(Planned::New(Arc::new(pool), layout))
    }

    fn pool_named(&self, tenant: &TenantId, id: &PoolId) -> Option<&PoolState> {
        self.pools.values().find(|state| state.pool.draft.id == *id && state.pool.draft.tenant == *tenant)
    }

    /// Refuses what [`PoolDraft::overlap`] finds.
    pub(super) fn check_overlap(&self, draft: &PoolDraft, except: Option<PoolUid>) -> Result<(), CommandError> {
        let others = self.pools.values().map(|state| &state.pool).filter(|other| Some(other.uid) != except);
        for other in others {
            let span = draft.overlap(&other.draft).filter(|_| self.rules.keep(Rule::NoOverlap));
            if let Some(span) = span {
                return Err(CommandError::PoolOverlaps {
                    pool: draft.id.clone(),
                    other: (other.draft.tenant == draft.tenant).then(|| other.draft.id.clone()),
                    realm: draft.base_realm().to_owned(),
                    span,
                });
            }
        }
        Ok(())
    }

    /// `None`: the answer comes when everything is released.
    pub(super) fn delete_pool(
        &mut self,
        request: RequestId,
        uid: PoolUid,
        force: bool,
        effects: &mut Effects,
    ) -> Result<Option<Reply>, CommandError> {
        let pool = self.open_pool(uid)?.pool.draft.id.clone();
        let allocations = self.stocks_of(uid).map(|(_, stock)| stock.allocations()).sum();
        if allocations == 0 {
            self.forget_pool(uid, effects);
            return Ok(Some(Reply::PoolDeleted { released: 0 }));
        }
        if !force {
            return Err(CommandError::PoolInUse { pool, allocations });
        }
        if let Some(state) = self.pools.get_mut(&uid) {
            state.closing = true;
        }
        self.deletions.push_back(Deletion { pool: uid, request, part: 0, released: 0 });
        Ok(None)
    }

    /// Goes on with the deletion that began first.
    pub(super) fn delete_slice(&mut self, effects: &mut Effects) {
        let Some(mut deletion) = self.deletions.pop_front() else { return };
        let mut looked_at = 0;
        while deletion.part < Holders::parts() && looked_at < LOOKED_AT {
            let mut of_pool: Vec<Arc<Allocation>> = Vec::new();
            for held in self.holders.part(deletion.part) {
                looked_at += 1;
                if held.pool == deletion.pool {
                    of_pool.push(Arc::clone(held));
                }
            }
            // The table's own order differs between machines.
            of_pool.sort_unstable_by_key(|held| (held.realm, held.span));
            let whole = of_pool.len() <= RELEASED;
            for held in of_pool.iter().take(RELEASED) {
                self.end(held, EndCause::PoolDeleted, effects);
                deletion.released += 1;
                looked_at += LOOKED_AT / RELEASED;
            }
            if whole {
                deletion.part += 1;
            }
        }
        if deletion.part < Holders::parts() {
            self.deletions.push_front(deletion);
            return;
        }
        self.forget_pool(deletion.pool, effects);
        let reply = Reply::PoolDeleted { released: deletion.released };
        effects.replies.push((deletion.request, Ok(reply)));
    }

    pub(super) fn forget_pool(&mut self, uid: PoolUid, effects: &mut Effects) {
        self.log.write(effects, |_| Fact::PoolDeleted(uid));
        let stocks: Vec<_> = self.stocks_of(uid).map(|(of, _)| of).collect();
        for of in stocks {
            if let Some(mut stock) = self.stocks.remove(&of) {
                self.lease_agenda.set(of, &mut stock.lease_due, None);
                self.rest_agenda.set(of, &mut stock.rest_due, None);
            }
        }
        self.pools.remove(&uid);
        self.conflicts.forget_pool(uid);
    }

    /// What a pool has in each realm.
    pub(super) fn stocks_of(&self, uid: PoolUid) -> impl Iterator<Item = ((PoolUid, RealmUid), &Stock)> {
        self.stocks.range((uid, RealmUid(0))..=(uid, RealmUid(u32::MAX))).map(|(of, stock)| (*of, stock))
    }
}

/// A pool of this name is there: the same, or a conflict.
fn existing(state: &PoolState, draft: &PoolDraft) -> Result<Arc<Pool>, CommandError> {
    let pool = &state.pool;
    if state.closing {
        return Err(CommandError::PoolClosing { pool: pool.draft.id.clone() });
    }
    let fields = differences(&pool.draft, draft);
    if fields.is_empty() {
        Ok(Arc::clone(pool))
    } else {
        Err(CommandError::PoolDiffers { pool: pool.draft.id.clone(), fields })
    }
}

fn shards(draft: &PoolDraft) -> Result<Vec<Shard>, CommandError> {
    draft::shards(draft).map_err(|why| CommandError::PoolGeometry { pool: draft.id.clone(), why })
}

pub(super) fn layout(draft: &PoolDraft, shards: &[Shard]) -> Result<Arc<Layout>, CommandError> {
    let layout = Layout::new(Arc::clone(&draft.geometry), shards);
    layout.map(Arc::new).map_err(|why| CommandError::PoolGeometry { pool: draft.id.clone(), why })
}
