//! What is open between hosts, and the word of a BNG that closes it.

use std::sync::Arc;

use kernel::{Allocation, Command, CommandError, Pool, PoolUid, Reply};
use view::OpenConflict;

use super::App;
use super::allocate::unexpected;
use super::caller::{Caller, Role};
use super::error::AppError;
use super::input::ConflictQuery;
use super::leases::target;
use super::lookups::{page_limit, read_cursor};
use super::output::{Conflict, ConflictKind, Holding, Page};

impl App {
    /// A page of the tenant's open conflicts, in order of pool, realm and position of what has to go.
    pub fn conflicts(&self, caller: &Caller, query: &ConflictQuery) -> Result<Page<Conflict>, AppError> {
        caller.needs(Role::Read)?;
        let limit = page_limit(query.limit)?;
        let after = read_cursor(query.cursor.as_deref())?;
        let pool = query.pool.as_ref().map(|pool| self.pool_of(caller, pool)).transpose()?;
        let mut open = self.open_conflicts(caller, pool.map(|pool| pool.uid));
        if let Some(subscriber) = &query.subscriber {
            open.retain(|conflict| conflict.loser().subscriber == *subscriber);
        }
        let total = open.len() as u64;
        if let Some(after) = after {
            open.retain(|conflict| conflict.place() > after);
        }
        let more = open.len() > limit;
        open.truncate(limit);
        let next = open.last().filter(|_| more).map(|last| last.place().encode());
        Ok(Page { rows: open.iter().filter_map(|conflict| self.shown(conflict)).collect(), total, next })
    }

    /// Nobody uses what has to go any more: it ends by its owner's word. Gives the conflict as it was.
    pub async fn confirm(&self, caller: &Caller, id: &str) -> Result<Conflict, AppError> {
        caller.needs(Role::Allocate)?;
        let unknown = || AppError::ConflictUnknown { id: super::error::Fault::new("", id, "").value };
        let open = self.open_conflicts(caller, None).into_iter().find(|conflict| conflict.id() == id);
        let open = open.ok_or_else(unknown)?;
        let shown = self.shown(&open).ok_or_else(unknown)?;
        match &open {
            OpenConflict::Contradiction(place, _) => match self.engine.submit(Command::CloseConflict(*place)).await? {
                Ok(Reply::Noted) => {}
                Ok(other) => return Err(unexpected(&other)),
                Err(error) => return Err(self.refused(&shown.superseded.pool, error)),
            },
            OpenConflict::Superseded(_) => {
                let command = Command::Release(target(&shown.superseded));
                match self.engine.submit(command).await? {
                    Ok(Reply::Released(_)) => {}
                    // Its lease's end was faster, or somebody else. That another host knows of it is waited for.
                    Err(CommandError::NotHeld { .. }) => drop(self.engine.catch_up().await),
                    Ok(other) => return Err(unexpected(&other)),
                    Err(error) => return Err(self.refused(&shown.superseded.pool, error)),
                }
            }
        }
        Ok(shown)
    }

    fn open_conflicts(&self, caller: &Caller, pool: Option<PoolUid>) -> Vec<OpenConflict> {
        self.view.open_conflicts(|uid| {
            let found = self.view.pool_by_uid(uid);
            let own = found.is_some_and(|found| found.draft.tenant == caller.tenant);
            own && pool.is_none_or(|wanted| wanted == uid)
        })
    }

    /// `None` if its pool is gone.
    fn shown(&self, open: &OpenConflict) -> Option<Conflict> {
        Some(self.shown_conflict(&self.view.pool_by_uid(open.loser().pool)?, open))
    }

    /// As it is listed and a watch tells of it.
    pub(crate) fn shown_conflict(&self, pool: &Arc<Pool>, open: &OpenConflict) -> Conflict {
        let kind = match open {
            OpenConflict::Superseded(_) => ConflictKind::Superseded,
            OpenConflict::Contradiction(..) => ConflictKind::Contradiction,
        };
        let superseded = self.nameable(pool, open.loser());
        let survivor = self.view.stands_instead(open).map(|held| self.nameable(pool, &held));
        Conflict { id: open.id(), kind, superseded, survivor }
    }

    /// With its name, if it has or can get one now.
    fn nameable(&self, pool: &Arc<Pool>, allocation: &Arc<Allocation>) -> Holding {
        if let Err(error) = self.name(pool, allocation) {
            tracing::debug!(pool = %pool.draft.id, %error, "a conflict is shown without some names");
        }
        Holding { allocation: Arc::clone(allocation), pool: Arc::clone(pool) }
    }

    /// What an answer says of an allocation beside itself: both parts are nearly always empty.
    pub(crate) fn superseding(&self, held: &Holding) -> Superseding {
        let Holding { allocation, pool } = held;
        let supersedes = allocation.supersedes().map(|mark| self.render_one(pool, mark.span).unwrap_or_default());
        let by = self.view.stands_in_place_of(allocation).map(|by| {
            let named = self.name(pool, &by).is_ok();
            if named { by.name().unwrap_or_default().into() } else { compact_str::CompactString::default() }
        });
        Superseding { supersedes, by }
    }
}

/// The texts of what an allocation was made in place of, and of what stands in its own place.
#[derive(Clone, Debug, Default)]
pub struct Superseding {
    pub supersedes: Option<compact_str::CompactString>,
    pub by: Option<compact_str::CompactString>,
}
