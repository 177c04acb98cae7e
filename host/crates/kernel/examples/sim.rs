//! Lives many seeds of the simulators through: `sim --seeds N --from S`, of one host and of a cluster, or of one of the two
//! with `--alone` or `--cluster`. Behind `cargo xtask sim`.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a command prints and may look at the clock")]

use std::fmt::Debug;
use std::process::ExitCode;
use std::time::Instant;

use kernel::sim::{self, Failure, Summary, cluster};

type Life = Result<cluster::Summary, Box<Failure>>;

/// What was asked for.
struct Wanted {
    seeds: u64,
    from: u64,
    steps: u64,
    alone: bool,
    cluster: bool,
    /// A cluster's life of a seed, and one with a broken rule.
    one: fn(u64) -> Life,
    broken: fn(u64, cluster::Breach) -> Life,
    breach: Option<String>,
    /// How many events a failure shows.
    tell: usize,
}

const FLAGS: &str = "known are --seeds, --from, --steps, --alone, --cluster, --losses, --slow-disks, --resizing, --pauses, --cuts, --stalls, --notes, --breach, --tell";

fn wanted(args: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        seeds: 1_000,
        from: 0,
        steps: sim::STEPS,
        alone: true,
        cluster: true,
        one: cluster::run,
        broken: cluster::run_breaking,
        breach: None,
        tell: 60,
    };
    let mut args = args.skip(1);
    while let Some(flag) = args.next() {
        match flag.as_str() {
            "--alone" => wanted.cluster = false,
            "--cluster" => wanted.alone = false,
            "--losses" => wanted.one = cluster::run_with_losses,
            "--slow-disks" => wanted.one = cluster::run_with_slow_disks,
            "--resizing" => wanted.one = cluster::run_with_resizing,
            "--pauses" => wanted.one = cluster::run_with_pauses,
            "--cuts" => wanted.one = cluster::run_with_cuts,
            "--stalls" => wanted.one = cluster::run_with_stalls,
            "--notes" => (wanted.one, wanted.broken) = (cluster::run_with_notes, cluster::run_with_notes_breaking),
            "--breach" => wanted.breach = Some(args.next().ok_or("--breach needs the name of a rule")?),
            "--seeds" | "--from" | "--steps" | "--tell" => {
                let number = args.next().ok_or_else(|| format!("{flag} needs a number"))?;
                let number: u64 = number.parse().map_err(|error| format!("{flag} {number}: {error}"))?;
                match flag.as_str() {
                    "--seeds" => wanted.seeds = number,
                    "--from" => wanted.from = number,
                    "--tell" => wanted.tell = usize::try_from(number).unwrap_or(usize::MAX),
                    _ => wanted.steps = number,
                }
            }
            other => return Err(format!("unknown flag {other}, {FLAGS}")),
        }
    }
    Ok(wanted)
}

/// Which rule is to be broken: one that counts for a host alone, or one that counts in a cluster.
#[derive(Clone, Copy)]
enum Breach {
    Alone(sim::Breach),
    Cluster(cluster::Breach),
}

fn breach(name: &str, wanted: &Wanted) -> Result<Breach, String> {
    let alone = sim::Breach::all().filter(|_| wanted.alone).map(|breach| (breach.name(), Breach::Alone(breach)));
    let cluster = cluster::Breach::all().chain(cluster::Breach::of_notes()).filter(|_| wanted.cluster);
    let all: Vec<(String, Breach)> =
        alone.chain(cluster.map(|breach| (breach.name(), Breach::Cluster(breach)))).collect();
    let found = all.iter().find(|(known, _)| known == name);
    let known = || all.iter().map(|(known, _)| known.as_str()).collect::<Vec<_>>().join(", ");
    found.map(|(_, breach)| *breach).ok_or_else(|| format!("no rule is named {name}, known are {}", known()))
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn live<S: Debug + Default>(
    what: &str,
    wanted: &Wanted,
    one: impl Fn(u64) -> Result<S, Box<Failure>>,
    add: impl Fn(&mut S, S),
) -> Result<(), Box<Failure>> {
    let began = Instant::now();
    let mut sum = S::default();
    for seed in wanted.from..wanted.from.saturating_add(wanted.seeds) {
        add(&mut sum, one(seed)?);
    }
    let rate = wanted.seeds as f64 / began.elapsed().as_secs_f64();
    println!("{what}: {} seeds from {}, {rate:.0} seeds/s: every invariant held", wanted.seeds, wanted.from);
    println!("{sum:?}");
    Ok(())
}

fn run(wanted: &Wanted) -> Result<(), String> {
    let told = |failure: Box<Failure>| failure.told(wanted.tell).to_string();
    let alone = |one: &dyn Fn(u64) -> Result<Summary, Box<Failure>>| live("one host", wanted, one, Summary::add);
    let several = |one: &dyn Fn(u64) -> Life| live("a cluster", wanted, one, cluster::Summary::add);
    match wanted.breach.as_deref().map(|name| breach(name, wanted)).transpose()? {
        Some(Breach::Alone(breach)) => alone(&|seed| sim::run_breaking(seed, wanted.steps, breach)).map_err(told)?,
        Some(Breach::Cluster(breach)) => several(&|seed| (wanted.broken)(seed, breach)).map_err(told)?,
        None => {
            if wanted.alone {
                alone(&|seed| sim::run(seed, wanted.steps)).map_err(told)?;
            }
            if wanted.cluster {
                several(&|seed| (wanted.one)(seed)).map_err(told)?;
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match wanted(std::env::args()).and_then(|wanted| run(&wanted)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}
