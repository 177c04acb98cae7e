//! The pools that live, as plugins are checked against them: from the read view, changed through the engine.

use std::sync::Arc;

use api::engine::WeakEngine;
use compact_str::CompactString;
use kernel::{Command, CommandError, PoolDraft, PoolUid};
use plugin_host::{LivePool, LivePools, NameCursor, NamePage, NotReread, Reading, Rereading};
use view::{AllocationFilter, ListCursor, View};

#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) view: Arc<View>,
    pub(crate) engine: WeakEngine,
    /// Whether other hosts hand out from the same pools: then no host alone makes them something else.
    pub(crate) shared: bool,
}

impl Live {
    /// Makes one pool what it is read as, as an operator's edit would.
    fn follow(&self, reading: &Rereading) -> Result<(), NotReread> {
        let Some(pool) = self.view.pool_by_uid(reading.pool) else { return Ok(()) };
        let name = format!("{}/{}", pool.draft.tenant, pool.draft.id);
        let edited = || NotReread::NotNow(format!("{name} was edited meanwhile"));
        if pool.draft.spec != reading.spec {
            return Err(edited());
        }
        let Reading { mapping_id, geometry } = reading.to.clone();
        let draft = Box::new(PoolDraft { mapping_id, geometry, ..pool.draft.clone() });
        let expected = Some(pool.revision);
        match self.engine.submit_blocking(Command::UpdatePool { pool: pool.uid, expected, draft, dry_run: false }) {
            Ok(Ok(_)) => {
                tracing::info!(pool = name, "pool became what its plugin's new version reads it as");
                Ok(())
            }
            // Deleted meanwhile.
            Ok(Err(CommandError::PoolUnknown { .. } | CommandError::PoolClosing { .. })) => Ok(()),
            Ok(Err(CommandError::RevisionDiffers { .. })) => Err(edited()),
            Ok(Err(error)) => Err(NotReread::Refused { pool: name, why: error.to_string() }),
            Err(error) => Err(NotReread::NotNow(error.to_string())),
        }
    }

    /// What a new version may read otherwise where other hosts hand out from the pool: what only describes it, and a pool
    /// that this host does not read now either, so that nothing gets worse.
    fn check_shared(&self, reading: &Rereading) -> Result<(), NotReread> {
        if reading.to.is_like(&reading.from) {
            return Ok(());
        }
        let Some(pool) = self.view.pool_by_uid(reading.pool) else { return Ok(()) };
        let name = format!("{}/{}", pool.draft.tenant, pool.draft.id);
        if reading.reads_now {
            let why = "other hosts hand out from it as its record says, so this host keeps the version that reads it so. \
                       To change what a pool's spec means, make another pool with it once all hosts have the new version";
            return Err(NotReread::Refused { pool: name, why: why.to_owned() });
        }
        tracing::warn!(pool = name, "the plugin does not read the pool as recorded: this host owns nothing of it");
        Ok(())
    }
}

impl LivePools for Live {
    fn pools(&self, type_id: &str) -> Vec<LivePool> {
        let of_type = self.view.pools(None).into_iter().filter(|pool| pool.draft.type_id.as_str() == type_id);
        of_type
            .map(|pool| LivePool {
                tenant: pool.draft.tenant.clone(),
                pool: pool.draft.id.clone(),
                uid: pool.uid,
                spec: Arc::clone(&pool.draft.spec),
                mapping_id: pool.draft.mapping_id.clone(),
                geometry: Arc::clone(&pool.draft.geometry),
            })
            .collect()
    }

    fn names(&self, pool: PoolUid, from: Option<NameCursor>, limit: usize) -> NamePage {
        let filter = AllocationFilter { pool: Some(pool), ..AllocationFilter::default() };
        let after = from.map(|from| ListCursor { pool, realm: from.realm, start: from.start });
        let page = self.view.list(&filter, after, limit);
        let named = page.rows.iter().filter_map(|held| Some((held.span, CompactString::from(held.name()?))));
        NamePage {
            names: named.collect(),
            next: page.next.map(|next| NameCursor { realm: next.realm, start: next.start }),
        }
    }

    fn reread(&self, readings: &[Rereading]) -> Result<(), NotReread> {
        if self.shared {
            return readings.iter().try_for_each(|reading| self.check_shared(reading));
        }
        let mut followed: Vec<&Rereading> = Vec::new();
        for reading in readings {
            if let Err(error) = self.follow(reading) {
                for reading in followed.into_iter().rev() {
                    if let Err(stuck) = self.follow(&reading.undone()) {
                        tracing::error!(error = %stuck, "a pool stays as a refused version of its plugin reads it");
                    }
                }
                return Err(error);
            }
            followed.push(reading);
        }
        Ok(())
    }
}
