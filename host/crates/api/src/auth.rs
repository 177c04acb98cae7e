//! Who a request comes from: a token, or without tokens whoever it says it is.
//!
//! Both faces ask [`Authority::check`] with the bearer token and the tenant header. It knows neither HTTP nor gRPC, and
//! it does not say what a caller may do: that is [`Caller`]'s role, checked in the application layer. Tokens are kept
//! as SHA-256 only, so neither the file nor a memory dump gives one away.

mod tokens;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use kernel::TenantId;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::app::{AppError, Caller, Role, read_id};
use tokens::Token;
pub use tokens::TokensError;

/// The tenant's name in HTTP headers and in gRPC metadata.
pub const TENANT_HEADER: &str = "x-nexus-tenant";

/// Decides who calls. Shared by both faces; cheap to ask.
pub struct Authority {
    /// `None`: no tokens were configured, everybody is let in.
    tokens: Option<TokensFile>,
}

struct TokensFile {
    path: PathBuf,
    current: ArcSwap<Vec<Token>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.tokens.as_ref().map(|file| &file.path);
        f.debug_struct("Authority").field("tokens_file", &path).finish()
    }
}

impl Authority {
    /// Everybody may do everything, for the tenant they name.
    pub fn open() -> Self {
        Self { tokens: None }
    }

    /// Only who shows a token of this file is let in.
    pub fn with_tokens(path: &Path) -> Result<Self, TokensError> {
        let current = ArcSwap::from_pointee(tokens::read(path)?);
        Ok(Self { tokens: Some(TokensFile { path: path.to_owned(), current }) })
    }

    /// Reads the tokens file again and says how many tokens it has. If it cannot be used, the tokens stay as they were.
    pub fn reload(&self) -> Result<usize, TokensError> {
        let Some(file) = &self.tokens else { return Ok(0) };
        let read = tokens::read(&file.path)?;
        let count = read.len();
        file.current.store(Arc::new(read));
        Ok(count)
    }

    /// True if requests need a token.
    pub fn wants_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Who calls. `authorization` is the header's whole value (`Bearer ...`), `tenant` the value of [`TENANT_HEADER`].
    pub fn check(&self, authorization: Option<&str>, tenant: Option<&str>) -> Result<Caller, AppError> {
        let asked = tenant.filter(|tenant| !tenant.is_empty());
        let Some(file) = &self.tokens else {
            return Ok(Caller { tenant: asked_tenant(asked)?, role: Role::Admin, name: None });
        };
        let refused = |why: &str| AppError::Unauthenticated { why: why.to_owned() };
        let authorization =
            authorization.ok_or_else(|| refused("a bearer token is needed in the authorization header"))?;
        let shown = bearer(authorization).ok_or_else(|| refused("the authorization header is not `Bearer <token>`"))?;
        let tokens = file.current.load();
        let token = find(&tokens, shown).ok_or_else(|| refused("the bearer token is not known here"))?;
        let tenant = match (&token.tenant, asked) {
            (None, asked) => asked_tenant(asked)?,
            (Some(fixed), None) => fixed.clone(),
            (Some(fixed), Some(asked)) if asked == fixed.as_str() => fixed.clone(),
            (Some(fixed), Some(asked)) => {
                return Err(AppError::TenantForbidden { asked: asked.to_owned(), fixed: fixed.to_string() });
            }
        };
        Ok(Caller { tenant, role: token.role, name: Some(token.name.as_str().into()) })
    }
}

fn asked_tenant(asked: Option<&str>) -> Result<TenantId, AppError> {
    asked.map_or_else(|| Ok(TenantId::default()), |asked| read_id(TENANT_HEADER, asked))
}

/// The token in `Bearer <token>`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Compares with every token, whichever matches, so that the time tells nothing.
fn find<'a>(tokens: &'a [Token], shown: &str) -> Option<&'a Token> {
    let digest: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
    tokens.iter().fold(None, |found, token| if bool::from(token.sha256.ct_eq(&digest)) { Some(token) } else { found })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn hash(token: &str) -> String {
        format!("{:x}", Sha256::digest(token))
    }

    fn authority(text: &str) -> (Authority, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        (Authority::with_tokens(file.path()).unwrap(), file)
    }

    fn two() -> (Authority, tempfile::NamedTempFile) {
        authority(&format!(
            "tokens:\n  - {{name: bng, sha256: {}, role: allocate, tenant: isp-east}}\n  - {{name: root, sha256: {}, role: admin}}\n",
            hash("secret-one"),
            hash("secret-two"),
        ))
    }

    #[test]
    fn without_tokens_the_header_names_the_tenant() {
        let authority = Authority::open();
        let caller = authority.check(None, Some("isp-west")).unwrap();
        assert_eq!((caller.tenant.as_str(), caller.role), ("isp-west", Role::Admin));
        assert_eq!(authority.check(None, None).unwrap().tenant.as_str(), "default");
        assert!(matches!(authority.check(None, Some("no spaces")), Err(AppError::Invalid(_))));
    }

    #[test]
    fn a_token_fixes_its_tenant() {
        let (authority, _file) = two();
        let caller = authority.check(Some("Bearer secret-one"), None).unwrap();
        assert_eq!((caller.tenant.as_str(), caller.role), ("isp-east", Role::Allocate));
        assert!(authority.check(Some("bearer secret-one"), Some("isp-east")).is_ok());
        let refused = authority.check(Some("Bearer secret-one"), Some("isp-west")).unwrap_err();
        assert!(matches!(refused, AppError::TenantForbidden { .. }));
        let caller = authority.check(Some("Bearer secret-two"), Some("isp-west")).unwrap();
        assert_eq!((caller.tenant.as_str(), caller.role), ("isp-west", Role::Admin));
    }

    #[test]
    fn who_shows_no_known_token_is_refused() {
        let (authority, _file) = two();
        for shown in
            [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic secret-one"), Some("Bearer secret-0")]
        {
            let refused = authority.check(shown, None).unwrap_err();
            assert!(matches!(refused, AppError::Unauthenticated { .. }), "{shown:?}");
        }
    }

    #[test]
    fn a_reload_takes_tokens_away_and_a_broken_file_changes_nothing() {
        let (authority, file) = two();
        std::fs::write(file.path(), "tokens: [{name: broken}]").unwrap();
        assert!(authority.reload().is_err());
        assert!(authority.check(Some("Bearer secret-one"), None).is_ok());
        std::fs::write(file.path(), format!("- {{name: root, sha256: {}, role: read}}", hash("secret-two"))).unwrap();
        assert_eq!(authority.reload().unwrap(), 1);
        assert!(authority.check(Some("Bearer secret-one"), None).is_err());
        assert_eq!(authority.check(Some("Bearer secret-two"), None).unwrap().role, Role::Read);
    }
}
