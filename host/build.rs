//! Embeds the plugins that `cargo xtask plugins` left in `<target-dir>/nexus-plugins` (or `NEXUS_PLUGINS_DIR`). Starts no
//! cargo and never fails: with none, the daemon builds all the same and says at start what is missing.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Names another folder of components.
const FOLDER: &str = "NEXUS_PLUGINS_DIR";

fn main() {
    println!("cargo::rerun-if-env-changed={FOLDER}");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut list = String::from("pub(crate) const EMBEDDED: &[(&str, &[u8])] = &[\n");
    if let Some(folder) = folder(&out) {
        println!("cargo::rerun-if-changed={}", folder.display());
        for file in components(&folder) {
            println!("cargo::rerun-if-changed={}", file.display());
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            // Writing to a string cannot fail.
            let _infallible = writeln!(list, "    ({name:?}, include_bytes!({:?})),", file.display().to_string());
        }
    }
    list.push_str("];\n");
    // Still set where people build and run in one shell: the daemon must know that it is not one of its settings.
    let _infallible = writeln!(list, "pub(crate) const BUILD_VARIABLE: &str = {FOLDER:?};");
    if let Err(error) = fs::write(out.join("embedded.rs"), list) {
        println!("cargo::warning=could not write the list of embedded plugins: {error}");
    }
}

/// `NEXUS_PLUGINS_DIR`, or the folder beside this build's own output. Watched even while it is missing.
fn folder(out: &Path) -> Option<PathBuf> {
    if let Some(named) = env::var_os(FOLDER) {
        return Some(PathBuf::from(named));
    }
    // <target-dir>[/<triple>]/<profile>/build/<package>/out
    let candidates = out.ancestors().skip(4).take(2).map(|above| above.join("nexus-plugins"));
    let mut candidates: Vec<PathBuf> = candidates.collect();
    let found = candidates.iter().position(|folder| folder.is_dir()).unwrap_or(0);
    (!candidates.is_empty()).then(|| candidates.swap_remove(found))
}

fn components(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "wasm")).collect();
    files.sort();
    files
}
