//! What happens to plugins, for the daemon to act on. Everything here is in the log already.

use kernel::PoolUid;

use crate::digest::Digest;
use crate::refusal::Refusal;
use crate::status::Source;

/// A change of the plugin set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginEvent {
    /// A version serves from now on.
    Activated {
        type_id: String,
        version: semver::Version,
        digest: Digest,
        source: Source,
        /// Pools that became what the new version reads them as, with every live name proven, just before it took over.
        changed: Vec<PoolUid>,
    },
    /// A file is not taken into service.
    Refused { source: Source, why: Refusal },
    /// Calls of the type fail until a newer file passes or it is resumed.
    Suspended { type_id: String, why: String },
    /// Calls of the type are served again.
    Resumed { type_id: String },
    /// The type is out of service.
    Retired { type_id: String },
    /// The file a serving plugin came from was deleted; the plugin serves on.
    FileGone { type_id: String, source: Source },
}

/// Who is told. Called from whatever thread caused the event; it must not block for long nor call back into the host.
pub(crate) type Listener = std::sync::Arc<dyn Fn(PluginEvent) + Send + Sync>;
