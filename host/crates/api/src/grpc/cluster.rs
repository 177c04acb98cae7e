//! `ClusterService`.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use kernel::ShardId;
use nexus_proto::v1;
use nexus_proto::v1::backup_response::Part;
use nexus_proto::v1::cluster_service_server::ClusterService;
use tokio::sync::mpsc::Receiver;
use tonic::{Request, Response, Status, async_trait};

use super::{Face, answer, read, refuse, show};
use crate::app::{AppError, Caller, ShardsInput, read_id};
use crate::cluster::{
    ClusterStatus, HashringStatus, LedgerStatus, MemberStatus, OrderStatus, PoolShards, Standing, Vote,
};
use crate::ports::{BackupPiece, BackupSummary};

impl Face {
    fn ring(&self, caller: &Caller, request: &v1::GetHashringRequest) -> Result<v1::GetHashringResponse, AppError> {
        let pool = read::optional_id("pool_id", &request.pool_id)?;
        let ring = self.app.hashring(caller, pool.as_ref())?;
        Ok(hashring(ring, request.omit_points))
    }

    async fn drain_or_not(&self, caller: &Caller, request: &v1::DrainRequest) -> Result<ClusterStatus, AppError> {
        if request.undo {
            self.app.undrain_member(caller, &request.member).await
        } else {
            self.app.drain_member(caller, &request.member).await
        }
    }

    async fn move_some(&self, caller: &Caller, request: v1::MoveShardsRequest) -> Result<u64, AppError> {
        let v1::MoveShardsRequest { pool_id, shards, to, reason } = request;
        self.app.move_shards(caller, order(&pool_id, shards, to, reason)?).await
    }

    async fn seize_some(&self, caller: &Caller, request: v1::SeizeShardsRequest) -> Result<u64, AppError> {
        let v1::SeizeShardsRequest { pool_id, shards, to, reason } = request;
        self.app.seize_shards(caller, order(&pool_id, shards, to, reason)?).await
    }
}

fn order(pool_id: &str, shards: Vec<u32>, to: String, reason: String) -> Result<ShardsInput, AppError> {
    let pool = read_id("pool_id", pool_id)?;
    Ok(ShardsInput { pool, shards: shards.into_iter().map(ShardId).collect(), to, reason })
}

fn status(status: ClusterStatus) -> v1::ClusterStatus {
    let standing = match status.standing {
        Standing::Alone => v1::ClusterStanding::Alone,
        Standing::Waiting => v1::ClusterStanding::Waiting,
        Standing::Member => v1::ClusterStanding::Member,
        Standing::Removed => v1::ClusterStanding::Removed,
    };
    let origins = status.vector.into_iter();
    v1::ClusterStatus {
        standing: standing.into(),
        cluster_id: status.cluster_id.unwrap_or_default(),
        node_id: status.node,
        member: status.member.map_or(0, |member| member.0),
        peer: status.peer,
        addresses: status.addresses,
        ledger: status.ledger.as_ref().map(ledger),
        members: status.members.into_iter().map(member).collect(),
        digest: status.digest,
        vector: origins
            .map(|one| v1::OriginProgress { host: one.host, incarnation: one.incarnation, through: one.through })
            .collect(),
        warnings: status.warnings,
        orders: status.orders.into_iter().map(ordered).collect(),
    }
}

fn ordered(order: OrderStatus) -> v1::ClusterOrder {
    let OrderStatus { at_ms, what, tenant: _, reason, by } = order;
    v1::ClusterOrder { at: Some(show::timestamp(at_ms)), what, reason, by }
}

fn ledger(ledger: &LedgerStatus) -> v1::Ledger {
    let LedgerStatus { leader, term, committed, applied, majority } = *ledger;
    v1::Ledger { leader: leader.map_or(0, |leader| leader.0), term, committed, applied, majority }
}

fn member(member: MemberStatus) -> v1::ClusterMember {
    let vote = match member.vote {
        Vote::Voter => v1::ClusterVote::Voter,
        Vote::Learner => v1::ClusterVote::Learner,
    };
    v1::ClusterMember {
        member: member.member.0,
        node_id: member.node,
        role: member.role,
        vote: vote.into(),
        weight: member.weight,
        peer: member.peer,
        addresses: member.addresses,
        reachable: member.reachable,
        draining: member.draining,
        deposed: member.deposed,
        shards: member.shards,
        escrow: member.escrow,
        behind: member.behind,
    }
}

fn hashring(ring: HashringStatus, omit_points: bool) -> v1::GetHashringResponse {
    let points = if omit_points { Vec::new() } else { ring.points };
    v1::GetHashringResponse {
        virtual_nodes: ring.virtual_nodes,
        points: points.into_iter().map(|(at, member)| v1::RingPoint { at, member: member.0 }).collect(),
        pools: ring.pools.into_iter().map(pool_shards).collect(),
    }
}

fn pool_shards(pool: PoolShards) -> v1::PoolShards {
    let shards = pool.shards.into_iter();
    v1::PoolShards {
        pool_id: pool.pool_id,
        tenant: pool.tenant,
        pool: pool.uid.0,
        shards: shards
            .map(|shard| v1::ShardOwner {
                shard: shard.shard.0,
                epoch: shard.epoch,
                owner: shard.owner.0,
                wished: shard.wished.0,
                kind: shard.kind,
                state: shard.state,
            })
            .collect(),
    }
}

