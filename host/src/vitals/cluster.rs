//! Who is there, who owns what, and how the ledger is, read from the cluster when somebody asks.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::cluster::{Cluster, ClusterStatus, HashringStatus, MemberStatus};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};

use super::{descriptions, families};

/// `nexus_nodes_total`, `nexus_cluster_*`, `nexus_clset_peers_total`, `nexus_hashring_*` and `nexus_ledger_*`.
#[derive(Debug)]
pub(crate) struct ClusterGauges {
    cluster: Arc<dyn Cluster>,
    shared: bool,
    described: Vec<Desc>,
}

struct Gauges {
    nodes: IntGaugeVec,
    peers: IntGauge,
    hearing: IntGauge,
    behind: IntGaugeVec,
    warnings: IntGauge,
    pools: IntGaugeVec,
    shards: IntGaugeVec,
    leader: IntGauge,
    majority: IntGauge,
    term: IntGauge,
    committed: IntGauge,
    applied: IntGauge,
}

impl Gauges {
    fn new() -> prometheus::Result<Self> {
        let one = IntGauge::new::<&str, &str>;
        let by = |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        Ok(Self {
            nodes: by(
                "nexus_nodes_total",
                "members by role and state: deposed, unreachable, draining, or up",
                &["role", "state"],
            )?,
            peers: one("nexus_cluster_peers_total", "other members that are connected")?,
            hearing: one(
                "nexus_clset_peers_total",
                "other members that said how far they know this host's operations",
            )?,
            behind: by("nexus_clset_behind", "operations of a member that are not known here yet", &["member"])?,
            warnings: one("nexus_cluster_warnings", "what cluster status warns of")?,
            pools: by("nexus_hashring_pools", "pools of which a member owns shards", &["owner"])?,
            shards: by("nexus_hashring_shards", "shards by owner, kind and state", &["owner", "kind", "state"])?,
            leader: one("nexus_ledger_leader", "the leader's member number; 0: none is known")?,
            majority: one("nexus_ledger_majority", "1 while a majority of the voters is reached from here")?,
            term: one("nexus_ledger_term", "the ledger's term")?,
            committed: one("nexus_ledger_committed", "the last entry known to be decided")?,
            applied: one("nexus_ledger_applied", "the last entry in effect here")?,
        })
    }

    /// Those that say something of a host that is alone, or of all if it is not.
    fn collectors(self, shared: bool) -> Vec<Box<dyn Collector>> {
        let Self { nodes, peers, hearing, behind, warnings, pools, shards, leader, majority, term, committed, applied } =
            self;
        let mut one = vec![warnings];
        let mut by = vec![nodes, pools, shards];
        if shared {
            one.extend([peers, hearing, leader, majority, term, committed, applied]);
            by.push(behind);
        }
        let one = one.into_iter().map(|gauge| Box::new(gauge) as Box<dyn Collector>);
        one.chain(by.into_iter().map(|gauge| Box::new(gauge) as Box<dyn Collector>)).collect()
    }

    fn read(&self, status: &ClusterStatus, ring: &HashringStatus) {
        for member in &status.members {
            self.nodes.with_label_values(&[member.role.as_str(), state(member)]).inc();
            if let Some(behind) = member.behind {
                self.behind.with_label_values(&[&member.node]).set(gauge(behind));
            }
        }
        let others = || status.members.iter().filter(|member| Some(member.member) != status.member);
        self.peers.set(count(others().filter(|member| member.reachable)));
        self.hearing.set(count(others().filter(|member| member.behind.is_some())));
        self.warnings.set(count(status.warnings.iter()));
        let name = |id| {
            let member = status.members.iter().find(|member| member.member == id);
            member.map_or_else(|| id.0.to_string(), |member| member.node.clone())
        };
        for pool in &ring.pools {
            let owners: BTreeSet<_> = pool.shards.iter().map(|shard| shard.owner).collect();
            for owner in owners {
                self.pools.with_label_values(&[&name(owner)]).inc();
            }
            for shard in &pool.shards {
                self.shards.with_label_values(&[&name(shard.owner), &shard.kind, &shard.state]).inc();
            }
        }
        if let Some(ledger) = &status.ledger {
            self.leader.set(ledger.leader.map_or(0, |leader| i64::from(leader.0)));
            self.majority.set(i64::from(ledger.majority));
            self.term.set(gauge(ledger.term));
            self.committed.set(gauge(ledger.committed));
            self.applied.set(gauge(ledger.applied));
        }
    }
}

const fn state(member: &MemberStatus) -> &'static str {
    match member {
        MemberStatus { deposed: true, .. } => "deposed",
        MemberStatus { reachable: false, .. } => "unreachable",
        MemberStatus { draining: true, .. } => "draining",
        MemberStatus { .. } => "up",
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count(found: impl Iterator) -> i64 {
    i64::try_from(found.count()).unwrap_or(i64::MAX)
}

impl ClusterGauges {
    /// `shared`: the host has others beside it, or waits for them.
    pub(crate) fn new(cluster: Arc<dyn Cluster>, shared: bool) -> prometheus::Result<Self> {
        let described = descriptions(&Gauges::new()?.collectors(shared)).into_iter().cloned().collect();
        Ok(Self { cluster, shared, described })
    }
}

impl Collector for ClusterGauges {
    fn desc(&self) -> Vec<&Desc> {
        self.described.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let gauges = Gauges::new().expect("the same names and labels were accepted at start");
        gauges.read(&self.cluster.status(), &self.cluster.hashring());
        families(&gauges.collectors(self.shared))
    }
}
