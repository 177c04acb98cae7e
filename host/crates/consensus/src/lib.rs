//! A replicated log over an opaque state machine and an opaque transport, durable in one directory (`FORMAT.md`).
//!
//! The only crate that knows openraft. It does not know what an entry means, how a message travels, or who should be a
//! voter: those are the [`Machine`]'s, the [`Transport`]'s and the caller's business.
//!
//! What stays true:
//! - The machine is told of committed entries only, each once, in order, on every member.
//! - A vote or an entry is on the disk before anybody hears that it is.
//! - An entry is handed to a leader at most once per [`Consensus::propose`]. Where an error leaves open what became of it
//!   ([`ProposeError::outcome_unknown`]) the caller may propose it again, so entries carry ids that the machine knows.
//! - A member number belongs to one directory. A host that lost its directory comes back under a new number; messages to
//!   the old one are refused.
//!
//! Start with `consensus.rs`, then `ask.rs` (what goes to the leader) and `storage/`.

mod ask;
mod change;
mod consensus;
mod error;
mod handle;
mod machine;
mod network;
mod raft;
mod record;
mod settings;
mod state;
mod storage;
mod transport;
mod wire;

#[cfg(test)]
mod tests;

pub use ask::{MAX_ENTRY_BYTES, Outcome};
pub use consensus::Consensus;
pub use error::{ConsensusError, InitError, ProposeError, StorageError};
pub use machine::Machine;
pub use settings::{InvalidSettings, Settings};
pub use state::State;
pub use transport::{Call, Peer, Transport, Unreachable};
