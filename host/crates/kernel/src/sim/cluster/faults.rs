//! What goes wrong, and what operators do meanwhile.

use super::govern::Purpose;
use super::world::{Event, World};
use super::{Breach, Weather};
use crate::id::MemberId;
use crate::ledger::{Deed, LedgerCommand};
use crate::sim::Verdict;

impl World {
    pub(super) fn fault(&mut self) {
        if self.net.calm {
            return;
        }
        let pause = 100 + self.draws.below(1_800);
        self.after(pause, Event::Fault);
        let at = self.draws.index(self.hosts.len());
        let kinds = match self.weather {
            Weather::Cuts => return self.cut_off(at),
            // Whoever it gave shards to has to go on without its last words.
            Weather::Losses
                if let Some(giver) = self.awaited()
                    && self.draws.one_in(4) =>
            {
                return self.lose(giver);
            }
            // There are no shards to move.
            _ if self.writes_notes() => 108,
            Weather::Usual => 124,
            Weather::Losses => 131,
            Weather::Resizing | Weather::Pauses | Weather::Stalls | Weather::SlowDisks => 166,
        };
        match self.draws.below(kinds) {
            0..18 => self.crash(at),
            18..30 => self.part(),
            30..38 => {
                let to = self.draws.index(self.hosts.len());
                self.note(|| format!("nothing of host {at} reaches host {to}"));
                self.summary.cuts += 1;
                self.net.cut_one_way(at, to);
            }
            38..60 => {
                self.note(|| "the network heals".to_owned());
                self.net.heal();
            }
            60..68 => self.sleep(at),
            68..74 => {
                let jumps = [-3_600_000, -70_000, -2_000, 2_000, 70_000, 86_400_000];
                let by_ms = *self.draws.pick(&jumps);
                self.note(|| format!("the wall clock of host {at} is off by {by_ms} ms"));
                self.host_mut(at).set_wall_error(by_ms);
            }
            74..80 => self.host_mut(at).set_wall_error(0),
            80..88 => self.weigh(at),
            88..94 => self.come(at),
            94..100 => self.leave(at),
            100..108 => self.reserve(at),
            108..124 => self.move_some(at),
            128..131 if self.weather == Weather::Losses => self.lose(at),
            _ if self.weather.stops_processes() => self.sleep(at),
            _ if self.weather == Weather::SlowDisks => self.move_some(at),
            _ => self.close(at),
        }
    }

    pub(super) fn crash(&mut self, at: usize) {
        if !self.host(at).is_up() {
            return;
        }
        self.note(|| format!("host {at} crashes"));
        self.summary.crashes += 1;
        let Some(host) = self.hosts.get_mut(at) else { return };
        host.crash(&mut self.draws);
        self.touched = true;
        let down = *self.draws.pick(&[50, 500, 3_000, 9_000, 14_000]);
        self.after(down, Event::Up(at));
    }

    /// Nobody reaches this host, or all reach each other again.
    fn cut_off(&mut self, at: usize) {
        match self.draws.below(60) {
            0 => {
                self.note(|| "the network heals".to_owned());
                self.net.heal();
            }
            1..15 if !self.net.is_parted() => {
                self.note(|| format!("host {at} is cut off"));
                self.summary.cuts += 1;
                self.net.part(self.hosts.len(), |side| side == at);
                // Its node lease is good for a while.
                for _ in 0..4 {
                    self.reserve(at);
                }
            }
            15..17 => self.crash(at),
            17 => self.change_lease(at),
            18..22 => self.move_some(at),
            _ => {}
        }
    }

    fn part(&mut self) {
        let (count, sides) = (self.hosts.len(), self.draws.next());
        self.note(|| format!("the network parts: {:b}", sides % (1 << count)));
        self.summary.cuts += 1;
        self.net.part(count, |at| sides >> at & 1 == 1);
    }

    fn sleep(&mut self, at: usize) {
        let ms = *self.draws.pick(&[50, 300, 2_000, 9_000, 12_000]);
        self.note(|| format!("host {at} sleeps for {ms} ms"));
        let until = self.now + ms;
        let host = self.host_mut(at);
        // What waits for it to wake comes when the first of two sleeps would be over.
        host.sleeps_until = host.sleeps_until.max(until);
    }

