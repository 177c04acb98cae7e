//! Writing notes, and hearing of what others wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Kernel;
use crate::command::{CommandError, Reply};
use crate::effects::{Effects, Notice};
use crate::fact::{Fact, Op};
use crate::id::{Dot, Origin, Seq};
use crate::note::{Note, NoteEnds, Notes, PutNote, Written};
use crate::rules::Rule;

/// Keys of one tenant, and of all together, deletions that are still remembered among them. What others wrote is taken in
/// beyond that: hosts that count at different moments must not end up with different notes.
const MOST_OF_TENANT: usize = 10_000;
const MOST: usize = 50_000;

impl Kernel {
    /// The notes as this host knows them.
    pub const fn notes(&self) -> &Notes {
        &self.notes
    }

    pub(super) fn put_note(&mut self, put: PutNote, effects: &mut Effects) -> Result<Reply, CommandError> {
        let PutNote { tenant, key, value, expected } = put;
        let newcomer =
            self.cluster.is_some() && !self.collector.may_write() && self.rules.keep(Rule::TombstoneNewcomer);
        // What is written while a snapshot is taken in would not be covered by it.
        if newcomer || self.adoption.is_some() {
            return Err(CommandError::NotesWithheld);
        }
        let standing = self.notes.of(&tenant, &key);
        let shown = self.notes.get(&tenant, &key).map(|write| Arc::clone(&write.note));
        let found = shown.as_ref().map(|note| note.stamp);
        if let Some(expected) = expected.filter(|expected| Some(*expected) != found) {
            return Err(CommandError::NoteDiffers { key, expected, found });
        }
        let disputed = Notes::is_disputed(standing);
        match (&shown, &value) {
            (None, None) if !disputed => return Err(CommandError::NoteUnknown { key }),
            (Some(note), Some(value)) if note.value.as_ref() == Some(value) && !disputed => {
                return Ok(Reply::NotePut { note: Arc::clone(note), changed: false });
            }
            (None | Some(_), None | Some(_)) => {}
        }
        if standing.is_empty() {
            let full = |of, limit| Err(CommandError::NotesFull { of, limit });
            match (self.notes.len_of(&tenant), self.notes.len()) {
                (of_tenant, _) if of_tenant >= MOST_OF_TENANT => return full(Some(tenant), MOST_OF_TENANT),
                (_, all) if all >= MOST => return full(None, MOST),
                (_, _) => {}
            }
        }
        let now_ms = self.log.clock.stamp();
        self.note_clock = self.note_clock.next(now_ms);
        let (by, knew) = (self.own_origin(), self.known_of(standing));
        let note = Note { tenant, key, value, stamp: self.note_clock, by, knew, ends: Box::default() };
        let note = self.take_note(note, None, effects);
        // Nobody else has to hear of it on a host that is alone.
        self.collect_notes(effects);
        Ok(match shown {
            Some(shown) if note.value.is_none() => Reply::NoteDeleted(shown),
            None if note.value.is_none() => Reply::NoteDeleted(note),
            Some(_) | None => Reply::NotePut { note, changed: true },
        })
    }

    fn own_origin(&self) -> Origin {
        self.cluster.as_ref().map(|cluster| cluster.origin).unwrap_or_default()
    }

    /// What a write that is made now knows of: all that was heard of the members, and what the writes before it knew of.
    ///
    /// It must name what was heard and not only what stands: of a deletion that was forgotten here, another host may not know yet
    /// that everybody has it, and could not tell that this write comes after it.
    fn known_of(&self, standing: &[Written]) -> Box<[Dot]> {
        let own = self.own_origin();
        let mut known: BTreeMap<Origin, Seq> = BTreeMap::new();
        let before = standing.iter().flat_map(|write| write.note.knew.iter().copied().chain([write.dot()]));
        let heard = self.heard.iter().map(|(origin, seq)| Dot { origin: *origin, seq: *seq });
        for Dot { origin, seq } in before.chain(heard).filter(|dot| dot.origin != own) {
            let known = known.entry(origin).or_default();
            *known = (*known).max(seq);
        }
        if known.len() > Note::MOST_KNOWN {
            let stands: BTreeSet<Origin> = standing.iter().map(|write| write.note.by).collect();
            known.retain(|origin, _| stands.contains(origin) || self.collector.is_member(*origin));
        }
        let dots = known.into_iter().map(|(origin, seq)| Dot { origin, seq });
        dots.take(Note::MOST_KNOWN).collect()
    }

