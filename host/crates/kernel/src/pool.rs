//! A pool: a named stock of one type's line in one realm, cut into shards. What may be handed out from it is `space`.

use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::id::{Epoch, PoolId, PoolUid, RealmName, Revision, ShardId, TenantId, TypeId};
use crate::overlap::overlap;
use crate::plan::Strategy;
use crate::space::{Totals, capacity};
use crate::span::{Series, Span};

/// Where a span may begin inside the pool's spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Alignment {
    /// `span.start + k * grain`.
    Origin,
    /// A multiple of the asked length, which is then a power of two.
    Natural,
}

/// Which lengths may be asked for: `min_len <= default_len <= max_len`, each a multiple of the grain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sizing {
    pub default_len: u128,
    pub min_len: u128,
    pub max_len: u128,
    pub align: Alignment,
}

/// A pool's spans as its plugin reads the spec; checked by whoever made it (sorted, disjoint, inside the line).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Geometry {
    /// What the pool holds.
    pub spans: Vec<Series>,
    /// What inside `spans` is never handed out; rounded outward to the grain.
    pub excluded: Vec<Series>,
    /// The smallest span handed out; capacity is counted in it.
    pub grain: u128,
    pub sizing: Sizing,
    /// Shards begin on multiples of it.
    pub cut: u128,
    /// Facts true of every allocation (prefix, netmask, gateway, DNS).
    pub attributes: Vec<(CompactString, CompactString)>,
    /// The type's default strategy for this pool.
    pub strategy: Strategy,
}

/// Whether and how long allocations last, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LeaseTerms {
    /// Until released, unless the request names a ttl.
    None,
    /// `default` unless the request names a ttl, which is clamped to `min..=max`.
    Timed { default_ms: u64, min_ms: u64, max_ms: u64 },
}

/// How long, counted from its last renewal, an allocation may last at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Longest {
    Millis(u64),
    Ever,
}

impl LeaseTerms {
    /// What is handed out by these terms, unless the request asks for no lease at all.
    pub const fn longest(self) -> Longest {
        match self {
            Self::None => Longest::Ever,
            Self::Timed { max_ms, .. } => Longest::Millis(max_ms),
        }
    }
}

/// Where an answer's record is on disk before the answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Durability {
    /// On the host that decided.
    Local,
    /// On one more host too: the loss of the one that decided does not lose what was answered.
    Peer,
}

impl Durability {
    /// As people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
        }
    }
}

/// What an operator may choose of a pool beside its spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTerms {
    pub strategy: Strategy,
    pub lease: LeaseTerms,
    /// How long a released span rests.
    pub hold_down_ms: u64,
    /// Rather refuse than hand out a resting span.
    pub strict: bool,
    /// What an answer waits for. `None`: another host, where there are others.
    pub ack: Option<Durability>,
    /// Named attributes of a request whose values make its realm. Empty: the pool's realm as it is.
    pub realm_by: Vec<CompactString>,
    /// Free-form, shown as given (JSON object as text).
    pub metadata: CompactString,
}

/// The space a pool's spans lie in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RealmRef {
    pub name: RealmName,
    /// True: one space for all tenants (S-VLANs of an open-access network).
    pub shared: bool,
}

/// A pool to be made or changed, with the plugin's reading of its spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolDraft {
    pub tenant: TenantId,
    pub id: PoolId,
    pub type_id: TypeId,
    pub realm: RealmRef,
    /// Opaque JSON for the plugin, canonical (keys sorted, nulls dropped) so that equal specs are equal texts.
    pub spec: Arc<str>,
    pub geometry: Arc<Geometry>,
    /// The plugin's mapping between spans and names when the spec was read.
    pub mapping_id: CompactString,
    pub terms: PoolTerms,
    /// How many shards were asked for; `None`: as many as the cut gives, at most 1,024.
    pub sharding_factor: Option<u32>,
    /// What the host keeps with the pool and gives back as it was: the body's older-form fields. JSON text.
    pub extra: CompactString,
}

impl PoolDraft {
    /// The name of the realm, without what a request's attributes add to it: a realm made by attributes,
    /// `<realm>/<value>`, counts as the realm it is made from.
    pub fn base_realm(&self) -> &str {
        let name = self.realm.name.as_str();
        name.split_once('/').map_or(name, |(base, _)| base)
    }

    /// A span that both pools would hold. Two pools of a type may not lie over each other in one realm; of different
    /// tenants only where the realm is shared.
    pub fn overlap(&self, other: &Self) -> Option<Span> {
        let owner = |draft: &Self| (!draft.realm.shared).then(|| draft.tenant.clone());
        let one_space =
            self.type_id == other.type_id && self.base_realm() == other.base_realm() && owner(self) == owner(other);
        if one_space { overlap(&self.geometry, &other.geometry) } else { None }
    }
}

/// A slice of a pool with exactly one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    pub id: ShardId,
    pub epoch: Epoch,
    /// Which part of the line; may reach over gaps between the pool's spans.
    pub cover: Span,
}

/// A pool as it is recorded. Never changed in place: an update is a new record with a higher revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub uid: PoolUid,
    pub revision: Revision,
    pub created_ms: u64,
    pub updated_ms: u64,
    pub draft: PoolDraft,
    /// Ordered by `cover`, disjoint, together covering every span of the pool.
    pub shards: Vec<Shard>,
}

impl Pool {
    /// How full the pool is in a realm that nobody used yet. `None` if its geometry cannot be read, which a pool that
    /// was made never shows.
    pub fn untouched(&self) -> Option<Occupancy> {
        let Totals { total, free, excluded } = capacity(&self.draft.geometry).ok()?;
        Some(Occupancy { total, free, excluded, ..Occupancy::default() })
    }
}

/// How much of a (pool, realm) is what, in grains. `held + free + resting + reserved + excluded = total` always (I6).
/// `reserved` counts reserved spans not held by their subscriber; a held one counts as held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupancy {
    /// Number of live allocations (not grains).
    pub allocations: u64,
    pub total: u128,
    pub held: u128,
    pub free: u128,
    pub resting: u128,
    pub reserved: u128,
    pub excluded: u128,
}
