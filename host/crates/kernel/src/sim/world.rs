//! One host, its disk, its clocks and whoever asks it: what happens next is drawn from the seed.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::clients::Clients;
use super::disk::Disk;
use super::model::{self, Model};
use super::time::Time;
use super::traffic::Traffic;
use super::{Breach, Broken, Failure, Invariant, SETTINGS, Summary, Verdict, broken, oracle};
use crate::command::{AllocateRequest, Command, CommandError, ExplainedOutcome, Reply, RequestId};
use crate::effects::{Answer, Effects};
use crate::hash::Draws;
use crate::kernel::{Input, Kernel, KernelSettings, Recovery};

/// How many of the last events a failure shows.
const SHOWN: usize = 40;

pub(super) struct World {
    seed: u64,
    breach: Option<Breach>,
    draws: Draws,
    time: Time,
    disk: Disk,
    kernel: Kernel,
    forming: Effects,
    flushing: Option<Effects>,
    model: Model,
    clients: Clients,
    traffic: Traffic,
    asked: BTreeMap<RequestId, Command>,
    next_request: u64,
    events: Vec<String>,
    summary: Summary,
}

impl World {
    pub(super) fn new(seed: u64, breach: Option<Breach>) -> Self {
        let mut draws = Draws::new(seed);
        let time = Time::new();
        let disk = Disk::default();
        let kernel = recovery(seed, breach).finish(time.tick());
        let mut model = Model::default();
        model.clock.start(time.tick(), 0);
        let traffic = Traffic::new(&mut draws);
        Self {
            seed,
            breach,
            draws,
            time,
            disk,
            kernel,
            forming: Effects::default(),
            flushing: None,
            model,
            clients: Clients::default(),
            traffic,
            asked: BTreeMap::new(),
            next_request: 0,
            events: Vec::new(),
            summary: Summary { lives: 1, ..Summary::default() },
        }
    }

    pub(super) fn run(mut self, steps: u64) -> Result<Summary, Box<Failure>> {
        match self.live(steps) {
            Ok(()) => Ok(self.summary),
            Err(Broken { invariant, what }) => {
                let from = self.events.len().saturating_sub(SHOWN);
                let events = self.events.split_off(from);
                let breach = self.breach.map_or_else(String::new, |breach| format!(" --breach {}", breach.name()));
                let flags = format!("--alone --steps {steps}{breach}");
                let (seed, step) = (self.seed, self.summary.steps);
                Err(Box::new(Failure { flags, seed, step, invariant, what, events }))
            }
        }
    }

    fn live(&mut self, steps: u64) -> Verdict {
        for _ in 0..steps {
            self.summary.steps += 1;
            self.one_step()?;
        }
        self.come_to_rest()
    }

    fn one_step(&mut self) -> Verdict {
        match self.draws.below(1_000) {
            0..600 => self.random_request(),
            600..740 => self.hand_over(),
            740..880 => self.flushed(),
            880..955 => {
                let short = [1, 50, 900, 4_000];
                let ms = *self.draws.pick(&short);
                self.pass(ms)
            }
            955..965 => {
                let long = [8_000, 30_000, 70_000, 600_000, 4_000_000];
                let ms = *self.draws.pick(&long);
                self.pass(ms)
            }
            965..970 => {
                let jumps = [-7_200_000, -90_000, -30_000, 20_000, 120_000, 86_400_000];
                let by_ms = *self.draws.pick(&jumps);
                self.note(|| format!("the wall clock jumps by {by_ms} ms"));
                self.time.jump(by_ms);
                self.alarm()
            }
            970..976 => {
                self.note(|| "the wall clock is set right".to_owned());
                self.time.set_right();
                self.alarm()
            }
            976..984 => self.disk_full(),
            984..992 => {
                self.disk.compact(&mut self.draws);
                Ok(())
            }
            _ => self.crash(),
        }
    }

    fn random_request(&mut self) -> Verdict {
        let command = self.traffic.command(&mut self.draws, &self.model);
        if let Command::Allocate(request) = &command
            && self.draws.below(10) == 0
        {
            return self.explained_allocation(request.clone());
        }
        self.request(command).map(|_| ())
    }