    /// What another host wrote.
    pub(super) fn hear_note(&mut self, heard: &Note, from: Dot, effects: &mut Effects) {
        let knew = heard.knew.iter().take(Note::MOST_KNOWN).copied().collect();
        let note = Note { by: from.origin, knew, ends: Box::default(), ..heard.clone() };
        if note.stamp.is_believed(self.log.clock.now_ms()) {
            self.note_clock = self.note_clock.max(note.stamp);
        }
        let (tenant, key) = (note.tenant.clone(), note.key.clone());
        let disputed = Notes::is_disputed(self.notes.of(&tenant, &key));
        self.take_note(note, Some(from), effects);
        if !disputed && Notes::is_disputed(self.notes.of(&tenant, &key)) {
            effects.notices.push(Notice::NoteConflict);
        }
    }

    /// Writes it into the log with what it replaces here, or as replaced.
    fn take_note(&mut self, mut note: Note, from: Option<Dot>, effects: &mut Effects) -> Arc<Note> {
        let place = self.log.next;
        let seq = from.map_or(place, |from| from.seq);
        let dot = Dot { origin: note.by, seq };
        let standing = self.notes.of(&note.tenant, &note.key);
        let replaced = standing.iter().filter(|known| note.replaces(seq, known.dot()));
        let mut ends: Vec<Seq> = replaced.map(|known| known.place).collect();
        if standing.iter().any(|known| known.dot() == dot || known.note.replaces(known.seq, dot)) {
            ends.push(place);
        }
        note.ends = ends.into();
        let note = Arc::new(note);
        let fact = Fact::Noted(Arc::clone(&note));
        // As the log has it, whatever else it says.
        self.notes.apply(&Op { seq: place, stamp_ms: 0, from, fact: fact.clone() });
        match from {
            Some(from) => self.log.relay(effects, from, fact),
            None => {
                self.log.write(effects, |_| fact);
            }
        }
        note
    }

    /// These writes do not stand any more, although no other replaced them.
    pub(super) fn end_notes(&mut self, ends: NoteEnds, effects: &mut Effects) {
        let fact = Fact::Unnoted(Arc::new(ends));
        self.notes.apply(&Op { seq: self.log.next, stamp_ms: 0, from: None, fact: fact.clone() });
        self.log.write(effects, |_| fact);
    }

    /// A write of a snapshot. Whatever is on the list was known before and is struck off.
    pub(super) fn adopt_note(&mut self, note: &Note, from: Dot, known: &mut BTreeSet<Dot>, effects: &mut Effects) {
        if known.remove(&from) {
            return;
        }
        self.hear_note(note, from, effects);
    }

    /// Drops what a snapshot does not have of what was known before, at most so much.
    pub(super) fn drop_notes(&mut self, known: &mut BTreeSet<Dot>, most: usize, effects: &mut Effects) {
        let dropped: BTreeSet<Dot> = known.iter().take(most).copied().collect();
        if dropped.is_empty() {
            return;
        }
        known.retain(|dot| !dropped.contains(dot));
        let ends = |(tenant, key, writes): (&crate::id::TenantId, &crate::id::NoteKey, &[Written])| {
            let gone = writes.iter().filter(|write| dropped.contains(&write.dot()));
            let places: Box<[Seq]> = gone.map(|write| write.place).collect();
            (!places.is_empty()).then(|| NoteEnds { tenant: tenant.clone(), key: key.clone(), places })
        };
        let ends: Vec<NoteEnds> = self.notes.keys().filter_map(ends).collect();
        for ends in ends {
            self.end_notes(ends, effects);
        }
    }
}
