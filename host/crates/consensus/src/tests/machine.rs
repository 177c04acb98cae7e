//! A machine that remembers all it was told, and applies an entry once however often it is proposed.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::Machine;

/// What a machine knows: the entries in the order in which they first came, and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) index: Option<u64>,
    /// Not part of the state: how this process came to it.
    pub(crate) restored: u64,
}

/// Clones share the memory, so that a test can look into a machine it gave away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    memory: Arc<Mutex<Memory>>,
}

impl Recorder {
    /// An entry that no machine understands.
    pub(crate) const UNKNOWN: &'static [u8] = b"of a newer build";

    pub(crate) fn entries(&self) -> Vec<String> {
        self.memory.lock().entries.iter().map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
    }

    pub(crate) fn restored(&self) -> u64 {
        self.memory.lock().restored
    }

    fn step(&self, index: u64) {
        let mut memory = self.memory.lock();
        let next = memory.index.map_or(0, |before| before + 1);
        assert_eq!(index, next, "every index comes once and in order");
        memory.index = Some(index);
    }
}

impl Machine for Recorder {
    fn apply(&mut self, index: u64, entry: &[u8]) -> Result<Vec<u8>, String> {
        if entry == Self::UNKNOWN {
            return Err("it is of a newer build".to_owned());
        }
        self.step(index);
        let mut memory = self.memory.lock();
        let known = memory.entries.iter().position(|known| known == entry);
        let position = known.unwrap_or_else(|| {
            memory.entries.push(entry.to_vec());
            memory.entries.len() - 1
        });
        Ok(format!("{position}").into_bytes())
    }

    fn passed(&mut self, index: u64) {
        self.step(index);
    }

    fn snapshot(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.memory.lock().entries).expect("plain bytes")
    }

    fn check(&self, _: u64, snapshot: &[u8]) -> Result<(), String> {
        postcard::from_bytes::<Vec<Vec<u8>>>(snapshot).map(drop).map_err(|why| why.to_string())
    }

    fn restore(&mut self, index: u64, snapshot: &[u8]) -> Result<(), String> {
        let entries = postcard::from_bytes(snapshot).map_err(|why| why.to_string())?;
        let mut memory = self.memory.lock();
        *memory = Memory { entries, index: Some(index), restored: memory.restored + 1 };
        Ok(())
    }
}
