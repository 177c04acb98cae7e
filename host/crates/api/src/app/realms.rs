//! A request's realm: the pool's own, or made of the request's attributes.

use compact_str::CompactString;
use kernel::{NodeId, Pool, RealmName, RealmUid, TenantId};

use super::App;
use super::error::AppError;
use super::input::Pairs;

/// Attributes that are another spelling of the node.
const NODE_NAMES: [&str; 2] = ["olt_id", "node_id"];

/// The values of the pool's `realm_by`, joined by `/`; a `/` or `%` inside a value is percent-encoded, so that two lists
/// of values never join to the same text. `None` if the pool has no `realm_by`.
pub(crate) fn realm_value(
    pool: &Pool,
    node: Option<&NodeId>,
    given: &Pairs,
) -> Result<Option<CompactString>, AppError> {
    let realm_by = &pool.draft.terms.realm_by;
    if realm_by.is_empty() {
        return Ok(None);
    }
    let mut joined = CompactString::default();
    for (at, name) in realm_by.iter().enumerate() {
        let named = given.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let as_node = || node.filter(|_| NODE_NAMES.contains(&name.as_str())).map(NodeId::as_str);
        let Some(value) = named.or_else(as_node).filter(|value| !value.is_empty()) else {
            return Err(AppError::RealmAttributeMissing {
                pool: pool.draft.id.clone(),
                realm_by: realm_by.iter().map(ToString::to_string).collect(),
                missing: name.to_string(),
            });
        };
        if at > 0 {
            joined.push('/');
        }
        for letter in value.chars() {
            match letter {
                '/' => joined.push_str("%2F"),
                '%' => joined.push_str("%25"),
                plain => joined.push(plain),
            }
        }
    }
    Ok(Some(joined))
}

impl App {
    /// The realm's name, for answers.
    pub fn realm_name(&self, realm: RealmUid) -> Option<RealmName> {
        self.view.realm(realm).map(|record| record.name.clone())
    }

    /// Which realm of this pool a name means: a full name (`default/olt-1`), or only the part that attributes make.
    pub(crate) fn realm_of_pool(&self, pool: &Pool, name: &RealmName) -> Option<RealmUid> {
        let tenant: Option<&TenantId> = if pool.draft.realm.shared { None } else { Some(&pool.draft.tenant) };
        self.view.realm_named(tenant, name).or_else(|| {
            let full = format!("{}/{name}", pool.draft.realm.name).parse().ok()?;
            self.view.realm_named(tenant, &full)
        })
    }
}
