//! The known word nearest to a misspelt one. Here, because the host and its plugins refuse fields of the same document:
//! what is near enough to be suggested must not depend on whose field was misspelt.

/// Letters of a word that are compared. It may come from anywhere, and the time grows with both lengths.
const COMPARED: usize = 64;

/// The candidate with the fewest single-letter edits from `word`, case aside, if it is near enough to have been meant: two
/// edits, or one for every three letters, and always something in common.
///
/// ```
/// # use nexus_plugin_contract::nearest;
/// assert_eq!(nearest("exclusion", ["range", "exclusions"]), Some("exclusions"));
/// assert_eq!(nearest("colour", ["range", "exclusions"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.chars().count();
    let most = (letters / 3).max(2).min(letters.saturating_sub(1));
    let counted = candidates.into_iter().map(|candidate| (edits(word, candidate), candidate));
    let (edits, nearest) = counted.min_by_key(|(edits, _)| *edits)?;
    (edits <= most).then_some(nearest)
}

/// Levenshtein's distance, one row at a time.
fn edits(from: &str, to: &str) -> usize {
    let letters = |word: &str| word.chars().take(COMPARED).map(|letter| letter.to_ascii_lowercase()).collect();
    let (from, to): (Vec<char>, Vec<char>) = (letters(from), letters(to));
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.into_iter().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, other) in row.iter_mut().skip(1).zip(&to) {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = *cell;
            *cell = replaced.min(left + 1).min(diagonal + 1);
            left = *cell;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        let pairs = [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("exclusion", "exclusions", 1),
            ("kitten", "sitting", 3),
            ("Range", "range", 0),
        ];
        for (from, to, distance) in pairs {
            assert_eq!(edits(from, to), distance, "{from} {to}");
        }
    }

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        assert_eq!(nearest("exlusions", ["cidr", "exclusions", "gateway"]), Some("exclusions"));
        assert_eq!(nearest("shardingfaktor", ["sharding_factor", "strategy"]), Some("sharding_factor"));
        assert_eq!(nearest("server.grcp_port", ["server.http_port", "server.grpc_port"]), Some("server.grpc_port"));
        assert_eq!(nearest("ID", ["cidr", "id"]), Some("id"));
    }

    #[test]
    fn a_word_that_is_near_to_none_is_no_misspelling() {
        for far in ["", "x", "zz", "colour", "customer", "gate"] {
            assert_eq!(nearest(far, ["id", "cidr", "exclusions", "gateway"]), None, "{far}");
        }
        assert_eq!(nearest("exclusion", []), None);
    }

    #[test]
    fn the_first_of_equally_near_ones_is_told() {
        assert_eq!(nearest("ab1", ["ab2", "ab3"]), Some("ab2"));
    }

    #[test]
    fn a_word_without_end_costs_no_more_than_its_beginning() {
        assert_eq!(edits(&"x".repeat(1 << 20), "x"), COMPARED - 1);
    }
}
