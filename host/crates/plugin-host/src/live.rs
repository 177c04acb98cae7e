//! What a new version must prove before it takes over: that it reads the pools that live as the old one did.

use std::sync::Arc;

use compact_str::CompactString;
use kernel::{Geometry, PoolId, PoolUid, RealmUid, Span, TenantId};

use crate::digest::GeometryHash;
use crate::error::PluginError;
use crate::plugin::Plugin;
use crate::printable::printable;
use crate::refusal::Refusal;

/// Names checked even if mapping and geometry are equal: a plugin may have forgotten to change its mapping id.
const SAMPLE: usize = 1_024;
/// Names parsed in one round.
const PAGE: usize = 1_024;

/// A pool that exists, as its record has it.
#[derive(Clone, Debug)]
pub struct LivePool {
    pub tenant: TenantId,
    pub pool: PoolId,
    pub uid: PoolUid,
    pub spec: Arc<str>,
    /// The plugin's mapping when the spec was read.
    pub mapping_id: CompactString,
    pub geometry: Arc<Geometry>,
}

/// A place among a pool's names, which are ordered by realm and start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameCursor {
    pub realm: RealmUid,
    pub start: u128,
}

/// Some names of live allocations.
#[derive(Clone, Debug, Default)]
pub struct NamePage {
    pub names: Vec<(Span, CompactString)>,
    /// Where the next page begins; none on the last.
    pub next: Option<NameCursor>,
}

/// What a plugin makes of a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub mapping_id: CompactString,
    pub geometry: Arc<Geometry>,
}

impl Reading {
    /// Whether both name the same resources alike: what differs changes no name and no position.
    pub fn is_like(&self, other: &Self) -> bool {
        self.mapping_id == other.mapping_id && GeometryHash::of(&self.geometry) == GeometryHash::of(&other.geometry)
    }
}

/// A pool that a new version reads another way than its record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rereading {
    pub pool: PoolUid,
    /// What was read. If the pool has another spec by now, the reading is not about it.
    pub spec: Arc<str>,
    pub from: Reading,
    pub to: Reading,
    /// Whether the version that serves now reads the pool as its record says. If not, or if none serves, the new one makes
    /// nothing worse.
    pub reads_now: bool,
}

impl Rereading {
    /// The way back.
    #[must_use]
    pub fn undone(&self) -> Self {
        let Self { pool, spec, from, to, reads_now } = self;
        Self { pool: *pool, spec: Arc::clone(spec), from: to.clone(), to: from.clone(), reads_now: *reads_now }
    }
}

/// Why pools did not become what a version reads them as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReread {
    /// As an edit it would be refused.
    #[error("{pool} cannot become what the plugin reads it as: {why}")]
    Refused { pool: String, why: String },
    /// Another time it may be possible.
    #[error("the live pools cannot be changed now: {0}")]
    NotNow(String),
}

impl From<NotReread> for Refusal {
    fn from(error: NotReread) -> Self {
        match error {
            NotReread::Refused { pool, why } => {
                Self::LivePool { pool, problem: format!("it cannot become what the plugin reads it as: {why}") }
            }
            NotReread::NotNow(why) => Self::PoolsBusy(why),
        }
    }
}

/// The pools of a type as a check found them: a file that was refused because of them is worth another look when they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    type_id: String,
    pools: Vec<(PoolUid, Arc<str>)>,
}

impl Standing {
    pub(crate) fn of(type_id: &str, live: &dyn LivePools) -> Self {
        let pools = live.pools(type_id).into_iter().map(|pool| (pool.uid, pool.spec)).collect();
        Self { type_id: type_id.to_owned(), pools }
    }

    /// Whether the pools are still the same.
    pub(crate) fn lasts(&self, live: &dyn LivePools) -> bool {
        Self::of(&self.type_id, live) == *self
    }
}

