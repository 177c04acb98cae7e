//! The simulator of a cluster: several kernels, the ledger behind a model of its replicated log, a network that loses, delays,
//! reorders and cuts, clocks that run apart, disks that lose what was not flushed, hosts that crash, sleep, join, drain and
//! leave, and subscribers that ask at any of them. All in one process, from one seed.
//!
//! The kernel, the ledger and what a grant means ([`LedgerPool::tenure`](crate::ledger::LedgerPool::tenure)) are the real
//! ones. What is modelled, in as few lines as it takes, is the rest of a host: how it follows the ledger, carries requests to
//! others, spreads facts, gives shards away and takes over those of a lost host. First faults come, then calm, in which
//! everything must be served again.

mod arrival;
mod check;
mod clients;
mod faults;
mod follow;
mod govern;
mod host;
mod log;
mod loss;
mod net;
mod notes;
mod operator;
mod pairs;
mod replicate;
mod route;
mod takeover;
mod world;

use super::Failure;
use crate::rules::Rule;
use world::World;

/// What may be broken on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A rule of the kernel.
    Kernel(Rule),
    /// Before a host offers a shard it stops handing out from it, durably.
    StopBeforeOffer,
    /// Who does not know what became of its offer does not use the shard again.
    OfferIsFinal,
    /// A new owner hands out only once it has everything that counts of the former ones.
    WaitForCut,
    /// What a host knows of the ledger it knows after a crash too.
    LedgerIsDurable,
    /// Who leaves has told the others all of its log that counts.
    LeaveOnceTold,
    /// What counts as stopped is stopped now, not only a moment ago.
    KeptIsNow,
    /// A node lease counts from the moment its renewal began, not from the answer.
    LeaseFromAttempt,
    /// A process knows nothing of the node lease of the one before.
    LeaseOfThisLife,
    /// Who renewed since its silence was noticed is not deposed.
    RenewedIsNotDeposed,
    /// What another host asks is not carried out once the asker gave up.
    CarriedOutInTime,
    /// A release says which allocation it ends, so it does not end another one that was made since.
    ReleaseNamesWhich,
    /// A BNG drops an answer of a term that is over as far as it knows: should a host not look again.
    Fence,
    /// A shard that was taken over is handed out from once all its lost owners' words arrived.
    Quarantine,
    /// What was handed out unheard by lease terms that a pool had before is doubtful as long as those said.
    FormerLeases,
    /// What was handed out unheard of a shard that was held outright may have no end.
    OutrightForEver,
    /// Whoever gives a shard away has heard what its taker wrote.
    HearOutTaker,
    /// A shard that closes is given back once nothing is held in it and nothing will be.
    ReturnOnlyEmpty,
    /// Who is told that its disk is an older state of itself does not serve.
    OldDisk,
    /// Who comes with an empty disk owns nothing before it has heard what the others knew, whatever the ledger says of an earlier
    /// life of it.
    ArriveFirst,
    /// Who takes a lost host's shards over has asked a majority of the voters what they have of its log.
    AskMajority,
    /// Before escrow is seized whoever gets it has heard all that any member knows of the lost host's log.
    HearAllBeforeSeizure,
    /// A pool is exhausted only when the owners of all its shards say so.
    AskEveryOwner,
    /// Before an answer leaves it is looked at again whether its shard is still this host's.
    Recheck,
    /// Where notes are written: a host says what it has under a list of members only once it has what it took in before it knew
    /// the list.
    ListOnceHeard,
}

impl Breach {
    /// Every rule that deletions of notes are forgotten by.
    pub fn of_notes() -> impl Iterator<Item = Self> {
        Rule::TOMBSTONES.into_iter().map(Self::Kernel).chain([Self::ListOnceHeard])
    }

    /// Every other rule that counts among several hosts.
    pub fn all() -> impl Iterator<Item = Self> {
        let driver = [
            Self::StopBeforeOffer,
            Self::OfferIsFinal,
            Self::WaitForCut,
            Self::LedgerIsDurable,
            Self::LeaveOnceTold,
            Self::KeptIsNow,
            Self::LeaseFromAttempt,
            Self::LeaseOfThisLife,
            Self::RenewedIsNotDeposed,
            Self::CarriedOutInTime,
            Self::ReleaseNamesWhich,
            Self::Fence,
            Self::Quarantine,
            Self::FormerLeases,
            Self::OutrightForEver,
            Self::HearOutTaker,
            Self::ReturnOnlyEmpty,
            Self::OldDisk,
            Self::ArriveFirst,
            Self::AskMajority,
            Self::HearAllBeforeSeizure,
            Self::AskEveryOwner,
            Self::Recheck,
        ];
        Rule::CLUSTER.into_iter().map(Self::Kernel).chain(driver)
    }

