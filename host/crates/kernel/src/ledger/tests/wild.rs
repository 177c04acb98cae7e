//! Commands that nobody would send, well typed and otherwise arbitrary: whatever a peer makes up, nothing panics.

use std::sync::Arc;

use proptest::prelude::*;

use super::bed::{Bed, draft, join_as};
use crate::id::{Dot, Epoch, MemberId, Origin, PoolUid, Revision, Seq, ShardId};
use crate::ledger::{HostRole, LedgerCommand, Misread, Terms, Word};
use crate::pool::{Alignment, Geometry, Pool, PoolDraft, Shard, Sizing};
use crate::span::{Series, Span};

/// Small ones, powers of two and their neighbours, and the ends of the range.
fn number() -> impl Strategy<Value = u128> {
    prop_oneof![
        4 => 0..40_u128,
        3 => (0..128_u32, -1..2_i32).prop_map(|(log, by)| (1_u128 << log).saturating_add_signed(i128::from(by))),
        1 => any::<u128>(),
        1 => Just(u128::MAX),
    ]
}

fn any_span() -> impl Strategy<Value = Span> {
    (number(), number()).prop_filter_map("not a span", |(start, len)| Span::new(start, len))
}

fn any_series() -> impl Strategy<Value = Series> {
    let count = prop_oneof![Just(1_u64), 1..9_u64, any::<u64>()];
    (any_span(), number(), count)
        .prop_map(|(first, stride, count)| Series::new(first, stride, count).unwrap_or(Series::one(first)))
}

fn any_draft() -> impl Strategy<Value = PoolDraft> {
    let lens = (number(), number(), number(), number(), number());
    let runs = (prop::collection::vec(any_series(), 0..4), prop::collection::vec(any_series(), 0..4));
    (lens, runs, any::<bool>(), prop::option::of(prop_oneof![0..64_u32, any::<u32>()]), 0..3_u8).prop_map(
        |((grain, cut, min_len, default_len, max_len), (spans, excluded), natural, sharding_factor, id)| {
            let align = if natural { Alignment::Natural } else { Alignment::Origin };
            let sizing = Sizing { default_len, min_len, max_len, align };
            let attributes = Vec::new();
            let strategy = crate::plan::Strategy::FirstFree;
            let mut made = draft(&format!("wild-{id}"), 0, 16);
            made.geometry = Arc::new(Geometry { spans, excluded, grain, sizing, cut, attributes, strategy });
            PoolDraft { sharding_factor, ..made }
        },
    )
}

/// Half of them could be a plugin's.
fn near_draft() -> impl Strategy<Value = PoolDraft> {
    let runs = prop::collection::vec((any_series(), any_series()), 1..3);
    let log = || 0..4_u32;
    (runs, log(), log(), log(), any::<bool>()).prop_map(|(runs, grain, more, cut, natural)| {
        let align = if natural { Alignment::Natural } else { Alignment::Origin };
        let (grain, max_len) = (1 << grain, 1 << (grain + more));
        let sizing = Sizing { default_len: grain, min_len: grain, max_len, align };
        let (spans, excluded) = runs.into_iter().unzip();
        let (attributes, strategy) = (Vec::new(), crate::plan::Strategy::FirstFree);
        let mut made = draft("near", 0, 16);
        made.geometry = Arc::new(Geometry { spans, excluded, grain, sizing, cut: grain << cut, attributes, strategy });
        made
    })
}

fn any_shards() -> impl Strategy<Value = Vec<ShardId>> {
    prop::collection::vec(prop_oneof![3 => 0..5_u32, 1 => any::<u32>()].prop_map(ShardId), 0..4)
}

fn any_pool() -> impl Strategy<Value = Pool> {
    let shard = (any_span(), 0..4_u32, prop_oneof![1..4_u32, any::<u32>()]);
    let draft = prop_oneof![any_draft(), near_draft(), Just(draft("tame", 0, 16))];
    let shards = prop_oneof![
        prop::collection::vec(
            shard.prop_map(|(cover, id, epoch)| Shard { id: ShardId(id), epoch: Epoch(epoch), cover }),
            0..4
        ),
        Just(vec![Shard { id: ShardId(0), epoch: Epoch(3), cover: Span::new(0, 16).expect("not empty") }]),
    ];
    (any::<u32>(), draft, shards, any::<u64>()).prop_map(|(uid, draft, shards, at_ms)| {
        let uid = PoolUid(uid);
        Pool { uid, revision: Revision(u64::MAX), created_ms: at_ms, updated_ms: at_ms, draft, shards }
    })
}

