//! Pools: a body becomes a draft (its plugin reads the spec), the kernel decides.

use std::sync::Arc;

use compact_str::CompactString;
use kernel::{
    Command, CommandError, LeaseTerms, Occupancy, Pool, PoolDraft, PoolId, PoolTerms, RealmName, RealmRef, Reply,
    Revision, Span, TenantId, TypeId,
};
use serde_json::Value;

use super::App;
use super::allocate::unexpected;
use super::caller::{Caller, Role};
use super::document::{MOST_SHARDS_OLDER, check_older_shards, unknown_fields};
use super::error::{AppError, Fault};
use super::fields::{canonical_object, plain};
use super::input::{DeleteMode, PoolInput, PoolQuery, UpdateMode};
use super::lookups::page_limit;
use super::output::{Page, PoolCreated, PoolStats, PoolUpdated};
use crate::ports::{OpenedSpec, Problem, TypeError};

/// How long a released resource rests unless the pool says otherwise.
const HOLD_DOWN_MS: u64 = 60_000;
/// The same for ports: RFC 6888 REQ-8.
const PORT_HOLD_DOWN_MS: u64 = 120_000;
/// Runs of a pool that are asked for a summary; more would not be short.
const MOST_RUNS: usize = 16;

impl App {
    /// Makes a pool; the same again is a success.
    pub async fn create_pool(&self, caller: &Caller, input: PoolInput) -> Result<PoolCreated, AppError> {
        caller.needs(Role::Operate)?;
        let draft = self.new_draft(&caller.tenant, input).await?;
        let id = draft.id.clone();
        match self.engine.submit(Command::CreatePool(Box::new(draft))).await? {
            Ok(Reply::PoolCreated(pool)) => {
                tracing::info!(pool = %pool.draft.id, tenant = %pool.draft.tenant, "pool made");
                Ok(PoolCreated { pool, created: true })
            }
            Ok(Reply::PoolExists(pool)) => Ok(PoolCreated { pool, created: false }),
            Ok(other) => Err(unexpected(&other)),
            Err(CommandError::PoolUnknown { .. }) => Err(AppError::PoolUnknown { pool: id }),
            Err(error) => Err(AppError::Refused { error: Box::new(error), resource: None }),
        }
    }

    /// Replaces a pool's description. Its own revision, if the input has one, must be the current one.
    pub async fn update_pool(
        &self,
        caller: &Caller,
        input: PoolInput,
        mode: UpdateMode,
    ) -> Result<PoolUpdated, AppError> {
        caller.needs(Role::Operate)?;
        let there = self.pool_of(caller, &input.id)?;
        if input.type_id != there.draft.type_id {
            // The spec is another type's, so nothing that its plugin says of it would help.
            let (found, wanted) = (there.draft.type_id.as_str().into(), input.type_id.as_str().into());
            let fixed = CommandError::PoolFieldFixed { pool: input.id, field: "type".into(), found, wanted };
            return Err(AppError::Refused { error: Box::new(fixed), resource: None });
        }
        check_older_shards(&input, Some(&there))?;
        let expected: Option<Revision> = input.revision;
        let mut draft = self.draft(&caller.tenant, input).await?;
        if draft.sharding_factor.is_none() {
            draft.sharding_factor = there.draft.sharding_factor;
        }
        adopt(&mut draft, &there);
        let dry_run = mode == UpdateMode::DryRun;
        let command = Command::UpdatePool { pool: there.uid, expected, draft: Box::new(draft), dry_run };
        match self.engine.submit(command).await? {
            Ok(Reply::PoolUpdated(pool)) => {
                tracing::info!(pool = %pool.draft.id, revision = pool.revision.0, "pool changed");
                let (added_grains, removed_grains) = difference(&there, &pool);
                Ok(PoolUpdated { pool, added_grains, removed_grains, applied: true })
            }
            Ok(Reply::PoolWouldUpdate { pool, added_grains, removed_grains }) => {
                Ok(PoolUpdated { pool, added_grains, removed_grains, applied: false })
            }
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(self.refused(&there, error)),
        }
    }

