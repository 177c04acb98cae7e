//! One host: a kernel, its disk, its clocks, and what its driver remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::Breach;
use super::arrival::Arrival;
use super::follow::Told;
use super::govern::Watch;
use super::log::Pending;
use super::net::Vector;
use super::route::{Task, Trouble, Whose};
use super::world::{Event, SETTINGS, SLACK_MS, World};
use crate::command::{Command, CommandError, Reply, RequestId};
use crate::digest::Digest;
use crate::effects::Effects;
use crate::fact::{Fact, Op};
use crate::hash::Draws;
use crate::id::{CommandId, Epoch, MemberId, Origin, PoolUid, RealmUid, Revision, Seq, ShardId, Tick};
use crate::kernel::{Input, Kernel, KernelSettings, Recovery};
use crate::ledger::{Ledger, Offer, Quarantines, Wish};
use crate::replica::{NamedRealm, Names};
use crate::sim::disk::Disk;
use crate::sim::{Invariant, Verdict, broken};
use crate::standing::Standing;

/// Unix milliseconds when the simulation begins.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// Of which shard in which term it is, and whose word.
pub(super) type Owed = (PoolUid, ShardId, Epoch, Origin);

/// Who waits for an answer of the kernel.
#[derive(Clone, Debug)]
pub(super) enum Waits {
    Task(u64),
    /// These shards of the pool are kept now.
    Kept(PoolUid, u64, BTreeSet<ShardId>),
    Heard,
    /// The kernel knows the list of members as it is up to this entry of the ledger.
    Listed(u64),
    Nobody,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) origin: Origin,
    pub(super) member: Option<MemberId>,
    /// Counts the processes this host has had.
    pub(super) life: u64,
    /// `None`: down.
    pub(super) kernel: Option<Kernel>,
    pub(super) gone: bool,
    /// Its disk is an older state of itself.
    pub(super) old: bool,
    /// Who it was with disks that are lost.
    pub(super) former: Vec<Origin>,
    pub(super) arrival: Arrival,
    pub(super) quarantines: Quarantines,
    pub(super) sleeps_until: u64,
    clock: HostClock,
    // What is durable.
    disk: Disk,
    /// Operations by who wrote them.
    pub(super) runs: BTreeMap<Origin, Vec<Op>>,
    realms: BTreeMap<RealmUid, NamedRealm>,
    pub(super) committed: Seq,
    /// What its last process knew as it ended, if all that it had said was on the disk.
    left: Option<Digest>,
    pub(super) stopped: BTreeMap<(PoolUid, ShardId), Epoch>,
    pub(super) ledger: Ledger,
    pub(super) applied: usize,
    // What a crash takes away.
    standing: Standing,
    pub(super) forming: Effects,
    flushing: Option<Effects>,
    pub(super) waiting: BTreeMap<RequestId, Waits>,
    pub(super) tasks: BTreeMap<u64, Task>,
    pub(super) flights: BTreeSet<Whose>,
    pub(super) told: Told,
    pub(super) heard: Vector,
    /// Up to which entry of the ledger the kernel was told the list of members, and has on the disk what it took in before.
    pub(super) listed: u64,
    pub(super) published: Seq,
    pub(super) kept: BTreeMap<PoolUid, BTreeSet<ShardId>>,
    pub(super) pending: BTreeMap<CommandId, Pending>,
    /// What is offered once the kernel has stopped, and until when it waits for that.
    pub(super) offer: Option<(Offer, u64)>,
    pub(super) renew_at: u64,
    /// The end of its last node lease, by the boot clock of the process that got it.
    pub(super) leased_until: u64,
    pub(super) pull_at: u64,
    pub(super) watched: BTreeMap<MemberId, Watch>,
    pub(super) seen: BTreeMap<MemberId, (u64, Vector)>,
    /// By the ledger up to an entry.
    pub(super) wished: (usize, Vec<Wish>),
    /// What former owners said their last words were.
    pub(super) owed: BTreeMap<Owed, Seq>,
}

/// Real time as this host's clocks show it.
#[derive(Debug)]
struct HostClock {
    /// Parts in a million that the clocks run fast.
    rate: i64,
    booted_at: u64,
    wall_error: i64,
    off: bool,
}

