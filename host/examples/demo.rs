//! The promise, shown: an operator's pools, ten OLTs with a thousand subscribers each, SIGKILL in the middle of further
//! load, a restart, and every answer that was received is checked. `cargo xtask demo` runs it.

#![allow(clippy::print_stdout, reason = "this is what people read")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use nexus_proto::v1::allocate_stream_response::Outcome;
use nexus_proto::v1::allocation_service_client::AllocationServiceClient;
use nexus_proto::v1::nexus_client::NexusClient;
use nexus_proto::v1::pool_service_client::PoolServiceClient;
use nexus_proto::v1::{AllocateRequest, AllocateStreamRequest, Allocation, ListAllocationsRequest, ListPoolsRequest};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

const OLTS: usize = 10;
const SUBSCRIBERS: usize = 1_000;
/// Answers of the second wave after which the daemon is killed.
const KILL_AFTER: usize = 5_000;
const PATIENCE: Duration = Duration::from_mins(1);

/// What identifies an allocation: pool, subscriber.
type Held = (String, String);

/// Every answer received: where it is, by who holds it.
type Answers = BTreeMap<Held, (String, String)>;

struct Daemon {
    child: Child,
    grpc: String,
}

impl Daemon {
    async fn start(nexus: &Path, data: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(nexus);
        command.arg("serve").arg("--data-path").arg(data).args(["--log-level", "warn", "--node-id", "demo"]);
        command.args(["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]);
        let mut child =
            command.stdout(Stdio::piped()).kill_on_drop(true).spawn().context("the daemon does not start")?;
        let mut lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(grpc) = line.split_whitespace().find_map(|word| word.strip_prefix("grpc=")) {
                    return Ok(grpc.to_owned());
                }
            }
            bail!("the daemon ended before it was ready")
        };
        let grpc = tokio::time::timeout(PATIENCE, ready).await.context("the daemon does not get ready")??;
        Ok(Self { child, grpc })
    }

    async fn connect(&self) -> anyhow::Result<Channel> {
        Ok(Channel::from_shared(self.grpc.clone())?.connect().await?)
    }
}

/// One request per resource a subscriber needs.
fn wishes(pools: &BTreeMap<String, String>, wave: &str, olt: usize) -> Vec<AllocateRequest> {
    let ask = |kind: &str, subscriber: String| AllocateRequest {
        pool_id: pools.get(kind).cloned().unwrap_or_default(),
        subscriber_id: subscriber,
        node_id: format!("olt-{olt}"),
        omit_attributes: true,
        ..AllocateRequest::default()
    };
    let mut wishes = vec![ask("svlan", format!("{wave}/olt-{olt}"))];
    for subscriber in 0..SUBSCRIBERS {
        let name = format!("{wave}/olt-{olt}/{subscriber}");
        wishes.extend(["ipv4", "ipv6", "vlan", "port"].map(|kind| ask(kind, name.clone())));
    }
    wishes
}

/// Brings one OLT up over one stream; every answer goes to `answers` as it arrives. Ends early if the daemon dies.
async fn bring_up(
    channel: Channel,
    wishes: Vec<AllocateRequest>,
    answers: mpsc::Sender<Allocation>,
) -> anyhow::Result<()> {
    let (sender, requests) = mpsc::channel(512);
    let feeder = tokio::spawn(async move {
        for (id, request) in (0..).zip(wishes) {
            if sender.send(AllocateStreamRequest { id, request: Some(request) }).await.is_err() {
                break;
            }
        }
    });
    let mut stream = NexusClient::new(channel).allocate_stream(ReceiverStream::new(requests)).await?.into_inner();
    while let Some(response) = stream.message().await? {
        match response.outcome {
            Some(Outcome::Allocated(allocated)) => {
                let allocation = allocated.allocation.context("an answer names its allocation")?;
                answers.send(allocation).await?;
            }
            Some(Outcome::Error(error)) => bail!("refused: {} {}", error.reason, error.message),
            None => bail!("an empty answer"),
        }
    }
    feeder.await?;
    Ok(())
}

