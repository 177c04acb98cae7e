//! What tells this process from any other with the same data directory. A copy of the disk must not be able to renew the node
//! lease of its original, but a daemon that was only restarted should go on at once.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{random, seat};

const FILE: &str = "nonce.json";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Where a nonce counts: on this machine since it was booted, in this very directory. The directory's lock keeps a second
/// process out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    boot: String,
    device: u64,
    inode: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    nonce: u64,
    place: Place,
}

/// The nonce that this process renews under, and that hosts tell it by.
pub(crate) fn of_this_process(dir: &Path) -> anyhow::Result<u64> {
    let place = place(dir)?;
    let kept = fs::read(dir.join(FILE)).ok().and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
    if let Some(kept) = kept.filter(|kept| Some(&kept.place) == place.as_ref()) {
        return Ok(kept.nonce);
    }
    let nonce = u64::from_le_bytes(random()?);
    if let Some(place) = place {
        let text = serde_json::to_vec(&Kept { nonce, place }).context("a nonce has no text")?;
        seat::replace(dir, FILE, &text)?;
    }
    Ok(nonce)
}

/// `None` where the machine does not say when it was booted: then every process is another.
fn place(dir: &Path) -> anyhow::Result<Option<Place>> {
    let Ok(boot) = fs::read_to_string(BOOT) else {
        tracing::warn!("{BOOT} cannot be read: after a restart the node lease of this process must end first");
        return Ok(None);
    };
    let about = fs::metadata(dir).with_context(|| format!("{} cannot be looked at", dir.display()))?;
    Ok(Some(Place { boot: boot.trim().to_owned(), device: about.dev(), inode: about.ino() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_keeps_the_nonce_and_a_copy_of_the_directory_gets_another() {
        let original = tempfile::tempdir().expect("a directory");
        let copy = tempfile::tempdir().expect("a directory");
        let first = of_this_process(original.path()).expect("a nonce");
        assert_eq!(of_this_process(original.path()).expect("a nonce"), first);
        fs::copy(original.path().join(FILE), copy.path().join(FILE)).expect("copied");
        assert_ne!(of_this_process(copy.path()).expect("a nonce"), first);
    }

    #[test]
    fn a_damaged_file_means_another_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = of_this_process(dir.path()).expect("a nonce");
        fs::write(dir.path().join(FILE), b"{").expect("written");
        assert_ne!(of_this_process(dir.path()).expect("a nonce"), first);
    }
}