impl HostClock {
    fn shown(&self, passed: u64) -> u64 {
        let drift = i64::try_from(passed).unwrap_or(i64::MAX) / 1_000 * self.rate / 1_000;
        passed.saturating_add_signed(drift)
    }

    fn tick(&self, now: u64) -> Tick {
        let boot_ms = 1_000 + self.shown(now - self.booted_at);
        Tick { boot_ms, wall_ms: (BEGIN_MS + self.shown(now)).saturating_add_signed(self.wall_error) }
    }
}

impl Host {
    pub(super) fn new(at: usize, ledger: Ledger, rate: i64) -> Self {
        let origin = Origin { host: (at as u64 + 1) * 1_000, incarnation: 0 };
        Self {
            origin,
            member: None,
            life: 0,
            kernel: None,
            gone: false,
            old: false,
            former: Vec::new(),
            arrival: Arrival::default(),
            quarantines: Quarantines::new(SLACK_MS),
            sleeps_until: 0,
            clock: HostClock { rate, booted_at: 0, wall_error: 0, off: false },
            disk: Disk::default(),
            runs: BTreeMap::new(),
            realms: BTreeMap::new(),
            committed: Seq(0),
            left: None,
            stopped: BTreeMap::new(),
            ledger,
            applied: 0,
            standing: Standing::default(),
            forming: Effects::default(),
            flushing: None,
            waiting: BTreeMap::new(),
            tasks: BTreeMap::new(),
            flights: BTreeSet::new(),
            told: Told::default(),
            heard: Vector::new(),
            listed: 0,
            published: Seq(0),
            kept: BTreeMap::new(),
            pending: BTreeMap::new(),
            offer: None,
            renew_at: 0,
            leased_until: 0,
            pull_at: 0,
            watched: BTreeMap::new(),
            seen: BTreeMap::new(),
            wished: (0, Vec::new()),
            owed: BTreeMap::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.kernel.is_some()
    }

    pub(super) fn is_awake(&self, now: u64) -> bool {
        self.is_up() && self.sleeps_until <= now
    }

    pub(super) fn tick(&self, now: u64) -> Tick {
        self.clock.tick(now)
    }

    pub(super) fn set_wall_error(&mut self, error_ms: i64) {
        self.clock.wall_error = error_ms;
    }

    /// This life began with a clock that is too far from the others'.
    pub(super) fn set_clock_off(&mut self, off: bool) {
        self.clock.off = off;
    }

    pub(super) const fn clock_is_off(&self) -> bool {
        self.clock.off
    }

    /// The kept clock, or the wall clock, if it shows what the others' do.
    pub(super) fn agreed_offset_ms(&self, now: u64) -> Option<i64> {
        let Tick { boot_ms, wall_ms } = self.tick(now);
        let (kept_ms, _) = self.kernel.as_ref()?.lease_clock();
        let wall_ms = wall_ms.cast_signed() - boot_ms.cast_signed();
        let shows = |offset: &i64| boot_ms.saturating_add_signed(*offset).abs_diff(BEGIN_MS + now) <= SLACK_MS;
        [kept_ms, wall_ms].into_iter().find(shows)
    }

    /// How far this host's copy reaches of each log, its own among them.
    pub(super) fn vector(&self) -> Vector {
        let mut vector = self.heard.clone();
        vector.insert(self.origin, self.committed);
        vector
    }

    fn write(&mut self, ops: Vec<Op>) {
        for op in &ops {
            self.committed = op.seq;
            if let Fact::Realm(realm) = &op.fact {
                self.realms.insert(realm.uid, (realm.tenant.clone(), realm.name.clone()));
            }
            let whose = op.from.map_or(self.origin, |from| from.origin);
            // What follows from a pool's record is in nobody's log.
            if op.from.is_none_or(|from| from.seq > Seq(0)) {
                self.runs.entry(whose).or_default().push(op.clone());
            }
        }
        self.disk.write(ops);
    }

    /// What was written last was never written.
    pub(super) fn forget_after(&mut self, last: Seq) {
        self.left = None;
        self.disk.forget_after(last);
        self.committed = last;
        for ops in self.runs.values_mut() {
            ops.retain(|op| op.seq <= last);
        }
    }

    /// The same machine with an empty disk: another life of its log.
    pub(super) fn renew(&mut self, ledger: Ledger) {
        let incarnation = self.origin.incarnation + 1;
        let mut new = Self::new(0, ledger, self.clock.rate);
        new.origin = Origin { incarnation, ..self.origin };
        new.former = std::mem::take(&mut self.former);
        new.former.push(self.origin);
        new.life = self.life;
        *self = new;
    }

    /// The process ends; what was being written is on the disk or not: a group is one frame of the log.
    pub(super) fn crash(&mut self, draws: &mut Draws) {
        let all_said = self.flushing.is_none() && self.forming.writes_len() == 0;
        self.left = self.kernel.as_ref().filter(|_| all_said).map(Kernel::digest_anew);
        if let Some(group) = self.flushing.take() {
            let reached = draws.index(2) == 1;
            let persisted = group.persist(|ops| {
                if reached {
                    self.write(ops);
                }
                Ok::<_, Infallible>(())
            });
            match persisted {
                Ok(_) => {}
                Err(never) => match never {},
            }
        }
        self.kernel = None;
        self.standing = Standing::default();
        self.forming = Effects::default();
        self.waiting.clear();
        self.tasks.clear();
        self.flights.clear();
        (self.told, self.listed) = (Told::default(), 0);
        self.kept.clear();
        self.pending.clear();
        self.offer = None;
        self.watched.clear();
        self.seen.clear();
        self.owed.clear();
        self.quarantines = Quarantines::new(SLACK_MS);
        self.arrival.ends();
        if !draws.one_in(4) {
            self.disk.compact(draws);
        }
    }

    /// A new process, with what is on the disk.
    pub(super) fn start(&mut self, seed: u64, now: u64, breach: Option<Breach>, draws: &mut Draws) -> Verdict {
        self.life += 1;
        self.clock.booted_at = now;
        let recovery = self.recovery(seed, breach);
        self.published = self.committed;
        self.begin(recovery, now, draws)?;
        let found = self.kernel.as_ref().map(Kernel::digest_anew);
        if self.left.take().is_some_and(|left| found != Some(left)) {
            return broken(Invariant::Kept, "what is on the disk is not what the process knew as it ended".to_owned());
        }
        Ok(())
    }

    /// The disk refused a group: neither it nor the one that forms was ever said. The process lives on with a kernel that is
    /// made of what is on the disk. Gives who waited.
    fn start_again(&mut self, seed: u64, now: u64, breach: Option<Breach>, draws: &mut Draws) -> Verdict<Vec<Waits>> {
        let mut recovery = self.recovery(seed, breach);
        if let Some(former) = self.kernel.take() {
            recovery.replaces(&former);
        }
        self.flushing = None;
        self.forming = Effects::default();
        (self.told, self.listed) = (Told::default(), 0);
        self.kept.clear();
        self.offer = None;
        let waited = std::mem::take(&mut self.waiting).into_values().collect();
        self.begin(recovery, now, draws)?;
        Ok(waited)
    }

    fn recovery(&self, seed: u64, breach: Option<Breach>) -> Recovery {
        let settings = KernelSettings { seed: seed ^ self.life, cluster: Some(self.origin), ..SETTINGS };
        let recovery = Recovery::new(settings);
        if let Some(Breach::Kernel(rule)) = breach { recovery.breaking(rule) } else { recovery }
    }

    fn begin(&mut self, mut recovery: Recovery, now: u64, draws: &mut Draws) -> Verdict {
        self.disk.read(draws, &mut recovery);
        let kernel = recovery.finish(self.tick(now));
        if let Some(fault) = kernel.faults().first() {
            return broken(Invariant::Kept, format!("the log contradicts itself: {fault:?}"));
        }
        self.heard.clone_from(kernel.heard());
        (self.renew_at, self.pull_at) = (now, now);
        self.kernel = Some(kernel);
        Ok(())
    }
}

impl Names for Host {
    fn realm(&self, uid: RealmUid) -> Option<NamedRealm> {
        self.realms.get(&uid).cloned()
    }

