//! SHA-256 of a component's bytes, and of what a plugin reads in a spec.

use std::fmt;
use std::str::FromStr;

use kernel::{Alignment, Geometry, Series};
use sha2::{Digest as _, Sha256};

macro_rules! hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hash!(
    /// Names a component: SHA-256 of its bytes, shown in hexadecimal.
    Digest
);
hash!(
    /// Names what a plugin reads in a spec: spans, exclusions, grain, sizing and cut. Attributes and the default strategy
    /// are not part of it: they change no position.
    GeometryHash
);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("digest {0:?} is not 64 hexadecimal digits")]
pub struct InvalidDigest(String);

impl FromStr for Digest {
    type Err = InvalidDigest;
    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let wrong = || InvalidDigest(raw.chars().take(80).collect());
        let mut bytes = [0; 32];
        if raw.len() != 64 || !raw.is_ascii() {
            return Err(wrong());
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            let pair = raw.get(at..at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl GeometryHash {
    /// The hash of this geometry, the same on every machine.
    pub fn of(geometry: &Geometry) -> Self {
        let Geometry { spans, excluded, grain, sizing, cut, attributes: _, strategy: _ } = geometry;
        let mut hash = Sha256::new();
        for list in [spans, excluded] {
            hash.update((list.len() as u64).to_be_bytes());
            for series in list {
                Self::add(&mut hash, *series);
            }
        }
        for number in [*grain, sizing.default_len, sizing.min_len, sizing.max_len, *cut] {
            hash.update(number.to_be_bytes());
        }
        hash.update([match sizing.align {
            Alignment::Origin => 0,
            Alignment::Natural => 1,
        }]);
        Self(hash.finalize().into())
    }

    fn add(hash: &mut Sha256, series: Series) {
        hash.update(series.first().start().to_be_bytes());
        hash.update(series.first().len().to_be_bytes());
        hash.update(series.stride().to_be_bytes());
        hash.update(series.count().to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        "xyz".parse::<Digest>().unwrap_err();
        "é".repeat(32).parse::<Digest>().unwrap_err();
    }
}
