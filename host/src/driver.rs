//! The kernel's thread and the flusher: nothing is said before it is written.
//!
//! The kernel's thread takes commands from the bounded queue, up to [`TURN`] a turn, and steps the kernel; their effects
//! gather in one group. As soon as the flusher is idle it gets the group: it names the new allocations, makes the records
//! durable, shows them in the read view, and only then answers. While it does, the next group forms. In a cluster the
//! courier sends the answers: once more it looks whether this host still decides, and some wait for another host.
//!
//! A group that does not fit on the disk is refused, and once there is space the kernel is made again from what is on
//! the disk; any other failure to write ends the process, because then nobody knows what is there.

mod courier;
mod flusher;
mod group;
mod recovery;
mod standing;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::engine::{EngineError, Inbox, Job, Waker};
use api::ports::ResourceTypes;
use kernel::{Command, Effects, Input, Kernel, KernelSettings, Leg, RequestId, Seq};
use store::{Reader, Store, StoreError};
use view::View;

use crate::clock;
use crate::restored::Restored;
use crate::threads::Essential;
use crate::vitals::Vitals;
pub(crate) use courier::{ACK_WITHIN, Courier, Parcel};
use flusher::Flusher;
use group::{Group, Waiter, refuse};
pub(crate) use recovery::{Damaged, Recovered, empty_view, recover};
pub(crate) use standing::Standing;

/// Commands stepped before the flusher and the alarm are looked at again.
const TURN: usize = 256;

/// Operations in one group, unless a single job has more; a fuller one waits for the flusher.
const GROUP: usize = 4_096;

/// Operations in one group before the alarm waits for the next: what is due goes in slices, so that requests never wait
/// for more than two of them.
const SLICES: usize = 256;

/// Between two slices while requests come: a million leases that end at once take some seconds longer, and leave the
/// processor to who waits. Look-ups hide what is over by themselves, and who needs the space gets its slice first.
const SLICE_EVERY_MS: u64 = 2;

/// How often free disk is looked at, and the longest an idle thread sleeps.
const PULSE: Duration = Duration::from_secs(1);

/// What the driver is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) reader: Reader,
    pub(crate) view: Arc<View>,
    pub(crate) types: Arc<dyn ResourceTypes>,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) settings: KernelSettings,
    pub(crate) min_free_bytes: u64,
    pub(crate) log_file_bytes: u64,
    pub(crate) damaged: Damaged,
    /// `None`: this host is alone.
    pub(crate) courier: Option<Courier>,
    /// What is quarantined after a restore.
    pub(crate) restored: Arc<Restored>,
}

/// The kernel's and the flusher's thread.
#[derive(Debug)]
pub(crate) struct Driver {
    kernel: Essential,
}

impl Driver {
    /// Starts both threads. They end when every [`api::engine::Engine`] is dropped and the last group is written.
    pub(crate) fn start(parts: Parts, kernel: Kernel, inbox: Inbox, waker: Waker) -> std::io::Result<Self> {
        let kernel = Essential::start("kernel", move || Loop::new(parts, kernel, waker).run(&inbox))?;
        Ok(Self { kernel })
    }

    /// Waits until both threads have ended.
    pub(crate) fn join(self) {
        self.kernel.join();
    }
}

/// What the flusher says of a group.
type Flushed = Result<(), StoreError>;

struct Loop {
    parts: Parts,
    kernel: Kernel,
    effects: Effects,
    waiters: Vec<Waiter>,
    next_request: u64,
    groups: SyncSender<Group>,
    flushed: Receiver<Flushed>,
    flusher: Essential,
    flusher_idle: bool,
    /// The last conflict between hosts that the daemon's log was told of.
    conflicts_told: Seq,
    pulse_due_ms: u64,
    next_slice_ms: u64,
    /// A command came since the last slice.
    requested: bool,
    free_bytes: u64,
    /// Set from a full disk until the store could be opened again; everything is refused meanwhile.
    failed: Option<EngineError>,
}

impl Loop {
    fn new(mut parts: Parts, kernel: Kernel, waker: Waker) -> Self {
        let (groups, taken) = sync_channel(1);
        let (done, outcome) = sync_channel(1);
        let courier = parts.courier.take();
        let working = Flusher::new(&parts, courier, waker);
        let flusher = Essential::start("flusher", move || working.run(&taken, &done));
        let flusher = flusher.expect("the daemon may start a thread");
        let conflicts_told = last_conflict(&kernel);
        Self {
            parts,
            kernel,
            effects: Effects::default(),
            waiters: Vec::new(),
            next_request: 0,
            groups,
            flushed: outcome,
            flusher,
            flusher_idle: true,
            conflicts_told,
            pulse_due_ms: 0,
            next_slice_ms: 0,
            requested: false,
            free_bytes: u64::MAX,
            failed: None,
        }
    }

