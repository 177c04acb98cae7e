//! Look-ups and lists, served from the read view on the caller's own thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Allocation, NodeId, Pool, PoolId, PoolUid, Span, SubscriberId};
use view::{AllocationFilter, ListCursor};

use super::App;
use super::caller::{Caller, Role};
use super::error::AppError;
use super::input::{ListQuery, MOST_ROWS, Select};
use super::output::{Holding, Holdings, NodeSeen, Page};
use crate::engine::EngineError;

impl App {
    /// The allocation a subscriber is shown by: within what `select` leaves the newest ipv4, else the newest ipv6, else
    /// the newest; and all it leaves.
    pub fn holdings(&self, caller: &Caller, subscriber: &SubscriberId, select: &Select) -> Result<Holdings, AppError> {
        caller.needs(Role::Read)?;
        let all = self.all_of(caller, subscriber, select)?;
        let shown = shown(&all).cloned().ok_or_else(|| self.nothing_held(subscriber, select))?;
        for held in &all {
            self.name(&held.pool, &held.allocation)?;
        }
        Ok(Holdings { shown, all })
    }

    /// As [`App::holdings`], but only the one that is shown.
    pub fn holding(&self, caller: &Caller, subscriber: &SubscriberId, select: &Select) -> Result<Holding, AppError> {
        caller.needs(Role::Read)?;
        let all = self.all_of(caller, subscriber, select)?;
        let shown = shown(&all).ok_or_else(|| self.nothing_held(subscriber, select))?;
        self.name(&shown.pool, &shown.allocation)?;
        Ok(shown.clone())
    }

    /// Newest first; empty if there are none. Some may lack a name: releasing and renewing need none.
    pub(crate) fn all_of(
        &self,
        caller: &Caller,
        subscriber: &SubscriberId,
        select: &Select,
    ) -> Result<Vec<Holding>, AppError> {
        let pool = select.pool.as_ref().map(|pool| self.pool_of(caller, pool)).transpose()?;
        let mut all = Vec::new();
        for allocation in self.view.of_subscriber(&caller.tenant, subscriber) {
            let key =
                select.key.as_ref().is_none_or(|key| allocation.key().map_or("", |key| key.as_str()) == key.as_str());
            let made = select.made_ms.is_none_or(|ms| allocation.created_ms() == ms);
            if !key || !made || pool.as_ref().is_some_and(|pool| pool.uid != allocation.pool) {
                continue;
            }
            let Some(pool) = pool.clone().or_else(|| self.view.pool_by_uid(allocation.pool)) else { continue };
            all.push(Holding { allocation, pool });
        }
        if let Some(resource) = &select.resource {
            all.retain(|held| self.is_resource(held, resource));
        }
        Ok(all)
    }

    /// Whether a text means what is held.
    fn is_resource(&self, held: &Holding, resource: &str) -> bool {
        held.resource() == resource
            || held.ip() == resource
            || self.parse_one(&held.pool, resource).is_ok_and(|span| span == held.allocation.span)
    }

    /// The tenant's pool of this id.
    pub(crate) fn pool_of(&self, caller: &Caller, id: &PoolId) -> Result<Arc<Pool>, AppError> {
        self.view.pool(&caller.tenant, id).ok_or_else(|| self.or_waits(AppError::PoolUnknown { pool: id.clone() }))
    }

    /// If one of the pools is unknown here another host may have made it a moment ago: waits until that would be known.
    pub(crate) async fn await_pools(&self, caller: &Caller, mut pools: impl Iterator<Item = &PoolId>) {
        if pools.any(|pool| self.view.pool(&caller.tenant, pool).is_none())
            && let Err(error) = self.engine.catch_up().await
        {
            tracing::debug!(%error, "a pool is unknown as far as could be asked");
        }
    }

    pub(crate) fn nothing_held(&self, subscriber: &SubscriberId, select: &Select) -> AppError {
        self.or_waits(AppError::NothingHeld { subscriber: subscriber.clone(), pool: select.pool.clone() })
    }

    /// That something is not there, unless this host knows nothing yet.
    pub(crate) fn or_waits(&self, unknown: AppError) -> AppError {
        self.cluster.outside().map_or(unknown, |why| AppError::Engine(EngineError::NotInCluster(why)))
    }

    /// A page of the tenant's allocations, in order of pool, realm and position.
    pub fn list(&self, caller: &Caller, query: &ListQuery) -> Result<Page<Holding>, AppError> {
        caller.needs(Role::Read)?;
        let limit = page_limit(query.limit)?;
        let after = read_cursor(query.cursor.as_deref())?;
        // Before anything else can leave nothing to look for: a text that means nothing is an error whoever has pools.
        if let Some(resource) = &query.resource {
            return self.list_of_resource(caller, query, resource);
        }
        let Some(filter) = self.filter(caller, query)? else {
            return Ok(Page { rows: Vec::new(), total: 0, next: None });
        };
        let page = self.view.list(&filter, after, limit);
        let complete = after.is_none() && page.next.is_none();
        let total = if complete { page.rows.len() as u64 } else { self.total(&filter) };
        Ok(Page { rows: self.with_pools(page.rows), total, next: page.next.map(ListCursor::encode) })
    }

    /// `None`: nothing can match.
    fn filter(&self, caller: &Caller, query: &ListQuery) -> Result<Option<AllocationFilter>, AppError> {
        let pool = query.pool.as_ref().map(|pool| self.pool_of(caller, pool)).transpose()?;
        let mut filter = AllocationFilter {
            tenant: Some(caller.tenant.clone()),
            pool: pool.as_ref().map(|pool| pool.uid),
            realm: None,
            subscriber: query.subscriber.clone(),
            node: query.node.clone(),
            expires_before_ms: query.expiring_within_ms.map(|within| self.now_ms().saturating_add(within)),
        };
        if let Some(name) = &query.realm {
            let named = |tenant| self.view.realm_named(tenant, name);
            let found = pool.as_ref().map_or_else(
                || named(Some(&caller.tenant)).or_else(|| named(None)),
                |pool| self.realm_of_pool(pool, name),
            );
            let Some(realm) = found else { return Ok(None) };
            filter.realm = Some(realm);
        }
        Ok(Some(filter))
    }

