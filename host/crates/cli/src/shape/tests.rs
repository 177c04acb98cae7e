use nexus_proto::v1::watch_allocations_response::Event;
use nexus_proto::v1::{
    Allocation, AllocationType, EndCause, Fence, Grains, LeaseTerms, PastAllocation, Pool, PoolDefinition, PoolStats,
    RealmStats, WatchAllocationsResponse, WatchGap,
};
use prost_types::Duration;

use super::*;
use crate::table::Cell;

fn minutes(count: i64) -> Duration {
    Duration { seconds: count * 60, nanos: 0 }
}

fn pool() -> Pool {
    Pool {
        definition: Some(PoolDefinition {
            id: "isp-east".to_owned(),
            r#type: "ipv4".to_owned(),
            spec: r#"{"cidr":"100.64.0.0/10"}"#.to_owned(),
            realm: "default".to_owned(),
            strategy: "next-free".to_owned(),
            lease: Some(LeaseTerms { default: Some(minutes(90)), min: Some(minutes(1)), max: Some(minutes(1440)) }),
            hold_down: Some(minutes(1)),
            realm_by: vec!["olt_id".to_owned()],
            metadata: r#"{"site":"east"}"#.to_owned(),
            ..PoolDefinition::default()
        }),
        tenant: "default".to_owned(),
        revision: 2,
        cidr: "100.64.0.0/10".to_owned(),
        prefix: 32,
        gateway: "100.64.0.1".to_owned(),
        shards: 1024,
        ..Pool::default()
    }
}

fn allocation() -> Allocation {
    let mut allocation = Allocation {
        pool_id: "isp-east".to_owned(),
        subscriber_id: "02:00:00:00:00:07".to_owned(),
        r#type: "ipv4".to_owned(),
        resource: "100.64.0.2".to_owned(),
        realm: "default".to_owned(),
        expires_at: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        ttl: Some(minutes(90)),
        fence: Some(Fence { pool: 1, shard: 7, epoch: 1 }),
        version: 12,
        attributes: vec![Attribute { key: "gateway".to_owned(), value: "100.64.0.1".to_owned() }],
        ..Allocation::default()
    };
    allocation.set_alloc_type(AllocationType::Session);
    allocation
}

fn texts(cells: &[Cell]) -> Vec<&str> {
    cells.iter().map(|cell| cell.text.as_str()).collect()
}

#[test]
fn a_pool_reads_as_the_file_that_makes_it() {
    let expected = "\
id: isp-east
type: ipv4
spec:
  cidr: 100.64.0.0/10
realm: default
realm_by:
  - olt_id
strategy: next-free
lease:
  default: \"1h30m\"
  min: \"1m\"
  max: \"1d\"
hold_down: \"1m\"
metadata:
  site: east
tenant: default
revision: 2
shards: 1024
";
    let document = pool_document(&pool()).to_yaml();
    assert_eq!(document.replace('"', ""), expected.replace('"', ""));
    let read = crate::pool_file::read(&document).unwrap();
    assert_eq!(read[0].document, pool_document(&pool()));
}

#[test]
fn what_answers_wait_for_is_in_the_document_if_it_was_chosen() {
    let mut chosen = pool();
    assert_eq!(pool_document(&chosen).field("ack"), None);
    chosen.definition.as_mut().unwrap().set_ack(nexus_proto::v1::Durability::Peer);
    assert_eq!(pool_document(&chosen).field("ack").and_then(Document::as_text), Some("peer"));
}

#[test]
fn a_pool_without_lease_says_none() {
    let mut bare = pool();
    bare.definition.as_mut().unwrap().lease = None;
    let document = pool_document(&bare);
    assert_eq!(document.field("lease").and_then(Document::as_text), Some("none"));
}

#[test]
fn a_pool_in_a_row_says_what_it_holds() {
    let row = pool_row(&pool());
    let expected = ["isp-east", "ipv4", "default/<olt_id>", "100.64.0.0/10 by /32", "1h30m", "1m", "next-free", "2"];
    assert_eq!(texts(&row.cells), expected);
    let mut vlan = pool();
    vlan.cidr.clear();
    vlan.definition.as_mut().unwrap().spec = r#"{"range":"100-4000"}"#.to_owned();
    assert_eq!(pool_row(&vlan).cells[3].text, "100-4000");
    vlan.definition.as_mut().unwrap().spec = "not json".to_owned();
    assert_eq!(pool_row(&vlan).cells[3].text, "not json");
}

#[test]
fn an_allocation_shows_who_holds_what_until_when() {
    let row = allocation_row(&allocation());
    let expected =
        ["isp-east", "100.64.0.2", "02:00:00:00:00:07", "", "default", "", "session", "2027-01-15T08:00:00Z", ""];
    assert_eq!(texts(&row.cells), expected);
    let json = row.document.to_json();
    assert!(json.contains(r#""ttl":5400"#) && json.contains(r#""fence":{"pool":1,"shard":7,"epoch":1}"#), "{json}");
    let permanent = Allocation { expires_at: None, ..allocation() };
    assert_eq!(allocation_row(&permanent).cells[7].text, "never");
}

#[test]
fn stats_have_a_line_a_realm_and_one_for_all() {
    let grains = |count| Some(Grains { count, exact: String::new() });
    let occupancy =
        Occupancy { allocations: 9, total: grains(10), held: grains(9), free: grains(1), ..Occupancy::default() };
    let realms = vec![RealmStats { realm: "default/olt-1".to_owned(), occupancy: Some(occupancy.clone()) }];
    let each = Occupancy { total: grains(10), free: grains(10), ..Occupancy::default() };
    let stats = PoolStats {
        pool_id: "cvlan".to_owned(),
        r#type: "vlan".to_owned(),
        occupancy: Some(occupancy),
        utilization: 0.9,
        realms,
        per_realm: Some(each),
        ..PoolStats::default()
    };
    let rows = stats_rows(&stats);
    assert_eq!(texts(&rows[0]), ["default/olt-1", "9", "10", "9", "1", "0", "0", "0"]);
    assert_eq!(texts(&rows[1]), ["(each further)", "0", "10", "0", "10", "0", "0", "0"]);
    assert_eq!(texts(&rows[2]), ["all (90.0 % used)", "9", "10", "9", "1", "0", "0", "0"]);
    let document = stats_document(&stats);
    assert_eq!(document.field("utilization"), Some(&Document::number("0.900000")));
}

#[test]
fn every_event_has_its_word() {
    let told = |event| {
        let message = WatchAllocationsResponse { resume_token: "t".to_owned(), at: None, event: Some(event) };
        event_row(&message).map(|row| row.cells[1].text.clone()).unwrap_or_default()
    };
    let mut past = PastAllocation { pool_id: "isp-east".to_owned(), ..PastAllocation::default() };
    past.set_cause(EndCause::Expired);
    assert_eq!(told(Event::Allocated(allocation())), "allocated");
    assert_eq!(told(Event::Ended(past)), "ended");
    assert_eq!(told(Event::Pool(pool())), "pool_updated");
    assert_eq!(told(Event::PoolDeleted(pool())), "pool_deleted");
    assert_eq!(told(Event::Gap(WatchGap {})), "gap");
    assert!(event_row(&WatchAllocationsResponse::default()).is_none());
}

mod cluster;
