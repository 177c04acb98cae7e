//! `nexus_plugin_call_duration_seconds` and `nexus_plugin_failures_total`.

use std::fmt;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use crate::error::PluginHostError;
use crate::fault::FailureReason;

/// A function of the interface, the label `function`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `pool.open` and `pool.layout` together: reading a spec.
    Open,
    Render,
    Parse,
    Interpret,
    Summarize,
    Attributes,
}

impl Function {
    /// Every function, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Render, Self::Parse, Self::Interpret, Self::Summarize, Self::Attributes];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Render => "render",
            Self::Parse => "parse",
            Self::Interpret => "interpret",
            Self::Summarize => "summarize",
            Self::Attributes => "attributes",
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What all plugins together report. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct PluginMetrics {
    durations: HistogramVec,
    failures: IntCounterVec,
}

impl PluginMetrics {
    /// Metrics that no registry shows yet.
    pub fn new() -> Result<Self, PluginHostError> {
        // From a quarter of a microsecond, which a call costs at least, to a second, which none may take.
        let buckets = prometheus::exponential_buckets(250e-9, 4.0, 12).map_err(PluginHostError::Metrics)?;
        let durations = HistogramOpts::new("nexus_plugin_call_duration_seconds", "Time a call of a plugin took.");
        let failures = Opts::new("nexus_plugin_failures_total", "Calls of a plugin, and files, that failed.");
        Ok(Self {
            durations: HistogramVec::new(durations.buckets(buckets), &["type", "function"])
                .map_err(PluginHostError::Metrics)?,
            failures: IntCounterVec::new(failures, &["type", "reason"]).map_err(PluginHostError::Metrics)?,
        })
    }

    /// Shows them in `registry`.
    pub fn register(&self, registry: &Registry) -> Result<(), PluginHostError> {
        registry.register(Box::new(self.durations.clone())).map_err(PluginHostError::Metrics)?;
        registry.register(Box::new(self.failures.clone())).map_err(PluginHostError::Metrics)
    }

    /// The counter of one kind of failure. `type_id` is `unknown` for a file that was refused before it said its type.
    pub(crate) fn failures(&self, type_id: &str, reason: FailureReason) -> IntCounter {
        self.failures.with_label_values(&[type_id, reason.as_str()])
    }

    /// One histogram for each of [`Function::ALL`], looked up once so that a call does not.
    pub(crate) fn durations(&self, type_id: &str) -> [Histogram; 6] {
        Function::ALL.map(|function| self.durations.with_label_values(&[type_id, function.as_str()]))
    }
}
