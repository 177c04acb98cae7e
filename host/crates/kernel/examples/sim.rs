//! Lives many seeds of the simulator through: `sim --seeds N --from S --steps K`. Behind `cargo xtask sim`.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a command prints and may look at the clock")]

use std::process::ExitCode;
use std::time::Instant;

use kernel::sim::{self, Summary};

/// What was asked for.
struct Wanted {
    seeds: u64,
    from: u64,
    steps: u64,
}

fn wanted(args: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { seeds: 1_000, from: 0, steps: sim::STEPS };
    let mut args = args.skip(1);
    while let Some(flag) = args.next() {
        let number = args.next().ok_or_else(|| format!("{flag} needs a number"))?;
        let number = number.parse().map_err(|error| format!("{flag} {number}: {error}"))?;
        match flag.as_str() {
            "--seeds" => wanted.seeds = number,
            "--from" => wanted.from = number,
            "--steps" => wanted.steps = number,
            other => return Err(format!("unknown flag {other}, known are --seeds, --from, --steps")),
        }
    }
    Ok(wanted)
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn main() -> ExitCode {
    let Wanted { seeds, from, steps } = match wanted(std::env::args()) {
        Ok(wanted) => wanted,
        Err(error) => {
            println!("{error}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let mut sum = Summary::default();
    for seed in from..from.saturating_add(seeds) {
        match sim::run(seed, steps) {
            Ok(summary) => sum.add(summary),
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    let rate = seeds as f64 / began.elapsed().as_secs_f64();
    println!("{seeds} seeds from {from}, {rate:.0} seeds/s: every invariant held");
    println!("{sum:?}");
    ExitCode::SUCCESS
}
