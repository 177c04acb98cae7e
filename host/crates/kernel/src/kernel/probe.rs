//! What only the simulator asks of a kernel.

use super::Kernel;
use crate::id::{PoolUid, ShardId, SubscriberId};
use crate::span::Span;
use crate::tenure::Tenure;

impl Kernel {
    /// The shards this kernel would hand out from at a moment of the boot clock.
    pub(crate) fn hands_out(&self, boot_ms: u64) -> impl Iterator<Item = (PoolUid, ShardId)> + '_ {
        let lease_good = self.cluster.as_ref().is_none_or(|cluster| cluster.is_good_at(boot_ms, self.rules));
        self.pools.values().flat_map(move |state| {
            let open = state.pool.shards.iter().filter(move |shard| match state.tenure(shard.id).1 {
                Tenure::Escrow => true,
                Tenure::Leased => lease_good,
                Tenure::Kept | Tenure::Silent | Tenure::Theirs(_) => false,
            });
            open.map(|shard| (state.pool.uid, shard.id))
        })
    }

    /// How many allocations a subscriber has in a pool.
    pub(crate) fn count_of(&self, pool: PoolUid, subscriber: &SubscriberId) -> usize {
        self.holders.iter().filter(|held| held.pool == pool && held.subscriber == *subscriber).count()
    }

    /// Whether a subscriber holds this span.
    pub(crate) fn knows_of(&self, pool: PoolUid, subscriber: &SubscriberId, span: Span) -> bool {
        let mut held = self.holders.iter();
        held.any(|held| held.pool == pool && held.subscriber == *subscriber && held.span == span)
    }

    /// What is held or reserved in a shard.
    pub(crate) fn taken(&self, pool: PoolUid, shard: ShardId) -> impl Iterator<Item = Span> + '_ {
        let held = self.holders.iter().filter(move |held| held.pool == pool && held.shard == shard);
        let within = move |span: &Span| {
            let state = self.pools.get(&pool);
            state.is_some_and(|state| state.layout.place(*span).is_ok_and(|found| found == shard))
        };
        let reserved = self.stocks_of(pool).flat_map(|(_, stock)| stock.reservations().iter().map(|kept| kept.span));
        held.map(|held| held.span).chain(reserved.filter(within))
    }

    /// Now, by the clock that leases and rests end by.
    pub(crate) fn kept_ms(&self) -> u64 {
        self.log.clock.now_ms()
    }

    /// What is held, rests for longer than that moment and is reserved, in words that mean the same on every host.
    pub(crate) fn rows(&self, over_ms: u64) -> Vec<String> {
        let realm = |uid| self.realms.name(uid).map_or_else(String::new, ToString::to_string);
        let held = self.holders.iter().map(|held| {
            let (pool, span, subscriber, key) = (held.pool, held.span, &held.subscriber, held.key());
            let (shard, epoch, expires) = (held.shard, held.epoch, held.expires_ms());
            let (created, renewed) = (held.created_ms(), held.renewed_ms());
            let realm = realm(held.realm);
            let mark = held.supersedes();
            format!(
                "held {pool} {realm} {span:?} {subscriber} {key:?} {shard}/{epoch} {created} {renewed} {expires:?} {mark:?}"
            )
        });
        let mut rows: Vec<String> = held.collect();
        for ((pool, uid), stock) in &self.stocks {
            let realm = realm(*uid);
            let rests = stock.rests().iter().filter(|rest| rest.until_ms > over_ms);
            rows.extend(rests.map(|rest| {
                let (span, subscriber, until, ended) = (rest.span, &rest.subscriber, rest.until_ms, rest.ended_ms);
                format!("rests {pool} {realm} {span:?} {subscriber} {:?} {ended} {until}", rest.key)
            }));
            let reserved = stock.reservations().iter();
            rows.extend(reserved.map(|kept| format!("reserved {pool} {realm} {:?} {}", kept.span, kept.subscriber)));
        }
        // Of deletions alone nothing is left once everybody knows, at each host in its own time.
        let notes = self.notes.keys().filter(|(_, _, writes)| writes.iter().any(|write| write.note.value.is_some()));
        rows.extend(notes.map(|(tenant, key, writes)| {
            let writes: Vec<_> =
                writes.iter().map(|write| (write.note.stamp, write.dot(), &write.note.value)).collect();
            format!("note {tenant} {key} {writes:?}")
        }));
        rows.sort_unstable();
        rows
    }
}
