//! Plugins as guests: the only crate that knows wasmtime.
//!
//! A plugin turns a pool's spec into spans, spans into names and hints into plans. This crate loads plugins, checks them
//! before they serve, calls them from many threads at once, and survives whatever they do: a loop, a trap, a lie. It holds
//! no allocation and decides nothing about them; a guest's answer is checked like any input and becomes a
//! [`kernel`] value or an error.
//!
//! Invariant: no guest can stop the host or another type. Its numbers never index, its texts are bounded and printable, its
//! time, memory and stack are limited ([`Limits`]), and a guest that fails is thrown away and made anew.
//!
//! Start at [`PluginHost`]; the life of a plugin's file is in `intake`, one call in `plugin`, the interface in `v1`.

mod active;
mod catalog;
mod check;
mod digest;
mod engine;
mod error;
mod event;
mod fault;
mod health;
mod host;
mod intake;
mod judge;
mod lane;
mod limits;
mod live;
mod metrics;
mod plugin;
mod preflight;
mod printable;
mod refusal;
mod status;
mod subject;
mod v1;
mod watch;

pub use check::{CheckedFile, check_file};
pub use digest::{Digest, GeometryHash};
pub use error::{PluginError, PluginHostError, Problem, RetireError};
pub use event::PluginEvent;
pub use fault::FailureReason;
pub use host::{OpenedPool, PluginHost, Settings};
pub use limits::{LimitValues, Limits, LimitsError};
pub use live::{LivePool, LivePools, NameCursor, NamePage, NoPools, NotReread, Reading, Rereading};
pub use metrics::{Function, PluginMetrics};
pub use refusal::Refusal;
pub use status::{Descriptor, PluginState, PluginStatus, Source};
