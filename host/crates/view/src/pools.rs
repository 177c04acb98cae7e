//! Pools, realms, reservations and how full everything is: small, read often, changed seldom.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Occupancy, Pool, PoolId, PoolUid, RealmName, RealmRecord, RealmUid, Reservation, SpanKey, TenantId};

#[derive(Debug, Default)]
pub(crate) struct Pools {
    by_id: BTreeMap<TenantId, BTreeMap<PoolId, Arc<Pool>>>,
    by_uid: BTreeMap<PoolUid, Arc<Pool>>,
    realms: BTreeMap<RealmUid, Arc<RealmRecord>>,
    realm_uids: BTreeMap<(Option<TenantId>, RealmName), RealmUid>,
    occupancy: BTreeMap<(PoolUid, RealmUid), Occupancy>,
    reservations: BTreeMap<SpanKey, Arc<Reservation>>,
}

impl Pools {
    pub(crate) fn put(&mut self, pool: &Arc<Pool>) {
        let of_tenant = self.by_id.entry(pool.draft.tenant.clone()).or_default();
        of_tenant.insert(pool.draft.id.clone(), Arc::clone(pool));
        self.by_uid.insert(pool.uid, Arc::clone(pool));
    }

    pub(crate) fn delete(&mut self, uid: PoolUid) {
        let Some(pool) = self.by_uid.remove(&uid) else { return };
        // Its name may be another pool's by now.
        if let Some(of_tenant) = self.by_id.get_mut(&pool.draft.tenant)
            && of_tenant.get(&pool.draft.id).is_some_and(|named| named.uid == uid)
        {
            of_tenant.remove(&pool.draft.id);
        }
        self.occupancy.retain(|(of, _), _| *of != uid);
        self.reservations.retain(|key, _| key.pool != uid);
    }

    pub(crate) fn put_realm(&mut self, realm: &Arc<RealmRecord>) {
        self.realm_uids.insert((realm.tenant.clone(), realm.name.clone()), realm.uid);
        self.realms.insert(realm.uid, Arc::clone(realm));
    }

    pub(crate) fn reserve(&mut self, reservation: &Arc<Reservation>) {
        let Reservation { pool, realm, span, .. } = **reservation;
        self.reservations.insert(SpanKey { pool, realm, span }, Arc::clone(reservation));
    }

    pub(crate) fn unreserve(&mut self, key: &SpanKey) {
        self.reservations.remove(key);
    }

    pub(crate) fn set_occupancy(&mut self, of: (PoolUid, RealmUid), occupancy: Occupancy) {
        if self.by_uid.contains_key(&of.0) {
            self.occupancy.insert(of, occupancy);
        }
    }

    pub(crate) fn find(&self, tenant: &TenantId, id: &PoolId) -> Option<&Arc<Pool>> {
        self.by_id.get(tenant)?.get(id)
    }

    pub(crate) fn uids(&self) -> Vec<PoolUid> {
        self.by_uid.keys().copied().collect()
    }

    pub(crate) fn get(&self, uid: PoolUid) -> Option<&Arc<Pool>> {
        self.by_uid.get(&uid)
    }

    /// Of a tenant, or of all, in order of tenant and id.
    pub(crate) fn list(&self, tenant: Option<&TenantId>) -> Vec<Arc<Pool>> {
        let wanted = |of: &TenantId| tenant.is_none_or(|tenant| tenant == of);
        self.by_id.iter().filter(|(of, _)| wanted(of)).flat_map(|(_, pools)| pools.values()).cloned().collect()
    }

    pub(crate) fn realm(&self, uid: RealmUid) -> Option<&Arc<RealmRecord>> {
        self.realms.get(&uid)
    }

    pub(crate) fn realm_named(&self, tenant: Option<&TenantId>, name: &RealmName) -> Option<RealmUid> {
        self.realm_uids.get(&(tenant.cloned(), name.clone())).copied()
    }

    pub(crate) fn occupancy(&self, pool: PoolUid) -> Vec<(RealmUid, Occupancy)> {
        let range = (pool, RealmUid(0))..=(pool, RealmUid(u32::MAX));
        self.occupancy.range(range).map(|((_, realm), occupancy)| (*realm, *occupancy)).collect()
    }

    pub(crate) fn reservations(&self, pool: Option<PoolUid>) -> Vec<Arc<Reservation>> {
        let wanted = |key: &SpanKey| pool.is_none_or(|pool| pool == key.pool);
        self.reservations
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(_, reservation)| Arc::clone(reservation))
            .collect()
    }
}
