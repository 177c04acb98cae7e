//! Who holds a resource, or held it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use compact_str::CompactString;
use kernel::{Pool, PoolId, RealmName, RealmUid, Series, Span, TypeId};
use view::AllocationFilter;

use super::App;
use super::caller::{Caller, Role};
use super::clock::rfc3339;
use super::error::AppError;
use super::input::{HolderQuery, MOST_ROWS};
use super::output::{Holders, Holding, PastHolder};
use super::sample::sample;
use crate::ports::{HistoryAnswer, PluginState};

/// Most past holders of one answer.
const MOST_PAST: usize = 1_000;

impl App {
    /// Who holds a resource now, or held it at a moment, or the last ones that did.
    pub async fn holders(&self, caller: &Caller, query: &HolderQuery) -> Result<Holders, AppError> {
        caller.needs(Role::Read)?;
        let places = self.places(caller, query.type_id.as_ref(), &query.resource, query.pool.as_ref())?;
        let mut current = self.at_places(&places, query.realm.as_ref())?;
        if let Some(at_ms) = query.at_ms {
            current.retain(|held| held.allocation.created_ms() <= at_ms && at_ms <= self.now_ms());
        }
        let limit = if query.at_ms.is_some() { MOST_PAST } else { query.past.min(MOST_PAST) };
        let (past, history_from_ms) =
            if limit == 0 { (Vec::new(), None) } else { self.past(&places, query, limit).await? };
        if current.is_empty() && past.is_empty() {
            return Err(AppError::NoHolder { resource: query.resource.clone(), at: query.at_ms.map(rfc3339) });
        }
        let shown = current.first().map(Holding::resource).or(past.first().map(|past| past.resource.as_str()));
        let resource = shown.unwrap_or(&query.resource).into();
        Ok(Holders { resource, current, past, history_from_ms })
    }

    pub(crate) fn current_holders(
        &self,
        caller: &Caller,
        type_id: Option<&TypeId>,
        resource: &str,
        pool: Option<&PoolId>,
        realm: Option<&RealmName>,
    ) -> Result<Vec<Holding>, AppError> {
        let places = self.places(caller, type_id, resource, pool)?;
        self.at_places(&places, realm)
    }

    /// The pools that hold what the text means, and where on their line it is. An error only if no pool knows such a text.
    fn places(
        &self,
        caller: &Caller,
        type_id: Option<&TypeId>,
        resource: &str,
        pool: Option<&PoolId>,
    ) -> Result<Vec<(Arc<Pool>, Span)>, AppError> {
        let mut pools = match pool {
            Some(pool) => vec![self.pool_of(caller, pool)?],
            None => self.view.pools(Some(&caller.tenant)),
        };
        if let Some(type_id) = type_id {
            pools.retain(|pool| pool.draft.type_id == *type_id);
            if pools.is_empty() {
                self.known_type(type_id)?;
            }
        }
        if pools.is_empty() {
            return self.some_type_reads(type_id, resource).map(|()| Vec::new());
        }
        let mut places = Vec::new();
        let mut known = false;
        let mut why_not = Vec::new();
        for pool in pools {
            match self.place(&pool, resource) {
                Ok(span) => places.push((pool, span)),
                Err(AppError::ResourceOutside { .. }) => known = true,
                Err(error) => why_not.push((pool.draft.type_id.clone(), error)),
            }
        }
        if !places.is_empty() {
            return Ok(places);
        }
        if let Some(at) = why_not.iter().position(|(_, error)| matches!(error, AppError::PluginUnavailable { .. })) {
            return Err(why_not.swap_remove(at).1);
        }
        match why_not.pop() {
            Some((type_id, error)) if !known => {
                let asked: BTreeSet<_> = why_not.iter().map(|(other, _)| other).chain([&type_id]).collect();
                // One type's own reason says more than its name.
                Err(if asked.len() == 1 { error } else { no_resource(resource, asked) })
            }
            Some(_) | None => Ok(places),
        }
    }

    /// Where there is no pool to ask: an error if the text means nothing to any type that serves, in a pool such as the
    /// type's own example.
    fn some_type_reads(&self, type_id: Option<&TypeId>, resource: &str) -> Result<(), AppError> {
        let mut asked = BTreeSet::new();
        let mut unavailable = None;
        for plugin in self.types.list().iter().filter(|plugin| plugin.state == PluginState::Active) {
            let Some(sample) = sample(plugin) else { continue };
            if type_id.is_some_and(|wanted| *wanted != sample.draft.type_id) {
                continue;
            }
            if single_place(&sample, resource).is_some() {
                return Ok(());
            }
            match self.parse_one(&sample, resource) {
                Ok(_) | Err(AppError::ResourceOutside { .. }) => return Ok(()),
                Err(error @ AppError::PluginUnavailable { .. }) => unavailable = Some(error),
                Err(_) => _ = asked.insert(sample.draft.type_id),
            }
        }
        match unavailable {
            Some(error) => Err(error),
            None if asked.is_empty() => Ok(()),
            None => Err(no_resource(resource, &asked)),
        }
    }

    /// Where on the pool's line the text is. Addresses and ports need no plugin, and if a plugin does not answer, the names
    /// that are kept with the allocations do.
    fn place(&self, pool: &Pool, resource: &str) -> Result<Span, AppError> {
        if let Some(span) = single_place(pool, resource) {
            let outside = || AppError::ResourceOutside { pool: pool.draft.id.clone(), resource: resource.to_owned() };
            return if holds(pool, span) { Ok(span) } else { Err(outside()) };
        }
        match self.parse_one(pool, resource) {
            Err(unavailable @ AppError::PluginUnavailable { .. }) => {
                self.place_by_name(pool, resource).ok_or(unavailable)
            }
            parsed => parsed,
        }
    }

