//! The ledger's laws under random commands, and each rule by an example.

mod asks;
mod bed;
mod closing;
mod laws;
mod members;
mod moves;
mod pools;
mod quarantine;
mod reading;
mod wild;