    /// What [`Self::create_pool`] would answer: overlaps and other pools of the name included. Changes nothing.
    pub async fn check_pool(&self, caller: &Caller, input: PoolInput) -> Result<PoolUpdated, AppError> {
        caller.needs(Role::Operate)?;
        let draft = self.new_draft(&caller.tenant, input).await?;
        let (pool, added_grains) = match self.engine.submit(Command::CheckPool(Box::new(draft))).await? {
            Ok(Reply::PoolWouldCreate(pool)) => {
                let added_grains = capacity(&pool);
                (pool, added_grains)
            }
            Ok(Reply::PoolExists(pool)) => (pool, 0),
            Ok(other) => return Err(unexpected(&other)),
            Err(error) => return Err(AppError::Refused { error: Box::new(error), resource: None }),
        };
        Ok(PoolUpdated { pool, added_grains, removed_grains: 0, applied: false })
    }

    /// Refuses a pool that would lie over one of those that the same dry run makes or changes before it. The kernel knows
    /// none of them, so it cannot.
    pub async fn check_beside(&self, caller: &Caller, would: &Pool, beside: Vec<PoolInput>) -> Result<(), AppError> {
        caller.needs(Role::Operate)?;
        let mine = &would.draft;
        for input in beside {
            // It was judged by itself before; here only where it lies counts.
            if input.id == mine.id || input.type_id != mine.type_id {
                continue;
            }
            let other = self.draft(&caller.tenant, input).await?;
            if let Some(span) = mine.overlap(&other) {
                let (pool, realm) = (mine.id.clone(), mine.base_realm().to_owned());
                let error = CommandError::PoolOverlaps { pool, other: Some(other.id), realm, span };
                return Err(AppError::Refused { error: Box::new(error), resource: None });
            }
        }
        Ok(())
    }

    /// Deletes a pool; says how many allocations were released.
    pub async fn delete_pool(&self, caller: &Caller, id: &PoolId, mode: DeleteMode) -> Result<u64, AppError> {
        caller.needs(Role::Operate)?;
        let pool = self.pool_of(caller, id)?;
        let command = Command::DeletePool { pool: pool.uid, force: mode == DeleteMode::Force };
        match self.engine.submit(command).await? {
            Ok(Reply::PoolDeleted { released }) => {
                self.metrics.forget_pool(&pool.draft);
                tracing::info!(pool = %id, released, "pool deleted");
                Ok(released)
            }
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(self.refused(&pool, error)),
        }
    }

    /// A pool.
    pub fn pool(&self, caller: &Caller, id: &PoolId) -> Result<Arc<Pool>, AppError> {
        caller.needs(Role::Read)?;
        self.pool_of(caller, id)
    }

    /// True if the tenant has a pool of this name: tells swapped ids from unknown ones.
    pub fn names_a_pool(&self, caller: &Caller, raw: &str) -> bool {
        raw.parse().is_ok_and(|id| self.view.pool(&caller.tenant, &id).is_some())
    }

