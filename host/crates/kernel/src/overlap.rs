//! Whether two pools of one type lie over each other.

use crate::pool::Geometry;
use crate::span::{Series, Span};

/// Members compared one by one before two series with unequal strides are judged by their covers alone.
const COMPARED: u64 = 1 << 20;

/// A span both pools hold, or (for interleaved series of more than a million members and unequal strides, which no known
/// type makes) may hold.
pub(crate) fn overlap(left: &Geometry, right: &Geometry) -> Option<Span> {
    left.spans.iter().find_map(|one| right.spans.iter().find_map(|other| of_series(*one, *other)))
}

/// As [`overlap`], of two series.
pub(crate) fn of_series(left: Series, right: Series) -> Option<Span> {
    let both = left.cover().intersection(right.cover())?;
    let (few, many) = if left.count() <= right.count() { (left, right) } else { (right, left) };
    if many.count() == 1 {
        return Some(both);
    }
    let (from, to) = (first_reaching(few, both.start()), first_reaching(few, both.end()));
    if few.stride() == many.stride() && few.count() > 1 {
        // Every further member lies to its neighbours as the one before; only the ends may differ.
        let near = (from..from.saturating_add(2)).chain(to.saturating_sub(1)..=to);
        return near.filter_map(|n| few.get(n)).find_map(|member| of_member(member, many));
    }
    if to - from > COMPARED {
        return Some(both);
    }
    (from..=to).filter_map(|n| few.get(n)).find_map(|member| of_member(member, many))
}

/// The first member that ends after `position`; `count` if none does.
fn first_reaching(series: Series, position: u128) -> u64 {
    let ends_at = series.first().end();
    if position < ends_at {
        return 0;
    }
    let n = (position - ends_at) / series.stride() + 1;
    u64::try_from(n).unwrap_or(u64::MAX).min(series.count())
}

fn of_member(member: Span, series: Series) -> Option<Span> {
    series.get(first_reaching(series, member.start())).and_then(|other| other.intersection(member))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series() -> impl Strategy<Value = Series> {
        (0..60_u128, 1..6_u128, 0..9_u128, 1..9_u64).prop_map(|(start, len, gap, count)| {
            Series::new(Span::new(start, len).expect("not empty"), len + gap, count).expect("fits")
        })
    }

    fn by_hand(left: Series, right: Series) -> bool {
        let members = |series: Series| (0..series.count()).filter_map(move |n| series.get(n));
        members(left).any(|one| members(right).any(|other| one.intersects(other)))
    }

    proptest! {
        #[test]
        fn series_overlap_as_their_members_do(left in series(), right in series()) {
            prop_assert_eq!(of_series(left, right).is_some(), by_hand(left, right));
        }

        #[test]
        fn series_of_one_stride_overlap_as_their_members_do(
            start in 0..60_u128, other in 0..60_u128, len in 1..5_u128, wide in 1..5_u128, gap in 0..9_u128,
            count in 2..9_u64, more in 2..9_u64,
        ) {
            let stride = len.max(wide) + gap;
            let left = Series::new(Span::new(start, len).expect("not empty"), stride, count).expect("fits");
            let right = Series::new(Span::new(other, wide).expect("not empty"), stride, more).expect("fits");
            prop_assert_eq!(of_series(left, right).is_some(), by_hand(left, right));
        }
    }
}
