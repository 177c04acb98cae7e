//! How a guest fails a call, as opposed to answering with one of the interface's errors.

use std::fmt;

use wasmtime::Trap;

use crate::printable::printable;

/// Why a guest did not answer, or why its answer cannot be used. The label `reason` of `nexus_plugin_failures_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The guest's code trapped.
    Trap,
    /// It ran past its deadline.
    Deadline,
    /// It asked for more memory than it may have, and gave up.
    Memory,
    /// It ran out of stack.
    Stack,
    /// It held too many handles.
    Handles,
    /// Its answer breaks the interface's promises: too large, outside the pool, not printable.
    Answer,
    /// It said that it failed.
    Internal,
    /// Its file was refused.
    Refused,
}

impl FailureReason {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Handles => "handles",
            Self::Answer => "answer",
            Self::Internal => "internal",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed guest call. The instance it came from is not used again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub(crate) struct Fault {
    pub(crate) reason: FailureReason,
    pub(crate) detail: String,
}

impl Fault {
    /// The answer breaks a promise of the interface.
    pub(crate) fn answer(detail: impl Into<String>) -> Self {
        Self { reason: FailureReason::Answer, detail: detail.into() }
    }

    /// Sorts what wasmtime reports. `memory_denied`: the instance was refused memory before it failed.
    pub(crate) fn of(error: &wasmtime::Error, memory_denied: bool) -> Self {
        let detail = printable(&format!("{:#}", error.root_cause()), 512);
        let reason = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt | Trap::OutOfFuel) => FailureReason::Deadline,
            Some(Trap::StackOverflow) => FailureReason::Stack,
            Some(_) if memory_denied => FailureReason::Memory,
            Some(
                Trap::StringOutOfBounds
                | Trap::ListOutOfBounds
                | Trap::InvalidChar
                | Trap::InvalidDiscriminant
                | Trap::UnalignedPointer,
            ) => FailureReason::Answer,
            Some(_) => FailureReason::Trap,
            // Not a trap: wasmtime's own checks of what crosses the border, which it tells apart by text alone.
            None if detail.contains("handle limit exceeded") => FailureReason::Handles,
            None if detail.contains("hostcalls") => FailureReason::Answer,
            None if memory_denied => FailureReason::Memory,
            None => FailureReason::Answer,
        };
        Self { reason, detail }
    }
}
