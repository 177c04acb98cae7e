//! What guests say, judged: every number, text and list is checked before it becomes a [`kernel`] value.
//!
//! The rules are those `wit/` states. What does not keep them is a [`Fault`] of the guest, never an error of its caller.

use compact_str::CompactString;
use kernel::{Alignment, Geometry, Plan, Series, Sizing, Span, Strategy};
use nexus_plugin_contract as contract;

use crate::error::{PluginError, Problem};
use crate::fault::{FailureReason, Fault};
use crate::limits::{LimitValues, Limits};
use crate::printable::printable;
use crate::v1::CallError;

/// Problems of one spec shown to its author.
const MOST_PROBLEMS: usize = 64;
/// Bytes of a guest's message shown to a caller.
const MESSAGE_BYTES: usize = 1_024;
/// Series of one list whose hulls may meet at one place: what can be compared in bounded time.
const MOST_INTERLEAVED: usize = 64;
/// Attributes of a pool and of an allocation.
const MOST_ATTRIBUTES: usize = 64;
/// Texts of one summary.
const MOST_SUMMARY: usize = 65_536;

/// An error of the interface as callers are told it. `internal` is a fault of the guest.
pub(crate) fn error(said: contract::PluginError) -> Result<PluginError, Fault> {
    Ok(match said {
        contract::PluginError::InvalidSpec(problems) if problems.is_empty() => {
            return Err(Fault::answer("invalid-spec without a problem"));
        }
        contract::PluginError::InvalidSpec(problems) => {
            PluginError::InvalidSpec(problems.into_iter().take(MOST_PROBLEMS).map(problem).collect())
        }
        contract::PluginError::InvalidName(text) => PluginError::InvalidName(printable(&text, MESSAGE_BYTES)),
        contract::PluginError::InvalidHint(found) => PluginError::InvalidHint(problem(found)),
        contract::PluginError::OutOfRange => PluginError::OutOfRange,
        contract::PluginError::Internal(text) => {
            return Err(Fault { reason: FailureReason::Internal, detail: printable(&text, MESSAGE_BYTES) });
        }
    })
}

fn problem(found: contract::Problem) -> Problem {
    Problem { path: printable(&found.path, MESSAGE_BYTES), message: printable(&found.message, MESSAGE_BYTES) }
}

/// The answer of a call, or what its caller is told, or the guest's fault.
pub(crate) fn answer<T>(result: Result<T, CallError>) -> Result<Result<T, PluginError>, Fault> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(CallError::Says(said)) => error(said).map(Err),
        Err(CallError::Fault(fault)) => Err(fault),
    }
}

pub(crate) fn span_out(span: Span) -> contract::Span {
    contract::Span::new(span.start(), span.len())
}

fn span(found: contract::Span) -> Result<Span, Fault> {
    Span::new(found.start, found.len).ok_or_else(|| Fault::answer(format!("{found} is not a span of the line")))
}

/// A span that the pool could hand out.
pub(crate) fn span_of(layout: &contract::Layout, found: contract::Span) -> Result<Span, Fault> {
    if !layout.admits(found) {
        return Err(Fault::answer(format!("{found} is outside the pool, misaligned or of a length it does not allow")));
    }
    span(found)
}

/// A pool as the kernel takes it.
pub(crate) fn geometry(layout: &contract::Layout, limits: &Limits) -> Result<Geometry, Fault> {
    let sizing = sizing(layout)?;
    let spans = list("spans", &layout.spans, layout)?;
    if spans.is_empty() {
        return Err(Fault::answer("the layout has no spans: an empty pool must not open"));
    }
    let hull = contract::Series::from(contract::Span::new(0, 1));
    let start = layout.spans.first().unwrap_or(&hull).start;
    let end = spans.iter().map(|series| series.cover().end()).max().unwrap_or(0);
    let excluded = list("excluded", &layout.excluded, layout)?;
    for series in &excluded {
        let cover = series.cover();
        if cover.start() < start || cover.end() > end {
            return Err(Fault::answer(format!("excluded {cover:?} is not inside the pool")));
        }
    }
    if layout.cut == 0 || layout.cut % layout.grain != 0 {
        return Err(Fault::answer(format!("cut {} is not a positive multiple of grain {}", layout.cut, layout.grain)));
    }
    Ok(Geometry {
        spans,
        excluded,
        grain: layout.grain,
        sizing,
        cut: layout.cut,
        attributes: attributes(&layout.attributes, limits)?,
        strategy: strategy(layout.strategy),
    })
}

