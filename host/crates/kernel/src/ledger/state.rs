//! What the ledger says, apart from which commands it has seen. The commands' meaning is in the modules beside; each checks
//! everything first and changes afterwards, so that a refusal leaves no trace.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::closing::{Closing, ClosingWhat};
use super::command::{Change, LedgerCommand, LedgerReply};
use super::error::LedgerError;
use super::grants::{GrantKind, Grants};
use super::members::{Departed, Member, Newcomer};
use super::moves::Handover;
use super::orders::Order;
use super::place::Terms;
use super::quarantine::Former;
use super::reading::Misread;
use crate::id::{MemberId, Origin, PoolUid, Seq, ShardId};
use crate::pool::{Pool, PoolDraft};

/// What a command came to.
pub(super) type Outcome = Result<LedgerReply, LedgerError>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) terms: Terms,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) next_member: MemberId,
    /// By identity.
    pub(super) departed: BTreeMap<u64, Departed>,
    pub(super) pools: BTreeMap<PoolUid, LedgerPool>,
    pub(super) next_pool: PoolUid,
    pub(super) orders: VecDeque<Arc<Order>>,
}

/// A pool as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerPool {
    /// Its shards carry the epochs of the moment the record was made; the grants say what counts.
    pub record: Arc<Pool>,
    pub grants: Grants,
    pub closing: Option<Arc<Closing>>,
    /// How far the log of each host counts from which a shard was taken with a cut. A grant names only the last of them; what that
    /// one had from those before it may be known to a newcomer later. So who is given a shard hands out from it once its copy
    /// covers all of these. Whoever went on without the end of a log that no member had any more made it shorter here.
    pub cuts: BTreeMap<(ShardId, Origin), Seq>,
    /// The members whose plugins read the pool otherwise than its record says, by their own word: they are given none of its
    /// shards and give away those they hold.
    pub misread: BTreeMap<MemberId, Misread>,
    /// Of each doubtful shard, whose last words nobody knows: all it was taken from since it was last handed out from. A grant
    /// names only the last of them, and that one's word says nothing of what those before it handed out. And how each held it.
    pub doubts: BTreeMap<ShardId, BTreeMap<Origin, GrantKind>>,
    /// What was handed out by the lease terms it had before.
    pub former: Option<Former>,
}

