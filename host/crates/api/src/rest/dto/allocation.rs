//! Allocations: what is asked and what is answered.

use std::collections::BTreeMap;

use compact_str::CompactString;
use kernel::{Durability, Key, Ttl};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{DurationBody, json_or_empty};
use crate::app::json::OneObject;
use crate::app::{AllocateInput, AppError, Holding, Reader, Superseding, key_of, rfc3339};

/// A request for a resource. Every field is read by itself, so that an error names it; unknown ones are ignored.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = AllocateRequest, example = json!({"pool_id": "isp-east", "subscriber_id": "02:00:5e:10:00:01", "olt_id": "olt-7"}))]
pub(crate) struct AllocateBody {
    /// The pool's id.
    #[schema(value_type = String, required = true)]
    pool_id: Option<Value>,
    /// Who is to hold the resource: 1 to 256 bytes of UTF-8 without control characters.
    #[schema(value_type = String, required = true)]
    subscriber_id: Option<Value>,
    /// Exactly this address (types ipv4 and ipv6); the same as `resource`.
    #[schema(value_type = Option<String>)]
    ip: Option<Value>,
    /// Exactly this resource, in any spelling its type knows.
    #[schema(value_type = Option<String>)]
    resource: Option<Value>,
    /// The OLT-BNG that asks.
    #[schema(value_type = Option<String>)]
    node_id: Option<Value>,
    /// The same as `node_id`.
    #[schema(value_type = Option<String>)]
    olt_id: Option<Value>,
    /// Tells several allocations of one subscriber in one pool apart.
    #[schema(value_type = Option<String>)]
    key: Option<Value>,
    /// The client's DUID and IAID are a key too.
    #[schema(value_type = Option<String>)]
    duid: Option<Value>,
    #[schema(value_type = Option<u32>)]
    iaid: Option<Value>,
    #[schema(value_type = Option<String>)]
    mac: Option<Value>,
    /// The wished lease: integer seconds or text such as `"1h"`. Negative: no lease; 0: the pool's default.
    #[schema(value_type = Option<DurationBody>)]
    ttl: Option<Value>,
    /// `permanent`: no lease, as with a negative ttl. `session` and `sticky` follow from the pool's terms and ask for
    /// nothing.
    #[schema(value_type = Option<String>)]
    alloc_type: Option<Value>,
    /// For the resource type: `{"prefix_length": 56}`.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    hints: Option<Value>,
    /// What the pool's `realm_by` may name.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    attributes: Option<Value>,
    /// Free-form, given back as it was.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
}

impl AllocateBody {
    /// Checks every field.
    pub(crate) fn read(&self) -> Result<AllocateInput, AppError> {
        let mut reader = Reader::default();
        let pool = reader.needed_id("pool_id", self.pool_id.as_ref(), "must be given: the id of a pool");
        let subscriber = reader.needed_id(
            "subscriber_id",
            self.subscriber_id.as_ref(),
            "must be given: who is to hold the resource",
        );
        let node = reader.id("node_id", self.node_id.as_ref());
        let olt = reader.id("olt_id", self.olt_id.as_ref());
        if let (Some(node), Some(olt)) = (&node, &olt)
            && node != olt
        {
            reader.fault("olt_id", olt, format!("must be the same as node_id, {node}, or be left out"));
        }
        let resource = self.resource(&mut reader);
        let key = self.key(&mut reader);
        let ttl = self.ttl(&mut reader);
        let hints = reader.pairs("hints", self.hints.as_ref());
        let mut attributes = reader.pairs("attributes", self.attributes.as_ref());
        if let Some(mac) = reader.text("mac", self.mac.as_ref())
            && !attributes.iter().any(|(name, _)| name == "mac")
        {
            attributes.push(("mac".into(), mac.into()));
        }
        let metadata = reader.metadata("metadata", self.metadata.as_ref());
        let input = pool.zip(subscriber).map(|(pool, subscriber)| AllocateInput {
            key,
            node: olt.or(node),
            resource,
            ttl,
            hints,
            attributes,
            metadata,
            ..AllocateInput::new(pool, subscriber)
        });
        reader.finish(input)
    }

