//! What a file is, read before anything of it is compiled: a component, whole, with no import but ours, for an interface
//! this host speaks.

use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

use crate::printable::printable;
use crate::refusal::Refusal;

/// The interface a plugin must export.
pub(crate) const GEOMETRY: &str = "nexus:allocator/geometry@1.0.0";
const PACKAGE: &str = "nexus:allocator/";
/// The newest interface this host speaks.
const KNOWN: semver::Version = semver::Version::new(1, 0, 0);
const KNOWN_TEXT: &str = "1.0.0";
/// Import names are shown up to here.
const SHOWN_BYTES: usize = 200;

/// What the file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// Full names of the imported interfaces.
    pub(crate) imports: Vec<String>,
    /// Full names of the exported interfaces.
    pub(crate) exports: Vec<String>,
}

/// Checks a file without compiling it. Bounded by the file's size, which the caller limits.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Outline, Refusal> {
    begins_as_a_component(bytes)?;
    let outline = outline(bytes)?;
    outline.imports.iter().try_for_each(|name| import_is_ours(name))?;
    let mut geometry = false;
    for name in &outline.exports {
        if let Some(version) = name.strip_prefix("nexus:allocator/geometry@") {
            version_is_spoken(name, version)?;
            geometry = true;
        }
    }
    if !geometry {
        return Err(Refusal::NoGeometry { wanted: GEOMETRY, exports: outline.exports });
    }
    validate(bytes)?;
    Ok(outline)
}

fn begins_as_a_component(bytes: &[u8]) -> Result<(), Refusal> {
    let head = bytes.get(..bytes.len().min(8)).unwrap_or_default();
    match head {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0] => Err(Refusal::CoreModule),
        [0, b'a', b's', b'm', rest @ ..] if rest.len() < 4 => Err(Refusal::Truncated { offset: bytes.len() }),
        [] => Err(Refusal::Truncated { offset: 0 }),
        _ => Err(Refusal::NotWasm(format!("{head:02x?}"))),
    }
}

/// The outermost component's imports and exports, by name.
#[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum of which two sections matter")]
fn outline(bytes: &[u8]) -> Result<Outline, Refusal> {
    let mut outline = Outline::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| malformed(&error, bytes.len()))? {
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports {
                    let import = import.map_err(|error| malformed(&error, bytes.len()))?;
                    outline.imports.push(printable(import.name.name, SHOWN_BYTES));
                }
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports {
                    let export = export.map_err(|error| malformed(&error, bytes.len()))?;
                    outline.exports.push(printable(export.name.name, SHOWN_BYTES));
                }
            }
            _ => {}
        }
    }
    Ok(outline)
}

fn import_is_ours(name: &str) -> Result<(), Refusal> {
    if name.starts_with("wasi:") || name.starts_with("wasi_") {
        return Err(Refusal::Wasi { import: name.to_owned() });
    }
    let foreign = || Refusal::ForeignImport { import: name.to_owned() };
    let (interface, version) = name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')).ok_or_else(foreign)?;
    version_is_spoken(name, version)?;
    // `types` holds no function: a component names it only to say where its records come from.
    if matches!(interface, "log" | "types") { Ok(()) } else { Err(foreign()) }
}

fn version_is_spoken(name: &str, version: &str) -> Result<(), Refusal> {
    match semver::Version::parse(version) {
        Ok(found) if found.major == KNOWN.major && (found.minor, found.patch) <= (KNOWN.minor, KNOWN.patch) => Ok(()),
        Ok(_) | Err(_) => Err(Refusal::NewerInterface { found: name.to_owned(), known: KNOWN_TEXT }),
    }
}

/// The rest of what the format demands, so that the compiler only ever sees valid components.
fn validate(bytes: &[u8]) -> Result<(), Refusal> {
    let mut features = WasmFeatures::default();
    features.remove(WasmFeatures::THREADS | WasmFeatures::RELAXED_SIMD | WasmFeatures::MEMORY64);
    features.remove(WasmFeatures::MULTI_MEMORY | WasmFeatures::CM_ASYNC);
    let mut validator = Validator::new_with_features(features);
    validator.validate_all(bytes).map(drop).map_err(|error| malformed(&error, bytes.len()))
}

fn malformed(error: &wasmparser::BinaryReaderError, len: usize) -> Refusal {
    let detail = printable(error.message(), 512);
    // A section that claims to go on past the end of the file is what a half-written file looks like.
    let cut = ["unexpected end", "unexpected-eof", "past end", "extends past"].iter().any(|sign| detail.contains(sign));
    if cut { Refusal::Truncated { offset: len } } else { Refusal::Malformed { offset: error.offset(), detail } }
}
