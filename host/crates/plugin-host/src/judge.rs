//! What guests say, judged: every number, text and list is checked before it becomes a [`kernel`] value.
//!
//! The rules are those `wit/` states. What does not keep them is a [`Fault`] of the guest, never an error of its caller.

use std::collections::{BTreeSet, HashMap};

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
            PluginError::InvalidSpec(problems.iter().take(MOST_PROBLEMS).map(problem).collect())
        }
        contract::PluginError::InvalidName(text) => PluginError::InvalidName(printable(&text, MESSAGE_BYTES)),
        contract::PluginError::InvalidHint(found) => PluginError::InvalidHint(problem(&found)),
        contract::PluginError::OutOfRange => PluginError::OutOfRange,
        contract::PluginError::Internal(text) => {
            return Err(Fault { reason: FailureReason::Internal, detail: printable(&text, MESSAGE_BYTES) });
        }
    })
}

fn problem(found: &contract::Problem) -> Problem {
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

/// A pool as the kernel takes it. The rules are the conformance kit's; here is what keeps checking them cheap, and the
/// kernel's line, which ends one position earlier than the interface's.
pub(crate) fn geometry(layout: &contract::Layout, limits: &Limits) -> Result<Geometry, Fault> {
    let attributes = attributes(&layout.attributes, limits)?;
    interleaves_little("spans", &layout.spans)?;
    interleaves_little("excluded", &layout.excluded)?;
    if let Some(fault) = nexus_plugin_conformance::layout_faults(layout).first() {
        return Err(Fault::answer(printable(&format!("layout: {fault}"), MESSAGE_BYTES)));
    }
    let contract::Sizing { default_len, min_len, max_len, align } = layout.sizing;
    let align = match align {
        contract::Alignment::Origin => Alignment::Origin,
        contract::Alignment::Natural => Alignment::Natural,
    };
    Ok(Geometry {
        spans: layout.spans.iter().map(series).collect::<Result<_, _>>()?,
        excluded: layout.excluded.iter().map(series).collect::<Result<_, _>>()?,
        grain: layout.grain,
        sizing: Sizing { default_len, min_len, max_len, align },
        cut: layout.cut,
        attributes,
        strategy: strategy(layout.strategy),
    })
}

fn series(found: &contract::Series) -> Result<Series, Fault> {
    let first = span(contract::Span::new(found.start, found.len))?;
    Series::new(first, found.stride, found.count)
        .ok_or_else(|| Fault::answer(format!("the series at {} leaves the line", found.start)))
}

/// Series whose hulls meet are compared pair by pair, so their number at any place is bounded.
fn interleaves_little(name: &str, list: &[contract::Series]) -> Result<(), Fault> {
    if list.len() > contract::Layout::MAX_SERIES {
        return Err(Fault::answer(format!("{name} has {} entries, allowed are 4,096", list.len())));
    }
    let mut open: Vec<u128> = Vec::new();
    for series in list {
        open.retain(|last| *last >= series.start);
        open.extend(series.hull().and_then(contract::Span::last));
        if open.len() > MOST_INTERLEAVED {
            let most = MOST_INTERLEAVED;
            return Err(Fault::answer(format!("{name}: more than {most} series meet at {}", series.start)));
        }
    }
    Ok(())
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

/// Names of spans: as many, each well formed. That no two spans have one is [`namesakes`]' work, over a whole batch.
pub(crate) fn names(asked: usize, found: &[String], values: &LimitValues) -> Result<Vec<CompactString>, Fault> {
    count(asked, found.len())?;
    found.iter().map(|raw| name(raw, values).map(|()| CompactString::from(raw.as_str()))).collect()
}

/// The places of names that different spans share.
pub(crate) fn namesakes<E>(spans: &[Span], names: &[Result<CompactString, E>]) -> BTreeSet<usize> {
    let mut firsts = HashMap::with_capacity(names.len());
    let mut shared = BTreeSet::new();
    for (at, (span, name)) in spans.iter().zip(names).enumerate() {
        let Ok(name) = name else { continue };
        let (first, other) = *firsts.entry(name.as_str()).or_insert((at, *span));
        if other != *span {
            shared.extend([first, at]);
        }
    }
    shared
}

/// One answer for each question.
pub(crate) fn count(asked: usize, answered: usize) -> Result<(), Fault> {
    if asked == answered { Ok(()) } else { Err(Fault::answer(format!("{answered} answers to {asked} questions"))) }
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
    if at.is_none() && !(layout.sizing.allows(found.len, layout.grain) && found.len.is_multiple_of(layout.grain)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> contract::Layout {
        contract::Layout {
            spans: vec![contract::Span::new(100, 50).into()],
            excluded: Vec::new(),
            grain: 1,
            sizing: contract::Sizing::fixed(1),
            cut: 16,
            attributes: Vec::new(),
            strategy: contract::Strategy::FirstFree,
        }
    }

    fn fault(layout: &contract::Layout) -> String {
        geometry(layout, &Limits::small()).unwrap_err().to_string()
    }

    #[test]
    fn a_sound_layout_is_taken() {
        let found = geometry(&layout(), &Limits::small()).unwrap();
        assert_eq!(found.spans, [Series::one(Span::new(100, 50).unwrap())]);
    }

    #[test]
    fn numbers_that_overflow_are_faults() {
        for wrong in [
            contract::Series { start: u128::MAX, len: 2, stride: 2, count: 1 },
            contract::Series { start: 0, len: 1, stride: u128::MAX, count: u64::MAX },
            contract::Series { start: 0, len: u128::MAX, stride: u128::MAX, count: 3 },
            contract::Series { start: 0, len: 0, stride: 0, count: 0 },
        ] {
            assert!(fault(&contract::Layout { spans: vec![wrong], ..layout() }).starts_with("answer: layout"));
        }
    }

    #[test]
    fn a_layout_that_is_slow_to_check_is_refused_before_it_is_checked() {
        let interleaved = |n: u128| contract::Series { start: n, len: 1, stride: 10_000, count: 1_000 };
        let spans = (0..4_096).map(interleaved).collect();
        assert!(fault(&contract::Layout { spans, ..layout() }).contains("more than 64 series meet"));
        let attributes = vec![contract::Attribute::new("k", "v"); 60_000];
        assert!(fault(&contract::Layout { attributes, ..layout() }).contains("60000 attributes"));
    }

    #[test]
    fn a_plan_must_fit_the_pool() {
        let plan_of = |len| plan(&layout(), &contract::Plan::of(len));
        assert_eq!(plan_of(1), Ok(Plan::anywhere(1)));
        plan_of(0).unwrap_err();
        plan_of(2).unwrap_err();
        let at = contract::Plan { at: Some(contract::Span::new(99, 1)), ..contract::Plan::of(1) };
        plan(&layout(), &at).unwrap_err();
        let within = vec![contract::Span::new(100, 1); 65];
        plan(&layout(), &contract::Plan { within, ..contract::Plan::of(1) }).unwrap_err();
    }

    #[test]
    fn names_must_be_as_many_and_printable() {
        let limits = Limits::small();
        let names = |found: &[&str]| {
            let found: Vec<String> = found.iter().map(|&name| name.to_owned()).collect();
            names(2, &found, limits.values())
        };
        assert_eq!(names(&["a", "b"]).unwrap(), ["a", "b"]);
        for wrong in [&["a"][..], &["a", ""], &["a", "b\n"], &["a", &"x".repeat(256)]] {
            names(wrong).unwrap_err();
        }
    }

    #[test]
    fn one_name_for_two_spans_spoils_both_and_no_third() {
        let spans = [1, 2, 1, 3].map(|start| Span::new(start, 1).unwrap());
        let shared = |names: [&str; 4]| namesakes::<()>(&spans, &names.map(|name| Ok(name.into())));
        assert!(shared(["a", "b", "a", "c"]).is_empty());
        assert_eq!(shared(["a", "b", "a", "b"]), BTreeSet::from([1, 3]));
    }

    #[test]
    fn an_error_without_a_reason_is_a_fault() {
        error(contract::PluginError::InvalidSpec(Vec::new())).unwrap_err();
        error(contract::PluginError::Internal("lost".into())).unwrap_err();
        assert_eq!(error(contract::PluginError::OutOfRange), Ok(PluginError::OutOfRange));
    }
}
