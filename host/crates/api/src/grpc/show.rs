//! Answers to messages. Copies texts out of shared records; decides nothing.

use std::time::Duration as StdDuration;

use kernel::{AllocationKind, Durability, EndCause, LeaseTerms, Occupancy, Pool, RealmUid};
use nexus_proto::v1;
use prost_types::{Duration, Timestamp};

use super::Face;
use crate::app::{Conflict, ConflictKind, Granted, Holding, NoteShown, PastHolder, PoolStats, Reserved};
use crate::ports::{PluginState, PluginStatus};

/// Unix milliseconds as a message.
pub(super) fn timestamp(unix_ms: u64) -> Timestamp {
    let Duration { seconds, nanos } = duration(unix_ms);
    Timestamp { seconds, nanos }
}

/// Milliseconds as a message.
pub(super) fn duration(ms: u64) -> Duration {
    let whole = StdDuration::from_millis(ms);
    let seconds = i64::try_from(whole.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(whole.subsec_nanos()).unwrap_or_default();
    Duration { seconds, nanos }
}

/// Whether an answer carries the pool's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    Full,
    /// Without attributes.
    Lean,
}

impl Detail {
    pub(super) const fn of(omit_attributes: bool) -> Self {
        if omit_attributes { Self::Lean } else { Self::Full }
    }
}

fn attributes(pool: &Pool) -> Vec<v1::Attribute> {
    let attributes = pool.draft.geometry.attributes.iter();
    attributes.map(|(key, value)| v1::Attribute { key: key.to_string(), value: value.to_string() }).collect()
}

impl Face {
    /// One allocation.
    pub(super) fn allocation(&self, held: &Holding, detail: Detail) -> v1::Allocation {
        let Holding { allocation, pool } = held;
        let expires_ms = allocation.expires_ms().map(std::num::NonZeroU64::get);
        let superseding = self.app.superseding(held);
        let supersedes = allocation.supersedes().map(|mark| v1::Superseded {
            resource: superseding.supersedes.map_or_else(String::new, String::from),
            fence: Some(v1::Fence { pool: allocation.pool.0, shard: mark.shard.0, epoch: mark.epoch.0 }),
        });
        v1::Allocation {
            pool_id: pool.draft.id.to_string(),
            subscriber_id: allocation.subscriber.to_string(),
            key: allocation.key().map_or_else(String::new, ToString::to_string),
            r#type: pool.draft.type_id.to_string(),
            resource: held.resource().to_owned(),
            realm: self.realm(allocation.realm),
            node_id: allocation.node.as_ref().map_or_else(String::new, ToString::to_string),
            alloc_type: alloc_type(allocation.kind()).into(),
            expires_at: expires_ms.map(timestamp),
            ttl: expires_ms.map(|end| duration(end.saturating_sub(allocation.renewed_ms()))),
            created_at: Some(timestamp(allocation.created_ms())),
            renewed_at: Some(timestamp(allocation.renewed_ms())),
            fence: Some(v1::Fence { pool: allocation.pool.0, shard: allocation.shard.0, epoch: allocation.epoch.0 }),
            version: allocation.seq().0,
            attributes: match detail {
                Detail::Full => attributes(pool),
                Detail::Lean => Vec::new(),
            },
            metadata: allocation.extra.as_ref().map_or_else(String::new, |extra| extra.metadata.to_string()),
            durability: v1::Durability::Unspecified.into(),
            supersedes,
            superseded_by: superseding.by.map_or_else(String::new, String::from),
        }
    }

    /// An open conflict.
    pub(super) fn conflict(&self, conflict: &Conflict) -> v1::Conflict {
        let kind = match conflict.kind {
            ConflictKind::Superseded => v1::ConflictKind::Superseded,
            ConflictKind::Contradiction => v1::ConflictKind::Contradiction,
        };
        v1::Conflict {
            id: conflict.id.clone(),
            kind: kind.into(),
            superseded: Some(self.allocation(&conflict.superseded, Detail::Lean)),
            survivor: conflict.survivor.as_ref().map(|held| self.allocation(held, Detail::Lean)),
        }
    }

    /// A realm's name.
    pub(super) fn realm(&self, realm: RealmUid) -> String {
        self.app.realm_name(realm).map_or_else(String::new, |realm| realm.to_string())
    }

