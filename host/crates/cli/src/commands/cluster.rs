//! `nexus cluster`, `nexus shard`, `nexus node` and `nexus hashring`.

use api::grpc::client::Client;
use nexus_proto::v1::{
    ClusterStatus, DemoteRequest, DrainRequest, EndQuarantineRequest, GetHashringRequest, GetHashringResponse,
    InitRequest, JoinRequest, LeaveRequest, ListMembersRequest, MoveShardsRequest, PromoteRequest, RemoveRequest,
    SeizeShardsRequest, StatusRequest,
};

use crate::arguments::{ClusterCommand, Connection, NodeCommand, OrderArgs, ShardCommand};
use crate::document::Fields;
use crate::exit::Failure;
use crate::screen::{Format, Screen};
use crate::session::{Patience, connect};
use crate::shape::{
    MEMBER_COLUMNS, Names, RING_COLUMNS, SHARD_COLUMNS, cluster_document, cluster_lines, hashring_document, member_row,
    ring_rows, shard_rows, warning_lines,
};

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
    let NodeCommand::Drain { member, undo } = command;
    let answer = client.cluster().drain(DrainRequest { member, undo }).await?.into_inner();
    show(&answer.status.unwrap_or_default(), screen)
}

/// `nexus shard`.
pub(super) async fn shard(connection: &Connection, command: ShardCommand, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    match command {
        ShardCommand::List { pool } => {
            let request = GetHashringRequest { pool_id: pool, omit_points: true };
            let ring = client.cluster().get_hashring(request).await?.into_inner();
            let rows = shard_rows(&ring, &names(&client).await?);
            screen.list("shards", SHARD_COLUMNS, &rows)?;
            Ok(())
        }
        ShardCommand::Move { order: OrderArgs { pool, shards, to }, reason } => {
            let request = MoveShardsRequest { pool_id: pool.clone(), shards: shards.0, to: to.clone(), reason };
            let count = client.cluster().move_shards(request).await?.into_inner().count;
            told(screen, "moved", count, &pool, &to)
        }
        ShardCommand::Seize { order: OrderArgs { pool, shards, to }, reason } => {
            let request = SeizeShardsRequest { pool_id: pool.clone(), shards: shards.0, to: to.clone(), reason };
            let count = client.cluster().seize_shards(request).await?.into_inner().count;
            told(screen, "seized", count, &pool, &to)
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
    if !status.warnings.is_empty() {
        screen.gap()?;
        screen.lines(&warning_lines(status))?;
    }
    Ok(())
}

fn told(screen: &mut Screen, what: &'static str, count: u64, pool: &str, to: &str) -> Result<(), Failure> {
    let document = Fields::default().number(what, count).text("pool_id", pool).text("to", to).done();
    let lines = [(what, format!("{count} shards of {pool} to {to}").into())];
    Ok(screen.one(&document, &lines)?)
}
