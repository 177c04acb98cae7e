//! A door for benches: the free space of one (pool, realm) without a kernel around it.

use std::sync::Arc;

use super::{Layout, Space, Want, cut_shards};
use crate::id::{Epoch, ShardId};
use crate::plan::Strategy;
use crate::pool::{Geometry, Shard};
use crate::span::Span;

/// The free space of a pool made for measuring it.
#[derive(Debug)]
pub struct SpaceProbe(Space);

impl SpaceProbe {
    /// All free, with as many shards as the cut gives. The error says what is wrong with the geometry.
    pub fn new(geometry: Geometry) -> Result<Self, String> {
        let covers = cut_shards(&geometry, None)?;
        let shards = (0..).zip(covers).map(|(id, cover)| Shard { id: ShardId(id), epoch: Epoch(1), cover });
        let keep_order = geometry.strategy == Strategy::OldestFree;
        let layout = Layout::new(Arc::new(geometry), &shards.collect::<Vec<_>>())?;
        Ok(Self(Space::new(Arc::new(layout), keep_order)))
    }

    /// Chooses and takes a span of `len` positions; `spread` is the hash or the draw.
    pub fn allocate(&mut self, len: u128, strategy: Strategy, spread: u64) -> Option<Span> {
        let span = self.0.choose(&Want { len, within: &[], strategy, hash: spread, draw: spread })?;
        self.0.take(span).ok().map(|_| span)
    }

    /// Gives a span back.
    pub fn release(&mut self, span: Span) {
        self.0.give(span);
    }

    /// How many grains are free.
    pub fn free(&self) -> u128 {
        self.0.totals().free
    }
}