    /// The rule in front of it that keeps from happening what it is there for: it counts only where that one is broken, too.
    pub fn behind(self) -> Option<Self> {
        (self == Self::Fence).then_some(Self::Recheck)
    }

    /// How it is called on a command line.
    pub fn name(self) -> String {
        match self {
            Self::Kernel(rule) => format!("{rule:?}"),
            Self::StopBeforeOffer
            | Self::OfferIsFinal
            | Self::WaitForCut
            | Self::LedgerIsDurable
            | Self::LeaveOnceTold
            | Self::KeptIsNow
            | Self::LeaseFromAttempt
            | Self::LeaseOfThisLife
            | Self::RenewedIsNotDeposed
            | Self::CarriedOutInTime
            | Self::ReleaseNamesWhich
            | Self::Fence
            | Self::Quarantine
            | Self::FormerLeases
            | Self::OutrightForEver
            | Self::HearOutTaker
            | Self::ReturnOnlyEmpty
            | Self::OldDisk
            | Self::ArriveFirst
            | Self::AskMajority
            | Self::HearAllBeforeSeizure
            | Self::AskEveryOwner
            | Self::Recheck
            | Self::ListOnceHeard => format!("{self:?}"),
        }
    }
}

/// What goes wrong more than usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Usual,
    /// Disks are lost, escrow is seized, and space leaves pools and comes back.
    Losses,
    SlowDisks,
    /// Space leaves pools and comes back all the time.
    Resizing,
    /// Processes are stopped and go on: what came meanwhile waits for them.
    Pauses,
    /// A host is cut off for longer than any lease, with the BNGs beside it.
    Cuts,
    /// Processes are stopped while they write, for longer than node leases last; BNGs wait for longer still, and operators end
    /// what is in doubt meanwhile.
    Stalls,
}

impl Weather {
    /// Whether a process that stands still is only stopped: what comes meanwhile waits for it.
    const fn stops_processes(self) -> bool {
        match self {
            Self::Pauses | Self::Stalls => true,
            Self::Usual | Self::Losses | Self::SlowDisks | Self::Resizing | Self::Cuts => false,
        }
    }

    /// Whether every other group waits for its disk.
    const fn slows_disks(self) -> bool {
        match self {
            Self::SlowDisks | Self::Stalls => true,
            Self::Usual | Self::Losses | Self::Resizing | Self::Pauses | Self::Cuts => false,
        }
    }

    /// What a replay needs to have the same.
    const fn flag(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Losses => " --losses",
            Self::SlowDisks => " --slow-disks",
            Self::Resizing => " --resizing",
            Self::Pauses => " --pauses",
            Self::Cuts => " --cuts",
            Self::Stalls => " --stalls",
        }
    }
}

/// What a seed did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub events: u64,
    pub crashes: u64,
    pub cuts: u64,
    pub allocations: u64,
    pub repeats: u64,
    pub refused: u64,
    /// Requests nobody answered in time.
    pub unanswered: u64,
    pub moves: u64,
    pub takeovers: u64,
    /// Answers that name what they supersede.
    pub superseded: u64,
    /// Spans that operators reserved.
    pub reserved: u64,
    /// Times that space left a pool.
    pub shrunk: u64,
    /// Hosts whose disks were.
    pub lost: u64,
    /// Of them those that came again with an empty one.
    pub renewed: u64,
    /// Times that a holder went on without what was lost.
    pub forgone: u64,
    /// Groups that the disk refused.
    pub refused_groups: u64,
    /// Answers that were not given because their term was over by then.
    pub withdrawn: u64,
    /// Notes written or deleted.
    pub notes: u64,
}

impl Summary {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.events += other.events;
        self.crashes += other.crashes;
        self.cuts += other.cuts;
        self.allocations += other.allocations;
        self.repeats += other.repeats;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.moves += other.moves;
        self.takeovers += other.takeovers;
        self.superseded += other.superseded;
        self.lost += other.lost;
        self.renewed += other.renewed;
        self.forgone += other.forgone;
        self.reserved += other.reserved;
        self.shrunk += other.shrunk;
        self.refused_groups += other.refused_groups;
        self.withdrawn += other.withdrawn;
        self.notes += other.notes;
    }
}

