//! One version of a plugin, loaded: calls from many threads, recovery when an instance fails.
//!
//! A failed instance is thrown away and the call made once more on a new one. If it fails again and was a batch, the batch
//! is split until the request that breaks the guest stands alone, so its neighbours are answered. There is no global lock:
//! a call takes the first free lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use compact_str::CompactString;
use kernel::{Geometry, Plan, Span};
use nexus_plugin_contract as contract;
use parking_lot::{Mutex, MutexGuard};

use crate::digest::Digest;
use crate::error::{PluginError, Problem};
use crate::event::{Listener, PluginEvent};
use crate::fault::{FailureReason, Fault};
use crate::health::Health;
use crate::judge;
use crate::lane::Lane;
use crate::limits::LimitValues;
use crate::metrics::{Function, PluginMetrics};
use crate::status::{Descriptor, Source};
use crate::v1::Component;

/// Most failed guest calls while one batch is split: each may cost a whole deadline.
const MOST_FAULTS: u32 = 16;

static NEXT_SEAT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Where this thread looks for a lane first, so that threads keep to lanes of their own while there are enough.
    static SEAT: usize = NEXT_SEAT.fetch_add(1, Ordering::Relaxed);
}

/// What a guest's answer comes to: a value, an error for the caller, or the guest's fault.
pub(crate) type Judged<T> = Result<Result<T, PluginError>, Fault>;

/// Where a plugin came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) digest: Digest,
    pub(crate) source: Source,
    /// When the file was last changed; for an embedded plugin the beginning of time.
    pub(crate) modified: SystemTime,
}

/// One loaded version.
pub(crate) struct Plugin {
    pub(crate) descriptor: Descriptor,
    pub(crate) origin: Origin,
    pub(crate) since: SystemTime,
    component: Component,
    lanes: Box<[Mutex<Lane>]>,
    health: Health,
    durations: [prometheus::Histogram; 6],
    metrics: PluginMetrics,
    calls: AtomicU64,
    failures: AtomicU64,
    events: Listener,
    /// False while it is still being checked: then its failures are the check's business.
    in_service: AtomicBool,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Descriptor { type_id, version, .. } = &self.descriptor;
        write!(f, "Plugin({type_id} {version} from {})", self.origin.source)
    }
}

