//! Three daemons on one machine: what allocating and looking up costs through any of them, how soon the others know, and what
//! a cut, a new host and a killed one cost. Needs root and iproute2, for the network namespaces.

mod lan;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nexus_proto::v1::allocation_service_client::AllocationServiceClient;
use nexus_proto::v1::nexus_client::NexusClient;
use nexus_proto::v1::{
    AllocateRequest, BatchRequest, LookupRequest, WatchAllocationsRequest, watch_allocations_response,
};
use serde_json::json;
use tonic::transport::Channel;

use crate::common::{directory, wait_for};
use crate::echo::Echo;
use crate::load::Figures;
use crate::unary::{self, request, subscriber};
use lan::{Cluster, Work, name};

const HOSTS: usize = 3;

/// Calls under way at each host that is asked.
const STREAMS: usize = 32;
const CONNECTIONS: usize = 4;

/// Waits for no other host; the pool of [`request`]. The other one's answers wait until one more host has them.
const LOCAL: &str = "bench";
const PEER: &str = "kept";

/// Each side of a cut writes so much.
const CHANGES: u64 = 100_000;
const CUT: Duration = Duration::from_mins(1);

/// A new host takes over so much.
const CROWD: u64 = 1_000_000;
const BATCH: u64 = 5_000;

/// An answer that a client would notice as late.
const SLOW: Duration = Duration::from_secs(1);

/// Long enough to see whether requests are still refused once it is known who does not answer; shorter than a node lease.
const SILENCE: Duration = Duration::from_secs(40);

/// A client of which each call comes so long after the answer before.
const PACE: Duration = Duration::from_millis(45);

/// The next subscriber that nobody asked for yet.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn asked(pool: &str, number: u64) -> AllocateRequest {
    AllocateRequest { pool_id: pool.to_owned(), ..request(number) }
}

/// A call that was made.
#[derive(Clone, Copy, Debug)]
struct Call {
    number: u64,
    answered: Instant,
    took: Duration,
    /// The shard of the answer; `None`: it was refused.
    shard: Option<u32>,
}

fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}

fn figures<'c>(calls: impl IntoIterator<Item = &'c Call>, length: Duration) -> Figures {
    Figures::of(calls.into_iter().map(|call| micros(call.took)).collect(), length)
}

fn print(what: &str, figures: &Figures) {
    let Figures { per_second, p50, p99 } = figures;
    println!("  {what:<52} {per_second:>8.0}/s  p50 {p50:>8.1?}  p99 {p99:>8.1?}");
}

/// Clients beside hosts that allocate for new subscribers until they are stopped.
#[derive(Debug, Default)]
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<(usize, Work<Vec<Call>>)>,
}

impl Load {
    /// `pause`: of each client between two calls.
    fn start(cluster: &Cluster, hosts: &[usize], pool: &'static str, pause: Option<Duration>) -> anyhow::Result<Self> {
        let mut load = Self::default();
        for host in hosts {
            load.add(cluster, *host, cluster.connections(*host, CONNECTIONS)?, Some(pool), pause)?;
        }
        Ok(load)
    }

    /// The clients of one host; without a pool they make empty calls.
    fn add(
        &mut self,
        cluster: &Cluster,
        host: usize,
        channels: Vec<Channel>,
        pool: Option<&'static str>,
        pause: Option<Duration>,
    ) -> anyhow::Result<()> {
        for channel in channels.into_iter().cycle().take(STREAMS) {
            let client = client(channel, Arc::clone(&self.stop), pool, pause);
            self.clients.push((host, cluster.beside(host, client)?));
        }
        Ok(())
    }

    /// Every call, by the host that was asked.
    fn end(self) -> anyhow::Result<BTreeMap<usize, Vec<Call>>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut calls: BTreeMap<usize, Vec<Call>> = BTreeMap::new();
        for (host, client) in self.clients {
            calls.entry(host).or_default().extend(client.wait()?);
        }
        Ok(calls)
    }
}

