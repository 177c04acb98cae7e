//! One component checked on its own, with no daemon: what `nexus plugin check` runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nexus_plugin_conformance::Profile;

use crate::digest::Digest;
use crate::engine::{Metering, PluginEngine};
use crate::error::PluginHostError;
use crate::intake;
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::status::Descriptor;
use crate::subject;
use crate::v1::Component;

/// What a component is and what the checks found.
#[derive(Clone, Debug)]
pub struct CheckedFile {
    pub digest: Digest,
    /// What it says about itself, or the first thing that keeps it from saying so.
    pub descriptor: Result<Descriptor, Refusal>,
    /// One line a check: `ok`, `FAILED` or `skipped`, its name, and what was found. Empty without a descriptor.
    pub report: String,
    /// True if it may serve.
    pub passed: bool,
    /// Bytes of native code made of it; 0 if it does not compile.
    pub native_bytes: usize,
    /// How long compiling took, with the checks before it.
    pub compile_time: Duration,
    /// How long one instance took to make.
    pub instantiate_time: Duration,
}

/// Runs the whole conformance kit on a component's bytes, with fuel counted: seconds, not milliseconds.
pub fn check_file(limits: Limits, bytes: &[u8]) -> Result<CheckedFile, PluginHostError> {
    let engine = Arc::new(PluginEngine::new(limits, Metering::Fuel)?);
    let started = Instant::now();
    let compiled = Component::new(&engine, Metering::Fuel, "check", &bytes.into());
    let mut checked = CheckedFile {
        digest: Digest::of(bytes),
        descriptor: compiled.as_ref().map_err(Clone::clone).and_then(intake::describe),
        report: String::new(),
        passed: false,
        native_bytes: 0,
        compile_time: started.elapsed(),
        instantiate_time: Duration::ZERO,
    };
    if let Ok(component) = compiled {
        checked.native_bytes = component.native_bytes();
        let started = Instant::now();
        if component.instantiate().is_ok() {
            checked.instantiate_time = started.elapsed();
        }
        if checked.descriptor.is_ok() {
            let report = subject::conform(&component, bytes.len(), Profile::Full);
            (checked.passed, checked.report) = (report.passed(), report.to_string());
        }
    }
    Ok(checked)
}
