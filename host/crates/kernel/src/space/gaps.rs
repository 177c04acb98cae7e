//! An ordered set of gaps (runs with nothing taken in them) that finds the next one with room.
//!
//! A treap: a search tree by position, kept balanced by priorities drawn from a fixed sequence, so the same operations
//! build the same tree everywhere. Every node knows the most room in its subtree. All operations take a number of
//! steps that grows with the logarithm of the number of gaps.

/// No node.
const NIL: u32 = u32::MAX;

/// The run `start..end`, in which no span of more than `room` grains fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) start: u128,
    pub(super) end: u128,
    pub(super) room: u128,
}

#[derive(Clone, Debug)]
struct Node {
    gap: Gap,
    /// The most room in this subtree.
    best: u128,
    left: u32,
    right: u32,
    priority: u32,
}

/// Disjoint gaps.
#[derive(Clone, Debug)]
pub(super) struct Gaps {
    nodes: Vec<Node>,
    spare: Vec<u32>,
    root: u32,
    drawn: u32,
}

impl Gaps {
    /// Just this one.
    pub(super) fn one(gap: Gap) -> Self {
        let mut gaps = Self { nodes: Vec::new(), spare: Vec::new(), root: NIL, drawn: 0x9e37_79b9 };
        gaps.insert(gap);
        gaps
    }

    /// The most room of all.
    pub(super) fn best(&self) -> u128 {
        self.best_of(self.root)
    }

    /// The last gap that starts at or before the position.
    pub(super) fn last_from(&self, at: u128) -> Option<Gap> {
        let mut found = None;
        let mut next = self.root;
        while let Some(node) = self.node(next) {
            if node.gap.start <= at {
                found = Some(node.gap);
                next = node.right;
            } else {
                next = node.left;
            }
        }
        found
    }

    /// The first gap that ends after the position and has at least so much room.
    pub(super) fn first_with(&self, after: u128, room: u128) -> Option<Gap> {
        self.find(self.root, after, room)
    }

    /// Adds a gap that touches no other.
    pub(super) fn insert(&mut self, gap: Gap) {
        let node = Node { gap, best: gap.room, left: NIL, right: NIL, priority: self.draw() };
        let at = self.spare.pop().unwrap_or_else(|| {
            self.nodes.push(node.clone());
            u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 gaps fit in memory")
        });
        if let Some(slot) = self.nodes.get_mut(at as usize) {
            *slot = node;
        }
        let (left, right) = self.split(self.root, gap.start);
        let left = self.join(left, at);
        self.root = self.join(left, right);
    }

    /// Removes the gap that starts there.
    pub(super) fn remove(&mut self, start: u128) {
        let (left, rest) = self.split(self.root, start);
        let (gone, right) = self.split(rest, start + 1);
        self.root = self.join(left, right);
        if gone != NIL {
            self.spare.push(gone);
        }
    }

    /// Learns that the gap that starts there has less room.
    pub(super) fn lower(&mut self, start: u128, room: u128) {
        let mut path = Vec::with_capacity(64);
        let mut next = self.root;
        while let Some(node) = self.node_mut(next) {
            path.push(next);
            if node.gap.start == start {
                node.gap.room = room;
                break;
            }
            next = if start < node.gap.start { node.left } else { node.right };
        }
        for at in path.into_iter().rev() {
            self.refresh(at);
        }
    }

    /// All gaps in order.
    pub(super) fn in_order(&self) -> Vec<Gap> {
        let mut gaps = Vec::with_capacity(self.nodes.len() - self.spare.len());
        let mut path = Vec::new();
        let mut next = self.root;
        loop {
            while let Some(node) = self.node(next) {
                path.push(next);
                next = node.left;
            }
            let Some(node) = path.pop().and_then(|at| self.node(at)) else { return gaps };
            gaps.push(node.gap);
            next = node.right;
        }
    }

    fn find(&self, at: u32, after: u128, room: u128) -> Option<Gap> {
        let node = self.node(at).filter(|node| node.best >= room)?;
        if node.gap.end <= after {
            return self.find(node.right, after, room);
        }
        let before = if node.gap.start > after { self.find(node.left, after, room) } else { None };
        before.or_else(|| (node.gap.room >= room).then_some(node.gap)).or_else(|| self.find(node.right, after, room))
    }

    /// Parts a subtree into what starts before the position and the rest.
    fn split(&mut self, at: u32, start: u128) -> (u32, u32) {
        let Some(node) = self.node(at) else { return (NIL, NIL) };
        if node.gap.start < start {
            let (low, high) = self.split(node.right, start);
            if let Some(node) = self.node_mut(at) {
                node.right = low;
            }
            self.refresh(at);
            (at, high)
        } else {
            let (low, high) = self.split(node.left, start);
            if let Some(node) = self.node_mut(at) {
                node.left = high;
            }
            self.refresh(at);
            (low, at)
        }
    }

    /// Joins two subtrees, all of `low` before all of `high`.
    fn join(&mut self, low: u32, high: u32) -> u32 {
        let (Some(left), Some(right)) = (self.node(low), self.node(high)) else {
            return if low == NIL { high } else { low };
        };
        if left.priority >= right.priority {
            let joined = self.join(left.right, high);
            if let Some(node) = self.node_mut(low) {
                node.right = joined;
            }
            self.refresh(low);
            low
        } else {
            let joined = self.join(low, right.left);
            if let Some(node) = self.node_mut(high) {
                node.left = joined;
            }
            self.refresh(high);
            high
        }
    }

    fn refresh(&mut self, at: u32) {
        let Some(node) = self.node(at) else { return };
        let best = node.gap.room.max(self.best_of(node.left)).max(self.best_of(node.right));
        if let Some(node) = self.node_mut(at) {
            node.best = best;
        }
    }

    fn best_of(&self, at: u32) -> u128 {
        self.node(at).map_or(0, |node| node.best)
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)
    }

    fn node_mut(&mut self, at: u32) -> Option<&mut Node> {
        self.nodes.get_mut(at as usize)
    }

    /// Marsaglia's xorshift: no need for better, only for fixed.
    fn draw(&mut self) -> u32 {
        self.drawn ^= self.drawn << 13;
        self.drawn ^= self.drawn >> 17;
        self.drawn ^= self.drawn << 5;
        self.drawn
    }
}
