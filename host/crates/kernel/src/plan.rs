//! What a request asks of the free space, and how a span is chosen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::span::Span;

/// How a free span is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// The lowest free one.
    FirstFree,
    /// The lowest free one after the last handed out, round and round.
    NextFree,
    /// Any free one.
    Random,
    /// The first free one at or after a position derived from the subscriber's id, so the same subscriber tends to get
    /// the same resource anywhere.
    Hash,
    /// The one released longest ago; those never used come first.
    OldestFree,
    /// Only the span that was asked for.
    Exact,
}

impl Strategy {
    /// Every strategy, for messages and tests.
    pub const ALL: [Self; 6] =
        [Self::FirstFree, Self::NextFree, Self::Random, Self::Hash, Self::OldestFree, Self::Exact];

    /// The name in configuration, APIs and on disk.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstFree => "first-free",
            Self::NextFree => "next-free",
            Self::Random => "random",
            Self::Hash => "hash",
            Self::OldestFree => "oldest-free",
            Self::Exact => "exact",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No strategy has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("strategy {0:?} is unknown, known are first-free, next-free, random, hash, oldest-free, exact")]
pub struct UnknownStrategy(pub String);

impl FromStr for Strategy {
    type Err = UnknownStrategy;
    fn from_str(raw: &str) -> Result<Self, UnknownStrategy> {
        Self::ALL.into_iter().find(|known| known.as_str() == raw).ok_or_else(|| UnknownStrategy(raw.to_owned()))
    }
}

/// What a request asks of the free space. Made by a plugin (or the host, when there are no hints) and checked by the
/// kernel against the pool, so a wrong plan costs an error and never a wrong allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How long, in positions of the line; a multiple of the pool's grain.
    pub len: u128,
    /// Exactly this span, if given; its length wins over `len`.
    pub at: Option<Span>,
    /// Only inside these, unless empty.
    pub within: Vec<Span>,
    /// Instead of the pool's strategy.
    pub strategy: Option<Strategy>,
}

impl Plan {
    /// The default: `len` positions, anywhere, by the pool's strategy.
    pub const fn anywhere(len: u128) -> Self {
        Self { len, at: None, within: Vec::new(), strategy: None }
    }

    /// Exactly this span.
    pub fn exactly(span: Span) -> Self {
        Self { len: span.len(), at: Some(span), within: Vec::new(), strategy: None }
    }
}

/// True if every position of the span is in one of these, or there are none.
pub(crate) fn inside(within: &[Span], span: Span) -> bool {
    if within.is_empty() {
        return true;
    }
    let mut at = span.start();
    while at < span.end() {
        let reach = within.iter().filter(|part| part.start() <= at && at < part.end()).map(|part| part.end()).max();
        match reach {
            Some(end) => at = end,
            None => return false,
        }
    }
    true
}
