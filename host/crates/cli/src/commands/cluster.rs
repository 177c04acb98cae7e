//! `nexus cluster`, `nexus shard`, `nexus node` and `nexus hashring`.

use std::time::Duration;

use api::grpc::client::Client;
use nexus_proto::v1::{
    ClusterMember, ClusterStatus, DemoteRequest, DrainRequest, EndQuarantineRequest, GetHashringRequest,
    GetHashringResponse, InitRequest, JoinRequest, LeaveRequest, ListMembersRequest, MoveShardsRequest, PoolShards,
    PromoteRequest, RemoveRequest, SeizeShardsRequest, ShardOwner, StatusRequest,
};

use crate::arguments::{ClusterCommand, Connection, NodeCommand, OrderArgs, ShardCommand};
use crate::document::Fields;
use crate::exit::Failure;
use crate::screen::{Format, Screen};
use crate::session::{Patience, connect};
use crate::shape::{
    MEMBER_COLUMNS, Names, RING_COLUMNS, SHARD_COLUMNS, cluster_document, cluster_lines, hashring_document, member_row,
    order_lines, ring_rows, shard_rows, warning_lines,
};

/// How often it is looked whether a host is drained.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `nexus cluster`.
pub(super) async fn run(connection: &Connection, command: ClusterCommand, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let mut cluster = client.cluster();
    let status = match command {
        ClusterCommand::Members => return members(&client, screen).await,
        ClusterCommand::Status => cluster.status(StatusRequest {}).await?.into_inner().status,
        ClusterCommand::Init => cluster.init(InitRequest {}).await?.into_inner().status,
        ClusterCommand::Join { address } => cluster.join(JoinRequest { address }).await?.into_inner().status,
        ClusterCommand::Leave => cluster.leave(LeaveRequest {}).await?.into_inner().status,
        ClusterCommand::Promote { member } => cluster.promote(PromoteRequest { member }).await?.into_inner().status,
        ClusterCommand::Demote { member } => cluster.demote(DemoteRequest { member }).await?.into_inner().status,
        ClusterCommand::Remove { member, reason } => {
            cluster.remove(RemoveRequest { member, reason }).await?.into_inner().status
        }
    };
    show(&status.unwrap_or_default(), screen)
}

/// `nexus node`.
pub(super) async fn node(connection: &Connection, command: NodeCommand, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let NodeCommand::Drain { member, undo, wait } = command;
    let request = DrainRequest { member: member.clone(), undo };
    let mut status = client.cluster().drain(request).await?.into_inner().status.unwrap_or_default();
    if wait {
        let number = named(&status.members, "MEMBER", &member)?;
        while let Some(left) = status.members.iter().find(|one| one.member == number && one.shards > 0) {
            if !left.draining {
                return Err(Failure::TakenBack { node: left.node_id.clone() });
            }
            tokio::time::sleep(LOOK_EVERY).await;
            status = client.cluster().status(StatusRequest {}).await?.into_inner().status.unwrap_or_default();
        }
    }
    show(&status, screen)
}

/// `nexus shard`.
pub(super) async fn shard(connection: &Connection, command: ShardCommand, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    match command {
        ShardCommand::List { pool, owner, kind } => {
            let ring = owners(&client, pool).await?;
            let owner = match owner {
                Some(owner) => Some(number_of(&client, "--owner", &owner).await?),
                None => None,
            };
            let wanted = |shard: &ShardOwner| {
                owner.is_none_or(|owner| shard.owner == owner) && kind.as_ref().is_none_or(|kind| shard.kind == *kind)
            };
            let rows = shard_rows(&ring, &names(&client).await?, wanted);
            screen.list("shards", SHARD_COLUMNS, &rows)?;
            Ok(())
        }
        ShardCommand::Move { order: OrderArgs { pool, shards, to }, reason } => {
            let request = MoveShardsRequest { pool_id: pool.clone(), shards: shards.0, to: to.clone(), reason };
            let count = client.cluster().move_shards(request).await?.into_inner().count;
            told(screen, "moved", count, &pool, &to)
        }
        ShardCommand::Seize { pool, shards, from, to, reason } => {
            let pool = pool.unwrap_or_default();
            let wanted = match from {
                Some(from) => escrow_of(&client, pool, &from).await?,
                None => vec![(pool, shards.map(|shards| shards.0).unwrap_or_default())],
            };
            let (mut count, mut pools) = (0, Vec::new());
            for (pool_id, shards) in wanted {
                let (to, reason) = (to.clone(), reason.clone());
                let request = SeizeShardsRequest { pool_id: pool_id.clone(), shards, to, reason };
                count += client.cluster().seize_shards(request).await?.into_inner().count;
                pools.push(pool_id);
            }
            told(screen, "seized", count, &pools.join(", "), &to)
        }
        ShardCommand::EndQuarantine { pool, reason } => {
            let request = EndQuarantineRequest { pool_id: pool.clone(), reason };
            let count = client.cluster().end_quarantine(request).await?.into_inner().count;
            let document = Fields::default().number("ended", count).text("pool_id", &pool).done();
            Ok(screen.one(&document, &[("ended", format!("the quarantine of {count} shards of {pool}").into())])?)
        }
    }
}

