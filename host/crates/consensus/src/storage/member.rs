//! Whose directory it is: the file `member`, written once.

use super::disk::Disk;
use super::seal::{self, Kind};
use crate::error::StorageError;

const FILE: &str = "member";
const KIND: Kind = Kind(b"nx-membr");

/// Makes a new directory this member's, and refuses another's.
pub(crate) fn claim(disk: &Disk, me: u64) -> Result<(), StorageError> {
    let dir = disk.dir().to_owned();
    if let Some(bytes) = disk.read(FILE)? {
        let found: u64 = seal::unseal(KIND, &disk.path(FILE), &bytes)?;
        return if found == me { Ok(()) } else { Err(StorageError::OtherMember { dir, found, asked: me }) };
    }
    // A directory that lost this file is not a new one: its votes are somebody's.
    let ours =
        |name: &String| name == "vote" || name == "purged" || name.starts_with("log-") || name.starts_with("snapshot-");
    if let Some(file) = disk.names()?.into_iter().find(ours) {
        return Err(StorageError::NoMember { dir, file });
    }
    disk.replace(FILE, &[&seal::seal(KIND, &me)])
}
