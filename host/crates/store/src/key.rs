//! The keys of table rows: their bytes sort as their values do, and each names the pool whose facts the row holds.

use std::fmt;

use kernel::{PoolUid, RealmUid, Seq, Span, SpanKey};

/// What the first operation of a row is about. The order of the variants is the order in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKey {
    /// Notes from this place of the log on.
    Note(Seq),
    Pool(PoolUid),
    Realm(RealmUid),
    Reserved(SpanKey),
    /// The newest deleted pool and the time: one row.
    Marks,
    Span(SpanKey),
    History(HistoryKey),
}

/// Where the end of an allocation stands in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HistoryKey {
    pub(crate) pool: PoolUid,
    pub(crate) realm: RealmUid,
    /// The length, rounded up to a power of two, is two to this. A look-up asks for each class by itself, because only
    /// within a class does a span's start say how far it can reach.
    pub(crate) class: u8,
    pub(crate) start: u128,
    pub(crate) ended_ms: u64,
    pub(crate) seq: u64,
}

/// Two to this is the smallest power of two that is not less than the length.
pub(crate) fn length_class(len: u128) -> u8 {
    let class = if len <= 1 { 0 } else { 128 - (len - 1).leading_zeros() };
    u8::try_from(class).unwrap_or(u8::MAX)
}

/// A row holds operations of one group only, so damage to it concerns one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowGroup(u8, u32, u32, u8);

const NOTE: u8 = 0;
const POOL: u8 = 1;
const REALM: u8 = 2;
const RESERVED: u8 = 3;
const MARKS: u8 = 4;
const SPAN: u8 = 5;
const HISTORY: u8 = 6;

impl RowKey {
    pub(crate) fn group(self) -> RowGroup {
        match self {
            Self::Note(_) => RowGroup(NOTE, 0, 0, 0),
            Self::Pool(uid) => RowGroup(POOL, uid.0, 0, 0),
            Self::Realm(_) => RowGroup(REALM, 0, 0, 0),
            Self::Reserved(key) => RowGroup(RESERVED, key.pool.0, key.realm.0, 0),
            Self::Marks => RowGroup(MARKS, 0, 0, 0),
            Self::Span(key) => RowGroup(SPAN, key.pool.0, key.realm.0, 0),
            Self::History(key) => RowGroup(HISTORY, key.pool.0, key.realm.0, key.class),
        }
    }

    /// Whose facts the row holds; `None`: they concern all pools.
    pub(crate) fn pool(self) -> Option<PoolUid> {
        match self {
            Self::Pool(uid) => Some(uid),
            Self::Reserved(key) | Self::Span(key) => Some(key.pool),
            Self::History(key) => Some(key.pool),
            Self::Note(_) | Self::Realm(_) | Self::Marks => None,
        }
    }

    /// The key's bytes.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        match self {
            Self::Note(place) => {
                out.push(NOTE);
                out.extend(place.0.to_be_bytes());
            }
            Self::Pool(uid) => {
                out.push(POOL);
                out.extend(uid.0.to_be_bytes());
            }
            Self::Realm(uid) => {
                out.push(REALM);
                out.extend(uid.0.to_be_bytes());
            }
            Self::Reserved(key) => put_span_key(&mut out, RESERVED, key),
            Self::Marks => out.push(MARKS),
            Self::Span(key) => put_span_key(&mut out, SPAN, key),
            Self::History(key) => {
                out.push(HISTORY);
                out.extend(key.pool.0.to_be_bytes());
                out.extend(key.realm.0.to_be_bytes());
                out.push(key.class);
                out.extend(key.start.to_be_bytes());
                out.extend(key.ended_ms.to_be_bytes());
                out.extend(key.seq.to_be_bytes());
            }
        }
        out
    }

    /// The key with these bytes.
    pub(crate) fn parse(raw: &[u8]) -> Option<Self> {
        let (kind, mut rest) = raw.split_first()?;
        let rest = &mut rest;
        let key = match *kind {
            NOTE => Self::Note(Seq(u64::from_be_bytes(take(rest)?))),
            POOL => Self::Pool(PoolUid(u32::from_be_bytes(take(rest)?))),
            REALM => Self::Realm(RealmUid(u32::from_be_bytes(take(rest)?))),
            RESERVED => Self::Reserved(take_span_key(rest)?),
            MARKS => Self::Marks,
            SPAN => Self::Span(take_span_key(rest)?),
            HISTORY => Self::History(HistoryKey {
                pool: PoolUid(u32::from_be_bytes(take(rest)?)),
                realm: RealmUid(u32::from_be_bytes(take(rest)?)),
                class: u8::from_be_bytes(take(rest)?),
                start: u128::from_be_bytes(take(rest)?),
                ended_ms: u64::from_be_bytes(take(rest)?),
                seq: u64::from_be_bytes(take(rest)?),
            }),
            _ => return None,
        };
        rest.is_empty().then_some(key)
    }
}

