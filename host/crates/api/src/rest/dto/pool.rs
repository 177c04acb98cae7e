//! Pools.

use std::collections::BTreeMap;

use kernel::{Durability, LeaseTerms, Occupancy, Pool};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{DurationBody, duration, exact, json_or_empty};
use crate::app::{PoolStats, PoolUpdated, capacity, rfc3339, shown_shards};

/// A pool to be made or changed. Only for the document: what is sent is read field by field.
#[derive(Debug, ToSchema)]
#[schema(as = PoolRequest, example = json!({
    "id": "isp-east", "type": "ipv4", "spec": {"cidr": "100.64.0.0/10", "gateway": "100.64.0.1"},
    "lease": {"default": "1h", "min": "5m", "max": "24h"}, "hold_down": "60s"
}))]
#[allow(dead_code, reason = "describes what `PoolInput::from_document` reads")]
pub(crate) struct PoolBody {
    /// 1 to 128 of `A-Z a-z 0-9 . _ -`, first and last alphanumeric.
    id: String,
    /// `ipv4`, `ipv6`, `vlan`, `svlan`, `port` or what a plugin adds. Without it (and without `spec`) `cidr` says it.
    #[schema(rename = "type")]
    type_id: Option<String>,
    /// What the pool holds, as its type's plugin reads it (its schema is under `/plugins`). Without it the body is in the
    /// older form: the plugin's fields (`cidr`, `prefix`, `exclusions`, `gateway`, `dns`, `range`) stand beside the rest.
    #[schema(value_type = Option<Object>)]
    spec: Option<Value>,
    /// The address or tag space; `default` unless given.
    realm: Option<String>,
    /// True: one space for all tenants.
    shared: Option<bool>,
    /// Attributes of a request whose values make its realm: `["olt_id"]`.
    realm_by: Option<Vec<String>>,
    /// `first-free`, `next-free`, `random`, `hash`, `oldest-free` or `exact`; the type's default unless given.
    strategy: Option<String>,
    /// `"none"` (the default), a duration, or `{"default": "1h", "min": "5m", "max": "24h"}`.
    #[schema(value_type = Option<Object>)]
    lease: Option<Value>,
    /// How long a released resource rests: `"60s"` or integer seconds.
    #[schema(value_type = Option<DurationBody>)]
    hold_down: Option<Value>,
    /// Rather refuse than hand out a resting resource.
    strict: Option<bool>,
    /// What an answer waits for: `local` (on the disk of the host that decides) or `peer` (and of one more). `default`, or
    /// absent: `peer` in a cluster, `local` on a host that is alone.
    ack: Option<String>,
    /// Free-form, given back as it was.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    /// How many shards; 0 or absent: as many as fit.
    sharding_factor: Option<u32>,
    /// Kept and given back.
    backup_ratio: Option<f64>,
    /// Older form: the addresses it holds.
    cidr: Option<String>,
    /// Older form: the prefix length of one resource.
    prefix: Option<u8>,
    /// Older form: what is never handed out.
    exclusions: Option<Vec<String>>,
    gateway: Option<String>,
    dns: Option<Vec<String>>,
    /// Older form of the integer types: `"100-4000"`.
    range: Option<String>,
    /// The revision the body was read at; an update of another one is refused.
    revision: Option<u64>,
}

/// A pool.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pool, example = json!({"id": "isp-east", "type": "ipv4", "cidr": "100.64.0.0/10", "prefix": 32, "gateway": "100.64.0.1", "dns": ["9.9.9.9"], "exclusions": [], "metadata": {}, "sharding_factor": 256, "backup_ratio": 0, "tenant": "default", "realm": "default", "shared": false, "realm_by": [], "strategy": "first-free", "lease": "none", "hold_down": 60, "strict": false, "ack": "default", "spec": {"cidr": "100.64.0.0/10", "gateway": "100.64.0.1", "dns": ["9.9.9.9"]}, "capacity": 4_194_304, "attributes": {"cidr": "100.64.0.0/10", "prefix": "32", "netmask": "255.192.0.0", "gateway": "100.64.0.1", "dns": "9.9.9.9"}, "mapping_id": "ipv4/1", "revision": 1, "created_at": "2026-01-31T08:00:00.000Z", "updated_at": "2026-01-31T08:00:00.000Z"}))]
pub(crate) struct PoolAnswer<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    type_id: &'a str,
    /// The smallest CIDR that covers the pool (types ipv4 and ipv6).
    #[serde(skip_serializing_if = "Option::is_none")]
    cidr: Option<&'a str>,
    /// The prefix length of one resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    exclusions: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    range: Option<Value>,
    #[schema(value_type = Object)]
    metadata: Value,
    /// As it was asked; else how many shards the pool has, at most 256. The number in full is in the pool's `stats`.
    sharding_factor: u32,
    backup_ratio: Value,
    tenant: &'a str,
    realm: &'a str,
    shared: bool,
    realm_by: Vec<&'a str>,
    strategy: &'static str,
    #[schema(value_type = Object)]
    lease: Value,
    /// Integer seconds, or text such as `"1500ms"`.
    #[schema(value_type = DurationBody)]
    hold_down: Value,
    strict: bool,
    /// `local`, `peer`, or `default` if nothing was chosen.
    ack: &'static str,
    #[schema(value_type = Object)]
    spec: Value,
    /// Grains, excluded ones included.
    #[schema(value_type = u64)]
    capacity: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity_exact: Option<String>,
    /// True of every allocation: netmask, gateway, DNS.
    attributes: BTreeMap<&'a str, &'a str>,
    mapping_id: &'a str,
    /// Counts the changes of the pool, from 1.
    revision: u64,
    created_at: String,
    updated_at: String,
}

