//! Changing a live pool: more space at once, less only where nobody holds, other terms from now on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Kernel;
use super::cluster::is_open;
use super::pools::layout;
use crate::allocation::Allocation;
use crate::command::{CommandError, Reply};
use crate::draft::{FixedField, fixed_difference, more_shards};
use crate::effects::Effects;
use crate::fact::{Fact, SpanKey};
use crate::id::{PoolUid, Revision, SubscriberId};
use crate::pool::{Pool, PoolDraft, Shard};
use crate::space::Layout;
use crate::span::Span;

/// Most holders named in a refusal.
const NAMED: usize = 100;

/// An update that may be carried out.
struct Change {
    pool: Arc<Pool>,
    layout: Arc<Layout>,
    /// False if only terms differ.
    geometry: bool,
    added_grains: u128,
    removed_grains: u128,
}

impl Kernel {
    /// What the update would do.
    pub(super) fn try_update(
        &mut self,
        uid: PoolUid,
        expected: Option<Revision>,
        draft: PoolDraft,
    ) -> Result<Reply, CommandError> {
        Ok(match self.change(uid, expected, draft)? {
            Ok(Change { pool, added_grains, removed_grains, .. }) => {
                Reply::PoolWouldUpdate { pool, added_grains, removed_grains }
            }
            Err(same) => Reply::PoolWouldUpdate { pool: same, added_grains: 0, removed_grains: 0 },
        })
    }

    pub(super) fn update_pool(
        &mut self,
        uid: PoolUid,
        expected: Option<Revision>,
        draft: PoolDraft,
        effects: &mut Effects,
    ) -> Result<Reply, CommandError> {
        let Change { pool, layout, geometry, .. } = match self.change(uid, expected, draft)? {
            Ok(change) => change,
            Err(same) => return Ok(Reply::PoolUpdated(same)),
        };
        self.log.write(effects, |_| Fact::Pool(Arc::clone(&pool)));
        let unknown = self.unknown_tenure(uid);
        let former = self.pools.get_mut(&uid).map(|state| {
            let former = std::mem::replace(&mut state.pool, Arc::clone(&pool));
            state.layout = Arc::clone(&layout);
            state.number_tenures(unknown);
            former
        });
        debug_assert!(!geometry || former.as_ref().is_some_and(|former| is_reshaped(former, &pool)));
        if former.is_some_and(|former| is_reshaped(&former, &pool)) {
            self.reshape(&pool, &layout, effects);
        }
        Ok(Reply::PoolUpdated(pool))
    }

    /// Checks an update; `Err` inside: there is nothing to change.
    fn change(
        &self,
        uid: PoolUid,
        expected: Option<Revision>,
        draft: PoolDraft,
    ) -> Result<Result<Change, Arc<Pool>>, CommandError> {
        let state = self.open_pool(uid)?;
        let found = &state.pool;
        if let Some(expected) = expected.filter(|expected| *expected != found.revision) {
            let pool = found.draft.id.clone();
            return Err(CommandError::RevisionDiffers { pool, expected, found: found.revision });
        }
        check_fixed(&found.draft, &draft)?;
        if draft == found.draft {
            return Ok(Err(Arc::clone(found)));
        }
        let (old, new) = (&found.draft.geometry, &draft.geometry);
        let geometry = old.spans != new.spans || old.excluded != new.excluded || old.sizing != new.sizing;
        let mut shards = found.shards.clone();
        let mut planned = Arc::clone(&state.layout);
        if geometry {
            self.check_overlap(&draft, Some(uid))?;
            shards = more_shards(&draft, shards)
                .map_err(|why| CommandError::PoolGeometry { pool: draft.id.clone(), why })?;
            planned = layout(&draft, &shards)?;
            self.check_holders(found, &planned)?;
        }
        let (was, is) = (state.layout.capacity(), planned.capacity());
        let (was, is) = (was.total - was.excluded, is.total - is.excluded);
        let revision = Revision(found.revision.0 + 1);
        let updated_ms = self.log.clock.now_ms();
        let pool = Arc::new(Pool { uid, revision, created_ms: found.created_ms, updated_ms, draft, shards });
        Ok(Ok(Change {
            pool,
            layout: planned,
            geometry,
            added_grains: is.saturating_sub(was),
            removed_grains: was.saturating_sub(is),
        }))
    }

