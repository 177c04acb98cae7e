//! Operations for tests and benches, made from a few numbers, and what a reader of them should know in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::sync::Arc;

use compact_str::ToCompactString as _;
use kernel::{
    Alignment, Allocation, AllocationExtra, AllocationKind, AllocationParts, Conflict, Dot, Durability, EndCause,
    Epoch, Fact, Geometry, LeaseTerms, Made, NodeId, Note, NoteEnds, NoteStamp, Op, Origin, Pool, PoolDraft, PoolTerms,
    PoolUid, RealmRecord, RealmRef, RealmUid, Reservation, Resting, Revision, Seq, Series, Shard, ShardId, Sizing,
    Span, SpanKey, Strategy,
};

/// 2026-01-01, when all samples begin.
pub const START_MS: u64 = 1_767_225_600_000;

fn text<T: std::str::FromStr<Err: std::fmt::Debug>>(raw: &str) -> T {
    raw.parse().expect("samples are well formed")
}

fn span(start: u128, len: u128) -> Span {
    Span::new(start, len).expect("samples are on the line")
}

/// One fact under a sequence number, a second after the one before.
pub fn op(seq: u64, fact: Fact) -> Op {
    Op { seq: Seq(seq), stamp_ms: START_MS + seq * 1000, from: None, fact }
}

/// Another host.
pub fn origin(host: u64) -> Origin {
    Origin { host: host << 40 | 7, incarnation: 1 }
}

/// The operation as it is kept when another host wrote it, under that host's number.
#[must_use]
pub fn relayed(op: Op, host: u64, number: u64) -> Op {
    let mut fact = op.fact;
    if let Fact::Noted(note) = &mut fact {
        Arc::make_mut(note).by = origin(host);
    }
    Op { from: Some(Dot { origin: origin(host), seq: Seq(number) }), fact, ..op }
}

/// Another host was heard so far.
pub fn heard(seq: u64, host: u64, through: u64) -> Op {
    op(seq, Fact::Heard { origin: origin(host), through: Seq(through) })
}

/// The address with this number in 100.64.0.0/10.
pub fn address(number: u32) -> Span {
    span(u128::from(u32::from(Ipv4Addr::new(100, 64, 0, 0)) + number), 1)
}

/// An IPv4 pool over 100.64.0.0/10 in `shards` shards.
pub fn pool(seq: u64, uid: u32, shards: u32) -> Op {
    let cover = span(0x6440_0000, 1 << 22);
    let slice = cover.len() / u128::from(shards);
    let strategy = Strategy::FirstFree;
    let sizing = Sizing { default_len: 1, min_len: 1, max_len: 256, align: Alignment::Origin };
    let geometry = Geometry {
        spans: vec![Series::one(cover)],
        excluded: vec![Series::new(span(0x6440_0000, 1), 256, 1 << 14).expect("every /24's first")],
        grain: 1,
        sizing,
        cut: 256,
        attributes: vec![("prefix".into(), "10".into()), ("dns".into(), "100.64.0.53".into())],
        strategy,
    };
    let draft = PoolDraft {
        tenant: kernel::TenantId::default(),
        id: text(&format!("pool-{uid}")),
        type_id: text("ipv4"),
        realm: RealmRef { name: text("default"), shared: uid % 2 == 1 },
        spec: r#"{"cidr":"100.64.0.0/10"}"#.into(),
        geometry: Arc::new(geometry),
        mapping_id: "1".into(),
        terms: PoolTerms {
            strategy,
            lease: LeaseTerms::Timed { default_ms: 3_600_000, min_ms: 60_000, max_ms: 86_400_000 },
            hold_down_ms: 60_000,
            strict: false,
            // Format 1, of whose samples pools 1 and 2 are, knew nothing of it.
            ack: match uid {
                3 => Some(Durability::Local),
                4 => Some(Durability::Peer),
                _ => None,
            },
            realm_by: vec!["olt_id".into()],
            metadata: "{}".into(),
        },
        sharding_factor: (!uid.is_multiple_of(3)).then_some(shards),
        extra: "{}".into(),
    };
    let shard = |id: u32| {
        let start = cover.start() + slice * u128::from(id);
        Shard { id: ShardId(id), epoch: Epoch(1), cover: span(start, slice) }
    };
    let made_ms = START_MS + seq * 1000;
    let (revision, shards) = (Revision(seq), (0..shards).map(shard).collect());
    let pool = Pool { uid: PoolUid(uid), revision, created_ms: made_ms, updated_ms: made_ms, draft, shards };
    op(seq, Fact::Pool(Arc::new(pool)))
}

/// A realm.
pub fn realm(seq: u64, uid: u32) -> Op {
    let tenant = uid.is_multiple_of(2).then(kernel::TenantId::default);
    let name = text(&format!("default/olt-{uid}"));
    op(seq, Fact::Realm(Arc::new(RealmRecord { uid: RealmUid(uid), tenant, name, seq: Seq(seq) })))
}

