//! Whatever is written reads back the same; whatever bytes there are, reading ends.

use std::num::NonZeroU64;
use std::sync::Arc;

use kernel::{
    Alignment, Allocation, AllocationExtra, AllocationKind, AllocationParts, Conflict, Dot, Durability, EndCause,
    Epoch, Fact, Geometry, LeaseTerms, Made, NodeId, Note, NoteEnds, NoteStamp, Op, Origin, Pool, PoolDraft, PoolTerms,
    PoolUid, RealmRecord, RealmRef, RealmUid, Reservation, Resting, Revision, Seq, Series, Shard, ShardId, Sizing,
    Span, SpanKey, Strategy as Placement, Superseded,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..3, any::<u64>(), 1_700_000_000_000_u64..1_800_000_000_000]
}

/// As far as an allocation keeps its times and its operation.
fn packed() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..3, 0_u64..1 << 48, 1_700_000_000_000_u64..1_800_000_000_000]
}

fn wide() -> impl Strategy<Value = u128> {
    prop_oneof![
        0_u128..3,
        any::<u32>().prop_map(u128::from),
        any::<u128>(),
        (any::<u64>(), 0_u32..64).prop_map(|(high, below)| u128::from(high) << below),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    let len = prop_oneof![(0_u32..127).prop_map(|exponent| 1_u128 << exponent), wide(), Just(1_u128)];
    (wide(), len).prop_filter_map("off the line", |(start, len)| Span::new(start, len))
}

fn series() -> impl Strategy<Value = Series> {
    (span(), wide(), prop_oneof![Just(1_u64), 1_u64..1000])
        .prop_filter_map("impossible", |(first, stride, count)| Series::new(first, stride, count))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9]{1,20}", "[a-zäöü/@:{}\" ]{1,40}"]
}

fn plain<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    "[a-z0-9]{1,16}".prop_map(|raw| raw.parse().unwrap())
}

fn opaque<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    text().prop_map(|raw| raw.parse().unwrap())
}

fn placement() -> impl Strategy<Value = Placement> {
    (0..Placement::ALL.len()).prop_map(|place| Placement::ALL[place])
}

fn span_key() -> impl Strategy<Value = SpanKey> {
    (any::<u32>(), 0_u32..3, span()).prop_map(|(pool, realm, span)| SpanKey {
        pool: PoolUid(pool),
        realm: RealmUid(realm),
        span,
    })
}

fn node() -> impl Strategy<Value = Option<Arc<NodeId>>> {
    option::of(prop_oneof![Just("olt-1".to_owned()), text()].prop_map(|raw| Arc::new(raw.parse().unwrap())))
}

fn held() -> impl Strategy<Value = Fact> {
    let kind =
        prop_oneof![Just(AllocationKind::Session), Just(AllocationKind::Sticky), Just(AllocationKind::Permanent)];
    let mark = (span(), any::<(u32, u32)>(), packed()).prop_map(|(span, (shard, epoch), created_ms)| {
        Box::new(Superseded { span, shard: ShardId(shard), epoch: Epoch(epoch), created_ms })
    });
    let extra = (option::of(opaque()), text(), option::of(mark)).prop_map(|(key, metadata, supersedes)| {
        Box::new(AllocationExtra { key, metadata: metadata.into(), supersedes })
    });
    let times = (packed(), packed(), option::of(1_u64..1 << 46), packed());
    (span_key(), opaque(), any::<(u32, u32)>(), times, node(), option::of(extra), kind, option::of(text())).prop_map(
        |(key, subscriber, (shard, epoch), (created_ms, renewed_ms, expires, seq), node, extra, kind, name)| {
            let allocation = Allocation::new(AllocationParts {
                span: key.span,
                subscriber,
                pool: key.pool,
                realm: key.realm,
                shard: ShardId(shard),
                epoch: Epoch(epoch),
                created_ms,
                renewed_ms,
                expires_ms: expires.and_then(NonZeroU64::new),
                seq: Seq(seq),
                node,
                extra,
                kind,
            });
            if let Some(name) = name {
                allocation.set_name(name.into());
            }
            Fact::Held(Arc::new(allocation))
        },
    )
}