    /// Several allocations.
    pub(super) fn allocations(&self, held: &[Holding]) -> Vec<v1::Allocation> {
        held.iter().map(|held| self.allocation(held, Detail::Full)).collect()
    }

    /// The published answer to a look-up: address, prefix length and lease's end at the top.
    pub(super) fn held(&self, held: &Holding, detail: Detail) -> v1::AllocateResponse {
        let ip = match held.ip() {
            "" => held.resource(),
            ip => ip,
        };
        let end_ms = held.allocation.expires_ms().map_or(0, std::num::NonZeroU64::get);
        v1::AllocateResponse {
            ip: ip.to_owned(),
            prefix_length: held.prefix().map_or(0, u32::from),
            expires_at: i64::try_from(end_ms / 1_000).unwrap_or(i64::MAX),
            created: false,
            allocation: Some(self.allocation(held, detail)),
            allocations: Vec::new(),
        }
    }

    /// The answer to an allocate.
    pub(super) fn granted(&self, granted: &Granted, detail: Detail) -> v1::AllocateResponse {
        let mut answer = v1::AllocateResponse { created: granted.created, ..self.held(&granted.holding, detail) };
        if let Some(allocation) = &mut answer.allocation {
            allocation.set_durability(durability(Some(granted.durability)));
        }
        answer
    }
}

/// Where an answer's record is, or has to be.
pub(super) fn durability(level: Option<Durability>) -> v1::Durability {
    match level {
        None => v1::Durability::Unspecified,
        Some(Durability::Local) => v1::Durability::Local,
        Some(Durability::Peer) => v1::Durability::Peer,
    }
}

fn alloc_type(kind: AllocationKind) -> v1::AllocationType {
    match kind {
        AllocationKind::Session => v1::AllocationType::Session,
        AllocationKind::Sticky => v1::AllocationType::Sticky,
        AllocationKind::Permanent => v1::AllocationType::Permanent,
    }
}

/// Why an allocation ended.
pub(super) fn end_cause(cause: EndCause) -> v1::EndCause {
    match cause {
        EndCause::Released => v1::EndCause::Released,
        EndCause::Expired => v1::EndCause::Expired,
        EndCause::PoolDeleted => v1::EndCause::PoolDeleted,
    }
}

/// Who held a resource once.
pub(super) fn past(holder: &PastHolder) -> v1::PastAllocation {
    let PastHolder { pool, realm, entry, resource } = holder;
    v1::PastAllocation {
        pool_id: pool.draft.id.to_string(),
        subscriber_id: entry.subscriber.to_string(),
        key: entry.key.as_ref().map_or_else(String::new, ToString::to_string),
        r#type: pool.draft.type_id.to_string(),
        resource: resource.to_string(),
        realm: realm.as_ref().map_or_else(String::new, ToString::to_string),
        node_id: entry.node.clone().unwrap_or_default(),
        from: Some(timestamp(entry.from_ms)),
        to: Some(timestamp(entry.to_ms)),
        cause: end_cause(entry.cause).into(),
    }
}

/// A pool.
pub(super) fn pool(pool: &Pool) -> v1::Pool {
    let draft = &pool.draft;
    let terms = &draft.terms;
    let lease = match terms.lease {
        LeaseTerms::None => None,
        LeaseTerms::Timed { default_ms, min_ms, max_ms } => Some(v1::LeaseTerms {
            default: Some(duration(default_ms)),
            min: Some(duration(min_ms)),
            max: Some(duration(max_ms)),
        }),
    };
    let definition = v1::PoolDefinition {
        id: draft.id.to_string(),
        r#type: draft.type_id.to_string(),
        spec: draft.spec.to_string(),
        realm: draft.realm.name.to_string(),
        shared: draft.realm.shared,
        strategy: terms.strategy.to_string(),
        lease,
        hold_down: Some(duration(terms.hold_down_ms)),
        strict: Some(terms.strict),
        realm_by: terms.realm_by.iter().map(ToString::to_string).collect(),
        sharding_factor: draft.sharding_factor.unwrap_or_default(),
        metadata: terms.metadata.to_string(),
        ack: durability(terms.ack).into(),
    };
    let attribute = |name: &str| {
        let attributes = &draft.geometry.attributes;
        attributes.iter().find(|(key, _)| key == name).map_or_else(String::new, |(_, value)| value.to_string())
    };
    v1::Pool {
        definition: Some(definition),
        tenant: draft.tenant.to_string(),
        revision: pool.revision.0,
        created_at: Some(timestamp(pool.created_ms)),
        updated_at: Some(timestamp(pool.updated_ms)),
        cidr: attribute("cidr"),
        prefix: attribute("prefix").parse().unwrap_or_default(),
        gateway: attribute("gateway"),
        dns: attribute("dns").split(',').filter(|one| !one.is_empty()).map(|one| one.trim().to_owned()).collect(),
        attributes: attributes(pool),
        shards: shards(pool.shards.len()),
        mapping_id: draft.mapping_id.to_string(),
    }
}