    fn revision(&self, pool: PoolUid) -> Option<Revision> {
        self.ledger.pool(pool).map(|found| found.record.revision)
    }
}

impl World {
    /// Puts one command to a host's kernel.
    pub(super) fn put(&mut self, at: usize, command: Command, waits: Waits) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let now = self.now;
        self.note(|| format!("host {at} {id:?} {command:?}"));
        let host = self.host_mut(at);
        let tick = host.tick(now);
        let Some(kernel) = &mut host.kernel else { return };
        if let Command::News(news) = &command {
            // Before the kernel knows: what it decided in a term that is over must not be answered.
            host.standing.hear(news);
        }
        host.waiting.insert(id, waits);
        kernel.step(tick, Input::Request { id, command }, &mut host.forming);
        self.touched = true;
        self.hand_over(at);
    }

    /// Whatever is due at a host by itself.
    pub(super) fn alarms(&mut self, at: usize) {
        let now = self.now;
        for _ in 0..4 {
            let host = self.host_mut(at);
            let tick = host.tick(now);
            let Some(kernel) = &mut host.kernel else { return };
            if kernel.next_alarm().is_none_or(|due_ms| due_ms > tick.boot_ms) {
                break;
            }
            kernel.step(tick, Input::Alarm, &mut host.forming);
            self.touched = true;
        }
        self.hand_over(at);
    }

