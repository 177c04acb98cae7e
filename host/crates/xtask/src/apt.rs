//! Packages of the system, where it is Debian or its kin and we may install.

use anyhow::{Result, bail};

use crate::shell::Shell;

/// Leave to install packages.
#[derive(Debug)]
pub(crate) struct Apt {
    root: bool,
}

/// Whether packages can be installed here; the error says what is missing.
pub(crate) fn find() -> Result<Apt> {
    if !Shell::new("apt-get").arg("--version").succeeds() {
        bail!("there is no apt-get here");
    }
    let root = Shell::new("id").arg("-u").read().is_ok_and(|uid| uid.trim() == "0");
    if !root && !Shell::new("sudo").args(["-n", "true"]).succeeds() {
        bail!("apt-get needs root, which sudo does not give");
    }
    Ok(Apt { root })
}

impl Apt {
    pub(crate) fn install(&self, packages: &[&str]) -> Result<()> {
        self.get().arg("update").run()?;
        self.get().args(["install", "-y"]).args(packages).run()
    }

    fn get(&self) -> Shell {
        if self.root { Shell::new("apt-get") } else { Shell::new("sudo").args(["-n", "apt-get"]) }
    }
}