impl Plugin {
    pub(crate) fn new(
        component: Component,
        descriptor: Descriptor,
        origin: Origin,
        lanes: usize,
        metrics: &PluginMetrics,
        events: Listener,
    ) -> Self {
        Self {
            durations: metrics.durations(&descriptor.type_id),
            descriptor,
            origin,
            since: SystemTime::now(),
            component,
            lanes: (0..lanes.max(1)).map(|_| Mutex::default()).collect(),
            health: Health::default(),
            metrics: metrics.clone(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            events,
            in_service: AtomicBool::new(false),
        }
    }

    /// From now on it serves, with a clean record.
    pub(crate) fn begin_service(&self) {
        self.health.resume();
        self.in_service.store(true, Ordering::Release);
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Drops every instance; they are made again when needed. For a version that no longer serves.
    pub(crate) fn cool(&self) {
        self.lanes.iter().for_each(|lane| lane.lock().discard());
    }

    /// Reads a spec.
    pub(crate) fn open(&self, spec: &str) -> Result<Geometry, PluginError> {
        self.fits(spec)?;
        self.call(Function::Open, |component, lane| {
            let guest = lane.guest(component)?;
            let pool = match judge::answer(guest.open(spec))? {
                Ok(pool) => pool,
                Err(PluginError::InvalidSpec(problems)) => return Ok(Err(PluginError::InvalidSpec(problems))),
                Err(other) => return Err(Fault::answer(format!("open answers {other}, not invalid-spec"))),
            };
            let layout = guest.layout(pool)?;
            guest.close(pool)?;
            judge::geometry(&layout, component.engine().limits()).map(Ok)
        })
    }

    /// Canonical names, each on its own: one span that breaks the guest does not spoil its neighbours.
    pub(crate) fn render(&self, spec: &Arc<str>, spans: &[Span]) -> Vec<Result<CompactString, PluginError>> {
        let mut names = self.batch(Function::Render, spans, |component, lane, spans| {
            in_pool(component, lane, spec, |guest, pool| {
                let found = judge::answer(guest.render(pool.handle, spans.iter().copied().map(judge::span_out)))?;
                let Ok(found) = found else { return Ok(found.map(|_| Vec::new())) };
                let names = judge::names(spans.len(), &found, component.engine().limits().values())?;
                Ok(Ok(names.into_iter().map(Ok).collect()))
            })
        });
        self.tell_apart(spans, &mut names);
        names
    }

    /// Takes back names that different spans share: nobody could say later which of them is meant.
    fn tell_apart(&self, spans: &[Span], names: &mut [Result<CompactString, PluginError>]) {
        let shared = if names.len() > 1 { judge::namesakes(spans, names) } else { return };
        let Some(first) = shared.first().and_then(|at| spans.get(*at)) else { return };
        let fault = Fault::answer(format!("{} spans share names, the first {first:?}", shared.len()));
        self.count_fault(&fault);
        self.note_failure(Function::Render, &fault);
        let error = self.unavailable(fault.reason, fault.detail);
        for at in shared {
            if let Some(name) = names.get_mut(at) {
                *name = Err(error.clone());
            }
        }
    }

    /// Spans of names, each on its own.
    pub(crate) fn parse(&self, spec: &Arc<str>, names: &[&str]) -> Vec<Result<Span, PluginError>> {
        let most = self.limits().name_bytes;
        let asked: Vec<String> = names.iter().filter(|name| name.len() <= most).map(|&name| name.to_owned()).collect();
        let found = self.batch(Function::Parse, &asked, |component, lane, names| {
            in_pool(component, lane, spec, |guest, pool| {
                let found = guest.parse(pool.handle, names)?;
                judge::count(names.len(), found.len())?;
                let spans = found.into_iter().map(|span| match span {
                    Ok(span) => judge::span_of(&pool.layout, span).map(Ok),
                    Err(said) => judge::error(said).map(Err),
                });
                spans.collect::<Result<Vec<_>, Fault>>().map(Ok)
            })
        });
        let mut found = found.into_iter();
        let too_long = |name: &str| format!("a name of {} bytes, the longest has {most}", name.len());
        names
            .iter()
            .map(|name| {
                if name.len() > most {
                    return Err(PluginError::InvalidName(too_long(name)));
                }
                found.next().expect("a batch has an answer for each item")
            })
            .collect()
    }

    /// What a request's hints ask for.
    pub(crate) fn interpret(
        &self,
        spec: &Arc<str>,
        hints: &[(CompactString, CompactString)],
    ) -> Result<Plan, PluginError> {
        let hints = self.hints(hints)?;
        self.call(Function::Interpret, |component, lane| {
            in_pool(component, lane, spec, |guest, pool| {
                let found = judge::answer(guest.interpret(pool.handle, &hints))?;
                found
                    .map(|plan| judge::plan(&pool.layout, &plan))
                    .map_or_else(|error| Ok(Err(error)), |plan| plan.map(Ok))
            })
        })
    }

    /// Short texts that cover a run of the pool.
    pub(crate) fn summarize(&self, spec: &Arc<str>, run: Span) -> Result<Vec<CompactString>, PluginError> {
        self.call(Function::Summarize, |component, lane| {
            in_pool(component, lane, spec, |guest, pool| {
                match judge::answer(guest.summarize(pool.handle, judge::span_out(run)))? {
                    Ok(texts) => judge::summary(&texts, component.engine().limits().values()).map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            })
        })
    }

    /// Facts true of one allocation, beside the pool's.
    pub(crate) fn attributes(
        &self,
        spec: &Arc<str>,
        span: Span,
    ) -> Result<Vec<(CompactString, CompactString)>, PluginError> {
        self.call(Function::Attributes, |component, lane| {
            in_pool(component, lane, spec, |guest, pool| {
                match judge::answer(guest.attributes(pool.handle, judge::span_out(span)))? {
                    Ok(found) => judge::attributes(&found, component.engine().limits()).map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            })
        })
    }

    fn limits(&self) -> &LimitValues {
        self.component.engine().limits().values()
    }

    /// A spec that may be shown to the guest at all.
    fn fits(&self, spec: &str) -> Result<(), PluginError> {
        let most = self.limits().spec_bytes;
        if spec.len() <= most {
            return Ok(());
        }
        let message = format!("a spec of {} bytes, the longest has {most}", spec.len());
        Err(PluginError::InvalidSpec(vec![Problem { path: String::new(), message }]))
    }

    fn hints(&self, hints: &[(CompactString, CompactString)]) -> Result<Vec<contract::Attribute>, PluginError> {
        let values = self.limits();
        let wrong = |path: String, message: String| PluginError::InvalidHint(Problem { path, message });
        if hints.len() > values.hints {
            return Err(wrong(String::new(), format!("{} hints, the most are {}", hints.len(), values.hints)));
        }
        hints
            .iter()
            .map(|(key, value)| {
                let longest = key.len().max(value.len());
                if longest > values.hint_bytes {
                    let path = format!("/{}", crate::printable::printable(key, values.hint_bytes));
                    return Err(wrong(path, format!("{longest} bytes, the longest has {}", values.hint_bytes)));
                }
                Ok(contract::Attribute::new(key.as_str(), value.as_str()))
            })
            .collect()
    }

    /// One call, made again once if the instance fails.
    fn call<T>(
        &self,
        function: Function,
        mut body: impl FnMut(&Component, &mut Lane) -> Judged<T>,
    ) -> Result<T, PluginError> {
        self.admit()?;
        let answer = match self.attempt(function, &mut body) {
            Ok(answer) => answer,
            Err(first) => {
                self.note_failure(function, &first);
                self.attempt(function, &mut body).map_err(|fault| self.give_up(fault))?
            }
        };
        self.health.answered();
        answer
    }

    /// One call for each `spans_per_call` items; a failing one is made again, then split.
    fn batch<I, T>(
        &self,
        function: Function,
        items: &[I],
        mut body: impl FnMut(&Component, &mut Lane, &[I]) -> Judged<Vec<Result<T, PluginError>>>,
    ) -> Vec<Result<T, PluginError>> {
        let mut out = Vec::with_capacity(items.len());
        for chunk in items.chunks(self.limits().spans_per_call) {
            if let Err(error) = self.admit() {
                out.extend(chunk.iter().map(|_| Err(error.clone())));
                continue;
            }
            let mut faults = 0;
            self.solve(function, chunk, &mut faults, &mut out, &mut body);
            if faults == 0 {
                self.health.answered();
            }
        }
        out
    }

    /// Answers `items`, splitting where the guest fails or refuses them all at once.
    fn solve<I, T>(
        &self,
        function: Function,
        items: &[I],
        faults: &mut u32,
        out: &mut Vec<Result<T, PluginError>>,
        body: &mut impl FnMut(&Component, &mut Lane, &[I]) -> Judged<Vec<Result<T, PluginError>>>,
    ) {
        let alone = items.len() == 1;
        let error = match self.attempt(function, &mut |component, lane| body(component, lane, items)) {
            Ok(Ok(answers)) => return out.extend(answers),
            // A refusal of the pool itself is the same for every part of the batch.
            Ok(Err(error @ PluginError::InvalidSpec(_))) => error,
            Ok(Err(error)) if alone => error,
            Ok(Err(_)) => return self.split(function, items, faults, out, body),
            Err(fault) => {
                *faults += 1;
                if *faults == 1 {
                    self.note_failure(function, &fault);
                    return self.solve(function, items, faults, out, body);
                }
                if !alone && *faults < MOST_FAULTS {
                    return self.split(function, items, faults, out, body);
                }
                self.give_up(fault)
            }
        };
        out.extend(items.iter().map(|_| Err(error.clone())));
    }

    fn split<I, T>(
        &self,
        function: Function,
        items: &[I],
        faults: &mut u32,
        out: &mut Vec<Result<T, PluginError>>,
        body: &mut impl FnMut(&Component, &mut Lane, &[I]) -> Judged<Vec<Result<T, PluginError>>>,
    ) {
        let (left, right) = items.split_at(items.len() / 2);
        self.solve(function, left, faults, out, body);
        self.solve(function, right, faults, out, body);
    }

    /// One try on one lane. After a fault the lane's instance is gone.
    fn attempt<T>(&self, function: Function, body: &mut impl FnMut(&Component, &mut Lane) -> Judged<T>) -> Judged<T> {
        let mut lane = self.lane();
        let started = Instant::now();
        let answer = body(&self.component, &mut lane);
        if answer.is_err() {
            lane.discard();
        }
        drop(lane);
        if let Some(histogram) = self.durations.get(function as usize) {
            histogram.observe(started.elapsed().as_secs_f64());
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Err(fault) = &answer {
            self.count_fault(fault);
        }
        answer
    }

    fn count_fault(&self, fault: &Fault) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.metrics.failures(&self.descriptor.type_id, fault.reason).inc();
    }

    /// The lane of this thread's seat if it is free, else the next free one, else that of the seat when it is free again:
    /// nobody waits longer than the deadlines of the calls before.
    fn lane(&self) -> MutexGuard<'_, Lane> {
        let seat = SEAT.with(|seat| *seat) % self.lanes.len();
        let from_seat = || self.lanes.iter().cycle().skip(seat).take(self.lanes.len());
        let free = from_seat().find_map(Mutex::try_lock);
        free.unwrap_or_else(|| from_seat().next().expect("a plugin has at least one lane").lock())
    }

    fn admit(&self) -> Result<(), PluginError> {
        self.health.admit(Instant::now()).map_err(|not_now| self.unavailable(not_now.reason, not_now.why))
    }

    fn unavailable(&self, reason: FailureReason, why: String) -> PluginError {
        PluginError::Unavailable { type_id: self.descriptor.type_id.clone(), reason, why }
    }

    /// A call failed twice.
    fn give_up(&self, fault: Fault) -> PluginError {
        let error = self.unavailable(fault.reason, fault.detail.clone());
        self.health.rest(Instant::now(), fault);
        error
    }

    /// A call failed for the first time; the second try is part of the same failure.
    fn note_failure(&self, function: Function, fault: &Fault) {
        let plugin = &self.descriptor.type_id;
        tracing::warn!(plugin, %function, %fault, "plugin call failed");
        let suspended = self.health.failed(Instant::now(), fault);
        if let Some(why) = suspended.filter(|_| self.in_service.load(Ordering::Acquire)) {
            tracing::error!(plugin, %why, "plugin is suspended");
            (self.events)(PluginEvent::Suspended { type_id: plugin.clone(), why: why.to_string() });
        }
    }
}

/// Calls a guest with one pool open in it.
fn in_pool<T>(
    component: &Component,
    lane: &mut Lane,
    spec: &Arc<str>,
    body: impl FnOnce(&mut crate::v1::Guest, &crate::lane::OpenPool) -> Judged<T>,
) -> Judged<T> {
    match judge::answer(lane.pool(component, spec))? {
        Ok((guest, pool)) => body(guest, &pool),
        Err(error) => Ok(Err(error)),
    }
}
