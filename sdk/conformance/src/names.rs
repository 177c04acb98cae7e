//! Spans to names and back.

use std::collections::HashSet;

use nexus_plugin_contract::{PluginError, Span};

use crate::mutate;
use crate::random::Random;
use crate::report::Profile;
use crate::run::{Finding, OpenPool};
use crate::sample;
use crate::subject::CallError;

/// The most spans or names in one call.
pub(crate) const BATCH: usize = 1_024;
/// The longest name, in bytes.
const MAX_NAME: usize = 255;

/// What is tried in each pool: every edge, and some anywhere.
pub(crate) fn samples(pool: &OpenPool<'_, '_>) -> Vec<Span> {
    let count = match pool.profile {
        Profile::Smoke => 256,
        Profile::Full => 10_000,
    };
    let mut samples = sample::edges(&pool.layout);
    samples.extend(sample::any(&pool.layout, &mut Random::new(1), count));
    samples
}

/// `parse(render(x)) = x`, and the name is fit to print.
pub(crate) fn round_trip(pool: &mut OpenPool<'_, '_>) -> Finding {
    let samples = samples(pool);
    for batch in samples.chunks(BATCH) {
        let names = render(pool, batch)?;
        for (span, name) in batch.iter().zip(&names) {
            check_name(name).map_err(|why| format!("{span} is named {name:?}, {why}"))?;
        }
        for ((span, name), parsed) in batch.iter().zip(&names).zip(parse(pool, &names)?) {
            if parsed.as_ref() != Ok(span) {
                return Err(format!("{span} is named {name:?}, which is read as {}", shown(&parsed)));
            }
        }
    }
    Ok(format!("{} spans", samples.len()))
}

/// No two spans have one name.
pub(crate) fn distinct(pool: &mut OpenPool<'_, '_>) -> Finding {
    let most = match (pool.profile, pool.number) {
        (Profile::Smoke, _) => 2_048,
        (Profile::Full, 0) => 1_000_000,
        (Profile::Full, _) => 20_000,
    };
    let mut spans: HashSet<Span> = sample::in_order(&pool.layout).take(most).collect();
    spans.extend(samples(pool));
    let spans: Vec<Span> = spans.into_iter().collect();
    let mut seen = HashSet::with_capacity(spans.len());
    for batch in spans.chunks(BATCH) {
        for (span, name) in batch.iter().zip(render(pool, batch)?) {
            if seen.contains(&name) {
                return Err(format!("{span} and another span are both named {name:?}"));
            }
            seen.insert(name);
        }
    }
    Ok(format!("{} names", seen.len()))
}

/// A batch answers as its parts do.
pub(crate) fn batches(pool: &mut OpenPool<'_, '_>) -> Finding {
    let spans: Vec<Span> = samples(pool).into_iter().take(32).collect();
    let together = render(pool, &spans)?;
    for (span, name) in spans.iter().zip(&together) {
        let alone = render(pool, &[*span])?;
        if alone.first() != Some(name) {
            return Err(format!("{span} is {name:?} in a batch and {:?} alone", alone.first()));
        }
    }
    if !render(pool, &[])?.is_empty() || !parse(pool, &[])?.is_empty() {
        return Err("an empty batch has an answer that is not empty".to_owned());
    }
    Ok(String::new())
}

/// What is not of the pool is refused as such, by `render`, `summarize` and `attributes`.
pub(crate) fn outside(pool: &mut OpenPool<'_, '_>) -> Finding {
    for span in sample::outside(&pool.layout) {
        let answers = [
            ("render", pool.instance.render(pool.handle, &[span]).map(|_| ())),
            ("attributes", pool.instance.attributes(pool.handle, span).map(|_| ())),
        ];
        for (function, answer) in answers {
            expect_out_of_range(function, span, &answer)?;
        }
        if pool.layout.locate(span).is_none() {
            let answer = pool.instance.summarize(pool.handle, span).map(|_| ());
            expect_out_of_range("summarize", span, &answer)?;
        }
    }
    Ok(String::new())
}

fn expect_out_of_range(function: &str, span: Span, answer: &Result<(), CallError>) -> Result<(), String> {
    match answer {
        Err(CallError::Refused(PluginError::OutOfRange)) => Ok(()),
        Err(other) => {
            Err(format!("{function}({span}) is outside the pool and answers `{other}`; out-of-range is right"))
        }
        Ok(()) => Err(format!("{function}({span}) is outside the pool and has an answer; out-of-range is right")),
    }
}

/// Other spellings and rubbish: refused, or read to a span whose canonical name reads the same.
pub(crate) fn spellings(pool: &mut OpenPool<'_, '_>) -> Finding {
    let count = match pool.profile {
        Profile::Smoke => 200,
        Profile::Full => 10_000,
    };
    let seeds: Vec<Span> = samples(pool).into_iter().take(BATCH).collect();
    let seeds = render(pool, &seeds)?;
    let mut random = Random::new(2);
    let mut read = 0;
    let names: Vec<String> = mutate::names(&seeds, &mut random).take(count).collect();
    for batch in names.chunks(BATCH) {
        for (name, parsed) in batch.iter().zip(parse(pool, batch)?) {
            read += usize::from(judge_spelling(pool, name, parsed)?);
        }
    }
    Ok(format!("{} names, {read} of them legal", names.len()))
}

/// True if the name was read to a span.
fn judge_spelling(pool: &mut OpenPool<'_, '_>, name: &str, parsed: Result<Span, PluginError>) -> Result<bool, String> {
    match parsed {
        Err(PluginError::InvalidName(message)) if !message.is_empty() => Ok(false),
        Err(PluginError::OutOfRange) => Ok(false),
        Err(other) => {
            Err(format!("parse({name:?}) answers `{other}`; invalid-name (with a reason) or out-of-range is right"))
        }
        Ok(span) if !pool.layout.admits(span) => Err(format!("{name:?} is read as {span}, which is not of the pool")),
        Ok(span) => {
            let canonical = render(pool, &[span])?;
            let again = parse(pool, &canonical)?;
            if again.first().and_then(|again| again.as_ref().ok()) == Some(&span) {
                Ok(true)
            } else {
                Err(format!("{name:?} is read as {span}, and its canonical name {canonical:?} is read differently"))
            }
        }
    }
}

pub(crate) fn render(pool: &mut OpenPool<'_, '_>, spans: &[Span]) -> Result<Vec<String>, String> {
    let names =
        pool.instance.render(pool.handle, spans).map_err(|error| format!("render of {spans:?} fails: {error}"))?;
    if names.len() == spans.len() {
        Ok(names)
    } else {
        Err(format!("render of {} spans has {} names", spans.len(), names.len()))
    }
}

fn parse(pool: &mut OpenPool<'_, '_>, names: &[String]) -> Result<Vec<Result<Span, PluginError>>, String> {
    let spans =
        pool.instance.parse(pool.handle, names).map_err(|broken| format!("parse of {names:?} breaks: {broken}"))?;
    if spans.len() == names.len() {
        Ok(spans)
    } else {
        Err(format!("parse of {} names has {} spans", names.len(), spans.len()))
    }
}

/// 1 to 255 bytes that can be printed on one line.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("which has {} bytes; 1 to {MAX_NAME} are allowed", name.len()));
    }
    match name.chars().find(|letter| letter.is_control()) {
        Some(letter) => Err(format!("which has the control character {letter:?}")),
        None => Ok(()),
    }
}

fn shown(parsed: &Result<Span, PluginError>) -> String {
    match parsed {
        Ok(span) => span.to_string(),
        Err(error) => format!("an error: {error}"),
    }
}
