//! How space leaves a pool: first nobody hands it out any more, then everybody says so, and only then it is gone. Until
//! then it counts as the pool's, so no other pool can be made over it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::command::{Change, LedgerReply};
use super::error::LedgerError;
use super::grants::{Grant, GrantKind, GrantState};
use super::members::Member;
use super::moves::{distinct, grant_of, with_closing};
use super::pools::stamp_epochs;
use super::state::{LedgerPool, Outcome, State};
use crate::id::{MemberId, PoolUid, ShardId};
use crate::overlap::of_series;
use crate::pool::{Geometry, PoolDraft};
use crate::space::{capacity, unite};
use crate::span::{Series, Span};

/// Most spans closed by one command.
const MOST_SPANS: usize = 1_024;

/// Most exclusions a pool has after spans of it were closed.
const MOST_EXCLUDED: usize = 16_384;

/// What of a pool closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClosingWhat {
    /// All of it; then the pool is gone.
    Whole,
    /// These spans, sorted; then they are exclusions of the pool. An update may give them up for good, or take them back.
    Spans(Vec<Span>),
    /// What is not in this draft; then it is the pool's record.
    Update(Box<PoolDraft>),
}

/// A closing under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The entry by which it began: its name.
    pub since: u64,
    pub at_ms: u64,
    pub what: ClosingWhat,
    /// The shards that it touches.
    pub shards: BTreeSet<ShardId>,
    /// Those of them that nobody has returned yet.
    pub waiting: BTreeSet<ShardId>,
}

impl State {
    pub(super) fn close_pool(
        &mut self,
        index: u64,
        uid: PoolUid,
        spans: Option<&[Span]>,
        at_ms: u64,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let found = self.pool(uid)?;
        let what = match spans {
            None => ClosingWhat::Whole,
            Some(spans) => ClosingWhat::Spans(checked_spans(found, spans)?),
        };
        match &found.closing {
            Some(closing) if closing.what == what => {
                let (since, waiting) = (closing.since, closing.waiting.len() as u64);
                return Ok(LedgerReply::Closing { pool: uid, since, waiting });
            }
            Some(_) | None => self.open_pool(uid)?,
        };
        let shards = match &what {
            ClosingWhat::Whole | ClosingWhat::Update(_) => found.grants.iter().map(|(shard, _)| shard).collect(),
            ClosingWhat::Spans(spans) => touched(found, spans),
        };
        Ok(self.begin_closing(uid, Closing { since: index, at_ms, what, waiting: shards.clone(), shards }, changes))
    }

    pub(super) fn begin_closing(&mut self, uid: PoolUid, closing: Closing, changes: &mut Vec<Change>) -> LedgerReply {
        let (since, waiting) = (closing.since, closing.waiting.len() as u64);
        self.reclose(uid, Some(closing), changes);
        if let Some(found) = self.pools.get(&uid) {
            let grants = with_closing(found, found.grants.clone());
            self.regrant(uid, grants, changes);
        }
        LedgerReply::Closing { pool: uid, since, waiting }
    }

    pub(super) fn reopen_pool(&mut self, uid: PoolUid, changes: &mut Vec<Change>) -> Outcome {
        let found = self.pool(uid)?;
        closing_of(found)?;
        let grants = found.grants.rewritten(reopened);
        self.reclose(uid, None, changes);
        self.regrant(uid, grants, changes);
        Ok(LedgerReply::Reopened(uid))
    }

    pub(super) fn returned(
        &mut self,
        uid: PoolUid,
        since: u64,
        member: MemberId,
        shards: &[ShardId],
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let found = self.pool(uid)?;
        let closing = closing_of(found)?;
        if closing.since != since {
            let pool = found.record.draft.id.clone();
            return Err(LedgerError::ClosingDiffers { pool, found: closing.since, asked: since });
        }
        let shards = distinct(shards)?;
        for shard in &shards {
            let grant = grant_of(uid, found, *shard)?;
            if grant.holder != member {
                return Err(LedgerError::HolderDiffers {
                    pool: uid,
                    shard: *shard,
                    found: grant.holder,
                    asked: member,
                });
            }
            if !closing.shards.contains(shard) {
                return Err(LedgerError::ShardNotClosing { pool: uid, shard: *shard });
            }
            if grant.is_doubtful() && closing.what != ClosingWhat::Whole {
                // Nobody knows that it is empty.
                let (found, right) = (grant.state, "Closing".into());
                return Err(LedgerError::StateDiffers { pool: uid, shard: *shard, found, right });
            }
        }
        let waiting = closing.waiting.iter().filter(|shard| shards.binary_search(shard).is_err()).count();
        self.no_longer_waits(uid, &shards, changes);
        Ok(LedgerReply::Returned { pool: uid, waiting: waiting as u64 })
    }

    /// Nobody is waited for where these shards, which are sorted, are concerned.
    pub(super) fn no_longer_waits(&mut self, uid: PoolUid, shards: &[ShardId], changes: &mut Vec<Change>) {
        let Some(closing) = self.pools.get(&uid).and_then(|found| found.closing.as_deref()) else { return };
        let mut less = closing.clone();
        less.waiting.retain(|shard| shards.binary_search(shard).is_err());
        if less != *closing {
            self.reclose(uid, Some(less), changes);
        }
    }

