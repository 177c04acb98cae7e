//! A host that comes to a cluster knows less than the others for a while. Until it has heard what most voters, and whoever else
//! is there, knew when it came, or what every other member did, it is not ready, and it says nothing of the shards that an
//! earlier life of it held: it would repeat what was released meanwhile. Of those that were its own outright nobody waited for
//! a majority, so there it has to hear what every member knew.

use std::collections::{BTreeMap, BTreeSet};

use kernel::ledger::{GrantKind, Ledger, LedgerPool, Member};
use kernel::{MemberId, Origin, ShardId};

use super::inquiry::ask_all;
use super::seat::Seat;
use super::{Cluster, Vector, covers};

/// The incarnation of a host that was never restored.
const FIRST: u64 = 1;

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    /// What each member knew of the others' logs when this host first asked it; of a member that lost its disk since, nothing.
    told: BTreeMap<MemberId, (Origin, Vector)>,
    /// What most voters and whoever else was there knew is heard.
    heard_most: bool,
    /// What every member knew is.
    heard_all: bool,
}

impl Arrival {
    /// Whether this host has heard what a member knew.
    fn heard_of(&self, member: &Member, here: &Vector) -> bool {
        let told = self.told.get(&member.id);
        told.is_some_and(|(origin, vector)| *origin == member.origin && covers(here, vector))
    }
}

impl Cluster {
    /// Whether the ledger, as far as it is read here, says something else of this host than that it is who it is: it is read
    /// from the beginning, and there an earlier life of it held what it may not hand out now, and voted.
    pub(super) fn is_another_life(&self, seat: &Seat, ledger: &Ledger) -> bool {
        ledger.member(seat.me).is_some_and(|member| member.origin != self.inner.settings.origin)
    }

    /// Whether this host knows what every other member knew when it came.
    pub(super) fn has_heard_all(&self) -> bool {
        self.inner.arrival.lock().heard_all
    }

    /// Asks who was not asked yet, and looks how far it is; called from time to time.
    pub(super) async fn arrive(&self, seat: &Seat, ledger: &Ledger) {
        let others = || ledger.members().values().filter(|member| member.id != seat.me);
        let told = |member: &Member| {
            self.inner.arrival.lock().told.get(&member.id).is_some_and(|(origin, _)| *origin == member.origin)
        };
        // Before the ledger says that this host is a member, in this life, it does not say either who the others are.
        let joined = ledger.member(seat.me).is_some_and(|member| member.origin == self.inner.settings.origin);
        if !joined || self.has_heard_all() {
            return;
        }
        let mut knows_less = BTreeSet::new();
        if others().any(|member| self.is_connected(&member.peer) && !told(member)) {
            for (member, mut answer) in ask_all(self, seat, ledger).await {
                // Who has yet to hear itself what the others know is no witness.
                if answer.told == 0 {
                    knows_less.insert(member);
                    continue;
                }
                let Some(member) = ledger.member(member).filter(|member| !told(member)) else { continue };
                seat.peer_of(member.id).into_iter().for_each(|peer| self.pull_from(peer));
                answer.vector.remove(&self.inner.settings.origin);
                self.inner.arrival.lock().told.insert(member.id, (member.origin, answer.vector));
            }
        }
        let (here, voters) = (self.vector(), seat.voters());
        let mut arrival = self.inner.arrival.lock();
        let heard_of = |member: &Member| arrival.heard_of(member, &here);
        // One of every majority there was; who was restored has forgotten what it was one of.
        let first_life = self.inner.settings.origin.incarnation <= FIRST;
        let is_witness = |voter: &&MemberId| match ledger.member(**voter) {
            Some(member) if member.id == seat.me => first_life,
            member => member.is_some_and(heard_of),
        };
        let witnesses = voters.iter().filter(is_witness).count();
        let most = witnesses > 0 && witnesses >= voters.len() - voters.len() / 2;
        let there = |member: &&Member| self.is_connected(&member.peer) && !knows_less.contains(&member.id);
        // Of two hosts one votes; if that is this one, restored, nobody else is left who could be one of a majority.
        let heard_all = others().all(heard_of);
        let heard_most = heard_all || (most && others().filter(there).all(heard_of));
        let before = (arrival.heard_most, arrival.heard_all);
        // Who comes later knows no more of what was before than those that were asked, but for what was nobody's but its own.
        arrival.heard_most |= heard_most;
        arrival.heard_all = heard_all;
        let after = (arrival.heard_most, arrival.heard_all);
        drop(arrival);
        if before != after {
            self.inner.parts.vitals.arrives(!after.0);
            self.inner.bell.notify_waiters();
        }
    }

    /// Whether this host may not speak of a shard yet that an earlier life of it held.
    pub(super) fn lacks_former_life(&self, pool: &LedgerPool, shard: ShardId) -> bool {
        let own = self.inner.settings.origin;
        let former = |origin: Origin| origin.host == own.host && origin != own;
        let escrow = pool.grants.of(shard).is_some_and(|grant| grant.kind == GrantKind::Escrow);
        let arrival = self.inner.arrival.lock();
        pool.awaited(shard).any(former) && !if escrow { arrival.heard_all } else { arrival.heard_most }
    }
}
