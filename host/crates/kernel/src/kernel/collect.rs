//! When the deletion of a note may be forgotten.
//!
//! Not before every member of the ledger's list acknowledged it, under the very list that this host goes by, and this host has
//! all that they had when they did. Otherwise somebody who lacks the deletion would keep what was deleted, or this host would
//! hear of it again from somebody who wrote it before he knew. `PROTOCOL.md` has the rules by number.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Kernel;
use crate::command::Reply;
use crate::effects::Effects;
use crate::id::{MemberId, Origin, Seq};
use crate::note::{MemberList, NoteEnds, Written};
use crate::rules::Rule;

/// Keys forgotten in one step.
const FORGOTTEN: usize = 1_000;

/// With the rule broken that makes a deletion wait for the members, it goes after so long, milliseconds.
const BY_TIME_MS: u64 = 1_000;

type Vector = Arc<BTreeMap<Origin, Seq>>;

/// Who the members are and what each has.
#[derive(Debug, Default)]
pub(super) struct Collector {
    list: Option<List>,
    seen: BTreeMap<MemberId, Seen>,
    /// In this life, all that some member had who knew this host for a member was known here.
    caught_up: bool,
}

#[derive(Debug)]
struct List {
    members: MemberList,
    /// The list is the same at all entries from here on, up to where this host was told.
    since: u64,
}

/// What a member said it has.
#[derive(Debug, Default)]
struct Seen {
    /// All of this is known here too.
    covered: Option<Vector>,
    /// Not all of this yet, and the entry of the ledger it was said under. Kept until it is: a member that writes all the time
    /// is always ahead, but not of what it said before.
    pending: Option<(u64, Vector)>,
}

impl Collector {
    pub(super) fn is_member(&self, origin: Origin) -> bool {
        self.list.as_ref().is_some_and(|list| list.members.members.values().any(|member| *member == origin))
    }

    /// Whether this host may write notes. A newcomer may lack a deletion that was forgotten before it joined, and what it wrote
    /// of that note would be taken for older than the deletion where that is still remembered, and for the only word where it
    /// is not. Nor does a host know, when it begins another life, whether its disk is the newest.
    pub(super) fn may_write(&self) -> bool {
        self.list.as_ref().is_some_and(|list| {
            let members = &list.members;
            members.members.contains_key(&members.me) && (self.caught_up || members.members.len() == 1)
        })
    }

    /// Whether every other member has the write, as far as is known for sure.
    fn is_stable(&self, list: &List, write: &Written) -> bool {
        let dot = write.dot();
        let has = |member: &MemberId| {
            let covered = self.seen.get(member).and_then(|seen| seen.covered.as_ref());
            covered.and_then(|vector| vector.get(&dot.origin)).is_some_and(|through| *through >= dot.seq)
        };
        list.members.members.keys().filter(|member| **member != list.members.me).all(has)
    }
}

impl Kernel {
    /// The ledger's list of members, as this host was told it.
    pub(super) fn set_members(&mut self, members: MemberList, effects: &mut Effects) -> Reply {
        let known = self.collector.list.take();
        let same = |known: &List| {
            known.members.members == members.members
                && known.members.changed == members.changed
                && known.members.me == members.me
        };
        let since = known.filter(same).map(|known| known.since);
        if since.is_none() && self.rules.keep(Rule::TombstoneList) {
            // Whoever does not know the new list yet still takes writes from who left it.
            self.collector.seen.clear();
        }
        let since = since.unwrap_or(members.told);
        self.collector.list = Some(List { members, since });
        self.collect_notes(effects);
        Reply::Noted
    }

    /// What a member has on its disk.
    pub(super) fn hear_seen(&mut self, member: MemberId, told: u64, vector: &Vector, effects: &mut Effects) -> Reply {
        let list_kept = self.rules.keep(Rule::TombstoneList);
        let Some(list) = &self.collector.list else { return Reply::Noted };
        if !list.members.members.contains_key(&member) || (told < list.since && list_kept) {
            return Reply::Noted;
        }
        let seen = self.collector.seen.entry(member).or_default();
        seen.pending.get_or_insert_with(|| (told, Arc::clone(vector)));
        self.collect_notes(effects);
        Reply::Noted
    }

    /// Forgets deletions that need not be remembered any more, some of them in a step.
    pub(super) fn collect_notes(&mut self, effects: &mut Effects) {
        self.look_at_seen();
        if self.notes.deletions() == 0 || self.adoption.is_some() {
            return;
        }
        let now_ms = self.log.clock.now_ms();
        let may_go = |write: &Written| match &self.collector.list {
            _ if self.cluster.is_none() => true,
            _ if !self.rules.keep(Rule::TombstoneKnown) => write.note.stamp.ms + BY_TIME_MS < now_ms,
            None => false,
            Some(list) => list.members.members.contains_key(&list.members.me) && self.collector.is_stable(list, write),
        };
        let stable = self.notes.deleted_keys().filter(|(_, _, writes)| writes.iter().all(may_go)).take(FORGOTTEN);
        let ends = stable.map(|(tenant, key, writes)| NoteEnds {
            tenant: tenant.clone(),
            key: key.clone(),
            places: writes.iter().map(|write| write.place).collect(),
        });
        let ends: Vec<NoteEnds> = ends.collect();
        for ends in ends {
            self.end_notes(ends, effects);
        }
    }

    /// What members said they have counts once this host has it too, and knows the list it was said under.
    fn look_at_seen(&mut self) {
        let Some(list) = &self.collector.list else { return };
        let own = self.cluster.as_ref().map(|cluster| cluster.origin);
        let heard = &self.heard;
        let has = |(origin, through): (&Origin, &Seq)| {
            // Who wrote nothing yet was heard as far as there is anything.
            Some(*origin) == own || heard.get(origin).copied().unwrap_or_default() >= *through
        };
        let covering = self.rules.keep(Rule::TombstoneCovered);
        for seen in self.collector.seen.values_mut() {
            let known = |(told, vector): &mut (u64, Vector)| {
                *told <= list.members.told && (vector.iter().all(has) || !covering)
            };
            if let Some((_, vector)) = seen.pending.take_if(known) {
                seen.covered = Some(vector);
                self.collector.caught_up = true;
            }
        }
    }
}
