//! What one host knows, on its way to another whose peers' logs no longer reach back to what that one heard last.
//!
//! A snapshot is the last word of every key: what is held, what rests, what is reserved, the writes of notes that stand, each
//! with the name of the operation that said so. Pools and grants are not in it, the ledger tells them. It goes in parts, in
//! the order of keys with notes and reservations first, and speaks for every origin up to its vector.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fact::{Fact, Op};
use crate::id::{Dot, Origin, PoolUid, Revision, Seq};
use crate::replica::{NamedRealm, Names, Places, with_realm};

/// Some of a snapshot's words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// Who gives it.
    pub by: Origin,
    /// It has every word up to here that is some key's last one. Another vector is another snapshot.
    pub vector: BTreeMap<Origin, Seq>,
    /// The snapshot begins with this part. Whoever forgot the parts before another one must be told all of them again.
    pub first: bool,
    pub realms: Vec<NamedRealm>,
    /// Each with the name of the operation it was; realms by their place in the list.
    pub ops: Vec<Op>,
    /// As in a [`Batch`](crate::replica::Batch).
    pub pools: BTreeMap<PoolUid, Revision>,
}

impl SnapshotPart {
    /// Packs operations of the giver's checkpoint: its own are named by its origin, and whatever is no word of a key is left
    /// out, as are words that the vector does not cover: the logs tell them afterwards.
    pub fn pack<'a>(
        by: Origin,
        vector: BTreeMap<Origin, Seq>,
        first: bool,
        ops: impl IntoIterator<Item = &'a Op>,
        names: &impl Names,
    ) -> Self {
        let mut places = Places::default();
        let ops = ops.into_iter().filter_map(|op| {
            let from = op.from.unwrap_or(Dot { origin: by, seq: op.seq });
            let covered = vector.get(&from.origin).is_some_and(|through| from.seq <= *through);
            let word = matches!(op.fact, Fact::Held(_) | Fact::Resting(_) | Fact::Reserved(_) | Fact::Noted(_));
            if !covered || !word {
                return None;
            }
            let mut fact = with_realm(&op.fact, &mut |realm| places.of(realm, names), from.seq)?;
            places.note_pool(&fact, names);
            if let Fact::Noted(note) = &mut fact {
                // The giver may have written it before it knew under which name.
                Arc::make_mut(note).by = from.origin;
            }
            Some(Op { seq: from.seq, stamp_ms: op.stamp_ms, from: Some(from), fact })
        });
        let ops = ops.collect();
        let Places { realms, pools, .. } = places;
        Self { by, vector, first, realms, ops, pools }
    }
}

/// What became of a part of a snapshot, or of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Adopting {
    /// The part is taken in.
    Taken,
    /// What the snapshot does not have is being dropped; so many words are left. The end is to be said again.
    Going { left: usize },
    /// This host knows what the snapshot knows, and goes on from its vector.
    Done,
    /// Nothing was taken in: the ledger has not told this host of a pool or a term yet. The same again, later.
    Later,
    /// Nothing was taken in: the snapshot is older than what this host heard, or wrote, up to here. It needs a newer one.
    Behind(Dot),
    /// Nothing was taken in: a host that hands out from some shard knows better than any snapshot what is in it.
    Owner,
    /// A later part or the end of a snapshot that is not under way, as after a restart. It begins again.
    Unknown,
}
