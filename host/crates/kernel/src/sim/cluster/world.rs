//! All hosts, the log, the network and whoever asks: what happens next is drawn from the seed.

use std::collections::BTreeMap;

use super::arrival::Arrival;
use super::clients::Clients;
use super::host::{Host, Waits};
use super::log::{Decision, Log};
use super::net::{Body, Message, Net};
use super::operator::Operator;
use super::route::{Caller, DEADLINE, Outcome};
use super::{Breach, Summary, Weather};
use crate::command::{Command, News};
use crate::hash::Draws;
use crate::id::{ClusterId, CommandId, Dot, MemberId, Seq};
use crate::kernel::KernelSettings;
use crate::ledger::{Ledger, LedgerCommand, LedgerEntry, LedgerReply, Terms, Wish};
use crate::sim::{Broken, Failure, Verdict};

/// How far a clock is off that is wrong.
const OFF_MS: i64 = 20_000;

/// How far hosts' clocks may be apart.
pub(super) const SLACK_MS: u64 = 2_000;

pub(super) const SETTINGS: KernelSettings = KernelSettings {
    seed: 0,
    restart_grace_ms: 1_000,
    clock_tolerance_ms: 60_000,
    lease_slack_ms: SLACK_MS,
    cluster: None,
};

/// How long faults come, and how long they have to be made good, milliseconds.
const FAULTS_MS: u64 = 30_000;
const CALM_MS: u64 = 30_000;

/// Where disks are lost only time ends some quarantines.
const CALM_AFTER_LOSSES_MS: u64 = 40_000;

/// How many of the last events a failure keeps.
const KEPT: usize = 100_000;

#[derive(Debug)]
pub(super) enum Event {
    /// A host looks after itself.
    Wake(usize),
    /// The same, once.
    Nudge(usize),
    Flushed {
        at: usize,
        life: u64,
    },
    Arrives(Message),
    Commit {
        entry: LedgerEntry,
        by: usize,
        tries: u32,
    },
    Decided {
        at: usize,
        life: u64,
        place: usize,
        id: CommandId,
        decision: Decision,
    },
    Client(usize),
    /// A client's request reaches a host that stood still when it was sent.
    Asks {
        at: usize,
        life: u64,
        request: u64,
        command: Command,
    },
    Reply {
        request: u64,
        outcome: Outcome,
    },
    GivesUp {
        request: u64,
    },
    Deadline {
        at: usize,
        life: u64,
        task: u64,
    },
    HearLimit {
        at: usize,
        life: u64,
        task: u64,
    },
    Up(usize),
    /// A process ends before it has found its feet, or because its clock is wrong.
    Stumbles(usize),
    Fault,
    /// Somebody writes a note.
    Note,
}

/// What the hosts are there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Addresses,
    Notes,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) breach: Option<Breach>,
    pub(super) draws: Draws,
    /// Real time, which no host sees, milliseconds.
    pub(super) now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) log: Log,
    pub(super) net: Net,
    pub(super) clients: Clients,
    pub(super) operator: Operator,
    pub(super) next_request: u64,
    pub(super) next_task: u64,
    /// A kernel took a step since the last look at the invariants.
    pub(super) touched: bool,
    pub(super) weather: Weather,
    /// What happens is written down.
    told: bool,
    pub(super) work: Work,
    events: Vec<String>,
    pub(super) summary: Summary,
}

