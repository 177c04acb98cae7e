//! A recorded run, and the states a power cut may leave of it.
//!
//! What a medium promises: after a file was synced, its bytes are there; after a directory was synced, its names are.
//! Of everything since, any part may be there: of writes to a file any selection, each whole or in part; of a
//! directory's changes any beginning (file systems keep them in a journal).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A step of the run. `recorder.c` writes them.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) kind: char,
    pub(crate) path: PathBuf,
    offset: u64,
    pub(crate) data: Rc<[u8]>,
}

/// Reads a trace.
pub(crate) fn steps(raw: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = raw;
    let take = |rest: &mut &[u8], len: usize| {
        let (taken, left) = rest.split_at(len);
        *rest = left;
        taken.to_vec()
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    while !rest.is_empty() {
        let kind = char::from(take(&mut rest, 1)[0]);
        let path_len = usize::try_from(number(&take(&mut rest, 4))).unwrap();
        let path = PathBuf::from(String::from_utf8(take(&mut rest, path_len)).unwrap());
        let offset = number(&take(&mut rest, 8));
        let data_len = usize::try_from(number(&take(&mut rest, 4))).unwrap();
        steps.push(Step { kind, path, offset, data: take(&mut rest, data_len).into() });
    }
    steps
}

/// How much of what was not synced survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survives {
    Nothing,
    Everything,
    /// Bytes but no names, or names but no bytes.
    BytesOnly,
    NamesOnly,
    /// Any part, by this generator.
    Some(u64),
    /// Any part with the last writes likelier than the first.
    Latest(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Rc<[u8]>),
    Cut(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Make(PathBuf, Entry),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    File(usize),
    Dir,
}

#[derive(Clone, Debug, Default)]
struct Bytes {
    synced: Vec<u8>,
    since: Vec<Change>,
}

/// The medium and what is on its way there.
#[derive(Debug, Default)]
pub(crate) struct Medium {
    files: Vec<Bytes>,
    /// Names as the process sees them.
    now: BTreeMap<PathBuf, Entry>,
    synced: BTreeMap<PathBuf, Entry>,
    /// By directory.
    since: BTreeMap<PathBuf, Vec<NameChange>>,
}

fn apply(bytes: &mut Vec<u8>, change: &Change, stays: usize) {
    match change {
        Change::Cut(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        Change::Write(offset, data) => {
            let at = usize::try_from(*offset).unwrap();
            let end = at + stays.min(data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(&data[..end - at]);
        }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, Entry>, from: &Path, to: &Path) {
    if let Some(entry) = names.remove(from) {
        names.insert(to.to_owned(), entry);
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, Entry>, change: &NameChange) {
    match change {
        NameChange::Make(path, entry) => drop(names.insert(path.clone(), *entry)),
        NameChange::Remove(path) => drop(names.remove(path)),
        NameChange::Rename(from, to) => rename(names, from, to),
    }
}

impl Medium {
    fn note(&mut self, change: NameChange) {
        let (NameChange::Make(path, _) | NameChange::Remove(path) | NameChange::Rename(path, _)) = &change;
        let parent = path.parent().unwrap().to_owned();
        apply_name(&mut self.now, &change);
        self.since.entry(parent).or_default().push(change);
    }

    /// The next step of the run happens.
    pub(crate) fn take(&mut self, step: &Step) {
        let path = &step.path;
        match step.kind {
            'C' => {
                self.files.push(Bytes::default());
                self.note(NameChange::Make(path.clone(), Entry::File(self.files.len() - 1)));
            }
            'D' => self.note(NameChange::Make(path.clone(), Entry::Dir)),
            'U' => self.note(NameChange::Remove(path.clone())),
            'R' => {
                let to = PathBuf::from(std::str::from_utf8(&step.data).unwrap());
                self.note(NameChange::Rename(path.clone(), to));
            }
            'W' | 'T' => {
                let Some(Entry::File(file)) = self.now.get(path) else { panic!("{} was not made", path.display()) };
                let write = || Change::Write(step.offset, Rc::clone(&step.data));
                let change = if step.kind == 'W' { write() } else { Change::Cut(step.offset) };
                self.files[*file].since.push(change);
            }
            'S' => match self.now.get(path) {
                Some(Entry::File(file)) => {
                    let file = &mut self.files[*file];
                    for change in std::mem::take(&mut file.since) {
                        apply(&mut file.synced, &change, usize::MAX);
                    }
                }
                // A directory: its own, or the one above all, which was there before.
                _ => {
                    for change in self.since.remove(path).unwrap_or_default() {
                        apply_name(&mut self.synced, &change);
                    }
                }
            },
            other => panic!("step {other:?} is unknown"),
        }
    }

    /// True if something could be lost now.
    pub(crate) fn is_at_risk(&self) -> bool {
        !self.since.is_empty() || self.files.iter().any(|file| !file.since.is_empty())
    }

    /// Writes what a power cut leaves now of everything below `root` into the directory `to`.
    pub(crate) fn image(&self, root: &Path, to: &Path, survives: Survives) {
        let mut random = Random::new(survives);
        let mut names = self.synced.clone();
        for changes in self.since.values() {
            let kept = match survives {
                Survives::Nothing | Survives::BytesOnly => 0,
                Survives::Everything | Survives::NamesOnly => changes.len(),
                Survives::Some(_) | Survives::Latest(_) => random.below(changes.len() + 1),
            };
            for change in &changes[..kept] {
                apply_name(&mut names, change);
            }
        }
        fs::create_dir_all(to).unwrap();
        // Parents sort before what is in them; what has lost its parent is lost with it.
        for (path, entry) in &names {
            let Ok(place) = path.strip_prefix(root) else { continue };
            let place = to.join(place);
            if !place.parent().unwrap().is_dir() {
                continue;
            }
            match entry {
                Entry::Dir => fs::create_dir_all(place).unwrap(),
                Entry::File(file) => fs::write(place, self.bytes(*file, survives, &mut random)).unwrap(),
            }
        }
    }

    fn bytes(&self, file: usize, survives: Survives, random: &mut Random) -> Vec<u8> {
        let Bytes { synced, since } = &self.files[file];
        let mut bytes = synced.clone();
        for (place, change) in since.iter().enumerate() {
            let stays = match survives {
                Survives::Nothing | Survives::NamesOnly => continue,
                Survives::Everything | Survives::BytesOnly => usize::MAX,
                Survives::Some(_) => match random.below(4) {
                    0 | 1 => continue,
                    // A sector is whole or not.
                    2 => random.below(64) * 512,
                    _ => usize::MAX,
                },
                Survives::Latest(_) => {
                    if random.below(since.len()) > place {
                        continue;
                    }
                    usize::MAX
                }
            };
            apply(&mut bytes, change, stays);
        }
        bytes
    }
}

/// Splitmix64: the same seed gives the same image.
struct Random(u64);

impl Random {
    fn new(survives: Survives) -> Self {
        let (Survives::Some(seed) | Survives::Latest(seed)) = survives else { return Self(0) };
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % bound).unwrap()
    }
}
