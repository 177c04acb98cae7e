//! Notes written and deleted at all hosts, under the same faults as everything else; and what they must come to.
//!
//! What should stand is worked out from all operations that any host has on its disk, by what each write said it knew of: no
//! kernel's account of what replaced what is believed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::host::Waits;
use super::loss::removed;
use super::world::{Event, Work, World};
use crate::command::{Command, News};
use crate::fact::Fact;
use crate::id::{Dot, NoteKey, TenantId};
use crate::note::{MemberList, Note, PutNote};
use crate::sim::{Invariant, Verdict, broken};

/// Few at a time, so that the same ones are written at several hosts.
const KEYS: u64 = 3;

/// For how long the same keys are written in every second world, milliseconds: what hosts disagree about then stays, for nobody
/// writes over it.
const WRITTEN_FOR: u64 = 2_000;

/// Every so many times that somebody might write, an operator takes a host out that owns nothing.
const LEAVES: u64 = 12;

impl World {
    /// Notes are written, and nobody asks for addresses.
    pub(super) fn with_notes(mut self) -> Self {
        self.work = Work::Notes;
        self.clients_rest();
        self.after(600, Event::Note);
        self
    }

    pub(super) fn writes_notes(&self) -> bool {
        self.work == Work::Notes
    }

    /// Somebody writes a note at some host, or deletes it.
    pub(super) fn write_note(&mut self) {
        if self.net.calm {
            return;
        }
        let pause = *self.draws.pick(&[10, 50, 200, 600]);
        self.after(pause, Event::Note);
        let at = self.draws.index(self.hosts.len());
        self.take_out(at);
        // Who does not hear that something is deleted writes on, and is heard.
        let deaf = (0..self.hosts.len()).find(|at| self.is_deaf(*at)).filter(|_| self.draws.one_in(2));
        let at = deaf.unwrap_or(at);
        if !self.host(at).is_awake(self.now) || self.host(at).member.is_none() {
            return;
        }
        // Who joins late meets a key again whose deletion is forgotten only where keys are written all the time.
        let turn = if self.seed.is_multiple_of(2) { 0 } else { self.now / WRITTEN_FOR };
        let name = format!("k{turn}-{}", self.draws.below(KEYS));
        let key: NoteKey = name.parse().expect("a key");
        let number = self.summary.notes;
        let value = (self.draws.below(5) < 2).then(|| format!("note {number}").parse().expect("a text"));
        let put = PutNote { tenant: TenantId::default(), key, value, expected: None };
        self.summary.notes += 1;
        self.put(at, Command::PutNote(Box::new(put)), Waits::Nobody);
    }

    /// Whether nothing reaches a host.
    fn is_deaf(&self, at: usize) -> bool {
        self.host(at).is_up() && (0..self.hosts.len()).all(|other| other == at || self.net.is_cut(other, at))
    }

    /// An operator lets a host leave that owns nothing, or removes it if it is out of touch, or sees to it that it soon owns nothing.
    /// Who is removed writes on until it hears of that. Notes that it wrote and nobody heard are lost with it, or turn up through
    /// whoever was told while it was a member.
    fn take_out(&mut self, by: usize) {
        use super::govern::Purpose;
        use crate::ledger::LedgerCommand as C;
        let host = self.host(by);
        if !host.is_awake(self.now) || host.member.is_none() || host.ledger.members().len() <= 2 {
            return;
        }
        let members: Vec<_> = host.ledger.members().values().map(|member| (member.id, member.weight)).collect();
        let mut silent = members.iter().filter(|(member, weight)| *weight == 0 && !self.sees(by, *member));
        if let Some((member, _)) = silent.next().copied()
            && self.log.ledger.members().len() > 2
            && self.draws.one_in(3)
        {
            return self.propose(by, Purpose::Order, removed(member));
        }
        if !self.draws.one_in(LEAVES) {
            return;
        }
        let (member, weight) = *self.draws.pick(&members);
        let Some(at) = self.host_of(member) else { return };
        if weight > 0 {
            let command = C::SetMember { member, role: None, weight: Some(0), draining: None, addresses: None };
            return self.propose(by, Purpose::Order, command);
        }
        if self.draws.one_in(3) {
            return self.leave(at);
        }
        self.note(|| format!("nothing reaches host {at}"));
        (0..self.hosts.len()).filter(|other| *other != at).for_each(|other| self.net.cut_one_way(other, at));
    }

