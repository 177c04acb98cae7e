//! A row of bits that finds the next set one in a handful of steps, however many there are: above every 64 words stands a
//! word that says which of them are not empty.

/// The bits, and above them level by level their summaries.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    words: Box<[u64]>,
    /// Where each level's words begin, and where the last one's end. 2^30 bits have five levels.
    starts: [u32; 6],
    len: u32,
}

impl Bits {
    /// All clear.
    pub(super) fn clear(len: u32) -> Self {
        let mut starts = [0; 6];
        let mut size = len;
        let mut end = 0;
        for start in starts.iter_mut().skip(1) {
            if size != 1 || end == 0 {
                size = size.div_ceil(64);
                end += size;
            }
            *start = end;
        }
        debug_assert!(size <= 1, "{len} bits need more than five levels");
        Self { words: vec![0; end as usize].into_boxed_slice(), starts, len }
    }

    /// All set.
    pub(super) fn full(len: u32) -> Self {
        let mut bits = Self::clear(len);
        bits.set(0, len);
        bits
    }

    /// How many bits there are.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// True if no bit is set.
    pub(super) fn is_clear(&self) -> bool {
        self.words.last().is_none_or(|top| *top == 0)
    }

    /// Whether a bit is set; beyond the last none is.
    pub(super) fn get(&self, bit: u32) -> bool {
        bit < self.len && self.word(0, bit >> 6) >> (bit & 63) & 1 == 1
    }

    /// True if every bit of `from..to` is set.
    pub(super) fn all(&self, from: u32, to: u32) -> bool {
        if to - from == 1 { self.get(from) } else { self.first_clear(from, to) == to }
    }

    /// The first set bit at or after `from`.
    pub(super) fn next(&self, from: u32) -> Option<u32> {
        let mut at = from;
        let mut level = 0;
        let mut found = loop {
            let word = at >> 6;
            if level == 5 || word >= self.level_len(level) {
                return None;
            }
            let rest = self.word(level, word) & (u64::MAX << (at & 63));
            if rest != 0 {
                break word << 6 | rest.trailing_zeros();
            }
            at = word + 1;
            level += 1;
        };
        while level > 0 {
            level -= 1;
            found = found << 6 | self.word(level, found).trailing_zeros();
        }
        Some(found)
    }

    /// The first clear bit of `from..to`, or `to`.
    pub(super) fn first_clear(&self, from: u32, to: u32) -> u32 {
        let mut at = from;
        while at < to {
            let clear = !self.word(0, at >> 6) & (u64::MAX << (at & 63));
            if clear != 0 {
                return to.min(at & !63 | clear.trailing_zeros());
            }
            at = (at & !63) + 64;
        }
        to
    }

    /// How many set bits stand right before `at`, at most `most`.
    pub(super) fn run_before(&self, at: u32, most: u32) -> u32 {
        let mut low = at;
        while low > 0 && at - low < most {
            let bit = low - 1;
            let clear = !self.word(0, bit >> 6) & (u64::MAX >> (63 - (bit & 63)));
            if clear != 0 {
                low = (bit & !63) + 64 - clear.leading_zeros();
                break;
            }
            low = bit & !63;
        }
        most.min(at - low)
    }

    /// Sets the bits of `from..to`; how many were clear.
    pub(super) fn set(&mut self, from: u32, to: u32) -> u32 {
        self.set_level(0, from, to)
    }

    /// Clears the bits of `from..to`; how many were set.
    pub(super) fn unset(&mut self, from: u32, to: u32) -> u32 {
        self.unset_level(0, from, to)
    }

    /// Half as many bits, each set if both of the two it stands for are.
    pub(super) fn halved(&self) -> Self {
        let mut half = Self::clear(self.len / 2);
        for word in 0..self.level_len(0) {
            let both = squeeze(self.word(0, word));
            if both == 0 {
                continue;
            }
            if let Some(bits) = half.word_mut(0, word / 2) {
                *bits |= both << (32 * (word & 1));
                half.mark(word / 2);
            }
        }
        half
    }

    /// Says in the summaries that a word is not empty.
    fn mark(&mut self, word: u32) {
        if self.level_len(0) > 1 {
            self.set_level(1, word, word + 1);
        }
    }

    fn set_level(&mut self, level: usize, from: u32, to: u32) -> u32 {
        let mut changed = 0;
        for (word, mask) in words(from, to) {
            let Some(bits) = self.word_mut(level, word) else { continue };
            let before = *bits;
            *bits |= mask;
            changed += (mask & !before).count_ones();
            if before == 0 && self.level_len(level) > 1 {
                self.set_level(level + 1, word, word + 1);
            }
        }
        changed
    }

    fn unset_level(&mut self, level: usize, from: u32, to: u32) -> u32 {
        let mut changed = 0;
        for (word, mask) in words(from, to) {
            let Some(bits) = self.word_mut(level, word) else { continue };
            let before = *bits;
            *bits &= !mask;
            let empty = *bits == 0;
            changed += (mask & before).count_ones();
            if before != 0 && empty && self.level_len(level) > 1 {
                self.unset_level(level + 1, word, word + 1);
            }
        }
        changed
    }

    fn start(&self, level: usize) -> u32 {
        self.starts.get(level).copied().unwrap_or(u32::MAX)
    }

    fn level_len(&self, level: usize) -> u32 {
        self.start(level + 1) - self.start(level)
    }

    fn word(&self, level: usize, word: u32) -> u64 {
        self.words.get((self.start(level) + word) as usize).copied().unwrap_or(0)
    }

    fn word_mut(&mut self, level: usize, word: u32) -> Option<&mut u64> {
        let at = (self.start(level) + word) as usize;
        self.words.get_mut(at)
    }
}

/// The words that hold the bits `from..to`, each with a mask of those in it.
fn words(from: u32, to: u32) -> impl Iterator<Item = (u32, u64)> {
    let first = from >> 6;
    let last = if to > from { (to - 1) >> 6 } else { first };
    (first..=last).filter(move |_| to > from).map(move |word| {
        let low = if word == first { u64::MAX << (from & 63) } else { u64::MAX };
        let high = if word == last { u64::MAX >> (63 - ((to - 1) & 63)) } else { u64::MAX };
        (word, low & high)
    })
}

/// Bit n says whether bits 2n and 2n+1 of the word are both set.
fn squeeze(word: u64) -> u64 {
    let mut even = word & (word >> 1) & 0x5555_5555_5555_5555;
    even = (even | even >> 1) & 0x3333_3333_3333_3333;
    even = (even | even >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    even = (even | even >> 4) & 0x00ff_00ff_00ff_00ff;
    even = (even | even >> 8) & 0x0000_ffff_0000_ffff;
    (even | even >> 16) & 0x0000_0000_ffff_ffff
}
