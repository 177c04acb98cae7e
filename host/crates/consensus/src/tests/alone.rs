use std::time::Duration;

use super::net::{DEADLINE, Member, Net, address, peer, settings};
use crate::{Consensus, ConsensusError, InitError, ProposeError, Settings, StorageError};
use std::sync::Arc;

#[tokio::test]
async fn a_sole_member_forms_a_log_once_and_keeps_it() {
    let net = Arc::new(Net::default());
    // The real timers: a restart must not wait for an election's time.
    let member = Member::start(&net, 1, Settings::default()).await;
    let before = member.consensus.propose(b"early".to_vec(), Duration::ZERO).await;
    assert_eq!(before, Err(ProposeError::NoLeader), "nothing is formed by itself");
    member.consensus.init(address(1)).await.expect("forms a log");
    assert_eq!(member.consensus.init(address(1)).await, Err(InitError::Exists));

    let first = member.must("a").await;
    let second = member.must("b").await;
    assert!(first.index < second.index);
    assert_eq!((first.bytes, second.bytes), (b"0".to_vec(), b"1".to_vec()));
    let state = member.consensus.state();
    assert_eq!((state.member, state.leader, state.voters), (1, Some(1), vec![peer(1)]));
    assert!(state.committed >= Some(second.index));

    let member = member.restart().await;
    assert_eq!(member.machine.entries(), ["a", "b"], "what was committed is there when it is open");
    assert_eq!(member.consensus.init(address(1)).await, Err(InitError::Exists));
    assert_eq!(member.must("c").await.bytes, b"2");
    assert!(member.consensus.read_barrier(DEADLINE).await.expect("leads") > second.index);
    member.kill().await;
}

#[tokio::test]
async fn a_restart_goes_on_from_the_snapshot() {
    let net = Arc::new(Net::default());
    let short = Settings { snapshot_after: 8, ..settings() };
    let member = Member::start(&net, 1, short).await;
    member.consensus.init(address(1)).await.expect("forms a log");
    let entries: Vec<String> = (0..50).map(|n| format!("entry {n}")).collect();
    for entry in &entries {
        member.must(entry).await;
    }
    member.until("a snapshot", |state| state.snapshot_index >= Some(8)).await;

    let member = member.restart().await;
    assert_eq!(member.machine.restored(), 1);
    assert_eq!(member.machine.entries(), entries);
    member.kill().await;
}

#[tokio::test]
async fn a_directory_has_one_owner_and_one_number() {
    let net = Arc::new(Net::default());
    let member = Member::start(&net, 1, settings()).await;
    let open = async |me| {
        let machine = Box::new(super::machine::Recorder::default());
        let transport = Arc::clone(&member.consensus.inner.network.transport);
        let opened = Consensus::open(member.dir.path(), me, settings(), machine, transport).await;
        match opened {
            Err(ConsensusError::Storage(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(open(1).await, StorageError::Locked { .. }));
    member.consensus.stop().await;
    assert!(matches!(open(2).await, StorageError::OtherMember { found: 1, asked: 2, .. }));
    std::fs::remove_file(member.dir.path().join("member")).expect("was there");
    std::fs::write(member.dir.path().join("vote"), b"x").expect("written");
    assert!(matches!(open(1).await, StorageError::NoMember { .. }));
}

#[tokio::test]
async fn a_failed_sync_stops_the_member_and_loses_nothing_that_was_said() {
    let net = Arc::new(Net::default());
    let member = Member::start(&net, 1, settings()).await;
    member.consensus.init(address(1)).await.expect("forms a log");
    member.must("kept").await;

    let faults = &member.consensus.inner.disk.faults;
    faults.fail_syncs.store(true, std::sync::atomic::Ordering::SeqCst);
    let lost = member.consensus.propose(b"maybe".to_vec(), DEADLINE).await.expect_err("not durable");
    assert!(lost.outcome_unknown(), "{lost:?}");
    let state = member.until("a failure", |state| state.failure.is_some()).await;
    assert!(state.failure.as_ref().is_some_and(|why| why.contains("injected")), "{:?}", state.failure);
    faults.fail_syncs.store(false, std::sync::atomic::Ordering::SeqCst);
    // The disk works again, but what is on it is unknown until it is read again.
    let after = member.consensus.propose(b"after".to_vec(), DEADLINE).await;
    assert!(matches!(after, Err(ProposeError::Stopped { .. } | ProposeError::NoLeader)), "{after:?}");

    let member = member.restart().await;
    member.must("later").await;
    let entries = member.machine.entries();
    let known: Vec<&str> = entries.iter().map(String::as_str).filter(|entry| *entry != "maybe").collect();
    assert_eq!(known, ["kept", "later"]);
    member.kill().await;
}

#[tokio::test]
async fn an_entry_that_the_machine_does_not_understand_stops_the_member_and_says_so() {
    let net = Arc::new(Net::default());
    let member = Member::start(&net, 1, settings()).await;
    member.consensus.init(address(1)).await.expect("forms a log");
    member.must("kept").await;
    let unknown = super::machine::Recorder::UNKNOWN.to_vec();
    member.consensus.propose(unknown, DEADLINE).await.expect_err("nobody can say what came of it");
    let state = member.until("a failure", |state| state.failure.is_some()).await;
    assert!(state.failure.as_ref().is_some_and(|why| why.contains("of a newer build")), "{:?}", state.failure);
    assert_eq!(member.machine.entries(), ["kept"]);
    member.kill().await;
}

#[tokio::test]
async fn an_entry_that_is_not_admitted_is_refused_before_it_is_in_the_log() {
    let net = Arc::new(Net::default());
    let admits = |entry: &[u8]| if entry == b"rubbish" { Err("it is rubbish".to_owned()) } else { Ok(()) };
    let member = Member::start(&net, 1, Settings { admits, ..settings() }).await;
    member.consensus.init(address(1)).await.expect("forms a log");
    let refused = member.consensus.propose(b"rubbish".to_vec(), DEADLINE).await;
    assert!(matches!(&refused, Err(ProposeError::Refused { why }) if why == "it is rubbish"), "{refused:?}");
    member.must("kept").await;
    assert_eq!(member.machine.entries(), ["kept"]);
    member.kill().await;
}

#[tokio::test]
async fn a_member_that_is_dropped_frees_its_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let net: Arc<Net> = Arc::default();
    let open = async || {
        let machine = super::machine::Recorder::default();
        let wire = super::net::wire(1, &net);
        let opened = Consensus::open(dir.path(), 1, settings(), Box::new(machine.clone()), wire).await;
        (opened.expect("nobody else has it"), machine)
    };
    let (first, _) = open().await;
    first.init(address(1)).await.expect("forms a log");
    first.propose(b"kept".to_vec(), DEADLINE).await.expect("committed");
    drop(first);
    let (second, machine) = open().await;
    second.propose(b"later".to_vec(), DEADLINE).await.expect("committed");
    assert_eq!(machine.entries(), ["kept", "later"]);
    second.stop().await;
}

#[tokio::test]
async fn an_entry_that_is_too_large_is_refused_at_the_door() {
    let net = Arc::new(Net::default());
    let member = Member::start(&net, 1, settings()).await;
    member.consensus.init(address(1)).await.expect("forms a log");
    let refused = member.consensus.propose(vec![0; crate::MAX_ENTRY_BYTES + 1], DEADLINE).await;
    assert!(matches!(refused, Err(ProposeError::Refused { .. })), "{refused:?}");
    member.kill().await;
}
