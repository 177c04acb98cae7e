//! Clients that ask all hosts all the time while something is done to the hosts, and keep every answer.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::hosts::{Hosts, address, distinct};
use super::{DEADLINE, wait_for, wait_for_or_tell};

const CLIENTS: usize = 4;

/// Of each client between two subscribers: hosts that are asked all they can bear have no time for what is done to them.
const PAUSE: Duration = Duration::from_millis(100);

/// What the clients share.
#[derive(Debug, Default)]
struct Shared {
    /// Where each host is asked; `None`: it is down, and a load balancer would know.
    doors: Mutex<Vec<Option<String>>>,
    answered: Mutex<Answered>,
    /// Answers that no client may get.
    wrong: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// What each subscriber was answered.
#[derive(Clone, Debug, Default)]
pub struct Answered(BTreeMap<String, BTreeSet<String>>);

impl Answered {
    /// What each holds, where every repeat must have got the same.
    pub fn alone(&self) -> BTreeMap<String, String> {
        let one = |(name, addresses): (&String, &BTreeSet<String>)| {
            assert_eq!(addresses.len(), 1, "{name} has {addresses:?}");
            (name.clone(), addresses.first().expect("one").clone())
        };
        let answered = self.0.iter().map(one).collect();
        distinct(&answered);
        answered
    }

    /// Waits until all hosts know the same, in which nobody's answer is lost and no address is anybody else's. Who asked
    /// again while his owner was down may have been given a second one.
    pub fn await_kept(&self, hosts: &Hosts, count: usize) {
        for host in 0..count {
            wait_for_or_tell("every answer is known", || {
                let (rows, first) = (hosts.rows(host), hosts.rows(0));
                let addresses: BTreeSet<&String> = rows.iter().map(|(_, ip)| ip).collect();
                assert_eq!(addresses.len(), rows.len(), "an address is held twice");
                let kept = |(name, given): &(&String, &BTreeSet<String>)| {
                    given.iter().any(|ip| rows.contains(&((*name).clone(), ip.clone())))
                };
                let lost: Vec<_> = self.0.iter().filter(|one| !kept(one)).take(5).collect();
                let differ: Vec<_> = rows.symmetric_difference(&first).take(5).collect();
                if lost.is_empty() && differ.is_empty() {
                    return Ok(());
                }
                let count = self.0.len();
                Err(format!("of {count} answers host {host} lacks {lost:?}; it and host 0 differ in {differ:?}"))
            });
        }
        // No address was ever anybody else's, held still or not.
        let all: Vec<&String> = self.0.values().flatten().collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "an address was given to two");
    }

    /// Any host gives the subscribers what they were answered.
    pub fn ask_again(&self, hosts: &Hosts, host: usize) {
        for (name, given) in self.0.iter().step_by(5) {
            let ip = address(&hosts.allocate(host, name));
            assert!(given.contains(&ip), "{name} has {ip} and was given {given:?}");
        }
    }
}

/// A load on the pool `homes`, until it is ended.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// On hosts of which all run.
    pub fn start(hosts: &Hosts, count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        *shared.doors.lock().expect("no client panicked") =
            (0..count).map(|host| Some(hosts.daemon(host).rest.clone())).collect();
        let clients = (0..CLIENTS).map(|client| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.run(client))
        });
        Self { clients: clients.collect(), shared }
    }

    /// A host that is about to stop is asked no more, and one that came back is asked again.
    pub fn door(&self, host: usize, rest: Option<&str>) {
        self.shared.doors.lock().expect("no client panicked")[host] = rest.map(str::to_owned);
    }

    /// Waits until so many more subscribers are answered.
    pub fn go_on(&self, more: usize) {
        let count = || self.shared.answered.lock().expect("no client panicked").0.len();
        let goal = count() + more;
        wait_for("the load goes on", || (count() >= goal).then_some(()));
    }

    /// What was answered, if nothing was that may not be.
    pub fn end(self) -> Answered {
        self.shared.stop.store(true, Ordering::Release);
        for client in self.clients {
            client.join().expect("no client panicked");
        }
        let wrong = self.shared.wrong.lock().expect("no client panicked");
        assert!(wrong.is_empty(), "{wrong:#?}");
        self.shared.answered.lock().expect("no client panicked").clone()
    }
}

impl Shared {
    fn run(&self, client: usize) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .into();
        for turn in 0.. {
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            std::thread::park_timeout(PAUSE);
            let name = format!("load-{client}-{turn}");
            // And once more at another host.
            for host in 0..2 {
                let Some(ip) = self.allocate(&agent, client + turn + host, &name) else { return };
                self.answered.lock().expect("no client panicked").0.entry(name.clone()).or_default().insert(ip);
            }
        }
    }

    /// Asks one host after the other until it is decided; `None`: it never was, which is told.
    fn allocate(&self, agent: &ureq::Agent, mut host: usize, name: &str) -> Option<String> {
        let body = json!({"pool_id": "homes", "subscriber_id": name}).to_string();
        let until = Instant::now() + DEADLINE;
        let mut last = String::new();
        while Instant::now() < until {
            let doors = self.doors.lock().expect("no client panicked").clone();
            host += 1;
            let Some(door) = &doors[host % doors.len()] else { continue };
            let sent = agent.post(format!("{door}/api/v1/allocate")).send(&body);
            let Ok(mut answer) = sent else {
                last = format!("{door} does not answer");
                std::thread::park_timeout(Duration::from_millis(20));
                continue;
            };
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            match answer.status().as_u16() {
                200 | 201 => {
                    let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
                    return Some(address(&answer));
                }
                // It may be asked again.
                503 => {
                    last = text;
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                status => {
                    self.wrong.lock().expect("no client panicked").push(format!("{name}: {status} {text}"));
                    return None;
                }
            }
        }
        self.wrong.lock().expect("no client panicked").push(format!("{name} was never answered: {last}"));
        None
    }
}
