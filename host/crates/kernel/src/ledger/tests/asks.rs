//! Random commands that mean something: names and numbers from small ranges, mostly as the ledger has them, sometimes not.

use proptest::prelude::*;

use super::bed::{LATER_MS, join_as, shaped, span, word};
use crate::id::{Dot, Epoch, MemberId, Origin, PoolUid, Revision, Seq, ShardId};
use crate::ledger::{HostRole, Ledger, LedgerCommand, Misread, Terms};
use crate::span::Series;

/// A command to be, with numbers that are made fit for the ledger it will meet.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    what: u8,
    pool: u32,
    from: u32,
    to: u32,
    first: u32,
    count: u32,
    /// Which of the command's numbers are wrong; 0: none, as mostly.
    off: u8,
    number: u64,
    spans: Vec<(u128, u128)>,
    excluded: Vec<(u128, u128)>,
}

pub(super) fn ask() -> impl Strategy<Value = Ask> {
    let numbers = (0..36_u8, 0..5_u32, 0..6_u32, 0..6_u32, 0..12_u32, 1..5_u32);
    let off = prop_oneof![6 => Just(0_u8), 1 => 1..8_u8];
    let spans = prop::collection::vec((0..28_u128, 1..6_u128), 1..3);
    let excluded = prop::collection::vec((0..448_u128, 1..40_u128), 0..3);
    (numbers, off, 0..4_u64, spans, excluded).prop_map(|(numbers, off, number, spans, excluded)| {
        let (what, pool, from, to, first, count) = numbers;
        Ask { what, pool, from, to, first, count, off, number, spans, excluded }
    })
}

impl Ask {
    pub(super) fn command(&self, ledger: &Ledger) -> LedgerCommand {
        let (pool, member) = (self.pool(ledger), MemberId(self.from));
        let at_ms = LATER_MS + self.number;
        match self.what {
            0..=4 => {
                let roles = [HostRole::Core, HostRole::Core, HostRole::Write, HostRole::Edge, HostRole::Read];
                let role = roles[usize::try_from(self.to).unwrap() % roles.len()];
                let name = if self.off == 1 { self.to } else { self.from };
                join_as(u64::from(self.from), &format!("host-{name}"), self.number.max(1) / 2, role)
            }
            5 => LedgerCommand::SetMember {
                member,
                role: (self.off > 1).then_some(HostRole::Write),
                weight: Some(u32::try_from(self.number).unwrap() * 400),
                draining: (self.off > 0).then_some(self.off > 1),
                addresses: None,
            },
            6 => LedgerCommand::Leave { member },
            7 => LedgerCommand::Remove { member, word: word("lost") },
            8..=11 => LedgerCommand::CreatePool { draft: Box::new(self.draft(self.pool)), at_ms },
            12..=14 => {
                let known = ledger.pool(pool).map(|found| found.record.revision);
                let expected = if self.off == 2 { Some(Revision(self.number)) } else { known };
                LedgerCommand::UpdatePool { pool, expected, draft: Box::new(self.next_draft(ledger, pool)), at_ms }
            }
            15 | 16 => {
                let spans = self.excluded.iter().map(|(start, len)| span(*start, *len)).collect::<Vec<_>>();
                LedgerCommand::ClosePool { pool, spans: (!spans.is_empty()).then_some(spans), at_ms }
            }
            17 => LedgerCommand::ReopenPool { pool },
            18..=20 => self.returned(ledger, pool),
            21 | 22 => LedgerCommand::FinishClose { pool },
            23 => LedgerCommand::Renew { member, nonce: self.number },
            24 | 25 => {
                let renewed = ledger.member(member).map_or(0, |member| member.lease.renewed);
                LedgerCommand::Depose { member, last_renewal: renewed + u64::from(self.off) }
            }
            26 => LedgerCommand::SetTerms(Terms {
                escrow_share: u32::try_from(self.number).unwrap() * 400,
                ..Terms::default()
            }),
            34 => {
                let revision = ledger.pool(pool).map_or(Revision(self.number), |found| found.record.revision);
                let misread = (self.number > 0).then_some(Misread::NoPlugin);
                LedgerCommand::SetReading { pool, revision, member, misread }
            }
            27 => LedgerCommand::Adopt { member, pools: Vec::new() },
            _ => self.handover(ledger, pool),
        }
    }

