//! The known word nearest to a misspelt one.

/// The candidate with the fewest single-letter edits from `word`, unless even that one is no likely misspelling.
///
/// ```
/// # use nexus_plugin_sdk::nearest;
/// assert_eq!(nearest("exclusion", ["range", "exclusions"]), Some("exclusions"));
/// assert_eq!(nearest("colour", ["range", "exclusions"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likely = (word.chars().count() / 2).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= likely)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, ignoring case. The first word is cut at 64 letters: it may come from anywhere.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.to_ascii_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.to_ascii_lowercase().chars().take(64).enumerate() {
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
        for (from, to, distance) in [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("Range", "range", 0)] {
            assert_eq!(edits(from, to), distance, "{from} {to}");
        }
    }
}
