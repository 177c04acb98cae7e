//! Which tables are believed: the file `manifest`, replaced as a whole after everything it names was synced.
//!
//! Invariant: what the manifest names is complete on disk and never written again; what it does not name is rubbish of a
//! cycle that was cut short, removed at the next start.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use kernel::{Origin, Seq};

use crate::error::StoreError;
use crate::log::Ordinal;
use crate::medium::{Medium, replace};
use crate::text::{self, Fields};

pub(crate) const FILE: &str = "manifest";
const TITLE: &str = "nexus manifest";

/// A table's number: counts up through all tables ever made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableId(pub(crate) u64);

impl TableId {
    pub(crate) fn dir_name(self) -> String {
        format!("table-{:012}", self.0)
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("table-")?;
        (digits.len() == 12).then(|| digits.parse().ok().map(Self)).flatten()
    }
}

/// What was written into a table, to be found there again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) rows: u64,
    pub(crate) ops: u64,
    /// The sum of the rows' checksums.
    pub(crate) digest: u64,
    /// Keys and values together.
    pub(crate) bytes: u64,
}

/// A table with what happened in one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryTable {
    pub(crate) id: TableId,
    pub(crate) summary: Summary,
    /// The earliest and the latest end of an allocation in it, Unix milliseconds.
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    /// Which length classes occur, one bit each: what a look-up must ask for.
    pub(crate) classes: u128,
}

/// What is known of one origin's numbers up to the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Everything up to here is in this log (of another origin; of this host's own, everything is).
    pub(crate) heard: Seq,
    /// The highest number that occurred.
    pub(crate) last: Seq,
    /// The highest number that was in a log file that is removed.
    pub(crate) gone: Seq,
}

/// The state that a start begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Counts the manifests, for reports.
    pub(crate) generation: u64,
    pub(crate) next_table: u64,
    /// The checkpoint has every operation up to this one.
    pub(crate) covered: Seq,
    /// The latest time stamp up to there.
    pub(crate) high_water_ms: u64,
    /// The first log file that is still needed.
    pub(crate) first_log: Ordinal,
    pub(crate) base: Option<(TableId, Summary)>,
    /// Oldest first.
    pub(crate) history: Vec<HistoryTable>,
    /// From when on the history is complete, Unix milliseconds.
    pub(crate) history_from_ms: u64,
    /// The first log file that is kept for other hosts, at most `first_log`.
    pub(crate) kept_log: Ordinal,
    /// How many bytes of log files are kept for other hosts; 0: none are.
    pub(crate) retain_bytes: u64,
    /// By origin, `None` is this host itself.
    pub(crate) origins: BTreeMap<Option<Origin>, Reach>,
}

impl Manifest {
    /// True if a table of this number is named.
    pub(crate) fn names(&self, id: TableId) -> bool {
        self.base.is_some_and(|(base, _)| base == id) || self.history.iter().any(|table| table.id == id)
    }

