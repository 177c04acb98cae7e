//! What the kernel does, command by command. Each test is named by its claim.

mod allocate;
mod bed;
mod clocks;
mod cluster;
mod digest;
mod heard;
mod leases;
mod limbo;
mod notes;
mod pools;
mod quarantine;
mod realms;
mod reservations;
mod snapshot;
mod supersede;
