//! How the daemon is: why it is not ready, what an operator should look at, and the metrics of engine and store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::ports::{PluginState, Readiness, ResourceTypes};
use kernel::Durability;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, exponential_buckets};
use view::View;

use crate::driver::Damaged;
use crate::restored::Restored;

mod cluster;
mod pools;

pub(crate) use cluster::ClusterGauges;
pub(crate) use pools::PoolGauges;

/// What a host that is no member any more has to say.
pub(crate) const WAITS: &str =
    "this host waits to join a cluster: nexus cluster init on one host forms it, nexus cluster join adds this one";

pub(crate) const REMOVED: &str = "this host is no member of its cluster any more: stop it, delete its data directory, and join it anew if it is wanted";

/// Seen by readiness, metrics and the log alike. One per daemon.
pub(crate) struct Vitals {
    serving: AtomicBool,
    storage_failed: AtomicBool,
    disk_low: AtomicBool,
    /// It has peers, and is no member yet.
    waiting: AtomicBool,
    /// It has joined and not heard yet what the others knew then.
    arriving: AtomicBool,
    /// The ledger does not list it any more.
    removed: AtomicBool,
    /// Milliseconds the clocks are apart; 0: they agree.
    clocks_apart_ms: AtomicU64,
    damaged: Mutex<Damaged>,
    flush_seconds: Histogram,
    group_size: Histogram,
    puts: IntCounter,
    heard: IntCounter,
    repeats: IntCounter,
    sync_seconds: Histogram,
    conflicts: IntCounter,
    answers_peer: IntCounter,
    answers_local: IntCounter,
    /// The last answer that waited for another host waited in vain.
    unacknowledged: AtomicBool,
    /// How often the kernel was made again.
    rebuilds: AtomicU64,
    /// How much of the cluster's state is taken over, per cent and one more; 0: it is not being taken over.
    taken_over: AtomicU64,
    note_conflicts: IntCounter,
    digest_mismatches: IntCounter,
    /// Why pools are not read as recorded.
    misreads: Mutex<Vec<String>>,
    misread_pools: IntGauge,
    disk_free: IntGauge,
    clock_gauge: IntGauge,
}

impl fmt::Debug for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vitals").finish_non_exhaustive()
    }
}

impl Vitals {
    /// Makes the metrics and registers them: those that only several hosts have, if this one is `shared`.
    pub(crate) fn new(registry: &Registry, shared: bool) -> prometheus::Result<Self> {
        // What is counted between hosts is kept by a host that is alone, too, and shown to nobody.
        let among = if shared { registry.clone() } else { Registry::new() };
        let note_conflicts =
            counter(&among, "nexus_note_conflicts_total", "notes that two hosts wrote at the same time")?;
        let digest_mismatches = counter(
            &among,
            "nexus_clset_digest_mismatch_total",
            "comparisons with hosts that heard the same and know something else",
        )?;
        Ok(Self {
            serving: AtomicBool::new(false),
            storage_failed: AtomicBool::new(false),
            disk_low: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            arriving: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            clocks_apart_ms: AtomicU64::new(0),
            damaged: Mutex::default(),
            flush_seconds: histogram(
                registry,
                "nexus_store_flush_duration_seconds",
                "from a group's first byte to its sync",
                exponential_buckets(0.000_05, 2.0, 16)?,
            )?,
            group_size: histogram(
                registry,
                "nexus_store_group_size",
                "operations in a group",
                exponential_buckets(1.0, 2.0, 13)?,
            )?,
            puts: counter(registry, "nexus_clset_puts_total", "operations made durable")?,
            heard: counter(&among, "nexus_clset_heard_total", "operations of other hosts taken in")?,
            repeats: counter(&among, "nexus_clset_repeats_total", "batches of other hosts that said nothing new")?,
            sync_seconds: histogram(
                &among,
                "nexus_clset_sync_duration_seconds",
                "from asking a peer for what is missing until nothing more can be taken in from it",
                exponential_buckets(0.000_5, 2.0, 16)?,
            )?,
            conflicts: counter(
                &among,
                "nexus_clset_conflicts_total",
                "facts of other hosts that contradict known ones",
            )?,
            note_conflicts,
            answers_peer: waited(&among, "peer")?,
            answers_local: waited(&among, "local")?,
            unacknowledged: AtomicBool::new(false),
            rebuilds: AtomicU64::new(0),
            taken_over: AtomicU64::new(0),
            digest_mismatches,
            misreads: Mutex::default(),
            misread_pools: gauge(
                registry,
                "nexus_misread_pools",
                "pools that this host's plugins do not read as recorded",
            )?,
            disk_free: gauge(registry, "nexus_store_free_bytes", "free bytes on the data directory's disk")?,
            clock_gauge: gauge(
                registry,
                "nexus_clock_suspect",
                "1 while boot and wall clock disagree and leases do not expire",
            )?,
        })
    }

