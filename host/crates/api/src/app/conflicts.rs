//! What is open between hosts, and the word of a BNG that closes it.

use std::sync::Arc;

use kernel::{Allocation, Command, CommandError, Pair, Pool, PoolUid, Reply};
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
        Ok(Page { rows: open.iter().filter_map(|conflict| self.shown_conflict(conflict)).collect(), total, next })
    }

    /// Nobody uses what has to go any more: it ends by its owner's word. Gives the conflict as it was.
    pub async fn confirm(&self, caller: &Caller, id: &str) -> Result<Conflict, AppError> {
        caller.needs(Role::Allocate)?;
        let unknown = || AppError::ConflictUnknown { id: super::error::Fault::new("", id, "").value };
        let open = self.open_conflicts(caller, None).into_iter().find(|conflict| conflict.id() == id);
        let open = open.ok_or_else(unknown)?;
        let shown = self.shown_conflict(&open).ok_or_else(unknown)?;
        match &open {
            OpenConflict::Contradiction { .. } => {
                self.view.settle_contradiction(id);
            }
            OpenConflict::Superseded(_) => {
                let command = Command::Release(target(&shown.superseded));
                match self.engine.submit(command).await? {
                    // Its lease's end was faster.
                    Ok(Reply::Released(_)) | Err(CommandError::NotHeld { .. }) => {}
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
    fn shown_conflict(&self, open: &OpenConflict) -> Option<Conflict> {
        let pool = self.view.pool_by_uid(open.loser().pool)?;
        let (kind, survivor) = match open {
            OpenConflict::Superseded(pair) => (ConflictKind::Superseded, Some(&pair.survivor)),
            OpenConflict::Contradiction { held, .. } => (ConflictKind::Contradiction, held.as_ref()),
        };
        let superseded = self.nameable(&pool, open.loser());
        let survivor = survivor.map(|held| self.nameable(&pool, held));
        Some(Conflict { id: open.id(), kind, superseded, survivor })
    }

    /// The same of a pair that a watch tells of.
    pub(crate) fn shown_pair(&self, pool: &Arc<Pool>, pair: &Pair) -> Conflict {
        let (superseded, survivor) = (self.nameable(pool, &pair.superseded), self.nameable(pool, &pair.survivor));
        let id = OpenConflict::Superseded(pair.clone()).id();
        Conflict { id, kind: ConflictKind::Superseded, superseded, survivor: Some(survivor) }
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
