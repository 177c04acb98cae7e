//! One component checked on its own, with no daemon: what `nexus plugin check` runs.

use std::sync::Arc;

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
}

/// Runs the whole conformance kit on a component's bytes, with fuel counted: seconds, not milliseconds.
pub fn check_file(limits: Limits, bytes: &[u8]) -> Result<CheckedFile, PluginHostError> {
    let engine = Arc::new(PluginEngine::new(limits, Metering::Fuel)?);
    let examined = Component::new(&engine, Metering::Fuel, "check", &bytes.into())
        .and_then(|component| intake::describe(&component).map(|descriptor| (component, descriptor)));
    let digest = Digest::of(bytes);
    Ok(match examined {
        Ok((component, descriptor)) => {
            let report = subject::conform(&component, bytes.len(), Profile::Full);
            let (passed, report) = (report.passed(), report.to_string());
            CheckedFile { digest, descriptor: Ok(descriptor), report, passed }
        }
        Err(refusal) => CheckedFile { digest, descriptor: Err(refusal), report: String::new(), passed: false },
    })
}
