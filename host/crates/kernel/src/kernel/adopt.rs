//! A snapshot of what another host knows, taken in word by word over what is known here.
//!
//! Everything known here when it begins is noted. A word of the snapshot replaces what stands where it stands; what was noted
//! and is not in the snapshot is dropped at the end, because the snapshot covers whatever this host heard. No word's origin
//! need be remembered for that: a snapshot that covers less than was heard is refused.
//!
//! All of it is written as heard from others, so that nobody takes it for words of this host; the vector is written last, as
//! one fact. Whatever is cut short before that is no harm: nothing counts as heard, and the next snapshot begins with noting
//! everything again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::hear::Readiness;
use super::{Kernel, PoolState};
use crate::allocation::{Allocation, Reservation, Resting};
use crate::effects::Effects;
use crate::fact::{Fact, SpanKey};
use crate::id::{Dot, Origin, PoolUid, RealmUid, Seq, ShardId};
use crate::replica::with_realm;
use crate::snapshot::{Adopting, SnapshotPart};
use crate::span::Span;
use crate::stock::{Afterwards, HeldByItsOwn};
use crate::tenure::Tenure;

/// Words dropped in one step at the end.
const DROPPED: usize = 1_000;

/// A snapshot under way.
#[derive(Debug)]
pub(super) struct Adoption {
    vector: BTreeMap<Origin, Seq>,
    /// Under whose name and number it is written what vanished: the snapshot says so.
    by: Dot,
    /// What was known before and was not met in the snapshot yet: spans that are held or rest, and reserved ones. About 60
    /// bytes each, and none on a new host.
    spans: BTreeSet<SpanKey>,
    reserved: BTreeSet<SpanKey>,
    /// Writes of notes, likewise.
    notes: BTreeSet<Dot>,
}

impl Kernel {
    /// Takes in some words of a snapshot. A first part begins anew, whatever was under way.
    pub(super) fn adopt_part(&mut self, part: &SnapshotPart, effects: &mut Effects) -> Adopting {
        if let Some(refused) = self.refuses(&part.vector) {
            return self.refused(refused);
        }
        if part.ops.iter().any(|op| matches!(self.readiness(&op.fact, &part.pools), Readiness::Later)) {
            return Adopting::Later;
        }
        let mut adoption = if part.first {
            self.begin_adoption(part.by, &part.vector)
        } else {
            match self.take_adoption(part.by, &part.vector) {
                Some(under_way) => under_way,
                None => return Adopting::Unknown,
            }
        };
        let mut realms: Vec<Option<RealmUid>> = vec![None; part.realms.len()];
        for op in &part.ops {
            let Some(from) = op.from else { continue };
            // The logs tell what comes after the vector.
            if part.vector.get(&from.origin).is_none_or(|through| from.seq > *through) {
                continue;
            }
            let log = &mut self.log;
            let mut number = |place: RealmUid| {
                let place = usize::try_from(place.0).ok()?;
                let (tenant, name) = part.realms.get(place)?;
                let slot = realms.get_mut(place)?;
                Some(*slot.get_or_insert_with(|| self.realms.enter(tenant.as_ref(), name.clone(), log, effects)))
            };
            match with_realm(&op.fact, &mut number, Seq(0)) {
                Some(Fact::Held(held)) => self.adopt_held(&held, from, &mut adoption, effects),
                Some(Fact::Resting(rest)) => self.adopt_resting(&rest, from, &mut adoption, effects),
                Some(Fact::Reserved(kept)) => self.adopt_reserved(&kept, from, &mut adoption, effects),
                // No key's last word: whoever made the snapshot leaves it out.
                Some(Fact::Noted(note)) => self.adopt_note(&note, from, &mut adoption.notes, effects),
                Some(
                    Fact::Free(_)
                    | Fact::Unreserved { .. }
                    | Fact::Pool(_)
                    | Fact::PoolDeleted(_)
                    | Fact::Realm(_)
                    | Fact::Clock
                    | Fact::Heard { .. }
                    | Fact::RestsOn(_)
                    | Fact::Adopted(_)
                    | Fact::Unnoted(_)
                    | Fact::Conflict(_)
                    | Fact::ConflictClosed(_),
                )
                | None => {}
            }
        }
        self.adoption = Some(adoption);
        Adopting::Taken
    }

