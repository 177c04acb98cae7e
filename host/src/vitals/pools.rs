//! How full pools are, read from the view when somebody asks: no work on the hot path.

use std::sync::Arc;

use kernel::Occupancy;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounter, IntGauge, IntGaugeVec, Opts};
use view::View;

use super::{Vitals, descriptions, families};
use crate::restored::Restored;

/// OLT-BNGs named in labels; the rest are counted together as `other`.
const NODE_LABELS: usize = 1_000;

/// `nexus_pool_*`, `nexus_node_subscribers`, `nexus_clset_entries_total`, `nexus_clset_gets_total`, `nexus_clset_conflicts_open`,
/// `nexus_store_damaged_pools` and `nexus_quarantined_pools`.
#[derive(Debug)]
pub(crate) struct PoolGauges {
    view: Arc<View>,
    vitals: Arc<Vitals>,
    restored: Arc<Restored>,
    described: Vec<Desc>,
}

struct Gauges {
    total: GaugeVec,
    allocated: GaugeVec,
    available: GaugeVec,
    utilization: GaugeVec,
    subscribers: IntGaugeVec,
    entries: IntGauge,
    gets: IntCounter,
    damaged: IntGauge,
    quarantined: IntGauge,
    conflicts: IntGauge,
}

impl Gauges {
    fn new() -> prometheus::Result<Self> {
        let of_pool = |name: &str, help: &str| GaugeVec::new(Opts::new(name, help), &["tenant", "pool_id", "type"]);
        Ok(Self {
            total: of_pool("nexus_pool_total", "grains in the pool, over all realms in use")?,
            allocated: of_pool("nexus_pool_allocated", "grains held")?,
            available: of_pool("nexus_pool_available", "grains free")?,
            utilization: of_pool("nexus_pool_utilization_ratio", "held over what can be handed out, 0 to 1")?,
            subscribers: IntGaugeVec::new(
                Opts::new("nexus_node_subscribers", "live allocations by OLT-BNG; beyond 1,000 of them `other`"),
                &["olt_id"],
            )?,
            entries: IntGauge::new("nexus_clset_entries_total", "live allocations")?,
            gets: IntCounter::new("nexus_clset_gets_total", "look-ups in this host's copy")?,
            damaged: IntGauge::new(
                "nexus_store_damaged_pools",
                "pools with damaged records; nothing is handed out of them",
            )?,
            quarantined: IntGauge::new(
                "nexus_quarantined_pools",
                "pools that were restored from a backup; nothing new is handed out of them",
            )?,
            conflicts: IntGauge::new(
                "nexus_clset_conflicts_open",
                "allocations that another one of their subscriber stands in place of, and contradictions nobody looked after",
            )?,
        })
    }

    fn collectors(self) -> Vec<Box<dyn Collector>> {
        let Self {
            total,
            allocated,
            available,
            utilization,
            subscribers,
            entries,
            gets,
            damaged,
            quarantined,
            conflicts,
        } = self;
        vec![
            Box::new(total),
            Box::new(allocated),
            Box::new(available),
            Box::new(utilization),
            Box::new(subscribers),
            Box::new(entries),
            Box::new(gets),
            Box::new(damaged),
            Box::new(quarantined),
            Box::new(conflicts),
        ]
    }
}

impl PoolGauges {
    /// Over this view.
    pub(crate) fn new(view: Arc<View>, vitals: Arc<Vitals>, restored: Arc<Restored>) -> prometheus::Result<Self> {
        let described = descriptions(&Gauges::new()?.collectors()).into_iter().cloned().collect();
        Ok(Self { view, vitals, restored, described })
    }

    fn read(&self, gauges: &Gauges) {
        let mut entries = 0;
        for pool in self.view.pools(None) {
            // Tenants may name their pools alike.
            let labels = [pool.draft.tenant.as_str(), pool.draft.id.as_str(), pool.draft.type_id.as_str()];
            let sum = sum(self.view.occupancy(pool.uid).into_iter().map(|(_, occupancy)| occupancy));
            entries += sum.allocations;
            gauges.total.with_label_values(&labels).set(float(sum.total));
            gauges.allocated.with_label_values(&labels).set(float(sum.held));
            gauges.available.with_label_values(&labels).set(float(sum.free));
            let usable = sum.total - sum.excluded;
            let ratio = if usable == 0 { 0.0 } else { float(sum.held) / float(usable) };
            gauges.utilization.with_label_values(&labels).set(ratio);
        }
        let damaged = self.vitals.damaged_pools(&self.view).len();
        gauges.damaged.set(i64::try_from(damaged).unwrap_or(i64::MAX));
        let quarantined = self.restored.pools().len();
        gauges.quarantined.set(i64::try_from(quarantined).unwrap_or(i64::MAX));
        gauges.conflicts.set(i64::try_from(self.view.open_conflicts_count()).unwrap_or(i64::MAX));
        gauges.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        gauges.gets.inc_by(self.view.gets());
        for (at, (node, count)) in self.view.nodes().into_iter().enumerate() {
            let label = if at < NODE_LABELS { node.as_str() } else { "other" };
            gauges.subscribers.with_label_values(&[label]).add(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl Collector for PoolGauges {
    fn desc(&self) -> Vec<&Desc> {
        self.described.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let gauges = Gauges::new().expect("the same names and labels were accepted at start");
        self.read(&gauges);
        families(&gauges.collectors())
    }
}

fn sum(each: impl Iterator<Item = Occupancy>) -> Occupancy {
    each.fold(Occupancy::default(), |sum, one| Occupancy {
        allocations: sum.allocations + one.allocations,
        total: sum.total + one.total,
        held: sum.held + one.held,
        free: sum.free + one.free,
        resting: sum.resting + one.resting,
        reserved: sum.reserved + one.reserved,
        excluded: sum.excluded + one.excluded,
    })
}

/// A gauge is a float by its format; beyond 2^53 it is an approximation, and the API has the exact figure.
#[allow(clippy::cast_precision_loss, reason = "gauges are floats")]
fn float(count: u128) -> f64 {
    count as f64
}
