//! The known name that a misspelt one is nearest to.

/// The known name that takes the fewest edits.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().min_by_key(|candidate| edits(name, candidate))
}

/// `; did you mean ...?`, to stand behind a remedy.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or(String::new(), |nearest| format!("; did you mean {nearest}?"))
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
        assert_eq!(nearest("x", []), None);
    }
}
