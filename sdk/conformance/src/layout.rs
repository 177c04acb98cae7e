//! What a layout must obey. A host checks each layout a guest gives it with the same function.

use nexus_plugin_contract::{Alignment, Attribute, Layout, Series, Sizing, Span};

/// Everything wrong with a layout; nothing if it may be used. Cheap: no series is expanded.
pub fn faults(layout: &Layout) -> Vec<String> {
    let mut faults = Vec::new();
    let shaped =
        check_series("spans", &layout.spans, &mut faults) && check_series("excluded", &layout.excluded, &mut faults);
    if layout.spans.is_empty() {
        faults.push("spans is empty; a pool must hold something".to_owned());
    }
    if layout.grain == 0 {
        faults.push("grain is 0; it must be at least 1".to_owned());
    }
    check_sizing(&layout.sizing, layout.grain.max(1), &mut faults);
    check_attributes("attributes", &layout.attributes, &mut faults);
    // The rest compares parts that must be sound each.
    if shaped && faults.is_empty() {
        check_spans(layout, &mut faults);
        check_excluded(layout, &mut faults);
        check_cut(layout, &mut faults);
    }
    faults
}

/// Attributes as one list: keys once each, nothing unprintable.
pub(crate) fn check_attributes(what: &str, attributes: &[Attribute], faults: &mut Vec<String>) {
    for (at, Attribute { key, value }) in attributes.iter().enumerate() {
        if key.is_empty() || key.chars().chain(value.chars()).any(char::is_control) {
            faults.push(format!("{what}[{at}] {key:?}={value:?} has an empty key or a control character"));
        }
        if attributes.iter().take(at).any(|before| before.key == *key) {
            faults.push(format!("{what} has the key {key:?} twice"));
        }
    }
}

/// True if each series is sound; order and overlap are noted but do not stop further checks.
fn check_series(what: &str, list: &[Series], faults: &mut Vec<String>) -> bool {
    if list.len() > Layout::MAX_SERIES {
        faults.push(format!("{what} has {} entries; at most {} are allowed", list.len(), Layout::MAX_SERIES));
        return false;
    }
    let hulls: Vec<Option<Span>> = list.iter().map(Series::hull).collect();
    if let Some(at) = hulls.iter().position(Option::is_none) {
        let series = list.get(at);
        faults.push(format!(
            "{what}[{at}] is not a series: {series:?}; count and len at least 1, stride at least len, all on the line"
        ));
        return false;
    }
    if let Some(at) = list.windows(2).position(|pair| matches!(pair, [a, b] if a.start > b.start)) {
        faults.push(format!("{what}[{}] begins before its predecessor; sort by start", at + 1));
        return true;
    }
    for (at, series) in list.iter().enumerate() {
        let Some(end) = series.hull().and_then(Span::last) else { continue };
        let near = list.iter().enumerate().skip(at + 1).take_while(|(_, later)| later.start <= end);
        for (other, later) in near {
            match series.intersects(later) {
                Some(false) => {}
                Some(true) => faults.push(format!("{what}[{at}] and {what}[{other}] overlap")),
                None => {
                    faults.push(format!("{what}[{at}] and {what}[{other}] lie in each other with different strides"));
                }
            }
            if faults.len() > 16 {
                return true;
            }
        }
    }
    true
}

fn check_sizing(sizing: &Sizing, grain: u128, faults: &mut Vec<String>) {
    let Sizing { default_len, min_len, max_len, align } = *sizing;
    if !(min_len <= default_len && default_len <= max_len) {
        faults.push(format!("sizing must have min_len {min_len} <= default_len {default_len} <= max_len {max_len}"));
    }
    for (name, len) in [("default_len", default_len), ("min_len", min_len), ("max_len", max_len)] {
        if len == 0 || len % grain != 0 {
            faults.push(format!("sizing.{name} is {len}; it must be a multiple of the grain {grain}"));
        }
        if align == Alignment::Natural && !len.is_power_of_two() {
            faults.push(format!("sizing.{name} is {len}; natural alignment needs a power of two"));
        }
    }
    if align == Alignment::Natural && !grain.is_power_of_two() {
        faults.push(format!("grain is {grain}; natural alignment needs a power of two"));
    }
}

fn check_spans(layout: &Layout, faults: &mut Vec<String>) {
    let grain = layout.grain;
    for (at, series) in layout.spans.iter().enumerate() {
        let on_grain = match layout.sizing.align {
            Alignment::Origin => series.len % grain == 0,
            Alignment::Natural => {
                (series.start | series.len) % grain == 0 && (series.count == 1 || series.stride % grain == 0)
            }
        };
        if !on_grain {
            faults.push(format!("spans[{at}] {series:?} is not made of whole grains of {grain}"));
        }
    }
    let fits = |len: u128| {
        layout.spans.iter().any(|series| match layout.sizing.align {
            Alignment::Origin => len <= series.len,
            Alignment::Natural => {
                let first = series.start.checked_next_multiple_of(len);
                // In a series of natural spans the first stands for all: their strides are multiples of the grain.
                first.zip(series.nth(0)).is_some_and(|(first, span)| span.contains(Span::new(first, len)))
            }
        })
    };
    if !fits(layout.sizing.max_len) {
        faults.push(format!("sizing.max_len is {}, and no span has room for it", layout.sizing.max_len));
    }
    if layout.spans.iter().try_fold(0_u128, |sum, series| sum.checked_add(series.positions()?)).is_none() {
        faults.push("spans hold 2^128 positions or more".to_owned());
    }
}