    fn resource(&self, reader: &mut Reader) -> Option<CompactString> {
        let ip = reader.text("ip", self.ip.as_ref());
        let resource = reader.text("resource", self.resource.as_ref());
        if let (Some(ip), Some(resource)) = (ip, resource)
            && ip != resource
        {
            reader.fault("ip", ip, format!("must be the same as resource, {resource}, or be left out"));
        }
        let named = resource.or(ip)?;
        if named.len() > 255 {
            reader.fault(if resource.is_some() { "resource" } else { "ip" }, named, "must have at most 255 bytes");
        }
        Some(named.into())
    }

    fn key(&self, reader: &mut Reader) -> Option<Key> {
        let key = reader.text("key", self.key.as_ref()).unwrap_or_default();
        let duid = reader.text("duid", self.duid.as_ref()).unwrap_or_default();
        let iaid = reader.whole("iaid", self.iaid.as_ref(), u32::MAX.into()).and_then(|iaid| u32::try_from(iaid).ok());
        match key_of(key, duid, iaid) {
            Ok(key) => key,
            Err(error) => {
                for fault in crate::app::faults(&error) {
                    reader.fault(&fault.field, fault.value, fault.remedy);
                }
                None
            }
        }
    }

    fn ttl(&self, reader: &mut Reader) -> Ttl {
        let ttl = reader.ttl("ttl", self.ttl.as_ref());
        match reader.text("alloc_type", self.alloc_type.as_ref()) {
            None | Some("session" | "sticky") => ttl,
            Some("permanent") => Ttl::Permanent,
            Some(other) => {
                reader.fault("alloc_type", other, "must be session, sticky or permanent");
                ttl
            }
        }
    }
}

/// Many requests at once.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BatchRequest, example = json!({"requests": [{"pool_id": "isp-east", "subscriber_id": "alice"}, {"pool_id": "isp-east", "subscriber_id": "bob"}]}))]
pub(crate) struct BatchBody {
    /// Each is carried out by itself and has its own result.
    #[schema(value_type = Vec<AllocateBody>)]
    pub(crate) requests: Vec<OneObject<AllocateBody>>,
    /// Must be false or absent.
    #[serde(default)]
    pub(crate) atomic: bool,
}

/// A resource held by a subscriber. Times that do not apply are left out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Allocation, example = json!({
    "pool_id": "isp-east", "subscriber_id": "02:00:5e:10:00:01", "ip": "100.64.0.2", "prefix": 32,
    "resource": "100.64.0.2", "type": "ipv4", "timestamp": "2026-01-31T08:15:00.000Z", "node_id": "olt-7",
    "olt_id": "olt-7", "ttl": 3600, "expires_at": "2026-01-31T09:15:00.000Z",
    "last_renewed": "2026-01-31T08:15:00.000Z", "epoch": 1, "alloc_type": "session", "is_backup": false,
    "realm": "default", "fence": {"pool": 1, "shard": 0, "epoch": 1}
}))]
pub(crate) struct AllocationBody<'a> {
    pool_id: &'a str,
    subscriber_id: &'a str,
    /// The bare address (types ipv4 and ipv6).
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    /// The address's prefix length.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<u8>,
    /// The resource's canonical text, of every type. Absent only in lists, while its plugin cannot name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(rename = "type")]
    type_id: &'a str,
    /// When it was made.
    timestamp: String,
    /// The OLT-BNG that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<&'a str>,
    /// The same.
    #[serde(skip_serializing_if = "Option::is_none")]
    olt_id: Option<&'a str>,
    /// The lease as it was granted, in seconds; absent without a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_renewed: Option<String>,
    /// The fence's.
    epoch: u32,
    /// `session`, `sticky` or `permanent`.
    alloc_type: &'static str,
    /// In the answer to an allocate: false if the subscriber held it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<bool>,
    /// In the answer to an allocate or a renewal: `local` if it was on the disk of the host that decided, `peer` if on one
    /// more host's too.
    #[serde(skip_serializing_if = "Option::is_none")]
    durability: Option<&'static str>,
    is_backup: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_node_id: Option<&'a str>,
    /// Not absent if the subscriber holds several in this pool on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<String>,
    fence: FenceBody,
    /// Made because the owner of this one could not be reached. The subscriber is to use the new one; the old one ends with
    /// its lease, or when somebody releases it by name or confirms the conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    supersedes: Option<SupersededBody>,
    /// The subscriber's other resource, which he is answered: this one has to go. Absent: this one stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    /// Facts for the client: netmask, gateway, DNS. With `?attributes=all` also those of this one resource (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<BTreeMap<&'a str, &'a str>>,
}