/// `nexus hashring`.
pub(super) async fn hashring(connection: &Connection, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let ring: GetHashringResponse = client.cluster().get_hashring(GetHashringRequest::default()).await?.into_inner();
    if screen.format() == Format::Table {
        let rows = ring_rows(&ring, &names(&client).await?);
        return Ok(screen.list("members", RING_COLUMNS, &rows)?);
    }
    Ok(screen.one(&hashring_document(&ring), &[])?)
}

async fn members(client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let answer = client.cluster().list_members(ListMembersRequest {}).await?.into_inner();
    let rows: Vec<_> = answer.members.iter().map(member_row).collect();
    Ok(screen.list("members", MEMBER_COLUMNS, &rows)?)
}

async fn owners(client: &Client, pool_id: String) -> Result<GetHashringResponse, Failure> {
    let request = GetHashringRequest { pool_id, omit_points: true };
    Ok(client.cluster().get_hashring(request).await?.into_inner())
}

/// What a member holds outright of a pool, or of all.
async fn escrow_of(client: &Client, pool: String, member: &str) -> Result<Vec<(String, Vec<u32>)>, Failure> {
    let member = number_of(client, "--from", member).await?;
    let held = |shard: &&ShardOwner| shard.owner == member && shard.kind == "escrow";
    let of = |pool: PoolShards| {
        let shards: Vec<u32> = pool.shards.iter().filter(held).map(|shard| shard.shard).collect();
        (!shards.is_empty()).then_some((pool.pool_id, shards))
    };
    Ok(owners(client, pool).await?.pools.into_iter().filter_map(of).collect())
}

/// A member's number, as hosts read it: its node id, or else its number.
fn named(members: &[ClusterMember], option: &str, name: &str) -> Result<u32, Failure> {
    let by_id = members.iter().find(|member| member.node_id == name);
    let found = by_id.or_else(|| members.iter().find(|member| member.member.to_string() == name));
    found.map(|member| member.member).ok_or_else(|| {
        let known: Vec<&str> = members.iter().map(|member| member.node_id.as_str()).collect();
        Failure::Usage(format!("{option} {name:?} must be the node id or number of a member: {}", known.join(", ")))
    })
}

async fn number_of(client: &Client, option: &str, name: &str) -> Result<u32, Failure> {
    named(&client.cluster().list_members(ListMembersRequest {}).await?.into_inner().members, option, name)
}

async fn names(client: &Client) -> Result<Names, Failure> {
    let answer = client.cluster().list_members(ListMembersRequest {}).await?.into_inner();
    Ok(answer.members.into_iter().map(|member| (member.member, member.node_id)).collect())
}

/// Warnings come last, where they are seen.
fn show(status: &ClusterStatus, screen: &mut Screen) -> Result<(), Failure> {
    if screen.format() != Format::Table {
        return Ok(screen.one(&cluster_document(status), &[])?);
    }
    screen.lines(&cluster_lines(status))?;
    if !status.members.is_empty() {
        let rows: Vec<_> = status.members.iter().map(member_row).collect();
        screen.gap()?;
        screen.list("members", MEMBER_COLUMNS, &rows)?;
    }
    if !status.orders.is_empty() {
        screen.gap()?;
        screen.lines(&order_lines(status))?;
    }
    if !status.warnings.is_empty() {
        screen.gap()?;
        screen.lines(&warning_lines(status))?;
    }
    Ok(())
}

fn told(screen: &mut Screen, what: &'static str, count: u64, pool: &str, to: &str) -> Result<(), Failure> {
    let document = Fields::default().number(what, count).text("pool_id", pool).text("to", to).done();
    let of = if pool.is_empty() { "any pool" } else { pool };
    let lines = [(what, format!("{count} shards of {of} to {to}").into())];
    Ok(screen.one(&document, &lines)?)
}