    /// Asks what would happen, then lets it happen.
    fn explained_allocation(&mut self, request: Box<AllocateRequest>) -> Verdict {
        let written = self.forming.writes.len();
        let explained = self.request(Command::Explain(request.clone()))?;
        if self.forming.writes.len() != written {
            return broken(Invariant::Explained, "explaining wrote something");
        }
        let answer = self.request(Command::Allocate(request))?;
        let Some((explained, answer)) = explained.zip(answer) else { return Ok(()) };
        let same = match (&explained, &answer) {
            (Ok(Reply::Explained(explained)), answer) => match (&explained.outcome, answer) {
                (ExplainedOutcome::AlreadyHeld { span }, Ok(Reply::Allocated { allocation, created: false, .. }))
                | (ExplainedOutcome::WouldGet { span, .. }, Ok(Reply::Allocated { allocation, created: true, .. })) => {
                    *span == allocation.span || self.model.had_ended_leases()
                }
                (ExplainedOutcome::WouldFail(error), Err(other)) => **error == *other || self.model.had_ended_leases(),
                _ => self.model.had_ended_leases(),
            },
            (Err(error), Err(other)) => error == other,
            _ => false,
        };
        if same { Ok(()) } else { broken(Invariant::Explained, format!("{explained:?} but {answer:?}")) }
    }

    /// Puts one command to the kernel; its answer, if it came at once.
    fn request(&mut self, command: Command) -> Verdict<Option<Result<Reply, CommandError>>> {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.note(|| format!("{id:?} {command:?}"));
        self.clients.ask(&command);
        self.asked.insert(id, command.clone());
        self.step(Input::Request { id, command })?;
        Ok(self.forming.replies.last().filter(|(of, _)| *of == id).map(|(_, answer)| answer.clone()))
    }

    fn step(&mut self, input: Input) -> Verdict {
        let (written, replied) = (self.forming.writes.len(), self.forming.replies.len());
        let tick = self.time.tick();
        if matches!(input, Input::Alarm) {
            self.note(|| format!("alarm at {tick:?}"));
        }
        self.model.begin_step(tick);
        self.kernel.step(tick, input, &mut self.forming);
        let operations = self.forming.writes.get(written..).unwrap_or_default().to_vec();
        self.summary.operations += operations.len() as u64;
        for op in &operations {
            self.note(|| format!("   wrote {op:?}"));
            self.model.apply(op)?;
            self.clients.see(op);
            self.summary.expired += u64::from(model::is_expiry(op));
        }
        let answers: Vec<Answer> = self.forming.replies.get(replied..).unwrap_or_default().to_vec();
        for (id, answer) in &answers {
            self.note(|| format!("   {id:?} answered {answer:?}"));
            let Some(command) = self.asked.get(id) else { continue };
            oracle::judge(&self.model, command, answer, &operations)?;
            if matches!(command, Command::Allocate(_)) {
                self.count(answer);
            }
        }
        self.model.compare(&self.kernel)
    }

    fn count(&mut self, answer: &Result<Reply, CommandError>) {
        match answer {
            Ok(Reply::Allocated { created: true, .. }) => self.summary.allocations += 1,
            Ok(Reply::Allocated { created: false, .. }) => self.summary.repeats += 1,
            Err(CommandError::Exhausted { .. }) => self.summary.exhausted += 1,
            Ok(_) | Err(_) => {}
        }
    }

    /// The forming group goes to the flusher, if that is idle.
    fn hand_over(&mut self) -> Verdict {
        if self.flushing.is_some() || self.forming.is_empty() {
            return Ok(());
        }
        let mut group = std::mem::take(&mut self.forming);
        self.kernel.seal(&mut group);
        if self.breach == Some(Breach::AnswerOnlyAfterFlush) {
            let early = group.replies.clone();
            self.deliver(early)?;
        }
        self.flushing = Some(group);
        Ok(())
    }

    /// The flush is done: now, and only now, somebody hears of it.
    fn flushed(&mut self) -> Verdict {
        let Some(group) = self.flushing.take() else { return Ok(()) };
        self.note(|| format!("flushed {} operations", group.writes_len()));
        let lies = self.breach == Some(Breach::SyncBeforeAnswer) && self.draws.below(3) == 0;
        let disk = &mut self.disk;
        let written = group.persist(|operations| {
            if !lies {
                disk.write(operations);
            }
            Ok::<_, Infallible>(())
        });
        match written {
            Ok(durable) => self.deliver(durable.replies),
            Err(never) => match never {},
        }
    }

    fn deliver(&mut self, replies: Vec<Answer>) -> Verdict {
        let life = self.summary.lives;
        for (id, answer) in replies {
            if let Some(command) = self.asked.remove(&id) {
                self.clients.hear(&command, &answer, life, &self.time)?;
            }
        }
        Ok(())
    }

    fn pass(&mut self, ms: u64) -> Verdict {
        self.note(|| format!("{ms} ms pass"));
        self.time.pass(ms);
        self.alarm()
    }

    /// A few alarms, as many as are due.
    fn alarm(&mut self) -> Verdict {
        for _ in 0..4 {
            if self.kernel.next_alarm().is_none_or(|due_ms| due_ms > self.time.tick().boot_ms) {
                break;
            }
            self.step(Input::Alarm)?;
        }
        Ok(())
    }

