//! What the hand-over model remembers, and the questions its properties ask.

use std::collections::BTreeSet;

use super::{Breach, Handover};

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The subscriber holds the address.
    Held,
    /// The subscriber released it.
    Freed,
}

/// One record of a host's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    /// The epoch it was written in.
    pub epoch: usize,
    /// What is said of the address.
    pub fact: Fact,
    /// The address.
    pub address: usize,
    /// The subscriber.
    pub subscriber: usize,
}

/// A host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Host {
    /// Its log, in memory.
    pub log: Vec<Op>,
    /// How much of the log is on its disk.
    pub flushed: usize,
    /// How much of the other host's log it has.
    pub copied: usize,
    /// The last epoch in which it stopped; 0: none.
    pub stopped: usize,
    /// The same, as its disk has it.
    pub stop_flushed: usize,
    /// How many grants it knows, so the epoch it believes in.
    pub knows: usize,
}

/// An entry of the ledger: who holds the shard from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The host.
    pub holder: usize,
    /// How much counts of the log of the holder before.
    pub cut: usize,
}

/// A proposal to move the shard to the other host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Move {
    /// The epoch that it ends.
    pub epoch: usize,
    /// The donor.
    pub from: usize,
    /// How much of the donor's log counts.
    pub cut: usize,
}

/// An answer, or the session that came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The subscriber's address.
    pub address: usize,
    /// The fence.
    pub epoch: usize,
}

/// A subscriber and its BNG.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Side {
    /// What the BNG has set up.
    pub session: Option<Answer>,
    /// The BNG wants an address and repeats that anywhere.
    pub asks: bool,
    /// The highest epoch that the BNG has seen.
    pub seen: usize,
    /// Per host, the record it means to answer with.
    pub work: [Option<usize>; 2],
    /// Per host, its answer under way.
    pub answer: [Option<Answer>; 2],
}

/// The whole world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The two hosts.
    pub hosts: [Host; 2],
    /// The grants so far; the first is epoch 1.
    pub ledger: Vec<Grant>,
    /// Proposals that were ever made.
    pub proposals: BTreeSet<Move>,
    /// The subscribers.
    pub sides: Vec<Side>,
    /// How many of them have asked for something.
    pub asked: usize,
}

impl State {
    pub(super) fn new(model: &Handover) -> Self {
        let host = Host { knows: 1, ..Host::default() };
        Self {
            hosts: [host.clone(), host],
            ledger: vec![Grant { holder: 0, cut: 0 }],
            proposals: BTreeSet::new(),
            sides: vec![Side::default(); model.subscribers],
            asked: 0,
        }
    }

    /// Whether the host believes that the present epoch is its own.
    pub(super) fn holds(&self, host: usize) -> bool {
        self.ledger[self.hosts[host].knows - 1].holder == host
    }

    /// Whether the host hands out of the shard.
    pub(super) fn serves(&self, model: &Handover, host: usize) -> bool {
        let Host { copied, stopped, knows, .. } = self.hosts[host];
        let covered = copied >= self.ledger[knows - 1].cut || model.breaks(Breach::ServeBeforeCut);
        self.holds(host) && stopped < knows && covered
    }

    /// Who holds each address, as the host knows it: of each epoch before its own, what its holder wrote up to the cut.
    pub(super) fn table(&self, model: &Handover, host: usize) -> Vec<Option<usize>> {
        let mut table = vec![None; model.addresses];
        let knows = self.hosts[host].knows;
        for (at, grant) in self.ledger.iter().take(knows).enumerate() {
            let log = &self.hosts[grant.holder].log;
            let have = if grant.holder == host { log.len() } else { self.hosts[host].copied };
            let cut = self.ledger.get(at + 1).filter(|_| at + 1 < knows).map_or(have, |next| next.cut.min(have));
            for op in log.iter().take(cut).filter(|op| op.epoch == at + 1) {
                table[op.address] = match op.fact {
                    Fact::Held => Some(op.subscriber),
                    Fact::Freed => None,
                };
            }
        }
        table
    }

    /// No address is set up for two subscribers.
    pub(super) fn unique(&self) -> bool {
        let addresses: Vec<usize> = self.sides.iter().filter_map(|side| side.session).map(|s| s.address).collect();
        addresses.iter().enumerate().all(|(at, address)| !addresses[..at].contains(address))
    }

    /// Whoever serves knows every session.
    pub(super) fn kept(&self, model: &Handover) -> bool {
        (0..2).filter(|host| self.serves(model, *host)).all(|host| {
            let table = self.table(model, host);
            let known = |(at, side): (usize, &Side)| side.session.is_none_or(|s| table[s.address] == Some(at));
            self.sides.iter().enumerate().all(known)
        })
    }

    fn held(&self) -> impl Iterator<Item = &Op> {
        self.hosts.iter().flat_map(|host| &host.log).filter(|op| op.fact == Fact::Held)
    }

    /// Somebody was answered in a later epoch what he was given in an earlier one.
    pub(super) fn outlived(&self) -> bool {
        let earlier = |at: usize, session: Answer| {
            self.held().any(|op| op.subscriber == at && op.address == session.address && op.epoch < session.epoch)
                && self.held().all(|op| op.epoch < session.epoch)
        };
        self.sides.iter().enumerate().any(|(at, side)| side.session.is_some_and(|session| earlier(at, session)))
    }

    /// Somebody has an address that another had in an earlier epoch.
    pub(super) fn reused(&self) -> bool {
        self.sides.iter().enumerate().any(|(at, side)| {
            side.session.is_some_and(|session| {
                let other = |op: &Op| op.subscriber != at && op.address == session.address && op.epoch < session.epoch;
                self.held().any(other)
            })
        })
    }
}