    /// The holder lost some of its log: what it returned is waited for again.
    pub(super) fn wait_again(&mut self, uid: PoolUid, holder: MemberId, changes: &mut Vec<Change>) {
        let Some(found) = self.pools.get(&uid) else { return };
        let Some(closing) = found.closing.as_deref() else { return };
        let mut more = closing.clone();
        let held = |shard: &ShardId| found.grants.of(*shard).is_some_and(|grant| grant.holder == holder);
        more.waiting.extend(closing.shards.iter().copied().filter(held));
        if more != *closing {
            self.reclose(uid, Some(more), changes);
        }
    }

    pub(super) fn finish_close(&mut self, uid: PoolUid, changes: &mut Vec<Change>) -> Outcome {
        let found = self.pool(uid)?;
        let closing = Arc::clone(closing_of(found)?);
        self.check_returned(found, &closing)?;
        match &closing.what {
            ClosingWhat::Whole => {
                self.pools.remove(&uid);
                changes.push(Change::PoolGone(uid));
                Ok(LedgerReply::Closed(uid))
            }
            ClosingWhat::Spans(spans) => {
                let mut draft = found.record.draft.clone();
                let geometry = Geometry::clone(&draft.geometry);
                draft.geometry = Arc::new(without(geometry, spans));
                self.shrink(uid, draft, closing.at_ms, changes)
            }
            ClosingWhat::Update(draft) => self.shrink(uid, PoolDraft::clone(draft), closing.at_ms, changes),
        }
    }

    fn shrink(&mut self, uid: PoolUid, draft: PoolDraft, at_ms: u64, changes: &mut Vec<Change>) -> Outcome {
        let found = self.pool(uid)?;
        let (mut record, grants) = self.changed_record(uid, found, draft, at_ms)?;
        let grants = grants.rewritten(reopened);
        stamp_epochs(&mut record, &grants);
        let revision = record.revision;
        self.reclose(uid, None, changes);
        self.put_record(uid, record, grants, changes);
        Ok(LedgerReply::Shrunk { pool: uid, revision })
    }

    /// Every shard was returned. Of a pool that goes as a whole it is enough that it was seized, or is the leased one of a host
    /// whose lease and grace are over; where the pool lives on, what is held there would be held outside it.
    fn check_returned(&self, found: &LedgerPool, closing: &Closing) -> Result<(), LedgerError> {
        let mut holders: BTreeMap<MemberId, u64> = BTreeMap::new();
        for grant in closing.waiting.iter().filter_map(|shard| found.grants.of(*shard)) {
            let deposed = self.members.get(&grant.holder).is_some_and(Member::is_deposed);
            if !(deposed && grant.kind == GrantKind::Leased && closing.what == ClosingWhat::Whole) {
                *holders.entry(grant.holder).or_default() += 1;
            }
        }
        if holders.is_empty() {
            return Ok(());
        }
        let (pool, waiting) = (found.record.draft.id.clone(), holders.values().sum());
        // Who waits is shown to people: a few are enough.
        Err(LedgerError::NotReturned { pool, waiting, holders: holders.into_iter().take(100).collect() })
    }
}

fn closing_of(pool: &LedgerPool) -> Result<&Arc<Closing>, LedgerError> {
    let not_closing = || LedgerError::PoolNotClosing { pool: pool.record.draft.id.clone() };
    pool.closing.as_ref().ok_or_else(not_closing)
}

fn reopened(grant: Grant) -> Grant {
    match grant.state {
        GrantState::Closing => Grant { state: GrantState::Held, ..grant },
        GrantState::Held | GrantState::Quarantined | GrantState::Forced => grant,
    }
}

/// The spans sorted and joined, if each touches the pool.
fn checked_spans(pool: &LedgerPool, spans: &[Span]) -> Result<Vec<Span>, LedgerError> {
    let draft = &pool.record.draft;
    if spans.is_empty() || spans.len() > MOST_SPANS {
        return Err(LedgerError::field("the number of spans", spans.len(), "1 to 1024"));
    }
    if draft.geometry.excluded.len() + spans.len() > MOST_EXCLUDED {
        let right = "at most 16384: update the pool so that fewer are needed";
        return Err(LedgerError::field("the number of exclusions", draft.geometry.excluded.len(), right));
    }
    let inside = |span: &Span| draft.geometry.spans.iter().any(|run| of_series(*run, Series::one(*span)).is_some());
    if let Some(span) = spans.iter().find(|span| !inside(span)) {
        return Err(LedgerError::SpanOutside { pool: draft.id.clone(), span: *span });
    }
    let closed = without(Geometry::clone(&draft.geometry), spans);
    capacity(&closed).map_err(|why| LedgerError::PoolGeometry { pool: draft.id.clone(), why })?;
    Ok(unite(spans.to_vec()))
}

fn touched(pool: &LedgerPool, spans: &[Span]) -> BTreeSet<ShardId> {
    // Sorted and apart, as covers are: the first span that ends behind a cover's start is the only one to ask.
    let hit = |cover: Span| {
        let at = spans.partition_point(|span| span.end() <= cover.start());
        spans.get(at).is_some_and(|span| span.intersects(cover))
    };
    pool.record.shards.iter().filter(|shard| hit(shard.cover)).map(|shard| shard.id).collect()
}

fn without(mut geometry: Geometry, spans: &[Span]) -> Geometry {
    geometry.excluded.extend(spans.iter().copied().map(Series::one));
    geometry
}
