//! The committed read view: everything that look-ups, lists and watches are served from, on the request's own thread.
//!
//! It shows flushed records only: the flusher applies a group after its sync and before any of its replies leaves, so
//! whoever got an answer finds it here. It decides nothing; what may be handed out is the kernel's business. Allocations
//! are shared with the kernel (`Arc`), so the view costs only its indexes.

mod conflicts;
mod cursor;
mod events;
mod notes;
mod places;
mod pools;
mod subscribers;
#[cfg(test)]
mod tests;
mod view;

pub use conflicts::OpenConflict;
pub use cursor::{InvalidCursor, ListCursor};
pub use events::{Event, EventGap, EventKind, NoteChange, PoolChange};
pub use notes::NotePage;
pub use view::{AllocationFilter, BootClock, Page, View};
