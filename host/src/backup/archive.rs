//! The file of a backup: a tar archive (ustar) that says itself whether it is whole.
//!
//! First comes `backup.json`, whose it is and when it was made; then the files; last `checksums`, a line for each of them and
//! one over all those. So an archive that was cut short has no checksums, and is refused; so is one in which a byte changed.
//! Any tar lists and unpacks it. What is read here is exactly what is written here, and nothing is believed before all of
//! it was checked.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

pub(crate) const HEADER: &str = "backup.json";
pub(crate) const CHECKSUMS: &str = "checksums";

const BLOCK: usize = 512;

/// Read and written at a time.
const PIECE: usize = 64 * 1024;

/// Texts of the archive's own are not longer.
const MOST_TEXT: u64 = 64 << 20;

/// Why an archive cannot be written or believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is no whole backup: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    /// What takes the files failed.
    #[error("{0}")]
    Taken(String),
}

/// The header of a member. Names have at most 100 bytes.
pub(crate) fn head(name: &str, bytes: u64) -> Result<Vec<u8>, String> {
    if name.len() > 100 || name.is_empty() {
        return Err(format!("the name {name:?} must have 1 to 100 bytes to be in a backup"));
    }
    let mut head = Vec::with_capacity(BLOCK);
    head.extend_from_slice(name.as_bytes());
    head.resize(100, 0);
    head.extend_from_slice(b"0000600\x000000000\x000000000\x00");
    head.extend_from_slice(&octal(bytes)?);
    // Modified: when is in the header, and equal backups are equal archives.
    head.extend_from_slice(b"00000000000\x00");
    head.extend_from_slice(b"        0");
    head.resize(257, 0);
    head.extend_from_slice(b"ustar\x0000");
    head.resize(BLOCK, 0);
    let sum = format!("{:06o}\0 ", checksum(&head));
    head.splice(148..156, sum.into_bytes());
    Ok(head)
}

fn octal(bytes: u64) -> Result<[u8; 12], String> {
    let text = format!("{bytes:011o}\0");
    text.into_bytes().try_into().map_err(|_| format!("a file of {bytes} bytes is too long for a backup"))
}

/// The sum of a header's bytes, its own place counted as blanks.
fn checksum(head: &[u8]) -> u32 {
    let own = 148..156;
    head.iter().enumerate().map(|(at, byte)| if own.contains(&at) { 32 } else { u32::from(*byte) }).sum()
}

/// Zeros up to the end of a member's last block.
pub(crate) fn padding(bytes: u64) -> Vec<u8> {
    let over = usize::try_from(bytes % BLOCK as u64).unwrap_or_default();
    if over == 0 { Vec::new() } else { vec![0; BLOCK - over] }
}

/// What ends an archive.
pub(crate) fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

/// The checksums of the members before, as they are collected.
#[derive(Debug, Default)]
pub(crate) struct Sums(String);

impl Sums {
    pub(crate) fn add(&mut self, name: &str, bytes: u64, crc: u32) {
        // Writing into a text cannot fail.
        writeln!(self.0, "{crc:08x} {bytes} {name}").unwrap_or_default();
    }

    /// The text of the last member.
    pub(crate) fn text(&self) -> String {
        format!("{}{:08x} all\n", self.0, crc32fast::hash(self.0.as_bytes()))
    }
}

/// Who takes an archive's members.
pub(crate) trait Take {
    fn begin(&mut self, name: &str, bytes: u64) -> Result<(), String>;
    fn piece(&mut self, bytes: &[u8]) -> Result<(), String>;
    fn end(&mut self) -> Result<(), String>;
}

/// Takes nothing: the archive is only checked.
#[derive(Debug)]
pub(crate) struct Nobody;

impl Take for Nobody {
    fn begin(&mut self, _: &str, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn piece(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Reads an archive to its end and gives its header's text. Every member goes to `take` before the checksums are known: first
/// read it for [`Nobody`].
pub(crate) fn read(path: &Path, take: &mut dyn Take) -> Result<String, ArchiveError> {
    let unreadable = |source| ArchiveError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut reading = Reading { path, input: BufReader::with_capacity(PIECE, file), sums: Sums::default() };
    let header = match reading.member()? {
        Some((name, bytes)) if name == HEADER => reading.text(&name, bytes)?,
        found => return Err(reading.damaged(format!("it begins with {found:?}, not with {HEADER}"))),
    };
    loop {
        let Some((name, bytes)) = reading.member()? else {
            return Err(reading.damaged(format!("it has no {CHECKSUMS}: it was not written to its end")));
        };
        if name == CHECKSUMS {
            let expected = reading.sums.text();
            let found = reading.text(&name, bytes)?;
            if let Some((line, wrong)) = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found)
            {
                return Err(reading.damaged(format!("found {line:?} where its {CHECKSUMS} have {wrong:?}")));
            }
            if expected != found {
                return Err(reading.damaged(format!("it has not the files that its {CHECKSUMS} name")));
            }
            let mut rest = Vec::new();
            reading.input.read_to_end(&mut rest).map_err(unreadable)?;
            let whole = rest.len() == 2 * BLOCK && rest.iter().all(|byte| *byte == 0);
            return if whole { Ok(header) } else { Err(reading.damaged("it does not end where it should".to_owned())) };
        }
        check_name(&name).map_err(|why| reading.damaged(why))?;
        reading.pass(&name, bytes, take)?;
    }
}

/// A name stays below the directory that it is put into.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if name.split('/').all(plain) { Ok(()) } else { Err(format!("{name:?} is no name of a file in it")) }
}

struct Reading<'a> {
    path: &'a Path,
    input: BufReader<File>,
    sums: Sums,
}