    /// How many match. Of whole pools the counts are kept; anything else must be counted.
    fn total(&self, filter: &AllocationFilter) -> u64 {
        let whole = filter.subscriber.is_none() && filter.node.is_none() && filter.expires_before_ms.is_none();
        if !whole {
            return self.view.count(filter);
        }
        let pools = match filter.pool {
            Some(pool) => vec![pool],
            None => self.view.pools(filter.tenant.as_ref()).iter().map(|pool| pool.uid).collect(),
        };
        let counts = pools.into_iter().flat_map(|pool| self.view.occupancy(pool));
        let wanted = counts.filter(|(realm, _)| filter.realm.is_none_or(|wanted| wanted == *realm));
        wanted.map(|(_, occupancy)| occupancy.allocations).sum()
    }

    fn list_of_resource(&self, caller: &Caller, query: &ListQuery, resource: &str) -> Result<Page<Holding>, AppError> {
        let found = self.current_holders(caller, None, resource, query.pool.as_ref(), query.realm.as_ref())?;
        let wanted = |held: &Holding| {
            query.subscriber.as_ref().is_none_or(|subscriber| *subscriber == held.allocation.subscriber)
                && query.node.as_ref().is_none_or(|node| held.allocation.node.as_deref() == Some(node))
        };
        let rows: Vec<_> = found.into_iter().filter(wanted).collect();
        Ok(Page { total: rows.len() as u64, rows, next: None })
    }

    /// Rows with their pools. What has no name and cannot get one now is shown without: a list outlives its plugin.
    pub(crate) fn with_pools(&self, rows: Vec<Arc<Allocation>>) -> Vec<Holding> {
        let mut pools: BTreeMap<PoolUid, Option<Arc<Pool>>> = BTreeMap::new();
        let mut held = Vec::with_capacity(rows.len());
        let mut unnamed: BTreeMap<PoolUid, Vec<Arc<Allocation>>> = BTreeMap::new();
        for allocation in rows {
            let uid = allocation.pool;
            let Some(pool) = pools.entry(uid).or_insert_with(|| self.view.pool_by_uid(uid)) else { continue };
            if allocation.name().is_none() {
                unnamed.entry(uid).or_default().push(Arc::clone(&allocation));
            }
            held.push(Holding { allocation, pool: Arc::clone(pool) });
        }
        for (uid, allocations) in unnamed {
            let Some(Some(pool)) = pools.get(&uid) else { continue };
            let spans: Vec<Span> = allocations.iter().map(|allocation| allocation.span).collect();
            match self.types.render(pool, &spans) {
                Ok(names) => {
                    let each = allocations.iter().zip(names).filter_map(|(held, name)| Some((held, name.ok()?)));
                    each.for_each(|(held, name)| held.set_name(name));
                }
                Err(error) => tracing::debug!(pool = %pool.draft.id, %error, "a page is shown without some names"),
            }
        }
        held
    }

    /// The OLT-BNGs that have allocations of this tenant, by id.
    pub fn nodes(&self, caller: &Caller) -> Result<Vec<NodeSeen>, AppError> {
        caller.needs(Role::Read)?;
        let only_tenant = self.view.pools(None).iter().all(|pool| pool.draft.tenant == caller.tenant);
        let seen = if only_tenant { self.view.nodes() } else { self.nodes_of_tenant(caller) };
        Ok(seen.into_iter().map(|(id, allocations)| NodeSeen { id, allocations }).collect())
    }

    /// The kept counts are over all tenants, and one must not see the others' OLTs.
    fn nodes_of_tenant(&self, caller: &Caller) -> Vec<(Arc<NodeId>, u64)> {
        let filter = AllocationFilter { tenant: Some(caller.tenant.clone()), ..AllocationFilter::default() };
        let mut counts: BTreeMap<Arc<NodeId>, u64> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.view.list(&filter, after, MOST_ROWS);
            for node in page.rows.iter().filter_map(|held| held.node.as_ref()) {
                *counts.entry(Arc::clone(node)).or_insert(0) += 1;
            }
            after = page.next;
            if after.is_none() {
                return counts.into_iter().collect();
            }
        }
    }
}

/// The newest ipv4, else the newest ipv6, else the newest; `all` is newest first.
pub(crate) fn shown(all: &[Holding]) -> Option<&Holding> {
    let of_type = |wanted: &str| all.iter().find(|held| held.pool.draft.type_id.as_str() == wanted);
    of_type("ipv4").or_else(|| of_type("ipv6")).or_else(|| all.first())
}

pub(crate) fn page_limit(limit: Option<usize>) -> Result<usize, AppError> {
    match limit {
        None => Ok(MOST_ROWS),
        Some(limit) if (1..=MOST_ROWS).contains(&limit) => Ok(limit),
        Some(limit) => Err(AppError::invalid("limit", limit, format!("must be 1 to {MOST_ROWS}"))),
    }
}

pub(crate) fn read_cursor(cursor: Option<&str>) -> Result<Option<ListCursor>, AppError> {
    let read = |cursor: &str| {
        ListCursor::decode(cursor)
            .map_err(|_| AppError::CursorInvalid { cursor: super::error::Fault::new("", cursor, "").value })
    };
    cursor.filter(|cursor| !cursor.is_empty()).map(read).transpose()
}
