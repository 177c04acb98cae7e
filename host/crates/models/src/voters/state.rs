//! What the model of voters remembers, and what may happen next.

use super::{Action, Breach, HOSTS, Voters};

/// A set of hosts, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct List(pub u8);

impl List {
    fn hosts(self) -> impl Iterator<Item = usize> {
        (0..HOSTS).filter(move |host| self.0 >> host & 1 == 1)
    }

    fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether so many of it are a majority.
    fn is_most(self, count: usize) -> bool {
        count * 2 > self.len()
    }

    fn every() -> impl Iterator<Item = Self> {
        (1..1 << HOSTS).map(Self)
    }
}

/// The leader knows what has to be known before the next list counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Preparation {
    /// The next list.
    pub next: List,
    /// How much of the holder's log a majority of the voters knew.
    pub known: usize,
}

/// The whole world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Records in the holder's log.
    pub written: usize,
    /// How much of it each host has.
    pub has: [usize; HOSTS],
    /// The lists so far.
    pub lists: Vec<List>,
    /// Which of them the holder counts with.
    pub knows: usize,
    /// How much the holder counted as known to a majority.
    pub counted: usize,
    /// What the leader prepared.
    pub prepared: Option<Preparation>,
    /// Which list counted when the holder was deposed.
    pub deposed: Option<usize>,
}

impl State {
    pub(super) fn new(first: List) -> Self {
        Self { written: 0, has: [0; HOSTS], lists: vec![first], knows: 0, counted: 0, prepared: None, deposed: None }
    }

    pub(super) fn last(&self) -> List {
        self.lists[self.lists.len() - 1]
    }

    fn having(&self, list: List, records: usize) -> usize {
        list.hosts().filter(|host| self.has[*host] >= records).count()
    }

    /// Whoever asks any majority of the voters, of then or later, hears what was counted.
    pub(super) fn found(&self) -> bool {
        let Some(deposed) = self.deposed else { return true };
        self.lists[deposed..].iter().all(|list| !list.is_most(list.len() - self.having(*list, self.counted)))
    }

    pub(super) fn actions(&self, model: &Voters, actions: &mut Vec<Action>) {
        let there = self.deposed.is_none();
        if there {
            actions.extend((self.written < model.writes).then_some(Action::Write));
            actions.extend((0..HOSTS).map(Action::Push));
            actions.extend([Action::Count, Action::Depose]);
            actions.extend((self.knows + 1 < self.lists.len()).then_some(Action::Learn));
        }
        actions.extend((0..HOSTS).flat_map(|to| (0..HOSTS).map(move |from| Action::Pull(to, from))));
        let awaited = !there || self.knows + 1 == self.lists.len() || model.breaks(Breach::HolderNotAwaited);
        if awaited && self.lists.len() <= model.changes && self.prepared.is_none() {
            let now = self.last();
            let one = |next: &List| List(next.0 ^ now.0).len() == 1 || model.breaks(Breach::AtOnce);
            for next in List::every().filter(|next| *next != now).filter(one) {
                let asked = List::every().filter(|asked| asked.0 & !now.0 == 0 && now.is_most(asked.len()));
                actions.extend(asked.map(|asked| Action::Prepare(next, asked)));
            }
        }
        if let Some(Preparation { next, known }) = self.prepared
            && (next.is_most(self.having(next, known)) || model.breaks(Breach::NotHandedOn))
        {
            actions.push(Action::Change);
        }
    }

    pub(super) fn apply(&mut self, action: &Action) {
        match *action {
            Action::Write => self.written += 1,
            Action::Push(to) => self.has[to] = self.written,
            Action::Pull(to, from) => self.has[to] = self.has[to].max(self.has[from]),
            Action::Count => {
                let list = self.lists[self.knows];
                let known = (0..=self.written).rev().find(|records| list.is_most(self.having(list, *records)));
                self.counted = self.counted.max(known.unwrap_or_default());
            }
            Action::Learn => self.knows += 1,
            Action::Prepare(next, asked) => {
                let known = asked.hosts().map(|host| self.has[host]).max().unwrap_or_default();
                self.prepared = Some(Preparation { next, known });
            }
            Action::Change => {
                if let Some(Preparation { next, .. }) = self.prepared.take() {
                    self.lists.push(next);
                }
            }
            Action::Depose => self.deposed = Some(self.lists.len() - 1),
        }
    }
}
