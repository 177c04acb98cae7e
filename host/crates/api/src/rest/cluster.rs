//! The cluster: members, ledger, shards.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kernel::PoolId;

use super::Rest;
use super::body::{Body, answer};
use super::dto::cluster::{
    ClusterBody, HashringBody, JoinBody, QuarantineBody, RemoveBody, ShardsBody, ShardsMovedBody,
};
use super::openapi::{Conflicts, Problems, Unknown};
use super::params::{By, Params, Segments};
use super::problem::Refusal;
use crate::app::AppError;
use crate::cluster::ClusterStatus;

/// The cluster as this host sees it: members, ledger, how far each host's operations are known, and what to look at.
#[utoipa::path(get, path = "/api/v1/cluster/status", operation_id = "cluster_status", tag = "cluster",
    responses((status = 200, description = "As this host sees it", body = ClusterBody), Problems))]
pub(super) async fn status(By(caller): By, State(rest): State<Rest>) -> Result<Response, Refusal> {
    shown(&rest.app.cluster_status(&caller)?)
}

/// The hashring: its virtual nodes in order, and for each pool who owns which shard and who should.
#[utoipa::path(get, path = "/api/v1/hashring", operation_id = "hashring", tag = "cluster",
    params(("pool_id" = Option<String>, Query, description = "Only this pool")),
    responses((status = 200, description = "As this host sees it", body = HashringBody), Problems, Unknown))]
pub(super) async fn hashring(By(caller): By, State(rest): State<Rest>, params: Params) -> Result<Response, Refusal> {
    let pool: Option<PoolId> = params.id("pool_id")?;
    answer(StatusCode::OK, &HashringBody::of(&rest.app.hashring(&caller, pool.as_ref())?))
}

/// Form the cluster's ledger with this host as its only member. Once in a cluster's life, on one host.
#[utoipa::path(post, path = "/api/v1/cluster/init", operation_id = "init_cluster", tag = "cluster",
    responses((status = 200, description = "Formed", body = ClusterBody), Problems, Conflicts))]
pub(super) async fn init(By(caller): By, State(rest): State<Rest>) -> Result<Response, Refusal> {
    shown(&rest.app.init_cluster(&caller).await?)
}

/// Make this host a member of the cluster that a peer belongs to.
#[utoipa::path(post, path = "/api/v1/cluster/join", operation_id = "join_cluster", tag = "cluster", request_body = Option<JoinBody>,
    responses((status = 200, description = "A member", body = ClusterBody), Problems, Conflicts))]
pub(super) async fn join(By(caller): By, State(rest): State<Rest>, body: Body) -> Result<Response, Refusal> {
    let address = body.json_or_default::<JoinBody>()?.read()?;
    shown(&rest.app.join_cluster(&caller, address).await?)
}

/// Give up all of this host's shards and leave the cluster.
#[utoipa::path(post, path = "/api/v1/cluster/leave", operation_id = "leave_cluster", tag = "cluster",
    responses((status = 200, description = "It has left", body = ClusterBody), Problems, Conflicts))]
pub(super) async fn leave(By(caller): By, State(rest): State<Rest>) -> Result<Response, Refusal> {
    shown(&rest.app.leave_cluster(&caller).await?)
}

/// Let a member vote in the ledger.
#[utoipa::path(post, path = "/api/v1/cluster/members/{member}/promote", operation_id = "promote_member", tag = "cluster",
    params(("member" = String, Path, description = "Its node id or member number")),
    responses((status = 200, description = "It votes", body = ClusterBody), Problems, Conflicts))]
pub(super) async fn promote(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(member): Segments<String>,
) -> Result<Response, Refusal> {
    shown(&rest.app.promote_member(&caller, &member).await?)
}

/// Let a member vote no more; it still learns what is decided.
#[utoipa::path(post, path = "/api/v1/cluster/members/{member}/demote", operation_id = "demote_member", tag = "cluster",
    params(("member" = String, Path, description = "Its node id or member number")),
    responses((status = 200, description = "It learns", body = ClusterBody), Problems, Conflicts))]
pub(super) async fn demote(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(member): Segments<String>,
) -> Result<Response, Refusal> {
    shown(&rest.app.demote_member(&caller, &member).await?)
}

