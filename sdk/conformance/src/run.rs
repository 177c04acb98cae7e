//! Runs the checks in order. A check that needs what an earlier one refused is skipped, and says so.

use nexus_plugin_contract::{Descriptor, Layout, ResourceType};

use crate::native::Native;
use crate::report::{Check, Outcome, Profile, Report};
use crate::subject::{Instance, PoolHandle, Subject};
use crate::{behaviour, descriptor, layout, names, requests, structure};

/// What a check found: a note if it holds, the reason if it does not.
pub(crate) type Finding = Result<String, String>;

/// An example's pool, open in an instance of its own.
pub(crate) struct OpenPool<'s, 'i> {
    pub(crate) subject: &'s dyn Subject,
    pub(crate) profile: Profile,
    pub(crate) descriptor: &'s Descriptor,
    /// Which example it is.
    pub(crate) number: usize,
    pub(crate) spec: &'s str,
    pub(crate) instance: &'i mut dyn Instance,
    pub(crate) handle: PoolHandle,
    pub(crate) layout: Layout,
}

/// A check of the descriptor.
type DescriptorCheck = fn(&Descriptor) -> Finding;
/// A check that every example's pool must pass.
type PoolCheck = fn(&mut OpenPool<'_, '_>) -> Finding;
/// A check of the plugin as a whole.
type SubjectCheck = fn(&dyn Subject, &Descriptor, Profile) -> Finding;

const DESCRIPTOR_CHECKS: [(&str, DescriptorCheck); 5] = [
    ("descriptor.type_id_is_well_formed", descriptor::type_id),
    ("descriptor.version_is_semver", descriptor::version),
    ("descriptor.texts_are_printable", descriptor::texts),
    ("descriptor.schemas_compile", descriptor::schemas),
    ("descriptor.examples_fit_the_schema", descriptor::examples),
];

const LAYOUT_CHECK: &str = "geometry.layout_is_sound";
const POOL_CHECKS: [(&str, PoolCheck); 12] = [
    ("geometry.names_round_trip", names::round_trip),
    ("geometry.names_are_distinct", names::distinct),
    ("geometry.batches_answer_as_their_parts", names::batches),
    ("geometry.outside_is_out_of_range", names::outside),
    ("geometry.other_spellings_are_stable", names::spellings),
    ("geometry.summaries_cover_their_runs", requests::summaries),
    ("geometry.attributes_are_well_formed", requests::attributes),
    ("requests.no_hints_mean_the_default", requests::without_hints),
    ("requests.hints_obey_their_schema", requests::hints),
    ("behaviour.instances_agree", behaviour::instances_agree),
    ("behaviour.reopened_pools_are_equal", behaviour::reopened),
    ("behaviour.rendering_keeps_nothing", behaviour::frugal),
];

const SUBJECT_CHECKS: [(&str, SubjectCheck); 2] = [
    ("behaviour.closed_pools_leave_nothing", behaviour::handles),
    ("behaviour.mutated_specs_are_refused", behaviour::mutated_specs),
];

/// Checks a plugin, however it is hosted.
pub fn check(subject: &dyn Subject, profile: Profile) -> Report {
    let mut report = Report::default();
    let mut note = |name, finding: Finding| {
        let outcome = finding.map_or_else(Outcome::Failed, Outcome::Passed);
        report.checks.push(Check { name, outcome });
    };
    if let Some(found) = subject.structure() {
        note("structure.imports_only_the_log", structure::imports(&found));
        note("structure.exports_the_geometry", structure::exports(&found));
        note("structure.file_is_small", structure::file_size(&found));
    }
    let described = describe(subject);
    note("descriptor.is_the_same_on_every_call", described.as_ref().map(|_| String::new()).map_err(Clone::clone));
    match described {
        Ok(descriptor) => {
            for (name, check) in DESCRIPTOR_CHECKS {
                note(name, check(&descriptor));
            }
            check_pools(subject, &descriptor, profile, &mut report);
            for (name, check) in SUBJECT_CHECKS {
                let outcome = check(subject, &descriptor, profile).map_or_else(Outcome::Failed, Outcome::Passed);
                report.checks.push(Check { name, outcome });
            }
        }
        Err(_) => skip_rest(&mut report),
    }
    report
}