    fn pool(&self, ledger: &Ledger) -> PoolUid {
        let known = ledger.pools().len();
        let nth = usize::try_from(self.pool).unwrap();
        let found = ledger.pools().keys().nth(nth % known.max(1)).copied();
        found.filter(|_| self.off != 3).unwrap_or(PoolUid(self.pool))
    }

    fn draft(&self, id: u32) -> crate::pool::PoolDraft {
        let spans = self.spans.iter().map(|(nth, count)| Series::one(span(nth * 16, count * 16))).collect();
        let excluded = self.excluded.iter().map(|(start, len)| Series::one(span(*start, *len))).collect();
        shaped(&format!("pool-{id}"), spans, excluded)
    }

    fn next_draft(&self, ledger: &Ledger, pool: PoolUid) -> crate::pool::PoolDraft {
        let Some(found) = ledger.pool(pool) else { return self.draft(self.pool) };
        let mut draft = self.draft(self.pool);
        if self.off != 4 {
            draft.id = found.record.draft.id.clone();
        }
        if self.number == 0 {
            // Only more: what it has, and one span beside.
            let mut geometry = (*found.record.draft.geometry).clone();
            geometry.spans.extend(draft.geometry.spans.first());
            draft.geometry = geometry.into();
        }
        draft
    }

    /// Shards in a row that one host holds in one epoch, unless something is wrong.
    fn shards(&self, ledger: &Ledger, pool: PoolUid) -> (Vec<ShardId>, MemberId, Epoch) {
        let wrong = (vec![ShardId(self.first)], MemberId(self.from), Epoch(self.count));
        let Some(found) = ledger.pool(pool) else { return wrong };
        let first = ShardId(self.first % found.grants.shards());
        let Some(grant) = found.grants.of(first) else { return wrong };
        let alike = |shard: &ShardId| {
            found
                .grants
                .of(*shard)
                .is_some_and(|other| (other.holder, other.epoch, other.kind) == (grant.holder, grant.epoch, grant.kind))
        };
        let mut shards: Vec<ShardId> = (first.0..first.0 + self.count).map(ShardId).take_while(alike).collect();
        let mut epoch = grant.epoch;
        match self.off {
            5 => shards.push(ShardId(self.first + self.count)),
            6 => epoch = Epoch(epoch.0.wrapping_sub(1)),
            7 => shards.push(first),
            _ => {}
        }
        let holder = if self.off == 1 { MemberId(self.from) } else { grant.holder };
        (shards, holder, epoch)
    }

    fn returned(&self, ledger: &Ledger, pool: PoolUid) -> LedgerCommand {
        let (shards, member, _) = self.shards(ledger, pool);
        let since = ledger.pool(pool).and_then(|found| Some(found.closing.as_ref()?.since)).unwrap_or(0);
        LedgerCommand::Returned { pool, closing: since + u64::from(self.off == 2), member, shards }
    }

    fn forgo(&self, ledger: &Ledger, pool: PoolUid) -> LedgerCommand {
        let (shards, member, epoch) = self.shards(ledger, pool);
        let gone = |of: &Origin| !ledger.members().values().any(|member| member.origin == *of);
        let all = ledger.pool(pool).into_iter().flat_map(|found| found.cuts.iter());
        let of_first = all.filter(|((shard, _), _)| shards.first() == Some(shard));
        let lost = of_first.filter(|((_, of), _)| gone(of) || self.off == 2).take(1);
        let logs = lost.map(|((_, origin), seq)| Dot { origin: *origin, seq: Seq(seq.0.saturating_sub(1)) }).collect();
        LedgerCommand::Forgo { pool, shards, member, epoch, logs }
    }

    fn handover(&self, ledger: &Ledger, pool: PoolUid) -> LedgerCommand {
        let (shards, from, epoch) = self.shards(ledger, pool);
        let (to, cut) = (MemberId(self.to), Seq(self.number));
        match self.what {
            28 | 29 => LedgerCommand::Move { pool, shards, from, epoch, to, cut },
            30 => LedgerCommand::TakeOver { pool, shards, from, epoch, to, cut },
            31 => LedgerCommand::Seize { pool, shards, from, epoch, to, word: word("lost") },
            32 => LedgerCommand::Released { pool, shards, member: from, epoch },
            35 => self.forgo(ledger, pool),
            _ => LedgerCommand::TakeBack { pool, shards, member: from, epoch },
        }
    }
}