    /// A page of the tenant's pools, by id. The cursor is the last id of the page before.
    pub fn pools(&self, caller: &Caller, query: &PoolQuery) -> Result<Page<Arc<Pool>>, AppError> {
        caller.needs(Role::Read)?;
        let limit = page_limit(query.limit)?;
        let mut rows = self.view.pools(Some(&caller.tenant));
        rows.retain(|pool| query.type_id.as_ref().is_none_or(|type_id| pool.draft.type_id == *type_id));
        if let (true, Some(type_id)) = (rows.is_empty(), &query.type_id) {
            self.known_type(type_id)?;
        }
        let total = rows.len() as u64;
        if let Some(cursor) = query.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
            let after: PoolId = cursor.parse().map_err(|_| AppError::CursorInvalid { cursor: cursor.to_owned() })?;
            rows.retain(|pool| pool.draft.id > after);
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|pool| pool.draft.id.to_string());
        Ok(Page { rows, total, next })
    }

    /// How full a pool is.
    pub async fn pool_stats(&self, caller: &Caller, id: &PoolId) -> Result<PoolStats, AppError> {
        let pool = self.pool(caller, id)?;
        let counted = self.view.occupancy(pool.uid);
        let sum = counted.iter().fold(Occupancy::default(), |sum, (_, one)| add(sum, *one));
        let realms = counted.iter().filter_map(|(realm, one)| Some((self.realm_name(*realm)?, *one))).collect();
        let per_realm = if pool.draft.terms.realm_by.is_empty() { None } else { pool.untouched() };
        let summary = self.summary(&pool).await;
        let quarantined_shards = self.cluster.quarantined_shards(&pool);
        Ok(PoolStats { pool, sum, realms, per_realm, quarantined_shards, summary })
    }

    /// A few words for what the pool holds; nothing if its plugin cannot be asked.
    async fn summary(&self, pool: &Arc<Pool>) -> Vec<CompactString> {
        let (types, pool) = (Arc::clone(&self.types), Arc::clone(pool));
        let asked = tokio::task::spawn_blocking(move || {
            let runs: Vec<Span> =
                pool.draft.geometry.spans.iter().take(MOST_RUNS).map(|series| series.first()).collect();
            runs.into_iter().map(|run| types.summarize(&pool, run)).collect::<Result<Vec<_>, _>>()
        });
        match asked.await {
            Ok(Ok(texts)) => texts.into_iter().flatten().take(MOST_RUNS).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// As [`Self::draft`]; if a pool of the name is there and means the same, in its words.
    async fn new_draft(&self, tenant: &TenantId, input: PoolInput) -> Result<PoolDraft, AppError> {
        let there = self.view.pool(tenant, &input.id);
        check_older_shards(&input, there.as_deref())?;
        let mut draft = self.draft(tenant, input).await?;
        if let Some(there) = there {
            adopt(&mut draft, &there);
        }
        Ok(draft)
    }

    /// The plugin reads the spec; everything else of the input gets its default.
    async fn draft(&self, tenant: &TenantId, input: PoolInput) -> Result<PoolDraft, AppError> {
        let spec: Arc<str> = canonical_object("spec", &input.spec)?.into();
        let OpenedSpec { geometry, mapping_id } = self.open(&input, Arc::clone(&spec)).await?;
        agrees(&input, &geometry.attributes)?;
        let port = input.type_id.as_str() == "port";
        let hold_down_ms = input.hold_down_ms.unwrap_or(if port { PORT_HOLD_DOWN_MS } else { HOLD_DOWN_MS });
        let terms = PoolTerms {
            strategy: input.strategy.unwrap_or(geometry.strategy),
            lease: input.lease.unwrap_or(LeaseTerms::None),
            hold_down_ms,
            strict: input.strict.unwrap_or(port),
            ack: input.ack,
            realm_by: input.realm_by,
            metadata: input.metadata,
        };
        let name = input.realm.unwrap_or_else(default_realm);
        Ok(PoolDraft {
            tenant: tenant.clone(),
            id: input.id,
            type_id: input.type_id,
            realm: RealmRef { name, shared: input.shared },
            spec,
            geometry: Arc::new(geometry),
            mapping_id,
            terms,
            sharding_factor: input.sharding_factor,
            extra: input.extra,
        })
    }

    /// Reading a spec may take its plugin a while, so it happens where blocking is allowed.
    async fn open(&self, input: &PoolInput, spec: Arc<str>) -> Result<OpenedSpec, AppError> {
        let types = Arc::clone(&self.types);
        let type_id: TypeId = input.type_id.clone();
        let older = input.older_form;
        let opened = tokio::task::spawn_blocking(move || {
            let schema = types.list().into_iter().find(|plugin| plugin.type_id == type_id.as_str());
            if let Some(fault) = schema.and_then(|plugin| unknown_fields(&plugin.spec_schema, &spec, older)) {
                return Err(Opening::Unknown(fault));
            }
            types.open(&type_id, &spec).map_err(Opening::Refused)
        });
        match opened.await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(Opening::Unknown(faults))) => Err(AppError::Invalid(faults)),
            Ok(Err(Opening::Refused(error))) => Err(of_open_error(input, error)),
            Err(ended) => {
                let type_id = input.type_id.to_string();
                Err(AppError::PluginUnavailable { type_id, why: ended.to_string() })
            }
        }
    }
}