fn sizing(layout: &contract::Layout) -> Result<Sizing, Fault> {
    let contract::Sizing { default_len, min_len, max_len, align } = layout.sizing;
    let grain = layout.grain;
    if grain == 0 {
        return Err(Fault::answer("grain is 0"));
    }
    if !(min_len <= default_len && default_len <= max_len) {
        return Err(Fault::answer(format!("lengths {min_len}, {default_len}, {max_len} are not in order")));
    }
    for len in [min_len, default_len, max_len] {
        if !layout.sizing.allows(len, grain) || len % grain != 0 {
            return Err(Fault::answer(format!("length {len} does not fit grain {grain} and the alignment")));
        }
    }
    let align = match align {
        contract::Alignment::Origin => Alignment::Origin,
        contract::Alignment::Natural => Alignment::Natural,
    };
    Ok(Sizing { default_len, min_len, max_len, align })
}

/// Series that are well formed, sorted and disjoint.
fn list(name: &str, found: &[contract::Series], layout: &contract::Layout) -> Result<Vec<Series>, Fault> {
    if found.len() > contract::Layout::MAX_SERIES {
        return Err(Fault::answer(format!("{name} has {} entries, allowed are 4,096", found.len())));
    }
    let mut out = Vec::with_capacity(found.len());
    let mut open: Vec<(u128, &contract::Series)> = Vec::new();
    let mut before = 0;
    for series in found {
        let wrong = |what: &str| Fault::answer(format!("{name} at {}: {what}", series.start));
        let first = span(contract::Span::new(series.start, series.len))?;
        let made = Series::new(first, series.stride, series.count).ok_or_else(|| wrong("not a series of the line"))?;
        if name == "spans" {
            whole_grains(made, layout).map_err(wrong)?;
        }
        if series.start < before {
            return Err(wrong("not sorted by start"));
        }
        before = series.start;
        open.retain(|(end, _)| *end > series.start);
        if open.len() >= MOST_INTERLEAVED {
            return Err(wrong("more than 64 series meet here"));
        }
        for (_, other) in &open {
            match other.intersects(series) {
                Some(false) => {}
                Some(true) => return Err(wrong("intersects another entry")),
                None => return Err(wrong("interleaves with a series of another stride")),
            }
        }
        open.push((made.cover().end(), series));
        out.push(made);
    }
    Ok(out)
}

/// Capacity is counted in grains: a span that is not a whole number of them would have a part nobody can ask for.
fn whole_grains(series: Series, layout: &contract::Layout) -> Result<(), &'static str> {
    let grain = layout.grain;
    if series.first().len() % grain != 0 {
        return Err("its length is not a multiple of the grain");
    }
    let placed = series.first().start() % grain == 0 && series.stride() % grain == 0;
    match layout.sizing.align {
        contract::Alignment::Natural if !placed => Err("its start is not a multiple of the grain"),
        contract::Alignment::Natural | contract::Alignment::Origin => Ok(()),
    }
}

