//! What is done to the hosts while clients ask. Each fault ends, and then all hosts must serve again.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::UNHEALED_MS;
use crate::checker::Excused;
use crate::client::Load;
use crate::common::wait_for;
use crate::history::boot_ms;
use crate::hosts::{Hosts, SMALL, name};
use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A host without its cable.
    Cut,
    /// What one host sends to another one is lost.
    OneWay,
    Kill,
    /// A host that is stopped and goes on, as under a hypervisor.
    Freeze,
    /// The three before for so long that others take over what the host had by leases.
    LongCut,
    LongKill,
    LongFreeze,
    FullDisk,
    /// A host more.
    Join,
    Drain,
    /// A host that comes back with what its disk was some time ago.
    OldDisk,
}

pub(crate) const ALL: [Fault; 11] = [
    Fault::Cut,
    Fault::OneWay,
    Fault::Kill,
    Fault::Freeze,
    Fault::LongCut,
    Fault::LongKill,
    Fault::LongFreeze,
    Fault::FullDisk,
    Fault::Join,
    Fault::Drain,
    Fault::OldDisk,
];

/// Does it, undoes it, and waits until every host serves. Gives when owners were away.
pub(crate) fn play(fault: Fault, hosts: &mut Hosts, load: &Load, random: &mut Random) -> Excused {
    let from_ms = boot_ms();
    let mut up = hosts.up();
    random.shuffle(&mut up);
    let [host, other] = [up[0], up[1]];
    eprintln!("{from_ms} {fault:?}: {} (and {})", name(host), name(other));
    match fault {
        Fault::Cut => cut(hosts, load, host, other),
        Fault::OneWay => {
            hosts.lan.cut_one_way(host, other);
            go_on(load, other, 5_000);
            hosts.lan.mend_one_way(host, other);
        }
        Fault::Kill => {
            hosts.kill(host);
            go_on(load, other, 2_000);
            hosts.start(host);
        }
        Fault::Freeze => {
            hosts.signal(host, Signal::STOP);
            go_on(load, other, 6_000);
            hosts.signal(host, Signal::CONT);
        }
        Fault::LongCut => {
            await_leases(hosts, host, other);
            hosts.lan.cut(host);
            await_takeover(hosts, load, host, other);
            hosts.lan.mend(host);
        }
        Fault::LongKill => {
            await_leases(hosts, host, other);
            hosts.kill(host);
            await_takeover(hosts, load, host, other);
            hosts.start(host);
        }
        Fault::LongFreeze => {
            await_leases(hosts, host, other);
            hosts.signal(host, Signal::STOP);
            await_takeover(hosts, load, host, other);
            hosts.signal(host, Signal::CONT);
        }
        Fault::FullDisk => full_disk(hosts, load),
        Fault::Join => join(hosts),
        Fault::Drain => drain(hosts, host, other),
        Fault::OldDisk => old_disk(hosts, load, host, other),
    }
    eprintln!("{} undone", boot_ms());
    hosts.await_all();
    let healed_ms = boot_ms();
    for host in hosts.up() {
        wait_for("every host serves again", || (load.served(host, healed_ms) > 3).then_some(()));
    }
    eprintln!("{} served again {} ms after", boot_ms(), boot_ms() - healed_ms);
    Excused { from_ms, to_ms: healed_ms + UNHEALED_MS }
}

/// The load goes on for so long, and is served by this host.
fn go_on(load: &Load, host: usize, for_ms: u64) {
    let from_ms = boot_ms();
    wait_for("the load goes on", || (boot_ms() >= from_ms + for_ms && load.served(host, from_ms) > 0).then_some(()));
}

/// The host was taken back, if it was given up before, and has something to lose.
fn await_leases(hosts: &Hosts, host: usize, other: usize) {
    wait_for("the host has shards by leases", || hosts.has_leases(other, host).then_some(()));
}

