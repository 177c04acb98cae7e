//! The notes, as far as they are on the disk.

use kernel::{NoteKey, NoteWord, Op, TenantId, Written};

use crate::events::{Event, NoteChange, event_of_note};
use crate::view::View;

/// A page of notes.
#[derive(Clone, Debug)]
pub struct NotePage {
    /// Of each key what stands, the winner first.
    pub rows: Vec<(NoteKey, Vec<Written>)>,
    /// How many match, on all pages.
    pub total: u64,
    /// There is more after the last row.
    pub more: bool,
}

impl View {
    /// What stands of a note, the winner first; empty: nothing.
    pub fn note(&self, tenant: &TenantId, key: &NoteKey) -> Vec<Written> {
        self.got();
        self.notes.read().of(tenant, key).to_vec()
    }

    /// A tenant's notes whose keys begin with `prefix` and that `wanted` says yes to, after a key, in order.
    pub fn notes(
        &self,
        tenant: &TenantId,
        prefix: &str,
        wanted: impl Fn(&[Written]) -> bool,
        after: Option<&NoteKey>,
        limit: usize,
    ) -> NotePage {
        self.got();
        let notes = self.notes.read();
        let (mut rows, mut total, mut more) = (Vec::new(), 0, false);
        for (key, writes) in notes.query(tenant, prefix, None).filter(|(_, writes)| wanted(writes)) {
            total += 1;
            if after.is_some_and(|after| key <= after) {
                continue;
            }
            if rows.len() < limit {
                rows.push((key.clone(), writes.to_vec()));
            } else {
                more = true;
            }
        }
        NotePage { rows, total, more }
    }

    /// How many notes there are, and of how many two people wrote something else at the same time.
    pub fn note_counts(&self) -> (usize, usize) {
        let notes = self.notes.read();
        (notes.len() - notes.deletions(), notes.disputed())
    }

    pub(crate) fn apply_note(&self, op: &Op) -> Option<Event> {
        let (tenant, key) = NoteWord::of(&op.fact)?.about();
        let mut notes = self.notes.write();
        let before = notes.of(tenant, key).to_vec();
        notes.apply(op);
        let now = NoteChange { tenant: tenant.clone(), key: key.clone(), writes: notes.of(tenant, key).to_vec() };
        event_of_note(op, &before, now)
    }
}