impl LedgerPool {
    /// Whose words a doubtful shard waits for.
    pub fn awaited(&self, shard: ShardId) -> impl Iterator<Item = Origin> + '_ {
        self.doubts.get(&shard).into_iter().flatten().map(|(origin, _)| *origin)
    }

    /// What the pool holds, and what it will hold when a change under way is finished.
    pub(super) fn drafts(&self) -> impl Iterator<Item = &PoolDraft> {
        let next = self.closing.as_deref().and_then(|closing| match &closing.what {
            ClosingWhat::Update(draft) => Some(&**draft),
            ClosingWhat::Whole | ClosingWhat::Spans(_) => None,
        });
        [&self.record.draft].into_iter().chain(next)
    }
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            terms: Terms::default(),
            members: BTreeMap::new(),
            next_member: MemberId(1),
            departed: BTreeMap::new(),
            pools: BTreeMap::new(),
            next_pool: PoolUid(0),
            orders: VecDeque::new(),
        }
    }

    pub(super) fn apply(&mut self, index: u64, command: &LedgerCommand, changes: &mut Vec<Change>) -> Outcome {
        use LedgerCommand as C;
        match command {
            C::Adopt { member, pools } => self.adopt(*member, pools, changes),
            C::Join { node, origin, peer, addresses, role, weight, protocol, at_ms } => {
                let (origin, role, weight, protocol, at_ms) = (*origin, *role, *weight, *protocol, *at_ms);
                let newcomer = Newcomer { node, origin, peer, addresses, role, weight, protocol, at_ms };
                self.join(index, &newcomer, changes)
            }
            C::SetMember { member, role, weight, draining, addresses } => {
                self.set_member(*member, *role, *weight, *draining, addresses.as_deref(), changes)
            }
            C::Leave { member } => self.depart(index, *member, LedgerReply::Left(*member), changes),
            C::Remove { member, word } => self.remove(index, *member, word, changes),
            C::CreatePool { draft, at_ms } => self.create_pool(draft, *at_ms, changes),
            C::UpdatePool { pool, expected, draft, at_ms } => {
                self.update_pool(index, *pool, *expected, draft, *at_ms, changes)
            }
            C::ClosePool { pool, spans, at_ms } => self.close_pool(index, *pool, spans.as_deref(), *at_ms, changes),
            C::ReopenPool { pool } => self.reopen_pool(*pool, changes),
            C::Returned { pool, closing, member, shards } => self.returned(*pool, *closing, *member, shards, changes),
            C::FinishClose { pool } => self.finish_close(*pool, changes),
            C::Renew { member, nonce } => self.renew(index, *member, *nonce, changes),
            C::Depose { member, last_renewal } => self.depose(index, *member, *last_renewal, changes),
            C::Move { pool, shards, from, epoch, to, cut } => {
                let of = Handover { pool: *pool, shards, from: *from, epoch: *epoch, to: *to };
                self.move_shards(&of, *cut, changes)
            }
            C::TakeOver { pool, shards, from, epoch, to, cut } => {
                let of = Handover { pool: *pool, shards, from: *from, epoch: *epoch, to: *to };
                self.take_over(&of, *cut, changes)
            }
            C::Seize { pool, shards, from, epoch, to, word } => {
                let of = Handover { pool: *pool, shards, from: *from, epoch: *epoch, to: *to };
                self.seize(index, &of, word, changes)
            }
            C::Released { pool, shards, member, epoch } => self.released(*pool, shards, *member, *epoch, changes),
            C::TakeBack { pool, shards, member, epoch } => {
                let of = Handover { pool: *pool, shards, from: *member, epoch: *epoch, to: *member };
                self.take_back(&of, changes)
            }
            C::Forgo { pool, shards, member, epoch, logs } => {
                let of = Handover { pool: *pool, shards, from: *member, epoch: *epoch, to: *member };
                self.forgo(&of, logs, changes)
            }
            C::SetTerms(terms) => self.set_terms(*terms, changes),
            C::SetReading { pool, revision, member, misread } => {
                self.set_reading(*pool, *revision, *member, misread.as_ref(), changes)
            }
        }
    }

    pub(super) fn member(&self, member: MemberId) -> Result<&Member, LedgerError> {
        self.members.get(&member).ok_or(LedgerError::MemberUnknown { member })
    }

    pub(super) fn pool(&self, pool: PoolUid) -> Result<&LedgerPool, LedgerError> {
        self.pools.get(&pool).ok_or(LedgerError::PoolUnknown { pool })
    }

    /// A pool of which nothing closes.
    pub(super) fn open_pool(&self, pool: PoolUid) -> Result<&LedgerPool, LedgerError> {
        let found = self.pool(pool)?;
        match &found.closing {
            None => Ok(found),
            Some(closing) => {
                Err(LedgerError::PoolClosing { pool: found.record.draft.id.clone(), since: closing.since })
            }
        }
    }

    /// Puts new grants in place of a pool's, and tells what is different.
    pub(super) fn regrant(&mut self, pool: PoolUid, grants: Grants, changes: &mut Vec<Change>) {
        let Some(found) = self.pools.get_mut(&pool) else { return };
        let runs = grants.changed_since(&found.grants);
        found.grants = grants;
        if !runs.is_empty() {
            changes.push(Change::Grants { pool, runs });
        }
    }

    /// Puts another closing in place of a pool's.
    pub(super) fn reclose(&mut self, pool: PoolUid, closing: Option<Closing>, changes: &mut Vec<Change>) {
        let Some(found) = self.pools.get_mut(&pool) else { return };
        let closing = closing.map(Arc::new);
        found.closing.clone_from(&closing);
        changes.push(Change::Closing { pool, closing });
    }
}
