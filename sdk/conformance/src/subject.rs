//! What the checks are run against: a plugin, however it is hosted.

use std::fmt;

use nexus_plugin_contract::{Attribute, Descriptor, Layout, Plan, PluginError, Span};

/// The call did not come back with an answer of the interface: a trap, a missed deadline, too much memory, a result
/// over a limit. Natively: a panic. The text says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The plugin answered with one of the interface's errors.
    Refused(PluginError),
    /// It did not answer. Never right, whatever was asked.
    Broken(Broken),
}

impl From<Broken> for CallError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<PluginError> for CallError {
    fn from(error: PluginError) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

/// A pool that an [`Instance`] opened. Means something to that instance only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolHandle(pub u64);

/// What the file itself says, before anything runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    pub file_bytes: u64,
    /// Full names of the imported interfaces, as in `nexus:allocator/log@1.0.0`.
    pub imports: Vec<String>,
    /// Full names of the exported interfaces.
    pub exports: Vec<String>,
}

/// What an instance has used so far; none where it cannot be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Size of the linear memories.
    pub memory_bytes: Option<u64>,
    /// Fuel burnt since the instance was made: a measure that repeats, unlike time.
    pub fuel: Option<u64>,
}

/// A plugin that can be instantiated.
pub trait Subject {
    /// The file's structure; none if there is no file (native code).
    fn structure(&self) -> Option<Structure>;

    /// A fresh instance that shares nothing with those before it.
    ///
    /// # Errors
    /// [`Broken`] if it cannot be made within the limits.
    fn instantiate(&self) -> Result<Box<dyn Instance + '_>, Broken>;
}

/// One instance: the functions of `wit/geometry.wit`, one for one.
///
/// After an answer of [`Broken`] the instance is not used again.
pub trait Instance {
    /// `describe`.
    fn describe(&mut self) -> Result<Descriptor, Broken>;
    /// `pool.open`.
    fn open(&mut self, spec: &str) -> Result<PoolHandle, CallError>;
    /// Drops a pool's handle. A handle that is not open is the kit's own fault.
    fn close(&mut self, pool: PoolHandle) -> Result<(), Broken>;
    /// `pool.layout`.
    fn layout(&mut self, pool: PoolHandle) -> Result<Layout, Broken>;
    /// `pool.render`. The kit never passes more than 1,024 spans, except to see that the limit holds.
    fn render(&mut self, pool: PoolHandle, spans: &[Span]) -> Result<Vec<String>, CallError>;
    /// `pool.parse`.
    fn parse(&mut self, pool: PoolHandle, names: &[String]) -> Result<Vec<Result<Span, PluginError>>, Broken>;
    /// `pool.interpret`.
    fn interpret(&mut self, pool: PoolHandle, hints: &[Attribute]) -> Result<Plan, CallError>;
    /// `pool.summarize`.
    fn summarize(&mut self, pool: PoolHandle, run: Span) -> Result<Vec<String>, CallError>;
    /// `pool.attributes`.
    fn attributes(&mut self, pool: PoolHandle, span: Span) -> Result<Vec<Attribute>, CallError>;
    /// What it has used so far.
    fn usage(&mut self) -> Usage;
}
