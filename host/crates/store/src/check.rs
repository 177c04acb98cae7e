//! `nexus store check`: reads everything there is, offline, and says what it found. Changes nothing of the log.

use std::collections::BTreeMap;
use std::path::Path;

use kernel::{Fact, Op, Origin, Seq};

use crate::error::{Damage, StoreError};
use crate::identity::Identity;
use crate::lock::DirLock;
use crate::log::{Tidy, each_frame, scan, scan_kept};
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
    /// The same operations by who wrote them.
    pub origins: BTreeMap<Origin, OriginReport>,
    /// Ended allocations in the tables of history.
    pub history: u64,
    pub log_frames: u64,
    pub log_files: usize,
    /// Log files that the checkpoint covers and that are kept for other hosts. `None`: they do not read back as they were
    /// written; the next start removes them, and lacks nothing.
    pub kept_files: Option<usize>,
    /// Tables of checkpoint and history.
    pub tables: usize,
    /// Bytes of a last group that was not synced; nobody was told of it, and the next start removes it.
    pub torn_bytes: u64,
    /// Everything that does not read back as it was written.
    pub damage: Vec<Damage>,
}

/// What is there of one origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginReport {
    /// Its operations in the checkpoint and in the log.
    pub operations: u64,
    /// Up to where everything of it is known; of this host itself, what is next is known.
    pub heard: Seq,
}

impl CheckReport {
    fn count(&mut self, op: &Op) {
        *self.facts.entry(Kind::of(&op.fact).as_str()).or_default() += 1;
        let own = self.identity.origin.into();
        self.origins.entry(op.from.map_or(own, |dot| dot.origin)).or_default().operations += 1;
        if let Fact::Heard { origin, through } = op.fact {
            self.hear(origin, through);
        }
        if let Fact::Adopted(vector) = &op.fact {
            for (origin, through) in vector.iter() {
                self.hear(*origin, *through);
            }
        }
    }

    fn hear(&mut self, origin: Origin, through: Seq) {
        let known = self.origins.entry(origin).or_default();
        known.heard = known.heard.max(through);
    }
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
        origins: BTreeMap::new(),
        history: 0,
        log_frames: 0,
        log_files: 0,
        kept_files: Some(0),
        tables: 0,
        torn_bytes: 0,
        damage: Vec::new(),
    };
    if let Some((id, written)) = manifest.base {
        let damage = read_table(dir, id, written, |op| report.count(op))?;
        report.damage.extend(damage);
        report.tables += 1;
    }
    for table in &manifest.history {
        let damage = read_table(dir, table.id, table.summary, |_| report.history += 1)?;
        report.damage.extend(damage);
        report.tables += 1;
    }
    for (of, reach) in &manifest.origins {
        if let Some(origin) = of {
            let known = report.origins.entry(*origin).or_default();
            known.heard = known.heard.max(reach.heard);
        }
    }
    let kept = scan_kept(&medium, manifest.kept_log, manifest.first_log, manifest.covered)?;
    report.kept_files = kept.map(|files| files.len());
    read_log(&medium, &manifest, &mut report)?;
    Ok(report)
}

/// Gives a table's operations to `each`, and what is damaged back.
fn read_table(dir: &Path, id: TableId, written: Summary, mut each: impl FnMut(&Op)) -> Result<Vec<Damage>, StoreError> {
    let table = match Table::open(dir, id, 8 << 20) {
        Err(StoreError::Corrupt { key, why }) => return Ok(vec![Damage { key, pool: None, why }]),
        opened => opened?,
    };
    let mut damage = Vec::new();
    let mut interner = Interner::default();
    let mut found = Summary::default();
    for row in table.rows() {
        let decoded = row?.and_then(|row| {
            row.count_into(&mut found);
            row.decode(id, &mut interner, |op| each(&op))
        });
        damage.extend(decoded.err());
    }
    damage.extend(table.compare(written, found));
    Ok(damage)
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
        let decoded =
            Block::parse(frame.block).and_then(|block| block.decode_all(&mut interner, |op| report.count(&op)));
        if let Err(fault) = decoded {
            let key = format!("{} byte {}", log.ordinal.file_name(), frame.offset);
            report.damage.push(Damage { key, pool: None, why: fault.to_string() });
        }
        Ok::<(), StoreError>(())
    })
}
