//! Whether what operators copy from `deploy/` works: manifests and chart against Kubernetes' schemas, and the script that
//! forms a cluster on real daemons. The checks are Python, because Helm and the schemas are to be had there; they run in an
//! environment of their own below the target folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::shell::Shell;
use crate::{plugins, workspace};

/// Which packages the checks need; Helm stands apart, because its exact files are named.
const NEEDS: [&str; 2] = ["requirements.txt", "helm.txt"];

const OLDEST_PYTHON: &str = "import sys; sys.exit(sys.version_info < (3, 10))";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    plugins::run(&[])?;
    check(arguments)
}

/// The checks alone; the plugins are built.
pub(crate) fn check(arguments: &[String]) -> Result<()> {
    let root = workspace::root();
    let (target, tests) = (workspace::target_dir()?, root.join("deploy/tests"));
    let python = environment(&target.join("deploy-checks"), &tests)?;
    Shell::cargo().dir(root).args(["build", "--package", "nexus"]).run()?;
    Shell::new(python)
        .dir(root)
        .env("DAEMON", target.join("debug/nexus"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-m", "unittest", "discover", "--start-directory"])
        .arg(tests)
        .args(arguments)
        .run()
}

/// The interpreter of an environment that has what the checks need; made or brought up to date if it must be.
fn environment(dir: &Path, tests: &Path) -> Result<PathBuf> {
    let (python, made_for) = (dir.join("bin/python"), dir.join("made-for"));
    let mut wanted = String::new();
    for name in NEEDS {
        let file = tests.join(name);
        wanted += &std::fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
    }
    let fits = std::fs::read_to_string(&made_for).is_ok_and(|made| made == wanted);
    if fits && Shell::new(&python).arg("--version").succeeds() {
        return Ok(python);
    }
    if !Shell::new("python3").args(["-c", OLDEST_PYTHON]).succeeds() {
        bail!(
            "checking deploy/ needs python3, version 3.10 or later: install it (Debian: apt-get install python3-venv)"
        );
    }
    eprintln!("xtask: installing what the checks of deploy/ need into {}", dir.display());
    let venv = Shell::new("python3").args(["-m", "venv", "--clear"]).arg(dir);
    venv.run().context("python3 makes no virtual environment (Debian: apt-get install python3-venv)")?;
    let pip = || Shell::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip().arg("--requirement").arg(tests.join("requirements.txt")).run()?;
    helm(pip(), tests)?;
    // Last: what stopped half way is made again.
    std::fs::write(&made_for, wanted).with_context(|| format!("could not write {}", made_for.display()))?;
    Ok(python)
}

/// Helm's own library, unless the command is here.
fn helm(pip: Shell, tests: &Path) -> Result<()> {
    if Shell::new("helm").arg("version").succeeds() {
        eprintln!("xtask: the chart is rendered by the helm on this machine");
        return Ok(());
    }
    let exactly = ["--require-hashes", "--only-binary", ":all:", "--no-deps", "--requirement"];
    pip.args(exactly)
        .arg(tests.join("helm.txt"))
        .run()
        .context("there is no `helm` here, and its library cannot be installed on this machine: install helm")
}