    fn hand_over(&mut self, at: usize) {
        let host = self.host_mut(at);
        let Some(kernel) = &mut host.kernel else { return };
        if host.flushing.is_some() || host.forming.is_empty() {
            return;
        }
        let mut group = std::mem::take(&mut host.forming);
        kernel.seal(&mut group);
        host.flushing = Some(group);
        let life = host.life;
        let slow = !self.net.calm && self.draws.one_in(if self.weather.slows_disks() { 2 } else { 30 });
        let delay = if slow { 50 + self.draws.below(400) } else { 1 + self.draws.below(4) };
        self.after(delay, Event::Flushed { at, life });
    }

    /// What became of a group: the disk is full or fails now and then.
    pub(super) fn written(&mut self, at: usize) -> Verdict {
        if self.net.calm || !self.draws.one_in(250) {
            self.flushed(at);
            return Ok(());
        }
        self.note(|| format!("the disk of host {at} refuses a group"));
        self.summary.refused_groups += 1;
        let (seed, now, breach) = (self.seed, self.now, self.breach);
        let Some(host) = self.hosts.get_mut(at) else { return Ok(()) };
        let waited = host.start_again(seed, now, breach, &mut self.draws)?;
        self.touched = true;
        for waits in waited {
            if let Waits::Task(task) = waits {
                self.outcome(at, task, Err(Trouble::Unreachable));
            }
        }
        self.wake_soon(at);
        Ok(())
    }

    /// The group is on the disk: now its answers may be heard.
    fn flushed(&mut self, at: usize) {
        let host = self.host_mut(at);
        let Some(group) = host.flushing.take() else { return };
        let persisted = group.persist(|ops| {
            host.write(ops);
            Ok::<_, Infallible>(())
        });
        let durable = match persisted {
            Ok(durable) => durable,
            Err(never) => match never {},
        };
        self.publish(at);
        for (id, answer) in durable.replies {
            let waits = self.host_mut(at).waiting.remove(&id);
            self.note(|| format!("host {at} {id:?} is answered {answer:?}"));
            self.answered(at, waits, answer);
        }
        self.hand_over(at);
    }

    /// As the real host does it looks again whether it still decides what it answers.
    fn stands(&self, at: usize, reply: &Reply) -> bool {
        let host = self.host(at);
        self.breaks(Breach::Recheck) || host.standing.stands(reply, host.tick(self.now).boot_ms)
    }

    fn answered(&mut self, at: usize, waits: Option<Waits>, answer: Result<Reply, CommandError>) {
        match waits {
            Some(Waits::Task(task)) if answer.as_ref().is_ok_and(|reply| !self.stands(at, reply)) => {
                self.note(|| format!("host {at} does not give that answer: its term is over"));
                self.summary.withdrawn += 1;
                self.outcome(at, task, Err(Trouble::OwnerChanged));
            }
            Some(Waits::Task(task)) => self.outcome(at, task, answer.map_err(Trouble::Refused)),
            Some(Waits::Kept(pool, round, shards)) => {
                let host = self.host_mut(at);
                if host.told.last.get(&pool) == Some(&round) {
                    host.kept.insert(pool, shards);
                    host.told.durable.insert(pool, round);
                    self.wake_soon(at);
                }
            }
            Some(Waits::Heard) => self.learnt(at, &answer),
            Some(Waits::Listed(told)) => self.host_mut(at).listed = told,
            Some(Waits::Nobody) | None => {}
        }
    }
}
