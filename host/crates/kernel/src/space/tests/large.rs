//! Pools of many words of bits and many ranges, against a model that is one flag a grain.

use proptest::prelude::{Just, ProptestConfig, any, prop, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generates;

use super::{geometry, layout_of, span, want};
use crate::plan::Strategy;
use crate::pool::Alignment;
use crate::space::bits::Bits;
use crate::space::{Space, Want, cut_shards};
use crate::span::{Series, Span};

#[derive(Clone, Debug)]
enum Change {
    Set(u32, u32),
    Unset(u32, u32),
}

fn changes(bits: u32) -> impl Generates<Value = Vec<Change>> {
    let long = (0..bits, 0..bits).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let short = (0..bits, 1..5_u32).prop_map(move |(a, len)| (a, (a + len).min(bits)));
    let range = prop_oneof![long, short];
    let change =
        (any::<bool>(), range).prop_map(|(set, (a, b))| if set { Change::Set(a, b) } else { Change::Unset(a, b) });
    prop::collection::vec(change, 1..40)
}

/// Whether a place begins at an allowed position and lies in one shard.
fn fits(start: usize, len: usize, natural: bool, covers: &[Span]) -> bool {
    let place = span(start as u128, len as u128);
    (!natural || start.is_multiple_of(len)) && covers.iter().any(|cover| cover.contains(place))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn bits_answer_as_flags_do(len in prop_oneof![Just(1), Just(64), Just(65), 1..9_000_u32], changes in changes(9_000)) {
        let mut bits = Bits::full(len);
        let mut flags = vec![true; len as usize];
        for change in changes {
            let (from, to, set) = match change {
                Change::Set(from, to) => (from.min(len), to.min(len), true),
                Change::Unset(from, to) => (from.min(len), to.min(len), false),
            };
            let range = &mut flags[from as usize..to as usize];
            let changed = range.iter().filter(|flag| **flag != set).count();
            range.fill(set);
            prop_assert_eq!(if set { bits.set(from, to) } else { bits.unset(from, to) } as usize, changed);
            let next = (from..len).find(|bit| flags[*bit as usize]);
            prop_assert_eq!(bits.next(from), next);
            let clear = (from..to).find(|bit| !flags[*bit as usize]).unwrap_or(to);
            prop_assert_eq!(bits.first_clear(from, to), clear);
            prop_assert_eq!(bits.all(from, to), clear == to);
            let before = flags[..to as usize].iter().rev().take(100).take_while(|flag| **flag).count();
            prop_assert_eq!(bits.run_before(to, 100) as usize, before);
            prop_assert_eq!(bits.is_clear(), !flags.contains(&true));
        }
        let half = bits.halved();
        for bit in 0..half.len() {
            prop_assert_eq!(half.get(bit), flags[2 * bit as usize] && flags[2 * bit as usize + 1]);
        }
        let first = (0..half.len()).find(|bit| half.get(*bit));
        prop_assert_eq!(half.next(0), first);
    }

    #[test]
    fn spans_of_all_lengths_are_found_where_they_fit(
        (start, len, natural, bitmaps) in (0..700_usize, 600..6_000_usize, any::<bool>(), any::<bool>()),
        factor in 1..5_u32,
        steps in prop::collection::vec((any::<u16>(), any::<u16>(), prop::bool::weighted(0.4)), 1..250),
    ) {
        let align = if natural { Alignment::Natural } else { Alignment::Origin };
        let run = Series::one(span(start as u128, len as u128));
        let pool = geometry(vec![run], Vec::new(), (1, 512), align, 512);
        let covers = cut_shards(&pool, Some(factor)).unwrap();
        let mut space = Space::new(layout_of(&pool, &covers, bitmaps), false);
        let mut free = vec![false; start + len];
        free[start..].fill(true);
        let mut held: Vec<Span> = Vec::new();
        for (a, b, give) in steps {
            if give && !held.is_empty() {
                let given = held.swap_remove(usize::from(a) % held.len());
                space.give(given);
                free[usize::try_from(given.start()).unwrap()..usize::try_from(given.end()).unwrap()].fill(true);
                continue;
            }
            let length = if natural { 1 << (b % 10) } else { usize::from(b) % 512 + 1 };
            let point = usize::from(a) % (start + len);
            let place = |at: &usize| fits(*at, length, natural, &covers) && free[*at..*at + length].iter().all(|flag| *flag);
            let last = free.len().saturating_sub(length);
            let expected = (start..=last).find(place).map(|at| span(at as u128, length as u128));
            let found = space.choose(&want(length as u128, Strategy::FirstFree));
            prop_assert_eq!(found, expected);
            // Taking from the middle makes holes.
            let within = [span(point as u128, (free.len() - point) as u128)];
            let middle = Want { within: &within, ..want(length as u128, Strategy::FirstFree) };
            let expected = (point.max(start)..=last).find(place).map(|at| span(at as u128, length as u128));
            let found = space.choose(&middle);
            prop_assert_eq!(found, expected);
            if let Some(found) = found {
                space.take(found).unwrap();
                free[usize::try_from(found.start()).unwrap()..usize::try_from(found.end()).unwrap()].fill(false);
                held.push(found);
            }
        }
    }
}