    pub(crate) fn to_text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "{TITLE}")?;
        writeln!(text, "generation {}", self.generation)?;
        writeln!(text, "next_table {}", self.next_table)?;
        writeln!(text, "covered {}", self.covered)?;
        writeln!(text, "high_water_ms {}", self.high_water_ms)?;
        writeln!(text, "first_log {}", self.first_log.0)?;
        writeln!(text, "history_from_ms {}", self.history_from_ms)?;
        match self.base {
            None => writeln!(text, "base none")?,
            Some((id, sum)) => writeln!(text, "base {} {}", id.0, summary_text(sum))?,
        }
        writeln!(text, "history {}", self.history.len())?;
        for table in &self.history {
            let HistoryTable { id, summary, first_ms, last_ms, classes } = table;
            writeln!(text, "table {} {} {first_ms} {last_ms} {classes:x}", id.0, summary_text(*summary))?;
        }
        writeln!(text, "kept_log {}", self.kept_log.0)?;
        writeln!(text, "retain_bytes {}", self.retain_bytes)?;
        writeln!(text, "origins {}", self.origins.len())?;
        for (of, Reach { heard, last, gone }) in &self.origins {
            match of {
                None => write!(text, "origin own")?,
                Some(Origin { host, incarnation }) => write!(text, "origin {host:016x} {incarnation}")?,
            }
            writeln!(text, " {heard} {last} {gone}")?;
        }
        text::sign(&mut text)?;
        Ok(text)
    }

    fn from_text(raw: &str) -> Result<Self, String> {
        text::check(raw)?;
        let mut fields = Fields::titled(raw, TITLE)?;
        let mut manifest = Self {
            generation: fields.number("generation")?,
            next_table: fields.number("next_table")?,
            covered: Seq(fields.number("covered")?),
            high_water_ms: fields.number("high_water_ms")?,
            first_log: Ordinal(fields.number("first_log")?),
            history_from_ms: fields.number("history_from_ms")?,
            base: None,
            history: Vec::new(),
            kept_log: Ordinal::default(),
            retain_bytes: 0,
            origins: BTreeMap::new(),
        };
        let base = fields.next("base")?;
        if base != "none" {
            let mut words = base.split(' ');
            manifest.base = Some((TableId(word(&mut words)?), summary(&mut words)?));
        }
        for _ in 0..fields.number::<u32>("history")? {
            let mut words = fields.next("table")?.split(' ');
            manifest.history.push(HistoryTable {
                id: TableId(word(&mut words)?),
                summary: summary(&mut words)?,
                first_ms: word(&mut words)?,
                last_ms: word(&mut words)?,
                classes: u128::from_str_radix(words.next().unwrap_or_default(), 16).map_err(|why| why.to_string())?,
            });
        }
        if fields.has_next("kept_log") {
            manifest.read_kept(&mut fields)?;
        } else {
            // Of format 1, which kept nothing that was covered.
            manifest.kept_log = manifest.first_log;
            let covered = manifest.covered;
            manifest.origins.insert(None, Reach { heard: Seq(0), last: covered, gone: covered });
        }
        Ok(manifest)
    }

    fn read_kept(&mut self, fields: &mut Fields<'_>) -> Result<(), String> {
        self.kept_log = Ordinal(fields.number("kept_log")?);
        self.retain_bytes = fields.number("retain_bytes")?;
        for _ in 0..fields.number::<u32>("origins")? {
            let mut words = fields.next("origin")?.split(' ');
            let of = match words.next().unwrap_or_default() {
                "own" => None,
                host => {
                    let host = u64::from_str_radix(host, 16).map_err(|why| format!("{host:?} is no origin: {why}"))?;
                    Some(Origin { host, incarnation: word(&mut words)? })
                }
            };
            let mut number = || word(&mut words).map(Seq);
            let reach = Reach { heard: number()?, last: number()?, gone: number()? };
            self.origins.insert(of, reach);
        }
        Ok(())
    }

    /// The directory's manifest; the empty one if there was no checkpoint yet.
    pub(crate) fn read(medium: &dyn Medium) -> Result<Self, StoreError> {
        let file = match medium.open(FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(StoreError::io("open", FILE, error)),
        };
        let raw = file.read_at(0, 1 << 24).map_err(|error| StoreError::io("read", FILE, error))?;
        let raw = std::str::from_utf8(&raw).map_err(|why| StoreError::corrupt(FILE, why))?;
        Self::from_text(raw).map_err(|why| StoreError::corrupt(FILE, why))
    }

    pub(crate) fn write(&self, medium: &dyn Medium) -> Result<(), StoreError> {
        let text = self.to_text().map_err(|why| StoreError::corrupt(FILE, why))?;
        replace(medium, FILE, text.as_bytes())
    }
}

fn summary_text(sum: Summary) -> String {
    format!("{} {} {} {}", sum.rows, sum.ops, sum.digest, sum.bytes)
}

fn word<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<u64, String> {
    let word = words.next().unwrap_or_default();
    word.parse().map_err(|why| format!("{word:?} is no number: {why}"))
}

fn summary<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Summary, String> {
    Ok(Summary { rows: word(words)?, ops: word(words)?, digest: word(words)?, bytes: word(words)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let summary = Summary { rows: 1, ops: 2, digest: u64::MAX, bytes: 3 };
        let history = HistoryTable { id: TableId(4), summary, first_ms: 5, last_ms: 6, classes: 1 << 127 | 1 };
        let manifest = Manifest {
            generation: 7,
            next_table: 8,
            covered: Seq(9),
            high_water_ms: 10,
            first_log: Ordinal(11),
            base: Some((TableId(3), summary)),
            history: vec![history, history],
            history_from_ms: 12,
            kept_log: Ordinal(10),
            retain_bytes: 13,
            origins: BTreeMap::from([
                (None, Reach { heard: Seq(0), last: Seq(14), gone: Seq(15) }),
                (
                    Some(Origin { host: 1 << 63, incarnation: 2 }),
                    Reach { heard: Seq(16), last: Seq(u64::MAX), gone: Seq(17) },
                ),
            ]),
        };
        for manifest in [manifest, Manifest::default()] {
            let text = manifest.to_text().unwrap();
            assert_eq!(Manifest::from_text(&text).unwrap(), manifest);
            for cut in 0..text.len() {
                assert!(Manifest::from_text(&text[..cut]).is_err(), "cut at {cut}");
            }
        }
    }
}