    /// All words were told: drops what the snapshot does not have, some of it in each step, then goes on from its vector.
    pub(super) fn adopt_end(&mut self, by: Origin, vector: &BTreeMap<Origin, Seq>, effects: &mut Effects) -> Adopting {
        if let Some(refused) = self.refuses(vector) {
            return self.refused(refused);
        }
        let Some(mut adoption) = self.take_adoption(by, vector) else { return Adopting::Unknown };
        let mut room = DROPPED;
        while room > 0
            && let Some(key) = adoption.reserved.pop_first()
        {
            self.drop_reservation(key, adoption.by, effects);
            room -= 1;
        }
        while room > 0
            && let Some(key) = adoption.spans.pop_first()
        {
            self.drop_span(key, adoption.by, effects);
            room -= 1;
        }
        if room > 0 {
            self.drop_notes(&mut adoption.notes, room, effects);
        }
        let left = adoption.spans.len() + adoption.reserved.len() + adoption.notes.len();
        if left > 0 {
            self.adoption = Some(adoption);
            return Adopting::Going { left };
        }
        let own = self.cluster.as_ref().map(|cluster| cluster.origin);
        let mut news = adoption.vector;
        news.retain(|origin, through| {
            Some(*origin) != own && self.heard.get(origin).is_none_or(|known| *known < *through)
        });
        for (origin, through) in &news {
            self.heard.insert(*origin, *through);
            // Which of the numbers up to here was the last word is not known.
            self.words.insert(*origin, *through);
        }
        if !news.is_empty() {
            self.log.write(effects, |_| Fact::Adopted(Arc::new(news)));
        }
        // Deadlines waited meanwhile.
        let stocks: Vec<_> = self.stocks.keys().copied().collect();
        for of in stocks {
            self.reschedule(of);
        }
        let shards = |(uid, state): (&PoolUid, &PoolState)| {
            let answered = (0..).map(ShardId).zip(&state.tenures).filter(|(_, term)| term.tenure.answers());
            answered.map(|(shard, _)| (*uid, shard)).collect::<Vec<_>>()
        };
        let answered = self.pools.iter().flat_map(shards).collect();
        self.begin_in(answered, effects);
        self.reserve_owed(effects);
        Adopting::Done
    }

    /// The snapshot under way, if it is this one; another one stays.
    fn take_adoption(&mut self, by: Origin, vector: &BTreeMap<Origin, Seq>) -> Option<Adoption> {
        self.adoption.take_if(|known| known.vector == *vector && known.by.origin == by)
    }

    /// Whether a snapshot is being taken in.
    pub fn is_adopting(&self) -> bool {
        self.adoption.is_some()
    }

    fn refuses(&self, vector: &BTreeMap<Origin, Seq>) -> Option<Adopting> {
        let Some(cluster) = &self.cluster else { return Some(Adopting::Owner) };
        let hands_out = |tenure| matches!(tenure, Tenure::Escrow | Tenure::Leased);
        if self.pools.values().flat_map(|state| &state.tenures).any(|term| hands_out(term.tenure)) {
            return Some(Adopting::Owner);
        }
        let covered = |origin: &Origin| vector.get(origin).copied().unwrap_or_default();
        let own = (cluster.origin, self.log.last_word);
        let heard = self.heard.iter().map(|(origin, known)| (*origin, *known));
        let heard = heard.filter(|(origin, _)| *origin != cluster.origin);
        let beyond = heard.chain([own]).find(|(origin, known)| *known > covered(origin));
        beyond.map(|(origin, seq)| Adopting::Behind(Dot { origin, seq }))
    }

    /// Whoever owns something cannot wait for a snapshot; everybody else hears nothing but a newer one.
    fn refused(&mut self, why: Adopting) -> Adopting {
        if why == Adopting::Owner {
            self.adoption = None;
        }
        why
    }

    fn begin_adoption(&self, by: Origin, vector: &BTreeMap<Origin, Seq>) -> Adoption {
        let mut spans: Vec<SpanKey> = self.holders.iter().map(|held| key_of_held(held)).collect();
        let mut reserved = BTreeSet::new();
        for ((pool, realm), stock) in &self.stocks {
            let key = |span| SpanKey { pool: *pool, realm: *realm, span };
            spans.extend(stock.rests().iter().map(|rest| key(rest.span)));
            reserved.extend(stock.reservations().iter().map(|kept| key(kept.span)));
        }
        let by = Dot { origin: by, seq: vector.get(&by).copied().unwrap_or_default() };
        // From a list at once: much faster than one after the other.
        Adoption { vector: vector.clone(), by, spans: spans.into_iter().collect(), reserved, notes: self.notes.dots() }
    }

    fn adopt_held(&mut self, held: &Allocation, from: Dot, adoption: &mut Adoption, effects: &mut Effects) {
        let key = key_of_held(held);
        let known = self.holders.starting_at(key.pool, key.realm, key.span.start()).cloned();
        let known = known.filter(|known| known.span == key.span && is_same_holder(known, held));
        if let Some(known) = &known {
            adoption.spans.remove(&key);
            if crate::digest::of_held(known) == crate::digest::of_held(held) {
                return;
            }
        }
        self.clear_spans(key, adoption, effects);
        let stock = self.stocks.get(&(key.pool, key.realm));
        let own = stock.and_then(|stock| stock.reservations().exactly(key.span));
        let own = own.is_some_and(|kept| kept.subscriber == held.subscriber);
        if !own {
            self.clear_reservations(key, adoption, effects);
        }
        self.hear_held(held, from, effects);
    }

