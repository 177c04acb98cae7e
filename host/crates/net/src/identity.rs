//! Who we are: an ed25519 key, made once and kept in the file `p2p.key` of the data directory.
//!
//! The file names the peer beside the key, so a damaged one is noticed. A damaged file is an error, never a new identity:
//! the cluster would take the host for a stranger, and nobody would know why.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use libp2p::identity::{PublicKey, ed25519};

use crate::error::NetError;
use crate::key::unhex;
use crate::peer::PeerId;

pub(crate) const FILE: &str = "p2p.key";
const TITLE: &str = "nexus host key 1";
/// What a whole file never exceeds.
const MOST_BYTES: u64 = 1024;

/// Reads the host's key, or makes it if there is none.
pub(crate) fn load_or_make(dir: &Path) -> Result<ed25519::Keypair, NetError> {
    let path = dir.join(FILE);
    match File::open(&path) {
        Ok(file) => {
            let mut text = String::new();
            match file.take(MOST_BYTES).read_to_string(&mut text) {
                Ok(_) => parse(&text).map_err(|why| NetError::DamagedKey { path, why }),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    Err(NetError::DamagedKey { path, why: "it is no text".to_owned() })
                }
                Err(source) => Err(NetError::Key { action: "read", path, source }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = ed25519::Keypair::generate();
            write(dir, &path, &render(&key))?;
            Ok(key)
        }
        Err(source) => Err(NetError::Key { action: "open", path, source }),
    }
}

fn render(key: &ed25519::Keypair) -> String {
    let peer = peer_of(key);
    let mut text = format!("{TITLE}\npeer {peer}\nsecret ");
    for byte in key.secret().as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

fn peer_of(key: &ed25519::Keypair) -> PeerId {
    PeerId(PublicKey::from(key.public()).to_peer_id())
}

/// What is wrong is said without what stands there: it may be most of a secret.
fn parse(text: &str) -> Result<ed25519::Keypair, String> {
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err(format!("its first line is not {TITLE:?}"));
    }
    let peer: PeerId = lines
        .next()
        .and_then(|line| line.strip_prefix("peer "))
        .ok_or("its second line does not name the peer")?
        .parse()
        .map_err(|_| "its second line names no peer")?;
    let secret = lines
        .next()
        .and_then(|line| line.strip_prefix("secret "))
        .and_then(unhex)
        .ok_or("its third line is not the secret in 64 hexadecimal digits")?;
    if lines.next().is_some() {
        return Err("it goes on after the third line".to_owned());
    }
    let secret = ed25519::SecretKey::try_from_bytes(secret).map_err(|why| format!("its secret is none: {why}"))?;
    let key = ed25519::Keypair::from(secret);
    let found = peer_of(&key);
    if found != peer {
        return Err(format!("its secret belongs to {found}, but it names {peer}"));
    }
    Ok(key)
}

/// Writes under a temporary name, syncs, renames and syncs the directory: after a power cut the file is whole or absent.
fn write(dir: &Path, path: &Path, text: &str) -> Result<(), NetError> {
    let failed = |action| move |source| NetError::Key { action, path: path.to_path_buf(), source };
    let temporary = dir.join(format!("{FILE}.new"));
    // What an interrupted start left behind was never used.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("make")(error)),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed("make"))?;
    file.write_all(text.as_bytes()).map_err(failed("write"))?;
    file.sync_all().map_err(failed("sync"))?;
    fs::rename(&temporary, path).map_err(failed("name"))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync the directory of"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_identity_is_made_once_and_kept_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_make(dir.path()).unwrap();
        let again = load_or_make(dir.path()).unwrap();
        assert_eq!(first.public(), again.public());
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        load_or_make(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        let whole = fs::read_to_string(&path).unwrap();
        let other = {
            let at = whole.len() - 2;
            let last = if whole.as_bytes()[at] == b'0' { '1' } else { '0' };
            format!("{}{last}\n", &whole[..at])
        };
        let damaged = ["", "nexus", &whole[..whole.len() - 5], &other, &format!("{whole}more\n")];
        for text in damaged {
            fs::write(&path, text).unwrap();
            let error = load_or_make(dir.path()).unwrap_err();
            assert!(matches!(error, NetError::DamagedKey { .. }), "{text:?}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(load_or_make(dir.path()), Err(NetError::DamagedKey { .. })));
    }

    #[test]
    fn what_an_interrupted_start_left_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("p2p.key.new"), "half").unwrap();
        load_or_make(dir.path()).unwrap();
        assert!(!dir.path().join("p2p.key.new").exists());
    }
}
