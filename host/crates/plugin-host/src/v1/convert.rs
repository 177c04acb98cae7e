//! Word for word between the generated records and the contract's. Nothing is judged here: that is `judge`'s work.

use nexus_plugin_contract as contract;

use super::{types, wit};

pub(super) fn position(point: types::Point) -> u128 {
    (u128::from(point.hi) << 64) | u128::from(point.lo)
}

fn point(position: u128) -> types::Point {
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("masked to 64 bits");
    types::Point { hi: half(position >> 64), lo: half(position) }
}

pub(super) fn span_in(span: types::Span) -> contract::Span {
    contract::Span::new(position(span.start), position(span.len))
}

pub(super) fn span_out(span: contract::Span) -> types::Span {
    types::Span { start: point(span.start), len: point(span.len) }
}

fn series_in(series: types::Series) -> contract::Series {
    contract::Series {
        start: position(series.start),
        len: position(series.len),
        stride: position(series.stride),
        count: series.count,
    }
}

pub(super) fn attribute_in(attribute: types::Attribute) -> contract::Attribute {
    contract::Attribute { key: attribute.key, value: attribute.value }
}

pub(super) fn attribute_out(attribute: &contract::Attribute) -> types::Attribute {
    types::Attribute { key: attribute.key.clone(), value: attribute.value.clone() }
}

fn problem_in(problem: types::Problem) -> contract::Problem {
    contract::Problem { path: problem.path, message: problem.message }
}

pub(super) fn error_in(error: types::Error) -> contract::PluginError {
    match error {
        types::Error::InvalidSpec(problems) => {
            contract::PluginError::InvalidSpec(problems.into_iter().map(problem_in).collect())
        }
        types::Error::InvalidName(text) => contract::PluginError::InvalidName(text),
        types::Error::InvalidHint(problem) => contract::PluginError::InvalidHint(problem_in(problem)),
        types::Error::OutOfRange => contract::PluginError::OutOfRange,
        types::Error::Internal(text) => contract::PluginError::Internal(text),
    }
}

fn strategy_in(strategy: types::Strategy) -> contract::Strategy {
    match strategy {
        types::Strategy::FirstFree => contract::Strategy::FirstFree,
        types::Strategy::NextFree => contract::Strategy::NextFree,
        types::Strategy::Random => contract::Strategy::Random,
        types::Strategy::Hash => contract::Strategy::Hash,
        types::Strategy::OldestFree => contract::Strategy::OldestFree,
        types::Strategy::Exact => contract::Strategy::Exact,
    }
}

pub(super) fn descriptor_in(found: wit::Descriptor) -> contract::Descriptor {
    contract::Descriptor {
        type_id: found.type_id,
        plugin_version: found.plugin_version,
        mapping_id: found.mapping_id,
        title: found.title,
        spec_schema: found.spec_schema,
        hint_schema: found.hint_schema,
        examples: found.examples,
        labels: found.labels.into_iter().map(attribute_in).collect(),
    }
}

pub(super) fn layout_in(layout: wit::Layout) -> contract::Layout {
    contract::Layout {
        spans: layout.spans.into_iter().map(series_in).collect(),
        excluded: layout.excluded.into_iter().map(series_in).collect(),
        grain: position(layout.grain),
        sizing: contract::Sizing {
            default_len: position(layout.sizing.default_len),
            min_len: position(layout.sizing.min_len),
            max_len: position(layout.sizing.max_len),
            align: match layout.sizing.align {
                wit::Alignment::Origin => contract::Alignment::Origin,
                wit::Alignment::Natural => contract::Alignment::Natural,
            },
        },
        cut: position(layout.cut),
        attributes: layout.attributes.into_iter().map(attribute_in).collect(),
        strategy: strategy_in(layout.strategy),
    }
}

pub(super) fn plan_in(plan: wit::Plan) -> contract::Plan {
    contract::Plan {
        len: position(plan.len),
        at: plan.at.map(span_in),
        within: plan.within.into_iter().map(span_in).collect(),
        strategy: plan.strategy.map(strategy_in),
    }
}
