//! What to say of a misspelt name.

use nexus_plugin_contract::nearest;

/// `; did you mean ...?`, or the known names if none is near, to stand behind a remedy.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None => format!("; known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_name_is_near_all_are_told() {
        assert_eq!(suggestion("idd", ["id", "cidr"]), "; did you mean id?");
        assert_eq!(suggestion("colour", ["id", "cidr"]), "; known are id, cidr");
    }
}
