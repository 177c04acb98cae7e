//! A host that comes with an empty disk: it is let in, hears what the others know, and is nobody until then.

use std::collections::BTreeMap;

use super::Breach;
use super::govern::Purpose;
use super::net::Vector;
use super::world::{Event, World};
use crate::id::{ClusterId, MemberId, Origin, Seq, ShardId};
use crate::ledger::{GrantKind, Ledger, LedgerPool};

/// How long one that wants to be let in waits until it asks again, milliseconds.
const ASK_AGAIN: u64 = 700;

/// How far a process has come with hearing.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    /// It came with an empty disk.
    pub(super) is_new: bool,
    /// What each member knew when this host first asked it; of a member that lost its disk since, nothing.
    told: BTreeMap<MemberId, (Origin, Vector)>,
    /// What most voters and whoever else was there knew is heard.
    pub(super) heard_most: bool,
    /// What every member knew is.
    pub(super) heard_all: bool,
}

impl Arrival {
    /// Of who forms the cluster: nobody else knows anything.
    pub(super) fn of_founder() -> Self {
        Self { heard_most: true, heard_all: true, ..Self::default() }
    }

    /// The process does; the next one begins with a disk.
    pub(super) fn ends(&mut self) {
        *self = Self::default();
    }
}

impl World {
    /// Its disk is lost: it comes again with an empty one, as another incarnation of itself.
    pub(super) fn renew_host(&mut self, at: usize) {
        self.note(|| format!("host {at} comes again with an empty disk"));
        self.summary.renewed += 1;
        let empty = Ledger::new(ClusterId(u128::from(self.seed)));
        self.host_mut(at).renew(empty);
        self.after(ASK_AGAIN, Event::Up(at));
    }

    /// Whether a host that comes again is let in already. If not, it asks, and comes later.
    pub(super) fn is_let_in(&mut self, at: usize) -> bool {
        let origin = self.host(at).origin;
        if self.host(at).former.is_empty() || self.log.ledger.members().values().any(|member| member.origin == origin) {
            return true;
        }
        let door = (0..self.hosts.len()).find(|by| *by != at && self.host(*by).is_awake(self.now));
        if let Some(by) = door.filter(|by| self.net.both_ways(at, *by)) {
            let join = self.join_of(at);
            self.propose(by, Purpose::Order, join);
        }
        self.after(ASK_AGAIN, Event::Up(at));
        false
    }

    /// Looks how far it is: what most voters and whoever else is there knew, and what every member did.
    pub(super) fn arrive(&mut self, at: usize) {
        let host = self.host(at);
        let Some(me) = host.member.filter(|_| !host.arrival.heard_all && !self.is_another_life(at)) else { return };
        let mut told = host.arrival.told.clone();
        // Who has yet to hear itself what the others know is no witness.
        for (member, (_, vector)) in host.seen.iter().filter(|(_, (applied, _))| *applied > 0) {
            let Some(origin) = host.ledger.member(*member).map(|member| member.origin) else { continue };
            if told.get(member).is_none_or(|(of, _)| *of != origin) {
                told.insert(*member, (origin, vector.clone()));
            }
        }
        let has = |of: &Origin, to: Seq| *of == host.origin || host.heard.get(of).is_some_and(|known| *known >= to);
        let heard_of = |member: &MemberId| {
            let said =
                told.get(member).filter(|(of, _)| host.ledger.member(*member).is_some_and(|it| it.origin == *of));
            said.is_some_and(|(_, vector)| vector.iter().all(|(of, to)| has(of, *to)))
        };
        let (voters, members) = (host.ledger.voters_wanted(), host.ledger.members());
        // One of every majority there was; who comes again has forgotten what it was one of.
        let is_witness = |voter: &&MemberId| if **voter == me { host.former.is_empty() } else { heard_of(voter) };
        let witnesses = voters.iter().filter(is_witness).count();
        let most = witnesses > 0 && witnesses >= voters.len() - voters.len() / 2;
        let mut others = members.keys().filter(|member| **member != me);
        let knows_less = |member| host.seen.get(member).is_some_and(|(applied, _)| *applied == 0);
        let there = others.clone().all(|member| !self.sees(at, *member) || heard_of(member) || knows_less(member));
        let heard_all = others.all(heard_of);
        let heard_most = host.arrival.heard_most || heard_all || (most && there);
        let arrival = &mut self.host_mut(at).arrival;
        (arrival.told, arrival.heard_most, arrival.heard_all) = (told, heard_most, heard_all);
    }

    /// Whether a host owns nothing and is nobody's home, whatever the ledger says.
    pub(super) fn is_nobody(&self, at: usize) -> bool {
        self.lacks_state(at) || self.is_another_life(at)
    }

    /// Whether the ledger, as far as it is read there, speaks of an earlier life of the host.
    pub(super) fn is_another_life(&self, at: usize) -> bool {
        let host = self.host(at);
        let listed = host.member.and_then(|me| host.ledger.member(me));
        self.breach != Some(Breach::ArriveFirst) && listed.is_some_and(|member| member.origin != host.origin)
    }

    pub(super) fn lacks_state(&self, at: usize) -> bool {
        let arrival = &self.host(at).arrival;
        arrival.is_new && !arrival.heard_most && self.breach != Some(Breach::ArriveFirst)
    }

    /// Whether this host may not speak of a shard yet that an earlier life of it held.
    pub(super) fn lacks_former_life(&self, at: usize, pool: &LedgerPool, shard: ShardId) -> bool {
        let host = self.host(at);
        let former = pool.awaited(shard).any(|origin| host.former.contains(&origin));
        let escrow = pool.grants.of(shard).is_some_and(|grant| grant.kind == GrantKind::Escrow);
        let heard = if escrow { host.arrival.heard_all } else { host.arrival.heard_most };
        former && !heard && self.breach != Some(Breach::ArriveFirst)
    }
}