/// Checks a resource type as native code.
pub fn check_native<T: ResourceType>(profile: Profile) -> Report {
    check(&Native::<T>::new(), profile)
}

fn skip_rest(report: &mut Report) {
    let descriptor = DESCRIPTOR_CHECKS.iter().map(|(name, _)| *name);
    let pools = std::iter::once(LAYOUT_CHECK).chain(POOL_CHECKS.iter().map(|(name, _)| *name));
    let subject = SUBJECT_CHECKS.iter().map(|(name, _)| *name);
    for name in descriptor.chain(["descriptor.examples_open"]).chain(pools).chain(subject) {
        report.checks.push(Check { name, outcome: Outcome::Skipped("there is no descriptor".to_owned()) });
    }
}

fn describe(subject: &dyn Subject) -> Result<Descriptor, String> {
    let mut first = subject.instantiate().map_err(|broken| format!("cannot be instantiated: {broken}"))?;
    let mut second = subject.instantiate().map_err(|broken| format!("cannot be instantiated twice: {broken}"))?;
    let ask = |instance: &mut dyn Instance| instance.describe().map_err(|broken| format!("describe breaks: {broken}"));
    let descriptor = ask(first.as_mut())?;
    if ask(first.as_mut())? == descriptor && ask(second.as_mut())? == descriptor {
        Ok(descriptor)
    } else {
        Err("describe answers differently from call to call".to_owned())
    }
}

/// Each check over the pools of all examples; the first fault is told with its example.
fn check_pools(subject: &dyn Subject, descriptor: &Descriptor, profile: Profile, report: &mut Report) {
    let mut opened = Ok(format!("{} examples", descriptor.examples.len()));
    let mut sound = Ok(String::new());
    let mut findings: Vec<Option<Finding>> = vec![None; POOL_CHECKS.len()];
    for (number, spec) in descriptor.examples.iter().enumerate() {
        match first_layout(subject, spec) {
            Err(why) => opened = Err(format!("example {number}, {spec}: {why}")),
            Ok(layout) => match layout::faults(&layout).first() {
                Some(fault) => sound = Err(format!("example {number}: {fault}")),
                None => check_pool(subject, descriptor, profile, (number, spec), &mut findings),
            },
        }
    }
    let mut note = |name, finding: Option<Finding>| {
        let skipped = || Outcome::Skipped("no example has a sound layout".to_owned());
        let outcome = finding.map_or_else(skipped, |finding| finding.map_or_else(Outcome::Failed, Outcome::Passed));
        report.checks.push(Check { name, outcome });
    };
    note("descriptor.examples_open", Some(opened));
    note(LAYOUT_CHECK, Some(sound));
    for ((name, _), finding) in POOL_CHECKS.iter().zip(findings) {
        note(name, finding);
    }
}

fn first_layout(subject: &dyn Subject, spec: &str) -> Result<Layout, String> {
    let mut instance = subject.instantiate().map_err(|broken| broken.to_string())?;
    let handle = instance.open(spec).map_err(|error| format!("does not open: {error}"))?;
    instance.layout(handle).map_err(|broken| format!("layout breaks: {broken}"))
}

/// All checks of one pool whose layout is sound. A check that failed before is not run again.
fn check_pool(
    subject: &dyn Subject,
    descriptor: &Descriptor,
    profile: Profile,
    (number, spec): (usize, &str),
    findings: &mut [Option<Finding>],
) {
    for ((_, check), finding) in POOL_CHECKS.iter().zip(findings) {
        if !matches!(finding, Some(Err(_))) {
            let found = in_fresh_pool(subject, descriptor, profile, (number, spec), *check);
            *finding = Some(found.map_err(|why| format!("example {number}: {why}")));
        }
    }
}

/// In an instance of its own: one check's trap must not fail the next.
fn in_fresh_pool(
    subject: &dyn Subject,
    descriptor: &Descriptor,
    profile: Profile,
    (number, spec): (usize, &str),
    check: PoolCheck,
) -> Finding {
    let mut instance = subject.instantiate().map_err(|broken| broken.to_string())?;
    let handle = instance.open(spec).map_err(|error| format!("does not open again: {error}"))?;
    let layout = instance.layout(handle).map_err(|broken| format!("layout breaks: {broken}"))?;
    let instance = instance.as_mut();
    check(&mut OpenPool { subject, profile, descriptor, number, spec, instance, handle, layout })
}
