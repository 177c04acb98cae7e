//! What a plugin may use. Every figure is positive and in range once a [`Limits`] exists; there is no `Default`: the
//! configuration names them, and [`Limits::small`] is what it starts from.

use std::time::Duration;

/// The figures, unchecked: what a configuration fills in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitValues {
    /// Largest component file, bytes.
    pub file_bytes: usize,
    /// Longest compilation.
    pub compile_time: Duration,
    /// Largest native code made of it, bytes.
    pub code_bytes: usize,
    /// Largest linear memory, bytes.
    pub memory_bytes: usize,
    /// Linear memories of one instance.
    pub memories: usize,
    /// Tables of one instance.
    pub tables: usize,
    /// Native stack of a call, bytes.
    pub stack_bytes: usize,
    /// CPU for render, interpret and parse. The wall-clock deadline is [`wall_factor`](Self::wall_factor) times this.
    pub hot_cpu: Duration,
    /// CPU for describe, open, layout, summarize and attributes.
    pub cold_cpu: Duration,
    /// How many times the CPU budget a call may take by the clock: generous, so that a starved machine does not punish
    /// an innocent plugin.
    pub wall_factor: u32,
    /// Longest spec, bytes.
    pub spec_bytes: usize,
    /// Longest name of a resource, bytes.
    pub name_bytes: usize,
    /// Most spans or names in one guest call; longer lists are cut into several.
    pub spans_per_call: usize,
    /// Most hints of a request.
    pub hints: usize,
    /// Longest key or value of a hint or attribute, bytes.
    pub hint_bytes: usize,
    /// Longest log line, bytes; the rest is cut.
    pub log_bytes: usize,
    /// Most log lines a second over all instances; the rest is counted.
    pub log_lines: u32,
    /// Most bytes a guest may send in one call.
    pub answer_bytes: usize,
    /// Most live handles of an instance.
    pub handles: usize,
    /// Most pools kept open in one instance; the least recently used is closed.
    pub open_pools: usize,
}

/// Checked [`LimitValues`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits(LimitValues);

/// A figure that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin limit {name} is {found}, allowed are {least} to {most}")]
pub struct LimitsError {
    /// The field of [`LimitValues`].
    pub name: &'static str,
    pub found: u128,
    pub least: u128,
    pub most: u128,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl Limits {
    /// Checks every figure; the first fault found is returned.
    pub fn new(values: LimitValues) -> Result<Self, LimitsError> {
        let size = |name, found: usize, least: usize, most: usize| {
            let (found, least, most) = (found as u128, least as u128, most as u128);
            if (least..=most).contains(&found) { Ok(()) } else { Err(LimitsError { name, found, least, most }) }
        };
        let millis = |name, found: Duration, most: u128| {
            let found = found.as_millis();
            if (1..=most).contains(&found) { Ok(()) } else { Err(LimitsError { name, found, least: 1, most }) }
        };
        size("file_bytes", values.file_bytes, KIB, 256 * MIB)?;
        millis("compile_time", values.compile_time, 600_000)?;
        size("code_bytes", values.code_bytes, KIB, 512 * MIB)?;
        size("memory_bytes", values.memory_bytes, 64 * KIB, 1024 * MIB)?;
        size("memories", values.memories, 1, 16)?;
        size("tables", values.tables, 1, 64)?;
        // Above a megabyte the stack of a host thread (2 MiB) would not hold guest and host together.
        size("stack_bytes", values.stack_bytes, 64 * KIB, MIB)?;
        millis("hot_cpu", values.hot_cpu, 10_000)?;
        millis("cold_cpu", values.cold_cpu, 60_000)?;
        size("wall_factor", values.wall_factor as usize, 1, 1_000)?;
        size("spec_bytes", values.spec_bytes, 64, 16 * MIB)?;
        size("name_bytes", values.name_bytes, 1, 64 * KIB)?;
        size("spans_per_call", values.spans_per_call, 1, 64 * KIB)?;
        size("hints", values.hints, 1, 1_024)?;
        size("hint_bytes", values.hint_bytes, 1, 64 * KIB)?;
        size("log_bytes", values.log_bytes, 1, MIB)?;
        size("log_lines", values.log_lines as usize, 0, MIB)?;
        size("answer_bytes", values.answer_bytes, 4 * KIB, 256 * MIB)?;
        size("handles", values.handles, 16, 1_000_000)?;
        size("open_pools", values.open_pools, 1, values.handles / 2)?;
        Ok(Self(values))
    }

    /// The limits of a plugin written in a compiled language: a file of 2 MiB, 16 MiB of memory, 2 ms a hot call. The
    /// values a configuration starts from.
    pub const fn small() -> Self {
        Self(LimitValues {
            file_bytes: 2 * MIB,
            compile_time: Duration::from_secs(30),
            code_bytes: 8 * MIB,
            memory_bytes: 16 * MIB,
            memories: 1,
            tables: 4,
            stack_bytes: 256 * KIB,
            hot_cpu: Duration::from_millis(2),
            cold_cpu: Duration::from_millis(50),
            wall_factor: 20,
            spec_bytes: 64 * KIB,
            name_bytes: 255,
            spans_per_call: 1_024,
            hints: 16,
            hint_bytes: 256,
            log_bytes: KIB,
            log_lines: 100,
            answer_bytes: MIB,
            handles: 4_096,
            open_pools: 256,
        })
    }

    /// The figures.
    pub const fn values(&self) -> &LimitValues {
        &self.0
    }

    /// Ticks of the epoch clock (1 ms) a hot call may take.
    pub(crate) fn hot_ticks(&self) -> u64 {
        self.ticks(self.0.hot_cpu)
    }

    /// Ticks of the epoch clock (1 ms) any other call may take.
    pub(crate) fn cold_ticks(&self) -> u64 {
        self.ticks(self.0.cold_cpu)
    }

    fn ticks(&self, cpu: Duration) -> u64 {
        u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX).saturating_mul(u64::from(self.0.wall_factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_limits_are_in_range() {
        let small = Limits::small();
        assert_eq!(Limits::new(small.values().clone()), Ok(small));
    }

    #[test]
    fn a_stack_that_a_host_thread_cannot_hold_is_refused() {
        let mut values = Limits::small().values().clone();
        values.stack_bytes = 8 * MIB;
        let refused = Limits::new(values).unwrap_err();
        assert_eq!(refused.to_string(), "plugin limit stack_bytes is 8388608, allowed are 65536 to 1048576");
    }

    #[test]
    fn no_time_at_all_is_refused() {
        let mut values = Limits::small().values().clone();
        values.hot_cpu = Duration::from_micros(10);
        assert_eq!(Limits::new(values).unwrap_err().name, "hot_cpu");
    }
}
