//! A check that no plugin fails is not tested: a sound plugin is spoiled in one way at a time, and the check meant for
//! it must say so.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::assigning_clones,
    reason = "each function spoils a few faults and leaves the others alone; speed is no matter here"
)]

use std::cell::Cell;

use example_minimal::Circuit;
use nexus_plugin_conformance::{
    Broken, CallError, Instance, Native, Outcome, PoolHandle, Profile, Report, Structure, Subject, Usage, check,
};
use nexus_plugin_contract::{Attribute, Descriptor, Layout, Plan, PluginError, Span};

/// One way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    ImportsWasi,
    ExportsNothing,
    TooLarge,
    TrapsInDescribe,
    DescribesTwoThings,
    BadTypeId,
    BadVersion,
    EmptyTitle,
    SchemaIsNoSchema,
    ExampleBesideSchema,
    ExampleDoesNotOpen,
    CutOfZero,
    NamesCollide,
    NameWithNewline,
    NameTooLong,
    ParsesToAnother,
    BatchDiffers,
    NamesWhatIsOutside,
    TrapsOutside,
    ReadsRubbish,
    SummaryWithoutText,
    SummariesAlike,
    AttributeTwice,
    DefaultIsLarger,
    FollowsUnknownHints,
    SecondInstanceDiffers,
    ReopenedDiffers,
    KeepsMemory,
    KeepsPools,
    RefusesWithoutReason,
    TrapsOnBadSpec,
}

/// Each fault with the check that must find it.
const EXPECTED: [(Fault, &str); 31] = [
    (Fault::ImportsWasi, "structure.imports_only_the_log"),
    (Fault::ExportsNothing, "structure.exports_the_geometry"),
    (Fault::TooLarge, "structure.file_is_small"),
    (Fault::TrapsInDescribe, "descriptor.is_the_same_on_every_call"),
    (Fault::DescribesTwoThings, "descriptor.is_the_same_on_every_call"),
    (Fault::BadTypeId, "descriptor.type_id_is_well_formed"),
    (Fault::BadVersion, "descriptor.version_is_semver"),
    (Fault::EmptyTitle, "descriptor.texts_are_printable"),
    (Fault::SchemaIsNoSchema, "descriptor.schemas_compile"),
    (Fault::ExampleBesideSchema, "descriptor.examples_fit_the_schema"),
    (Fault::ExampleDoesNotOpen, "descriptor.examples_open"),
    (Fault::CutOfZero, "geometry.layout_is_sound"),
    (Fault::NamesCollide, "geometry.names_are_distinct"),
    (Fault::NameWithNewline, "geometry.names_round_trip"),
    (Fault::NameTooLong, "geometry.names_round_trip"),
    (Fault::ParsesToAnother, "geometry.names_round_trip"),
    (Fault::BatchDiffers, "geometry.batches_answer_as_their_parts"),
    (Fault::NamesWhatIsOutside, "geometry.outside_is_out_of_range"),
    (Fault::TrapsOutside, "geometry.outside_is_out_of_range"),
    (Fault::ReadsRubbish, "geometry.other_spellings_are_stable"),
    (Fault::SummaryWithoutText, "geometry.summaries_cover_their_runs"),
    (Fault::SummariesAlike, "geometry.summaries_cover_their_runs"),
    (Fault::AttributeTwice, "geometry.attributes_are_well_formed"),
    (Fault::DefaultIsLarger, "requests.no_hints_mean_the_default"),
    (Fault::FollowsUnknownHints, "requests.hints_obey_their_schema"),
    (Fault::SecondInstanceDiffers, "behaviour.instances_agree"),
    (Fault::ReopenedDiffers, "behaviour.reopened_pools_are_equal"),
    (Fault::KeepsMemory, "behaviour.rendering_keeps_nothing"),
    (Fault::KeepsPools, "behaviour.closed_pools_leave_nothing"),
    (Fault::RefusesWithoutReason, "behaviour.mutated_specs_are_refused"),
    (Fault::TrapsOnBadSpec, "behaviour.mutated_specs_are_refused"),
];

struct Spoiled {
    inner: Native<Circuit>,
    fault: Fault,
    instances: Cell<u64>,
}

struct SpoiledInstance<'a> {
    inner: Box<dyn Instance + 'a>,
    fault: Fault,
    /// Which instance of the subject this is.
    number: u64,
    opened: u64,
    memory_bytes: u64,
}

impl Subject for Spoiled {
    fn structure(&self) -> Option<Structure> {
        let mut imports = vec!["nexus:allocator/log@1.0.0".to_owned()];
        if self.fault == Fault::ImportsWasi {
            imports.push("wasi:cli/environment@0.2.0".to_owned());
        }
        let exports = match self.fault {
            Fault::ExportsNothing => vec![],
            _ => vec!["nexus:allocator/geometry@1.0.0".to_owned()],
        };
        let file_bytes = if self.fault == Fault::TooLarge { 3 << 20 } else { 1 << 10 };
        Some(Structure { file_bytes, imports, exports })
    }

    fn instantiate(&self) -> Result<Box<dyn Instance + '_>, Broken> {
        let number = self.instances.get();
        self.instances.set(number + 1);
        let inner = self.inner.instantiate()?;
        Ok(Box::new(SpoiledInstance { inner, fault: self.fault, number, opened: 0, memory_bytes: 1 << 20 }))
    }
}