/// Why a spec was not opened.
enum Opening {
    Unknown(Vec<Fault>),
    Refused(TypeError),
}

fn of_open_error(input: &PoolInput, error: TypeError) -> AppError {
    let pool = input.id.clone();
    match error {
        TypeError::Unknown { type_id, known } => AppError::TypeUnknown { type_id, known },
        TypeError::InvalidSpec(problems) => AppError::InvalidSpec { pool, faults: spec_faults(input, problems) },
        TypeError::InvalidName(why) => AppError::invalid("spec", "", why),
        TypeError::InvalidHint(problem) => AppError::InvalidSpec { pool, faults: spec_faults(input, vec![problem]) },
        TypeError::OutOfRange => AppError::invalid("spec", "", "must lie on the type's line"),
        TypeError::Unavailable { type_id, why } => AppError::PluginUnavailable { type_id, why },
    }
}

/// A plugin's problems with a spec, each with the value it is about, where the caller wrote it.
fn spec_faults(input: &PoolInput, problems: Vec<Problem>) -> Vec<Fault> {
    let spec: Value = serde_json::from_str(&input.spec).unwrap_or_default();
    let field = if input.older_form { "" } else { "spec" };
    let fault = |Problem { path, message }| {
        let value = spec.pointer(&path).filter(|_| !path.is_empty()).map_or_else(String::new, plain);
        Fault::at_pointer(field, &path, value, message)
    };
    problems.into_iter().map(fault).collect()
}

fn default_realm() -> RealmName {
    "default".parse().expect("a plain word is a realm")
}

/// What the body says beside the spec must be what the plugin reads out of the spec: a pool that was read, changed only
/// there and written back would otherwise silently stay as it was.
fn agrees(input: &PoolInput, attributes: &[(CompactString, CompactString)]) -> Result<(), AppError> {
    let faults: Vec<_> = input
        .derived
        .iter()
        .filter(|(name, said)| attributes.iter().any(|(key, value)| key == name && value != said))
        .map(|(name, said)| {
            Fault::new(name.as_str(), said, "must agree with spec: change it there, or leave it out here")
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(AppError::Invalid(faults)) }
}

/// Two bodies that mean the same are the same: where the plugin reads both specs alike, the recorded words stay.
fn adopt(draft: &mut PoolDraft, there: &Pool) {
    let old = &there.draft;
    if draft.type_id == old.type_id && draft.mapping_id == old.mapping_id && draft.geometry == old.geometry {
        draft.spec = Arc::clone(&old.spec);
    }
    let shards = u32::try_from(there.shards.len()).ok();
    let shown = Some(shown_shards(there));
    if draft.sharding_factor.is_none() && old.sharding_factor == shards
        || old.sharding_factor.is_none() && (draft.sharding_factor == shards || draft.sharding_factor == shown)
    {
        draft.sharding_factor = old.sharding_factor;
    }
}

/// The `sharding_factor` of an answer: what was asked, or how many shards there are. Where nothing was asked it stays within
/// what the older form takes, so that its clients can send the answer back.
pub(crate) fn shown_shards(pool: &Pool) -> u32 {
    let shards = u32::try_from(pool.shards.len()).unwrap_or(u32::MAX);
    pool.draft.sharding_factor.unwrap_or(shards.clamp(1, MOST_SHARDS_OLDER))
}

/// What a pool has in one realm, excluded space included, in grains.
pub fn capacity(pool: &Pool) -> u128 {
    let geometry = &pool.draft.geometry;
    geometry.spans.iter().map(|series| series.positions()).sum::<u128>() / geometry.grain.max(1)
}

fn difference(before: &Pool, after: &Pool) -> (u128, u128) {
    let (before, after) = (capacity(before), capacity(after));
    (after.saturating_sub(before), before.saturating_sub(after))
}

fn add(a: Occupancy, b: Occupancy) -> Occupancy {
    Occupancy {
        allocations: a.allocations + b.allocations,
        total: a.total + b.total,
        held: a.held + b.held,
        free: a.free + b.free,
        resting: a.resting + b.resting,
        reserved: a.reserved + b.reserved,
        excluded: a.excluded + b.excluded,
    }
}