/// Lives one seed through.
pub fn run(seed: u64) -> Result<Summary, Box<Failure>> {
    live(seed, None, Weather::Usual)
}

/// The same with one rule broken.
pub fn run_breaking(seed: u64, breach: Breach) -> Result<Summary, Box<Failure>> {
    let weather = match breach {
        Breach::ReturnOnlyEmpty
        | Breach::OldDisk
        | Breach::ArriveFirst
        | Breach::HearAllBeforeSeizure
        | Breach::OutrightForEver => Weather::Losses,
        Breach::Kernel(Rule::PoolFirst) => Weather::Resizing,
        // They count only if a host is cut off for longer than leases last.
        Breach::Kernel(Rule::LeasedAnswers | Rule::LastingInEscrow | Rule::ReservedKnown)
        | Breach::HearOutTaker
        | Breach::FormerLeases => Weather::Cuts,
        // It counts only between a word to the kernel and its way to the disk.
        Breach::KeptIsNow => Weather::SlowDisks,
        // They count only if what comes waits for long.
        Breach::LeaseFromAttempt | Breach::CarriedOutInTime | Breach::ReleaseNamesWhich => Weather::Pauses,
        // They count only where writing takes longer than a term lasts.
        Breach::Recheck | Breach::Fence => Weather::Stalls,
        Breach::Kernel(_)
        | Breach::StopBeforeOffer
        | Breach::OfferIsFinal
        | Breach::WaitForCut
        | Breach::LedgerIsDurable
        | Breach::LeaveOnceTold
        | Breach::LeaseOfThisLife
        | Breach::RenewedIsNotDeposed
        | Breach::Quarantine
        | Breach::AskMajority
        | Breach::AskEveryOwner
        | Breach::ListOnceHeard => Weather::Usual,
    };
    live(seed, Some(breach), weather)
}

/// The same with disks that are lost, escrow that is seized, and space that leaves pools and comes back.
pub fn run_with_losses(seed: u64) -> Result<Summary, Box<Failure>> {
    live(seed, None, Weather::Losses)
}

/// The same with space that leaves pools and comes back all the time.
pub fn run_with_resizing(seed: u64) -> Result<Summary, Box<Failure>> {
    live(seed, None, Weather::Resizing)
}

/// The same with disks of which every other group waits for long.
pub fn run_with_slow_disks(seed: u64) -> Result<Summary, Box<Failure>> {
    live(seed, None, Weather::SlowDisks)
}

/// The same with processes that are stopped all the time and go on, with what came meanwhile.
pub fn run_with_pauses(seed: u64) -> Result<Summary, Box<Failure>> {
    live(seed, None, Weather::Pauses)
}

/// The same with a host that is cut off for longer than any lease, with the BNGs beside it.
pub fn run_with_cuts(seed: u64) -> Result<Summary, Box<Failure>> {
    live(seed, None, Weather::Cuts)
}

/// The same with processes that are stopped while they write, BNGs that wait for them, and operators that do not.
pub fn run_with_stalls(seed: u64) -> Result<Summary, Box<Failure>> {
    live(seed, None, Weather::Stalls)
}

/// The same with notes that are written and deleted at all hosts, and nobody who asks for addresses meanwhile.
pub fn run_with_notes(seed: u64) -> Result<Summary, Box<Failure>> {
    write_notes(seed, None)
}

/// The same with one of the rules broken that deletions are forgotten by ([`Breach::of_notes`]).
pub fn run_with_notes_breaking(seed: u64, breach: Breach) -> Result<Summary, Box<Failure>> {
    write_notes(seed, Some(breach))
}

fn write_notes(seed: u64, breach: Option<Breach>) -> Result<Summary, Box<Failure>> {
    // What a host took in is on its way to the disk for long in every second two: there it is not among what it says it has.
    let weather = if seed / 2 % 2 == 1 { Weather::SlowDisks } else { Weather::Usual };
    let world = |told| World::new(seed, breach, weather, told).with_notes();
    world(false).run().or_else(|_| world(true).run())
}

/// A failure is lived through a second time, to tell how it came: to write everything down takes longer than to live it.
fn live(seed: u64, breach: Option<Breach>, weather: Weather) -> Result<Summary, Box<Failure>> {
    let world = |told| World::new(seed, breach, weather, told);
    world(false).run().or_else(|_| world(true).run())
}
