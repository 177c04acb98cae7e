//! What the takeover model remembers, and the questions its properties ask.

use super::{ANSWER, GRACE, LEASE, Takeover};

/// One record of the old holder's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The subscriber holds the address.
    Held { address: usize, subscriber: usize },
    /// The subscriber released it.
    Freed { address: usize, subscriber: usize },
}

/// What is left of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Ticks left by the holder's own clock; 0: it is over.
    pub left: u8,
    /// Its clock has lost all the ticks that it may lose in this lease.
    pub slow: bool,
}

/// An attempt to renew, under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Renewal {
    /// Ticks since its start by the holder's own clock.
    pub age: u8,
    /// The clock has lost its ticks since the start.
    pub slow: bool,
    /// The ledger has applied it.
    pub applied: bool,
}

/// The old holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Old {
    /// Its log, in memory.
    pub log: Vec<Op>,
    /// How much of the log is on its disk.
    pub flushed: usize,
    /// Its lease as it believes.
    pub lease: Lease,
    /// The renewal under way.
    pub renewal: Option<Renewal>,
}

/// Who holds an address in the new holder's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Served {
    /// The holder of the address.
    pub subscriber: usize,
    /// The new holder said so itself, under its own dot; else it is inherited.
    pub own: bool,
}

/// The host that takes the shard over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct New {
    /// How much of the old holder's log it has.
    pub has: usize,
    /// How much of that is in its table.
    pub applied: usize,
    /// It serves the shard.
    pub serving: bool,
    /// Only what is in the table may be answered.
    pub quarantine: bool,
    /// Per address, who holds it.
    pub table: Vec<Option<Served>>,
}

/// Whose shard it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grant {
    /// The old holder's.
    Old,
    /// Nobody's: the old holder is deposed.
    Deposed,
    /// Nobody's; a majority said that it has this much of the old log.
    Asked { cut: usize },
    /// The new holder's; this much of the old log counts.
    New { cut: usize },
}

/// The ledger and its leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// Ticks that the leader still waits before it may propose to depose.
    pub wait: u8,
    /// Renewals that were applied.
    pub renewals: usize,
    /// Renewals that were tried.
    pub tried: usize,
    /// A proposal to depose, with the last renewal it knows of.
    pub depose: Option<usize>,
    /// The shard's grant.
    pub grant: Grant,
}

/// A session at a BNG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The subscriber's address.
    pub address: usize,
    /// The answer said that another host has it too.
    pub acked: bool,
}

/// An answer of the old holder, under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OldAnswer {
    /// What it says.
    pub session: Session,
    /// Ticks until it is late.
    pub left: u8,
}

/// A subscriber and its BNG.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Side {
    /// What the BNG has set up.
    pub session: Option<Session>,
    /// The BNG wants an address and repeats that anywhere.
    pub asks: bool,
    /// The BNG has seen the new epoch.
    pub seen_new: bool,
    /// The BNG has told the new holder its session.
    pub confirmed: bool,
    /// The record that the old holder means to answer with.
    pub work: Option<usize>,
    /// The old holder's answer under way.
    pub old_answer: Option<OldAnswer>,
    /// The new holder's answer under way.
    pub new_answer: Option<usize>,
}

/// The whole world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The old holder.
    pub old: Old,
    /// The new holder.
    pub new: New,
    /// How much of the old holder's log the third voter has.
    pub voter_has: usize,
    /// The ledger.
    pub ledger: Ledger,
    /// The subscribers.
    pub sides: Vec<Side>,
    /// How many of them have asked for something.
    pub asked: usize,
}

impl State {
    pub(super) fn new(model: &Takeover) -> Self {
        Self {
            old: Old { log: Vec::new(), flushed: 0, lease: Lease { left: LEASE, slow: false }, renewal: None },
            new: New { has: 0, applied: 0, serving: false, quarantine: true, table: vec![None; model.addresses] },
            voter_has: 0,
            ledger: Ledger { wait: LEASE + grace(model), renewals: 0, tried: 0, depose: None, grant: Grant::Old },
            sides: vec![Side::default(); model.subscribers],
            asked: 0,
        }
    }

    /// How much of the old holder's log another voter has.
    pub(super) fn acknowledged(&self) -> usize {
        self.voter_has.max(self.new.has)
    }

    /// No address is set up for two subscribers.
    pub(super) fn unique(&self) -> bool {
        let addresses: Vec<usize> = self.sides.iter().filter_map(|side| side.session).map(|s| s.address).collect();
        addresses.iter().enumerate().all(|(at, address)| !addresses[..at].contains(address))
    }

    /// A new holder that serves knows every session whose answer said that a peer has it.
    pub(super) fn kept(&self) -> bool {
        let known = |subscriber: usize, session: Session| {
            !session.acked || self.new.table[session.address].is_some_and(|served| served.subscriber == subscriber)
        };
        !self.new.serving
            || self.sides.iter().enumerate().all(|(at, side)| side.session.is_none_or(|session| known(at, session)))
    }

    pub(super) fn released(&self) -> bool {
        self.new.serving && !self.new.quarantine
    }

    /// Somebody has an address from the new holder that another had from the old one.
    pub(super) fn reused(&self) -> bool {
        self.new.serving
            && self.old.log.iter().any(|op| match *op {
                Op::Held { address, subscriber } => {
                    self.new.table[address].is_some_and(|served| served.own && served.subscriber != subscriber)
                }
                Op::Freed { .. } => false,
            })
    }

    /// The new holder keeps an allocation that stands in the old log past the cut.
    pub(super) fn adopted(&self) -> bool {
        let Grant::New { cut } = self.ledger.grant else { return false };
        self.old.log.iter().skip(cut).any(|op| match *op {
            Op::Held { address, subscriber } => {
                self.new.applied > cut
                    && self.new.table[address].is_some_and(|served| !served.own && served.subscriber == subscriber)
            }
            Op::Freed { .. } => false,
        })
    }
}

/// Ticks that the leader waits beyond the lease.
pub(super) fn grace(model: &Takeover) -> u8 {
    if model.breaks(super::Breach::NoGrace) { 0 } else { GRACE }
}

impl OldAnswer {
    pub(super) fn new(session: Session) -> Self {
        Self { session, left: ANSWER }
    }
}

/// Who holds each address after these records.
pub(super) fn replay(log: &[Op], addresses: usize) -> Vec<Option<usize>> {
    let mut table = vec![None; addresses];
    for op in log {
        match *op {
            Op::Held { address, subscriber } => table[address] = Some(subscriber),
            Op::Freed { address, .. } => table[address] = None,
        }
    }
    table
}
