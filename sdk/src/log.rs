//! Lines in the host's log, under the plugin's name. Longer than 1 KiB is cut, past 100 a second they are dropped.
//!
//! Natively they go to standard error, so a test shows them.

/// Something the operator must look at.
pub fn error(message: &str) {
    write(Level::Error, message);
}

/// Something is odd but served.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// A fact worth knowing once.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Detail for the author.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

#[cfg(target_arch = "wasm32")]
use crate::bindings::nexus::allocator::log::{Level, write};

#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy, Debug)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str) {
    eprintln!("plugin {level:?}: {message}");
}