    /// What is held or reserved must be in the pool afterwards too.
    fn check_holders(&self, pool: &Pool, planned: &Layout) -> Result<(), CommandError> {
        let outside = |span: &Span| planned.place(*span).is_err();
        let held = self.holders.iter().filter(|held| held.pool == pool.uid && outside(&held.span));
        let held = held.map(|held| (held.span, &held.subscriber));
        let stocks = self.stocks_of(pool.uid);
        let reserved = stocks.flat_map(|((_, realm), stock)| {
            let idle = move |span: Span| self.holders.starting_at(pool.uid, realm, span.start()).is_none();
            stock.reservations().iter().filter(move |kept| outside(&kept.span) && idle(kept.span))
        });
        let reserved = reserved.map(|kept| (kept.span, &kept.subscriber));
        // The lowest are named, so that the answer does not depend on the order of the table.
        let mut named: BTreeSet<(Span, &SubscriberId)> = BTreeSet::new();
        let mut count = 0;
        for holder in held.chain(reserved) {
            count += 1;
            named.insert(holder);
            if named.len() > NAMED {
                named.pop_last();
            }
        }
        if count == 0 {
            return Ok(());
        }
        let holders = named.into_iter().map(|(span, by)| (span, by.clone())).collect();
        Err(CommandError::SpansHeld { pool: pool.draft.id.clone(), count, holders })
    }

    /// What rested in space that the pool gives up is written off: if the space comes back it is free.
    pub(super) fn reshape(&mut self, pool: &Arc<Pool>, layout: &Arc<Layout>, effects: &mut Effects) {
        let held: Vec<Arc<Allocation>> = self.holders.iter().filter(|held| held.pool == pool.uid).cloned().collect();
        let stocks: Vec<_> = self.stocks_of(pool.uid).map(|(of, _)| of).collect();
        // What was added is another's, or nobody's yet, until the ledger says otherwise.
        let lease_good = self.lease_good();
        let shut = |state: &super::PoolState| -> Vec<Shard> {
            let shards = pool.shards.iter().filter(|shard| !is_open(state.tenure(shard.id).1, lease_good));
            shards.copied().collect()
        };
        let shut = self.pools.get(&pool.uid).map(shut).unwrap_or_default();
        for of in stocks {
            let mut here: Vec<Span> = held.iter().filter(|held| held.realm == of.1).map(|held| held.span).collect();
            here.sort_unstable();
            if let Some(stock) = self.stocks.get_mut(&of) {
                for span in stock.reshape(pool, layout, here.into_iter()) {
                    let key = SpanKey { pool: of.0, realm: of.1, span };
                    self.log.note_of_pool(effects, self.cluster.as_ref(), Fact::Free(key));
                }
                for shard in &shut {
                    stock.set_open(shard, false);
                }
            }
            self.reschedule(of);
            self.touch(of);
        }
    }
}

/// Whether free space must be made anew, not only terms.
pub(super) fn is_reshaped(former: &Pool, pool: &Pool) -> bool {
    let (old, new) = (&former.draft.geometry, &pool.draft.geometry);
    let rules = |pool: &Pool| (pool.draft.terms.strict, pool.draft.terms.hold_down_ms == 0);
    old.spans != new.spans || old.excluded != new.excluded || old.sizing != new.sizing || rules(former) != rules(pool)
}

/// What cannot change must not.
fn check_fixed(found: &PoolDraft, wanted: &PoolDraft) -> Result<(), CommandError> {
    match fixed_difference(found, wanted) {
        None => Ok(()),
        Some(FixedField { field, found: was, wanted }) => {
            let pool = found.id.clone();
            Err(CommandError::PoolFieldFixed { pool, field: field.into(), found: was, wanted })
        }
    }
}
