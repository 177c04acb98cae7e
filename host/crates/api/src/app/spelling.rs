//! The known name that a misspelt one is nearest to.

/// The known name that takes the fewest edits, if it is near enough to have been meant: two edits, or one for every three
/// letters, and always something in common.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = name.chars().count();
    let most = (letters / 3).max(2).min(letters.saturating_sub(1));
    let counted = known.into_iter().map(|candidate| (edits(name, candidate), candidate));
    counted.min_by_key(|(edits, _)| *edits).filter(|(edits, _)| *edits <= most).map(|(_, nearest)| nearest)
}

/// `; did you mean ...?`, or the known names if none is near, to stand behind a remedy.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None => format!("; known are {}", known.join(", ")),
    }
}

/// Levenshtein's distance, over the first 64 characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (cell, above) in row.iter_mut().enumerate() {
            let Some(to) = cell.checked_sub(1).and_then(|at| b.get(at)) else {
                *above = i + 1;
                continue;
            };
            let best = (diagonal + usize::from(from != *to)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, best);
            left = best;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in
            [("", "", 0), ("abc", "abc", 0), ("exclusion", "exclusions", 1), ("kitten", "sitting", 3), ("", "ab", 2)]
        {
            assert_eq!(edits(a, b), count, "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(nearest("exlusions", ["cidr", "exclusions", "gateway"]), Some("exclusions"));
        assert_eq!(nearest("shardingfaktor", ["sharding_factor", "strategy"]), Some("sharding_factor"));
        for far in ["x", "zz", "colour", "customer"] {
            assert_eq!(nearest(far, ["id", "cidr", "exclusions", "gateway"]), None, "{far}");
        }
    }

    #[test]
    fn where_no_name_is_near_all_are_told() {
        assert_eq!(suggestion("idd", ["id", "cidr"]), "; did you mean id?");
        assert_eq!(suggestion("colour", ["id", "cidr"]), "; known are id, cidr");
    }
}
