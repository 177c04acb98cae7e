//! The invariants, judged from outside: what several kernels together say must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::host::Host;
use super::route::{Outcome, Trouble};
use super::world::World;
use crate::command::{CommandError, Reply};
use crate::conflict::Conflict;
use crate::fact::Op;
use crate::id::{PoolUid, Seq, ShardId};
use crate::kernel::Kernel;
use crate::ledger::{GrantKind, Member};
use crate::pool::Occupancy;
use crate::sim::{Invariant, Verdict, broken};

/// How often something is looked at again that takes a moment, half seconds apart.
const ASKED_AGAIN: usize = 10;

impl World {
    /// After every step: at most one kernel hands out from a shard, nobody heard of a contradiction, and each kernel's
    /// space adds up.
    pub(super) fn check_step(&mut self) -> Verdict {
        if !std::mem::take(&mut self.touched) {
            return Ok(());
        }
        let mut open: BTreeMap<(PoolUid, ShardId), usize> = BTreeMap::new();
        for (at, host) in self.hosts.iter().enumerate() {
            let Some(kernel) = &host.kernel else { continue };
            let boot_ms = host.tick(self.now).boot_ms;
            for of in kernel.hands_out(boot_ms) {
                if self.is_declared_over(of) {
                    return broken(
                        Invariant::Owned,
                        format!("host {at} hands out from {of:?} although its lease is over"),
                    );
                }
                if let Some(other) = open.insert(of, at) {
                    return broken(Invariant::Owned, format!("hosts {other} and {at} hand out from {of:?}"));
                }
            }
            let contradicts = |(_, conflict): &(Seq, &Arc<Conflict>)| !self.operator.vouched_for(&conflict.heard);
            if let Some((_, conflict)) = kernel.conflicts().iter().find(contradicts) {
                return broken(Invariant::Unique, format!("host {at}: {conflict:?}"));
            }
            for (of, found) in kernel.occupancy() {
                let Occupancy { total, held, free, resting, reserved, excluded, .. } = found;
                if held + free + resting + reserved + excluded != total {
                    return broken(Invariant::Accounted, format!("host {at}: {of:?} {found:?}"));
                }
            }
        }
        Ok(())
    }

    /// Whether it is a leased shard of a host that was deposed.
    fn is_declared_over(&self, (pool, shard): (PoolUid, ShardId)) -> bool {
        let Some(grant) = self.log.ledger.grant(pool, shard) else { return false };
        let holder = self.log.ledger.member(grant.holder);
        grant.kind == GrantKind::Leased && holder.is_some_and(Member::is_deposed)
    }

    /// After the calm: everything is served, what was answered is there, and all kernels say the same.
    pub(super) fn come_to_rest(&mut self) -> Verdict {
        self.clients_rest();
        self.run_for(3_000)?;
        if !self.writes_notes() {
            // Who was given a shard a moment ago answers once it has heard out the one before it.
            self.check_soon(Self::check_owned)?;
        }
        let up: Vec<usize> =
            (0..self.hosts.len()).filter(|at| self.host(*at).is_up() && self.host(*at).member.is_some()).collect();
        // Where notes are written nobody asked for anything.
        let clients = if self.writes_notes() { 0 } else { self.clients.len() };
        for client in 0..clients {
            self.check_kept(client, &up)?;
        }
        self.check_one_each(&up)?;
        self.check_reservations(&up)?;
        // Leases that nobody renews end meanwhile, one after the other.
        for _ in 0..60 {
            self.run_for(500)?;
            if self.check_equal(&up).and_then(|()| self.check_notes(&up)).is_ok() {
                return Ok(());
            }
        }
        self.check_equal(&up)?;
        self.check_notes(&up)
    }

    /// What need not hold in every moment, but in one of the next ones.
    fn check_soon(&mut self, check: impl Fn(&Self) -> Verdict) -> Verdict {
        for _ in 0..ASKED_AGAIN {
            if check(self).is_ok() {
                return Ok(());
            }
            self.run_for(500)?;
        }
        check(self)
    }

    /// Every shard has exactly one host that hands out from it.
    pub(super) fn check_owned(&self) -> Verdict {
        let mut open: BTreeSet<(PoolUid, ShardId)> = BTreeSet::new();
        for host in &self.hosts {
            if let Some(kernel) = &host.kernel {
                open.extend(kernel.hands_out(host.tick(self.now).boot_ms));
            }
        }
        for (uid, pool) in self.log.ledger.pools() {
            let closed = pool
                .grants
                .iter()
                .find(|(shard, _)| !open.contains(&(*uid, *shard)) && !self.stays_doubtful(*uid, *shard));
            if let Some((shard, grant)) = closed {
                let seen = self.host_of(grant.holder).map(|at| (self.host(at).vector(), &self.host(at).stopped));
                let what =
                    format!("nobody hands out from shard {shard} of pool {uid}: {grant:?}, its holder knows {seen:?}");
                return broken(Invariant::Served, what);
            }
        }
        Ok(())
    }