fn put_span_key(out: &mut Vec<u8>, kind: u8, key: SpanKey) {
    out.push(kind);
    out.extend(key.pool.0.to_be_bytes());
    out.extend(key.realm.0.to_be_bytes());
    out.extend(key.span.start().to_be_bytes());
    out.extend(key.span.len().to_be_bytes());
}

fn take_span_key(rest: &mut &[u8]) -> Option<SpanKey> {
    let pool = PoolUid(u32::from_be_bytes(take(rest)?));
    let realm = RealmUid(u32::from_be_bytes(take(rest)?));
    let start = u128::from_be_bytes(take(rest)?);
    Some(SpanKey { pool, realm, span: Span::new(start, u128::from_be_bytes(take(rest)?))? })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(place) => write!(f, "notes from operation {place}"),
            Self::Pool(uid) => write!(f, "pool {uid}"),
            Self::Realm(uid) => write!(f, "realms from {uid}"),
            Self::Reserved(key) => {
                write!(f, "reservations of pool {} realm {} from {:?}", key.pool, key.realm, key.span)
            }
            Self::Marks => f.write_str("marks"),
            Self::Span(key) => write!(f, "spans of pool {} realm {} from {:?}", key.pool, key.realm, key.span),
            Self::History(key) => {
                write!(f, "history of pool {} realm {} from {:#x}", key.pool, key.realm, key.start)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row_key() -> impl Strategy<Value = RowKey> {
        let number = prop_oneof![0_u32..4, any::<u32>()];
        let position = prop_oneof![0_u128..4, any::<u128>()];
        (0_u8..7, number.clone(), number, position, 1_u128..5, 0_u64..3, any::<u64>()).prop_map(
            |(kind, pool, realm, start, len, ended_ms, seq)| {
                let (pool, realm) = (PoolUid(pool), RealmUid(realm));
                let span = Span::new(start, len).or_else(|| Span::new(start - 9, len)).unwrap();
                match kind {
                    0 => RowKey::Pool(pool),
                    1 => RowKey::Realm(realm),
                    2 => RowKey::Reserved(SpanKey { pool, realm, span }),
                    3 => RowKey::Marks,
                    4 => RowKey::Span(SpanKey { pool, realm, span }),
                    5 => RowKey::Note(Seq(seq)),
                    _ => RowKey::History(HistoryKey { pool, realm, class: length_class(len), start, ended_ms, seq }),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn bytes_sort_as_keys_do_and_read_back(one in row_key(), other in row_key()) {
            prop_assert_eq!(one.cmp(&other), one.to_bytes().cmp(&other.to_bytes()));
            prop_assert_eq!(RowKey::parse(&one.to_bytes()), Some(one));
        }

        #[test]
        fn any_bytes_are_a_key_or_none(raw in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(key) = RowKey::parse(&raw) {
                prop_assert_eq!(key.to_bytes(), raw);
            }
        }

        #[test]
        fn a_class_reaches_as_far_as_its_longest_span(len in 1_u128..=u128::MAX / 2) {
            let reach = 1_u128 << length_class(len);
            prop_assert!(len <= reach && (len == 1 || len > reach / 2));
        }
    }
}
