//! What the log drives.

/// A deterministic state machine: the same entries in the same order lead to the same state and outcomes on every member.
///
/// It is called by one task. It should not wait: while it works nothing else is applied.
pub trait Machine: Send + Sync + 'static {
    /// Applies one committed entry and says what came of it. Called once per entry and life of the process, in order; a
    /// restart begins with the last snapshot and applies what came after it again.
    ///
    /// # Errors
    ///
    /// Says why this member cannot understand the entry although others may. The member stops then: to go on without it
    /// would make another state than theirs.
    fn apply(&mut self, index: u64, entry: &[u8]) -> Result<Vec<u8>, String>;

    /// The log's own entries (a new leader, a change of members) take an index too; the machine only hears of it.
    fn passed(&mut self, index: u64);

    /// The whole state as bytes, which [`Machine::restore`] of any member understands.
    fn snapshot(&self) -> Vec<u8>;

    /// Whether [`Machine::restore`] would take a snapshot. It is asked before the snapshot replaces the former one on the disk;
    /// the state changes only after that, because whoever follows it acts on it at once.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the bytes.
    fn check(&self, index: u64, snapshot: &[u8]) -> Result<(), String>;

    /// Replaces the whole state by that of a snapshot that covers every entry up to `index`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the bytes. The member stops then: it cannot go on without that state.
    fn restore(&mut self, index: u64, snapshot: &[u8]) -> Result<(), String>;
}
