//! The secret that all hosts of a cluster share.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// Without it nobody can speak to a host of the cluster: it encrypts the connection before anything else is said, and is
/// mixed into the handshake that follows.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; 32]);

/// A text that makes no cluster key. It does not repeat the text, which may be a secret that was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClusterKey {
    #[error("the cluster key has {0} characters, it needs at least 16 (best: 64 hexadecimal digits at random)")]
    Short(usize),
    #[error("the cluster key has {0} bytes, at most 4096 are read")]
    Long(usize),
}

impl ClusterKey {
    pub(crate) fn psk(&self) -> libp2p::pnet::PreSharedKey {
        libp2p::pnet::PreSharedKey::new(self.0)
    }

    /// What both ends must mix into their handshake. The pre-shared key only encrypts, it does not authenticate; this
    /// does. Derived, so that the key itself enters one cipher only.
    pub(crate) fn prologue(&self) -> Vec<u8> {
        Sha256::new().chain_update(b"nexus handshake\0").chain_update(self.0).finalize().to_vec()
    }
}

impl FromStr for ClusterKey {
    type Err = InvalidClusterKey;

    /// Reads 64 hexadecimal digits as the 32 bytes they are, and any other text of at least 16 characters by its hash.
    /// White space around it is not part of it, since files end in a line feed.
    fn from_str(text: &str) -> Result<Self, InvalidClusterKey> {
        let text = text.trim();
        if text.len() > 4096 {
            return Err(InvalidClusterKey::Long(text.len()));
        }
        if let Some(bytes) = unhex(text) {
            return Ok(Self(bytes));
        }
        let characters = text.chars().count();
        if characters < 16 {
            return Err(InvalidClusterKey::Short(characters));
        }
        Ok(Self(Sha256::new().chain_update(b"nexus cluster key\0").chain_update(text).finalize().into()))
    }
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Debug for ClusterKey {
    /// Says nothing of the key: settings are logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_the_key_itself() {
        let key: ClusterKey = format!("{}\n", "0a".repeat(32)).parse().unwrap();
        assert_eq!(key.0, [10; 32]);
    }

    #[test]
    fn other_texts_are_hashed_whatever_surrounds_them() {
        let key: ClusterKey = "correct horse battery".parse().unwrap();
        assert_eq!(key, "  correct horse battery\n".parse().unwrap());
        assert_ne!(key, "correct horse batterz".parse().unwrap());
    }

    #[test]
    fn a_short_key_is_refused() {
        assert_eq!("fifteen letters".parse::<ClusterKey>(), Err(InvalidClusterKey::Short(15)));
        assert!("sixteen letters!".parse::<ClusterKey>().is_ok());
        assert_eq!("x".repeat(5000).parse::<ClusterKey>(), Err(InvalidClusterKey::Long(5000)));
    }

    #[test]
    fn a_key_is_not_shown() {
        let key: ClusterKey = "correct horse battery".parse().unwrap();
        assert_eq!(format!("{key:?}"), "ClusterKey(secret)");
    }
}
