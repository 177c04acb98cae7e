//! A BNG beside each host: asks it, and others, all the time, keeps every answer, and follows the rules for clients: what
//! may be asked again is, an answer that is late or of an older term than one seen before is dropped.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nexus_proto::v1::allocation_service_client::AllocationServiceClient;
use nexus_proto::v1::nexus_client::NexusClient;
use nexus_proto::v1::{AllocateRequest, Allocation, LookupRequest, ReleaseRequest, RenewRequest};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::history::{Asked, Fence, Grant, Outcome, Record, boot_ms};
use crate::net::{Lan, address};
use crate::random::Random;
use crate::{GRPC, LEASED, PERMANENT};

/// An answer that took longer is dropped: the hosts' own deadline.
const RESPONSE_DEADLINE_MS: u64 = 5_000;

/// How long a request is waited for.
const PATIENCE: Duration = Duration::from_secs(6);

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(60);

/// Times a request is asked, over all hosts.
const ATTEMPTS: usize = 4;

/// Clients beside each host.
const CLIENTS: usize = 2;

/// A client holds at most so many; more would only make the lists long.
const MOST_HELD: usize = 80;

/// Subscribers that every client asks for.
const SHARED: u64 = 12;

/// What all clients recorded, and the word to stop.
#[derive(Debug, Default)]
pub(crate) struct Load {
    records: Mutex<Vec<Record>>,
    stop: AtomicBool,
}

impl Load {
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.lock().expect("no client panicked").clone()
    }

    /// Answers that clients took at this host since then.
    pub(crate) fn served(&self, host: usize, since_ms: u64) -> usize {
        let records = self.records.lock().expect("no client panicked");
        let served = |record: &&Record| {
            record.host == host && record.start_ms >= since_ms && matches!(record.outcome, Outcome::Granted(_))
        };
        records.iter().rev().take_while(|record| record.end_ms + 60_000 > since_ms).filter(served).count()
    }
}

/// Runs the clients beside a host until they are to stop.
pub(crate) fn run(lan: &Lan, host: usize, hosts: usize, load: &Arc<Load>, seed: u64) {
    lan.inside(host, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut clients = tokio::task::JoinSet::new();
            for number in 0..CLIENTS {
                let seed = seed ^ ((host * CLIENTS + number) as u64) << 32;
                let mut client = Client::new(host, hosts, number, Arc::clone(load), seed);
                clients.spawn(async move { client.run().await });
            }
            while let Some(ended) = clients.join_next().await {
                ended.expect("the client did not panic");
            }
        });
    });
}

struct Client {
    name: String,
    /// The host that it stands beside.
    beside: usize,
    channels: Vec<Channel>,
    random: Random,
    /// The newest epoch of each shard.
    seen: HashMap<(u32, u32), u32>,
    /// By pool and subscriber.
    held: BTreeMap<(&'static str, String), Grant>,
    next: u32,
    load: Arc<Load>,
}

impl Client {
    fn new(beside: usize, hosts: usize, number: usize, load: Arc<Load>, seed: u64) -> Self {
        let channel = |host: usize| {
            // Its own host is there however the cables are.
            let place = if host == beside { "127.0.0.1".to_owned() } else { address(host) };
            Endpoint::from_shared(format!("http://{place}:{GRPC}"))
                .expect("an address")
                .connect_timeout(Duration::from_secs(1))
                .http2_keep_alive_interval(Duration::from_secs(1))
                .keep_alive_timeout(Duration::from_secs(2))
                .connect_lazy()
        };
        Self {
            name: format!("bng-{beside}-{number}"),
            beside,
            channels: (0..hosts).map(channel).collect(),
            random: Random::new(seed),
            seen: HashMap::new(),
            held: BTreeMap::new(),
            next: 0,
            load,
        }
    }

