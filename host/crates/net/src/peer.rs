//! The name of a host on the network.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A host's name on the network: the hash of its public key, so nobody can speak under another's.
///
/// Shown and read in base58, as `12D3KooW…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(crate) libp2p::PeerId);

/// A text that names no peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no peer id: {why}; a peer id looks like 12D3KooW followed by 44 letters and digits")]
pub struct InvalidPeerId {
    text: String,
    why: String,
}

impl FromStr for PeerId {
    type Err = InvalidPeerId;

    fn from_str(text: &str) -> Result<Self, InvalidPeerId> {
        // Longer texts cannot be right, and are not worth repeating.
        let shown: String = text.chars().take(64).collect();
        if text.len() > 128 {
            return Err(InvalidPeerId { text: shown, why: format!("it has {} bytes", text.len()) });
        }
        text.parse()
            .map(Self)
            .map_err(|why: libp2p::identity::ParseError| InvalidPeerId { text: shown, why: why.to_string() })
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0)
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_is_read_back_from_what_is_shown() {
        let peer = PeerId(libp2p::PeerId::random());
        assert_eq!(peer.to_string().parse::<PeerId>().unwrap(), peer);
        let json = serde_json::to_string(&peer).unwrap();
        assert_eq!(serde_json::from_str::<PeerId>(&json).unwrap(), peer);
    }

    #[test]
    fn what_is_no_peer_id_is_refused_with_what_it_was() {
        let error = "host-1".parse::<PeerId>().unwrap_err();
        assert!(error.to_string().starts_with("\"host-1\" is no peer id"), "{error}");
        assert!("x".repeat(5000).parse::<PeerId>().unwrap_err().to_string().len() < 300);
    }
}