/// The load goes on until others have what the host had by leases.
fn await_takeover(hosts: &Hosts, load: &Load, host: usize, other: usize) {
    wait_for("others take over", || hosts.is_given_up(other, host).then_some(()));
    eprintln!("{} taken over", boot_ms());
    go_on(load, other, 2_000);
}

fn cut(hosts: &Hosts, load: &Load, host: usize, other: usize) {
    let from_ms = boot_ms();
    hosts.lan.cut(host);
    // Both sides go on handing out from what is theirs.
    go_on(load, other, 8_000);
    wait_for("the host that is cut off serves", || (load.served(host, from_ms) > 0).then_some(()));
    hosts.lan.mend(host);
}

fn full_disk(hosts: &Hosts, load: &Load) {
    let filler = hosts.folder(SMALL).join("filler");
    let from_ms = boot_ms();
    let mut file = std::fs::File::create(&filler).expect("a file");
    while file.write_all(&[0; 4_096]).is_ok() {}
    wait_for("the host sees that its disk is full", || (!hosts.is_ready(SMALL)).then_some(()));
    eprintln!("{} the disk is full", boot_ms());
    let other = hosts.up().into_iter().find(|host| *host != SMALL).expect("another host");
    go_on(load, other, 5_000);
    let status = hosts.get(SMALL, "cluster/status");
    assert_eq!(status["standing"], "member", "look-ups go on: {status}");
    drop(file);
    std::fs::remove_file(&filler).expect("the filler is there");
    wait_for("the host sees that there is space", || hosts.is_ready(SMALL).then_some(()));
    eprintln!("{} the disk was full for {} ms", boot_ms(), boot_ms() - from_ms);
}

fn join(hosts: &mut Hosts) {
    let new = (0..hosts.count()).find(|host| !hosts.up().contains(host)).expect("a host that is not there yet");
    hosts.start(new);
    hosts.order(new, "cluster/join", &json!({}));
    wait_for("the new host has its share", || (hosts.shards(0, new) > 0).then_some(()));
}

fn drain(hosts: &Hosts, host: usize, other: usize) {
    hosts.order(other, &format!("cluster/members/{}/drain", name(host)), &json!({}));
    wait_for("the drained host has no shards", || (hosts.shards(other, host) == 0).then_some(()));
    eprintln!("{} drained", boot_ms());
    hosts.order(other, &format!("cluster/members/{}/undrain", name(host)), &json!({}));
    wait_for("it has shards again", || (hosts.shards(other, host) > 0).then_some(()));
}

fn old_disk(hosts: &mut Hosts, load: &Load, host: usize, other: usize) {
    hosts.stop(host);
    let (data, old, new) = (hosts.data(host), hosts.folder(host).join("old"), hosts.folder(host).join("new"));
    copy(&data, &old);
    hosts.start(host);
    let own = own_progress(hosts, host);
    // The others hear of more than the copy has.
    wait_for("others hear of the host", || {
        own.iter().all(|(origin, through)| hosts.vector(other).get(origin) > Some(&(through + 20))).then_some(())
    });
    assert!(load.served(host, 0) > 0);
    hosts.kill(host);
    std::fs::rename(&data, &new).expect("it is there");
    std::fs::rename(&old, &data).expect("it is there");
    let told = hosts.start_in_vain(host);
    assert!(told.contains("an older state of this host's disk"), "{told}");
    std::fs::remove_dir_all(&data).expect("it is there");
    std::fs::rename(&new, &data).expect("it is there");
    hosts.start(host);
}

/// The host's own origin, and how far it is.
fn own_progress(hosts: &Hosts, host: usize) -> Vec<(String, u64)> {
    let identity = std::fs::read_to_string(hosts.data(host).join("identity")).expect("it has an identity");
    let vector = hosts.vector(host);
    let own: Vec<(String, u64)> = vector
        .into_iter()
        .filter(|(origin, _)| origin.split('/').next().is_some_and(|host| identity.contains(host)))
        .collect();
    assert_eq!(own.len(), 1, "{identity}");
    own
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success(), "{} could not be copied", from.display());
}