    /// Looks through the pool's allocations: slow, but a look-up does not depend on a plugin.
    fn place_by_name(&self, pool: &Pool, resource: &str) -> Option<Span> {
        let filter = AllocationFilter { pool: Some(pool.uid), ..AllocationFilter::default() };
        let mut after = None;
        loop {
            let page = self.view.list(&filter, after, MOST_ROWS);
            if let Some(held) = page.rows.iter().find(|held| held.name() == Some(resource)) {
                return Some(held.span);
            }
            after = Some(page.next?);
        }
    }

    pub(crate) fn known_type(&self, type_id: &TypeId) -> Result<(), AppError> {
        let known: Vec<_> = self.types.list().into_iter().map(|plugin| plugin.type_id).collect();
        if known.iter().any(|known| known == type_id.as_str()) {
            return Ok(());
        }
        Err(AppError::TypeUnknown { type_id: type_id.to_string(), known })
    }

    fn at_places(&self, places: &[(Arc<Pool>, Span)], realm: Option<&RealmName>) -> Result<Vec<Holding>, AppError> {
        let mut found = Vec::new();
        for (pool, span) in places {
            let realm = match realm {
                Some(name) => match self.realm_of_pool(pool, name) {
                    Some(realm) => Some(realm),
                    None => continue,
                },
                None => None,
            };
            for allocation in self.view.holders(pool.uid, realm, span.start()) {
                self.name(pool, &allocation)?;
                found.push(Holding { allocation, pool: Arc::clone(pool) });
            }
        }
        Ok(found)
    }

    /// Reads the history where blocking is allowed.
    async fn past(
        &self,
        places: &[(Arc<Pool>, Span)],
        query: &HolderQuery,
        limit: usize,
    ) -> Result<(Vec<PastHolder>, Option<u64>), AppError> {
        let mut wanted: Vec<(Arc<Pool>, RealmUid, u128)> = Vec::new();
        for (pool, span) in places {
            let realms = match &query.realm {
                Some(name) => self.realm_of_pool(pool, name).into_iter().collect(),
                None => self.view.occupancy(pool.uid).into_iter().map(|(realm, _)| realm).collect::<Vec<_>>(),
            };
            wanted.extend(realms.into_iter().map(|realm| (Arc::clone(pool), realm, span.start())));
        }
        let (history, at_ms) = (Arc::clone(&self.history), query.at_ms);
        let read = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            for (pool, realm, position) in wanted {
                let answer = history.holders(pool.uid, realm, position, at_ms, limit)?;
                found.push((pool, answer));
            }
            Ok::<_, String>(found)
        });
        let answers = match read.await {
            Ok(Ok(answers)) => answers,
            Ok(Err(why)) => return Err(AppError::History { why }),
            Err(ended) => return Err(AppError::History { why: ended.to_string() }),
        };
        Ok(self.past_holders(answers, limit))
    }

    fn past_holders(&self, answers: Vec<(Arc<Pool>, HistoryAnswer)>, limit: usize) -> (Vec<PastHolder>, Option<u64>) {
        let from_ms = answers.iter().map(|(_, answer)| answer.history_from_ms).max();
        let mut past = Vec::new();
        for (pool, answer) in answers {
            for entry in answer.entries {
                let name = entry.name.clone().map_or_else(|| self.render_one(&pool, entry.span), Ok);
                let resource = name.unwrap_or_else(|_| CompactString::default());
                let realm = self.realm_name(entry.realm);
                past.push(PastHolder { pool: Arc::clone(&pool), realm, entry, resource });
            }
        }
        past.sort_by_key(|holder| std::cmp::Reverse(holder.entry.to_ms));
        past.truncate(limit);
        (past, from_ms)
    }
}

/// A text that none of the types that were asked knows.
fn no_resource<'a>(resource: &str, asked: impl IntoIterator<Item = &'a TypeId>) -> AppError {
    let asked: Vec<_> = asked.into_iter().map(TypeId::as_str).collect();
    AppError::invalid("resource", resource, format!("must be the text of a resource of type {}", asked.join(" or ")))
}

/// The place of a single address or port, where the pool's names are known to be those of its line: the host knows these
/// mappings, so that "who holds this address" needs no plugin and finds prefixes and blocks of ports by anything in them.
fn single_place(pool: &Pool, resource: &str) -> Option<Span> {
    let port = |text: &str| text.parse::<u16>().ok().map(u128::from);
    let position = match pool.draft.mapping_id.as_str() {
        "ipv4/1" => u128::from(resource.parse::<Ipv4Addr>().ok()?.to_bits()),
        "ipv6/1" => resource.parse::<Ipv6Addr>().ok()?.to_bits(),
        "port/1" => match resource.split_once(':') {
            Some((address, text)) => u128::from(address.parse::<Ipv4Addr>().ok()?.to_bits()) << 16 | port(text)?,
            None => port(resource)?,
        },
        _ => return None,
    };
    Span::new(position, 1)
}

/// True if the position belongs to one of the pool's spans.
fn holds(pool: &Pool, place: Span) -> bool {
    let inside = |series: &Series| {
        let offset = place.start().checked_sub(series.first().start())?;
        let member = u64::try_from(offset.checked_div(series.stride())?).ok()?;
        Some(series.get(member)?.contains(place))
    };
    pool.draft.geometry.spans.iter().any(|series| inside(series) == Some(true))
}