/// Tells a late answer of a former owner from a current one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Fence, example = json!({"pool": 1, "shard": 0, "epoch": 1}))]
pub(crate) struct FenceBody {
    pool: u32,
    shard: u32,
    epoch: u32,
}

impl FenceBody {
    const fn of(fence: kernel::Fence) -> Self {
        Self { pool: fence.pool.0, shard: fence.shard.0, epoch: fence.epoch.0 }
    }
}

/// An allocation that another one was made in place of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Superseded, example = json!({"pool_id": "isp-east", "resource": "100.64.0.2", "fence": {"pool": 1, "shard": 0, "epoch": 1}}))]
pub(crate) struct SupersededBody {
    pool_id: String,
    /// Absent while the resource's plugin cannot name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    fence: FenceBody,
}

/// What is shown of an allocation and is not in its record.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) realm: Option<String>,
    pub(crate) superseding: Superseding,
}

impl<'a> AllocationBody<'a> {
    /// As lists show it.
    pub(crate) fn row(held: &'a Holding, beside: Beside) -> Self {
        let Holding { allocation, pool } = held;
        let Beside { realm, superseding } = beside;
        let supersedes = allocation.supersedes().map(|mark| SupersededBody {
            pool_id: pool.draft.id.to_string(),
            resource: superseding.supersedes.map(String::from).filter(|text| !text.is_empty()),
            fence: FenceBody { pool: allocation.pool.0, shard: mark.shard.0, epoch: mark.epoch.0 },
        });
        let fence = allocation.fence();
        let ip = Some(held.ip()).filter(|ip| !ip.is_empty());
        let node_id = allocation.node.as_ref().map(|node| node.as_str());
        let expires_ms = allocation.expires_ms();
        let metadata = allocation.extra.as_ref().map(|extra| extra.metadata.as_str()).filter(|text| !text.is_empty());
        Self {
            pool_id: pool.draft.id.as_str(),
            subscriber_id: allocation.subscriber.as_str(),
            ip,
            prefix: ip.and_then(|_| held.prefix()),
            resource: Some(held.resource()).filter(|resource| !resource.is_empty()),
            type_id: pool.draft.type_id.as_str(),
            timestamp: rfc3339(allocation.created_ms()),
            node_id,
            olt_id: node_id,
            ttl: held.ttl_seconds(),
            expires_at: expires_ms.map(|end| rfc3339(end.get())),
            last_renewed: expires_ms.map(|_| rfc3339(allocation.renewed_ms())),
            epoch: fence.epoch.0,
            alloc_type: held.alloc_type(),
            created: None,
            durability: None,
            // Backup allocations come with edge nodes; the fields are part of the form.
            is_backup: false,
            backup_node_id: None,
            key: allocation.key().map(Key::as_str),
            realm,
            fence: FenceBody::of(fence),
            supersedes,
            superseded_by: superseding.by.map(String::from),
            metadata: metadata.map(json_or_empty),
            attributes: None,
        }
    }

    /// As the answer to an allocate.
    pub(crate) fn granted(self, created: bool, durability: Durability) -> Self {
        Self { created: Some(created), ..self.durable(durability) }
    }

    /// As the answer to a renewal.
    pub(crate) fn durable(self, durability: Durability) -> Self {
        Self { durability: Some(durability.as_str()), ..self }
    }

    /// As a single answer shows it: with attributes, the pool's and `own`.
    pub(crate) fn full(held: &'a Holding, beside: Beside, own: &'a [(CompactString, CompactString)]) -> Self {
        let all = held.pool.draft.geometry.attributes.iter().chain(own);
        let attributes = all.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Self { attributes: Some(attributes), ..Self::row(held, beside) }
    }
}

