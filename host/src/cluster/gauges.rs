//! What the network between the hosts counted, as metrics.

use net::Net;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts};

/// `nexus_net_events_total`.
#[derive(Debug)]
pub(super) struct NetCounters {
    net: Net,
    described: Vec<Desc>,
}

fn events() -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(
        Opts::new("nexus_net_events_total", "what happened on the network between the hosts"),
        &["event"],
    )
}

impl NetCounters {
    pub(super) fn new(net: Net) -> prometheus::Result<Self> {
        Ok(Self { net, described: events()?.desc().into_iter().cloned().collect() })
    }
}

impl Collector for NetCounters {
    fn desc(&self) -> Vec<&Desc> {
        self.described.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let events = events().expect("the same name and label were accepted at start");
        for (event, times) in self.net.stats().named() {
            events.with_label_values(&[event]).inc_by(times);
        }
        events.collect()
    }
}