fn lease(terms: LeaseTerms) -> Value {
    match terms {
        LeaseTerms::None => "none".into(),
        LeaseTerms::Timed { default_ms, min_ms, max_ms } => serde_json::json!({
            "default": duration(default_ms), "min": duration(min_ms), "max": duration(max_ms)
        }),
    }
}

impl<'a> PoolAnswer<'a> {
    pub(crate) fn of(pool: &'a Pool) -> Self {
        let draft = &pool.draft;
        let attributes = &draft.geometry.attributes;
        let attribute = |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let mut spec = json_or_empty(&draft.spec);
        let cidr = attribute("cidr");
        let in_spec = |name: &str| spec.get(name).cloned();
        let exclusions = in_spec("exclusions").or_else(|| cidr.map(|_| Value::Array(Vec::new())));
        let range = in_spec("range");
        let capacity = capacity(pool);
        Self {
            id: draft.id.as_str(),
            type_id: draft.type_id.as_str(),
            cidr,
            prefix: attribute("prefix").and_then(|prefix| prefix.parse().ok()),
            gateway: attribute("gateway"),
            dns: attribute("dns").map(|dns| dns.split(',').map(str::trim).filter(|one| !one.is_empty()).collect()),
            exclusions,
            range,
            metadata: json_or_empty(&draft.terms.metadata),
            sharding_factor: shown_shards(pool),
            backup_ratio: json_or_empty(&draft.extra).get("backup_ratio").cloned().unwrap_or_else(|| 0.into()),
            tenant: draft.tenant.as_str(),
            realm: draft.realm.name.as_str(),
            shared: draft.realm.shared,
            realm_by: draft.terms.realm_by.iter().map(compact_str::CompactString::as_str).collect(),
            strategy: draft.terms.strategy.as_str(),
            lease: lease(draft.terms.lease),
            hold_down: duration(draft.terms.hold_down_ms),
            strict: draft.terms.strict,
            ack: draft.terms.ack.map_or("default", Durability::as_str),
            spec: spec.take(),
            capacity,
            capacity_exact: exact(capacity),
            attributes: attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            mapping_id: draft.mapping_id.as_str(),
            revision: pool.revision.0,
            created_at: rfc3339(pool.created_ms),
            updated_at: rfc3339(pool.updated_ms),
        }
    }
}

/// A page of pools.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PoolList, example = json!({"pools": [{"id": "isp-east", "type": "ipv4", "cidr": "100.64.0.0/10", "prefix": 32, "gateway": "100.64.0.1", "dns": ["9.9.9.9"], "exclusions": [], "metadata": {}, "sharding_factor": 256, "backup_ratio": 0, "tenant": "default", "realm": "default", "shared": false, "realm_by": [], "strategy": "first-free", "lease": "none", "hold_down": 60, "strict": false, "ack": "default", "spec": {"cidr": "100.64.0.0/10", "gateway": "100.64.0.1", "dns": ["9.9.9.9"]}, "capacity": 4_194_304, "attributes": {"cidr": "100.64.0.0/10", "prefix": "32", "netmask": "255.192.0.0", "gateway": "100.64.0.1", "dns": "9.9.9.9"}, "mapping_id": "ipv4/1", "revision": 1, "created_at": "2026-01-31T08:00:00.000Z", "updated_at": "2026-01-31T08:00:00.000Z"}], "count": 1, "total": 1}))]
pub(crate) struct PoolsBody<'a> {
    pub(crate) pools: Vec<PoolAnswer<'a>>,
    pub(crate) count: usize,
    pub(crate) total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// What an update did or would do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PoolUpdate, example = json!({"id": "isp-east", "type": "ipv4", "cidr": "100.64.0.0/10", "prefix": 32, "gateway": "100.64.0.1", "dns": ["9.9.9.9"], "exclusions": [], "metadata": {}, "sharding_factor": 256, "backup_ratio": 0, "tenant": "default", "realm": "default", "shared": false, "realm_by": [], "strategy": "first-free", "lease": "none", "hold_down": 60, "strict": false, "ack": "default", "spec": {"cidr": "100.64.0.0/10", "gateway": "100.64.0.1", "dns": ["9.9.9.9"]}, "capacity": 4_194_304, "attributes": {"cidr": "100.64.0.0/10", "prefix": "32", "netmask": "255.192.0.0", "gateway": "100.64.0.1", "dns": "9.9.9.9"}, "mapping_id": "ipv4/1", "revision": 1, "created_at": "2026-01-31T08:00:00.000Z", "updated_at": "2026-01-31T08:00:00.000Z", "applied": true, "added_grains": 256, "removed_grains": 0}))]
