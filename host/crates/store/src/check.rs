//! `nexus store check`: reads everything there is, offline, and says what it found. Changes nothing of the log.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Damage, StoreError};
use crate::identity::Identity;
use crate::lock::DirLock;
use crate::log::{Tidy, each_frame, scan};
use crate::manifest::{Manifest, Summary, TableId};
use crate::medium::{Medium, OsMedium};
use crate::record::{Block, Interner, Kind};
use crate::table::Table;

/// What is in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    pub identity: Identity,
    pub format: u32,
    /// The checkpoint has every operation up to this one.
    pub covered: u64,
    /// The sequence number of the next operation.
    pub next_seq: u64,
    /// Operations in the checkpoint and in the log, by kind.
    pub facts: BTreeMap<&'static str, u64>,
    /// Ended allocations in the tables of history.
    pub history: u64,
    pub log_frames: u64,
    pub log_files: usize,
    /// Tables of checkpoint and history.
    pub tables: usize,
    /// Bytes of a last group that was not synced; nobody was told of it, and the next start removes it.
    pub torn_bytes: u64,
    /// Everything that does not read back as it was written.
    pub damage: Vec<Damage>,
}

/// Reads the whole directory. No daemon may run on it.
pub fn check(dir: &Path) -> Result<CheckReport, StoreError> {
    let missing = |why: &str| StoreError::NotAStore { dir: dir.to_owned(), why: why.to_owned() };
    if !dir.is_dir() {
        return Err(missing("there is no such directory"));
    }
    let medium = OsMedium::new(dir).map_err(|error| StoreError::path("open", dir, error))?;
    let (identity, format) = Identity::read(&medium, dir)?.ok_or_else(|| missing("it has no identity"))?;
    let _lock = DirLock::take(dir)?;
    let manifest = Manifest::read(&medium)?;
    let mut report = CheckReport {
        identity,
        format,
        covered: manifest.covered.0,
        next_seq: 0,
        facts: BTreeMap::new(),
        history: 0,
        log_frames: 0,
        log_files: 0,
        tables: 0,
        torn_bytes: 0,
        damage: Vec::new(),
    };
    if let Some((id, written)) = manifest.base {
        let facts = &mut report.facts;
        read_table(dir, id, written, &mut report.damage, |kind| *facts.entry(kind).or_default() += 1)?;
        report.tables += 1;
    }
    for table in &manifest.history {
        let history = &mut report.history;
        read_table(dir, table.id, table.summary, &mut report.damage, |_| *history += 1)?;
        report.tables += 1;
    }
    read_log(&medium, &manifest, &mut report)?;
    Ok(report)
}

/// Counts a table's operations by kind.
fn read_table(
    dir: &Path,
    id: TableId,
    written: Summary,
    damage: &mut Vec<Damage>,
    mut each: impl FnMut(&'static str),
) -> Result<(), StoreError> {
    let table = match Table::open(dir, id, 8 << 20) {
        Err(StoreError::Corrupt { key, why }) => {
            damage.push(Damage { key, pool: None, why });
            return Ok(());
        }
        opened => opened?,
    };
    let mut interner = Interner::default();
    let mut found = Summary::default();
    for row in table.rows() {
        let decoded = row?.and_then(|row| {
            row.count_into(&mut found);
            row.decode(id, &mut interner, |op| each(Kind::of(&op.fact).as_str()))
        });
        damage.extend(decoded.err());
    }
    damage.extend(table.compare(written, found));
    Ok(())
}

fn read_log(medium: &dyn Medium, manifest: &Manifest, report: &mut CheckReport) -> Result<(), StoreError> {
    let found = scan(medium, manifest.first_log, manifest.covered, Tidy::No)?;
    report.next_seq = found.next_seq.0;
    report.log_files = found.files.len();
    report.torn_bytes = found.torn_bytes;
    report.damage.extend(found.damage);
    let mut interner = Interner::default();
    each_frame(&found.files, |log, frame| {
        report.log_frames += 1;
        let facts = &mut report.facts;
        let decoded = Block::parse(frame.block).and_then(|block| {
            block.decode_all(&mut interner, |op| *facts.entry(Kind::of(&op.fact).as_str()).or_default() += 1)
        });
        if let Err(fault) = decoded {
            let key = format!("{} byte {}", log.ordinal.file_name(), frame.offset);
            report.damage.push(Damage { key, pool: None, why: fault.to_string() });
        }
        Ok::<(), StoreError>(())
    })
}
