//! Allocations of one (pool, realm) in order of position: for lists, and for "who holds this address". Chunks of sorted
//! pointers cost 8 to 16 bytes an allocation where a tree of keys would cost 46.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Allocation, Span};

/// Most entries of a chunk: an insert moves at most a kilobyte.
const CHUNK: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Places {
    /// By the start of the chunk's first entry. No chunk is empty.
    chunks: BTreeMap<u128, Vec<Arc<Allocation>>>,
}

impl Places {
    /// Adds, or replaces the one that begins at the same position; gives back the replaced one.
    pub(crate) fn insert(&mut self, allocation: Arc<Allocation>) -> Option<Arc<Allocation>> {
        let start = allocation.span.start();
        let Some((&first, _)) = self.chunks.range(..=start).next_back().or_else(|| self.chunks.iter().next()) else {
            self.chunks.insert(start, vec![allocation]);
            return None;
        };
        let chunk = self.chunks.get_mut(&first).expect("the key was just found");
        match chunk.binary_search_by_key(&start, |held| held.span.start()) {
            Ok(at) => chunk.get_mut(at).map(|held| std::mem::replace(held, allocation)),
            Err(at) => {
                self.add(first, at, allocation);
                None
            }
        }
    }

    fn add(&mut self, first: u128, at: usize, allocation: Arc<Allocation>) {
        let start = allocation.span.start();
        let chunk = self.chunks.get_mut(&first).expect("the caller found it");
        if chunk.len() == CHUNK && at == CHUNK {
            // Ascending hand-out is the common case: a full chunk stays full and a new one begins.
            self.chunks.insert(start, vec![allocation]);
            return;
        }
        chunk.insert(at, allocation);
        if chunk.len() > CHUNK {
            let upper = chunk.split_off(CHUNK / 2);
            chunk.shrink_to_fit();
            let upper_first = upper.first().expect("half of a full chunk").span.start();
            self.chunks.insert(upper_first, upper);
        }
        if start < first {
            let chunk = self.chunks.remove(&first).expect("the caller found it");
            self.chunks.insert(start, chunk);
        }
    }

    /// Takes out the one with exactly this span. Another one that begins at the same position stays.
    pub(crate) fn remove(&mut self, span: Span) -> Option<Arc<Allocation>> {
        let start = span.start();
        let (&first, chunk) = self.chunks.range_mut(..=start).next_back()?;
        let at = chunk.binary_search_by_key(&start, |held| held.span.start()).ok()?;
        if chunk.get(at).is_some_and(|held| held.span != span) {
            return None;
        }
        let removed = chunk.remove(at);
        if at == 0 || chunk.is_empty() {
            let chunk = self.chunks.remove(&first).expect("the key was just found");
            if let Some(next) = chunk.first() {
                self.chunks.insert(next.span.start(), chunk);
            }
        }
        Some(removed)
    }

    /// The one whose span holds this position.
    pub(crate) fn at(&self, position: u128) -> Option<&Arc<Allocation>> {
        let (_, chunk) = self.chunks.range(..=position).next_back()?;
        let after = chunk.partition_point(|held| held.span.start() <= position);
        let held = chunk.get(after.checked_sub(1)?)?;
        (position < held.span.end()).then_some(held)
    }

    /// Those that begin at `start` or later, in order.
    pub(crate) fn from(&self, start: u128) -> impl Iterator<Item = &Arc<Allocation>> {
        let first = self.chunks.range(..=start).next_back().map_or(start, |(first, _)| *first);
        self.chunks.range(first..).flat_map(|(_, chunk)| chunk).skip_while(move |held| held.span.start() < start)
    }
}
