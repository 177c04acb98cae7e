//! What other hosts know, by their own word now: all are asked at once, and those count that answer.

use std::collections::BTreeMap;
use std::time::Duration;

use api::cluster::ClusterError;
use api::engine::EngineError;
use futures_util::future;
use kernel::ledger::{Ledger, Member};
use kernel::{Dot, MemberId, Origin, Seq};
use net::{Channel, PeerId};
use tokio::time::Instant;

use super::messages::{self, StateAnswer, StateAsk};
use super::seat::Seat;
use super::{Cluster, Vector, covers};
use crate::driver::ACK_WITHIN;

const ASK_WITHIN: Duration = Duration::from_secs(3);

/// How long others may take to say what they know, and this host to hear it, while somebody waits to be told that something is
/// not there.
const SAID_WITHIN: Duration = Duration::from_secs(1);
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// How long an operator waits for one host to hear what others know of a lost one.
const KNOWN_WITHIN: Duration = Duration::from_secs(15);

/// How far this host knows the log of an origin.
pub(super) fn known_here(cluster: &Cluster, origin: Origin) -> Seq {
    cluster.vector().get(&origin).copied().unwrap_or_default()
}

/// What a peer knows.
async fn ask(cluster: &Cluster, peer: PeerId) -> Option<StateAnswer> {
    ask_within(cluster, peer, ASK_WITHIN).await
}

async fn ask_within(cluster: &Cluster, peer: PeerId, within: Duration) -> Option<StateAnswer> {
    let ask = messages::write(&StateAsk::Look);
    let response = cluster.inner.net.request(peer, Channel::State, ask, within).await.ok()?;
    messages::read(&response.body).ok()
}

/// How far a peer wrote its own log, once it knows what the ledger said up to this entry. `None`: it does not say so, or says
/// less than is known here: then its disk is an older state of itself, and what it wrote in between is not all there is. What is
/// missing here is pulled: what is no word about a resource is told along with the next one only.
pub(super) async fn wrote_until(cluster: &Cluster, peer: PeerId, origin: Origin, told: u64) -> Option<Seq> {
    let known = known_here(cluster, origin);
    let said = ask(cluster, peer).await.filter(|answer| answer.told >= told)?;
    let wrote = said.vector.get(&origin).copied().unwrap_or_default();
    if wrote > known {
        cluster.pull_from(peer);
    }
    (wrote >= known).then_some(wrote)
}

/// When a host asked what others know, and what came of it.
pub(super) type LastCaughtUp = Option<(Instant, Result<(), EngineError>)>;

impl Cluster {
    /// Waits until this host knows what every owner knew, and the ledger as any of them did. Whatever was answered before is on
    /// its owner's disk, so it is known here then. Who asks while others wait goes along with the next round.
    pub(super) async fn catch_up(&self) -> Result<(), EngineError> {
        let asked = Instant::now();
        let mut last = self.inner.caught_up.lock().await;
        if let Some((_, outcome)) = last.as_ref().filter(|(began, _)| *began >= asked) {
            return outcome.clone();
        }
        let began = Instant::now();
        let outcome = self.catch_up_once().await;
        // That something is not there (any more) is said like that it ended: once another host knows all that this one wrote.
        let until = Instant::now() + ACK_WITHIN;
        self.inner.acks.reach(self.inner.parts.view.last_word(), until).await;
        *last = Some((began, outcome.clone()));
        outcome
    }

    async fn catch_up_once(&self) -> Result<(), EngineError> {
        let seat = self.needs_place()?;
        let ledger = seat.book.ledger();
        // What a host answered that was declared lost is told by those that took over, as far as anybody heard.
        let may_answer = |member: &&Member| member.id != seat.me && member.role.owns() && !member.is_deposed();
        let owners = ledger.members().values().filter(may_answer);
        let asked = owners.map(async |owner| {
            let peer = owner.peer.parse::<PeerId>().ok().filter(|_| self.is_connected(&owner.peer));
            match peer {
                Some(peer) => (owner, ask_within(self, peer, SAID_WITHIN).await.map(|answer| (peer, answer))),
                None => (owner, None),
            }
        });
        let (mut unheard, mut told, mut known) = (Vec::new(), 0, Vector::new());
        for (owner, said) in future::join_all(asked).await {
            let Some((peer, answer)) = said else {
                unheard.push(owner.node.to_string());
                continue;
            };
            self.pull_from(peer);
            told = told.max(answer.told);
            known = most(known, std::iter::once(&answer.vector));
        }
        known.remove(&self.inner.settings.origin);
        let (mut heard, mut ledger_told) = (self.inner.heard.subscribe(), self.inner.told.subscribe());
        let caught_up = async {
            heard.wait_for(|heard| covers(heard, &known)).await.is_ok()
                && ledger_told.wait_for(|known| *known >= told).await.is_ok()
        };
        match tokio::time::timeout(HEARD_WITHIN, caught_up).await {
            Ok(true) if unheard.is_empty() => Ok(()),
            Ok(true) => Err(EngineError::Unreachable { hosts: unheard }),
            Ok(false) => Err(EngineError::Stopped),
            Err(_) => {
                unheard.push(format!("{} (it has not heard yet what others know)", self.inner.settings.node));
                Err(EngineError::Unreachable { hosts: unheard })
            }
        }
    }
}