fn wild() -> impl Strategy<Value = LedgerCommand> {
    let member = || prop_oneof![5 => 0..4_u32, 1 => any::<u32>()].prop_map(MemberId);
    let pool = || prop_oneof![5 => 0..3_u32, 1 => any::<u32>()].prop_map(PoolUid);
    let epoch = || prop_oneof![4 => 0..4_u32, 1 => any::<u32>()].prop_map(Epoch);
    let drafts = || prop_oneof![any_draft(), near_draft()].prop_map(Box::new);
    let role = || prop::sample::select(vec![HostRole::Core, HostRole::Write, HostRole::Read, HostRole::Edge]);
    let numbers = (any::<u32>(), any::<u64>(), any::<u64>(), any::<u32>());
    let of = || (pool(), any_shards(), member(), epoch(), member(), any::<u64>());
    let word =
        || (any::<String>(), any::<String>(), any::<u64>()).prop_map(|(reason, by, at_ms)| Word { reason, by, at_ms });
    prop_oneof![
        (member(), prop::collection::vec(any_pool(), 0..3))
            .prop_map(|(member, pools)| LedgerCommand::Adopt { member, pools }),
        (0..4_u64, 0..3_u64, role()).prop_map(|(host, life, role)| join_as(host, &format!("host-{host}"), life, role)),
        (
            member(),
            prop::option::of(role()),
            prop::option::of(any::<u32>()),
            prop::option::of(any::<bool>()),
            any::<String>(),
        )
            .prop_map(|(member, role, weight, draining, text)| {
                LedgerCommand::SetMember { member, role, weight, draining, addresses: Some(vec![text]) }
            }),
        member().prop_map(|member| LedgerCommand::Leave { member }),
        (member(), word()).prop_map(|(member, word)| LedgerCommand::Remove { member, word }),
        (drafts(), any::<u64>()).prop_map(|(draft, at_ms)| LedgerCommand::CreatePool { draft, at_ms }),
        (drafts(), pool(), any::<u64>()).prop_map(|(draft, pool, at_ms)| LedgerCommand::UpdatePool {
            pool,
            expected: None,
            draft,
            at_ms
        }),
        (pool(), prop::option::of(prop::collection::vec(any_span(), 0..4)), any::<u64>())
            .prop_map(|(pool, spans, at_ms)| LedgerCommand::ClosePool { pool, spans, at_ms }),
        pool().prop_map(|pool| LedgerCommand::ReopenPool { pool }),
        (pool(), any::<u64>(), member(), any_shards())
            .prop_map(|(pool, closing, member, shards)| LedgerCommand::Returned { pool, closing, member, shards }),
        pool().prop_map(|pool| LedgerCommand::FinishClose { pool }),
        (member(), any::<u64>()).prop_map(|(member, nonce)| LedgerCommand::Renew { member, nonce }),
        (member(), 0..9_u64).prop_map(|(member, last_renewal)| LedgerCommand::Depose { member, last_renewal }),
        of().prop_map(|(pool, shards, from, epoch, to, cut)| {
            LedgerCommand::Move { pool, shards, from, epoch, to, cut: Seq(cut) }
        }),
        of().prop_map(|(pool, shards, from, epoch, to, cut)| {
            LedgerCommand::TakeOver { pool, shards, from, epoch, to, cut: Seq(cut) }
        }),
        (of(), word()).prop_map(|((pool, shards, from, epoch, to, _), word)| {
            LedgerCommand::Seize { pool, shards, from, epoch, to, word }
        }),
        of().prop_map(|(pool, shards, member, epoch, _, _)| LedgerCommand::Released { pool, shards, member, epoch }),
        of().prop_map(|(pool, shards, member, epoch, _, _)| LedgerCommand::TakeBack { pool, shards, member, epoch }),
        of().prop_map(|(pool, shards, member, epoch, of, cut)| {
            let logs = vec![Dot { origin: Origin { host: of.0.into(), incarnation: 1 }, seq: Seq(cut / 2) }];
            LedgerCommand::Forgo { pool, shards, member, epoch, logs }
        }),
        (of(), prop::option::of(any::<String>())).prop_map(|((pool, _, member, _, _, number), why)| {
            let misread = why.map(|why| Misread::NotOpened { why: why.into() });
            LedgerCommand::SetReading { pool, revision: Revision(number % 3), member, misread }
        }),
        numbers.prop_map(|(virtual_nodes, lease_ms, grace_ms, escrow_share)| {
            LedgerCommand::SetTerms(Terms { virtual_nodes, lease_ms, grace_ms, escrow_share })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_sequence_of_commands_panics(hosts in 0..3_u64, commands in prop::collection::vec(wild(), 1..24)) {
        let mut bed = Bed::of(hosts);
        for command in commands {
            let before = bed.ledger.state.clone();
            let (outcome, changes) = bed.tell(command);
            if outcome.is_err() {
                prop_assert!(changes.is_empty());
                prop_assert_eq!(&before, &bed.ledger.state);
            }
            bed.ledger.wishes();
        }
        let bytes = postcard::to_stdvec(&bed.ledger).expect("a ledger can be written");
        let read: crate::ledger::Ledger = postcard::from_bytes(&bytes).expect("what was written can be read");
        prop_assert_eq!(read, bed.ledger);
    }
}
