//! A ledger on a bench: commands in, outcomes and changes out.

use std::sync::Arc;

use crate::id::{ClusterId, CommandId, Epoch, MemberId, Origin, PoolUid, ProtocolVersion, Seq, ShardId};
use crate::ledger::{
    Change, Grant, GrantKind, HostRole, Ledger, LedgerCommand, LedgerEntry, LedgerError, LedgerReply, Word,
};
use crate::plan::Strategy;
use crate::pool::{Alignment, Geometry, LeaseTerms, PoolDraft, PoolTerms, RealmRef, Sizing};
use crate::span::{Series, Span};

pub(super) type Outcome = Result<LedgerReply, LedgerError>;

pub(super) const LATER_MS: u64 = 1_800_000_000_000;

#[derive(Clone, Debug)]
pub(super) struct Bed {
    pub(super) ledger: Ledger,
    pub(super) index: u64,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self { ledger: Ledger::new(ClusterId(9)), index: 0 }
    }

    /// Core hosts 1 to `count`, each with a renewed lease.
    pub(super) fn of(count: u64) -> Self {
        let mut bed = Self::new();
        for host in 1..=count {
            let member = bed.joins(join(host, HostRole::Core));
            bed.ok(LedgerCommand::Renew { member, nonce: host });
        }
        bed
    }

    pub(super) fn tell(&mut self, command: LedgerCommand) -> (Outcome, Vec<Change>) {
        self.index += 1;
        let entry = LedgerEntry { id: CommandId(u128::from(self.index)), command };
        let applied = self.ledger.apply(self.index, &entry);
        (applied.outcome, applied.changes)
    }

    pub(super) fn ok(&mut self, command: LedgerCommand) -> LedgerReply {
        self.tell(command).0.expect("it is right")
    }

    /// A refusal, which must leave everything as it was.
    pub(super) fn refused(&mut self, command: LedgerCommand) -> LedgerError {
        let before = self.ledger.state.clone();
        let (outcome, changes) = self.tell(command);
        assert_eq!(self.ledger.state, before);
        assert!(changes.is_empty());
        outcome.expect_err("it is wrong")
    }

    pub(super) fn joins(&mut self, command: LedgerCommand) -> MemberId {
        let reply = self.ok(command);
        let LedgerReply::Joined { member, .. } = reply else { panic!("not joined: {reply:?}") };
        member
    }

    pub(super) fn creates(&mut self, draft: PoolDraft) -> PoolUid {
        let reply = self.ok(LedgerCommand::CreatePool { draft: Box::new(draft), at_ms: LATER_MS });
        let LedgerReply::PoolCreated { pool, .. } = reply else { panic!("not created: {reply:?}") };
        pool
    }

    pub(super) fn deposes(&mut self, member: u32) {
        let member = MemberId(member);
        let last_renewal = self.ledger.member(member).expect("a member").lease.renewed;
        self.ok(LedgerCommand::Depose { member, last_renewal });
    }

    /// The shards of one holder and kind.
    pub(super) fn shards(&self, pool: PoolUid, holder: u32, kind: GrantKind) -> Vec<ShardId> {
        let found = self.ledger.pool(pool).expect("there");
        let mine = |grant: Grant| grant.holder == MemberId(holder) && grant.kind == kind;
        found.grants.iter().filter(|(_, grant)| mine(*grant)).map(|(shard, _)| shard).collect()
    }

    pub(super) fn grant(&self, pool: PoolUid, shard: ShardId) -> Grant {
        self.ledger.grant(pool, shard).expect("there")
    }
}

/// Host `n` joins as incarnation 1.
pub(super) fn join(n: u64, role: HostRole) -> LedgerCommand {
    join_as(n, &format!("host-{n}"), 1, role)
}

pub(super) fn join_as(host: u64, node: &str, incarnation: u64, role: HostRole) -> LedgerCommand {
    LedgerCommand::Join {
        node: node.parse().expect("a node id"),
        origin: Origin { host, incarnation },
        peer: format!("peer-{host}"),
        addresses: vec![format!("10.0.0.{host}:33123")],
        role,
        weight: 1,
        protocol: ProtocolVersion { major: 1, minor: 0 },
        at_ms: LATER_MS,
    }
}

/// A pool of `len` positions from `start`, in shards of 16.
pub(super) fn draft(id: &str, start: u128, len: u128) -> PoolDraft {
    shaped(id, vec![Series::one(span(start, len))], Vec::new())
}

pub(super) fn shaped(id: &str, spans: Vec<Series>, excluded: Vec<Series>) -> PoolDraft {
    let sizing = Sizing { default_len: 1, min_len: 1, max_len: 4, align: Alignment::Natural };
    let spec = format!("{spans:?} less {excluded:?}");
    let (attributes, strategy) = (Vec::new(), Strategy::FirstFree);
    let geometry = Geometry { spans, excluded, grain: 1, sizing, cut: 16, attributes, strategy };
    PoolDraft {
        tenant: "default".parse().expect("a tenant"),
        id: id.parse().expect("a pool id"),
        type_id: "ipv4".parse().expect("a type"),
        realm: RealmRef { name: "default".parse().expect("a realm"), shared: false },
        spec: spec.into(),
        geometry: Arc::new(geometry),
        mapping_id: "ipv4-1".into(),
        terms: PoolTerms {
            strategy,
            lease: LeaseTerms::None,
            hold_down_ms: 0,
            strict: false,
            ack: None,
            realm_by: Vec::new(),
            metadata: "".into(),
        },
        sharding_factor: None,
        extra: "".into(),
    }
}

pub(super) fn span(start: u128, len: u128) -> Span {
    Span::new(start, len).expect("not empty")
}

pub(super) fn moved(pool: PoolUid, shards: &[ShardId], from: u32, to: u32, epoch: u32) -> LedgerCommand {
    let (from, to, epoch) = (MemberId(from), MemberId(to), Epoch(epoch));
    LedgerCommand::Move { pool, shards: shards.to_vec(), from, epoch, to, cut: Seq(77) }
}

pub(super) fn taken(pool: PoolUid, shards: &[ShardId], from: u32, to: u32, epoch: u32) -> LedgerCommand {
    let (from, to, epoch) = (MemberId(from), MemberId(to), Epoch(epoch));
    LedgerCommand::TakeOver { pool, shards: shards.to_vec(), from, epoch, to, cut: Seq(88) }
}

pub(super) fn seized(pool: PoolUid, shards: &[ShardId], from: u32, to: u32, epoch: u32) -> LedgerCommand {
    let word = word("the room burnt down");
    let (from, to, epoch) = (MemberId(from), MemberId(to), Epoch(epoch));
    LedgerCommand::Seize { pool, shards: shards.to_vec(), from, epoch, to, word }
}

pub(super) fn word(reason: &str) -> Word {
    Word { reason: reason.to_owned(), by: "ann".to_owned(), at_ms: LATER_MS }
}
