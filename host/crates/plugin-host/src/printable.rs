//! Texts of guests made fit for logs, errors and answers.

/// At most `most` bytes of `text`, cut between characters, control characters replaced: one line, whoever wrote it.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for found in text.chars() {
        let shown = if found.is_control() { char::REPLACEMENT_CHARACTER } else { found };
        if out.len() + shown.len_utf8() > most {
            break;
        }
        out.push(shown);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(printable("größe", 4), "grö");
    }

    #[test]
    fn a_newline_cannot_begin_a_line_of_its_own() {
        assert_eq!(printable("a\nb", 100), "a\u{fffd}b");
    }
}