async fn client(
    channel: Channel,
    stop: Arc<AtomicBool>,
    pool: Option<&'static str>,
    pause: Option<Duration>,
) -> anyhow::Result<Vec<Call>> {
    let mut client = NexusClient::new(channel.clone());
    let mut calls = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = if pool.is_some() { NEXT.fetch_add(1, Ordering::Relaxed) } else { calls.len() as u64 };
        let sent = Instant::now();
        let shard = if let Some(pool) = pool {
            match client.allocate(asked(pool, number)).await {
                Ok(answer) => {
                    Some(answer.into_inner().allocation.and_then(|made| made.fence).context("a fence")?.shard)
                }
                Err(status) if status.code() == tonic::Code::Unavailable => None,
                Err(status) => return Err(status.into()),
            }
        } else {
            unary::echo(channel.clone(), 0, number).await?;
            None
        };
        calls.push(Call { number, answered: Instant::now(), took: sent.elapsed(), shard });
        if let Some(pause) = pause {
            // Half of it to one and a half, or clients whose answers came together ask together from then on.
            let spread = u32::try_from(number * 7_919 % 1_001).unwrap_or_default();
            tokio::time::sleep(pause / 2 + pause * spread / 1_000).await;
        }
    }
    Ok(calls)
}

/// Whose member number each shard of a pool carries.
fn owners(cluster: &Cluster, pool: &str) -> anyhow::Result<HashMap<u64, u64>> {
    let ring = cluster.ring(0)?;
    let pool = ring.iter().find(|found| found["pool_id"] == pool).context("the pool")?;
    let shards = pool["shards"].as_array().context("shards")?;
    Ok(shards.iter().filter_map(|shard| Some((shard["shard"].as_u64()?, shard["owner"].as_u64()?))).collect())
}

/// The clients of an allocation: how many hosts they ask, and how long each waits between two calls. All that the hosts can bear,
/// and about a third of that.
const LOADS: [(usize, Option<Duration>); 3] = [(1, None), (HOSTS, None), (HOSTS, Some(PACE.saturating_mul(2)))];

fn pace(pause: Option<Duration>) -> String {
    pause.map_or_else(String::new, |pause| format!(", each about {pause:?} after the answer before"))
}

/// What the same clients get of an empty call at each host, and what a sync takes: no figure below can be under these, and on
/// another day, or machine, they are others.
fn baseline(cluster: &Cluster, length: Duration) -> anyhow::Result<()> {
    let echoes = (0..HOSTS).map(|host| cluster.lan.inside(host, Echo::start)).collect::<anyhow::Result<Vec<_>>>()?;
    println!("empty echoes beside the hosts, {STREAMS} clients each (baseline)");
    for (hosts, pause) in LOADS {
        let mut load = Load::default();
        for (host, echo) in echoes.iter().enumerate().take(hosts) {
            let channels = cluster.connect(host, echo.address.clone(), CONNECTIONS)?;
            load.add(cluster, host, channels, None, pause)?;
        }
        let began = Instant::now();
        std::thread::sleep(length);
        let calls = load.end()?;
        print(&format!("{hosts} asked{}", pace(pause)), &figures(calls.values().flatten(), began.elapsed()));
    }
    unary::print_sync(&unary::append_and_sync(directory().path(), length)?);
    Ok(())
}

/// Allocating at one host and at all, told apart by whether the host that was asked owned what it gave.
fn allocate(cluster: &Cluster, pool: &'static str, length: Duration) -> anyhow::Result<()> {
    let owners = owners(cluster, pool)?;
    for (hosts, pause) in LOADS {
        let asked: Vec<usize> = (0..hosts).collect();
        let (load, began) = (Load::start(cluster, &asked, pool, pause)?, Instant::now());
        std::thread::sleep(length);
        let calls = load.end()?;
        let took = began.elapsed();
        let member = |host: usize| host as u64 + 1;
        let own = |host: usize, call: &Call| {
            call.shard.is_some_and(|shard| owners.get(&u64::from(shard)) == Some(&member(host)))
        };
        let all = || calls.iter().flat_map(|(host, calls)| calls.iter().map(move |call| (*host, call)));
        println!("Allocate, pool {pool}, {hosts} hosts asked by {STREAMS} clients each{}", pace(pause));
        print("all", &figures(all().map(|(_, call)| call), took));
        print(
            "the owner was asked",
            &figures(all().filter(|(host, call)| own(*host, call)).map(|(_, call)| call), took),
        );
        let passed_on = all().filter(|(host, call)| call.shard.is_some() && !own(*host, call)).map(|(_, call)| call);
        print("another host was asked", &figures(passed_on, took));
        let refused = all().filter(|(_, call)| call.shard.is_none()).count();
        println!("  refused as unavailable: {refused}");
    }
    Ok(())
}

