//! The replicated log, as its members see it: whoever reaches a majority may write, and reads on; what was written may be
//! told late, twice or never.

use super::Breach;
use super::govern::Purpose;
use super::world::{Event, World};
use crate::id::CommandId;
use crate::ledger::{Ledger, LedgerCommand, LedgerEntry, LedgerError, LedgerReply};

/// How long a host waits for what becomes of a proposal, milliseconds.
const DECIDE_WITHIN: u64 = 1_500;

/// How often an entry without a majority is tried again.
const TRIES: u32 = 6;

pub(super) type Decision = Result<LedgerReply, LedgerError>;

/// What was committed, and the ledger it makes.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) entries: Vec<LedgerEntry>,
    pub(super) ledger: Ledger,
    next_id: u128,
}

impl Log {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { entries: Vec::new(), ledger, next_id: 0 }
    }

    pub(super) fn name(&mut self, command: LedgerCommand) -> LedgerEntry {
        self.next_id += 1;
        LedgerEntry { id: CommandId(self.next_id), command }
    }

    pub(super) fn commit(&mut self, entry: &LedgerEntry) -> Decision {
        self.entries.push(entry.clone());
        self.ledger.apply(self.entries.len() as u64, entry).outcome
    }
}

/// A proposal whose fate its proposer does not know yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) purpose: Purpose,
    pub(super) until: u64,
}

impl World {
    /// Whether this host reaches most of those that vote.
    pub(super) fn has_majority(&self, at: usize) -> bool {
        let voters = self.log.ledger.voters_wanted();
        let reached = voters.iter().filter(|voter| self.host_of(**voter).is_some_and(|other| self.in_touch(at, other)));
        voters.is_empty() || reached.count() * 2 > voters.len()
    }

    /// Both run, and messages pass both ways.
    pub(super) fn in_touch(&self, one: usize, other: usize) -> bool {
        let awake = |at| self.host(at).is_awake(self.now);
        awake(one) && awake(other) && self.net.both_ways(one, other)
    }

    pub(super) fn propose(&mut self, at: usize, purpose: Purpose, command: LedgerCommand) {
        let entry = self.log.name(command);
        self.note(|| format!("host {at} proposes {:?} {:?}", entry.id.0, entry.command));
        let until = self.now + DECIDE_WITHIN;
        self.host_mut(at).pending.insert(entry.id, Pending { purpose, until });
        let delay = if self.net.calm { 2 } else { 2 + self.draws.below(60) };
        self.after(delay, Event::Commit { entry, by: at, tries: 0 });
    }

    /// An entry reaches the leader, or waits somewhere for one.
    pub(super) fn commit(&mut self, mut entry: LedgerEntry, by: usize, tries: u32) {
        // It may have left its proposer before that was cut off.
        let anywhere = tries > 0 && (0..self.hosts.len()).any(|at| self.has_majority(at));
        if !(self.has_majority(by) || anywhere) {
            if tries < TRIES && (self.net.calm || self.draws.below(3) > 0) {
                let pause = 50 + self.draws.below(1_000);
                self.after(pause, Event::Commit { entry, by, tries: tries + 1 });
            }
            return;
        }
        if let (Some(Breach::RenewedIsNotDeposed), LedgerCommand::Depose { member, last_renewal }) =
            (self.breach, &mut entry.command)
            && let Some(found) = self.log.ledger.member(*member)
        {
            *last_renewal = found.lease.renewed;
        }
        let decision = self.log.commit(&entry);
        let place = self.log.entries.len();
        self.note(|| format!("entry {place} ({}): {decision:?}", entry.id.0));
        self.count_decision(&decision, &entry.command);
        if !self.net.calm && self.draws.one_in(20) {
            let pause = 1 + self.draws.below(2_000);
            self.after(pause, Event::Commit { entry: entry.clone(), by, tries: TRIES });
        }
        if self.net.calm || !self.draws.one_in(10) {
            let delay = if self.net.calm { 2 } else { 1 + self.draws.below(60) };
            let life = self.host(by).life;
            self.after(delay, Event::Decided { at: by, life, place, id: entry.id, decision });
        }
    }

    fn count_decision(&mut self, decision: &Decision, command: &LedgerCommand) {
        match (decision, command) {
            (Ok(_), LedgerCommand::Move { .. }) => self.summary.moves += 1,
            (Ok(LedgerReply::Shrunk { .. }), _) => self.summary.shrunk += 1,
            (Ok(_), LedgerCommand::TakeOver { .. }) => self.summary.takeovers += 1,
            (Ok(_), LedgerCommand::Forgo { .. }) => self.summary.forgone += 1,
            _ => {}
        }
    }

    /// A host in touch with the majority reads on, as far as it comes.
    pub(super) fn read_on(&mut self, at: usize) {
        if !self.has_majority(at) {
            return;
        }
        let there = self.log.entries.len();
        let known = self.host(at).applied;
        let most = if self.net.calm { there } else { known + self.draws.index(there - known + 1) };
        self.apply_through(at, most);
    }

    /// The answer to a proposal comes once its proposer has applied the entry.
    pub(super) fn apply_through(&mut self, at: usize, through: usize) {
        let known = self.host(at).applied;
        let entries: Vec<LedgerEntry> = self.log.entries.get(known..through).unwrap_or_default().to_vec();
        let host = self.host_mut(at);
        for (place, entry) in (known as u64 + 1..).zip(&entries) {
            host.ledger.apply(place, entry);
        }
        host.applied = through.max(known);
    }
}
