//! What the checks found.

use std::fmt;

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Well under a second: what a host runs before it takes a plugin into service.
    Smoke,
    /// Millions of names and thousands of mutated inputs: what an author runs before a release.
    Full,
}

/// One check and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// A stable name, `group.claim`: `geometry.names_round_trip`.
    pub name: &'static str,
    pub outcome: Outcome,
}

/// How a check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds. The text may carry a measured figure.
    Passed(String),
    /// It does not; what was given, what came back and what would be right.
    Failed(String),
    /// It says nothing about this subject, and why.
    Skipped(String),
}

/// Every check's outcome, in the order they ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub checks: Vec<Check>,
}

impl Report {
    /// True if nothing failed.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The checks that failed, each with the reason.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.checks.iter().filter_map(|check| match &check.outcome {
            Outcome::Failed(why) => Some((check.name, why.as_str())),
            Outcome::Passed(_) | Outcome::Skipped(_) => None,
        })
    }

    /// For an author's test: panics with the whole report unless everything passed.
    ///
    /// # Panics
    /// If a check failed.
    #[track_caller]
    pub fn assert_passed(&self) {
        assert!(self.passed(), "the plugin does not conform:\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { name, outcome } in &self.checks {
            let (word, text) = match outcome {
                Outcome::Passed(note) => ("ok", note),
                Outcome::Failed(why) => ("FAILED", why),
                Outcome::Skipped(why) => ("skipped", why),
            };
            writeln!(f, "{word:<8}{name:<44}{text}")?;
        }
        Ok(())
    }
}
