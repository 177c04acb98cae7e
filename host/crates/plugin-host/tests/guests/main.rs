//! The plugin host against real guests: well behaved, hostile, cut short, swapped while they serve.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod bench;
mod built;
mod calls;
mod guest;
mod hostile;
mod life;
mod mutated;
mod refused;
