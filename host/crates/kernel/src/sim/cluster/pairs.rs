//! I5 where a subscriber has two allocations because hosts could not reach each other: all hosts take the same one to stand,
//! the other is open until his BNG confirms, and then it is gone everywhere.

use std::collections::BTreeSet;

use super::world::World;
use crate::id::{PoolUid, SubscriberId};
use crate::sim::{Invariant, Verdict, broken};
use crate::span::Span;
use crate::survivor::Pair;

/// An allocation that does not stand, and the one that does.
type Open = (PoolUid, SubscriberId, Span, Span);

/// How long confirmed ones may take to be gone everywhere, in half seconds.
const ROUNDS: usize = 40;

impl World {
    /// What a host takes for superseded.
    fn open_pairs(&self, at: usize) -> BTreeSet<Open> {
        let pair = |pair: Pair| {
            let Pair { superseded, survivor } = pair;
            (superseded.pool, superseded.subscriber.clone(), superseded.span, survivor.span)
        };
        self.host(at).kernel.iter().flat_map(|kernel| kernel.superseded().map(pair)).collect()
    }

    /// What a client is to be answered that was answered `held`: another one may stand in its place since.
    pub(super) fn standing(&self, client: usize, held: Span, up: &[usize]) -> Span {
        let Some(found) = self.clients.all.get(client) else { return held };
        let his = |open: &Open| open.0 == found.pool && open.1 == found.subscriber && open.2 == held;
        let open = up.first().and_then(|at| self.open_pairs(*at).into_iter().find(his));
        open.map_or(held, |(_, _, _, stands)| stands)
    }

    /// Once everybody is served: the BNGs confirm what is open, and then everybody has one, the one he was answered.
    pub(super) fn check_one_each(&mut self, up: &[usize]) -> Verdict {
        for _ in 0..ROUNDS {
            let lists: Vec<BTreeSet<Open>> = up.iter().map(|at| self.open_pairs(*at)).collect();
            let open: BTreeSet<Open> = lists.iter().flatten().cloned().collect();
            if open.is_empty() {
                return self.check_answers_stay(up);
            }
            for (pool, subscriber, superseded, _) in open {
                self.confirm(pool, &subscriber, superseded, up)?;
            }
            self.run_for(500)?;
        }
        let open: Vec<BTreeSet<Open>> = up.iter().map(|at| self.open_pairs(*at)).collect();
        broken(Invariant::Idempotent, format!("subscribers have two although their BNGs confirmed: {open:?}"))
    }

    fn confirm(&mut self, pool: PoolUid, subscriber: &SubscriberId, superseded: Span, up: &[usize]) -> Verdict {
        let mut clients = self.clients.all.iter();
        let client = clients.position(|client| client.pool == pool && client.subscriber == *subscriber);
        let Some(client) = client else { return Ok(()) };
        let at = *self.draws.pick(up);
        let request = self.client_confirms(client, at, superseded);
        self.run_until_answered(request)
    }

    fn check_answers_stay(&mut self, up: &[usize]) -> Verdict {
        for client in 0..self.clients.len() {
            self.check_kept(client, up)?;
            for at in up {
                let Some((kernel, found)) = self.host(*at).kernel.as_ref().zip(self.clients.all.get(client)) else {
                    continue;
                };
                let count = kernel.count_of(found.pool, &found.subscriber);
                if count > 1 {
                    let what = format!("client {client} has {count} allocations at host {at}");
                    return broken(Invariant::Idempotent, what);
                }
            }
        }
        Ok(())
    }
}
