//! Where in a log file whose operations are, so that those of one origin are found without reading all of it.
//!
//! In memory only: made when a start reads the file, or while it is written. A file of 16 MiB has some 256 stretches and up to
//! some 140 frames at its end, of a few dozen bytes for each origin.

use std::collections::{BTreeMap, VecDeque};

use kernel::{Dot, Fact, Op, Origin, Seq};

use super::frame::FrameAt;
use crate::record::{Block, Interner, Kind, RecordFault};

/// Frames are gathered into stretches of about this length, bytes.
const STRETCH_BYTES: u64 = 64 << 10;

/// Of the end of a file so much is known frame by frame: whoever tells others what was just written reads that, and no more.
const RECENT_BYTES: u64 = 16 << 10;

/// Whose numbers: of another origin, or (`None`) this host's own.
pub(crate) type Of = Option<Origin>;

/// The lowest and the highest number in some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
}

impl Numbers {
    fn add(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// Whether some of those above `after` and up to `upto` may be there.
    fn meets(&self, after: Seq, upto: Seq) -> bool {
        self.last > after && self.first <= upto
    }
}

/// The number an operation has in the log of whoever wrote it, and who that is.
pub(crate) fn number(from: Option<Dot>, seq: Seq) -> (Of, Seq) {
    from.map_or((None, seq), |dot| (Some(dot.origin), dot.seq))
}

/// What is in a frame, or in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) numbers: BTreeMap<Of, Numbers>,
    /// How far others were heard.
    pub(crate) heard: BTreeMap<Origin, Seq>,
    /// Of those, up to where a snapshot told what counts, and not the operations.
    pub(crate) adopted: BTreeMap<Origin, Seq>,
}

impl Contents {
    fn note(&mut self, of: Of, numbers: Numbers) {
        self.numbers.entry(of).and_modify(|known| known.add(numbers)).or_insert(numbers);
    }

    fn note_one(&mut self, from: Option<Dot>, seq: Seq) {
        let (of, seq) = number(from, seq);
        // Number 0 is in nobody's log: nobody asks for it, and nobody will say that he has it.
        if seq > Seq(0) {
            self.note(of, Numbers { first: seq, last: seq });
        }
    }

    fn note_heard(&mut self, origin: Origin, through: Seq) {
        let known = self.heard.entry(origin).or_default();
        *known = (*known).max(through);
    }

    fn note_adopted(&mut self, origin: Origin, through: Seq) {
        let known = self.adopted.entry(origin).or_default();
        *known = (*known).max(through);
        self.note_heard(origin, through);
    }

    /// What a fact says of how far others are known.
    fn note_fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Heard { origin, through } => self.note_heard(*origin, *through),
            Fact::Adopted(vector) => {
                for (origin, through) in vector.iter() {
                    self.note_adopted(*origin, *through);
                }
            }
            Fact::Pool(_)
            | Fact::PoolDeleted(_)
            | Fact::Realm(_)
            | Fact::Held(_)
            | Fact::Resting(_)
            | Fact::Free(_)
            | Fact::Reserved(_)
            | Fact::Unreserved { .. }
            | Fact::Clock
            | Fact::RestsOn(_)
            | Fact::Noted(_)
            | Fact::Unnoted(_)
            | Fact::Conflict(_)
            | Fact::ConflictClosed(_) => {}
        }
    }

    /// Of operations that are being written.
    pub(crate) fn of_ops(ops: &[Op]) -> Self {
        let mut found = Self::default();
        for op in ops {
            found.note_one(op.from, op.seq);
            found.note_fact(&op.fact);
        }
        found
    }

    fn read(&mut self, frame: &FrameAt<'_>) -> Result<(), RecordFault> {
        let block = Block::parse(frame.block)?;
        if block.is_own() {
            if frame.count > 0 {
                self.note(None, Numbers { first: frame.first_seq, last: Seq(frame.next_seq().0 - 1) });
            }
            return Ok(());
        }
        let mut interner = Interner::default();
        for record in block.records() {
            let record = record?;
            self.note_one(record.from, block.seq(&record)?);
            if matches!(record.kind, Kind::Heard | Kind::Adopted) {
                self.note_fact(&block.decode(&record, &mut interner)?.fact);
            }
        }
        Ok(())
    }

    /// Adds what another place has.
    pub(crate) fn add(&mut self, other: &Self) {
        for (of, numbers) in &other.numbers {
            self.note(*of, *numbers);
        }
        for (origin, through) in &other.heard {
            self.note_heard(*origin, *through);
        }
        for (origin, through) in &other.adopted {
            self.note_adopted(*origin, *through);
        }
    }
}

