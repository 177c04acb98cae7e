//! Who holds a resource, or held it.

use std::sync::Arc;

use compact_str::CompactString;
use kernel::{Pool, PoolId, RealmName, RealmUid, Span, TypeId};

use super::App;
use super::caller::{Caller, Role};
use super::clock::rfc3339;
use super::error::AppError;
use super::input::HolderQuery;
use super::names::of_type_error;
use super::output::{Holders, Holding, PastHolder};
use crate::ports::{HistoryAnswer, TypeError};

/// Most past holders of one answer.
const MOST_PAST: usize = 1_000;

impl App {
    /// Who holds a resource now, or held it at a moment, or the last ones that did.
    pub async fn holders(&self, caller: &Caller, query: &HolderQuery) -> Result<Holders, AppError> {
        caller.needs(Role::Read)?;
        let places = self.places(caller, query.type_id.as_ref(), &query.resource, query.pool.as_ref())?;
        let mut current = self.at_places(&places, query.realm.as_ref())?;
        if let Some(at_ms) = query.at_ms {
            current.retain(|held| held.allocation.created_ms <= at_ms && at_ms <= self.now_ms());
        }
        let limit = if query.at_ms.is_some() { MOST_PAST } else { query.past.min(MOST_PAST) };
        let (past, history_from_ms) =
            if limit == 0 { (Vec::new(), None) } else { self.past(&places, query, limit).await? };
        if current.is_empty() && past.is_empty() {
            return Err(AppError::NoHolder { resource: query.resource.clone(), at: query.at_ms.map(rfc3339) });
        }
        let resource = match places.first() {
            Some((pool, span)) => self.render_one(pool, *span).unwrap_or_else(|_| query.resource.as_str().into()),
            None => query.resource.as_str().into(),
        };
        Ok(Holders { resource, current, past, history_from_ms })
    }

    /// Who holds it now, in any realm.
    pub fn holder_now(&self, caller: &Caller, resource: &str) -> Result<Holding, AppError> {
        caller.needs(Role::Read)?;
        let found = self.current_holders(caller, None, resource, None, None)?;
        found.into_iter().next().ok_or_else(|| AppError::NoHolder { resource: resource.to_owned(), at: None })
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

    /// The pools that know the text, and where on their line it is. An error only if no pool knows it and one says why.
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
            self.known_type(type_id)?;
            pools.retain(|pool| pool.draft.type_id == *type_id);
        }
        let mut places = Vec::new();
        let mut why_not = None;
        for pool in pools {
            let parsed = self.types.parse(&pool, &[resource]).and_then(|found| {
                found.into_iter().next().unwrap_or_else(|| Err(TypeError::InvalidName("it gave no answer".to_owned())))
            });
            match parsed {
                Ok(span) => places.push((pool, span)),
                Err(TypeError::OutOfRange) => {}
                Err(error) => why_not = Some(of_type_error(&pool, resource, error)),
            }
        }
        match why_not {
            Some(error) if places.is_empty() && (type_id.is_some() || pool.is_some()) => Err(error),
            Some(_) | None => Ok(places),
        }
    }

    fn known_type(&self, type_id: &TypeId) -> Result<(), AppError> {
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