    /// Everything that is due happens and is written.
    fn settle(&mut self, ms: u64) -> Verdict {
        self.time.pass(ms);
        for _ in 0..200 {
            self.alarm()?;
            self.hand_over()?;
            self.flushed()?;
        }
        Ok(())
    }

    /// The group in the flusher does not fit. What was stepped since goes too, and the kernel is made from the disk.
    fn disk_full(&mut self) -> Verdict {
        if self.flushing.is_none() {
            return Ok(());
        }
        self.note(|| "the disk is full".to_owned());
        self.lose_unsynced();
        let tick = self.time.tick();
        let mut recovery = self.read_disk();
        recovery.replaces(&self.kernel);
        let model = std::mem::take(&mut self.model).replay_within(self.disk.history(), tick)?;
        self.go_on(recovery.finish(tick), model)
    }

    /// Power goes. Some first part of the group in the flusher may have reached the disk.
    fn crash(&mut self) -> Verdict {
        self.note(|| "crash".to_owned());
        self.lose_unsynced();
        let down = [10, 2_000, 20_000, 5_000_000];
        self.time.pass(*self.draws.pick(&down));
        match self.draws.below(6) {
            0 => self.time.jump(-3_600_000),
            1 => self.time.jump(40_000),
            2 => self.time.set_right(),
            _ => {}
        }
        self.time.reboot();
        self.start()
    }

    fn lose_unsynced(&mut self) {
        let draws = &mut self.draws;
        if let Some(group) = self.flushing.take() {
            let reached = draws.index(group.writes_len() + 1);
            let disk = &mut self.disk;
            let written = group.persist(|mut operations| {
                operations.truncate(reached);
                disk.write(operations);
                Ok::<_, Infallible>(())
            });
            if let Err(never) = written {
                match never {}
            }
        }
        self.forming = Effects::default();
        self.asked.clear();
    }

    /// A new life, from what is on the disk.
    fn start(&mut self) -> Verdict {
        self.summary.lives += 1;
        let tick = self.time.tick();
        self.note(|| format!("starts at {tick:?}"));
        let kernel = self.read_disk().finish(tick);
        let model = Model::replay(self.disk.history(), tick)?;
        self.go_on(kernel, model)
    }

    fn read_disk(&mut self) -> Recovery {
        let mut recovery = recovery(self.seed, self.breach);
        self.disk.read(&mut self.draws, &mut recovery);
        recovery
    }

    /// With a kernel that was made from the disk.
    fn go_on(&mut self, kernel: Kernel, model: Model) -> Verdict {
        (self.kernel, self.model) = (kernel, model);
        self.clients.restart();
        if let Some(fault) = self.kernel.faults().first() {
            return broken(Invariant::Kept, format!("the log contradicts itself: {fault:?}"));
        }
        self.model.compare(&self.kernel)?;
        self.check_kept()
    }

    /// I2 and I5: whoever was answered asks again and gets the same, unless his lease is over by now.
    fn check_kept(&mut self) -> Verdict {
        self.model.begin_step(self.time.tick());
        for (request, span) in self.clients.repeats() {
            let lease = self.model.ground.held_by(request.pool, &request.subscriber, request.key.as_ref());
            if lease.is_some_and(|lease| self.model.over(lease)) {
                continue;
            }
            let what = format!("{:?} was answered {span:?}", request.subscriber);
            match self.request(Command::Allocate(Box::new(request)))? {
                Some(Ok(Reply::Allocated { allocation, created: false, .. })) if allocation.span == span => {}
                other => return broken(Invariant::Kept, format!("{what}, after the restart {other:?}")),
            }
        }
        Ok(())
    }

    /// No more faults: everything due happens, everybody is answered, what was answered is there.
    fn come_to_rest(&mut self) -> Verdict {
        self.time.set_right();
        for _ in 0..3 {
            self.crash()?;
            self.time.set_right();
            self.settle(10_000)?;
            self.settle(100_000)?;
            if !self.asked.is_empty() {
                return broken(Invariant::Kept, format!("nobody answers {:?}", self.asked));
            }
        }
        self.model.nothing_overdue(self.time.tick(), &self.kernel)?;
        self.check_kept()
    }

    fn note(&mut self, event: impl FnOnce() -> String) {
        // Only the last are shown; the rest is dropped now and then.
        if self.events.len() > 50 * SHOWN {
            self.events.drain(..40 * SHOWN);
        }
        self.events.push(event());
    }
}

fn recovery(seed: u64, breach: Option<Breach>) -> Recovery {
    let recovery = Recovery::new(KernelSettings { seed, ..SETTINGS });
    match breach {
        Some(Breach::Kernel(rule)) => recovery.breaking(rule),
        Some(Breach::AnswerOnlyAfterFlush | Breach::SyncBeforeAnswer) | None => recovery,
    }
}
