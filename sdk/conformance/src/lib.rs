//! The checks a plugin must pass, over a [`Subject`]: native code in an author's `#[test]`, or a component in a host.
//!
//! The kit judges only what comes out of the interface. It knows no WASM, opens no file and takes no plugin's word for
//! granted; it never panics on what a plugin says, so a host may run it on a file it does not trust. What a plugin may
//! use (memory, time) is the subject's to enforce: breaking a limit is a [`Broken`] call, and that fails the check.
//!
//! A plugin's test is one line: `check_native::<MyType>(Profile::Full).assert_passed()`; the SDK's examples have it.

mod behaviour;
mod descriptor;
mod layout;
mod mutate;
mod names;
mod native;
mod random;
mod report;
mod requests;
mod run;
mod sample;
mod structure;
mod subject;

pub use layout::faults as layout_faults;
pub use native::Native;
pub use report::{Check, Outcome, Profile, Report};
pub use run::{check, check_native};
pub use subject::{Broken, CallError, Instance, PoolHandle, Structure, Subject, Usage};
