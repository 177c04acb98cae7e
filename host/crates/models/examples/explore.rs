//! Searches a model of any size: `cargo run -p models --example explore -- takeover 3` prints states and time.
//!
//! What is not given is as in the tests. With two threads a million states take ten seconds or more, and every step up
//! costs a factor of four to twenty.

#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::process::ExitCode;

use models::Found;
use models::handover::Handover;
use models::takeover::Takeover;
use models::tombstone::Tombstone;
use models::voters::Voters;

const USAGE: &str = "explore takeover [ADDRESSES [SUBSCRIBERS [WRITES [RENEWALS]]]]
explore handover [ADDRESSES [SUBSCRIBERS [WRITES [MOVES]]]]
explore tombstone [WRITES [CHANGES]]
explore voters [WRITES [CHANGES]]";

const THREADS: usize = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let found = match search(&arguments) {
        Ok(found) => found,
        Err(fault) => {
            eprintln!("{fault}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Found { states, depth, took, violated, unreached } = found;
    println!("{states} states, {depth} steps deep, {:.1} s", took.as_secs_f64());
    println!("violated: {violated:?}, not reached: {unreached:?}");
    if violated.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn search(arguments: &[String]) -> Result<Found, String> {
    let (name, sizes) = arguments.split_first().ok_or("which model?")?;
    let sizes = sizes.iter().map(|size| number(size)).collect::<Result<Vec<_>, _>>()?;
    let most = if matches!(name.as_str(), "tombstone" | "voters") { 2 } else { 4 };
    if sizes.len() > most {
        return Err(format!("{} sizes are given, and {name} takes {most} at most", sizes.len()));
    }
    let size = |at: usize, usual: usize| sizes.get(at).copied().unwrap_or(usual);
    match name.as_str() {
        "takeover" => {
            let Takeover { addresses, subscribers, writes, renewals, breach } = Takeover::small(None);
            let (addresses, subscribers) = (size(0, addresses), size(1, subscribers));
            let (writes, renewals) = (size(2, writes), size(3, renewals));
            Ok(models::explore(Takeover { addresses, subscribers, writes, renewals, breach }, THREADS))
        }
        "handover" => {
            let Handover { addresses, subscribers, writes, moves, breach } = Handover::small(None);
            let (addresses, subscribers) = (size(0, addresses), size(1, subscribers));
            let (writes, moves) = (size(2, writes), size(3, moves));
            Ok(models::explore(Handover { addresses, subscribers, writes, moves, breach }, THREADS))
        }
        "voters" => {
            let Voters { writes, changes, breach } = Voters::small(None);
            let (writes, changes) = (size(0, writes), size(1, changes));
            Ok(models::explore(Voters { writes, changes, breach }, THREADS))
        }
        "tombstone" => {
            let Tombstone { writes, changes, breach } = Tombstone::fixed(None);
            let (writes, changes) = (size(0, writes), size(1, changes));
            Ok(models::explore(Tombstone { writes, changes, breach }, THREADS))
        }
        _ => Err(format!("there is no model {name:?}")),
    }
}

fn number(raw: &str) -> Result<usize, String> {
    raw.parse().ok().filter(|size| (0..=9).contains(size)).ok_or_else(|| format!("{raw:?} is not one of 0 to 9"))
}