fn resting() -> impl Strategy<Value = Fact> {
    let cause = prop_oneof![Just(EndCause::Released), Just(EndCause::Expired), Just(EndCause::PoolDeleted)];
    let times = (number(), number(), number(), number(), 0..5_u32);
    (span_key(), opaque(), option::of(opaque()), node(), times, cause, option::of(text())).prop_map(
        |(at, subscriber, key, node, (created_ms, ended_ms, until_ms, seq, epoch), cause, name)| {
            let SpanKey { pool, realm, span } = at;
            let (seq, name) = (Seq(seq), name.map(Into::into));
            Fact::Resting(Arc::new(Resting {
                span,
                pool,
                realm,
                subscriber,
                key,
                node,
                created_ms,
                ended_ms,
                until_ms,
                cause,
                epoch: Epoch(epoch),
                renewed_ms: if epoch == 1 { 0 } else { created_ms ^ seq.0 },
                seq,
                name,
            }))
        },
    )
}

fn reserved() -> impl Strategy<Value = Fact> {
    (span_key(), opaque(), number(), number(), text(), text()).prop_map(
        |(at, subscriber, created_ms, seq, name, note)| {
            let SpanKey { pool, realm, span } = at;
            let (name, note, seq) = (name.into(), note.into(), Seq(seq));
            Fact::Reserved(Arc::new(Reservation {
                pool,
                realm,
                span,
                subscriber,
                created_ms,
                name,
                note,
                epoch: Epoch(1),
                seq,
            }))
        },
    )
}

fn geometry() -> impl Strategy<Value = Geometry> {
    let sizing = (wide(), wide(), wide(), any::<bool>()).prop_map(|(default_len, min_len, max_len, natural)| {
        let align = if natural { Alignment::Natural } else { Alignment::Origin };
        Sizing { default_len, min_len, max_len, align }
    });
    let attributes = vec((text(), text()).prop_map(|(name, value)| (name.into(), value.into())), 0..3);
    (vec(series(), 0..4), vec(series(), 0..4), wide(), sizing, wide(), attributes, placement()).prop_map(
        |(spans, excluded, grain, sizing, cut, attributes, strategy)| Geometry {
            spans,
            excluded,
            grain,
            sizing,
            cut,
            attributes,
            strategy,
        },
    )
}

fn terms() -> impl Strategy<Value = PoolTerms> {
    let lease = option::of((number(), number(), number())).prop_map(|timed| {
        timed.map_or(LeaseTerms::None, |(default_ms, min_ms, max_ms)| LeaseTerms::Timed { default_ms, min_ms, max_ms })
    });
    let ack = option::of(select(vec![Durability::Local, Durability::Peer]));
    (placement(), lease, number(), (any::<bool>(), ack), vec(text().prop_map(Into::into), 0..3), text()).prop_map(
        |(strategy, lease, hold_down_ms, (strict, ack), realm_by, metadata)| PoolTerms {
            strategy,
            lease,
            hold_down_ms,
            strict,
            ack,
            realm_by,
            metadata: metadata.into(),
        },
    )
}

fn pool() -> impl Strategy<Value = Fact> {
    let names = (plain(), plain(), plain(), opaque(), any::<bool>());
    let texts = (text(), text(), text(), option::of(any::<u32>()));
    let draft = (names, geometry().boxed(), terms().boxed(), texts).prop_map(
        |((tenant, id, type_id, realm, shared), geometry, terms, (spec, mapping_id, extra, sharding_factor))| {
            PoolDraft {
                tenant,
                id,
                type_id,
                realm: RealmRef { name: realm, shared },
                spec: spec.into(),
                geometry: Arc::new(geometry),
                mapping_id: mapping_id.into(),
                terms,
                sharding_factor,
                extra: extra.into(),
            }
        },
    );
    let shard = (any::<u32>(), any::<u32>(), span()).prop_map(|(id, epoch, cover)| Shard {
        id: ShardId(id),
        epoch: Epoch(epoch),
        cover,
    });
    (any::<u32>(), number(), number(), number(), draft.boxed(), vec(shard, 0..6)).prop_map(
        |(uid, revision, created_ms, updated_ms, draft, shards)| {
            let (uid, revision) = (PoolUid(uid), Revision(revision));
            Fact::Pool(Arc::new(Pool { uid, revision, created_ms, updated_ms, draft, shards }))
        },
    )
}

fn realm() -> impl Strategy<Value = Fact> {
    (any::<u32>(), option::of(plain()), opaque(), number()).prop_map(|(uid, tenant, name, seq)| {
        Fact::Realm(Arc::new(RealmRecord { uid: RealmUid(uid), tenant, name, seq: Seq(seq) }))
    })
}