impl Instance for SpoiledInstance<'_> {
    fn describe(&mut self) -> Result<Descriptor, Broken> {
        let mut descriptor = self.inner.describe()?;
        match self.fault {
            Fault::TrapsInDescribe => return Err(Broken("unreachable".to_owned())),
            Fault::DescribesTwoThings => descriptor.title = format!("title {}", self.number),
            Fault::BadTypeId => descriptor.type_id = "Circuit".to_owned(),
            Fault::BadVersion => descriptor.plugin_version = "1.0".to_owned(),
            Fault::EmptyTitle => descriptor.title.clear(),
            Fault::SchemaIsNoSchema => descriptor.spec_schema = r#"{"type":"no such type"}"#.to_owned(),
            Fault::ExampleBesideSchema => descriptor.examples = vec![r#"{"range":true}"#.to_owned()],
            Fault::ExampleDoesNotOpen => descriptor.examples = vec![r#"{"range":"9-1"}"#.to_owned()],
            _ => {}
        }
        Ok(descriptor)
    }

    fn open(&mut self, spec: &str) -> Result<PoolHandle, CallError> {
        self.opened += 1;
        self.memory_bytes += if self.fault == Fault::KeepsPools { 1 << 12 } else { 0 };
        let opened = self.inner.open(spec);
        match (self.fault, &opened) {
            (Fault::TrapsOnBadSpec, Err(_)) => Err(Broken("unreachable".to_owned()).into()),
            (Fault::RefusesWithoutReason, Err(_)) => Err(PluginError::InvalidSpec(vec![]).into()),
            _ => opened,
        }
    }

    fn close(&mut self, pool: PoolHandle) -> Result<(), Broken> {
        self.inner.close(pool)
    }

    fn layout(&mut self, pool: PoolHandle) -> Result<Layout, Broken> {
        let mut layout = self.inner.layout(pool)?;
        match self.fault {
            Fault::CutOfZero => layout.cut = 0,
            Fault::ReopenedDiffers if self.opened == 2 => layout.cut = 8,
            _ => {}
        }
        Ok(layout)
    }

    fn render(&mut self, pool: PoolHandle, spans: &[Span]) -> Result<Vec<String>, CallError> {
        let names = self.inner.render(pool, spans);
        match (self.fault, &names) {
            (Fault::NamesWhatIsOutside, Err(_)) => return Ok(vec!["x".to_owned(); spans.len()]),
            (Fault::TrapsOutside, Err(_)) => return Err(Broken("unreachable".to_owned()).into()),
            _ => {}
        }
        let mut names = names?;
        self.memory_bytes += if self.fault == Fault::KeepsMemory { 1 << 16 } else { 0 };
        match (self.fault, names.last_mut()) {
            (Fault::NamesCollide, Some(last)) => *last = "1000".to_owned(),
            (Fault::NameWithNewline, Some(last)) => last.push('\n'),
            (Fault::NameTooLong, Some(last)) => *last = "0".repeat(256),
            (Fault::BatchDiffers, Some(last)) if spans.len() > 1 => last.insert(0, '0'),
            (Fault::SecondInstanceDiffers, Some(last)) if self.number % 2 == 1 => last.insert(0, '0'),
            _ => {}
        }
        Ok(names)
    }

    fn parse(&mut self, pool: PoolHandle, names: &[String]) -> Result<Vec<Result<Span, PluginError>>, Broken> {
        let mut spans = self.inner.parse(pool, names)?;
        for span in &mut spans {
            match (self.fault, &span) {
                (Fault::ParsesToAnother, Ok(_)) => *span = Ok(Span::unit(1001)),
                (Fault::ReadsRubbish, Err(PluginError::InvalidName(_))) => *span = Ok(Span::unit(1)),
                _ => {}
            }
        }
        Ok(spans)
    }

    fn interpret(&mut self, pool: PoolHandle, hints: &[Attribute]) -> Result<Plan, CallError> {
        match self.fault {
            Fault::DefaultIsLarger => Ok(Plan::of(2)),
            Fault::FollowsUnknownHints => Ok(Plan::of(1)),
            _ => self.inner.interpret(pool, hints),
        }
    }

    fn summarize(&mut self, pool: PoolHandle, run: Span) -> Result<Vec<String>, CallError> {
        let texts = self.inner.summarize(pool, run)?;
        match self.fault {
            Fault::SummaryWithoutText => Ok(vec![]),
            Fault::SummariesAlike => Ok(vec!["some".to_owned()]),
            _ => Ok(texts),
        }
    }

    fn attributes(&mut self, pool: PoolHandle, span: Span) -> Result<Vec<Attribute>, CallError> {
        let mut attributes = self.inner.attributes(pool, span)?;
        if self.fault == Fault::AttributeTwice {
            attributes.extend(attributes.clone());
        }
        Ok(attributes)
    }

    fn usage(&mut self) -> Usage {
        Usage { memory_bytes: Some(self.memory_bytes), fuel: None }
    }
}

fn report(fault: Fault) -> Report {
    check(&Spoiled { inner: Native::new(), fault, instances: Cell::new(0) }, Profile::Smoke)
}

#[test]
fn a_sound_plugin_passes() {
    report(Fault::None).assert_passed();
}

#[test]
fn each_fault_fails_the_check_meant_for_it() {
    for (fault, name) in EXPECTED {
        let report = report(fault);
        assert!(report.failures().any(|(failed, _)| failed == name), "{fault:?} must fail {name}:\n{report}");
    }
}

#[test]
fn without_a_descriptor_the_rest_is_skipped() {
    let report = report(Fault::TrapsInDescribe);
    let skipped = report.checks.iter().filter(|check| matches!(check.outcome, Outcome::Skipped(_))).count();
    assert_eq!(skipped, 21, "{report}");
}
