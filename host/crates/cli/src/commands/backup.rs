//! `nexus backup`: the daemon's pieces into a file, which gets its name when it is whole and on the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nexus_proto::v1::backup_response::Part;
use nexus_proto::v1::{BackupRequest, BackupSummary};

use crate::arguments::{BackupArgs, Connection};
use crate::document::Fields;
use crate::exit::Failure;
use crate::screen::Screen;
use crate::session::{Patience, connect};

pub(super) async fn backup(connection: &Connection, args: BackupArgs, screen: &mut Screen) -> Result<(), Failure> {
    let BackupArgs { to } = args;
    let unwritable = |source| Failure::Unwritable { path: to.clone(), source };
    if to.symlink_metadata().is_ok() {
        return Err(unwritable(io::Error::new(io::ErrorKind::AlreadyExists, "there is something of that name")));
    }
    let client = connect(connection, Patience::Endless).await?;
    let mut pieces = client.cluster().backup(BackupRequest {}).await?.into_inner();
    let mut half = Half::create(&to).map_err(unwritable)?;
    let summary = loop {
        match pieces.message().await?.map(|message| message.part) {
            Some(Some(Part::Data(bytes))) => half.file.write_all(&bytes).map_err(unwritable)?,
            Some(Some(Part::Summary(summary))) => break summary,
            // Of a later version, which says more.
            Some(None) => {}
            None => return Err(Failure::Broken { causes: vec!["the daemon ended in the middle".to_owned()] }),
        }
    };
    let written = half.file.metadata().map_err(unwritable)?.len();
    if written != summary.bytes {
        let causes = vec![format!("{written} bytes came, {} were sent", summary.bytes)];
        return Err(Failure::Broken { causes });
    }
    half.finish(&to).map_err(unwritable)?;
    let BackupSummary { node_id, files, bytes, through } = summary;
    let to = to.display().to_string();
    let document = Fields::default()
        .text("backup", &to)
        .text("node_id", &node_id)
        .number("files", files)
        .number("bytes", bytes)
        .number("through", through)
        .done();
    let lines = [
        ("backup", to.into()),
        ("of", node_id.into()),
        ("through", format!("operation {through}").into()),
        ("size", format!("{files} files, {bytes} bytes").into()),
    ];
    Ok(screen.one(&document, &lines)?)
}

/// A file that is not whole yet; removed if it never is.
struct Half {
    file: File,
    path: PathBuf,
}

impl Half {
    fn create(to: &Path) -> io::Result<Self> {
        let mut name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(".part");
        let path = to.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path })
    }

    /// Durable when it returns. A second name instead of another one, because that never takes the place of a file.
    fn finish(self, to: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::hard_link(&self.path, to)?;
        std::fs::remove_file(&self.path)?;
        let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // Whole, it has another name, and this one is gone.
        std::fs::remove_file(&self.path).unwrap_or_default();
    }
}