fn note() -> impl Strategy<Value = Fact> {
    let dot = (origin(), number()).prop_map(|(origin, seq)| Dot { origin, seq: Seq(seq) });
    let stamp = (number(), any::<u32>()).prop_map(|(ms, count)| NoteStamp { ms, count });
    let value = option::of("[a-z \n]{0,40}".prop_map(|text| text.parse().unwrap()));
    (plain(), plain(), value, stamp, vec(dot, 0..6), vec(number().prop_map(Seq), 0..4)).prop_map(
        |(tenant, key, value, stamp, knew, ends)| {
            let (by, knew, ends) = (Origin::default(), knew.into(), ends.into());
            Fact::Noted(Arc::new(Note { tenant, key, value, stamp, by, knew, ends }))
        },
    )
}

fn note_ends() -> impl Strategy<Value = Fact> {
    (plain(), plain(), vec(number().prop_map(Seq), 0..4))
        .prop_map(|(tenant, key, places)| Fact::Unnoted(Arc::new(NoteEnds { tenant, key, places: places.into() })))
}

fn conflict() -> impl Strategy<Value = Fact> {
    (held(), origin(), number()).prop_map(|(fact, origin, seq)| {
        let Fact::Held(heard) = fact else { unreachable!("it is held") };
        Fact::Conflict(Arc::new(Conflict { heard, from: Dot { origin, seq: Seq(seq) } }))
    })
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        4 => held().boxed(),
        4 => resting().boxed(),
        1 => pool().boxed(),
        1 => realm().boxed(),
        1 => reserved().boxed(),
        1 => span_key().prop_map(Fact::Free),
        1 => (span_key(), any::<(u32, u64)>()).prop_map(|(key, (epoch, created_ms))| Fact::Unreserved { key, made: Made { epoch: Epoch(epoch), created_ms } }),
        1 => any::<u32>().prop_map(|uid| Fact::PoolDeleted(PoolUid(uid))),
        1 => Just(Fact::Clock),
        1 => (origin(), number()).prop_map(|(origin, through)| Fact::Heard { origin, through: Seq(through) }),
        1 => note().boxed(),
        1 => note_ends().boxed(),
        1 => conflict().boxed(),
        1 => number().prop_map(|place| Fact::ConflictClosed(Seq(place))),
        1 => (origin(), number()).prop_map(|(origin, seq)| Fact::RestsOn(Dot { origin, seq: Seq(seq) })),
        1 => prop::collection::btree_map(origin(), number().prop_map(Seq), 0..9)
            .prop_map(|vector| Fact::Adopted(Arc::new(vector))),
    ]
}

/// Few hosts with many numbers each, and some that occur once.
fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        4 => (1_u64..4, 1_u64..3).prop_map(|(host, incarnation)| Origin { host, incarnation }),
        1 => (any::<u64>(), number()).prop_map(|(host, incarnation)| Origin { host, incarnation }),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let from = option::of((origin(), number()).prop_map(|(origin, seq)| Dot { origin, seq: Seq(seq) }));
    let op = (number(), number(), from, fact());
    let op = op.prop_map(|(seq, stamp_ms, from, mut fact)| {
        if let (Fact::Noted(note), Some(Dot { origin, .. })) = (&mut fact, from) {
            Arc::make_mut(note).by = origin;
        }
        Op { seq: Seq(seq), stamp_ms, from, fact }
    });
    vec(op, 0..20)
}

fn encode(ops: &[Op]) -> Vec<u8> {
    let mut writer = BlockWriter::default();
    // What a writer did before must not show.
    writer.push(&crate::sample::held(5, 5, 5));
    writer.finish(&mut Vec::new());
    for op in ops {
        writer.push(op);
    }
    let mut raw = Vec::new();
    writer.finish(&mut raw);
    raw
}

fn decode(raw: &[u8]) -> Result<Vec<Op>, RecordFault> {
    let mut ops = Vec::new();
    Block::parse(raw)?.decode_all(&mut Interner::default(), |op| ops.push(op))?;
    Ok(ops)
}