/// One wave of all OLTs. With `kill`, the daemon is killed after that many answers and the wave ends there.
async fn wave(
    daemon: &mut Daemon,
    pools: &BTreeMap<String, String>,
    name: &str,
    kill: Option<usize>,
    answers: &mut Answers,
) -> anyhow::Result<(usize, Duration)> {
    let (sender, mut received) = mpsc::channel(4_096);
    let began = Instant::now();
    let mut olts = Vec::new();
    for olt in 0..OLTS {
        olts.push(tokio::spawn(bring_up(daemon.connect().await?, wishes(pools, name, olt), sender.clone())));
    }
    drop(sender);
    let total = OLTS * (SUBSCRIBERS * 4 + 1);
    let bar = ProgressBar::new(total as u64).with_message(name.to_owned());
    bar.set_style(ProgressStyle::with_template("{msg:12} [{bar:40}] {pos}/{len} {per_sec}")?.progress_chars("=> "));
    let mut count = 0;
    while let Some(allocation) = received.recv().await {
        let Allocation { pool_id, subscriber_id, realm, resource, .. } = allocation;
        answers.insert((pool_id, subscriber_id), (realm, resource));
        count += 1;
        bar.inc(1);
        if kill == Some(count) {
            daemon.child.start_kill()?;
        }
    }
    bar.abandon();
    daemon_or_answers(olts, kill).await?;
    Ok((count, began.elapsed()))
}

/// A killed daemon breaks its streams; an unkilled one must not.
async fn daemon_or_answers(
    olts: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
    kill: Option<usize>,
) -> anyhow::Result<()> {
    for olt in olts {
        if let (Err(error), None) = (olt.await?, kill) {
            return Err(error);
        }
    }
    Ok(())
}

async fn held(daemon: &Daemon) -> anyhow::Result<(Answers, usize)> {
    let mut client = AllocationServiceClient::new(daemon.connect().await?).max_decoding_message_size(64 << 20);
    let (mut found, mut spans, mut cursor) = (Answers::new(), BTreeSet::new(), String::new());
    let mut rows = 0;
    loop {
        let request = ListAllocationsRequest { cursor, limit: 5_000, ..ListAllocationsRequest::default() };
        let page = client.list(request).await?.into_inner();
        for Allocation { pool_id, subscriber_id, realm, resource, .. } in page.allocations {
            rows += 1;
            spans.insert((pool_id.clone(), realm.clone(), resource.clone()));
            found.insert((pool_id, subscriber_id), (realm, resource));
        }
        cursor = page.next_cursor;
        if cursor.is_empty() {
            return Ok((found, rows - spans.len()));
        }
    }
}

fn row(what: &str, count: usize, took: Option<Duration>) {
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = took.map_or(String::new(), |took| {
        format!("{:>8.2} s {:>9.0}/s", took.as_secs_f64(), count as f64 / took.as_secs_f64())
    });
    println!("{what:<38} {count:>8} {rate}");
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let own = std::env::current_exe()?;
    let nexus = own.parent().and_then(Path::parent).context("examples lie beside the daemon")?.join("nexus");
    ensure!(nexus.is_file(), "{} is missing: run cargo xtask demo", nexus.display());
    let data = tempfile::tempdir()?;
    let mut daemon = Daemon::start(&nexus, data.path()).await?;
    let mut apply = Command::new(&nexus);
    apply.args(["--server", &daemon.grpc, "pool", "apply", "-f"]).arg(root.join("deploy/examples/isp-east.yaml"));
    ensure!(apply.status().await?.success(), "the pools were refused");
    let listed = PoolServiceClient::new(daemon.connect().await?).list_pools(ListPoolsRequest::default()).await?;
    let definitions = listed.into_inner().pools.into_iter().filter_map(|pool| pool.definition);
    let pools: BTreeMap<String, String> = definitions.map(|pool| (pool.r#type, pool.id)).collect();

    let mut answers = Answers::new();
    let (first, first_took) = wave(&mut daemon, &pools, "bring-up", None, &mut answers).await?;
    let (second, _) = wave(&mut daemon, &pools, "under load", Some(KILL_AFTER), &mut answers).await?;
    daemon.child.wait().await?;
    println!("SIGKILL after {second} answers of the second wave");

    let began = Instant::now();
    let daemon = Daemon::start(&nexus, data.path()).await?;
    let restart = began.elapsed();
    let (found, twice) = held(&daemon).await?;
    let lost = answers.iter().filter(|(held, _)| !found.contains_key(*held)).count();
    let changed = answers.iter().filter(|(held, place)| found.get(*held).is_some_and(|now| now != *place)).count();

    println!();
    row("allocated in the first wave", first, Some(first_took));
    row("answered before SIGKILL, second wave", second, None);
    println!("{:<38} {:>8} {:>8.2} s", "restart to ready", "", restart.as_secs_f64());
    row("answers checked", answers.len(), None);
    row("held after the restart", found.len(), None);
    row("lost", lost, None);
    row("changed", changed, None);
    row("held twice", twice, None);
    ensure!(lost + changed + twice == 0, "the promise is broken");
    Ok(())
}