pub(crate) struct PoolUpdateBody<'a> {
    #[serde(flatten)]
    pool: PoolAnswer<'a>,
    /// False for a dry run.
    applied: bool,
    #[schema(value_type = u64)]
    added_grains: u128,
    #[schema(value_type = u64)]
    removed_grains: u128,
}

impl<'a> PoolUpdateBody<'a> {
    pub(crate) fn of(update: &'a PoolUpdated) -> Self {
        let PoolUpdated { pool, added_grains, removed_grains, applied } = update;
        Self {
            pool: PoolAnswer::of(pool),
            applied: *applied,
            added_grains: *added_grains,
            removed_grains: *removed_grains,
        }
    }
}

/// How much of a pool is what, in grains.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Occupancy, example = json!({"capacity": 256, "allocated": 12, "available": 236, "hold_down": 3, "reserved": 2, "excluded": 3, "allocations": 12}))]
pub(crate) struct OccupancyBody {
    #[schema(value_type = u64)]
    capacity: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity_exact: Option<String>,
    #[schema(value_type = u64)]
    allocated: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocated_exact: Option<String>,
    #[schema(value_type = u64)]
    available: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    available_exact: Option<String>,
    /// Released not long ago.
    #[schema(value_type = u64)]
    hold_down: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_down_exact: Option<String>,
    /// Kept for subscribers that do not hold it now.
    #[schema(value_type = u64)]
    reserved: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_exact: Option<String>,
    #[schema(value_type = u64)]
    excluded: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    excluded_exact: Option<String>,
    /// Live allocations, whatever their size.
    allocations: u64,
}

impl From<&Occupancy> for OccupancyBody {
    fn from(counted: &Occupancy) -> Self {
        let Occupancy { allocations, total, held, free, resting, reserved, excluded } = *counted;
        Self {
            capacity: total,
            capacity_exact: exact(total),
            allocated: held,
            allocated_exact: exact(held),
            available: free,
            available_exact: exact(free),
            hold_down: resting,
            hold_down_exact: exact(resting),
            reserved,
            reserved_exact: exact(reserved),
            excluded,
            excluded_exact: exact(excluded),
            allocations,
        }
    }
}

/// How full a pool is: over all its realms, and each realm.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PoolStats, example = json!({"pool_id": "isp-east", "type": "ipv4", "capacity": 256, "allocated": 12, "available": 236, "hold_down": 3, "reserved": 2, "excluded": 3, "allocations": 12, "utilization": 0.047, "shards": 1, "quarantined_shards": 0, "realms": [{"realm": "default", "capacity": 256, "allocated": 12, "available": 236, "hold_down": 3, "reserved": 2, "excluded": 3, "allocations": 12}], "summary": ["10.0.0.0/24"]}))]
pub(crate) struct StatsBody<'a> {
    pool_id: &'a str,
    #[serde(rename = "type")]
    type_id: &'a str,
    #[serde(flatten)]
    sum: OccupancyBody,
    /// 0 to 1.
    utilization: f64,
    shards: usize,
    /// Of these, those from which nothing new is handed out for now: quarantined, or seized.
    quarantined_shards: usize,
    realms: Vec<RealmStatsBody<'a>>,
    /// Only with `realm_by`: what each further realm has at its first use. The sums count realms that were used.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_realm: Option<OccupancyBody>,
    /// A few short texts for what the pool holds.
    summary: Vec<&'a str>,
}

/// How full a pool is in one realm.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RealmStats, example = json!({"realm": "default", "capacity": 256, "allocated": 12, "available": 236, "hold_down": 3, "reserved": 2, "excluded": 3, "allocations": 12}))]
pub(crate) struct RealmStatsBody<'a> {
    realm: &'a str,
    #[serde(flatten)]
    occupancy: OccupancyBody,
}

impl<'a> StatsBody<'a> {
    pub(crate) fn of(stats: &'a PoolStats) -> Self {
        let realms = stats.realms.iter();
        Self {
            pool_id: stats.pool.draft.id.as_str(),
            type_id: stats.pool.draft.type_id.as_str(),
            sum: (&stats.sum).into(),
            utilization: stats.utilization(),
            shards: stats.pool.shards.len(),
            quarantined_shards: stats.quarantined_shards,
            realms: realms
                .map(|(realm, one)| RealmStatsBody { realm: realm.as_str(), occupancy: one.into() })
                .collect(),
            per_realm: stats.per_realm.as_ref().map(OccupancyBody::from),
            summary: stats.summary.iter().map(compact_str::CompactString::as_str).collect(),
        }
    }
}
