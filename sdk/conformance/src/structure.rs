//! What the file says before anything runs.

use crate::run::Finding;
use crate::subject::Structure;

/// The log, and the records' own interface, which has no function and says only where they come from.
const IMPORTABLE: [&str; 2] = ["nexus:allocator/log@1.", "nexus:allocator/types@1."];
const GEOMETRY: &str = "nexus:allocator/geometry@1.";
/// The most a file may have under the limits `small`.
const MAX_FILE_BYTES: u64 = 2 << 20;

pub(crate) fn imports(structure: &Structure) -> Finding {
    let importable = |import: &&String| IMPORTABLE.iter().any(|known| import.starts_with(known));
    match structure.imports.iter().find(|import| !importable(import)) {
        Some(wasi) if wasi.starts_with("wasi:") => {
            Err(format!("imports {wasi}; build for wasm32-unknown-unknown, a plugin has no system under it"))
        }
        Some(other) => Err(format!("imports {other}; only nexus:allocator/log is there to import")),
        None => Ok(structure.imports.join(", ")),
    }
}

pub(crate) fn exports(structure: &Structure) -> Finding {
    match structure.exports.iter().find(|export| export.starts_with(GEOMETRY)) {
        Some(geometry) => Ok(geometry.clone()),
        None => Err(format!(
            "exports [{}]; it must export nexus:allocator/geometry of major version 1",
            structure.exports.join(", ")
        )),
    }
}

pub(crate) fn file_size(structure: &Structure) -> Finding {
    let note = format!("{} bytes", structure.file_bytes);
    if structure.file_bytes <= MAX_FILE_BYTES {
        Ok(note)
    } else {
        Err(format!("{note}; at most {MAX_FILE_BYTES} are allowed"))
    }
}
