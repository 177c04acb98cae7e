//! Operations on their way from one host to another.
//!
//! A realm's number means something in one host's log only, so a batch names its realms, and facts in it carry their place
//! in that list. Numbers of operations are their origin's. What only the writing host needs (its pools' records, its
//! realms, what it heard from others) is not sent: `after` and `through` say which numbers the batch speaks for, and what
//! is not in it means nothing to others.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::allocation::{Allocation, AllocationParts, Reservation, Resting};
use crate::fact::{Fact, Op, SpanKey};
use crate::id::{Origin, PoolUid, RealmName, RealmUid, Revision, Seq, TenantId};
use crate::note::Note;

/// A realm as it is named between hosts; without a tenant it is shared.
pub type NamedRealm = (Option<TenantId>, RealmName);

/// What the numbers in a host's log stand for.
pub trait Names {
    /// What a realm is called.
    fn realm(&self, uid: RealmUid) -> Option<NamedRealm>;

    /// Which record of a pool this host goes by; at least the one that stood when the last operation about it was written, or
    /// taken in.
    fn revision(&self, pool: PoolUid) -> Option<Revision>;
}

/// A run of one origin's log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    pub origin: Origin,
    /// The batch continues what is known through here.
    pub after: Seq,
    /// Every operation of the origin after `after` and up to here that concerns others is in it.
    pub through: Seq,
    pub realms: Vec<NamedRealm>,
    pub ops: Vec<Op>,
    /// Which record the sender goes by of each pool that the operations are about. Whoever goes by an older one waits: it
    /// may take space for excluded that has come back since, and what is held there for a word of long ago.
    pub pools: BTreeMap<PoolUid, Revision>,
}

impl Batch {
    /// Packs operations whose numbers are the origin's and whose realms are this host's. Facts of a realm that `name` does
    /// not know are left out: this host's own log names a realm before it uses it, so there are none.
    pub fn pack<'a>(
        origin: Origin,
        after: Seq,
        through: Seq,
        ops: impl IntoIterator<Item = &'a Op>,
        names: &impl Names,
    ) -> Self {
        let mut places = Places::default();
        let ops = ops.into_iter();
        let ops = ops.filter_map(|op| {
            let fact = with_realm(&op.fact, &mut |realm| places.of(realm, names), op.seq)?;
            places.note_pool(&fact, names);
            let seq = op.from.map_or(op.seq, |from| from.seq);
            Some(Op { seq, stamp_ms: op.stamp_ms, from: None, fact })
        });
        let ops = ops.collect();
        let Places { realms, pools, .. } = places;
        Self { origin, after, through, realms, ops, pools }
    }
}

/// Realms by their place in a message, and the pools it is about.
#[derive(Debug, Default)]
pub(crate) struct Places {
    known: BTreeMap<RealmUid, RealmUid>,
    pub(crate) realms: Vec<NamedRealm>,
    pub(crate) pools: BTreeMap<PoolUid, Revision>,
}

impl Places {
    /// The realm's place, made if it has none yet; `None` if it has no name.
    pub(crate) fn of(&mut self, realm: RealmUid, names: &impl Names) -> Option<RealmUid> {
        if let Some(place) = self.known.get(&realm) {
            return Some(*place);
        }
        let place = RealmUid(u32::try_from(self.realms.len()).ok()?);
        self.realms.push(names.realm(realm)?);
        self.known.insert(realm, place);
        Some(place)
    }

    /// The message says something about this pool.
    pub(crate) fn note_pool(&mut self, fact: &Fact, names: &impl Names) {
        if let Some(pool) = fact.of_pool().filter(|pool| !self.pools.contains_key(pool)) {
            self.pools.extend(names.revision(pool).map(|revision| (pool, revision)));
        }
    }
}

/// The same fact with its realm's number exchanged and another operation's number; `None` for what is not sent, or whose
/// realm has no number.
pub(crate) fn with_realm(fact: &Fact, realm: &mut impl FnMut(RealmUid) -> Option<RealmUid>, seq: Seq) -> Option<Fact> {
    let key = |key: &SpanKey, realm: RealmUid| SpanKey { realm, ..*key };
    Some(match fact {
        Fact::Held(held) => {
            let realm = realm(held.realm)?;
            Fact::Held(Arc::new(moved(held, realm, seq)))
        }
        Fact::Resting(rest) => {
            let realm = realm(rest.realm)?;
            Fact::Resting(Arc::new(Resting { realm, seq, ..Resting::clone(rest) }))
        }
        Fact::Reserved(kept) => {
            let realm = realm(kept.realm)?;
            Fact::Reserved(Arc::new(Reservation { realm, seq, ..Reservation::clone(kept) }))
        }
        Fact::Free(of) => Fact::Free(key(of, realm(of.realm)?)),
        Fact::Unreserved { key: of, made } => Fact::Unreserved { key: key(of, realm(of.realm)?), made: *made },
        Fact::RestsOn(dot) => Fact::RestsOn(*dot),
        // Which places of a log it ended means nothing in another.
        Fact::Noted(note) => Fact::Noted(Arc::new(Note { ends: Box::default(), ..Note::clone(note) })),
        Fact::Unnoted(_) | Fact::Conflict(_) | Fact::ConflictClosed(_) => return None,
        Fact::Pool(_) | Fact::PoolDeleted(_) | Fact::Realm(_) | Fact::Clock | Fact::Heard { .. } | Fact::Adopted(_) => {
            return None;
        }
    })
}

/// The same allocation in another host's numbering. It keeps its name.
pub fn moved(held: &Allocation, realm: RealmUid, seq: Seq) -> Allocation {
    let (parts, name): (AllocationParts, _) = held.clone().into();
    (AllocationParts { realm, seq, ..parts }, name).into()
}