/// The pools and names that live now. The daemon implements it over its read view and its engine.
pub trait LivePools: Send + Sync {
    /// The pools of a type.
    fn pools(&self, type_id: &str) -> Vec<LivePool>;
    /// At most `limit` names of a pool's live allocations at or after `from`. Allocations without a name are left out.
    fn names(&self, pool: PoolUid, from: Option<NameCursor>, limit: usize) -> NamePage;
    /// Makes pools what a new version reads them as, each as an operator's edit would: all of them or none. May block.
    fn reread(&self, readings: &[Rereading]) -> Result<(), NotReread>;
}

/// A host without pools: a new data directory, or a tool.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPools;

impl LivePools for NoPools {
    fn pools(&self, _: &str) -> Vec<LivePool> {
        Vec::new()
    }

    fn names(&self, _: PoolUid, _: Option<NameCursor>, _: usize) -> NamePage {
        NamePage::default()
    }

    fn reread(&self, _: &[Rereading]) -> Result<(), NotReread> {
        Ok(())
    }
}

/// Whether `plugin` may serve the pools that live, after `serving`. The pools that it reads another way are returned: every
/// live name of theirs was proven to mean the same span, inside the new geometry.
pub(crate) fn check(
    plugin: &Plugin,
    serving: Option<&Plugin>,
    live: &dyn LivePools,
) -> Result<Vec<Rereading>, Refusal> {
    let mut changed = Vec::new();
    for pool in live.pools(&plugin.descriptor.type_id) {
        let refuse = |problem: String| Refusal::LivePool { pool: format!("{}/{}", pool.tenant, pool.pool), problem };
        let geometry = plugin
            .open(&pool.spec)
            .map_err(|error| refuse(format!("its spec does not open: {}", printable(&error.to_string(), 512))))?;
        let from = Reading { mapping_id: pool.mapping_id.clone(), geometry: Arc::clone(&pool.geometry) };
        let to = Reading { mapping_id: plugin.descriptor.mapping_id.as_str().into(), geometry: Arc::new(geometry) };
        let most = if to.is_like(&from) { SAMPLE } else { usize::MAX };
        names_keep_their_spans(plugin, live, &pool, most).map_err(refuse)?;
        if from != to {
            let reads_now = serving.is_some_and(|serving| reads(serving, &pool.spec, &from));
            changed.push(Rereading { pool: pool.uid, spec: pool.spec, from, to, reads_now });
        }
    }
    Ok(changed)
}

/// Whether a plugin reads a spec so. One that fails now and then is believed: it read the pool when that was made.
fn reads(plugin: &Plugin, spec: &str, wanted: &Reading) -> bool {
    match plugin.open(spec) {
        Ok(geometry) => {
            let mapping_id = plugin.descriptor.mapping_id.as_str().into();
            Reading { mapping_id, geometry: Arc::new(geometry) }.is_like(wanted)
        }
        Err(error) => matches!(error, PluginError::Unavailable { .. }),
    }
}

/// Parses up to `most` live names and compares. Live spans of a realm are disjoint, so equal spans cannot overlap; that
/// they are inside the pool is checked of every parsed span.
fn names_keep_their_spans(plugin: &Plugin, live: &dyn LivePools, pool: &LivePool, most: usize) -> Result<(), String> {
    let mut from = None;
    let mut checked = 0_usize;
    loop {
        let page = live.names(pool.uid, from, PAGE);
        let names: Vec<&str> = page.names.iter().map(|(_, name)| name.as_str()).collect();
        for ((span, name), parsed) in page.names.iter().zip(plugin.parse(&pool.spec, &names)) {
            match parsed {
                Ok(found) if found == *span => {}
                Ok(found) => return Err(format!("live name {name:?} would move from {span:?} to {found:?}")),
                Err(PluginError::Unavailable { why, .. }) => return Err(format!("live name {name:?}: {why}")),
                Err(error) => {
                    let error = printable(&error.to_string(), 512);
                    return Err(format!("live name {name:?} is not understood: {error}"));
                }
            }
        }
        checked = checked.saturating_add(page.names.len());
        // A page that does not move on would never end.
        if checked >= most || page.next.is_none() || page.next <= from {
            return Ok(());
        }
        from = page.next;
    }
}