    fn adopt_resting(&mut self, rest: &Resting, from: Dot, adoption: &mut Adoption, effects: &mut Effects) {
        let key = SpanKey { pool: rest.pool, realm: rest.realm, span: rest.span };
        let stock = self.stocks.get(&(key.pool, key.realm));
        let known = stock.and_then(|stock| stock.rests().touching(key.span).find(|known| known.span == key.span));
        if known.is_some_and(|known| is_same_rest(known, rest)) {
            adoption.spans.remove(&key);
            return;
        }
        let held = self.holders.starting_at(key.pool, key.realm, key.span.start());
        if held.is_some_and(|held| held.span == key.span) {
            // It ends here as it did with its owner.
            adoption.spans.remove(&key);
        }
        self.clear_spans(key, adoption, effects);
        self.clear_reservations(key, adoption, effects);
        self.hear_resting(rest, from, effects);
    }

    fn adopt_reserved(&mut self, kept: &Reservation, from: Dot, adoption: &mut Adoption, effects: &mut Effects) {
        let key = kept.key();
        let stock = self.stocks.get(&(key.pool, key.realm));
        let known = stock.and_then(|stock| stock.reservations().exactly(key.span));
        if known.is_some_and(|known| crate::digest::of_reserved(known) == crate::digest::of_reserved(kept)) {
            adoption.reserved.remove(&key);
            return;
        }
        self.clear_reservations(key, adoption, effects);
        let held = self.holders.starting_at(key.pool, key.realm, key.span.start());
        let own = held.is_some_and(|held| held.span == key.span && held.subscriber == kept.subscriber);
        if !own {
            self.clear_spans(key, adoption, effects);
        }
        self.hear_reserved(kept, from, effects);
    }

    /// Drops what was known before and is held or rests where a word of the snapshot stands.
    fn clear_spans(&mut self, key: SpanKey, adoption: &mut Adoption, effects: &mut Effects) {
        while let Some(found) = touching(&adoption.spans, key) {
            adoption.spans.remove(&found);
            self.drop_span(found, adoption.by, effects);
        }
    }

    fn clear_reservations(&mut self, key: SpanKey, adoption: &mut Adoption, effects: &mut Effects) {
        while let Some(found) = touching(&adoption.reserved, key) {
            adoption.reserved.remove(&found);
            self.drop_reservation(found, adoption.by, effects);
        }
    }

    /// The span is neither held nor rests, if it did; no end of an allocation is written, because nobody knows of one.
    fn drop_span(&mut self, key: SpanKey, from: Dot, effects: &mut Effects) {
        let of = (key.pool, key.realm);
        let held = self.holders.starting_at(key.pool, key.realm, key.span.start()).cloned();
        let Some(stock) = self.stocks.get_mut(&of) else { return };
        if let Some(held) = held.filter(|held| held.span == key.span) {
            self.holders.remove(&held);
            if let Some(end) = held.expires_ms() {
                let end_ms = self.log.clock.lease_end(end.get(), held.seq());
                self.leases -= usize::from(stock.leases.remove(end_ms, held.seq()));
            }
            let reserved = stock.reservations().exactly(key.span).is_some();
            stock.let_go(key.span, if reserved { Afterwards::Reserved } else { Afterwards::Free });
        } else if stock.rests().touching(key.span).any(|rest| rest.span == key.span) {
            stock.wake(key.span.start());
        } else {
            return;
        }
        self.log.relay(effects, from, Fact::Free(key));
        self.reschedule(of);
        self.touch(of);
    }

    pub(super) fn drop_reservation(&mut self, key: SpanKey, from: Dot, effects: &mut Effects) {
        let of = (key.pool, key.realm);
        let held = self.holders.starting_at(key.pool, key.realm, key.span.start());
        let held = held.is_some_and(|held| held.span == key.span);
        let Some(stock) = self.stocks.get_mut(&of) else { return };
        if let Some(gone) = stock.unreserve(key.span, if held { HeldByItsOwn::Yes } else { HeldByItsOwn::No }) {
            self.log.relay(effects, from, Fact::unreserved(&gone));
            self.touch(of);
        }
    }
}

fn key_of_held(held: &Allocation) -> SpanKey {
    SpanKey { pool: held.pool, realm: held.realm, span: held.span }
}

fn is_same_holder(known: &Allocation, held: &Allocation) -> bool {
    known.subscriber == held.subscriber && known.key() == held.key()
}

fn is_same_rest(known: &Resting, rest: &Resting) -> bool {
    let whose = |rest: &Resting| (rest.created_ms, rest.ended_ms, rest.until_ms, rest.cause);
    whose(known) == whose(rest) && known.subscriber == rest.subscriber && known.key == rest.key
}

/// The first of these disjoint spans that shares a position with the key's.
fn touching(spans: &BTreeSet<SpanKey>, key: SpanKey) -> Option<SpanKey> {
    let at = |start: u128| Span::new(start, 1).map(|span| SpanKey { span, ..key });
    let here = |found: &&SpanKey| found.pool == key.pool && found.realm == key.realm && found.span.intersects(key.span);
    let first = at(key.span.start())?;
    let reaching = spans.range(..first).next_back().filter(here);
    reaching.or_else(|| spans.range(first..).next().filter(here)).copied()
}