    /// An operator drains a host, or puts it to use again.
    fn weigh(&mut self, by: usize) {
        let members: Vec<(MemberId, u32)> =
            self.host(by).ledger.members().values().map(|member| (member.id, member.share())).collect();
        if !self.host(by).is_awake(self.now) || members.is_empty() {
            return;
        }
        let (member, weight) = *self.draws.pick(&members);
        let weight = if weight == 0 { 1 } else { *self.draws.pick(&[0, 1, 2]) };
        self.propose(by, Purpose::Order, share_of(member, weight));
    }

    /// A host that is no member yet joins, by another's word.
    fn come(&mut self, by: usize) {
        let new = self.hosts.iter().position(|host| host.life == 0);
        let Some(new) = new.filter(|_| self.host(by).is_awake(self.now)) else { return };
        let join = self.join_of(new);
        self.propose(by, Purpose::Order, join);
        self.after(500, Event::Up(new));
    }

    /// A host that owns nothing any more leaves.
    pub(super) fn leave(&mut self, at: usize) {
        let host = self.host(at);
        let Some(me) = host.member.filter(|_| host.is_awake(self.now)) else { return };
        let drained = host.ledger.member(me).is_some_and(|member| member.share() == 0);
        let known = |other, origin| {
            let said = host.seen.get(&other).and_then(|(_, vector)| vector.get(&origin));
            said.copied().unwrap_or_default()
        };
        let told = host.ledger.is_handed_on(me, &host.heard, known) || self.breach == Some(Breach::LeaveOnceTold);
        if drained && told && host.ledger.check_empty(me).is_ok() && self.log.ledger.members().len() > 2 {
            self.propose(at, Purpose::Order, LedgerCommand::Leave { member: me });
        }
    }

    /// It left, or was removed: its process ends for good.
    pub(super) fn go(&mut self, at: usize) {
        self.note(|| format!("host {at} left"));
        let of_it = |deed: &Deed| matches!(deed, Deed::Removed { node } if *node.as_str() == format!("host-{at}"));
        let removed = self.log.ledger.orders().any(|order| of_it(&order.deed));
        let Some(host) = self.hosts.get_mut(at) else { return };
        host.old |= removed;
        host.crash(&mut self.draws);
        host.gone = true;
        self.touched = true;
    }

    /// Nothing goes wrong any more.
    pub(super) fn calm_down(&mut self) -> Verdict {
        self.note(|| "calm".to_owned());
        self.net.heal();
        self.net.calm = true;
        for at in 0..self.hosts.len() {
            let now = self.now;
            let member = self.log.ledger.members().values().any(|member| member.origin == self.host(at).origin);
            if self.host(at).is_up() && self.host(at).clock_is_off() {
                self.crash(at);
            }
            let host = self.host_mut(at);
            host.sleeps_until = now;
            host.set_wall_error(0);
            if !member && !host.gone && !host.old && host.member.is_some() {
                self.go(at);
            } else if !host.is_up() && !host.gone && !host.old && member {
                self.start(at)?;
            }
        }
        self.put_to_use();
        Ok(())
    }

    /// Somebody who is not lost must own what there is; where hosts were drained to be taken out, all who are left.
    pub(super) fn put_to_use(&mut self) {
        let is_lost = |member: MemberId| self.host_of(member).is_some_and(|at| self.host(at).old);
        let there = || self.log.ledger.members().values().filter(|member| !is_lost(member.id));
        let all = self.writes_notes();
        if !all && there().any(|member| member.share() > 0) {
            return;
        }
        let idle = there().filter(|member| member.share() == 0).map(|member| member.id);
        let idle: Vec<MemberId> = idle.take(if all { usize::MAX } else { 1 }).collect();
        let by = self.hosts.iter().position(super::host::Host::is_up).unwrap_or(0);
        for member in idle {
            self.propose(by, Purpose::Order, share_of(member, 1));
        }
    }
}

/// Drained without one, else put to use with it.
const fn share_of(member: MemberId, weight: u32) -> LedgerCommand {
    let draining = Some(weight == 0);
    let weight = if weight == 0 { None } else { Some(weight) };
    LedgerCommand::SetMember { member, role: None, weight, draining, addresses: None }
}
