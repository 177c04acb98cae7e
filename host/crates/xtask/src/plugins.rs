//! Builds the plugins that ship with the host and turns each into a component.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::toolchain::{self, TARGET};
use crate::workspace;

/// Each is the crate `nexus-plugin-<name>` in `plugins/<name>`.
const SHIPPED: [&str; 5] = ["ipv4", "ipv6", "port", "svlan", "vlan"];
/// Each is the crate `example-<name>` in `sdk/examples/<name>`. Not embedded: the daemon's tests drop them in.
const EXAMPLES: [&str; 3] = ["mac", "minimal", "qinq"];
/// The cargo profile for small components.
const PROFILE: &str = "plugin";

pub(crate) fn run(_arguments: &[String]) -> Result<()> {
    let toolchain = toolchain::ensure()?;
    let target = workspace::target_dir()?;
    // Not the host's own build folder: the compiler may be another, and two must not share one.
    let build = target.join("plugin-build");
    let shipped = SHIPPED.iter().map(|name| format!("nexus-plugin-{name}"));
    let examples = EXAMPLES.iter().map(|name| format!("example-{name}"));
    let crates = shipped.chain(examples).flat_map(|name| ["--package".to_owned(), name]);
    toolchain
        .cargo_build()
        .args(["--profile", PROFILE])
        .args(crates)
        .arg("--target-dir")
        .arg(&build)
        .dir(workspace::root())
        .run()?;
    let components = target.join("nexus-plugins");
    let examples = components.join("examples");
    fs::create_dir_all(&examples).with_context(|| format!("could not make {}", examples.display()))?;
    for name in SHIPPED {
        let module = build.join(TARGET).join(PROFILE).join(format!("nexus_plugin_{name}.wasm"));
        write_component(&module, &components.join(format!("{name}.wasm")))?;
    }
    for name in EXAMPLES {
        let module = build.join(TARGET).join(PROFILE).join(format!("example_{name}.wasm"));
        write_component(&module, &examples.join(format!("{name}.wasm")))?;
    }
    Ok(())
}

fn write_component(module: &Path, to: &Path) -> Result<()> {
    let core = fs::read(module).with_context(|| format!("could not read {}", module.display()))?;
    let component = nexus_plugin_pack::pack(&core).with_context(|| format!("could not pack {}", module.display()))?;
    eprintln!("{} ({} bytes)", to.display(), component.len());
    // An equal file keeps its time, so that the daemon is not built again for nothing.
    if fs::read(to).is_ok_and(|present| present == component) {
        return Ok(());
    }
    let part = to.with_extension("part");
    fs::write(&part, &component).with_context(|| format!("could not write {}", part.display()))?;
    fs::rename(&part, to).with_context(|| format!("could not write {}", to.display()))
}