    async fn run(&mut self) {
        while !self.load.stop.load(Ordering::Relaxed) {
            match self.random.below(100) {
                0..40 if self.held.len() < MOST_HELD => {
                    let pool = if self.random.below(3) == 0 { LEASED } else { PERMANENT };
                    self.next += 1;
                    let subscriber = format!("{}-{}", self.name, self.next);
                    self.persist(Asked::Allocate, pool, &subscriber).await;
                }
                0..60 => self.for_one_held(Asked::Release).await,
                60..75 => self.for_one_held(Asked::Allocate).await,
                75..82 => self.for_one_held(Asked::Renew).await,
                82..90 => self.for_one_held(Asked::LookUp).await,
                _ => {
                    let subscriber = format!("shared-{}", self.random.below(SHARED));
                    self.persist(Asked::Allocate, PERMANENT, &subscriber).await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// About something that this client holds, if it holds anything that can be asked about so.
    async fn for_one_held(&mut self, asked: Asked) {
        let able = |pool: &str| asked != Asked::Renew || pool == LEASED;
        // Shared subscribers are nobody's to release.
        let own: Vec<(&'static str, String)> =
            self.held.keys().filter(|(pool, who)| able(pool) && who.starts_with(&self.name)).cloned().collect();
        if let Some((pool, subscriber)) = self.random.one_of(&own) {
            self.persist(asked, pool, &subscriber.clone()).await;
        }
    }

    /// Asks until it is decided, here and elsewhere.
    async fn persist(&mut self, asked: Asked, pool: &'static str, subscriber: &str) {
        for attempt in 0..ATTEMPTS {
            let elsewhere = attempt > 1 || self.random.below(5) == 0;
            let any = usize::try_from(self.random.below(self.channels.len() as u64)).expect("few hosts");
            let host = if elsewhere { any } else { self.beside };
            if self.ask(host, asked, pool, subscriber).await || self.load.stop.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks once, and keeps what came of it; false if it is undecided.
    async fn ask(&mut self, host: usize, asked: Asked, pool: &'static str, subscriber: &str) -> bool {
        let whose = (pool, subscriber.to_owned());
        if asked == Asked::Release {
            // From here on it is not used any more, whatever the answer.
            self.held.remove(&whose);
        }
        let start_ms = boot_ms();
        let call = call(self.channels[host].clone(), asked, pool, subscriber);
        let answer = tokio::time::timeout(PATIENCE, call).await;
        let end_ms = boot_ms();
        let outcome = match answer {
            Ok(Ok(Some(grant))) => self.judge(grant, end_ms - start_ms),
            Ok(Ok(None)) => Outcome::Released,
            Ok(Err(status)) if status.code() == Code::NotFound => Outcome::Nothing,
            Ok(Err(status)) => Outcome::Unknown { why: format!("{:?}: {}", status.code(), status.message()) },
            Err(_) => Outcome::Unknown { why: "no answer".to_owned() },
        };
        match (&outcome, asked) {
            (Outcome::Granted(grant), Asked::Allocate | Asked::Renew) => {
                self.held.insert(whose, grant.clone());
            }
            (Outcome::Nothing, Asked::Renew) => {
                self.held.remove(&whose);
            }
            _ => {}
        }
        let decided = match &outcome {
            Outcome::Granted(_) | Outcome::Released => true,
            // A host that does not know the pool yet will.
            Outcome::Nothing => asked != Asked::Allocate,
            Outcome::Dropped { .. } | Outcome::Unknown { .. } => false,
        };
        let (client, pool, subscriber) = (self.name.clone(), pool.to_owned(), subscriber.to_owned());
        let record = Record { client, host, start_ms, end_ms, asked, pool, subscriber, outcome };
        self.load.records.lock().expect("no client panicked").push(record);
        decided
    }

    /// Whether an answer may be used.
    fn judge(&mut self, grant: Grant, took_ms: u64) -> Outcome {
        let Fence { pool, shard, epoch } = grant.fence;
        let newest = self.seen.entry((pool, shard)).or_default();
        if epoch < *newest {
            return Outcome::Dropped { grant, why: format!("epoch {newest} of this shard was seen") };
        }
        *newest = epoch;
        if took_ms > RESPONSE_DEADLINE_MS {
            return Outcome::Dropped { grant, why: format!("it took {took_ms} ms") };
        }
        Outcome::Granted(grant)
    }
}

/// What is held then; `None` after a release.
async fn call(channel: Channel, asked: Asked, pool: &str, subscriber: &str) -> Result<Option<Grant>, tonic::Status> {
    let (pool_id, subscriber_id) = (pool.to_owned(), subscriber.to_owned());
    let mut allocations = AllocationServiceClient::new(channel.clone());
    match asked {
        Asked::Allocate => {
            let request = AllocateRequest { pool_id, subscriber_id, ..AllocateRequest::default() };
            let answer = allocations.allocate(request).await?.into_inner();
            Ok(answer.allocation.map(|allocation| grant(&allocation, answer.created)))
        }
        Asked::LookUp => {
            let request = LookupRequest { pool_id, subscriber_id, ..LookupRequest::default() };
            let answer = allocations.lookup_by_subscriber(request).await?.into_inner();
            Ok(answer.allocation.map(|allocation| grant(&allocation, false)))
        }
        Asked::Release => {
            let request = ReleaseRequest { pool_id, subscriber_id, ..ReleaseRequest::default() };
            allocations.release(request).await?;
            Ok(None)
        }
        Asked::Renew => {
            let request = RenewRequest { pool_id, subscriber_id, ..RenewRequest::default() };
            let answer = NexusClient::new(channel).renew(request).await?.into_inner();
            let renewed = answer.renewed.first().ok_or_else(|| tonic::Status::internal("nothing was renewed"))?;
            Ok(Some(grant(renewed, false)))
        }
    }
}

fn grant(allocation: &Allocation, created: bool) -> Grant {
    let fence = allocation.fence.expect("every allocation has a fence");
    let lease = allocation.ttl.as_ref().map(|ttl| Duration::try_from(*ttl).expect("a lease is not negative"));
    Grant {
        address: allocation.resource.clone(),
        fence: Fence { pool: fence.pool, shard: fence.shard, epoch: fence.epoch },
        lease_ms: lease.map(|lease| u64::try_from(lease.as_millis()).expect("a lease is not that long")),
        created,
        supersedes: allocation.supersedes.as_ref().map(|older| older.resource.clone()),
    }
}
