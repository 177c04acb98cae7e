//! What a plugin says about itself and its pools, and what a request asks of one.

use crate::{Series, Span};

/// A named text: a hint of a request, or a fact told to a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    pub key: String,
    pub value: String,
}

impl Attribute {
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// What a plugin is. The same on every call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The resource type: 1 to 32 of `a-z 0-9 -`, first a letter.
    pub type_id: String,
    /// Semantic version of the plugin.
    pub plugin_version: String,
    /// Changes if and only if the mapping between spans and names changes.
    pub mapping_id: String,
    /// A short human name.
    pub title: String,
    /// JSON Schema 2020-12 of a pool's spec.
    pub spec_schema: String,
    /// JSON Schema 2020-12 of a request's hints: an object whose properties are all strings.
    pub hint_schema: String,
    /// Specs that must open, as JSON.
    pub examples: Vec<String>,
    /// Free-form facts about the plugin.
    pub labels: Vec<Attribute>,
}

/// Where an allocation may begin inside a span of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// `span.start + k * grain`.
    Origin,
    /// A multiple of its own length, which is then a power of two.
    Natural,
}

/// Which lengths may be asked for, in positions: each a multiple of the grain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    pub default_len: u128,
    pub min_len: u128,
    pub max_len: u128,
    pub align: Alignment,
}

impl Sizing {
    /// One length only, beginning anywhere on the grain.
    pub const fn fixed(len: u128) -> Self {
        Self { default_len: len, min_len: len, max_len: len, align: Alignment::Origin }
    }

    /// True if an allocation of `len` positions may be asked for in a pool of this `grain`.
    pub fn allows(&self, len: u128, grain: u128) -> bool {
        let whole = match self.align {
            Alignment::Origin => len.checked_rem(grain) == Some(0),
            Alignment::Natural => len.is_power_of_two() && len >= grain,
        };
        whole && (self.min_len..=self.max_len).contains(&len)
    }
}

/// How a free span is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The lowest free one.
    FirstFree,
    /// The lowest free one after the last handed out, round and round.
    NextFree,
    /// Any free one.
    Random,
    /// The first free one at or after a position derived from the subscriber's id.
    Hash,
    /// The one released longest ago; those never used come first.
    OldestFree,
    /// Only the span that was asked for.
    Exact,
}

/// A pool as spans on the line of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What the pool holds: sorted by start, disjoint, at most 4,096 entries. Series whose hulls meet have one stride.
    pub spans: Vec<Series>,
    /// What inside `spans` is never handed out, by the same rules.
    pub excluded: Vec<Series>,
    /// The smallest span handed out; capacity is counted in it.
    pub grain: u128,
    pub sizing: Sizing,
    /// Shards begin on multiples of it: from each span's start for [`Alignment::Origin`], from 0 for
    /// [`Alignment::Natural`].
    pub cut: u128,
    /// Facts true of every allocation of the pool.
    pub attributes: Vec<Attribute>,
    /// The strategy unless the pool or the request names one.
    pub strategy: Strategy,
}

impl Layout {
    /// The most entries `spans` and `excluded` may have, each.
    pub const MAX_SERIES: usize = 4_096;

    /// The span of the pool that `inner` lies in, if one does.
    pub fn locate(&self, inner: Span) -> Option<Span> {
        self.spans.iter().find_map(|series| series.locate(inner))
    }

    /// True if `span` could be an allocation of this pool: inside, of an allowed length, aligned. Excluded ones count.
    pub fn admits(&self, span: Span) -> bool {
        let aligned = |outer: Span| match self.sizing.align {
            Alignment::Origin => (span.start - outer.start).checked_rem(self.grain) == Some(0),
            Alignment::Natural => span.start.checked_rem(span.len) == Some(0),
        };
        self.sizing.allows(span.len, self.grain) && self.locate(span).is_some_and(aligned)
    }
}

/// What a request asks of the free space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How long, in positions of the line.
    pub len: u128,
    /// Exactly this span, if given; its length wins over `len`.
    pub at: Option<Span>,
    /// Only inside these spans, unless empty. At most 64.
    pub within: Vec<Span>,
    /// Instead of the pool's.
    pub strategy: Option<Strategy>,
}

impl Plan {
    /// The most entries `within` may have.
    pub const MAX_WITHIN: usize = 64;

    /// `len` positions, anywhere.
    pub const fn of(len: u128) -> Self {
        Self { len, at: None, within: Vec::new(), strategy: None }
    }
}