/// Look-ups by subscriber at one host after the other, so many under way, while all hosts allocate; `pause` is of each client
/// that does.
fn look_up(cluster: &Cluster, under_way: usize, pause: Duration, length: Duration) -> anyhow::Result<()> {
    let known = NEXT.load(Ordering::Relaxed).min(10_000);
    let hosts: Vec<usize> = (0..HOSTS).collect();
    let (load, began) = (Load::start(cluster, &hosts, LOCAL, Some(pause))?, Instant::now());
    println!("Look-up by subscriber, {under_way} under way at one host, while all hosts allocate");
    for host in hosts {
        let channels = cluster.connections(host, under_way)?;
        let call = move |channel: Channel, stream: usize, made: u64| async move {
            let subscriber_id = subscriber((stream as u64 * 7_919 + made * 13) % known);
            let request = LookupRequest { subscriber_id, pool_id: LOCAL.to_owned(), ..LookupRequest::default() };
            match NexusClient::new(channel).get_allocation(request).await {
                Ok(_) => Ok(()),
                // It was the other pool's subscriber.
                Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
                Err(status) => Err(status.into()),
            }
        };
        let drive = async move { crate::load::drive(&channels, under_way, length, call).await };
        print(&format!("at {}", name(host)), &cluster.beside(host, drive)?.wait()?);
    }
    let calls = load.end()?;
    print("Allocate meanwhile", &figures(calls.values().flatten(), began.elapsed()));
    Ok(())
}

/// When each subscriber's allocation was seen at a host; ends when nothing came for a second after `stop`.
async fn watch(address: String, stop: Arc<AtomicBool>) -> anyhow::Result<HashMap<u64, Instant>> {
    let mut client = NexusClient::connect(address).await?;
    let request = WatchAllocationsRequest { pool_id: LOCAL.to_owned(), ..WatchAllocationsRequest::default() };
    let mut events = client.watch_allocations(request).await?.into_inner();
    let mut seen = HashMap::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(1), events.message()).await {
            Ok(event) => match event?.context("the watch goes on")?.event {
                Some(watch_allocations_response::Event::Allocated(made)) => {
                    let number = made.subscriber_id.strip_prefix('s').context("a subscriber of this bench")?;
                    seen.insert(u64::from_str_radix(number, 16)?, Instant::now());
                }
                Some(watch_allocations_response::Event::Gap(_)) => anyhow::bail!("the watch missed something"),
                _ => {}
            },
            Err(_) if stop.load(Ordering::Relaxed) => return Ok(seen),
            Err(_) => {}
        }
    }
}

/// From an answer at the first host until the others' watches have it, and what it costs on the cables.
fn replicate(cluster: &Cluster, pause: Option<Duration>, length: Duration) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let watches: Vec<_> = (1..HOSTS)
        .map(|host| Ok((host, cluster.beside(host, watch(cluster.grpc(host)?, Arc::clone(&stop)))?)))
        .collect::<anyhow::Result<_>>()?;
    let before = cluster.bytes_arrived()?;
    let (load, began) = (Load::start(cluster, &[0], LOCAL, pause)?, Instant::now());
    std::thread::sleep(length);
    let calls = load.end()?.into_values().flatten().collect::<Vec<_>>();
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let made: Vec<&Call> = calls.iter().filter(|call| call.shard.is_some()).collect();
    println!("Replication while one host is asked for {:.0}/s", made.len() as f64 / took.as_secs_f64());
    for (host, watch) in watches {
        let seen = watch.wait()?;
        let delays: Vec<u32> = made
            .iter()
            .filter_map(|call| Some(micros(seen.get(&call.number)?.saturating_duration_since(call.answered))))
            .collect();
        let missed = made.len() - delays.len();
        let Figures { p50, p99, .. } = Figures::of(delays, took);
        println!("  answer until {} shows it: p50 {p50:.1?}  p99 {p99:.1?}  ({missed} not seen)", name(host));
    }
    let bytes = cluster.bytes_arrived()?.saturating_sub(before) as f64 / made.len().max(1) as f64;
    println!(
        "  on the cables of all three, requests passed on, answers and renewals of leases too: {bytes:.0} bytes a change"
    );
    Ok(())
}

/// Allocates for so many new subscribers at a host, in batches; what is refused is asked for again.
async fn fill(channel: Channel, count: u64) -> anyhow::Result<(Duration, u64)> {
    let mut client = AllocationServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let (mut made, mut refused) = (0, 0);
    let began = Instant::now();
    while made < count {
        anyhow::ensure!(began.elapsed() < Duration::from_mins(4), "only {made} of {count} were given");
        let batch = BATCH.min(count - made);
        let first = NEXT.fetch_add(batch, Ordering::Relaxed);
        let requests = (first..first + batch).map(|number| asked(LOCAL, number)).collect();
        let results = client.batch(BatchRequest { requests }).await?.into_inner().results;
        let given = |result: &&nexus_proto::v1::BatchResult| {
            matches!(result.outcome, Some(nexus_proto::v1::batch_result::Outcome::Allocated(_)))
        };
        let given = results.iter().filter(given).count() as u64;
        made += given;
        refused += batch - given;
    }
    Ok((began.elapsed(), refused))
}

