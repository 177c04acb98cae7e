//! Sets of positions, read from a spec.

use crate::{Item, Layout, Series, Span, Spec};

/// A run of positions as somebody wrote it, with the JSON pointer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub path: String,
    pub text: String,
    pub span: Span,
}

impl Stretch {
    /// Reads each text with `read`, whose error is the fault's message. What cannot be read is noted and left out.
    pub fn read_all(spec: &mut Spec, items: Vec<Item>, read: impl Fn(&str) -> Result<Span, String>) -> Vec<Self> {
        let mut stretches = Vec::with_capacity(items.len());
        for Item { path, text } in items {
            match read(&text) {
                Ok(span) => stretches.push(Self { path, text, span }),
                Err(message) => spec.fault(path, message),
            }
        }
        stretches
    }
}

/// A set of positions as spans: sorted, disjoint, never touching (what touches is merged).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanSet(Vec<Span>);

impl SpanSet {
    /// The union of the spans. One that is not well formed is left out.
    ///
    /// ```
    /// # use nexus_plugin_sdk::{Span, SpanSet};
    /// let set = SpanSet::union([Span::new(20, 5), Span::new(10, 10), Span::unit(40)]);
    /// assert_eq!(set.spans(), [Span::new(10, 15), Span::unit(40)]);
    /// ```
    pub fn union(spans: impl IntoIterator<Item = Span>) -> Self {
        let mut sorted: Vec<Span> = spans.into_iter().filter(|span| span.last().is_some()).collect();
        sorted.sort_unstable();
        let mut merged: Vec<Span> = Vec::with_capacity(sorted.len());
        for span in sorted {
            match merged.last_mut().and_then(|before| Some((joined(*before, span)?, before))) {
                Some((whole, before)) => *before = whole,
                None => merged.push(span),
            }
        }
        Self(merged)
    }

    /// The union of stretches that may not overlap; those that do are noted.
    pub fn disjoint(spec: &mut Spec, stretches: &[Stretch]) -> Self {
        let mut sorted: Vec<&Stretch> = stretches.iter().collect();
        sorted.sort_by_key(|stretch| stretch.span);
        let mut furthest: Option<&Stretch> = None;
        for stretch in sorted {
            if let Some(before) = furthest.filter(|before| before.span.intersects(stretch.span)) {
                let message =
                    format!("{:?} overlaps {:?} at {}; write each only once", stretch.text, before.text, before.path);
                spec.fault(stretch.path.clone(), message);
            }
            if furthest.is_none_or(|before| before.span.last() < stretch.span.last()) {
                furthest = Some(stretch);
            }
        }
        Self::union(stretches.iter().map(|stretch| stretch.span))
    }

    /// The union of stretches that must lie inside `pool`; those that do not are noted. `pool_text` names the pool.
    pub fn inside(spec: &mut Spec, stretches: &[Stretch], pool: &Self, pool_text: &str) -> Self {
        for Stretch { path, text, span } in stretches {
            if !pool.contains(*span) {
                spec.fault(path.clone(), format!("{text:?} is not inside the pool, which is {pool_text}"));
            }
        }
        Self::union(stretches.iter().map(|stretch| stretch.span))
    }

    /// Notes a fault at `path` if the set has more entries than a layout may hold.
    pub fn check_size(&self, spec: &mut Spec, path: &str) {
        let (found, most) = (self.0.len(), Layout::MAX_SERIES);
        if found > most {
            spec.fault(path, format!("makes {found} separate runs; at most {most} are allowed"));
        }
    }

    /// The spans, in order.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The span of the set that `inner` lies in, if one does.
    pub fn locate(&self, inner: Span) -> Option<Span> {
        let after = self.0.partition_point(|span| span.start <= inner.start);
        self.0.get(after.checked_sub(1)?).copied().filter(|span| span.contains(inner))
    }

    /// True if all of `inner` belongs to the set.
    pub fn contains(&self, inner: Span) -> bool {
        self.locate(inner).is_some()
    }

    /// From the first position to the last. None if the set is empty, or the whole line.
    pub fn hull(&self) -> Option<Span> {
        Span::between(self.0.first()?.start, self.0.last()?.last()?)
    }

    /// How many positions it holds; 2^128 - 1 if more.
    pub fn positions(&self) -> u128 {
        self.0.iter().fold(0, |sum: u128, span| sum.saturating_add(span.len))
    }

    /// The length of the longest span, 0 if there is none.
    pub fn longest(&self) -> u128 {
        self.0.iter().map(|span| span.len).max().unwrap_or(0)
    }

    /// Each span grown outward to multiples of `grain`, a power of two.
    #[must_use]
    pub fn rounded(&self, grain: u128) -> Self {
        let low_bits = grain.saturating_sub(1);
        let grow = |span: &Span| Span::between(span.start & !low_bits, span.last()? | low_bits);
        Self::union(self.0.iter().filter_map(grow))
    }

    /// As a layout wants it.
    pub fn series(&self) -> Vec<Series> {
        self.0.iter().copied().map(Series::from).collect()
    }
}

/// One span of both, if they overlap or touch. `before` starts no later than `after`.
fn joined(before: Span, after: Span) -> Option<Span> {
    let (end, next_end) = (before.last()?, after.last()?);
    let touching = end.checked_add(1).is_none_or(|next| after.start <= next);
    if touching { Span::between(before.start, end.max(next_end)) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(pairs: &[(u128, u128)]) -> SpanSet {
        SpanSet::union(pairs.iter().map(|&(start, len)| Span::new(start, len)))
    }

    #[test]
    fn the_ends_of_the_line_are_ordinary_places() {
        let ends = set(&[(u128::MAX - 1, 2), (0, 1)]);
        assert!(ends.contains(Span::unit(u128::MAX)) && ends.contains(Span::unit(0)));
        assert!(!ends.contains(Span::new(u128::MAX, 2)));
        assert_eq!(ends.rounded(16), set(&[(u128::MAX - 15, 16), (0, 16)]));
    }

    #[test]
    fn an_overlap_names_both_places() {
        let mut spec = Spec::read("{}").unwrap();
        let stretch = |at: usize, start, len| Stretch {
            path: format!("/ranges/{at}"),
            text: format!("{start}+{len}"),
            span: Span::new(start, len),
        };
        SpanSet::disjoint(
            &mut spec,
            &[stretch(0, 100, 100), stretch(1, 110, 5), stretch(2, 150, 5), stretch(3, 200, 1)],
        );
        assert_eq!(
            spec.finish(Some(())).unwrap_err().to_string(),
            "the spec has 2 fault(s): /ranges/1: \"110+5\" overlaps \"100+100\" at /ranges/0; write each only once; \
             /ranges/2: \"150+5\" overlaps \"100+100\" at /ranges/0; write each only once"
        );
    }

    proptest! {
        #[test]
        fn a_union_holds_what_its_parts_hold(parts in prop::collection::vec((0_u128..200, 0_u128..20), 0..12)) {
            let union = set(&parts);
            for position in 0..230 {
                let held = parts.iter().any(|&(start, len)| (start..start + len).contains(&position));
                prop_assert_eq!(union.contains(Span::unit(position)), held);
            }
            prop_assert!(union.spans().windows(2).all(|pair| pair[0].start + pair[0].len < pair[1].start));
        }
    }
}