/// Give a member no new shards, and move those it has to others.
#[utoipa::path(post, path = "/api/v1/cluster/members/{member}/drain", operation_id = "drain_member", tag = "cluster",
    params(("member" = String, Path, description = "Its node id or member number")),
    responses((status = 200, description = "It drains; the status shows how many shards it still has", body = ClusterBody), Problems, Conflicts))]
pub(super) async fn drain(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(member): Segments<String>,
) -> Result<Response, Refusal> {
    shown(&rest.app.drain_member(&caller, &member).await?)
}

/// Give a drained member shards again.
#[utoipa::path(post, path = "/api/v1/cluster/members/{member}/undrain", operation_id = "undrain_member", tag = "cluster",
    params(("member" = String, Path, description = "Its node id or member number")),
    responses((status = 200, description = "It takes shards", body = ClusterBody), Problems, Conflicts))]
pub(super) async fn undrain(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(member): Segments<String>,
) -> Result<Response, Refusal> {
    shown(&rest.app.undrain_member(&caller, &member).await?)
}

/// Remove a member that is lost for good. If it comes back, it comes as a new host.
#[utoipa::path(delete, path = "/api/v1/cluster/members/{member}", operation_id = "remove_member", tag = "cluster", request_body = Option<RemoveBody>,
    params(
        ("member" = String, Path, description = "Its node id or member number"),
        ("reason" = Option<String>, Query, description = "Why; needed here or in the body"),
    ),
    responses((status = 200, description = "Removed", body = ClusterBody), Problems, Conflicts))]
pub(super) async fn remove(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(member): Segments<String>,
    params: Params,
    body: Body,
) -> Result<Response, Refusal> {
    let in_body = body.json_or_default::<RemoveBody>()?.read()?;
    let reason = match (params.text("reason"), in_body) {
        (Some(one), Some(other)) if one != other => {
            return Err(
                AppError::invalid("reason", other, "must stand in the query or in the body, not in both").into()
            );
        }
        (in_query, in_body) => in_query.map(str::to_owned).or(in_body).unwrap_or_default(),
    };
    shown(&rest.app.remove_member(&caller, &member, &reason).await?)
}

/// Move shards to another owner. Both owners must be reachable.
#[utoipa::path(post, path = "/api/v1/cluster/shards:move", operation_id = "move_shards", tag = "cluster", request_body = ShardsBody,
    responses((status = 200, description = "Moved", body = ShardsMovedBody), Problems, Unknown, Conflicts))]
pub(super) async fn move_shards(By(caller): By, State(rest): State<Rest>, body: Body) -> Result<Response, Refusal> {
    let count = rest.app.move_shards(&caller, body.json::<ShardsBody>()?.read()?).await?;
    answer(StatusCode::OK, &ShardsMovedBody { count })
}

/// Take shards from an owner that is lost, by force. Space that it may have handed out unheard is set aside.
#[utoipa::path(post, path = "/api/v1/cluster/shards:seize", operation_id = "seize_shards", tag = "cluster", request_body = ShardsBody,
    responses((status = 200, description = "Seized", body = ShardsMovedBody), Problems, Unknown, Conflicts))]
pub(super) async fn seize_shards(By(caller): By, State(rest): State<Rest>, body: Body) -> Result<Response, Refusal> {
    let count = rest.app.seize_shards(&caller, body.json::<ShardsBody>()?.read()?).await?;
    answer(StatusCode::OK, &ShardsMovedBody { count })
}

/// Hand out again of a pool's shards that this host holds and keeps in quarantine: after a restore, a takeover or a seizure.
/// Whoever asks knows that nobody holds what was handed out of them unheard.
#[utoipa::path(post, path = "/api/v1/cluster/shards:end-quarantine", operation_id = "end_quarantine", tag = "cluster", request_body = QuarantineBody,
    responses((status = 200, description = "They are handed out from again", body = ShardsMovedBody), Problems, Unknown, Conflicts))]
pub(super) async fn end_quarantine(By(caller): By, State(rest): State<Rest>, body: Body) -> Result<Response, Refusal> {
    let (pool, reason) = body.json::<QuarantineBody>()?.read()?;
    let count = rest.app.end_quarantine(&caller, &pool, &reason).await?;
    answer(StatusCode::OK, &ShardsMovedBody { count })
}

fn shown(status: &ClusterStatus) -> Result<Response, Refusal> {
    answer(StatusCode::OK, &ClusterBody::of(status))
}