fn check_excluded(layout: &Layout, faults: &mut Vec<String>) {
    if let Some(at) = layout.excluded.iter().position(|series| !is_inside(layout, series)) {
        faults.push(format!("excluded[{at}] {:?} is not inside the spans", layout.excluded.get(at)));
    }
    let sum = |list: &[Series]| {
        list.iter().fold(0_u128, |sum, series| sum.saturating_add(series.positions().unwrap_or(u128::MAX)))
    };
    if sum(&layout.excluded) >= sum(&layout.spans) {
        faults.push("excluded leaves nothing to hand out".to_owned());
    }
}

/// Whether every span of `inner` lies in a span of the pool: all in one span, or each in the next of one series.
fn is_inside(layout: &Layout, inner: &Series) -> bool {
    let (Some(hull), Some(first)) = (inner.hull(), inner.nth(0)) else { return false };
    layout.spans.iter().any(|outer| {
        let same_step = outer.stride == inner.stride && outer.count > 1;
        let from = outer.locate(first).map(|span| (span.start - outer.start).checked_div(outer.stride).unwrap_or(0));
        outer.locate(hull).is_some()
            || same_step && from.is_some_and(|from| from + u128::from(inner.count) <= u128::from(outer.count))
    })
}

fn check_cut(layout: &Layout, faults: &mut Vec<String>) {
    let Layout { cut, grain, sizing, .. } = layout;
    let unit = match sizing.align {
        Alignment::Origin => *grain,
        Alignment::Natural => sizing.max_len,
    };
    if *cut == 0 || cut % unit != 0 {
        faults.push(format!("cut is {cut}; it must be a multiple of {unit}"));
    }
    let longest = layout.spans.iter().map(|series| series.len).max().unwrap_or(0);
    if *cut < sizing.max_len || *cut > longest {
        faults.push(format!(
            "cut is {cut}; it must lie between max_len {} and the longest span {longest}",
            sizing.max_len
        ));
    }
}

#[cfg(test)]
mod tests {
    use nexus_plugin_contract::Strategy;

    use super::*;

    fn sound() -> Layout {
        Layout {
            spans: vec![Series { start: 256, len: 64, stride: 256, count: 4 }, Span::new(4096, 1024).into()],
            excluded: vec![
                Series { start: 257, len: 1, stride: 256, count: 4 },
                Series { start: 4096, len: 1, stride: 16, count: 64 },
            ],
            grain: 1,
            sizing: Sizing { default_len: 1, min_len: 1, max_len: 16, align: Alignment::Natural },
            cut: 64,
            attributes: vec![Attribute::new("a", "b")],
            strategy: Strategy::FirstFree,
        }
    }

    #[test]
    fn each_fault_is_found() {
        fn check(name: &str, spoil: impl Fn(&mut Layout)) {
            let mut layout = sound();
            spoil(&mut layout);
            let faults = faults(&layout);
            assert!(faults.iter().any(|fault| fault.contains(name)), "{name}: {faults:?}");
        }
        assert_eq!(faults(&sound()), Vec::<String>::new());
        check("spans is empty", |layout| layout.spans.clear());
        check("spans[0] is not a series", |layout| layout.spans[0].stride = 63);
        check("spans[1] begins before", |layout| layout.spans.swap(0, 1));
        check("spans[0] and spans[1] overlap", |layout| layout.spans[1].start = 300);
        check("spans[0] and spans[1] lie in each other", |layout| {
            layout.spans[1] = Series { start: 400, len: 1, stride: 7, count: 3 };
        });
        check("has 4097 entries", |layout| layout.excluded = vec![Span::unit(256).into(); 4097]);
        check("excluded[0] Some(Series", |layout| layout.excluded[0].count = 5);
        check("leaves nothing", |layout| layout.excluded = layout.spans.clone());
        check("grain is 0", |layout| layout.grain = 0);
        check("max_len is 24; natural", |layout| layout.sizing.max_len = 24);
        check("min_len 2 <= default_len 1", |layout| layout.sizing.min_len = 2);
        check("not made of whole grains", |layout| {
            layout.grain = 128;
            layout.sizing = Sizing { default_len: 128, min_len: 128, max_len: 128, align: Alignment::Natural };
            layout.cut = 128;
        });
        check("no span has room", |layout| layout.sizing.max_len = 2048);
        check("cut is 0", |layout| layout.cut = 0);
        check("cut is 8", |layout| layout.cut = 8);
        check("cut is 2048", |layout| layout.cut = 2048);
        check("\"a\" twice", |layout| layout.attributes.push(Attribute::new("a", "c")));
        check("control character", |layout| layout.attributes[0].value = "x\ny".to_owned());
    }
}
