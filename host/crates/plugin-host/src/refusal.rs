//! Why a plugin's file is not taken into service.

use std::time::Duration;

use crate::fault::FailureReason;

/// The first check a file did not pass. Whatever served before goes on serving.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the file could not be read: {0}")]
    Unreadable(String),
    #[error("the file has {found} bytes, allowed are {limit}")]
    TooLarge { found: u64, limit: usize },
    #[error("the file is not WebAssembly: it begins with {0}")]
    NotWasm(String),
    #[error("the file is a core module, not a component: pack it with `nexus plugin pack`")]
    CoreModule,
    #[error("the file ends too early, at byte {offset}: it was cut short or is still being written")]
    Truncated { offset: usize },
    #[error("the file is not a valid component, at byte {offset}: {detail}")]
    Malformed { offset: usize, detail: String },
    #[error("it imports {import}: plugins have no WASI; build for wasm32-unknown-unknown")]
    Wasi { import: String },
    #[error("it imports {import}; the only import a plugin may have is nexus:allocator/log")]
    ForeignImport { import: String },
    #[error("it is built for {found}, this host speaks up to {known}: a newer host is needed")]
    NewerInterface { found: String, known: &'static str },
    #[error("it does not export {wanted}; it exports {}", if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") })]
    NoGeometry { wanted: &'static str, exports: Vec<String> },
    #[error("compiling took longer than {limit:?}")]
    CompileTime { limit: Duration },
    #[error("another file is still compiling past its time; it will be tried again")]
    CompilerBusy,
    #[error("it does not compile: {0}")]
    Compile(String),
    #[error("its native code has {found} bytes, allowed are {limit}")]
    NativeCode { found: usize, limit: usize },
    #[error("it does not fit the interface: {0}")]
    Interface(String),
    #[error("its {call} failed ({reason}): {detail}")]
    Guest { call: &'static str, reason: FailureReason, detail: String },
    #[error("its descriptor's {field} is {found:?}; {wanted}")]
    Descriptor { field: &'static str, found: String, wanted: &'static str },
    #[error("it does not conform: {}", .0.join("; "))]
    Conformance(Vec<String>),
    #[error("live pool {pool} stands in the way: {problem}")]
    LivePool { pool: String, problem: String },
    #[error("the live pools cannot follow it now: {0}; it will be tried again")]
    PoolsBusy(String),
    #[error("{type_id} {found} is older than {serving}, which serves")]
    Older { type_id: String, found: String, serving: String },
    #[error("type {0} is retired; resume it or drop another file")]
    Retired(String),
    #[error("it could not be kept: {0}")]
    NotKept(String),
}