    /// Whether a host is no member any more, by the ledger of whom its message reaches.
    pub(super) fn is_stranger(&self, to: usize, from: usize) -> bool {
        let origin = self.host(from).origin;
        self.writes_notes() && !self.host(to).ledger.members().values().any(|member| member.origin == origin)
    }

    pub(super) fn tell_members(&mut self, at: usize) {
        let host = self.host(at);
        let Some(me) = host.member.filter(|_| self.writes_notes() && host.is_up()) else { return };
        let list = MemberList {
            me,
            members: host.ledger.members().values().map(|member| (member.id, member.origin)).collect(),
            changed: host.ledger.members_changed(),
            told: host.applied as u64,
        };
        if host.told.list.as_ref() != Some(&list) {
            self.host_mut(at).told.list = Some(list.clone());
            let waits = Waits::Listed(list.told);
            self.put(at, Command::News(News::Members(list)), waits);
        }
    }

    /// What another host said it has.
    pub(super) fn tell_seen(&mut self, at: usize, from: usize, told: u64) {
        let Some(member) = self.host(from).member.filter(|_| self.writes_notes()) else { return };
        let Some((_, vector)) = self.host(at).seen.get(&member) else { return };
        let vector = Arc::new(vector.clone());
        self.put(at, Command::News(News::Seen { member, told, vector }), Waits::Nobody);
    }

    /// Every note is what it should be at every host, and no deletion is remembered any more: everybody knows of it.
    pub(super) fn check_notes(&self, up: &[usize]) -> Verdict {
        if !self.writes_notes() {
            return Ok(());
        }
        self.check_owned()?;
        let wanted = self.notes_wanted(up);
        for at in up {
            let Some(kernel) = &self.host(*at).kernel else { continue };
            let found: Vec<Dot> = kernel
                .notes()
                .keys()
                .filter(|(_, _, writes)| writes.iter().any(|write| write.note.value.is_some()))
                .flat_map(|(_, _, writes)| writes.iter().map(crate::note::Written::dot))
                .collect();
            if found != wanted {
                return broken(Invariant::Equal, format!("host {at} has notes {found:?} and should have {wanted:?}"));
            }
            if kernel.notes().deletions() > 0 {
                let left: Vec<_> = kernel.notes().deleted_keys().collect();
                return broken(Invariant::Served, format!("host {at} still remembers {left:?}"));
            }
        }
        Ok(())
    }

    /// The writes that no other replaces, of keys of which anything is left; those of a key by rank.
    fn notes_wanted(&self, up: &[usize]) -> Vec<Dot> {
        let mut all: BTreeMap<Dot, &Note> = BTreeMap::new();
        for (origin, ops) in up.iter().flat_map(|at| &self.host(*at).runs) {
            for op in ops {
                if let Fact::Noted(note) = &op.fact {
                    let seq = op.from.map_or(op.seq, |from| from.seq);
                    all.insert(Dot { origin: *origin, seq }, note);
                }
            }
        }
        let replaces = |newer: &Dot, note: &Note, other: &Dot| {
            let own = newer.origin == other.origin && newer.seq > other.seq;
            own || note.knew.iter().any(|known| known.origin == other.origin && known.seq >= other.seq)
        };
        let mut stands: Vec<(&Dot, &Note)> = Vec::new();
        for (dot, note) in &all {
            let same = all.iter().filter(|(_, other)| other.key == note.key);
            if !same.into_iter().any(|(newer, other)| newer != dot && replaces(newer, other, dot)) {
                stands.push((dot, note));
            }
        }
        let said = |key: &NoteKey| stands.iter().any(|(_, note)| note.key == *key && note.value.is_some());
        let mut wanted: Vec<_> = stands.iter().filter(|(_, note)| said(&note.key)).collect();
        wanted.sort_by_key(|(dot, note)| (&note.key, std::cmp::Reverse((note.stamp, dot.origin, dot.seq))));
        wanted.into_iter().map(|(dot, _)| **dot).collect()
    }
}
