//! Changing a live pool: more space at once, less only where nobody holds, other terms from now on.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use compact_str::{CompactString, format_compact};

use super::Kernel;
use super::pools::{layout, number_shards};
use crate::allocation::Allocation;
use crate::command::{CommandError, Reply};
use crate::effects::Effects;
use crate::fact::{Fact, SpanKey};
use crate::id::{PoolUid, Revision, SubscriberId};
use crate::pool::{Alignment, Pool, PoolDraft, Shard};
use crate::space::{Layout, cut_more_shards};
use crate::span::Span;

/// Most shards a pool may have.
const SHARDS: usize = 16_384;

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
        let unknown = self.unknown_tenure();
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
            shards = more_shards(&draft, shards)?;
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
        for of in stocks {
            let mut here: Vec<Span> = held.iter().filter(|held| held.realm == of.1).map(|held| held.span).collect();
            here.sort_unstable();
            if let Some(stock) = self.stocks.get_mut(&of) {
                for span in stock.reshape(pool, layout, here.into_iter()) {
                    self.log.write(effects, |_| Fact::Free(SpanKey { pool: of.0, realm: of.1, span }));
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

/// What cannot change while a pool lives, because allocations and shards are made of it. The cut is not among it: only
/// new shards are cut by it.
fn check_fixed(found: &PoolDraft, wanted: &PoolDraft) -> Result<(), CommandError> {
    let (old, new) = (&found.geometry, &wanted.geometry);
    let (old_sizing, new_sizing) = (&old.sizing, &new.sizing);
    let fields = [
        ("tenant", fixed(&found.tenant, &wanted.tenant)),
        ("id", fixed(&found.id, &wanted.id)),
        ("type", fixed(&found.type_id, &wanted.type_id)),
        ("realm", fixed(&found.realm.name, &wanted.realm.name)),
        ("shared", fixed(&found.realm.shared, &wanted.realm.shared)),
        ("realm_by", fixed(&Listed(&found.terms.realm_by), &Listed(&wanted.terms.realm_by))),
        ("sharding_factor", fixed(&Wished(found.sharding_factor), &Wished(wanted.sharding_factor))),
        ("grain", fixed(&Positions(old.grain), &Positions(new.grain))),
        ("alignment", fixed(&Aligned(old_sizing.align), &Aligned(new_sizing.align))),
        ("shortest length", fixed(&Positions(old_sizing.min_len), &Positions(new_sizing.min_len))),
        ("longest length", fixed(&Positions(old_sizing.max_len), &Positions(new_sizing.max_len))),
    ];
    let Some((field, (found_value, wanted_value))) =
        fields.into_iter().find_map(|(field, change)| Some((field, change?)))
    else {
        return Ok(());
    };
    Err(CommandError::PoolFieldFixed {
        pool: found.id.clone(),
        field: field.into(),
        found: found_value,
        wanted: wanted_value,
    })
}

/// Both values as text, if they differ.
fn fixed<T: PartialEq + fmt::Display>(found: &T, wanted: &T) -> Option<(CompactString, CompactString)> {
    (found != wanted).then(|| (format_compact!("{found}"), format_compact!("{wanted}")))
}

#[derive(PartialEq)]
struct Listed<'a>(&'a [CompactString]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("none") } else { f.write_str(&self.0.join(",")) }
    }
}

#[derive(PartialEq)]
struct Wished(Option<u32>);

impl fmt::Display for Wished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(count) => write!(f, "{count}"),
            None => f.write_str("the default"),
        }
    }
}

/// A length on the line. Prefixes of IPv6 are told by their power of two.
#[derive(PartialEq)]
struct Positions(u128);

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(len) = *self;
        if len.is_power_of_two() && len > 65_536 { write!(f, "2^{}", len.ilog2()) } else { write!(f, "{len}") }
    }
}

#[derive(PartialEq)]
struct Aligned(Alignment);

impl fmt::Display for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Alignment::Origin => "from the start of each span",
            Alignment::Natural => "on multiples of the length",
        })
    }
}

/// The shards there are, and those that new space needs, in order of their covers.
fn more_shards(draft: &PoolDraft, mut shards: Vec<Shard>) -> Result<Vec<Shard>, CommandError> {
    let refused = |why: String| CommandError::PoolGeometry { pool: draft.id.clone(), why };
    let covers = cut_more_shards(&draft.geometry, &shards).map_err(refused)?;
    let count = shards.len() + covers.len();
    if count > SHARDS {
        return Err(refused(format!("it would have {count} shards, at most {SHARDS} are allowed: make a second pool")));
    }
    let next = shards.iter().map(|shard| shard.id.0 + 1).max().unwrap_or(0);
    shards.extend(number_shards(next, covers));
    shards.sort_unstable_by_key(|shard| shard.cover);
    Ok(shards)
}