    /// A group of so many operations took so long to become durable.
    pub(crate) fn flushed(&self, took: Duration, operations: usize) {
        self.flush_seconds.observe(took.as_secs_f64());
        let operations = u32::try_from(operations).unwrap_or(u32::MAX);
        self.group_size.observe(f64::from(operations));
        self.puts.inc_by(u64::from(operations));
    }

    /// So many operations of another host were taken in.
    pub(crate) fn heard(&self, operations: usize) {
        self.heard.inc_by(u64::try_from(operations).unwrap_or(u64::MAX));
    }

    /// A batch said nothing that was not known.
    pub(crate) fn heard_again(&self) {
        self.repeats.inc();
    }

    /// All that a peer had was taken in.
    pub(crate) fn synced(&self, took: Duration) {
        self.sync_seconds.observe(took.as_secs_f64());
    }

    /// The host waits to be joined to a cluster (`true`), or is a member of one.
    pub(crate) fn waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::Release);
    }

    /// The host has joined, and does not know yet what the others knew then (`true`), or it does.
    pub(crate) fn arrives(&self, arrives: bool) {
        self.arriving.store(arrives, Ordering::Release);
    }

    /// Whether the ledger has lost this host from its list.
    pub(crate) fn removed(&self, removed: bool) {
        self.removed.store(removed, Ordering::Release);
    }

    /// The kernel was made again from the disk: it knows nothing of the cluster.
    pub(crate) fn rebuilt(&self) {
        self.rebuilds.fetch_add(1, Ordering::AcqRel);
    }

    /// How often that happened.
    pub(crate) fn rebuilds(&self) -> u64 {
        self.rebuilds.load(Ordering::Acquire)
    }

    /// What the kernel was told of the cluster must be told again.
    pub(crate) fn tell_again(&self) {
        self.rebuilt();
    }

    /// This host takes over the state of the cluster and has so many per cent of it; `None`: it has all of it.
    pub(crate) fn takes_over(&self, percent: Option<u64>) {
        self.taken_over.store(percent.map_or(0, |percent| percent.saturating_add(1)), Ordering::Release);
    }

    /// How many per cent are taken over; `None`: this host does not take over anything.
    pub(crate) fn percent_taken_over(&self) -> Option<u64> {
        self.taken_over.load(Ordering::Acquire).checked_sub(1)
    }

    /// This host lacks what the others know: it has just come, or takes it over.
    pub(crate) fn lacks_state(&self) -> bool {
        self.arriving.load(Ordering::Acquire) || self.percent_taken_over().is_some()
    }

    /// A host that heard the same knows something else.
    pub(crate) fn digest_differs(&self) {
        self.digest_mismatches.inc();
    }

    /// So many pools are not read as recorded by this host's plugins; why, of those that are not told of already.
    pub(crate) fn misreads(&self, pools: usize, reasons: Vec<String>) {
        self.misread_pools.set(i64::try_from(pools).unwrap_or(i64::MAX));
        *self.misreads.lock().unwrap_or_else(PoisonError::into_inner) = reasons;
    }

    /// Two hosts wrote one note and neither knew of the other.
    pub(crate) fn note_conflict(&self) {
        self.note_conflicts.inc();
    }

    /// Another host's facts contradict what is known.
    pub(crate) fn conflict(&self) {
        self.conflicts.inc();
    }

    /// So many answers waited for another host, and this was reached. The edge is logged once each way.
    pub(crate) fn acknowledged(&self, reached: Durability, answers: usize) {
        let answers = u64::try_from(answers).unwrap_or(u64::MAX);
        let in_vain = reached == Durability::Local;
        if in_vain { &self.answers_local } else { &self.answers_peer }.inc_by(answers);
        if self.unacknowledged.swap(in_vain, Ordering::AcqRel) != in_vain {
            if in_vain {
                tracing::warn!("no other host has what is answered in time: answers are on this host's disk only");
            } else {
                tracing::info!("another host has what is answered, before it is answered");
            }
        }
    }

    /// Free disk as last seen. The edge is logged once each way.
    pub(crate) fn disk(&self, free_bytes: u64, min_bytes: u64) {
        self.disk_free.set(i64::try_from(free_bytes).unwrap_or(i64::MAX));
        let low = free_bytes < min_bytes;
        if self.disk_low.swap(low, Ordering::AcqRel) != low {
            if low {
                tracing::warn!(free_bytes, min_bytes, "disk is low: allocations are refused");
            } else {
                tracing::info!(free_bytes, min_bytes, "disk has space again: allocations go on");
            }
        }
    }

    /// Whether nothing new is written for want of space.
    pub(crate) fn is_full(&self) -> bool {
        self.disk_low.load(Ordering::Acquire) || self.storage_failed.load(Ordering::Acquire)
    }

    /// A group could not be written for want of space, or all is well again.
    pub(crate) fn storage_failed(&self, failed: bool) {
        self.storage_failed.store(failed, Ordering::Release);
    }

    /// How far the clocks are apart; `None`: they agree.
    pub(crate) fn clock_suspect(&self, apart_ms: Option<u64>) {
        // A distance of 0 (the wall clock is behind the log) is still a suspicion.
        self.clocks_apart_ms.store(apart_ms.map_or(0, |apart| apart.max(1)), Ordering::Release);
        self.clock_gauge.set(i64::from(apart_ms.is_some()));
    }

    /// Whether the clocks disagree, so that no lease ends.
    pub(crate) fn suspects_clock(&self) -> bool {
        self.clocks_apart_ms.load(Ordering::Acquire) > 0
    }

    /// What does not read back.
    pub(crate) fn damaged(&self, damaged: Damaged) {
        *self.damaged.lock().unwrap_or_else(PoisonError::into_inner) = damaged;
    }

    /// Pools by name that nothing is handed out from, and why: of those that are there now.
    fn damaged_pools(&self, view: &View) -> BTreeMap<String, String> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).named(view)
    }

    /// Why nobody knows which space is taken.
    fn lost_pool(&self) -> Option<String> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.why_no_space().map(str::to_owned)
    }

    /// Everything is recovered and bound (`true`), or the daemon drains (`false`).
    pub(crate) fn serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }
}

