//! Who calls: whose resources are meant and what may be done with them. How a caller is known is `auth`'s business.

use compact_str::CompactString;
use kernel::TenantId;

use super::error::AppError;

/// What a caller may do. Each role may do everything the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look up, list, watch, explain.
    Read,
    /// Allocate, renew, release.
    Allocate,
    /// Make, change and delete pools and reservations.
    Operate,
    /// Everything, plugins and the cluster included.
    Admin,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 4] = [Self::Read, Self::Allocate, Self::Operate, Self::Admin];

    /// The name in the tokens file and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Allocate => "allocate",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// One request's caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose pools are meant.
    pub tenant: TenantId,
    pub role: Role,
    /// The name of the token that was shown; `None` where no tokens were configured.
    pub name: Option<CompactString>,
}

impl Caller {
    /// Refuses a caller whose role is weaker than the operation needs.
    pub(crate) fn needs(&self, least: Role) -> Result<(), AppError> {
        if self.role >= least { Ok(()) } else { Err(AppError::Forbidden { role: self.role, needs: least }) }
    }
}