/// What every other member knows.
pub(super) async fn ask_all(cluster: &Cluster, seat: &Seat, ledger: &Ledger) -> BTreeMap<MemberId, StateAnswer> {
    let others = ledger.members().values().filter(|member| member.id != seat.me);
    let asked = others.filter_map(|member| Some((member.id, member.peer.parse::<PeerId>().ok()?)));
    let answers = asked.map(async |(member, peer)| Some((member, ask(cluster, peer).await?)));
    future::join_all(answers).await.into_iter().flatten().collect()
}

/// The same; `None`: those that answered and this host are no majority of the voters. Who has yet to hear what the others know is
/// not counted: it may have forgotten what it and another knew.
pub(super) async fn ask_most(
    cluster: &Cluster,
    seat: &Seat,
    ledger: &Ledger,
) -> Option<BTreeMap<MemberId, StateAnswer>> {
    let answers = ask_all(cluster, seat, ledger).await;
    let voters = seat.voters();
    let knows = |voter: &MemberId| answers.get(voter).is_some_and(|answer| answer.told > 0);
    let said = voters.iter().filter(|voter| **voter == seat.me || knows(voter)).count();
    (said * 2 > voters.len()).then_some(answers)
}

/// How far each log is known to this host or to anybody who answered.
pub(super) fn most<'v>(own: Vector, said: impl Iterator<Item = &'v Vector>) -> Vector {
    let mut known = own;
    for (origin, through) in said.flatten() {
        let most = known.entry(*origin).or_default();
        *most = (*through).max(*most);
    }
    known
}

/// The last operation of an origin that anybody has, a majority of the voters among them, once this host has it too.
pub(super) async fn last_words(cluster: &Cluster, seat: &Seat, ledger: &Ledger, origin: Origin) -> Option<Seq> {
    let cut = known_here(cluster, origin);
    let answers = ask_most(cluster, seat, ledger).await?;
    let said = answers.iter().map(|(member, answer)| (answer.vector.get(&origin).copied().unwrap_or_default(), member));
    if let Some((_, member)) = said.max().filter(|(theirs, _)| *theirs > cut) {
        // What is missing is pulled; the next round looks again.
        cluster.pull_from(seat.peer_of(*member)?);
        return None;
    }
    Some(cut)
}

/// Whether no member has more of any of these logs than they say, by the word of each since it knows whose hosts are members. Who is
/// down may have more, and is removed if it is lost. What others have is pulled; the next round looks again.
pub(super) async fn nobody_has_more(cluster: &Cluster, seat: &Seat, ledger: &Ledger, logs: &[Dot]) -> bool {
    let answers = ask_all(cluster, seat, ledger).await;
    let mut others = ledger.members().keys().filter(|member| **member != seat.me);
    if !others.all(|member| answers.get(member).is_some_and(|answer| answer.told >= ledger.last_index())) {
        return false;
    }
    let has_more = |answer: &StateAnswer| {
        logs.iter().any(|log| answer.vector.get(&log.origin).is_some_and(|known| *known > log.seq))
    };
    let mut with_more = answers.iter().filter(|(_, answer)| has_more(answer)).peekable();
    let nobody = with_more.peek().is_none();
    with_more.filter_map(|(member, _)| seat.peer_of(*member)).for_each(|peer| cluster.pull_from(peer));
    nobody
}

/// Before a lost host's shards are another one's: waits until that one has what any member knows of the lost host's log. It would
/// give out again what was given out, as far as it had not heard, and nobody waits for a majority in escrow.
pub(super) async fn await_known_by(
    cluster: &Cluster,
    seat: &Seat,
    to: MemberId,
    from: MemberId,
) -> Result<(), ClusterError> {
    let until = Instant::now() + KNOWN_WITHIN;
    loop {
        let ledger = seat.book.ledger();
        let Some(lost) = ledger.member(from) else { return Ok(()) };
        let answers = ask_all(cluster, seat, &ledger).await;
        let members = ledger.members().keys().copied().filter(|member| *member != from);
        let known: BTreeMap<MemberId, Seq> = members
            .map(|member| {
                let said = answers.get(&member).and_then(|answer| answer.vector.get(&lost.origin).copied());
                (member, said.unwrap_or_else(|| said_last(cluster, seat, member, lost.origin)))
            })
            .collect();
        let behind = known.get(&to) < known.values().max();
        if !behind {
            return Ok(());
        }
        if Instant::now() >= until {
            let to = ledger.member(to).map_or_else(|| format!("member {to}"), |member| member.node.to_string());
            let why = format!("{to} has not heard yet all that others know of what {} wrote; ask again", lost.node);
            return Err(ClusterError::Unavailable(why));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How far a member that does not answer said last that it knows the log of an origin.
fn said_last(cluster: &Cluster, seat: &Seat, member: MemberId, origin: Origin) -> Seq {
    if member == seat.me {
        return known_here(cluster, origin);
    }
    seat.peer_of(member).and_then(|peer| cluster.said_by(peer, origin)).unwrap_or_default()
}