/// What `/ready` says.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) types: Arc<dyn ResourceTypes>,
    pub(crate) view: Arc<View>,
    pub(crate) restored: Arc<Restored>,
}

impl Readiness for Ready {
    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let vitals = &self.vitals;
        if !vitals.serving.load(Ordering::Acquire) {
            reasons.push("the daemon is starting or stopping".to_owned());
        }
        if let Some(percent) = vitals.percent_taken_over() {
            reasons.push(format!("takes over the state of the cluster: {percent} %"));
        }
        if vitals.storage_failed.load(Ordering::Acquire) {
            reasons.push("the disk is full: a group could not be written".to_owned());
        }
        if vitals.disk_low.load(Ordering::Acquire) {
            reasons.push("free disk is below storage.min_free: allocations are refused".to_owned());
        }
        if vitals.waiting.load(Ordering::Acquire) {
            reasons.push(
                "the host waits: nexus cluster init forms a cluster, nexus cluster join adds it to one".to_owned(),
            );
        }
        if vitals.arriving.load(Ordering::Acquire) {
            reasons.push("the host has joined and has not heard yet all that the others knew then".to_owned());
        }
        if vitals.removed.load(Ordering::Acquire) {
            reasons.push(REMOVED.to_owned());
        }
        let listed = self.types.list();
        for pool in self.view.pools(None) {
            let type_id = pool.draft.type_id.as_str();
            let can_serve = |state| matches!(state, PluginState::Active | PluginState::Suspended);
            let serves = listed.iter().any(|plugin| plugin.type_id == type_id && can_serve(plugin.state));
            if !serves {
                reasons.push(format!("no plugin serves type {type_id} of pool {}", pool.draft.id));
            }
        }
        reasons.extend(vitals.misreads.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        reasons
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        match self.vitals.clocks_apart_ms.load(Ordering::Acquire) {
            0 => {}
            apart_ms => warnings.push(format!("boot and wall clock are {apart_ms} ms apart: leases do not expire")),
        }
        let damaged = self.vitals.damaged_pools(&self.view).into_iter();
        warnings
            .extend(damaged.map(|(pool, why)| format!("pool {pool} is damaged on disk, nothing is handed out: {why}")));
        // A pool whose record is gone has no name to be listed under, and may be the only one.
        if let Some(why) = self.vitals.lost_pool() {
            warnings.push(format!("damage on disk may hide a pool, none is made or enlarged: {why}"));
        }
        warnings.extend(self.restored.warnings());
        for plugin in self.types.list() {
            match plugin.state {
                PluginState::Active | PluginState::Retired => {}
                PluginState::Suspended => {
                    warnings.push(format!("plugin {} is suspended: {}", plugin.type_id, plugin.why));
                }
                PluginState::Refused => {
                    warnings.push(format!("plugin file {} is refused: {}", plugin.source, plugin.why));
                }
            }
        }
        warnings
    }
}

/// Anything that makes its families when they are asked for.
fn families(metrics: &[Box<dyn Collector>]) -> Vec<MetricFamily> {
    metrics.iter().flat_map(|metric| metric.collect()).collect()
}

fn descriptions(metrics: &[Box<dyn Collector>]) -> Vec<&Desc> {
    metrics.iter().flat_map(|metric| metric.desc()).collect()
}

fn histogram(of: &Registry, name: &str, help: &str, buckets: Vec<f64>) -> prometheus::Result<Histogram> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
    of.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

fn gauge(of: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::with_opts(Opts::new(name, help))?;
    of.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counter(of: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    of.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// Answers by what was reached.
fn waited(of: &Registry, reached: &str) -> prometheus::Result<IntCounter> {
    let opts = Opts::new("nexus_answers_acknowledged_total", "answers that waited for another host's disk");
    let counter = IntCounter::with_opts(opts.const_label("reached", reached))?;
    of.register(Box::new(counter.clone()))?;
    Ok(counter)
}