proptest! {
    #[test]
    fn what_is_written_reads_back(ops in ops()) {
        let raw = encode(&ops);
        prop_assert_eq!(format!("{:?}", decode(&raw).unwrap()), format!("{:?}", ops));
        let block = Block::parse(&raw).unwrap();
        for (record, op) in block.records().zip(&ops) {
            let record = record.unwrap();
            prop_assert_eq!(record.kind, Kind::of(&op.fact));
            prop_assert_eq!(record.key, super::span_key(&op.fact));
            prop_assert_eq!(record.from, op.from);
            prop_assert_eq!(block.seq(&record).unwrap(), op.seq);
            prop_assert_eq!(block.stamp_ms(&record).unwrap(), op.stamp_ms);
        }
    }

    #[test]
    fn any_bytes_end_in_operations_or_a_fault(raw in vec(any::<u8>(), 0..300)) {
        drop(decode(&raw));
        for form in [OWN_FORM, BLOCK_FORM] {
            let mut block = vec![form];
            block.extend(&raw);
            drop(decode(&block));
        }
    }

    #[test]
    fn changed_bytes_end_in_operations_or_a_fault(ops in ops(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut raw = encode(&ops);
        let at = at.index(raw.len());
        raw[at] = to;
        drop(decode(&raw));
    }

    #[test]
    fn a_block_cut_anywhere_is_a_fault(ops in ops(), at in any::<prop::sample::Index>()) {
        let raw = encode(&ops);
        let cut = at.index(raw.len());
        prop_assert!(decode(&raw[..cut]).is_err());
    }
}

#[test]
fn a_thousand_node_ids_are_kept_once() {
    let ops: Vec<Op> = (1..=100).map(|seq| crate::sample::held(seq, 1, 1)).collect();
    let raw = encode(&ops);
    let mut interner = Interner::default();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let each = |op: Op| {
            let Fact::Held(held) = op.fact else { panic!("only held") };
            nodes.extend(held.node.clone());
        };
        Block::parse(&raw).unwrap().decode_all(&mut interner, each).unwrap();
    }
    nodes.sort_by_key(Arc::as_ptr);
    nodes.dedup_by(|one, other| Arc::ptr_eq(one, other));
    assert_eq!(nodes.len(), 8);
}

#[test]
fn an_ordinary_allocation_takes_few_bytes() {
    let ops: Vec<Op> = (1..=1000).map(|seq| crate::sample::held(seq, 1, u32::try_from(seq).unwrap())).collect();
    let bytes = encode(&ops).len() / ops.len();
    assert!(bytes <= 60, "{bytes} bytes an allocation");
}

/// The bytes of a record of the older form are the same: only the head of the block has grown, by one byte.
#[test]
fn an_own_operation_takes_no_byte_more_than_in_the_older_form() {
    let ops: Vec<Op> = (1..=50).map(|seq| crate::sample::held(seq, 1, 1)).collect();
    let raw = encode(&ops);
    let mut bytes = Bytes::new(&raw[1..]);
    for _ in 0..3 {
        bytes.varint().unwrap();
    }
    for _ in 0..bytes.varint().unwrap() {
        bytes.text().unwrap();
    }
    let mut older = raw.clone();
    older[0] = OWN_FORM;
    assert_eq!(older.remove(1 + bytes.offset()), 0, "no other origins");
    assert_eq!(format!("{:?}", decode(&older).unwrap()), format!("{ops:?}"));
}

#[test]
fn the_older_form_knows_no_other_origins() {
    let origin = Origin { host: 7, incarnation: 1 };
    let heard = Op { from: None, ..crate::sample::op(1, Fact::Heard { origin, through: Seq(3) }) };
    let relayed = Op { from: Some(Dot { origin, seq: Seq(3) }), ..crate::sample::op(1, Fact::Clock) };
    for (op, kind) in [(heard, 10), (relayed, 137)] {
        let mut raw = encode(&[op]);
        raw[0] = OWN_FORM;
        let listed = raw.windows(8).position(|eight| eight == 7_u64.to_le_bytes()).unwrap();
        raw.drain(listed - 1..listed + 10);
        let fault = decode(&raw).unwrap_err().to_string();
        assert!(fault.ends_with(&format!("record kind {kind} is unknown")), "{fault}");
    }
}

#[test]
fn a_relayed_operation_takes_few_bytes_more() {
    let origin = Origin { host: u64::MAX, incarnation: 1 };
    let own: Vec<Op> = (1..=1000).map(|seq| crate::sample::held(seq, 1, 1)).collect();
    let from = |seq: Seq| Some(Dot { origin, seq: Seq(1_000_000 + seq.0) });
    let relayed: Vec<Op> = own.iter().map(|op| Op { from: from(op.seq), ..op.clone() }).collect();
    let more = encode(&relayed).len() - encode(&own).len();
    assert!(more <= 3 * own.len() + 16, "{more} bytes more for {} operations", own.len());
}

#[test]
fn a_fault_says_where_and_what() {
    let mut raw = encode(&[crate::sample::held(1, 1, 1)]);
    raw[0] = 9;
    assert_eq!(decode(&raw).unwrap_err().to_string(), "at byte 0: block form 9 is unknown, known are 1 and 2");
    let mut raw = encode(&[crate::sample::op(1, Fact::Clock)]);
    let last = raw.len() - 3;
    raw[last] = 77;
    assert_eq!(decode(&raw).unwrap_err().to_string(), format!("at byte {last}: record kind 77 is unknown"));
}
