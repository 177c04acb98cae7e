//! The cluster: members, shards, ring.

use std::collections::BTreeMap;

use nexus_proto::v1::{
    ClusterMember, ClusterOrder, ClusterStanding, ClusterStatus, ClusterVote, GetHashringResponse, Ledger, PoolShards,
    ShardOwner,
};

use super::time_document;
use crate::document::{Document, Fields};
use crate::screen::Row;
use crate::table::{Cell, Tone};
use crate::words::second;

pub(crate) const MEMBER_COLUMNS: &[&str] =
    &["MEMBER", "NODE", "ROLE", "VOTE", "STATE", "WEIGHT", "SHARDS", "ESCROW", "BEHIND", "ADDRESSES"];

pub(crate) const SHARD_COLUMNS: &[&str] = &["POOL", "SHARD", "OWNER", "WISHED", "EPOCH", "KIND", "STATE"];

pub(crate) const RING_COLUMNS: &[&str] = &["MEMBER", "NODE", "POINTS", "OWNS", "WISHED"];

/// Node ids by member number.
pub(crate) type Names = BTreeMap<u32, String>;

fn standing(status: &ClusterStatus) -> (&'static str, Tone) {
    match status.standing() {
        ClusterStanding::Unspecified => ("", Tone::Plain),
        ClusterStanding::Alone => ("alone", Tone::Good),
        ClusterStanding::Waiting => ("waiting", Tone::Notable),
        ClusterStanding::Member => ("member", Tone::Good),
        ClusterStanding::Removed => ("removed", Tone::Bad),
    }
}

fn vote(member: &ClusterMember) -> &'static str {
    match member.vote() {
        ClusterVote::Unspecified => "",
        ClusterVote::Voter => "voter",
        ClusterVote::Learner => "learner",
    }
}

/// The worst that is true of it.
fn state(member: &ClusterMember) -> (&'static str, Tone) {
    match (member.deposed, member.reachable, member.draining) {
        (true, _, _) => ("deposed", Tone::Bad),
        (false, false, _) => ("unreachable", Tone::Bad),
        (false, true, true) if member.shards == 0 => ("drained", Tone::Good),
        (false, true, true) => ("draining", Tone::Notable),
        (false, true, false) => ("reachable", Tone::Good),
    }
}

fn texts(texts: &[String]) -> Document {
    Document::List(texts.iter().map(|text| Document::text(text.as_str())).collect())
}

/// 0 is nobody.
fn some_number(number: u32) -> Option<Document> {
    (number != 0).then(|| Document::number(number))
}

fn member_document(member: &ClusterMember) -> Document {
    Fields::default()
        .number("member", member.member)
        .text("node_id", &member.node_id)
        .text("role", &member.role)
        .text("vote", vote(member))
        .number("weight", member.weight)
        .some_text("peer", &member.peer)
        .put("addresses", texts(&member.addresses))
        .put("reachable", Document::Truth(member.reachable))
        .put("draining", Document::Truth(member.draining))
        .put("deposed", Document::Truth(member.deposed))
        .number("shards", member.shards)
        .number("escrow", member.escrow)
        .some("behind", member.behind.map(Document::number))
        .done()
}

pub(crate) fn member_row(member: &ClusterMember) -> Row {
    let (word, tone) = state(member);
    let cells = vec![
        member.member.to_string().into(),
        member.node_id.as_str().into(),
        member.role.as_str().into(),
        vote(member).into(),
        Cell::toned(word, tone),
        member.weight.to_string().into(),
        member.shards.to_string().into(),
        member.escrow.to_string().into(),
        member.behind.map_or_else(|| "?".to_owned(), |behind| behind.to_string()).into(),
        member.addresses.join(" ").into(),
    ];
    Row { cells, document: member_document(member) }
}

fn ledger_document(ledger: &Ledger) -> Document {
    Fields::default()
        .some("leader", some_number(ledger.leader))
        .number("term", ledger.term)
        .number("committed", ledger.committed)
        .number("applied", ledger.applied)
        .put("majority", Document::Truth(ledger.majority))
        .done()
}

pub(crate) fn cluster_document(status: &ClusterStatus) -> Document {
    let origin = |one: &nexus_proto::v1::OriginProgress| {
        let fields = Fields::default().text("host", &one.host);
        fields.number("incarnation", one.incarnation).number("through", one.through).done()
    };
    Fields::default()
        .text("standing", standing(status).0)
        .some_text("cluster_id", &status.cluster_id)
        .text("node_id", &status.node_id)
        .some("member", some_number(status.member))
        .some_text("peer", &status.peer)
        .put("addresses", texts(&status.addresses))
        .some("ledger", status.ledger.as_ref().map(ledger_document))
        .put("members", Document::List(status.members.iter().map(member_document).collect()))
        .some_text("digest", &status.digest)
        .put("vector", Document::List(status.vector.iter().map(origin).collect()))
        .put("orders", Document::List(status.orders.iter().map(order_document).collect()))
        .put("warnings", texts(&status.warnings))
        .done()
}

/// The status without its members and warnings, which are shown below it.
pub(crate) fn cluster_lines(status: &ClusterStatus) -> Vec<(&'static str, Cell)> {
    let (word, tone) = standing(status);
    let member = if status.member == 0 { String::new() } else { format!(" (member {})", status.member) };
    let mut lines = vec![
        ("standing", Cell::toned(word, tone)),
        ("cluster", status.cluster_id.as_str().into()),
        ("node", format!("{}{member}", status.node_id).into()),
        ("peer", status.peer.as_str().into()),
        ("addresses", status.addresses.join(" ").into()),
    ];
    lines.extend(status.ledger.as_ref().map(|ledger| ("ledger", ledger_cell(ledger, &status.members))));
    lines.push(("digest", status.digest.as_str().into()));
    let known = status.vector.iter();
    lines.extend(known.map(|one| ("known", format!("{}.{} up to {}", one.host, one.incarnation, one.through).into())));
    lines
}

