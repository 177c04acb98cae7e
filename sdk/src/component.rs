//! Ties a [`ResourceType`] to the generated bindings: conversions and nothing else.

use std::marker::PhantomData;
use std::sync::Once;

use nexus_plugin_contract as contract;
use nexus_plugin_contract::ResourceType;

use crate::bindings::exports::nexus::allocator::geometry as wit;
use crate::bindings::nexus::allocator::types;
use crate::log;

/// The component of a resource type. Made by [`export!`](crate::export), never by hand.
#[derive(Debug)]
pub struct Component<T>(PhantomData<T>);

/// A pool's handle in the guest.
#[derive(Debug)]
pub struct OpenPool<T>(T);

impl<T: ResourceType> wit::Guest for Component<T> {
    type Pool = OpenPool<T>;

    fn describe() -> wit::Descriptor {
        report_panics();
        T::describe().into()
    }
}

impl<T: ResourceType> wit::GuestPool for OpenPool<T> {
    fn open(spec_json: String) -> Result<wit::Pool, types::Error> {
        report_panics();
        Ok(wit::Pool::new(Self(T::open(&spec_json)?)))
    }

    fn layout(&self) -> wit::Layout {
        self.0.layout().into()
    }

    fn render(&self, spans: Vec<types::Span>) -> Result<Vec<String>, types::Error> {
        spans.into_iter().map(|span| Ok(self.0.render(span.into())?)).collect()
    }

    fn parse(&self, names: Vec<String>) -> Vec<Result<types::Span, types::Error>> {
        names.iter().map(|name| Ok(self.0.parse(name)?.into())).collect()
    }

    fn interpret(&self, hints: Vec<types::Attribute>) -> Result<wit::Plan, types::Error> {
        let hints: Vec<_> = hints.into_iter().map(contract::Attribute::from).collect();
        Ok(self.0.interpret(&hints)?.into())
    }

    fn summarize(&self, run: types::Span) -> Result<Vec<String>, types::Error> {
        Ok(self.0.summarize(run.into())?)
    }

    fn attributes(&self, span: types::Span) -> Result<Vec<types::Attribute>, types::Error> {
        Ok(convert_all(self.0.attributes(span.into())?))
    }
}

/// A panic in a guest is a bare trap; this says first what it was.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string()))));
}

fn convert_all<A: Into<B>, B>(all: Vec<A>) -> Vec<B> {
    all.into_iter().map(Into::into).collect()
}

const HALF: u32 = 64;

fn point(value: u128) -> types::Point {
    let half = |part: u128| u64::try_from(part & u128::from(u64::MAX)).unwrap_or(u64::MAX);
    types::Point { hi: half(value >> HALF), lo: half(value) }
}

fn value(point: types::Point) -> u128 {
    (u128::from(point.hi) << HALF) | u128::from(point.lo)
}

impl From<types::Span> for contract::Span {
    fn from(span: types::Span) -> Self {
        Self { start: value(span.start), len: value(span.len) }
    }
}

impl From<contract::Span> for types::Span {
    fn from(span: contract::Span) -> Self {
        Self { start: point(span.start), len: point(span.len) }
    }
}

impl From<contract::Series> for types::Series {
    fn from(series: contract::Series) -> Self {
        let contract::Series { start, len, stride, count } = series;
        Self { start: point(start), len: point(len), stride: point(stride), count }
    }
}

impl From<types::Attribute> for contract::Attribute {
    fn from(attribute: types::Attribute) -> Self {
        Self { key: attribute.key, value: attribute.value }
    }
}

impl From<contract::Attribute> for types::Attribute {
    fn from(attribute: contract::Attribute) -> Self {
        Self { key: attribute.key, value: attribute.value }
    }
}

impl From<contract::Problem> for types::Problem {
    fn from(problem: contract::Problem) -> Self {
        Self { path: problem.path, message: problem.message }
    }
}

impl From<contract::PluginError> for types::Error {
    fn from(error: contract::PluginError) -> Self {
        match error {
            contract::PluginError::InvalidSpec(problems) => Self::InvalidSpec(convert_all(problems)),
            contract::PluginError::InvalidName(message) => Self::InvalidName(message),
            contract::PluginError::InvalidHint(problem) => Self::InvalidHint(problem.into()),
            contract::PluginError::OutOfRange => Self::OutOfRange,
            contract::PluginError::Internal(message) => Self::Internal(message),
        }
    }
}

impl From<contract::Strategy> for types::Strategy {
    fn from(strategy: contract::Strategy) -> Self {
        match strategy {
            contract::Strategy::FirstFree => Self::FirstFree,
            contract::Strategy::NextFree => Self::NextFree,
            contract::Strategy::Random => Self::Random,
            contract::Strategy::Hash => Self::Hash,
            contract::Strategy::OldestFree => Self::OldestFree,
            contract::Strategy::Exact => Self::Exact,
        }
    }
}

impl From<contract::Descriptor> for wit::Descriptor {
    fn from(descriptor: contract::Descriptor) -> Self {
        Self {
            type_id: descriptor.type_id,
            plugin_version: descriptor.plugin_version,
            mapping_id: descriptor.mapping_id,
            title: descriptor.title,
            spec_schema: descriptor.spec_schema,
            hint_schema: descriptor.hint_schema,
            examples: descriptor.examples,
            labels: convert_all(descriptor.labels),
        }
    }
}

impl From<contract::Sizing> for wit::Sizing {
    fn from(sizing: contract::Sizing) -> Self {
        let align = match sizing.align {
            contract::Alignment::Origin => wit::Alignment::Origin,
            contract::Alignment::Natural => wit::Alignment::Natural,
        };
        Self {
            default_len: point(sizing.default_len),
            min_len: point(sizing.min_len),
            max_len: point(sizing.max_len),
            align,
        }
    }
}

impl From<contract::Layout> for wit::Layout {
    fn from(layout: contract::Layout) -> Self {
        Self {
            spans: convert_all(layout.spans),
            excluded: convert_all(layout.excluded),
            grain: point(layout.grain),
            sizing: layout.sizing.into(),
            cut: point(layout.cut),
            attributes: convert_all(layout.attributes),
            strategy: layout.strategy.into(),
        }
    }
}

impl From<contract::Plan> for wit::Plan {
    fn from(plan: contract::Plan) -> Self {
        Self {
            len: point(plan.len),
            at: plan.at.map(Into::into),
            within: convert_all(plan.within),
            strategy: plan.strategy.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_carries_every_u128() {
        for number in [0, 1, u128::from(u64::MAX), u128::from(u64::MAX) + 1, u128::MAX, 0x0123_4567_89ab_cdef << 40] {
            assert_eq!(value(point(number)), number);
        }
    }
}