fn shards(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A number of grains. Above 2^64 it is told as text.
pub(super) fn grains(count: u128) -> v1::Grains {
    match u64::try_from(count) {
        Ok(count) => v1::Grains { count, exact: String::new() },
        Err(_) => v1::Grains { count: u64::MAX, exact: count.to_string() },
    }
}

/// How full a pool is in a realm.
pub(super) fn occupancy(of: &Occupancy) -> v1::Occupancy {
    v1::Occupancy {
        allocations: of.allocations,
        total: Some(grains(of.total)),
        held: Some(grains(of.held)),
        free: Some(grains(of.free)),
        resting: Some(grains(of.resting)),
        reserved: Some(grains(of.reserved)),
        excluded: Some(grains(of.excluded)),
    }
}

/// How full a pool is.
pub(super) fn stats(stats: &PoolStats) -> v1::PoolStats {
    let realms = stats.realms.iter();
    v1::PoolStats {
        pool_id: stats.pool.draft.id.to_string(),
        r#type: stats.pool.draft.type_id.to_string(),
        occupancy: Some(occupancy(&stats.sum)),
        utilization: stats.utilization(),
        realms: realms
            .map(|(realm, of)| v1::RealmStats { realm: realm.to_string(), occupancy: Some(occupancy(of)) })
            .collect(),
        summary: stats.summary.iter().map(ToString::to_string).collect(),
        per_realm: stats.per_realm.as_ref().map(occupancy),
        shards: shards(stats.pool.shards.len()),
        quarantined_shards: shards(stats.quarantined_shards),
    }
}

/// A note.
pub(super) fn note(note: &NoteShown) -> v1::Note {
    let winner = note.winner();
    v1::Note {
        key: note.key.to_string(),
        value: winner.and_then(|write| write.note.value.as_ref()).map(ToString::to_string),
        version: winner.map_or_else(String::new, |write| write.note.stamp.to_string()),
        written_at: winner.map(|write| timestamp(write.note.stamp.ms)),
        losers: note.losers().map(loser).collect(),
    }
}

fn loser(write: &kernel::Written) -> v1::NoteLoser {
    v1::NoteLoser {
        value: write.note.value.as_ref().map(ToString::to_string),
        version: write.note.stamp.to_string(),
        written_at: Some(timestamp(write.note.stamp.ms)),
    }
}

/// A reservation.
pub(super) fn reservation(reserved: &Reserved) -> v1::Reservation {
    let Reserved { reservation, pool, realm } = reserved;
    v1::Reservation {
        pool_id: pool.draft.id.to_string(),
        realm: realm.as_ref().map_or_else(String::new, ToString::to_string),
        resource: reservation.name.to_string(),
        subscriber_id: reservation.subscriber.to_string(),
        note: reservation.note.to_string(),
        created_at: Some(timestamp(reservation.created_ms)),
    }
}

/// A plugin.
pub(super) fn plugin(plugin: PluginStatus) -> v1::Plugin {
    let state = match plugin.state {
        PluginState::Active => v1::PluginState::Active,
        PluginState::Suspended => v1::PluginState::Suspended,
        PluginState::Retired => v1::PluginState::Retired,
        PluginState::Refused => v1::PluginState::Refused,
    };
    v1::Plugin {
        r#type: plugin.type_id,
        version: plugin.version,
        mapping_id: plugin.mapping_id,
        title: plugin.title,
        digest: plugin.digest,
        source: plugin.source,
        state: state.into(),
        why: plugin.why,
        spec_schema: plugin.spec_schema,
        hint_schema: plugin.hint_schema,
        examples: plugin.examples,
        loaded_at: Some(timestamp(plugin.loaded_ms)),
        calls: plugin.calls,
        failures: plugin.failures,
        missing: plugin.missing,
    }
}
