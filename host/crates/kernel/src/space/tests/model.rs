//! The same promises kept the slow and obvious way: every grain is an entry, every place is tried.

use std::collections::{BTreeMap, BTreeSet};

use crate::pool::{Alignment, Geometry};
use crate::space::Blocked;
use crate::span::Span;

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) geometry: Geometry,
    pub(super) covers: Vec<Span>,
    pub(super) taken: BTreeSet<u128>,
    /// By grain: the ticket of its last return.
    pub(super) given: BTreeMap<u128, u64>,
    pub(super) tickets: u64,
    pub(super) cursor: u128,
}

impl Model {
    pub(super) fn new(geometry: Geometry, covers: Vec<Span>) -> Self {
        Self { geometry, covers, taken: BTreeSet::new(), given: BTreeMap::new(), tickets: 0, cursor: 0 }
    }

    pub(super) fn members(&self) -> Vec<Span> {
        let runs = self.geometry.spans.iter();
        let mut members: Vec<Span> = runs.flat_map(|run| (0..run.count()).map(|nth| run.get(nth).unwrap())).collect();
        members.sort_unstable();
        members
    }

    pub(super) fn grains(&self) -> Vec<u128> {
        let grain = self.geometry.grain;
        let mut grains = Vec::new();
        for member in self.members() {
            let mut at = match self.geometry.sizing.align {
                Alignment::Origin => member.start(),
                Alignment::Natural => member.start().next_multiple_of(grain),
            };
            while at + grain <= member.end() {
                grains.push(at);
                at += grain;
            }
        }
        grains
    }

    pub(super) fn is_excluded(&self, span: Span) -> bool {
        let mut runs = self.geometry.excluded.iter();
        runs.any(|run| (0..run.count()).any(|nth| run.get(nth).unwrap().intersects(span)))
    }

    pub(super) fn grains_of(&self, span: Span) -> Vec<u128> {
        (0..span.len() / self.geometry.grain).map(|nth| span.start() + nth * self.geometry.grain).collect()
    }

    pub(super) fn is_free(&self, span: Span) -> bool {
        self.grains_of(span).iter().all(|grain| !self.taken.contains(grain))
    }

    pub(super) fn check(&self, span: Span) -> Result<usize, Blocked> {
        let member = self.members().into_iter().find(|member| member.contains(span)).ok_or(Blocked::Outside)?;
        let (grain, sizing) = (self.geometry.grain, self.geometry.sizing);
        let natural = sizing.align == Alignment::Natural;
        let length = span.len().is_multiple_of(grain) && (sizing.min_len..=sizing.max_len).contains(&span.len());
        if !length || (natural && !span.len().is_power_of_two()) {
            return Err(Blocked::Length);
        }
        let offset = if natural { span.start() % span.len() } else { (span.start() - member.start()) % grain };
        let cover = self.covers.iter().position(|cover| cover.contains(span));
        let cover = cover.filter(|_| offset == 0).ok_or(Blocked::Misaligned)?;
        if self.is_excluded(span) {
            return Err(Blocked::Excluded);
        }
        if self.is_free(span) { Ok(cover) } else { Err(Blocked::Taken) }
    }

    /// Every place where a span of this length could be taken now, in order.
    pub(super) fn places(&self, len: u128, within: &[Span]) -> Vec<Span> {
        if len == 0 {
            return Vec::new();
        }
        let inside = |span: &Span| {
            within.is_empty()
                || (span.start()..span.end()).all(|at| within.iter().any(|w| w.contains(Span::new(at, 1).unwrap())))
        };
        let spans = self.grains().into_iter().filter_map(|start| Span::new(start, len));
        spans.filter(inside).filter(|span| self.check(*span).is_ok()).collect()
    }

    pub(super) fn take(&mut self, span: Span) {
        for grain in self.grains_of(span) {
            assert!(self.taken.insert(grain), "{span:?} is taken twice");
            self.given.remove(&grain);
        }
        self.cursor = span.end();
    }

    pub(super) fn give(&mut self, span: Span) {
        self.tickets += 1;
        for grain in self.grains_of(span) {
            assert!(self.taken.remove(&grain));
            self.given.insert(grain, self.tickets);
        }
    }
}
