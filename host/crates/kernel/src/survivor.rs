//! Which allocation stands when a subscriber has several under one key of one pool: two hosts that could not see each other
//! each gave him one, or he was given another because the owner of his could not be reached.
//!
//! It follows from the allocations alone, not from the order in which they were heard, so hosts that know the same agree
//! without a word. It does not say when the others end: their owners do.

use std::sync::Arc;

use crate::allocation::Allocation;

/// The one that stands: one that no other was made in place of, and of several the one made last.
///
/// `None` only if there are none.
///
/// Made last is by the clock of whoever made it, then by place. Two with both alike would be one owner's, who knows what it
/// gave to whom.
pub fn survivor<'a>(held: impl IntoIterator<Item = &'a Arc<Allocation>>) -> Option<&'a Arc<Allocation>> {
    let mut held = held.into_iter();
    let first = held.next()?;
    // Nearly always the only one.
    let Some(second) = held.next() else { return Some(first) };
    let all: Vec<&Arc<Allocation>> = [first, second].into_iter().chain(held).collect();
    let last = |held: &&&Arc<Allocation>| (held.created_ms(), held.span, held.epoch);
    let replaced = |held: &&Arc<Allocation>| all.iter().any(|other| other.is_in_place_of(held));
    // Each may be in place of another only if spans were handed out again within a millisecond; then the last one of all.
    let stands = all.iter().filter(|held| !replaced(held)).max_by_key(last);
    stands.or_else(|| all.iter().max_by_key(last)).copied()
}

/// Two of one subscriber, of which one stands.
#[derive(Clone, Debug)]
pub struct Pair {
    /// It stays until its lease ends, it is released by name, or whoever uses it confirms that he does not any more.
    pub superseded: Arc<Allocation>,
    /// What he is answered.
    pub survivor: Arc<Allocation>,
}

/// Whether both are the same allocation, perhaps in another state.
pub(crate) fn is_same(one: &Allocation, other: &Allocation) -> bool {
    one.span == other.span && one.realm == other.realm
}

#[cfg(test)]
mod tests {
    use compact_str::CompactString;
    use proptest::prelude::*;

    use super::*;
    use crate::allocation::{AllocationExtra, AllocationKind, AllocationParts, Superseded};
    use crate::id::{Epoch, PoolUid, RealmUid, Seq, ShardId};
    use crate::span::Span;

    fn held(start: u128, created_ms: u64, supersedes: Option<Superseded>) -> Arc<Allocation> {
        let extra = supersedes.map(|mark| {
            Box::new(AllocationExtra {
                key: None,
                metadata: CompactString::default(),
                supersedes: Some(Box::new(mark)),
            })
        });
        Arc::new(Allocation::new(AllocationParts {
            span: Span::new(start, 1).expect("not empty"),
            subscriber: "line-1".parse().expect("a plain word"),
            pool: PoolUid(1),
            realm: RealmUid(0),
            shard: ShardId(0),
            epoch: Epoch(1),
            created_ms,
            renewed_ms: created_ms,
            expires_ms: None,
            // Its place in this host's log, which is another one elsewhere.
            seq: Seq(u64::try_from(start).expect("small") * 7 % 5),
            node: None,
            extra,
            kind: AllocationKind::Session,
        }))
    }

    #[test]
    fn what_was_made_in_place_of_another_stands_although_its_clock_is_behind() {
        let older = held(1, 500, None);
        let newer = held(2, 100, Some(older.as_superseded()));
        for order in [[&older, &newer], [&newer, &older]] {
            assert_eq!(survivor(order).expect("there are two").span, newer.span);
        }
        // The same span handed out to him once more is another allocation.
        let again = held(1, 600, None);
        assert_eq!(survivor([&again, &newer]).expect("there are two").span, again.span);
    }

    #[test]
    fn without_a_mark_the_one_made_last_stands() {
        let (older, newer) = (held(9, 100, None), held(3, 101, None));
        assert_eq!(survivor([&older, &newer]).expect("there are two").span, newer.span);
        let alike = held(4, 101, None);
        assert_eq!(survivor([&alike, &newer]).expect("there are two").span, alike.span);
        assert!(survivor([]).is_none());
    }

    #[test]
    fn one_of_a_circle_stands() {
        let mark = |start, created_ms| Superseded {
            span: Span::new(start, 1).expect("not empty"),
            shard: ShardId(0),
            epoch: Epoch(1),
            created_ms,
        };
        let (one, other) = (held(1, 5, Some(mark(2, 6))), held(2, 6, Some(mark(1, 5))));
        assert_eq!(survivor([&one, &other]).expect("there are two").span, other.span);
        assert_eq!(survivor([&other, &one]).expect("there are two").span, other.span);
    }

    proptest! {
        /// Whatever is made in place of what, every order of hearing gives the same one.
        #[test]
        fn the_order_of_hearing_makes_no_difference(
            made in prop::collection::vec((0..4_u64, prop::option::of(0..6_usize)), 1..6),
            order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut all: Vec<Arc<Allocation>> = Vec::new();
            for (start, (created_ms, of)) in (0_u128..).zip(&made) {
                let mark = of.and_then(|of| all.get(of)).map(|older| older.as_superseded());
                all.push(held(start, *created_ms, mark));
            }
            let told: Vec<&Arc<Allocation>> = order.iter().filter_map(|at| all.get(*at)).collect();
            let (here, there) = (survivor(&all).expect("some"), survivor(told).expect("some"));
            prop_assert_eq!(here.span, there.span);
            prop_assert!(!all.iter().any(|other| other.is_in_place_of(here)));
        }
    }
}
