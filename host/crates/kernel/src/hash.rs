//! Hashing and drawing, the same on every machine. Not cryptographic: the table hash is keyed so that clients cannot choose
//! ids that collide, the placing hash is not, because it must give the same position on every host.

/// Odd, with bits all over; from the fractional part of the golden ratio and of the square root of two.
const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0x6a09_e667_f3bc_c909;

/// Both halves of the product: one multiplication that lets every input bit reach every output bit.
#[allow(clippy::cast_possible_truncation, reason = "the two halves are folded onto each other")]
const fn fold(left: u64, right: u64) -> u64 {
    let product = (left as u128) * (right as u128);
    product as u64 ^ (product >> 64) as u64
}

/// Continues a hash with one word.
pub(crate) const fn word(state: u64, word: u64) -> u64 {
    fold(state ^ word, FIRST)
}

/// Continues a hash with bytes; their number counts, so `("a", "bc")` and `("ab", "c")` differ.
pub(crate) fn bytes(mut state: u64, bytes: &[u8]) -> u64 {
    let (whole, rest) = bytes.as_chunks::<8>();
    for chunk in whole {
        state = word(state, u64::from_le_bytes(*chunk));
    }
    let mut last = [0_u8; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    state = word(state, u64::from_le_bytes(last));
    fold(state ^ bytes.len() as u64, SECOND)
}

/// The generator behind strategy `random` (`SplitMix64`, Steele, Lea and Flood 2014).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(FIRST);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// What `next` would give.
    pub(crate) const fn peek(self) -> u64 {
        let mut copy = self;
        copy.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_text_ends_and_the_next_begins_counts() {
        let joined = |left: &str, right: &str| bytes(bytes(SECOND, left.as_bytes()), right.as_bytes());
        assert_ne!(joined("a", "bc"), joined("ab", "c"));
        assert_ne!(joined("", "a"), joined("a", ""));
        assert_ne!(bytes(1, b"a"), bytes(1, b"a\0"));
    }

    #[test]
    fn short_texts_spread_over_all_bits() {
        let mut seen = std::collections::BTreeSet::new();
        let (mut ones, mut zeros) = (0, u64::MAX);
        for n in 0..10_000_u32 {
            let hash = bytes(7, format!("sub-{n}").as_bytes());
            seen.insert(hash);
            ones |= hash;
            zeros &= hash;
        }
        assert_eq!((seen.len(), ones, zeros), (10_000, u64::MAX, 0));
    }
}
