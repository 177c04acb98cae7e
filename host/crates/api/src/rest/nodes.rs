//! Nodes: this host, and the OLT-BNGs as far as their allocations show them.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kernel::NodeId;

use super::Rest;
use super::body::answer;
use super::dto::allocation::AllocationsBody;
use super::dto::node::{NodeBody, NodesBody};
use super::lists::{query, show};
use super::openapi::Problems;
use super::params::{By, Params, Segments};
use super::problem::Refusal;
use crate::app::{ListQuery, read_id, rfc3339};

/// How long an answer about nodes may be believed.
const BELIEVABLE_MS: u64 = 30_000;

/// List nodes.
#[utoipa::path(get, path = "/api/v1/nodes", operation_id = "list_nodes", tag = "nodes",
    responses((status = 200, description = "This host first, then OLT-BNGs with allocations, by id", body = NodesBody), Problems))]
pub(super) async fn list(By(caller): By, State(rest): State<Rest>) -> Result<Response, Refusal> {
    let seen = rest.app.nodes(&caller)?;
    let best_before = rfc3339(rest.app.now_ms().saturating_add(BELIEVABLE_MS));
    let node = |id, metadata| NodeBody { id, best_before: best_before.clone(), metadata, status: "active" };
    let cluster = rest.app.cluster_status(&caller)?;
    let myself = cluster.members.into_iter().find(|one| Some(one.member) == cluster.member);
    // A host that is no member yet has no other role.
    let role = myself.map_or_else(|| "core".to_owned(), |one| one.role);
    let mut nodes = vec![node(rest.app.host().as_str(), BTreeMap::from([("role", role)]))];
    nodes.extend(seen.iter().map(|seen| {
        let metadata = BTreeMap::from([("role", "olt".to_owned()), ("allocations", seen.allocations.to_string())]);
        node(seen.id.as_str(), metadata)
    }));
    answer(StatusCode::OK, &NodesBody { count: nodes.len(), nodes })
}

/// List a node's allocations.
#[utoipa::path(get, path = "/api/v1/nodes/{id}/allocations", operation_id = "list_node_allocations", tag = "nodes",
    params(
        ("id" = String, Path, description = "Percent-encoded"),
        ("pool_id" = Option<String>, Query, description = "Only in this pool"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 10,000, which is also the default"),
    ),
    responses((status = 200, description = "A page of them", body = AllocationsBody), Problems))]
pub(super) async fn allocations(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(id): Segments<String>,
    params: Params,
) -> Result<Response, Refusal> {
    let node: NodeId = read_id("node_id", &id)?;
    let page = rest.app.list(&caller, &ListQuery { node: Some(node.clone()), ..query(&params)? })?;
    show(&rest.app, &page, Some(node.as_str()), None)
}