/// Facts for a client, bounded and without control characters.
pub(crate) fn attributes(
    found: &[contract::Attribute],
    limits: &Limits,
) -> Result<Vec<(CompactString, CompactString)>, Fault> {
    if found.len() > MOST_ATTRIBUTES {
        return Err(Fault::answer(format!("{} attributes, allowed are {MOST_ATTRIBUTES}", found.len())));
    }
    let most = limits.values().hint_bytes;
    found
        .iter()
        .map(|contract::Attribute { key, value }| {
            if key.is_empty() {
                return Err(Fault::answer("an attribute has no key"));
            }
            text("attribute", key, most)?;
            text("attribute", value, most)?;
            Ok((CompactString::from(key.as_str()), CompactString::from(value.as_str())))
        })
        .collect()
}

fn text(what: &str, found: &str, most: usize) -> Result<(), Fault> {
    if found.len() > most {
        return Err(Fault::answer(format!("a text of {} bytes in an {what}, allowed are {most}", found.len())));
    }
    match found.chars().find(|c| c.is_control()) {
        Some(control) => Err(Fault::answer(format!("{control:?} in an {what}"))),
        None => Ok(()),
    }
}

/// A name: 1 to the limit's bytes, printable.
pub(crate) fn name(found: &str, values: &LimitValues) -> Result<(), Fault> {
    if found.is_empty() {
        return Err(Fault::answer("an empty name"));
    }
    text("answer's name", found, values.name_bytes)
}

/// Names of these spans: as many, each well formed, and no two spans with one name.
pub(crate) fn names(spans: &[Span], found: &[String], values: &LimitValues) -> Result<Vec<CompactString>, Fault> {
    count(spans.len(), found.len())?;
    let mut by_name = std::collections::HashMap::with_capacity(if found.len() > 1 { found.len() } else { 0 });
    let mut out = Vec::with_capacity(found.len());
    for (span, raw) in spans.iter().zip(found) {
        name(raw, values)?;
        if found.len() > 1
            && let Some(other) = by_name.insert(raw.as_str(), *span)
            && other != *span
        {
            return Err(Fault::answer(format!("{other:?} and {span:?} have one name, {raw:?}")));
        }
        out.push(CompactString::from(raw.as_str()));
    }
    Ok(out)
}

/// One answer for each question.
pub(crate) fn count(asked: usize, answered: usize) -> Result<(), Fault> {
    if asked == answered {
        Ok(())
    } else {
        Err(Fault::answer(format!("{answered} answers to {asked} questions")))
    }
}

/// Short texts for a run.
pub(crate) fn summary(found: &[String], values: &LimitValues) -> Result<Vec<CompactString>, Fault> {
    if found.is_empty() || found.len() > MOST_SUMMARY {
        return Err(Fault::answer(format!("a summary of {} texts, allowed are 1 to {MOST_SUMMARY}", found.len())));
    }
    found.iter().map(|raw| name(raw, values).map(|()| CompactString::from(raw.as_str()))).collect()
}

/// What a request asks of the free space.
pub(crate) fn plan(layout: &contract::Layout, found: &contract::Plan) -> Result<Plan, Fault> {
    let at = found.at.map(|at| span_of(layout, at)).transpose()?;
    if at.is_none() && !(layout.sizing.allows(found.len, layout.grain) && found.len % layout.grain == 0) {
        return Err(Fault::answer(format!("a plan of length {}, which the pool does not allow", found.len)));
    }
    if found.within.len() > contract::Plan::MAX_WITHIN {
        return Err(Fault::answer(format!("a plan within {} spans, allowed are 64", found.within.len())));
    }
    Ok(Plan {
        len: at.map_or(found.len, Span::len),
        at,
        within: found.within.iter().map(|within| span(*within)).collect::<Result<_, _>>()?,
        strategy: found.strategy.map(strategy),
    })
}

fn strategy(found: contract::Strategy) -> Strategy {
    match found {
        contract::Strategy::FirstFree => Strategy::FirstFree,
        contract::Strategy::NextFree => Strategy::NextFree,
        contract::Strategy::Random => Strategy::Random,
        contract::Strategy::Hash => Strategy::Hash,
        contract::Strategy::OldestFree => Strategy::OldestFree,
        contract::Strategy::Exact => Strategy::Exact,
    }
}
