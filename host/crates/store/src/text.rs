//! Small files that people may want to read: a title, then one `name value` a line, then a checksum over all of it.

use std::fmt::{self, Write as _};
use std::str::FromStr;

/// Ends the text with its checksum.
pub(crate) fn sign(text: &mut String) -> fmt::Result {
    let crc = crc32fast::hash(text.as_bytes());
    writeln!(text, "crc32 {crc:08x}")
}

/// Checks the last line against what is before it.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let signed = text.trim_end_matches('\n').rfind('\n').and_then(|at| text.split_at_checked(at + 1));
    let Some((signed, last)) = signed else { return Err("it ends too early".into()) };
    let expected = format!("crc32 {:08x}\n", crc32fast::hash(signed.as_bytes()));
    if last == expected { Ok(()) } else { Err("its checksum does not fit".into()) }
}

/// Reads the lines in the order they were written.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    lines: std::str::Lines<'a>,
}

impl<'a> Fields<'a> {
    pub(crate) fn titled(text: &'a str, title: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        match lines.next() {
            Some(found) if found == title => Ok(Self { lines }),
            found => Err(format!("it begins with {:?}, not {title:?}", found.unwrap_or_default())),
        }
    }

    /// The value of the next line, which must have this name.
    pub(crate) fn next(&mut self, name: &str) -> Result<&'a str, String> {
        let line = self.lines.next().unwrap_or_default();
        let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
        value.ok_or_else(|| format!("{line:?} stands where {name:?} is due"))
    }

    /// True if the next line has this name.
    pub(crate) fn has_next(&self, name: &str) -> bool {
        self.clone().next(name).is_ok()
    }

    pub(crate) fn number<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Result<T, String> {
        let value = self.next(name)?;
        value.parse().map_err(|why| format!("{name} {value:?}: {why}"))
    }
}
