//! The simulator: many lives of one host from one seed. Random commands over pools of several kinds, a disk that loses what
//! was not synced, fills up and fails, clocks that jump, crashes at any point.
//!
//! What is true is known twice, and neither time from the kernel: `model` replays the facts naively, grain by grain, and
//! judges each step and each answer by them; `clients` knows only what was answered, as a subscriber would. A failure
//! names the invariant and the seed, and one command that replays it.

mod clients;
pub mod cluster;
mod disk;
mod model;
mod oracle;
mod time;
mod traffic;
mod world;

use std::fmt;

use crate::kernel::KernelSettings;
use crate::rules::Rule;
use world::World;

/// A named promise; see `PROTOCOL.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// I1: no two live allocations in one realm of one type intersect.
    Unique,
    /// I2: what was answered is there after any crash.
    Kept,
    /// I3: at most one host hands out from a shard.
    Owned,
    /// I4: once everything was heard, all hosts know the same.
    Equal,
    /// I5: a repeat changes nothing but the lease and gets the same answer.
    Idempotent,
    /// I6: every grain is counted once, and `exhausted` is said only when nothing is left.
    Accounted,
    /// A released span rests before somebody else gets it.
    HoldDown,
    /// A lease ends when it should and not before, whatever the wall clock does.
    Lease,
    /// A reserved span goes to its own subscriber only.
    Reserved,
    /// Operations are numbered without gaps and their stamps never go back.
    Log,
    /// `explain` says what would happen.
    Explained,
    /// Once nothing goes wrong any more, everybody is served again.
    Served,
}

/// What may be broken on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A rule of the kernel.
    Kernel(Rule),
    /// Answers leave before their records are on disk.
    AnswerOnlyAfterFlush,
    /// The disk says that records are synced when they are not.
    SyncBeforeAnswer,
}

impl Breach {
    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> {
        Rule::ALL.into_iter().map(Self::Kernel).chain([Self::AnswerOnlyAfterFlush, Self::SyncBeforeAnswer])
    }

    /// How it is called on a command line.
    pub fn name(self) -> String {
        match self {
            Self::Kernel(rule) => format!("{rule:?}"),
            Self::AnswerOnlyAfterFlush | Self::SyncBeforeAnswer => format!("{self:?}"),
        }
    }
}

/// What a seed did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub steps: u64,
    pub lives: u64,
    pub operations: u64,
    pub allocations: u64,
    pub repeats: u64,
    pub exhausted: u64,
    pub expired: u64,
}

impl Summary {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.lives += other.lives;
        self.operations += other.operations;
        self.allocations += other.allocations;
        self.repeats += other.repeats;
        self.exhausted += other.exhausted;
        self.expired += other.expired;
    }
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What its replay needs beside the seed: which simulator, for how long, in which weather, without which rule.
    pub flags: String,
    pub seed: u64,
    pub step: u64,
    pub invariant: Invariant,
    pub what: String,
    /// What happened last.
    pub events: Vec<String>,
}

/// How many of the last events are shown unless told otherwise.
const SHOWN: usize = 60;

impl Failure {
    /// With so many of the last events.
    pub fn told(&self, most: usize) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| self.tell(most, f))
    }

    fn tell(&self, most: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in self.events.iter().skip(self.events.len().saturating_sub(most)) {
            writeln!(f, "  {event}")?;
        }
        writeln!(f, "seed {} step {}: {:?} is broken: {}", self.seed, self.step, self.invariant, self.what)?;
        write!(f, "replay: cargo xtask sim {} --seeds 1 --from {}", self.flags, self.seed)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(SHOWN, f)
    }
}

impl std::error::Error for Failure {}

/// A broken promise, before the world adds where and when.
#[derive(Debug)]
struct Broken {
    invariant: Invariant,
    what: String,
}

type Verdict<T = ()> = Result<T, Broken>;

fn broken<T>(invariant: Invariant, what: impl Into<String>) -> Verdict<T> {
    Err(Broken { invariant, what: what.into() })
}

/// How many steps a life takes unless told otherwise; a replay must take as many.
pub const STEPS: u64 = 300;

/// Lives one seed through.
pub fn run(seed: u64, steps: u64) -> Result<Summary, Box<Failure>> {
    World::new(seed, None).run(steps)
}

/// The same with one rule broken.
pub fn run_breaking(seed: u64, steps: u64, breach: Breach) -> Result<Summary, Box<Failure>> {
    World::new(seed, Some(breach)).run(steps)
}

const SETTINGS: KernelSettings =
    KernelSettings { seed: 0, restart_grace_ms: 5_000, clock_tolerance_ms: 60_000, lease_slack_ms: 0, cluster: None };
