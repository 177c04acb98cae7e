//! With which key each volume of a table begins: the file `index`, text like the other small files.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::error::StoreError;
use crate::key::RowKey;
use crate::manifest::TableId;
use crate::text::{self, Fields};

const FILE: &str = "index";
const TITLE: &str = "nexus table";

fn to_text(firsts: &[RowKey]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "{TITLE}")?;
    writeln!(text, "volumes {}", firsts.len())?;
    for first in firsts {
        text.push_str("first ");
        for byte in first.to_bytes() {
            write!(text, "{byte:02x}")?;
        }
        text.push('\n');
    }
    text::sign(&mut text)?;
    Ok(text)
}

fn from_text(raw: &str) -> Result<Vec<RowKey>, String> {
    text::check(raw)?;
    let mut fields = Fields::titled(raw, TITLE)?;
    let mut firsts = Vec::new();
    for _ in 0..fields.number::<u32>("volumes")? {
        let hex = fields.next("first")?;
        let bytes: Option<Vec<u8>> = (0..hex.len())
            .step_by(2)
            .map(|at| hex.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok()))
            .collect();
        let key = bytes.as_deref().and_then(RowKey::parse);
        firsts.push(key.ok_or_else(|| format!("{hex:?} is no key"))?);
    }
    Ok(firsts)
}

/// Writes the index of a table that is being finished; syncing it is the caller's.
pub(super) fn write(dir: &Path, firsts: &[RowKey]) -> io::Result<()> {
    fs::write(dir.join(FILE), to_text(firsts).map_err(io::Error::other)?)
}

/// The first keys of a table's volumes.
pub(super) fn read(dir: &Path, id: TableId) -> Result<Vec<RowKey>, StoreError> {
    let key = || format!("{}/{FILE}", id.dir_name());
    let raw = match fs::read(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::corrupt(key(), "it is missing"));
        }
        read => read.map_err(|error| StoreError::io("read", key(), error))?,
    };
    let text = std::str::from_utf8(&raw).map_err(|why| StoreError::corrupt(key(), why))?;
    from_text(text).map_err(|why| StoreError::corrupt(key(), why))
}
