//! Whose data directory this is, and in which format: the file `identity`, made once.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use kernel::NodeId;

use crate::error::StoreError;
use crate::medium::{Medium, OsMedium, replace};
use crate::text::Fields;

/// The format this version writes. `FORMAT.md` describes it; a newer one is refused, an older one is moved to this one.
pub(crate) const FORMAT: u32 = 2;
pub(crate) const FILE: &str = "identity";
const TITLE: &str = "nexus data directory";

/// One life of a host's log: a log that went back in time continues under a higher incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Drawn at random when the data directory was made.
    pub identity: u64,
    pub incarnation: u32,
}

/// What was settled when the data directory was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Drawn at random; hosts that join a cluster take the cluster's.
    pub cluster: u128,
    pub origin: Origin,
    /// The host's name: as configured, else made up once and kept.
    pub node: NodeId,
    /// Unix milliseconds.
    pub created_ms: u64,
}

/// Random bytes that differ between any two data directories.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| StoreError::io("read", "/dev/urandom", error))?;
    Ok(bytes)
}

impl From<Origin> for kernel::Origin {
    fn from(origin: Origin) -> Self {
        Self { host: origin.identity, incarnation: origin.incarnation.into() }
    }
}

impl Identity {
    fn draw(node: Option<NodeId>, created_ms: u64) -> Result<Self, StoreError> {
        let identity = u64::from_le_bytes(random()?);
        let node = match node {
            Some(node) => node,
            None => format!("node-{identity:016x}").parse().map_err(|why| StoreError::corrupt(FILE, why))?,
        };
        let origin = Origin { identity, incarnation: 1 };
        Ok(Self { cluster: u128::from_le_bytes(random()?), origin, node, created_ms })
    }

    pub(crate) fn to_text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "{TITLE}")?;
        writeln!(text, "format {FORMAT}")?;
        writeln!(text, "cluster {:032x}", self.cluster)?;
        writeln!(text, "origin {:016x}", self.origin.identity)?;
        writeln!(text, "incarnation {}", self.origin.incarnation)?;
        writeln!(text, "node {}", self.node)?;
        writeln!(text, "created_ms {}", self.created_ms)?;
        crate::text::sign(&mut text)?;
        Ok(text)
    }

    pub(crate) fn write(&self, medium: &dyn Medium) -> Result<(), StoreError> {
        let text = self.to_text().map_err(|why| StoreError::corrupt(FILE, why))?;
        replace(medium, FILE, text.as_bytes())
    }

    /// Whose data directory it is, which is only looked at; `None`: nobody's yet.
    pub fn of_directory(dir: &Path) -> Result<Option<Self>, StoreError> {
        if !dir.is_dir() {
            return Ok(None);
        }
        let medium = OsMedium::new(dir).map_err(|error| StoreError::path("open", dir, error))?;
        Ok(Self::read(&medium, dir)?.map(|(identity, _)| identity))
    }

    /// The directory's identity and format; `None` if it has none yet.
    pub(crate) fn read(medium: &dyn Medium, dir: &Path) -> Result<Option<(Self, u32)>, StoreError> {
        let file = match medium.open(FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", FILE, error)),
        };
        let raw = file.read_at(0, 1 << 16).map_err(|error| StoreError::io("read", FILE, error))?;
        let text = std::str::from_utf8(&raw).map_err(|why| StoreError::corrupt(FILE, why))?;
        Self::of_text(dir, text).map(Some)
    }

    /// An identity and its format from the file's text.
    pub(crate) fn of_text(dir: &Path, text: &str) -> Result<(Self, u32), StoreError> {
        let corrupt = |why: String| StoreError::corrupt(FILE, why);
        let mut fields = Fields::titled(text, TITLE).map_err(corrupt)?;
        // Before the checksum: a newer format may sign itself in another way.
        let found = fields.number("format").map_err(corrupt)?;
        if found > FORMAT {
            return Err(StoreError::NewerFormat { dir: dir.to_owned(), found, known: FORMAT });
        }
        let identity = Self::from_fields(text, &mut fields).map_err(corrupt)?;
        Ok((identity, found))
    }

    fn from_fields(text: &str, fields: &mut Fields<'_>) -> Result<Self, String> {
        crate::text::check(text)?;
        let cluster = u128::from_str_radix(fields.next("cluster")?, 16).map_err(|why| why.to_string())?;
        let identity = u64::from_str_radix(fields.next("origin")?, 16).map_err(|why| why.to_string())?;
        let origin = Origin { identity, incarnation: fields.number("incarnation")? };
        let node = fields.next("node")?.parse().map_err(|why: kernel::InvalidId| why.to_string())?;
        Ok(Self { cluster, origin, node, created_ms: fields.number("created_ms")? })
    }

    /// The directory's identity, made now if there is none. A configured name replaces the kept one, and an older format
    /// becomes this one: before anything is written that an older daemon would not understand, so that it refuses all of it.
    pub(crate) fn settle(
        medium: &dyn Medium,
        dir: &Path,
        node: Option<NodeId>,
        now_ms: u64,
    ) -> Result<Self, StoreError> {
        let Some((mut known, format)) = Self::read(medium, dir)? else {
            refuse_foreign(medium, dir)?;
            let fresh = Self::draw(node, now_ms)?;
            fresh.write(medium)?;
            return Ok(fresh);
        };
        let node = node.unwrap_or_else(|| known.node.clone());
        if node != known.node || format < FORMAT {
            known.node = node;
            known.write(medium)?;
        }
        Ok(known)
    }
}

/// A directory with a log but no identity lost it; making another would hide that.
fn refuse_foreign(medium: &dyn Medium, dir: &Path) -> Result<(), StoreError> {
    let names = medium.list().map_err(|error| StoreError::path("list", dir, error))?;
    match names.iter().find(|name| crate::is_ours(name)) {
        None => Ok(()),
        Some(name) => Err(StoreError::NotAStore {
            dir: dir.to_owned(),
            why: format!("it holds {name:?} but no file named {FILE}"),
        }),
    }
}
