//! The plugin host against real guests: well behaved, hostile, cut short, swapped while they serve.

mod bench;
mod built;
mod calls;
mod guest;
mod hostile;
mod life;
mod mutated;
mod refused;