impl Reading<'_> {
    fn damaged(&self, why: String) -> ArchiveError {
        ArchiveError::Damaged { path: self.path.to_owned(), why }
    }

    fn fill(&mut self, into: &mut [u8], what: &str) -> Result<(), ArchiveError> {
        match self.input.read_exact(into) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged(format!("it ends within {what}: it was not written to its end")))
            }
            Err(source) => Err(ArchiveError::Unreadable { path: self.path.to_owned(), source }),
        }
    }

    /// The next member's name and length; `None`: the archive's end.
    fn member(&mut self) -> Result<Option<(String, u64)>, ArchiveError> {
        let mut block = [0; BLOCK];
        self.fill(&mut block, "a header")?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let name: Vec<u8> = block.iter().copied().take(100).take_while(|byte| *byte != 0).collect();
        let name = String::from_utf8(name).unwrap_or_default();
        let digits: String = block.iter().skip(124).take(11).map(|byte| char::from(*byte)).collect();
        let bytes = u64::from_str_radix(&digits, 8).unwrap_or(u64::MAX);
        // All of a header follows from these two.
        match head(&name, bytes) {
            Ok(expected) if expected == block => Ok(Some((name, bytes))),
            Ok(_) | Err(_) => Err(self.damaged(format!("the header of {name:?} is none of a backup's"))),
        }
    }

    fn text(&mut self, name: &str, bytes: u64) -> Result<String, ArchiveError> {
        if bytes > MOST_TEXT {
            return Err(self.damaged(format!("{name} has {bytes} bytes, at most {MOST_TEXT} are believed")));
        }
        let mut kept = Kept(Vec::new());
        self.pass(name, bytes, &mut kept)?;
        String::from_utf8(kept.0).map_err(|_| self.damaged(format!("{name} is no text")))
    }

    fn pass(&mut self, name: &str, bytes: u64, take: &mut dyn Take) -> Result<(), ArchiveError> {
        take.begin(name, bytes).map_err(ArchiveError::Taken)?;
        let mut sum = crc32fast::Hasher::new();
        let mut left = bytes;
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let Some(piece) = piece.get_mut(..length) else { break };
            self.fill(piece, name)?;
            sum.update(piece);
            take.piece(piece).map_err(ArchiveError::Taken)?;
            left -= length as u64;
        }
        let mut zeros = padding(bytes);
        self.fill(&mut zeros, name)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(self.damaged(format!("there is something behind the end of {name}")));
        }
        take.end().map_err(ArchiveError::Taken)?;
        self.sums.add(name, bytes, sum.finalize());
        Ok(())
    }
}

struct Kept(Vec<u8>);

impl Take for Kept {
    fn begin(&mut self, _: &str, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(archive: &mut Vec<u8>, sums: &mut Sums, name: &str, content: &[u8]) {
        let bytes = content.len() as u64;
        archive.extend(head(name, bytes).expect("a short name"));
        archive.extend_from_slice(content);
        archive.extend(padding(bytes));
        sums.add(name, bytes, crc32fast::hash(content));
    }

    fn archive() -> Vec<u8> {
        let (mut archive, mut sums) = (Vec::new(), Sums::default());
        member(&mut archive, &mut sums, HEADER, b"{}");
        member(&mut archive, &mut sums, "data/identity", b"whose");
        member(&mut archive, &mut sums, "data/log-000000000001", &[7; 1024]);
        member(&mut archive, &mut sums, "data/empty", b"");
        let text = sums.text();
        member(&mut archive, &mut sums, CHECKSUMS, text.as_bytes());
        archive.extend(end());
        archive
    }

    fn checked(bytes: &[u8]) -> Result<String, ArchiveError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("backup.tar");
        std::fs::write(&path, bytes).expect("written");
        read(&path, &mut Nobody)
    }

    #[test]
    fn a_whole_archive_is_read_and_no_part_of_it_is() {
        let whole = archive();
        assert_eq!(checked(&whole).expect("whole"), "{}");
        for cut in (0..whole.len()).step_by(97) {
            let why = checked(&whole[..cut]).expect_err("cut").to_string();
            assert!(why.contains("backup.tar"), "{why}");
        }
    }

    #[test]
    fn no_byte_of_it_may_change() {
        let whole = archive();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(matches!(checked(&changed), Err(ArchiveError::Damaged { .. })), "byte {at}");
        }
    }

    #[test]
    fn a_file_of_another_kind_and_names_that_lead_elsewhere_are_refused() {
        assert!(checked(&[b'x'; 4096]).is_err());
        for name in ["../identity", "data//x", "/etc/passwd", "data/./x"] {
            let (mut archive, mut sums) = (Vec::new(), Sums::default());
            member(&mut archive, &mut sums, HEADER, b"{}");
            member(&mut archive, &mut sums, name, b"x");
            let text = sums.text();
            member(&mut archive, &mut sums, CHECKSUMS, text.as_bytes());
            archive.extend(end());
            assert!(matches!(checked(&archive), Err(ArchiveError::Damaged { .. })), "{name}");
        }
        assert!(head(&"x".repeat(101), 1).is_err());
    }
}