/// Allocations of the pool that a host knows of.
fn known(cluster: &Cluster, host: usize) -> anyhow::Result<u64> {
    let stats = cluster.get(host, &format!("/api/v1/pools/{LOCAL}/stats"))?;
    stats["allocated"].as_u64().context("a number")
}

/// Longer only if something is broken.
const CONVERGE: Duration = Duration::from_mins(5);

/// Waits until all hosts know as much as any, and at least so much.
fn converge(cluster: &Cluster, least: u64) -> anyhow::Result<()> {
    let until = Instant::now() + CONVERGE;
    loop {
        let all: Vec<u64> = cluster.up().into_iter().map(|host| known(cluster, host)).collect::<anyhow::Result<_>>()?;
        let first = *all.first().context("a host that runs")?;
        if first >= least && all.iter().all(|other| *other == first) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < until, "the hosts do not know the same: {all:?}, at least {least}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A host is cut off, both sides go on, and find together again.
fn heal(cluster: &Cluster) -> anyhow::Result<()> {
    let before = known(cluster, 0)?;
    cluster.lan.cut(2);
    let began = Instant::now();
    let mut sides = Vec::new();
    for host in [0, 2] {
        let channel = cluster.connections(host, 1)?.into_iter().next().context("a connection")?;
        sides.push((host, cluster.beside(host, fill(channel, CHANGES))?));
    }
    for (host, side) in sides {
        let (took, refused) = side.wait()?;
        println!("  cut off, {} makes {CHANGES} in {took:.1?}, {refused} refused as unavailable", name(host));
    }
    let wrote = began.elapsed();
    std::thread::sleep(CUT.saturating_sub(wrote));
    let bytes = cluster.bytes_arrived()?;
    cluster.lan.mend(2);
    let mended = Instant::now();
    converge(cluster, before + 2 * CHANGES)?;
    let took = mended.elapsed();
    let bytes = (cluster.bytes_arrived()? - bytes) as f64 / (2 * CHANGES) as f64;
    println!("One host cut off from two for {CUT:.0?}, {CHANGES} allocations on each side (made in {wrote:.1?})");
    println!("  until all know the same: {took:.1?} after the link is back; {bytes:.0} bytes an allocation");
    Ok(())
}

/// What clients noticed of a fault, at each host that they asked meanwhile.
fn print_gaps(calls: &BTreeMap<usize, Vec<Call>>, fault: Instant) {
    for (host, calls) in calls {
        let after = |call: &&Call| call.answered > fault;
        let mut served: Vec<Instant> =
            calls.iter().filter(|call| call.shard.is_some()).map(|call| call.answered).collect();
        served.sort_unstable();
        let gap =
            served.iter().zip(served.iter().skip(1)).filter(|(_, next)| **next > fault).map(|(a, b)| *b - *a).max();
        let slowest = calls.iter().filter(after).map(|call| call.took).max().unwrap_or_default();
        let slow = calls.iter().filter(after).filter(|call| call.took > SLOW).count();
        let refused: Vec<Duration> =
            calls.iter().filter(after).filter(|call| call.shard.is_none()).map(|call| call.answered - fault).collect();
        println!(
            "  {}: longest time without an answer {:.1?}, slowest answer {slowest:.1?}, over {SLOW:.0?} {slow}, refused {} of {}{}",
            name(*host),
            gap.unwrap_or_default(),
            refused.len(),
            calls.iter().filter(after).count(),
            refused.iter().max().map_or_else(String::new, |last| format!(", the last after {last:.1?}"))
        );
    }
}

/// The cable of a host is pulled while the others are asked all the time: no connection ends, nobody answers.
fn silence(cluster: &Cluster) -> anyhow::Result<()> {
    let load = Load::start(cluster, &[0, 1], LOCAL, Some(PACE))?;
    std::thread::sleep(Duration::from_secs(3));
    cluster.lan.cut(2);
    let cut = Instant::now();
    std::thread::sleep(SILENCE);
    let calls = load.end()?;
    cluster.lan.mend(2);
    println!("One host of three cut off for {SILENCE:.0?}, the two others asked all the time");
    print_gaps(&calls, cut);
    converge(cluster, 0)
}

/// A host is killed while the others are asked all the time.
fn lose(cluster: &mut Cluster) -> anyhow::Result<()> {
    let load = Load::start(cluster, &[0, 1], LOCAL, Some(PACE))?;
    std::thread::sleep(Duration::from_secs(3));
    cluster.kill(2)?;
    let killed = Instant::now();
    wait_for("its node lease is over", || {
        (cluster.member(0, 2).ok()?["deposed"] == true || killed.elapsed() > Duration::from_secs(50)).then_some(())
    });
    let mut deposed = None;
    wait_for("its leased shards are others'", || {
        let member = cluster.member(0, 2).ok()?;
        if member["deposed"] == true {
            deposed.get_or_insert_with(|| killed.elapsed());
        }
        (member["deposed"] == true && member["shards"] == member["escrow"]).then_some(())
    });
    let taken_over = killed.elapsed();
    let calls = load.end()?;
    println!("SIGKILL of one host of three, the two others asked all the time");
    print_gaps(&calls, killed);
    let deposed = deposed.unwrap_or_default();
    println!("  deposed after {deposed:.1?}, its leased shards taken over after {taken_over:.1?}");
    Ok(())
}

/// A new host joins a cluster that knows a million allocations.
fn grow(cluster: &mut Cluster) -> anyhow::Result<()> {
    let missing = CROWD.saturating_sub(known(cluster, 0)?);
    let mut fillers = Vec::new();
    for host in 0..HOSTS {
        let channel = cluster.connections(host, 1)?.into_iter().next().context("a connection")?;
        fillers.push(cluster.beside(host, fill(channel, missing / HOSTS as u64 + 1))?);
    }
    let began = Instant::now();
    for filler in fillers {
        filler.wait()?;
    }
    let rate = missing as f64 / began.elapsed().as_secs_f64();
    converge(cluster, CROWD)?;
    println!("{missing} allocations in batches of {BATCH} at three hosts: {rate:.0}/s");
    cluster.start(HOSTS)?;
    let began = Instant::now();
    cluster.post(HOSTS, "/api/v1/cluster/join", &json!({}))?;
    let joined = began.elapsed();
    wait_for("the new host is ready", || (cluster.call(HOSTS, "GET", "/ready", None).ok()?.0 == 200).then_some(()));
    let ready = began.elapsed();
    converge(cluster, CROWD)?;
    println!(
        "A new host takes over {} allocations: joined after {joined:.1?}, ready after {ready:.1?}, knows all after {:.1?}",
        known(cluster, HOSTS)?,
        began.elapsed()
    );
    wait_for("it has its shards", || (cluster.member(0, HOSTS).ok()?["shards"].as_u64()? > 0).then_some(()));
    println!("  its first shards are its own after {:.1?}", began.elapsed());
    Ok(())
}

/// Waits until every shard of every pool is where it is to live, and held.
fn settle(cluster: &Cluster) -> anyhow::Result<()> {
    let until = Instant::now() + CONVERGE;
    while !cluster.is_settled(0)? {
        anyhow::ensure!(Instant::now() < until, "shards are not where they should be");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// `parts`: all, or `serve`, `heal`, `cut`, `lose`, `grow`.
pub(crate) fn run(length: Duration, parts: &[&str]) -> anyhow::Result<()> {
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let mut cluster = Cluster::laid(HOSTS + 1)?;
    let began = Instant::now();
    cluster.form(HOSTS)?;
    println!("three daemons formed a cluster {:.1?} after the first was started", began.elapsed());
    cluster.pool(&json!({"id": LOCAL, "cidr": "10.0.0.0/8", "hold_down": "0s", "ack": "local"}))?;
    cluster.pool(&json!({"id": PEER, "cidr": "11.0.0.0/8", "hold_down": "0s", "ack": "peer"}))?;
    if wanted("serve") {
        baseline(&cluster, length)?;
        allocate(&cluster, LOCAL, length)?;
        allocate(&cluster, PEER, length)?;
        look_up(&cluster, 1, 2 * PACE, length)?;
        look_up(&cluster, CONNECTIONS, PACE, length)?;
        replicate(&cluster, Some(PACE), length)?;
        replicate(&cluster, None, length)?;
    }
    if wanted("heal") {
        heal(&cluster)?;
        settle(&cluster)?;
    }
    if wanted("cut") {
        silence(&cluster)?;
        settle(&cluster)?;
    }
    if wanted("lose") {
        lose(&mut cluster)?;
        cluster.start(2)?;
        settle(&cluster)?;
    }
    if wanted("grow") {
        grow(&mut cluster)?;
    }
    Ok(())
}