/// The key of an address in a pool's first realm.
pub fn key(pool: u32, number: u32) -> SpanKey {
    SpanKey { pool: PoolUid(pool), realm: RealmUid(0), span: address(number) }
}

fn mac(number: u64) -> String {
    let octets: Vec<String> = number.to_be_bytes().iter().skip(2).map(|octet| format!("{octet:02x}")).collect();
    octets.join(":")
}

fn node(number: u64) -> Option<Arc<NodeId>> {
    (!number.is_multiple_of(5)).then(|| Arc::new(text(&format!("olt-{}", number % 10))))
}

/// An address handed out, with its name.
pub fn held(seq: u64, pool: u32, number: u32) -> Op {
    let created_ms = START_MS + seq * 1000;
    let SpanKey { pool, realm, span } = key(pool, number);
    let rare = seq.is_multiple_of(97);
    let extra =
        rare.then(|| AllocationExtra { key: Some(text("pd-1")), metadata: r#"{"line":7}"#.into(), supersedes: None });
    let allocation = Allocation::new(AllocationParts {
        span,
        subscriber: text(&mac(seq)),
        pool,
        realm,
        shard: ShardId(number >> 12),
        epoch: Epoch(1),
        created_ms,
        renewed_ms: created_ms,
        expires_ms: if seq.is_multiple_of(3) { None } else { NonZeroU64::new(created_ms + 3_600_000) },
        seq: Seq(seq),
        node: node(seq),
        extra: extra.map(Box::new),
        kind: if seq.is_multiple_of(3) { AllocationKind::Permanent } else { AllocationKind::Session },
    });
    let bits = u32::try_from(span.start()).expect("samples are IPv4 addresses");
    allocation.set_name(Ipv4Addr::from(bits).to_compact_string());
    op(seq, Fact::Held(Arc::new(allocation)))
}

/// The end of an allocation that was made `lasted_ms` before.
pub fn resting(seq: u64, pool: u32, number: u32, lasted_ms: u64) -> Op {
    let ended_ms = START_MS + seq * 1000;
    let SpanKey { pool, realm, span } = key(pool, number);
    let rest = Resting {
        span,
        pool,
        realm,
        subscriber: text(&mac(seq)),
        key: seq.is_multiple_of(7).then(|| text("pd-1")),
        node: node(seq),
        created_ms: ended_ms - lasted_ms,
        ended_ms,
        until_ms: ended_ms + 60_000,
        cause: if seq.is_multiple_of(2) { EndCause::Released } else { EndCause::Expired },
        epoch: Epoch(1),
        renewed_ms: 0,
        seq: Seq(seq),
        name: seq.is_multiple_of(3).then(|| "100.64.0.1".into()),
    };
    op(seq, Fact::Resting(Arc::new(rest)))
}

/// An address kept for a subscriber.
pub fn reserved(seq: u64, pool: u32, number: u32) -> Op {
    let SpanKey { pool, realm, span } = key(pool, number);
    let reservation = Reservation {
        pool,
        realm,
        span,
        subscriber: text(&mac(seq)),
        created_ms: START_MS + seq * 1000,
        name: "100.64.0.9".into(),
        note: "a printer".into(),
        epoch: Epoch(1),
        seq: Seq(seq),
    };
    op(seq, Fact::Reserved(Arc::new(reservation)))
}

/// That address is kept no more.
#[must_use]
pub fn unreserved(key: SpanKey) -> Fact {
    Fact::Unreserved { key, made: Made { epoch: Epoch(1), created_ms: START_MS } }
}

/// A note with few keys, which replaces what stood at these places.
#[must_use]
pub fn noted(seq: u64, key: u32, value: Option<&str>, ends: &[u64]) -> Op {
    let note = Note {
        tenant: kernel::TenantId::default(),
        key: text(&format!("olt/{key}")),
        value: value.map(text),
        stamp: NoteStamp { ms: START_MS + seq * 999, count: key },
        by: Origin::default(),
        knew: (0..u64::from(key)).map(|host| Dot { origin: origin(host), seq: Seq(seq + host) }).collect(),
        ends: ends.iter().copied().map(Seq).collect(),
    };
    op(seq, Fact::Noted(Arc::new(note)))
}

/// Writes of a note that do not stand any more.
#[must_use]
pub fn unnoted(seq: u64, key: u32, places: &[u64]) -> Op {
    let places = places.iter().copied().map(Seq).collect();
    let ends = NoteEnds { tenant: kernel::TenantId::default(), key: text(&format!("olt/{key}")), places };
    op(seq, Fact::Unnoted(Arc::new(ends)))
}

/// What another host handed out contradicts what is held.
#[must_use]
pub fn conflict(seq: u64, pool: u32, place: u32, from: (u64, u64)) -> Op {
    let Op { fact, .. } = held(seq, pool, place);
    let Fact::Held(heard) = fact else { unreachable!("it is held") };
    let from = Dot { origin: origin(from.0), seq: Seq(from.1) };
    op(seq, Fact::Conflict(Arc::new(Conflict { heard, from })))
}

/// Somebody looked after the conflict of that place.
#[must_use]
pub fn conflict_closed(seq: u64, place: u64) -> Op {
    op(seq, Fact::ConflictClosed(Seq(place)))
}

/// Snapshots of other hosts told what counts so far.
#[must_use]
pub fn adopted(seq: u64, vector: &[(u64, u64)]) -> Op {
    let vector = vector.iter().map(|(host, through)| (origin(*host), Seq(*through))).collect();
    op(seq, Fact::Adopted(Arc::new(vector)))
}

/// What is known after some operations, as text, so that two accounts can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pools: BTreeMap<PoolUid, (Seq, String)>,
    realms: BTreeMap<RealmUid, (Seq, String)>,
    spans: BTreeMap<SpanKey, (Seq, String)>,
    /// Of the spans, those that rest, until when.
    rests: BTreeMap<SpanKey, u64>,
    reserved: BTreeMap<SpanKey, (Seq, String)>,
    /// By place.
    notes: BTreeMap<Seq, (Seq, String)>,
    /// Conflicts, by place.
    conflicts: BTreeMap<Seq, (Seq, String)>,
    /// Notes that do not stand any more, and conflicts that are closed.
    ended: BTreeSet<Seq>,
    /// How far each other origin was heard.
    pub heard: BTreeMap<Origin, Seq>,
    /// The highest pool number ever given.
    pub last_pool: Option<PoolUid>,
    pub high_water_ms: u64,
}

/// True if it is news.
fn put<K: Ord>(facts: &mut BTreeMap<K, (Seq, String)>, key: K, op: &Op) -> bool {
    let newer = facts.get(&key).is_none_or(|(known, _)| *known < op.seq);
    if newer {
        facts.insert(key, (op.seq, format!("{:?} {:?}", op.from, op.fact)));
    }
    newer
}

impl Known {
    /// Takes an operation as a recovering kernel does: repeats and older ones change nothing.
    pub fn apply(&mut self, op: &Op) {
        self.high_water_ms = self.high_water_ms.max(op.stamp_ms);
        match &op.fact {
            Fact::Pool(pool) => {
                self.last_pool = self.last_pool.max(Some(pool.uid));
                put(&mut self.pools, pool.uid, op);
            }
            Fact::PoolDeleted(uid) => {
                self.last_pool = self.last_pool.max(Some(*uid));
                self.pools.remove(uid);
                self.spans.retain(|key, _| key.pool != *uid);
                self.rests.retain(|key, _| key.pool != *uid);
                self.reserved.retain(|key, _| key.pool != *uid);
            }
            Fact::Realm(realm) => {
                put(&mut self.realms, realm.uid, op);
            }
            Fact::Held(held) => {
                let key = SpanKey { pool: held.pool, realm: held.realm, span: held.span };
                if put(&mut self.spans, key, op) {
                    self.rests.remove(&key);
                }
            }
            Fact::Resting(rest) => {
                let key = SpanKey { pool: rest.pool, realm: rest.realm, span: rest.span };
                if put(&mut self.spans, key, op) {
                    self.rests.insert(key, rest.until_ms);
                }
            }
            Fact::Free(key) => {
                self.spans.remove(key);
                self.rests.remove(key);
            }
            Fact::Reserved(kept) => {
                put(&mut self.reserved, kept.key(), op);
            }
            Fact::Unreserved { key, .. } => drop(self.reserved.remove(key)),
            Fact::Noted(note) => {
                put(&mut self.notes, op.seq, op);
                self.ended.extend(note.ends.iter());
            }
            Fact::Unnoted(ends) => self.ended.extend(ends.places.iter()),
            Fact::Conflict(_) => drop(put(&mut self.conflicts, op.seq, op)),
            Fact::ConflictClosed(place) => drop(self.ended.insert(*place)),
            Fact::Clock | Fact::RestsOn(_) => {}
            Fact::Heard { origin, through } => self.hear(*origin, *through),
            Fact::Adopted(vector) => {
                for (origin, through) in vector.iter() {
                    self.hear(*origin, *through);
                }
            }
        }
    }

    fn hear(&mut self, origin: Origin, through: Seq) {
        let known = self.heard.entry(origin).or_default();
        *known = (*known).max(through);
    }

    /// What is known after all of these, [settled](Self::settled).
    pub fn of<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Self {
        let mut known = Self::default();
        for op in ops {
            known.apply(op);
        }
        known.settled()
    }

    /// Without the rests that are over and the notes that were replaced: the last words that a store may have forgotten.
    #[must_use]
    pub fn settled(mut self) -> Self {
        let ended = std::mem::take(&mut self.ended);
        self.notes.retain(|place, _| !ended.contains(place));
        self.conflicts.retain(|place, _| !ended.contains(place));
        let now_ms = self.high_water_ms;
        for (key, _) in self.rests.extract_if(.., |_, until_ms| *until_ms <= now_ms) {
            self.spans.remove(&key);
        }
        self
    }

    /// How many spans have a last word.
    pub fn spans(&self) -> usize {
        self.spans.len()
    }
}
