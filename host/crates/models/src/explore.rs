//! Runs a model to its end, or to the first property that it violates.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

/// What a complete search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Different states that were reached.
    pub states: usize,
    /// Steps to the farthest of them.
    pub depth: usize,
    /// How long the search took.
    pub took: Duration,
    /// Properties that must hold always and do not.
    pub violated: BTreeSet<&'static str>,
    /// What must be possible and was not reached.
    pub unreached: BTreeSet<&'static str>,
}

/// Searches every state with `threads` threads.
pub fn explore<M>(model: M, threads: usize) -> Found
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let start = Instant::now();
    let checker = model.checker().threads(threads).spawn_bfs().join();
    let took = start.elapsed();
    let discovered: BTreeSet<_> = checker.discoveries().into_keys().collect();
    let named = |failure: bool| {
        let properties = checker.model().properties();
        properties.into_iter().filter(move |p| p.expectation.discovery_is_failure() == failure).map(|p| p.name)
    };
    Found {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took,
        violated: named(true).filter(|name| discovered.contains(name)).collect(),
        unreached: named(false).filter(|name| !discovered.contains(name)).collect(),
    }
}

/// A shortest way to a violation of `property`, or `None` if it holds in every state.
///
/// One thread, because several do not go level by level and may find a longer way first.
pub fn counterexample<M>(model: M, property: &'static str) -> Option<Vec<M::Action>>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let enough = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = model.checker().threads(1).finish_when(enough).spawn_bfs().join();
    checker.discovery(property).map(stateright::Path::into_actions)
}
