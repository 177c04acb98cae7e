//! Whole hosts on loopback.

mod bounds;
mod finding;
mod gossip;
mod hostile;
mod strangers;
mod talk;