impl World {
    pub(super) fn new(seed: u64, breach: Option<Breach>, weather: Weather, told: bool) -> Self {
        let mut draws = Draws::new(seed ^ 0x636c_7573_7465_7200);
        let ledger = Ledger::new(ClusterId(u128::from(seed)));
        let most = 2 + draws.index(4);
        let hosts = (0..most).map(|at| {
            let rate = i64::try_from(draws.below(2_001)).unwrap_or(0) - 1_000;
            Host::new(at, ledger.clone(), rate)
        });
        let hosts = hosts.collect();
        // What an epoch tells a BNG of an answer it can only tell where it hears of both: with several it seldom does.
        let bngs = if weather == Weather::Stalls && seed.is_multiple_of(2) { 1 } else { 3 };
        Self {
            seed,
            breach,
            draws,
            now: 1_000,
            queue: BTreeMap::new(),
            next_event: 0,
            hosts,
            log: Log::new(ledger),
            net: Net::default(),
            clients: Clients::behind(bngs),
            operator: Operator::default(),
            next_request: 0,
            next_task: 0,
            touched: false,
            told,
            weather,
            work: Work::Addresses,
            events: Vec::new(),
            summary: Summary::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Summary, Box<Failure>> {
        match self.live() {
            Ok(()) => Ok(self.summary),
            Err(Broken { invariant, what }) => {
                let events = std::mem::take(&mut self.events);
                let (flags, seed, step) = (self.flags(), self.seed, self.summary.events);
                Err(Box::new(Failure { flags, seed, step, invariant, what, events }))
            }
        }
    }

    /// Whether a rule is broken, itself or because it is in front of the one that is.
    pub(super) fn breaks(&self, rule: Breach) -> bool {
        self.breach.is_some_and(|breach| breach == rule || breach.behind() == Some(rule))
    }

    /// What a replay needs beside the seed. A breach brings its own weather.
    fn flags(&self) -> String {
        let work = if self.writes_notes() { " --notes" } else { "" };
        match self.breach {
            Some(breach) => format!("--cluster{work} --breach {}", breach.name()),
            None => format!("--cluster{work}{}", self.weather.flag()),
        }
    }

    fn live(&mut self) -> Verdict {
        self.form()?;
        self.after(500, Event::Fault);
        self.run_until(if self.weather == Weather::Cuts { 2 * FAULTS_MS } else { FAULTS_MS })?;
        self.calm_down()?;
        let calm_ms = if self.weather == Weather::Losses { CALM_AFTER_LOSSES_MS } else { CALM_MS };
        self.run_until(self.now + calm_ms / 4)?;
        // What was ordered last may have drained the last one.
        self.put_to_use();
        self.run_until(self.now + calm_ms * 3 / 4)?;
        self.come_to_rest()
    }

    /// A cluster of the first hosts, with its pools.
    fn form(&mut self) -> Verdict {
        let (lease_ms, grace_ms) = if self.weather == Weather::Stalls { (4_000, 1_000) } else { (6_000, 2_000) };
        let terms = Terms { virtual_nodes: 8, lease_ms, grace_ms, escrow_share: 400 };
        let first = 1 + self.draws.index(self.hosts.len());
        let mut commands = vec![LedgerCommand::SetTerms(terms)];
        commands.extend((0..first.max(2)).map(|at| self.join_of(at)));
        let drafts = Clients::found(&mut self.draws);
        commands.extend(drafts.into_iter().map(|draft| LedgerCommand::CreatePool { draft: Box::new(draft), at_ms: 1 }));
        for command in commands {
            let entry = self.log.name(command);
            if let Ok(LedgerReply::PoolCreated { pool, .. }) = self.log.commit(&entry)
                && let Some(found) = self.log.ledger.pool(pool)
            {
                self.clients.founded(pool, &found.record.draft);
            }
        }
        for at in 0..first.max(2) {
            self.apply_through(at, self.log.entries.len());
            self.start(at)?;
            self.host_mut(at).arrival = Arrival::of_founder();
        }
        for client in 0..self.clients.len() {
            let pause = 100 + self.draws.below(1_000);
            self.after(pause, Event::Client(client));
        }
        Ok(())
    }

    /// A process begins on a host that is a member, or joins.
    pub(super) fn start(&mut self, at: usize) -> Verdict {
        let (seed, now, breach) = (self.seed, self.now, self.breach);
        if breach == Some(Breach::LedgerIsDurable) {
            let known = self.host(at).applied;
            let back = known - self.draws.index(known / 2 + 1);
            self.forget_ledger(at, back);
        }
        let Some(host) = self.hosts.get_mut(at) else { return Ok(()) };
        let wall_error = i64::try_from(self.draws.below(1_801)).unwrap_or(0) - 900;
        // The others show it that its clock is the wrong one, sooner or later.
        let off = self.weather == Weather::Usual && !self.net.calm && host.life > 0 && self.draws.one_in(6);
        host.set_wall_error(if off { OFF_MS } else { wall_error });
        host.set_clock_off(off);
        host.arrival.is_new = host.committed == Seq(0);
        host.start(seed, now, breach, &mut self.draws)?;
        let life = host.life;
        self.note(|| format!("host {at} starts its life {life}"));
        self.touched = true;
        if breach == Some(Breach::LeaseOfThisLife) {
            let until_ms = self.host(at).leased_until;
            self.put(at, Command::News(News::NodeLease { until_ms }), Waits::Nobody);
        }
        if off {
            let ends = 500 + self.draws.below(6_000);
            self.after(ends, Event::Stumbles(at));
        }
        self.after(1, Event::Nudge(at));
        if life == 1 {
            self.after(1, Event::Wake(at));
        }
        Ok(())
    }

    /// Reads the ledger again from the beginning, up to an entry.
    fn forget_ledger(&mut self, at: usize, through: usize) {
        let fresh = Ledger::new(ClusterId(u128::from(self.seed)));
        let host = self.host_mut(at);
        (host.ledger, host.applied) = (fresh, 0);
        self.apply_through(at, through);
    }

    fn run_until(&mut self, end: u64) -> Verdict {
        while self.queue.keys().next().is_some_and(|(at, _)| *at <= end) {
            let Some(((at, _), event)) = self.queue.pop_first() else { break };
            self.now = at;
            self.summary.events += 1;
            self.happen(event)?;
            self.check_step()?;
        }
        self.now = end;
        Ok(())
    }

    /// Lets the world go on until a request is answered or given up.
    pub(super) fn run_until_answered(&mut self, request: u64) -> Verdict {
        let end = self.now + 10_000;
        while self.clients.is_open(request) && self.now < end {
            let next = self.queue.keys().next().map_or(end, |(at, _)| *at);
            self.run_until(next)?;
        }
        Ok(())
    }

    pub(super) fn run_for(&mut self, ms: u64) -> Verdict {
        self.run_until(self.now + ms)
    }

    fn happen(&mut self, event: Event) -> Verdict {
        match event {
            Event::Wake(at) => {
                let pause = if self.net.calm { 100 } else { 60 + self.draws.below(200) };
                self.after(pause, Event::Wake(at));
                self.look_after(at);
            }
            Event::Nudge(at) => self.look_after(at),
            Event::Flushed { at, life } => {
                if self.is_life(at, life, || Event::Flushed { at, life }) {
                    return self.written(at);
                }
            }
            Event::Arrives(message) => self.arrives(message),
            Event::Commit { entry, by, tries } => self.commit(entry, by, tries),
            Event::Decided { at, life, place, id, decision } => {
                let waits = self.weather.stops_processes() && self.host(at).sleeps_until > self.now;
                if waits {
                    self.is_life(at, life, || Event::Decided { at, life, place, id, decision });
                } else if self.host(at).life == life && self.host(at).is_awake(self.now) {
                    // The log tells a proposer nothing before it has applied the entry.
                    self.apply_through(at, place);
                    self.decided(at, id, &decision);
                }
            }
            Event::Note => self.write_note(),
            Event::Client(client) => self.client_acts(client),
            Event::Asks { at, life, request, command } => {
                let host = self.host(at);
                if host.is_awake(self.now) && host.life == life {
                    self.begin(at, Caller::Client(request), None, command);
                } else if host.life == life && host.is_up() {
                    self.after(300, Event::Asks { at, life, request, command });
                }
            }
            Event::Reply { request, outcome } => {
                self.operator_hears(request, &outcome);
                return self.client_hears(request, &outcome);
            }
            Event::GivesUp { request } => self.client_gives_up(request),
            Event::Deadline { at, life, task } => {
                if self.is_life(at, life, || Event::Deadline { at, life, task }) {
                    self.overdue(at, task);
                }
            }
            Event::HearLimit { at, life, task } => {
                if self.is_life(at, life, || Event::HearLimit { at, life, task }) {
                    self.no_longer(at, task);
                }
            }
            Event::Up(at) => {
                let host = self.host(at);
                if host.is_up() || host.gone {
                    return Ok(());
                }
                if host.old {
                    return self.returns_old(at);
                }
                if self.is_let_in(at) {
                    if !self.host(at).former.is_empty() && !self.net.calm && self.draws.one_in(2) {
                        let soon = self.draws.below(300);
                        self.after(soon, Event::Stumbles(at));
                    }
                    return self.start(at);
                }
            }
            Event::Stumbles(at) => self.crash(at),
            Event::Fault => self.fault(),
        }
        Ok(())
    }

    /// Whether this is still the process an event is for. If it sleeps, the event comes when it wakes.
    fn is_life(&mut self, at: usize, life: u64, again: impl FnOnce() -> Event) -> bool {
        let host = self.host(at);
        if host.life != life || !host.is_up() {
            return false;
        }
        let until = host.sleeps_until;
        if until > self.now {
            self.after(until - self.now, again());
            return false;
        }
        true
    }

    fn look_after(&mut self, at: usize) {
        if !self.host(at).is_awake(self.now) {
            return;
        }
        self.read_on(at);
        let origin = self.host(at).origin;
        let notes = self.writes_notes();
        let host = self.host_mut(at);
        let of_it = host.ledger.members().values().find(|member| member.origin.host == origin.host).map(|it| it.id);
        let was = std::mem::replace(&mut host.member, of_it);
        if notes && was.is_some() && of_it.is_none() {
            return self.go(at);
        }
        self.arrive(at);
        self.follow(at);
        self.tell_members(at);
        self.alarms(at);
        self.govern(at);
        self.pull(at);
        self.own_up(at);
    }

    pub(super) fn wake_soon(&mut self, at: usize) {
        self.after(1, Event::Nudge(at));
    }

    #[allow(clippy::needless_pass_by_value, reason = "it is sent: its writer has no more use for it")]
    pub(super) fn send(&mut self, from: usize, to: usize, body: Body) {
        // Requests and their answers come once or not at all; facts may come twice.
        let once = matches!(body, Body::Ask { .. } | Body::Answer { .. });
        for delay in self.net.journeys(from, to, once, &mut self.draws) {
            self.after(delay, Event::Arrives(Message { from, to, sent: self.now, body: body.clone() }));
        }
    }

    fn arrives(&mut self, message: Message) {
        let Message { from, to, sent, body } = message;
        let host = self.host(to);
        if !host.is_up() || self.net.is_cut(from, to) {
            return;
        }
        let until = host.sleeps_until;
        if until > self.now {
            // Of what comes to a host that sleeps long, nothing is left when it wakes, unless it is only stopped. It may be woken early.
            let left = until - self.now;
            if left < 300 || self.weather.stops_processes() {
                self.after(left.min(300), Event::Arrives(Message { from, to, sent, body }));
            }
            return;
        }
        if self.is_stranger(to, from) {
            return;
        }
        match body {
            Body::Gossip(batch) => self.hear_gossip(to, from, &batch),
            Body::Pull(vector) => self.answer_pull(to, from, &vector),
            Body::Facts { batches, vector, applied, listed } => {
                let of = self.host(from).member;
                if let Some(of) = of {
                    self.host_mut(to).seen.insert(of, (applied, vector));
                }
                self.tell_seen(to, from, listed);
                for batch in &batches {
                    self.take_in(to, batch);
                }
            }
            // Its asker gave up. The real host knows by its own clock, of which the asker says what it saw last.
            Body::Ask { .. } if self.now > sent + DEADLINE && self.breach != Some(Breach::CarriedOutInTime) => {}
            Body::Ask { task, leg, command } => self.asked(to, Caller::Host { at: from, task }, leg, command),
            Body::Answer { task, outcome, origin, through } => self.arrived(to, task, outcome, origin, through),
            Body::Given { pool, shards, last } => {
                let last = Dot { origin: self.host(from).origin, seq: last };
                self.owns_up(to, pool, &shards, last);
            }
        }
    }

    pub(super) fn after(&mut self, ms: u64, event: Event) {
        self.queue.insert((self.now + ms, self.next_event), event);
        self.next_event += 1;
    }

    pub(super) fn host(&self, at: usize) -> &Host {
        self.hosts.get(at).expect("hosts are numbered from 0")
    }

    pub(super) fn host_mut(&mut self, at: usize) -> &mut Host {
        self.hosts.get_mut(at).expect("hosts are numbered from 0")
    }

    /// Where a member runs.
    pub(super) fn host_of(&self, member: MemberId) -> Option<usize> {
        let origin = self.log.ledger.member(member)?.origin;
        self.hosts.iter().position(|host| host.origin.host == origin.host)
    }

    /// What the ring would have elsewhere, by this host's ledger.
    pub(super) fn wishes(&mut self, at: usize) -> Vec<Wish> {
        let host = self.host_mut(at);
        if host.wished.0 != host.applied {
            host.wished = (host.applied, host.ledger.wishes());
        }
        host.wished.1.clone()
    }

    pub(super) fn note(&mut self, event: impl FnOnce() -> String) {
        if !self.told {
            return;
        }
        if self.events.len() >= KEPT {
            self.events.drain(..KEPT / 2);
        }
        let now = self.now;
        self.events.push(format!("{now:>6} {}", event()));
    }
}
