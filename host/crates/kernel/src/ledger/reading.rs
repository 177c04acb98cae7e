//! Who reads a pool otherwise than its record says.

use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::command::{Change, LedgerReply};
use super::error::LedgerError;
use super::members::check_text;
use super::state::{Outcome, State};
use crate::id::{MemberId, PoolUid, Revision};

/// How a host's plugin reads a pool, where that is not what the pool's record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Misread {
    /// No plugin of the pool's type serves on the host.
    NoPlugin,
    /// Its plugin does not open the pool's spec.
    NotOpened { why: CompactString },
    /// It names resources by another mapping, or finds other space in the spec. `geometry` is the hash of what it finds.
    Otherwise { mapping_id: CompactString, geometry: [u8; 32] },
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPlugin => f.write_str("it has no plugin of the pool's type"),
            Self::NotOpened { why } => write!(f, "its plugin does not open the pool's spec: {why}"),
            Self::Otherwise { mapping_id, geometry } => {
                write!(f, "its plugin reads mapping {mapping_id}, geometry {}", Short(geometry))
            }
        }
    }
}

/// As much of a hash as people compare.
struct Short<'a>(&'a [u8; 32]);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl State {
    /// A word about an earlier record is refused: the pool may be read as recorded by now.
    pub(super) fn set_reading(
        &mut self,
        uid: PoolUid,
        asked: Revision,
        id: MemberId,
        misread: Option<&Misread>,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        self.member(id)?;
        let record = &self.pool(uid)?.record;
        if record.revision != asked {
            let pool = record.draft.id.clone();
            return Err(LedgerError::RevisionDiffers { pool, found: record.revision, asked });
        }
        match misread {
            Some(Misread::NotOpened { why }) => check_text("why", why, 512)?,
            Some(Misread::Otherwise { mapping_id, .. }) => check_text("mapping_id", mapping_id, 128)?,
            Some(Misread::NoPlugin) | None => {}
        }
        if let Some(pool) = self.pools.get_mut(&uid).filter(|pool| pool.misread.get(&id) != misread) {
            match misread {
                Some(misread) => _ = pool.misread.insert(id, misread.clone()),
                None => _ = pool.misread.remove(&id),
            }
            changes.push(Change::Reading { pool: uid, member: id, misread: misread.cloned() });
        }
        Ok(LedgerReply::ReadingSet(id))
    }
}