fn ledger_cell(ledger: &Ledger, members: &[ClusterMember]) -> Cell {
    let leader = match members.iter().find(|member| member.member == ledger.leader) {
        Some(member) => format!("leader {}", member.node_id),
        None if ledger.leader == 0 => "no leader is known".to_owned(),
        None => format!("leader is member {}", ledger.leader),
    };
    let Ledger { term, committed, applied, .. } = ledger;
    let decided = format!("{leader}, term {term}, {committed} decided, {applied} followed");
    if ledger.majority {
        Cell::toned(decided, Tone::Good)
    } else {
        Cell::toned(format!("{decided}, no majority heard of lately"), Tone::Bad)
    }
}

fn order_document(order: &ClusterOrder) -> Document {
    Fields::default()
        .some("at", time_document(order.at.as_ref()))
        .text("what", &order.what)
        .text("reason", &order.reason)
        .text("by", &order.by)
        .done()
}

pub(crate) fn order_lines(status: &ClusterStatus) -> Vec<(&'static str, Cell)> {
    let line = |order: &ClusterOrder| {
        let at = second(order.at.as_ref());
        format!("{at} {}, by {}: {}", order.what, order.by, order.reason)
    };
    status.orders.iter().map(|order| ("order", line(order).into())).collect()
}

pub(crate) fn warning_lines(status: &ClusterStatus) -> Vec<(&'static str, Cell)> {
    status.warnings.iter().map(|warning| ("warning", Cell::toned(warning.as_str(), Tone::Notable))).collect()
}

fn named(member: u32, names: &Names) -> String {
    names.get(&member).cloned().unwrap_or_else(|| member.to_string())
}

fn shard_fields(fields: Fields, shard: &ShardOwner) -> Document {
    fields
        .number("shard", shard.shard)
        .number("epoch", shard.epoch)
        .number("owner", shard.owner)
        .number("wished", shard.wished)
        .text("kind", &shard.kind)
        .text("state", &shard.state)
        .done()
}

/// Of the shards that are wanted.
pub(crate) fn shard_rows(ring: &GetHashringResponse, names: &Names, wanted: impl Fn(&ShardOwner) -> bool) -> Vec<Row> {
    let rows = ring.pools.iter().flat_map(|pool| pool.shards.iter().map(move |shard| (pool, shard)));
    rows.filter(|(_, shard)| wanted(shard)).map(|(pool, shard)| shard_row(pool, shard, names)).collect()
}

fn shard_row(pool: &PoolShards, shard: &ShardOwner, names: &Names) -> Row {
    let moving = if shard.owner == shard.wished { Tone::Plain } else { Tone::Notable };
    let state = if shard.state == "held" { Tone::Good } else { Tone::Notable };
    let cells = vec![
        pool.pool_id.as_str().into(),
        shard.shard.to_string().into(),
        named(shard.owner, names).into(),
        Cell::toned(named(shard.wished, names), moving),
        shard.epoch.to_string().into(),
        shard.kind.as_str().into(),
        Cell::toned(shard.state.as_str(), state),
    ];
    Row { cells, document: shard_fields(Fields::default().text("pool_id", &pool.pool_id), shard) }
}

pub(crate) fn hashring_document(ring: &GetHashringResponse) -> Document {
    let point = |point: &nexus_proto::v1::RingPoint| {
        Fields::default().text("at", &format!("{:016x}", point.at)).number("member", point.member).done()
    };
    let pool = |pool: &PoolShards| {
        let shards = pool.shards.iter().map(|shard| shard_fields(Fields::default(), shard)).collect();
        let fields = Fields::default().text("pool_id", &pool.pool_id).text("tenant", &pool.tenant);
        fields.number("pool", pool.pool).put("shards", Document::List(shards)).done()
    };
    Fields::default()
        .number("virtual_nodes", ring.virtual_nodes)
        .put("points", Document::List(ring.points.iter().map(point).collect()))
        .put("pools", Document::List(ring.pools.iter().map(pool).collect()))
        .done()
}

/// A row a member: how much of the ring it has, and of the shards.
pub(crate) fn ring_rows(ring: &GetHashringResponse, names: &Names) -> Vec<Row> {
    let mut counts: BTreeMap<u32, [u64; 3]> = names.keys().map(|member| (*member, [0; 3])).collect();
    let mut count = |member: u32, add: [u64; 3]| {
        let [points, owns, wished] = counts.entry(member).or_default();
        let [more_points, more_owns, more_wished] = add;
        *points += more_points;
        *owns += more_owns;
        *wished += more_wished;
    };
    ring.points.iter().for_each(|point| count(point.member, [1, 0, 0]));
    for shard in ring.pools.iter().flat_map(|pool| &pool.shards) {
        count(shard.owner, [0, 1, 0]);
        count(shard.wished, [0, 0, 1]);
    }
    let row = |(member, [points, owns, wished]): (u32, [u64; 3])| {
        let node = names.get(&member).map_or("", String::as_str);
        let numbers = [points, owns, wished].map(|number| Cell::from(number.to_string()));
        let document = Fields::default().number("member", member).text("node_id", node);
        let document = document.number("points", points).number("owns", owns).number("wished", wished).done();
        let cells = [member.to_string().into(), node.into()].into_iter().chain(numbers).collect();
        Row { cells, document }
    };
    counts.into_iter().map(row).collect()
}
