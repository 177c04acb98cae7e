//! How a plugin behaves over many calls: pure, frugal, and unshaken by bad input.

use nexus_plugin_contract::{Descriptor, Layout, PluginError, Span};

use crate::layout::faults;
use crate::names::{BATCH, render, samples};
use crate::random::Random;
use crate::report::Profile;
use crate::run::{Finding, OpenPool};
use crate::subject::{CallError, Instance, Subject};
use crate::{mutate, sample};

/// A page of linear memory: how much may be lost, at most, over everything a check does.
const PAGE_BYTES: u64 = 64 << 10;

/// Another instance, asked in another order, answers alike.
pub(crate) fn instances_agree(pool: &mut OpenPool<'_, '_>) -> Finding {
    let mut spans: Vec<Span> = samples(pool).into_iter().take(BATCH).collect();
    let names = render(pool, &spans)?;
    let mut other = pool.subject.instantiate().map_err(|broken| broken.to_string())?;
    let handle = other.open(pool.spec).map_err(|error| format!("a second instance does not open the spec: {error}"))?;
    let layout = other.layout(handle).map_err(|broken| broken.to_string())?;
    if layout != pool.layout {
        return Err(format!("two instances read {} differently", pool.spec));
    }
    spans.reverse();
    let mut reversed = other.render(handle, &spans).map_err(|error| error.to_string())?;
    reversed.reverse();
    if reversed == names { Ok(String::new()) } else { Err("two instances name the same spans differently".to_owned()) }
}

/// Opening a spec again gives the same pool.
pub(crate) fn reopened(pool: &mut OpenPool<'_, '_>) -> Finding {
    let handle = pool.instance.open(pool.spec).map_err(|error| format!("the spec opens once and then not: {error}"))?;
    let layout = pool.instance.layout(handle).map_err(|broken| broken.to_string())?;
    pool.instance.close(handle).map_err(|broken| broken.to_string())?;
    if layout == pool.layout {
        Ok(String::new())
    } else {
        Err(format!("{} has another layout when opened again", pool.spec))
    }
}

/// Rendering keeps nothing: memory grows by a page at most, after a first round. The note says what a name costs.
pub(crate) fn frugal(pool: &mut OpenPool<'_, '_>) -> Finding {
    let rounds = match pool.profile {
        Profile::Smoke => 4,
        Profile::Full => 1_000,
    };
    let spans: Vec<Span> = sample::any(&pool.layout, &mut Random::new(5), BATCH);
    render(pool, &spans)?;
    let before = pool.instance.usage();
    for _ in 0..rounds {
        render(pool, &spans)?;
    }
    let after = pool.instance.usage();
    check_growth(before.memory_bytes, after.memory_bytes, "rendering")?;
    let calls = u64::try_from(rounds * spans.len().max(1)).unwrap_or(u64::MAX);
    let fuel = after.fuel.zip(before.fuel).map(|(after, before)| after.saturating_sub(before) / calls);
    Ok(fuel.map_or_else(String::new, |fuel| format!("{fuel} fuel a name")))
}

fn check_growth(before: Option<u64>, after: Option<u64>, doing: &str) -> Result<(), String> {
    match before.zip(after) {
        Some((before, after)) if after > before + PAGE_BYTES => {
            Err(format!("{doing} grew the memory from {before} to {after} bytes; a page is the most that may stay"))
        }
        _ => Ok(()),
    }
}

/// Pools that are closed leave nothing behind.
pub(crate) fn handles(subject: &dyn Subject, descriptor: &Descriptor, profile: Profile) -> Finding {
    let opens = match profile {
        Profile::Smoke => 100,
        Profile::Full => 10_000,
    };
    let Some(example) = descriptor.examples.first() else { return Err("there are no examples".to_owned()) };
    let mut instance = subject.instantiate().map_err(|broken| broken.to_string())?;
    let mut cycle = || -> Result<(), String> {
        let handle = instance.open(example).map_err(|error| format!("the first example stops opening: {error}"))?;
        instance.close(handle).map_err(|broken| format!("closing a pool breaks: {broken}"))
    };
    cycle()?;
    for _ in 0..opens {
        cycle()?;
    }
    // The first round of a fresh instance sets the measure: it must be enough for all.
    let after = instance.usage().memory_bytes;
    let mut fresh = subject.instantiate().map_err(|broken| broken.to_string())?;
    let handle = fresh.open(example).map_err(|error| error.to_string())?;
    fresh.close(handle).map_err(|broken| broken.to_string())?;
    check_growth(fresh.usage().memory_bytes, after, "opening and closing")?;
    Ok(format!("{opens} opens"))
}

/// Any text is opened to a sound layout or refused with problems that say where.
pub(crate) fn mutated_specs(subject: &dyn Subject, descriptor: &Descriptor, profile: Profile) -> Finding {
    let count = match profile {
        Profile::Smoke => 200,
        Profile::Full => 10_000,
    };
    let mut instance = subject.instantiate().map_err(|broken| broken.to_string())?;
    let mut random = Random::new(6);
    let mut opened = 0;
    for spec in mutate::specs(&descriptor.examples, &mut random).take(count) {
        opened +=
            usize::from(judge_spec(instance.as_mut(), &spec).map_err(|why| format!("{}: {why}", clipped(&spec)))?);
    }
    Ok(format!("{count} specs, {opened} of them legal"))
}

/// True if the spec opened.
fn judge_spec(instance: &mut dyn Instance, spec: &str) -> Result<bool, String> {
    match instance.open(spec) {
        Ok(handle) => {
            let layout: Layout = instance.layout(handle).map_err(|broken| format!("layout breaks: {broken}"))?;
            instance.close(handle).map_err(|broken| format!("closing breaks: {broken}"))?;
            faults(&layout).first().map_or(Ok(true), |fault| Err(format!("opens to an unsound layout: {fault}")))
        }
        Err(CallError::Refused(PluginError::InvalidSpec(problems))) => {
            let located = |path: &str| path.is_empty() || path.starts_with('/');
            let sound = problems.iter().all(|problem| located(&problem.path) && !problem.message.is_empty());
            if sound && !problems.is_empty() {
                return Ok(false);
            }
            Err(format!(
                "is refused with {problems:?}; each problem needs a JSON pointer and a message, and there must be one"
            ))
        }
        Err(other) => Err(format!("is answered with `{other}`; invalid-spec is right")),
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(200).collect()
}
