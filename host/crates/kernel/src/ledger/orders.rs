//! What operators took by force, by whose word and why, for whoever asks later.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::command::Change;
use super::error::LedgerError;
use super::members::check_text;
use super::state::State;
use crate::id::{Epoch, NodeId, PoolId, PoolUid, ShardId, TenantId};

/// Orders kept to be looked at; all of them are in the log.
const KEPT: usize = 256;

const REASON_BYTES: usize = 1_024;
const BY_BYTES: usize = 256;

/// An operator's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Why, 1 to 1,024 bytes.
    pub reason: String,
    /// Whose word it is, 1 to 256 bytes.
    pub by: String,
    /// When it was given, Unix milliseconds.
    pub at_ms: u64,
}

/// What was done by an operator's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The entry it was done by.
    pub index: u64,
    pub deed: Deed,
    pub word: Word,
}

/// What an operator may order that no rule can make safe. Named as it was then: hosts and pools may be gone since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Escrow was taken from its holder.
    Seized {
        pool: PoolUid,
        pool_id: PoolId,
        tenant: TenantId,
        shards: Vec<ShardId>,
        from: NodeId,
        to: NodeId,
        /// The epoch that was ended.
        epoch: Epoch,
    },
    /// A host is no member any more.
    Removed { node: NodeId },
}

impl Word {
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        check_text("reason", &self.reason, REASON_BYTES)?;
        check_text("by", &self.by, BY_BYTES)
    }
}

impl State {
    pub(super) fn note_order(&mut self, index: u64, deed: Deed, word: &Word, changes: &mut Vec<Change>) {
        let order = Arc::new(Order { index, deed, word: word.clone() });
        if self.orders.len() >= KEPT {
            self.orders.pop_front();
        }
        self.orders.push_back(Arc::clone(&order));
        changes.push(Change::Ordered(order));
    }
}
