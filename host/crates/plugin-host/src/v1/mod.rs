//! `nexus:allocator@1`, the interface of `wit/`: bindings, one component, one instance.
//!
//! When a `v2` arrives, this module only converts into it.

mod convert;
mod guest;
mod log;
pub(crate) mod overtime;

pub(crate) use guest::{CallError, Component, Guest};

/// Generated from `wit/`.
#[allow(
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "generated code"
)]
mod bindings {
    wasmtime::component::bindgen!({ path: "../../../wit", world: "allocator" });
}

use bindings::exports::nexus::allocator::geometry as wit;
use bindings::nexus::allocator::types;
