//! A pool to ask a type by, where there is none: what a text means is said only of a pool.

use std::sync::Arc;

use compact_str::CompactString;
use kernel::{
    Alignment, Geometry, LeaseTerms, Pool, PoolDraft, PoolTerms, PoolUid, RealmRef, Revision, Sizing, Strategy,
    TenantId,
};

use crate::ports::PluginStatus;

/// A pool that nobody made, as the plugin's first example describes it. It holds nothing; it is there to be asked what a text
/// means.
pub(super) fn sample(plugin: &PluginStatus) -> Option<Pool> {
    let geometry = Geometry {
        spans: Vec::new(),
        excluded: Vec::new(),
        grain: 1,
        sizing: Sizing { default_len: 1, min_len: 1, max_len: 1, align: Alignment::Origin },
        cut: 1,
        attributes: Vec::new(),
        strategy: Strategy::FirstFree,
    };
    let terms = PoolTerms {
        strategy: Strategy::FirstFree,
        lease: LeaseTerms::None,
        hold_down_ms: 0,
        strict: false,
        ack: None,
        realm_by: Vec::new(),
        metadata: CompactString::default(),
    };
    let draft = PoolDraft {
        tenant: TenantId::default(),
        id: "example".parse().ok()?,
        type_id: plugin.type_id.parse().ok()?,
        realm: RealmRef { name: "default".parse().ok()?, shared: false },
        spec: plugin.examples.first()?.as_str().into(),
        geometry: Arc::new(geometry),
        mapping_id: plugin.mapping_id.as_str().into(),
        terms,
        sharding_factor: None,
        extra: CompactString::default(),
    };
    // Given to no pool: they are numbered upwards.
    let uid = PoolUid(u32::MAX);
    Some(Pool { uid, revision: Revision(1), created_ms: 0, updated_ms: 0, draft, shards: Vec::new() })
}