/// Frames that follow each other without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    from: u64,
    until: u64,
    numbers: BTreeMap<Of, Numbers>,
}

/// A place where an origin's operations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) numbers: Numbers,
    /// Bytes of the file, whole frames.
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// What is where in one file, as far as it is synced.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FileIndex {
    stretches: Vec<Stretch>,
    /// The last frames, each by itself, without a gap between them.
    recent: VecDeque<Stretch>,
    pub(crate) contents: Contents,
    /// The highest place in this host's log.
    pub(crate) last_seq: Seq,
    /// Why a frame of it is not understood, though it is as it was written.
    pub(crate) fault: Option<String>,
}

impl FileIndex {
    /// Notes the next frame of the file.
    pub(crate) fn note(&mut self, from: u64, until: u64, last_seq: Seq, contents: Contents) {
        self.contents.add(&contents);
        self.last_seq = self.last_seq.max(last_seq);
        if self.recent.back().is_some_and(|last| last.until != from) {
            self.gather_all_but(0);
        }
        self.recent.push_back(Stretch { from, until, numbers: contents.numbers });
        self.gather_all_but(RECENT_BYTES);
    }

    /// Gathers frames into stretches, the oldest first, until those that are left are so many bytes.
    fn gather_all_but(&mut self, most: u64) {
        while let (Some(first), Some(last)) = (self.recent.front(), self.recent.back())
            && last.until - first.from > most
            && let Some(Stretch { from, until, numbers }) = self.recent.pop_front()
        {
            let joined =
                self.stretches.last_mut().filter(|last| last.until == from && until - last.from <= STRETCH_BYTES);
            let Some(last) = joined else {
                self.stretches.push(Stretch { from, until, numbers });
                continue;
            };
            last.until = until;
            for (of, numbers) in numbers {
                last.numbers.entry(of).and_modify(|known| known.add(numbers)).or_insert(numbers);
            }
        }
    }

    /// Notes a frame that was found by a scan.
    pub(super) fn note_frame(&mut self, frame: &FrameAt<'_>) {
        let last_seq = Seq(frame.next_seq().0.saturating_sub(1));
        let mut contents = Contents::default();
        if let Err(fault) = contents.read(frame) {
            self.fault.get_or_insert_with(|| format!("the frame at byte {} is not understood {fault}", frame.offset));
        }
        self.note(frame.offset as u64, frame.end() as u64, last_seq, contents);
    }

    /// Where operations of the origin with numbers above `after` and up to `upto` may be.
    pub(crate) fn places(&self, of: Of, after: Seq, upto: Seq) -> impl Iterator<Item = Place> + '_ {
        let place = move |stretch: &Stretch| {
            let numbers = *stretch.numbers.get(&of)?;
            numbers.meets(after, upto).then_some(Place { numbers, from: stretch.from, until: stretch.until })
        };
        let recent = move || {
            self.recent.iter().filter_map(place).reduce(|mut all, place| {
                all.numbers.add(place.numbers);
                all.until = place.until;
                all
            })
        };
        // Most files have none of what was written last.
        let any = self.contents.numbers.get(&of).is_some_and(|numbers| numbers.meets(after, upto));
        any.then(|| self.stretches.iter().filter_map(place).chain(recent())).into_iter().flatten()
    }
}
