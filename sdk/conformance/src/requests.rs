//! Hints, summaries and attributes.

use nexus_plugin_contract::{Attribute, Plan, PluginError, Span};
use serde_json::Value;

use crate::names::{check_name, samples};
use crate::random::Random;
use crate::run::{Finding, OpenPool};
use crate::subject::CallError;
use crate::{descriptor, layout, mutate, sample};

/// No hints: the default length, anywhere.
pub(crate) fn without_hints(pool: &mut OpenPool<'_, '_>) -> Finding {
    let plan =
        pool.instance.interpret(pool.handle, &[]).map_err(|error| format!("interpret of no hints fails: {error}"))?;
    let Plan { len, at, within, .. } = &plan;
    if *len == pool.layout.sizing.default_len && at.is_none() && within.is_empty() {
        Ok(String::new())
    } else {
        Err(format!(
            "without hints the plan is {plan:?}; the default length {}, anywhere, is right",
            pool.layout.sizing.default_len
        ))
    }
}

/// Hints the schema does not name are refused; those it names make a plan the pool can follow, or are refused.
pub(crate) fn hints(pool: &mut OpenPool<'_, '_>) -> Finding {
    let unknown = [Attribute::new("no-such-hint", "1")];
    match pool.instance.interpret(pool.handle, &unknown) {
        Err(CallError::Refused(PluginError::InvalidHint(_))) => {}
        other => return Err(format!("an unknown hint is answered with {other:?}; invalid-hint is right")),
    }
    let mut random = Random::new(3);
    let mut followed = 0;
    for (name, schema) in descriptor::hint_properties(pool.descriptor) {
        let examples = schema.get("examples").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut values: Vec<String> = examples.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        values.extend(["", "0", "1", "-1", "99999999999999999999", "x", "::", "0.0.0.0"].map(str::to_owned));
        let edits: Vec<String> =
            (0..64).map(|n| mutate::edited(values.get(n % values.len()).map_or("", |v| v), &mut random)).collect();
        for value in values.into_iter().chain(edits) {
            followed += usize::from(follow(pool, &name, value)?);
        }
    }
    Ok(format!("{followed} values followed"))
}

fn follow(pool: &mut OpenPool<'_, '_>, name: &str, value: String) -> Result<bool, String> {
    let hint = [Attribute::new(name, value)];
    match pool.instance.interpret(pool.handle, &hint) {
        Ok(plan) => check_plan(pool, &plan).map(|()| true).map_err(|why| format!("{hint:?} makes {plan:?}: {why}")),
        Err(CallError::Refused(PluginError::InvalidHint(problem))) if !problem.message.is_empty() => Ok(false),
        Err(other) => {
            Err(format!("{hint:?} is answered with `{other}`; a plan or invalid-hint (with a reason) is right"))
        }
    }
}

fn check_plan(pool: &OpenPool<'_, '_>, plan: &Plan) -> Result<(), String> {
    let layout = &pool.layout;
    if !layout.sizing.allows(plan.len, layout.grain) {
        return Err(format!("the length {} is not one the pool allows", plan.len));
    }
    if plan.at.is_some_and(|at| !layout.admits(at)) {
        return Err("`at` is not an allocation of the pool".to_owned());
    }
    if plan.within.len() > Plan::MAX_WITHIN {
        return Err(format!("`within` has {} spans; at most {} are allowed", plan.within.len(), Plan::MAX_WITHIN));
    }
    match plan.within.iter().find(|span| span.last().is_none()) {
        Some(span) => Err(format!("`within` has {span}, which is no span")),
        None => Ok(()),
    }
}

/// Runs of the pool have texts that tell them apart.
pub(crate) fn summaries(pool: &mut OpenPool<'_, '_>) -> Finding {
    let cut = pool.layout.cut;
    let mut runs = Vec::new();
    for span in pool.layout.spans.iter().take(64).filter_map(|series| series.nth(0)) {
        runs.push(span);
        let shards = (0..3).map_while(|n| Some(Span::new(span.start.checked_add(cut.checked_mul(n)?)?, cut)));
        runs.extend(shards.filter(|shard| span.contains(*shard)));
    }
    runs.extend(sample::any(&pool.layout, &mut Random::new(4), 64));
    runs.sort_unstable();
    runs.dedup();
    let mut seen: Vec<(Vec<String>, Span)> = Vec::new();
    for run in runs {
        let texts =
            pool.instance.summarize(pool.handle, run).map_err(|error| format!("summarize({run}) fails: {error}"))?;
        if texts.is_empty() {
            return Err(format!("summarize({run}) has no text"));
        }
        for text in &texts {
            check_name(text).map_err(|why| format!("summarize({run}) has {text:?}, {why}"))?;
            check_part(pool, run, text)?;
        }
        if let Some((_, other)) = seen.iter().find(|(before, _)| *before == texts) {
            return Err(format!("summarize({run}) and summarize({other}) are both {texts:?}"));
        }
        seen.push((texts, run));
    }
    Ok(format!("{} runs", seen.len()))
}

/// Where a text of a summary is also a name, what it names must lie in the run.
fn check_part(pool: &mut OpenPool<'_, '_>, run: Span, text: &str) -> Result<(), String> {
    let parsed = pool
        .instance
        .parse(pool.handle, &[text.to_owned()])
        .map_err(|broken| format!("parse({text:?}) breaks: {broken}"))?;
    match parsed.first() {
        Some(Ok(part)) if !run.contains(*part) => Err(format!("summarize({run}) has {text:?}, which is {part}")),
        _ => Ok(()),
    }
}

/// Attributes of an allocation: well formed, and the same when asked again.
pub(crate) fn attributes(pool: &mut OpenPool<'_, '_>) -> Finding {
    let mut most = 0;
    for span in samples(pool).into_iter().take(512) {
        let attributes = ask(pool, span)?;
        let mut faults = Vec::new();
        layout::check_attributes("attributes", &attributes, &mut faults);
        if let Some(fault) = faults.first() {
            return Err(format!("attributes({span}): {fault}"));
        }
        if ask(pool, span)? != attributes {
            return Err(format!("attributes({span}) changes from call to call"));
        }
        most = most.max(attributes.len());
    }
    Ok(format!("up to {most} each"))
}

fn ask(pool: &mut OpenPool<'_, '_>, span: Span) -> Result<Vec<Attribute>, String> {
    pool.instance.attributes(pool.handle, span).map_err(|error| format!("attributes({span}) fails: {error}"))
}