/// What a subscriber holds: the one it is shown by, and all.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Holdings, example = json!({"pool_id": "isp-east", "subscriber_id": "alice", "ip": "100.64.0.2", "prefix": 32, "resource": "100.64.0.2", "type": "ipv4", "timestamp": "2026-01-31T08:15:00.000Z", "epoch": 1, "alloc_type": "session", "is_backup": false, "realm": "default", "fence": {"pool": 1, "shard": 0, "epoch": 1}, "attributes": {"gateway": "100.64.0.1"}, "allocations": [{"pool_id": "isp-east", "subscriber_id": "alice", "ip": "100.64.0.2", "prefix": 32, "resource": "100.64.0.2", "type": "ipv4", "timestamp": "2026-01-31T08:15:00.000Z", "epoch": 1, "alloc_type": "session", "is_backup": false, "realm": "default", "fence": {"pool": 1, "shard": 0, "epoch": 1}}], "count": 1}))]
pub(crate) struct HoldingsBody<'a> {
    #[serde(flatten)]
    pub(crate) shown: AllocationBody<'a>,
    /// All, newest first, those that another one stands in place of at the end.
    pub(crate) allocations: Vec<AllocationBody<'a>>,
    pub(crate) count: usize,
}

/// A page of allocations.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AllocationList, example = json!({"allocations": [{"pool_id": "isp-east", "subscriber_id": "alice", "ip": "100.64.0.2", "prefix": 32, "resource": "100.64.0.2", "type": "ipv4", "timestamp": "2026-01-31T08:15:00.000Z", "epoch": 1, "alloc_type": "session", "is_backup": false, "realm": "default", "fence": {"pool": 1, "shard": 0, "epoch": 1}}], "count": 1, "total": 1}))]
pub(crate) struct AllocationsBody<'a> {
    /// The node that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node_id: Option<&'a str>,
    pub(crate) allocations: Vec<AllocationBody<'a>>,
    /// On this page.
    pub(crate) count: usize,
    /// On all pages, now.
    pub(crate) total: u64,
    /// Give it as `cursor` to get the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
    /// Of the list of expiring leases: those that end before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expiring_before: Option<String>,
}

/// The results of a batch, in the order of its requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Batch, example = json!({"results": [{"status": 201, "allocation": {"pool_id": "isp-east", "subscriber_id": "alice", "ip": "100.64.0.2", "prefix": 32, "resource": "100.64.0.2", "type": "ipv4", "timestamp": "2026-01-31T08:15:00.000Z", "epoch": 1, "alloc_type": "session", "is_backup": false, "realm": "default", "fence": {"pool": 1, "shard": 0, "epoch": 1}}}], "count": 1, "failed": 0}))]
pub(crate) struct BatchAnswer<'a> {
    pub(crate) results: Vec<BatchResult<'a>>,
    pub(crate) count: usize,
    /// How many of them failed.
    pub(crate) failed: usize,
}

/// What came of one request of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": 201, "allocation": {"pool_id": "isp-east", "subscriber_id": "alice", "ip": "100.64.0.2", "prefix": 32, "resource": "100.64.0.2", "type": "ipv4", "timestamp": "2026-01-31T08:15:00.000Z", "epoch": 1, "alloc_type": "session", "is_backup": false, "realm": "default", "fence": {"pool": 1, "shard": 0, "epoch": 1}}}))]
pub(crate) struct BatchResult<'a> {
    /// What the request alone would have answered: 201, 200, 409, ...
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocation: Option<AllocationBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<super::problem::ProblemBody>,
}

/// What a renewal may say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RenewRequest, example = json!({"ttl": 3600}))]
pub(crate) struct RenewBody {
    /// The wished lease, as in an allocate request.
    #[schema(value_type = Option<DurationBody>)]
    ttl: Option<Value>,
}

impl RenewBody {
    pub(crate) fn read(&self) -> Result<Ttl, AppError> {
        let mut reader = Reader::default();
        let ttl = reader.ttl("ttl", self.ttl.as_ref());
        reader.finish(Some(ttl))
    }
}
