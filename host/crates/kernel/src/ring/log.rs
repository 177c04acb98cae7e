//! The logarithm that turns a fair draw into one by weight: if each member waits `-log(draw) / weight`, the first is each of
//! them as often as its weight says. In whole numbers: hosts with different libraries and processors must agree.

/// 1.0 of a logarithm.
const ONE: u64 = 1 << 32;

/// `-log2(draw / 2^64)`, in units of 2^-32: never 0, and never smaller for a smaller draw. Between the 257 exact values of
/// an octave it follows straight lines, at most 0.2 % off.
pub(super) fn cost(draw: u64) -> u64 {
    let draw = draw | 1;
    let zeros = draw.leading_zeros();
    // The leading one goes; the next 8 bits choose the line, the 31 after them the place on it.
    let fraction = (draw << zeros) << 1;
    let line = usize::try_from(fraction >> 56).unwrap_or(0);
    let place = (fraction << 8) >> 33;
    let (low, high) = (LOG2.get(line).copied().unwrap_or(0), LOG2.get(line + 1).copied().unwrap_or(ONE));
    let log = low + (((high - low) * place) >> 31);
    // 1 + zeros whole octaves lie between 2^64 and the one that the draw is in.
    (u64::from(zeros) + 1) * ONE - log
}

/// `log2(1 + n / 256)` for n from 0 to 256, in units of 2^-32.
const LOG2: [u64; 257] = log2_table();

#[allow(clippy::indexing_slicing, reason = "runs in the compiler, which would refuse an index out of bounds")]
#[allow(clippy::cast_possible_truncation, reason = "a number below 2 with 63 bits behind the point fits")]
const fn log2_table() -> [u64; 257] {
    let mut table = [0; 257];
    let mut nth = 0;
    while nth < 256 {
        // Squaring doubles the logarithm; whenever the number passes 2 the next bit of the logarithm is 1.
        let mut number = (256 + nth as u64) << 55;
        let mut log = 0;
        let mut bit = 0;
        while bit < 32 {
            let square = ((number as u128) * (number as u128)) >> 63;
            let carry = square >> 64;
            number = (square >> carry) as u64;
            log = (log << 1) | carry as u64;
            bit += 1;
        }
        table[nth] = log;
        nth += 1;
    }
    table[256] = ONE;
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash;

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "compared within 0.2 %")]
    fn the_whole_number_logarithm_follows_the_real_one() {
        let mut draws = hash::Draws::new(1);
        for _ in 0..100_000 {
            // Over many octaves, not only the topmost ones.
            let draw = draws.next() >> (draws.next() % 60);
            let real = 64.0 - ((draw | 1) as f64).log2();
            let ours = cost(draw) as f64 / ONE as f64;
            assert!((ours - real).abs() <= real * 0.002 + 1e-6, "{draw}: {ours} instead of {real}");
        }
    }

    #[test]
    fn a_larger_draw_never_costs_more_and_nothing_is_free() {
        for octave in 0..64 {
            let start = 1_u64 << octave;
            for draw in [start, start + 1, start + start / 2, start + (start - 1)] {
                assert!(cost(draw) >= cost(draw.saturating_add(1)), "{draw}");
                assert!(cost(draw) >= 1, "{draw}");
            }
        }
        assert!(cost(0) >= cost(1) && cost(u64::MAX) >= 1);
    }
}
