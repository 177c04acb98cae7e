//! Small models of the cluster's protocols, each checked in every state that it can reach.
//!
//! A model keeps only what its protocol is about: [`takeover`] of a leased shard, the voluntary [`handover`] of an escrow
//! shard, changes of the [`voters`], and the collection of [`tombstone`]s. It shares no code with what runs, so that a mistake made there is not
//! repeated here; the price is that nothing but a reader compares the two. Each rule of a protocol can be broken by name
//! (`Breach`), and a test demands that the checker notices: a rule that nothing misses is not tested.
//! What the models leave out is in the crate's README, the rules are in the kernel's `PROTOCOL.md`.

#![allow(clippy::indexing_slicing, reason = "a model's arrays have a fixed size; a wrong index must fail loudly")]

mod explore;
pub mod handover;
pub mod takeover;
pub mod tombstone;
pub mod voters;

pub use explore::{Found, counterexample, explore};