    /// I2 and I5: who was answered asks again everywhere, and gets the same.
    pub(super) fn check_kept(&mut self, client: usize, up: &[usize]) -> Verdict {
        let mut held = self.client_state(client).map(|held| self.standing(client, held.span, up));
        for at in up {
            let pool = self.clients.all.get(client).map(|found| found.pool);
            let mut outcome = None;
            // Whoever was let hand out again a moment ago may not know it yet.
            for _ in 0..ASKED_AGAIN {
                let request = self.client_allocates(client, *at);
                self.run_until_answered(request)?;
                outcome = self.clients.last.take();
                if !is_unserved(outcome.as_ref()) || pool.is_some_and(|pool| self.is_partly_doubtful(pool)) {
                    break;
                }
                self.run_for(500)?;
            }
            match (&outcome, held) {
                (Some(Ok(Reply::Allocated { allocation, .. })), None) => held = Some(allocation.span),
                (Some(Ok(Reply::Allocated { allocation, created: false, .. })), Some(span))
                    if allocation.span == span => {}
                (Some(Err(Trouble::Refused(CommandError::Exhausted { .. }))), None) => {
                    return self.check_refused(client, *at, up);
                }
                (Some(Err(_)), None)
                    if is_unserved(outcome.as_ref()) && pool.is_some_and(|pool| self.is_partly_doubtful(pool)) =>
                {
                    return Ok(());
                }
                (_, Some(span)) if !is_unserved(outcome.as_ref()) => {
                    let what = format!("client {client} was answered {span:?}, host {at} says {outcome:?}");
                    return broken(Invariant::Kept, what);
                }
                (_, Some(_) | None) => {
                    let what = format!("client {client} at host {at}: {outcome:?}");
                    return broken(Invariant::Served, what);
                }
            }
        }
        Ok(())
    }

    /// Who is refused stays so until a host has something left. What rests ends by its owner's clock, and leases end meanwhile:
    /// a moment may be between what the owner said and what others know.
    fn check_refused(&mut self, client: usize, at: usize, up: &[usize]) -> Verdict {
        for _ in 0..ASKED_AGAIN {
            if self.check_exhausted(client, up).is_ok() {
                return Ok(());
            }
            self.run_for(500)?;
            let request = self.client_allocates(client, at);
            self.run_until_answered(request)?;
            if matches!(self.clients.last.take(), Some(Ok(Reply::Allocated { .. }))) {
                return Ok(());
            }
        }
        self.check_exhausted(client, up)
    }

    /// I6 over all hosts: `exhausted` is said only when no host has anything left.
    fn check_exhausted(&self, client: usize, up: &[usize]) -> Verdict {
        let Some(found) = self.clients.all.get(client) else { return Ok(()) };
        for at in up {
            let Some(kernel) = &self.host(*at).kernel else { continue };
            for ((pool, _), occupancy) in kernel.occupancy() {
                let mixed = found.longest > 1 || found.realm.is_some();
                if pool == found.pool && occupancy.free >= 4 && !mixed && !self.is_partly_doubtful(pool) {
                    let what = format!("client {client} is refused, host {at} has {occupancy:?}");
                    return broken(Invariant::Accounted, what);
                }
            }
        }
        Ok(())
    }

    /// I4: all kernels hold the same, and know the same of each log.
    fn check_equal(&self, up: &[usize]) -> Verdict {
        // Clocks differ, and who thinks that a rest is over forgets it.
        let latest = up.iter().filter_map(|at| self.host(*at).kernel.as_ref()).map(Kernel::kept_ms).max();
        let mut first: Option<(usize, BTreeSet<String>)> = None;
        for at in up {
            let Some(kernel) = &self.host(*at).kernel else { continue };
            let rows: BTreeSet<String> = kernel.rows(latest.unwrap_or_default()).into_iter().collect();
            match &first {
                None => first = Some((*at, rows)),
                Some((other, found)) if *found != rows => {
                    let here: Vec<&String> = rows.difference(found).collect();
                    let there: Vec<&String> = found.difference(&rows).collect();
                    let what = format!("only host {at} says {here:?}, only host {other} {there:?}");
                    return broken(Invariant::Equal, what);
                }
                Some(_) => {}
            }
        }
        for at in up {
            let host = self.host(*at);
            for other in up.iter().map(|other| self.host(*other)).filter(|other| other.origin != host.origin) {
                let told = host.last_word();
                let heard = other.heard.get(&host.origin).copied().unwrap_or_default();
                if heard < told {
                    return broken(
                        Invariant::Equal,
                        format!("host {at} wrote {told}, {:?} heard {heard}", other.origin),
                    );
                }
            }
        }
        Ok(())
    }
}

impl World {
    /// Whether a host has heard all that any other wrote for others.
    pub(super) fn knows_all(&self, at: usize) -> bool {
        let heard = |other: &Host| self.host(at).heard.get(&other.origin).copied().unwrap_or_default();
        let mut others = self.hosts.iter().filter(|other| other.life > 0 && other.origin != self.host(at).origin);
        others.all(|other| heard(other) >= other.last_word())
    }
}

impl Host {
    /// Its last operation that anybody else needs.
    pub(super) fn last_word(&self) -> Seq {
        let own = self.runs.get(&self.origin).into_iter().flatten().rev();
        own.into_iter().find(|op| concerns_others(op)).map_or(Seq(0), |op| op.seq)
    }
}

/// Nobody could be found who decides.
fn is_unserved(outcome: Option<&Outcome>) -> bool {
    use Trouble::{OwnerChanged, Refused, Unreachable};
    matches!(outcome, None | Some(Err(Unreachable | OwnerChanged | Refused(CommandError::Withheld { .. }))))
}

fn concerns_others(op: &Op) -> bool {
    use crate::fact::Fact as F;
    match &op.fact {
        F::Held(_)
        | F::Resting(_)
        | F::Free(_)
        | F::Reserved(_)
        | F::Unreserved { .. }
        | F::RestsOn(_)
        | F::Noted(_) => true,
        F::Pool(_)
        | F::PoolDeleted(_)
        | F::Realm(_)
        | F::Clock
        | F::Heard { .. }
        | F::Adopted(_)
        | F::Unnoted(_)
        | F::Conflict(_)
        | F::ConflictClosed(_) => false,
    }
}
