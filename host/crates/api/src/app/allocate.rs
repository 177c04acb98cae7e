//! Allocate and explain: text and hints become a plan, the kernel decides, the answer gets its name.

use std::sync::Arc;
use std::time::Instant;

use kernel::{AllocateRequest, Command, CommandError, ExplainedOutcome, NodeId, Plan, Pool, Reply, Span};

use super::App;
use super::caller::{Caller, Role};
use super::error::AppError;
use super::input::AllocateInput;
use super::metrics::AllocationResult;
use super::names::of_type_error;
use super::output::{Explained, Granted, Holding};
use super::realms::realm_value;
use crate::engine::{EngineError, Outcome};

/// A request that is ready for the kernel, and what its answer needs.
#[derive(Debug)]
struct Ready {
    pool: Arc<Pool>,
    node: Option<NodeId>,
    request: Box<AllocateRequest>,
}

impl App {
    /// Gives the subscriber a resource, or the one it holds already. On disk before this returns.
    pub async fn allocate(&self, caller: &Caller, input: AllocateInput) -> Result<Granted, AppError> {
        let begun = Instant::now();
        caller.needs(Role::Allocate)?;
        self.await_pools(caller, std::iter::once(&input.pool)).await;
        let Ready { pool, node, request } = self.ready(caller, input)?;
        let outcome = self.engine.submit(Command::Allocate(request)).await;
        let granted = self.granted(&pool, outcome);
        self.metrics.allocation(&pool.draft, node.as_ref(), AllocationResult::of(&granted), begun.elapsed());
        granted
    }

    /// Many requests in one journey to the kernel and one commit group if possible; each has its own result, in order.
    pub async fn allocate_many(&self, caller: &Caller, inputs: Vec<AllocateInput>) -> Vec<Result<Granted, AppError>> {
        let begun = Instant::now();
        self.await_pools(caller, inputs.iter().map(|input| &input.pool)).await;
        let mut commands = Vec::with_capacity(inputs.len());
        let mut waiting = Vec::with_capacity(inputs.len());
        for input in inputs {
            let ready = caller.needs(Role::Allocate).and_then(|()| self.ready(caller, input));
            waiting.push(ready.map(|Ready { pool, node, request }| {
                commands.push(Command::Allocate(request));
                (pool, node)
            }));
        }
        let mut outcomes = if commands.is_empty() { Ok(Vec::new()) } else { self.engine.submit_many(commands).await }
            .map(Vec::into_iter);
        let mut next = || match &mut outcomes {
            Ok(outcomes) => outcomes.next().unwrap_or(Err(EngineError::Stopped)),
            Err(error) => Err(error.clone()),
        };
        let mut results = Vec::with_capacity(waiting.len());
        for ready in waiting {
            results.push(ready.and_then(|(pool, node)| {
                let granted = self.granted(&pool, next());
                let result = AllocationResult::of(&granted);
                self.metrics.allocation(&pool.draft, node.as_ref(), result, begun.elapsed());
                granted
            }));
        }
        results
    }

    /// Where a request would go, or why it would fail. Changes nothing.
    pub async fn explain(&self, caller: &Caller, input: AllocateInput) -> Result<Explained, AppError> {
        caller.needs(Role::Read)?;
        self.await_pools(caller, std::iter::once(&input.pool)).await;
        let Ready { pool, request, .. } = self.ready(caller, input)?;
        match self.engine.submit(Command::Explain(request)).await? {
            Ok(Reply::Explained(explanation)) => Ok(self.explained(pool, *explanation)),
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(self.refused(&pool, error)),
        }
    }

    fn explained(&self, pool: Arc<Pool>, explanation: kernel::Explanation) -> Explained {
        let kernel::Explanation { outcome, realm, occupancy, strategy } = explanation;
        let (resource, failure) = match &outcome {
            ExplainedOutcome::AlreadyHeld { span } | ExplainedOutcome::WouldGet { span, .. } => {
                (self.render_one(&pool, *span).ok(), None)
            }
            ExplainedOutcome::WouldFail(error) => {
                let failure = self.refused(&pool, CommandError::clone(error));
                let resource = if let AppError::Refused { resource, .. } = &failure { resource.clone() } else { None };
                (resource, Some(failure))
            }
        };
        let realm = realm.and_then(|realm| self.realm_name(realm));
        Explained { pool, outcome, resource, failure, realm, occupancy, strategy }
    }

    fn ready(&self, caller: &Caller, input: AllocateInput) -> Result<Ready, AppError> {
        let Some(pool) = self.view.pool(&caller.tenant, &input.pool) else {
            self.metrics.allocation_in_unknown_pool();
            return Err(self.or_waits(AppError::PoolUnknown { pool: input.pool }));
        };
        let realm_value = realm_value(&pool, input.node.as_ref(), &input.attributes)?;
        let plan = self.plan(&pool, &input)?;
        let request = Box::new(AllocateRequest {
            pool: pool.uid,
            subscriber: input.subscriber,
            key: input.key.filter(|key| !key.as_str().is_empty()),
            realm_value,
            plan,
            explicit: input.resource.is_some(),
            ttl: input.ttl,
            node: input.node.clone(),
            metadata: input.metadata,
            supersedes: None,
        });
        Ok(Ready { pool, node: input.node, request })
    }

    /// Only what is said as text needs the plugin.
    fn plan(&self, pool: &Pool, input: &AllocateInput) -> Result<Plan, AppError> {
        let sizing = &pool.draft.geometry.sizing;
        if let Some(resource) = &input.resource {
            let span = self.parse_one(pool, resource)?;
            return Ok(Plan::exactly(whole_prefix(pool, resource, span)));
        }
        if input.hints.is_empty() {
            return Ok(Plan::anywhere(sizing.default_len));
        }
        self.types.interpret(pool, &input.hints).map_err(|error| {
            let mut refused = of_type_error(pool, "", error);
            if let AppError::HintInvalid { fault, .. } = &mut refused {
                let given =
                    input.hints.iter().find(|(name, _)| fault.field.strip_prefix("hints.") == Some(name.as_str()));
                fault.value = given.map_or_else(String::new, |(_, value)| value.to_string());
            }
            refused
        })
    }

    fn granted(&self, pool: &Arc<Pool>, outcome: Outcome) -> Result<Granted, AppError> {
        match outcome? {
            Ok(Reply::Allocated { allocation, created, durability }) => {
                self.name(pool, &allocation)?;
                Ok(Granted { holding: Holding { allocation, pool: Arc::clone(pool) }, created, durability })
            }
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(self.refused(pool, error)),
        }
    }
}

/// A bare address in a pool of prefixes means the prefix that begins there: the older form's answers name it so.
fn whole_prefix(pool: &Pool, resource: &str, span: Span) -> Span {
    let sizing = &pool.draft.geometry.sizing;
    if span.len() >= sizing.min_len || resource.contains('/') {
        return span;
    }
    Span::new(span.start(), sizing.default_len).unwrap_or(span)
}

/// The kernel answered with what was not asked: a fault of ours, but no reason to end the daemon.
pub(crate) fn unexpected(reply: &Reply) -> AppError {
    tracing::error!(?reply, "the kernel's reply does not fit its command");
    AppError::Storage { why: "the answer does not fit the request".to_owned() }
}
