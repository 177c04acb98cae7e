//! Whether the plugin that serves here reads a pool as its record says. The record is of the host that made or changed the
//! pool, and that host may have another version.

use std::collections::BTreeMap;

use compact_str::CompactString;
use kernel::ledger::Misread;
use kernel::{Pool, PoolUid, Revision};
use parking_lot::Mutex;
use plugin_host::{Digest, GeometryHash, PluginError};

use super::Plugins;

/// Most pools of which it is known; beyond that all are looked at again. As many as a ledger may have.
const KNOWN: usize = 16_384;

/// Longest text of why a spec does not open, in characters.
const WHY: usize = 100;

/// How a pool is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    AsRecorded,
    Otherwise(Misread),
    /// The plugin gives no answer now. It names nothing then, so that nothing can be named wrongly.
    Unknown,
}

/// What was found out, for as long as record and component are the same.
#[derive(Debug, Default)]
pub(super) struct Readings(Mutex<BTreeMap<PoolUid, (Revision, Digest, Reads)>>);

impl Plugins {
    /// How the pool is read, if that takes no call of a plugin.
    pub(crate) fn reads_at_once(&self, pool: &Pool) -> Option<Reads> {
        let Some(host) = self.host.get() else { return Some(Reads::Unknown) };
        let Some(digest) = host.serves(pool.draft.type_id.as_str()) else {
            return Some(Reads::Otherwise(Misread::NoPlugin));
        };
        let known = self.readings.0.lock();
        let (revision, component, reads) = known.get(&pool.uid)?;
        (*revision == pool.revision && *component == digest).then(|| reads.clone())
    }

    /// How the pool is read. May call its plugin, once for each record and version: call it where that may block.
    pub(crate) fn reads(&self, pool: &Pool) -> Reads {
        if let Some(reads) = self.reads_at_once(pool) {
            return reads;
        }
        let Some(host) = self.host.get() else { return Reads::Unknown };
        let draft = &pool.draft;
        let type_id = draft.type_id.as_str();
        let Some(digest) = host.serves(type_id) else { return Reads::Otherwise(Misread::NoPlugin) };
        let reads = match host.open(type_id, &draft.spec) {
            Ok(opened) => {
                let recorded = GeometryHash::of(&draft.geometry);
                if opened.mapping_id == draft.mapping_id && opened.geometry_hash == recorded {
                    Reads::AsRecorded
                } else {
                    let geometry = *opened.geometry_hash.as_bytes();
                    Reads::Otherwise(Misread::Otherwise { mapping_id: opened.mapping_id, geometry })
                }
            }
            Err(PluginError::UnknownType { .. }) => return Reads::Otherwise(Misread::NoPlugin),
            Err(PluginError::Unavailable { .. }) => return Reads::Unknown,
            Err(
                error @ (PluginError::InvalidSpec(_)
                | PluginError::InvalidName(_)
                | PluginError::InvalidHint(_)
                | PluginError::OutOfRange),
            ) => Reads::Otherwise(Misread::NotOpened { why: printable(&error.to_string()) }),
        };
        let mut known = self.readings.0.lock();
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(pool.uid, (pool.revision, digest, reads.clone()));
        reads
    }
}

/// A guest's words as the ledger takes them.
fn printable(text: &str) -> CompactString {
    let plain = |found: char| if found.is_control() { ' ' } else { found };
    text.chars().take(WHY).map(plain).collect()
}

/// What the record says, for people who compare it with a [`Misread`].
pub(crate) fn recorded(pool: &Pool) -> String {
    let mut hash = GeometryHash::of(&pool.draft.geometry).to_string();
    hash.truncate(12);
    format!("mapping {}, geometry {hash}", pool.draft.mapping_id)
}