    fn run(mut self, inbox: &Inbox) {
        loop {
            match inbox.wait(self.patience()) {
                Ok(job) => self.turn(job, inbox),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.take_flushed();
            self.alarm();
            self.pulse();
            self.hand_over();
        }
        while !self.effects.is_empty() || !self.flusher_idle {
            self.await_flushed();
            self.hand_over();
        }
        let Self { groups, flusher, .. } = self;
        drop(groups);
        flusher.join();
    }

    /// How long the thread may sleep: until the next alarm, at most a pulse. An alarm that cannot be heard now is no
    /// reason to wake: the flusher wakes the thread when it is done, a job when it comes.
    fn patience(&self) -> Duration {
        if self.failed.is_some() || self.effects.writes_len() >= SLICES {
            return PULSE;
        }
        let alarm = self.alarm_due_ms().saturating_sub(clock::boot_ms());
        Duration::from_millis(alarm).min(PULSE)
    }

    /// Steps the first job's commands and what else has arrived, up to a turn.
    fn turn(&mut self, first: Option<Job>, inbox: &Inbox) {
        let mut stepped = 0;
        let mut next = first;
        loop {
            if let Some(job) = next.take() {
                stepped += job.commands.len();
                self.accept(job);
            }
            if stepped >= TURN {
                return;
            }
            match inbox.next() {
                Ok(job) => next = job,
                // Empty, or everybody is gone: the outer loop will see it.
                Err(_) => return,
            }
        }
    }

    fn accept(&mut self, job: Job) {
        if self.effects.writes_len() + job.commands.len() > GROUP && !self.effects.is_empty() {
            self.await_flushed();
            self.hand_over();
        }
        self.requested = true;
        let now = clock::tick();
        let first = RequestId(self.next_request);
        let mut waiter = Waiter::new(first, job.commands.len(), job.answer);
        for command in job.commands {
            let id = RequestId(self.next_request);
            self.next_request += 1;
            match self.refusal(Leg::Entry, &command) {
                Some(error) => waiter.answer(id, Err(error)),
                None => self.kernel.step(now, Input::Request { id, command }, &mut self.effects),
            }
        }
        for (id, detour) in self.effects.take_detours(first) {
            waiter.answer(id, Ok(Err(detour)));
        }
        self.waiters.extend(waiter.unless_done());
    }

    /// What the disk does not allow now, before the kernel sees it.
    fn refusal(&self, leg: Leg, command: &Command) -> Option<EngineError> {
        if self.failed.is_some() {
            return self.failed.clone();
        }
        let damaged = &self.parts.damaged;
        let short = self.free_bytes < self.parts.min_free_bytes;
        if short
            && let (Leg::Entry | Leg::Owner, Command::Allocate(request)) = (leg, command)
            && self.kernel.goes_elsewhere(request)
        {
            // Its disk is another host's.
            return None;
        }
        let why = match command {
            Command::Allocate(request) => damaged.why(request.pool),
            Command::Reserve(request) => damaged.why(request.pool),
            Command::CreatePool(_) => damaged.why_no_space(),
            Command::PutNote(_) | Command::CloseConflict(_) => None,
            // Small, and what an operator frees space with; but it may add spans.
            Command::UpdatePool { .. } => {
                return damaged.why_no_space().map(|why| EngineError::Damaged(why.to_owned()));
            }
            Command::CheckPool(_)
            | Command::DeletePool { .. }
            | Command::Explain(_)
            | Command::Renew { .. }
            | Command::Release(_)
            | Command::Unreserve { .. }
            // What others wrote and the ledger decided is true whether there is space or not.
            | Command::News(_) => return None,
            Command::Relayed { leg, command } => return self.refusal(*leg, command),
        };
        if short {
            let min_bytes = self.parts.min_free_bytes;
            return Some(EngineError::StorageFull { free_bytes: self.free_bytes, min_bytes });
        }
        why.map(|why| EngineError::Damaged(why.to_owned()))
    }

    fn alarm(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let now = clock::tick();
        if self.alarm_due_ms() <= now.boot_ms && self.effects.writes_len() < SLICES {
            self.kernel.step(now, Input::Alarm, &mut self.effects);
            let requested = std::mem::take(&mut self.requested);
            self.next_slice_ms = now.boot_ms + if requested { SLICE_EVERY_MS } else { 0 };
        }
    }

    fn alarm_due_ms(&self) -> u64 {
        self.kernel.next_alarm().unwrap_or(u64::MAX).max(self.next_slice_ms)
    }

    fn pulse(&mut self) {
        let now_ms = clock::boot_ms();
        if now_ms < self.pulse_due_ms {
            return;
        }
        self.pulse_due_ms = now_ms + u64::try_from(PULSE.as_millis()).unwrap_or(u64::MAX);
        match self.parts.reader.usage() {
            Ok(usage) => {
                self.free_bytes = usage.free_bytes;
                self.parts.vitals.disk(usage.free_bytes, self.parts.min_free_bytes);
            }
            Err(error) => tracing::warn!(error = %error, "free disk space is unknown"),
        }
        if self.failed.is_some() && self.flusher_idle && self.has_room() {
            self.start_again();
        }
    }

    /// Whether it is worth making everything anew. The first group needs a new file of the log: with less room than for
    /// that one and the next, the disk would be full again at once.
    fn has_room(&self) -> bool {
        self.free_bytes >= self.parts.min_free_bytes.max(self.parts.log_file_bytes.saturating_mul(2))
    }

    /// Gives the flusher the group if it is idle and there is one.
    fn hand_over(&mut self) {
        if !self.flusher_idle || (self.effects.is_empty() && self.waiters.is_empty()) {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        self.kernel.seal(&mut effects);
        let mut told = self.conflicts_told;
        for (place, conflict) in self.kernel.conflicts().iter().filter(|(place, _)| *place > self.conflicts_told) {
            let heard = &conflict.heard;
            tracing::error!(
                pool = %heard.pool, span = ?heard.span, subscriber = %heard.subscriber,
                host = format_args!("{:016x}", conflict.from.origin.host),
                "another host handed out what is held here by somebody else: release one of the two"
            );
            told = place;
        }
        self.conflicts_told = told;
        let lease_clock = self.kernel.lease_clock();
        let group = Group { effects, waiters: std::mem::take(&mut self.waiters), lease_clock };
        self.flusher_idle = false;
        // The flusher was idle, so its one place is free; it ends only after this sender is dropped.
        self.groups.send(group).expect("the flusher outlives the kernel's thread");
    }

    fn take_flushed(&mut self) {
        if let Ok(flushed) = self.flushed.try_recv() {
            self.after(flushed);
        }
    }

    fn await_flushed(&mut self) {
        if !self.flusher_idle
            && let Ok(flushed) = self.flushed.recv()
        {
            self.after(flushed);
        }
    }

    fn after(&mut self, flushed: Flushed) {
        self.flusher_idle = true;
        let Err(error) = flushed else { return };
        if !error.is_full() {
            tracing::error!(error = %error, "records could not be made durable; what is on the disk is unknown, so the daemon ends");
            // Nothing may be answered or written any more, not even by destructors.
            std::process::exit(crate::EXIT_STORAGE);
        }
        tracing::error!(error = %error, "the disk is full: the group is refused, look-ups go on");
        self.parts.vitals.storage_failed(true);
        self.effects = Effects::default();
        let failed = EngineError::Storage(error.to_string());
        refuse(std::mem::take(&mut self.waiters), &failed);
        self.failed = Some(failed);
    }

    /// Once there is space the store opens again, and the kernel is made again from what is on the disk.
    fn start_again(&mut self) {
        match recovery::rebuild(&self.parts, &self.kernel) {
            Ok(recovery::Recovered { kernel, damaged }) => {
                self.kernel = kernel;
                self.conflicts_told = last_conflict(&self.kernel);
                self.parts.vitals.rebuilt();
                self.failed = None;
                // What the lost groups had to say of the clocks was not said.
                self.parts.vitals.clock_suspect(self.kernel.clocks_apart_ms());
                self.parts.vitals.damaged(damaged.clone());
                self.parts.damaged = damaged;
                self.parts.vitals.storage_failed(false);
                tracing::info!("the store is open again, the kernel is what is on the disk");
            }
            Err(error) if error.is_full() => {}
            Err(error) => {
                tracing::error!(error = %error, "the store could not be opened again");
                std::process::exit(crate::EXIT_STORAGE);
            }
        }
    }
}

fn last_conflict(kernel: &Kernel) -> Seq {
    kernel.conflicts().iter().next_back().map_or(Seq(0), |(place, _)| place)
}