impl Face {
    async fn end_one(&self, caller: &Caller, request: &v1::EndQuarantineRequest) -> Result<u64, AppError> {
        self.app.end_quarantine(caller, &read_id("pool_id", &request.pool_id)?, &request.reason).await
    }
}

/// The pieces as messages; after the last one, or a refusal, the stream ends.
fn backup(pieces: Receiver<BackupPiece>) -> BoxStream<'static, Result<v1::BackupResponse, Status>> {
    let told = stream::unfold(Some(pieces), |pieces| async {
        let mut pieces = pieces?;
        let message = |part| Ok(v1::BackupResponse { part: Some(part) });
        let failed = |why: String| Err(refuse(&AppError::BackupRefused { why }));
        Some(match pieces.recv().await {
            Some(BackupPiece::Data(bytes)) => (message(Part::Data(bytes.to_vec())), Some(pieces)),
            Some(BackupPiece::Done(BackupSummary { node, files, bytes, through })) => {
                let summary = v1::BackupSummary { node_id: node, files, bytes, through };
                (message(Part::Summary(summary)), None)
            }
            Some(BackupPiece::Failed(why)) => (failed(why), None),
            None => (failed("it was given up".to_owned()), None),
        })
    });
    told.boxed()
}

#[async_trait]
impl ClusterService for Face {
    type BackupStream = BoxStream<'static, Result<v1::BackupResponse, Status>>;

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let (caller, request) = self.open(request)?;
        let joined = self.app.join_cluster(&caller, Some(request.address)).await;
        answer(joined.map(|now| v1::JoinResponse { status: Some(status(now)) }))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let (caller, _) = self.open(request)?;
        let seen = self.app.cluster_status(&caller);
        answer(seen.map(|now| v1::StatusResponse { status: Some(status(now)) }))
    }

    async fn get_hashring(
        &self,
        request: Request<v1::GetHashringRequest>,
    ) -> Result<Response<v1::GetHashringResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.ring(&caller, &request))
    }

    async fn init(&self, request: Request<v1::InitRequest>) -> Result<Response<v1::InitResponse>, Status> {
        let (caller, _) = self.open(request)?;
        let formed = self.app.init_cluster(&caller).await;
        answer(formed.map(|now| v1::InitResponse { status: Some(status(now)) }))
    }

    async fn leave(&self, request: Request<v1::LeaveRequest>) -> Result<Response<v1::LeaveResponse>, Status> {
        let (caller, _) = self.open(request)?;
        let left = self.app.leave_cluster(&caller).await;
        answer(left.map(|now| v1::LeaveResponse { status: Some(status(now)) }))
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        let (caller, _) = self.open(request)?;
        let seen = self.app.cluster_status(&caller);
        answer(seen.map(|now| v1::ListMembersResponse { members: now.members.into_iter().map(member).collect() }))
    }

    async fn promote(&self, request: Request<v1::PromoteRequest>) -> Result<Response<v1::PromoteResponse>, Status> {
        let (caller, request) = self.open(request)?;
        let promoted = self.app.promote_member(&caller, &request.member).await;
        answer(promoted.map(|now| v1::PromoteResponse { status: Some(status(now)) }))
    }

    async fn demote(&self, request: Request<v1::DemoteRequest>) -> Result<Response<v1::DemoteResponse>, Status> {
        let (caller, request) = self.open(request)?;
        let demoted = self.app.demote_member(&caller, &request.member).await;
        answer(demoted.map(|now| v1::DemoteResponse { status: Some(status(now)) }))
    }

    async fn remove(&self, request: Request<v1::RemoveRequest>) -> Result<Response<v1::RemoveResponse>, Status> {
        let (caller, request) = self.open(request)?;
        let removed = self.app.remove_member(&caller, &request.member, &request.reason).await;
        answer(removed.map(|now| v1::RemoveResponse { status: Some(status(now)) }))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        let (caller, request) = self.open(request)?;
        let drained = self.drain_or_not(&caller, &request).await;
        answer(drained.map(|now| v1::DrainResponse { status: Some(status(now)) }))
    }

    async fn move_shards(
        &self,
        request: Request<v1::MoveShardsRequest>,
    ) -> Result<Response<v1::MoveShardsResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.move_some(&caller, request).await.map(|count| v1::MoveShardsResponse { count }))
    }

    async fn seize_shards(
        &self,
        request: Request<v1::SeizeShardsRequest>,
    ) -> Result<Response<v1::SeizeShardsResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.seize_some(&caller, request).await.map(|count| v1::SeizeShardsResponse { count }))
    }

    async fn end_quarantine(
        &self,
        request: Request<v1::EndQuarantineRequest>,
    ) -> Result<Response<v1::EndQuarantineResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.end_one(&caller, &request).await.map(|count| v1::EndQuarantineResponse { count }))
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let (caller, _) = self.open(request)?;
        answer(self.app.backup(&caller).map(backup))
    }
}
