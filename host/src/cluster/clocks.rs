//! Clocks of hosts that differ. Leases end by what their records say, so who takes a shard over ends them by its own clock; the
//! kernel allows for as much as two hosts may be apart, and who is further off may not serve.
//!
//! Each host may be half of that away from most others, so any two that may serve are no further apart. What counts is the kept
//! clock, by which leases are written and ended, as long as its host believes it. The system's own counts while a process is young,
//! because it was begun by it; one that is set later harms nothing before the next start.

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::NodeId;
use net::PeerId;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::messages::Hour;
use super::{Cluster, door};
use crate::clock;

/// Who was asked on the way for longer says nothing precise enough.
const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// How often the others are asked again: a clock may come to be believed, or be set.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// How long it is waited for others' word while as many are against this host as for it.
const UNDECIDED_WITHIN: Duration = Duration::from_mins(1);

/// How much longer each member waits than the one before it, so that those who yield to the same word do not end at once: most of
/// them, started again, decide it for the rest.
const YIELD_APART: Duration = Duration::from_secs(20);

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the system's clock counts from a process's start.
const YOUNG: Duration = Duration::from_mins(1);

/// A host's kept clock as this host saw it, in milliseconds. Only what its host believes itself.
#[derive(Clone, Debug)]
struct Seen {
    node: NodeId,
    /// How far it is ahead of the clock since boot.
    kept_ms: i64,
    /// How far it was ahead of the system's.
    wall_ms: i64,
    /// How much longer than this one its process has been there, milliseconds.
    older_ms: i64,
    /// How far it may be away at most, milliseconds: half of what the stricter of the two allows.
    allowed_ms: u64,
}

impl Seen {
    /// How far the clocks are apart, if that is too much. An own kept clock that is ahead and not believed does no harm: what is
    /// written by it ends late, and it ends nothing.
    fn apart_ms(&self, own: Own) -> Option<u64> {
        let ahead_ms = self.kept_ms.saturating_sub(own.offset_ms);
        let kept_ms = if ahead_ms > 0 || own.believed { ahead_ms.unsigned_abs() } else { 0 };
        let wall_ms = if own.young { self.wall_ms.unsigned_abs() } else { 0 };
        let apart_ms = kept_ms.max(wall_ms);
        (apart_ms > self.allowed_ms).then_some(apart_ms)
    }
}

/// This host's kept clock.
#[derive(Clone, Copy, Debug)]
struct Own {
    /// Less its clock since boot.
    offset_ms: i64,
    believed: bool,
    /// The system's clock shows the same so well that others may go by it.
    tells: bool,
    /// Its process has just begun.
    young: bool,
}

/// What other hosts' clocks showed when they were asked last.
#[derive(Debug, Default)]
pub(super) struct Clocks(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    seen: BTreeMap<PeerId, Seen>,
    /// With which offset some host's clock showed the same.
    confirmed: Option<i64>,
    undecided_since: Option<Instant>,
}

/// Whose clock is right, as far as it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nobody has shown anything.
    Unknown,
    Agreed,
    /// As many are for this host as against it.
    Undecided {
        /// If nobody else is heard: they were there before this process.
        yields: bool,
    },
    Wrong,
}

/// What the members that were met say about this host's clock, `others` being all there are.
fn judge(met: &[Seen], others: usize, own: Own) -> Verdict {
    let (against, with): (Vec<&Seen>, Vec<&Seen>) = met.iter().partition(|seen| seen.apart_ms(own).is_some());
    // Those who differ from each other, too, are not more right than this host.
    let like = |one: &Seen| -> Vec<&Seen> {
        let is_like =
            |other: &&&Seen| other.kept_ms.abs_diff(one.kept_ms) <= one.allowed_ms && other.kept_ms >= one.kept_ms;
        against.iter().filter(is_like).copied().collect()
    };
    let theirs = against.iter().map(|one| like(one)).max_by_key(Vec::len).unwrap_or_default();
    let ours = 1 + with.len();
    if theirs.len() > ours && theirs.len() * 2 > others {
        return Verdict::Wrong;
    }
    if theirs.len() >= ours {
        let oldest = |group: &[&Seen]| group.iter().map(|seen| seen.older_ms).max();
        let ours_oldest = oldest(&with).unwrap_or_default().max(0);
        let older = oldest(&theirs).is_some_and(|theirs| theirs > ours_oldest);
        // Its own system's clock is with them.
        let set = |seen: &&Seen| !own.tells && seen.wall_ms.unsigned_abs() <= seen.allowed_ms;
        return Verdict::Undecided { yields: theirs.len() > ours || older || theirs.iter().any(set) };
    }
    if with.is_empty() { Verdict::Unknown } else { Verdict::Agreed }
}

impl Cluster {
    /// What this host's clocks show, and for how long its process has been there.
    pub(super) fn hour(&self) -> Hour {
        let own = self.own_clock();
        let kept = own.tells.then(|| clock::boot_ms().saturating_add_signed(own.offset_ms));
        Hour { age: self.age_ms(), kept, tolerance: self.tolerance_ms() }
    }

    fn age_ms(&self) -> u64 {
        clock::boot_ms().saturating_sub(self.inner.began_ms)
    }

    /// How far two hosts' clocks may be apart, milliseconds.
    pub(super) fn tolerance_ms(&self) -> u64 {
        u64::try_from(self.inner.settings.clock_tolerance.as_millis()).unwrap_or(u64::MAX)
    }

    /// How far another host's clock may be away.
    pub(super) fn clocks_allowed(&self) -> Duration {
        self.inner.settings.clock_tolerance / 2
    }

    fn own_clock(&self) -> Own {
        let offset_ms = self.inner.parts.view.wall_offset_ms();
        let young = Duration::from_millis(self.age_ms()) < YOUNG;
        let believed = !self.inner.parts.vitals.suspects_clock();
        // As much as others may be away: two that went by such a clock would be too far from each other, and who starts by the
        // system's new time must not be the one that is wrong.
        let set_by_ms = offset_ms.abs_diff(wall_offset_ms());
        let tells = believed && set_by_ms <= self.tolerance_ms() / 2;
        Own { offset_ms, believed, tells, young }
    }

    /// What another host's showed in an answer that took so long. Ends this process if its own clock is the wrong one.
    pub(super) fn compare_clocks(&self, peer: PeerId, node: &NodeId, theirs: Hour, took: Duration) {
        if took > ASKED_WITHIN {
            return;
        }
        let on_the_way = u64::try_from(took.as_millis()).unwrap_or(u64::MAX) / 2;
        let ahead =
            |theirs: u64, own: u64| theirs.saturating_add(on_the_way).cast_signed().saturating_sub_unsigned(own);
        let seen = theirs.kept.map(|kept| Seen {
            node: node.clone(),
            kept_ms: ahead(kept, clock::boot_ms()),
            wall_ms: ahead(kept, clock::wall_ms()),
            older_ms: ahead(theirs.age, self.age_ms()),
            allowed_ms: self.tolerance_ms().min(theirs.tolerance) / 2,
        });
        match seen {
            Some(seen) => _ = self.inner.clocks.0.lock().seen.insert(peer, seen),
            None => self.forget_clock(peer),
        }
        self.judge_clock();
    }

    /// Ends this process if its clock is the wrong one.
    fn judge_clock(&self) {
        let own = self.own_clock();
        let (verdict, _) = self.clock_verdict(own);
        let yields_within = UNDECIDED_WITHIN + YIELD_APART * self.rank();
        let mut known = self.inner.clocks.0.lock();
        if verdict == Verdict::Agreed && own.believed {
            known.confirmed = Some(own.offset_ms);
        }
        let is_wrong = if let Verdict::Undecided { yields } = verdict {
            yields && known.undecided_since.get_or_insert_with(Instant::now).elapsed() >= yields_within
        } else {
            known.undecided_since = None;
            verdict == Verdict::Wrong
        };
        drop(known);
        if !is_wrong {
            return;
        }
        let against = self.against();
        let named: Vec<String> =
            against.iter().map(|(node, apart_ms)| format!("{node} ({} s)", apart_ms / 1_000)).collect();
        tracing::error!(
            others = named.join(", "),
            "this host ends: its clock is too far from most other hosts' ({} s are allowed), so leases would end wrongly: let it follow a time server and start it again",
            self.clocks_allowed().as_secs()
        );
        std::process::exit(1);
    }

    /// How many members come before this host.
    fn rank(&self) -> u32 {
        let before = self.seat().map(|seat| seat.book.ledger().members().range(..seat.me).count());
        before.and_then(|before| u32::try_from(before).ok()).unwrap_or_default()
    }

    /// The members that were met, and how many others there are.
    fn met(&self) -> (Vec<Seen>, usize) {
        let Some(seat) = self.seat() else { return (Vec::new(), 0) };
        let others = seat.book.ledger().members().len().saturating_sub(1);
        let known = self.inner.clocks.0.lock();
        let members = known.seen.iter().filter(|(peer, _)| seat.member_of(**peer).is_some());
        (members.map(|(_, seen)| seen.clone()).collect(), others)
    }

    fn clock_verdict(&self, own: Own) -> (Verdict, usize) {
        let (met, others) = self.met();
        (judge(&met, others, own), others)
    }

    /// The kept clock less the clock since boot, if leases may end by it; or the system's, if the kept one is ahead of it and the
    /// others' show the same as that.
    pub(super) fn agreed_offset_ms(&self) -> Option<i64> {
        let own = self.own_clock();
        if !own.believed {
            let offsets = [own.offset_ms, wall_offset_ms()];
            let as_believed = |offset_ms: &i64| Own { offset_ms: *offset_ms, believed: true, ..own };
            let agrees = |offset_ms: &i64| self.clock_verdict(as_believed(offset_ms)).0 == Verdict::Agreed;
            return offsets.into_iter().find(agrees);
        }
        let confirmed = || self.inner.clocks.0.lock().confirmed == Some(own.offset_ms);
        let agreed = match self.clock_verdict(own) {
            (Verdict::Agreed, _) => true,
            (Verdict::Unknown, others) => others == 0 || confirmed(),
            (Verdict::Undecided { .. } | Verdict::Wrong, _) => false,
        };
        agreed.then_some(own.offset_ms)
    }

    /// Members whose clocks are too far from this host's, and how far.
    fn against(&self) -> Vec<(NodeId, u64)> {
        let own = self.own_clock();
        let apart = |seen: Seen| seen.apart_ms(own).map(|apart_ms| (seen.node, apart_ms));
        self.met().0.into_iter().filter_map(apart).collect()
    }

    pub(super) fn forget_clock(&self, peer: PeerId) {
        self.inner.clocks.0.lock().seen.remove(&peer);
    }

    /// Whose clocks differ, and that no other host's was seen yet, in words.
    pub(super) fn differing_clocks(&self) -> Vec<String> {
        let (own, allowed) = (&self.inner.settings.node, self.clocks_allowed());
        let differ = self.against().into_iter().map(|(node, apart_ms)| apart(&node, own, apart_ms, allowed));
        let alone = self.met().0.is_empty() && self.agreed_offset_ms().is_none();
        let unseen = alone.then(|| {
            "no other host has confirmed this host's clock since it started: leases do not end here until one does"
                .to_owned()
        });
        differ.chain(unseen).collect()
    }
}

/// The system's clock less the clock since boot.
fn wall_offset_ms() -> i64 {
    clock::wall_ms().cast_signed().saturating_sub_unsigned(clock::boot_ms())
}

/// Asks the others again and again.
pub(super) async fn run(cluster: Cluster) {
    let mut asked = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = cluster.stopping().cancelled() => return,
        }
        cluster.judge_clock();
        if asked.elapsed() < ASK_EVERY {
            continue;
        }
        asked = Instant::now();
        let Some(seat) = cluster.seat() else { continue };
        for peer in cluster.inner.net.connected().into_iter().filter(|peer| seat.member_of(*peer).is_some()) {
            let cluster = cluster.clone();
            tokio::spawn(async move { door::compare(&cluster, peer).await });
        }
    }
}

/// That two hosts' clocks are too far from each other.
pub(super) fn apart(one: &NodeId, other: &NodeId, apart_ms: u64, allowed: Duration) -> String {
    format!(
        "the clocks of {one} and {other} are {} s apart, at most {} s are allowed: let both follow a time server",
        apart_ms / 1_000,
        allowed.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    const OWN: Own = Own { offset_ms: 0, believed: true, tells: true, young: false };
    const DOUBTED: Own = Own { believed: false, tells: false, ..OWN };
    const YOUNG: Own = Own { young: true, ..DOUBTED };

    fn seen(kept_ms: i64, older_ms: i64) -> Seen {
        let node = "core-1".parse().expect("a node id");
        Seen { node, kept_ms, wall_ms: 0, older_ms, allowed_ms: 30_000 }
    }

    fn judged(met: &[Seen], others: usize) -> Verdict {
        judge(met, others, OWN)
    }

    #[test]
    fn whom_most_others_contradict_is_wrong() {
        assert_eq!(judged(&[seen(MINUTE, -1), seen(MINUTE, -1)], 2), Verdict::Wrong);
        assert_eq!(judged(&[seen(-MINUTE, -1), seen(-MINUTE - 1, -1), seen(-MINUTE, 1)], 3), Verdict::Wrong);
        assert_eq!(judged(&[seen(0, 1), seen(MINUTE, 1)], 2), Verdict::Agreed);
        assert_eq!(judged(&[seen(30_000, 1)], 2), Verdict::Agreed);
    }

    #[test]
    fn of_as_many_the_process_that_was_there_first_is_right() {
        assert_eq!(judged(&[seen(MINUTE, 1)], 1), Verdict::Undecided { yields: true });
        assert_eq!(judged(&[seen(MINUTE, -1)], 1), Verdict::Undecided { yields: false });
        // Others may be down.
        assert_eq!(judged(&[seen(MINUTE, 1)], 4), Verdict::Undecided { yields: true });
        assert_eq!(judged(&[seen(0, 5), seen(MINUTE, 1), seen(MINUTE, 2)], 3), Verdict::Undecided { yields: false });
        assert_eq!(judged(&[seen(0, 5), seen(MINUTE, 6), seen(MINUTE, 2)], 3), Verdict::Undecided { yields: true });
        // Who is alone with its clock yields to more than itself even where they are no majority.
        assert_eq!(judged(&[seen(MINUTE, -1), seen(MINUTE, -1)], 4), Verdict::Undecided { yields: true });
    }

    #[test]
    fn where_all_differ_nobody_is_more_right_than_who_was_there_first() {
        assert_eq!(judged(&[seen(MINUTE, -1), seen(-MINUTE, -1)], 2), Verdict::Undecided { yields: false });
        assert_eq!(judged(&[seen(MINUTE, -2), seen(2 * MINUTE, -1), seen(0, 1)], 3), Verdict::Agreed);
        assert_eq!(judged(&[], 2), Verdict::Unknown);
    }

    #[test]
    fn a_kept_clock_that_nobody_believes_may_be_ahead() {
        assert_eq!(seen(-MINUTE, 1).apart_ms(OWN), Some(60_000));
        assert_eq!(seen(-MINUTE, 1).apart_ms(DOUBTED), None);
        assert_eq!(seen(MINUTE, 1).apart_ms(DOUBTED), Some(60_000));
    }

    #[test]
    fn the_systems_clock_counts_only_while_a_process_is_young() {
        let set = Seen { wall_ms: -MINUTE, ..seen(0, 1) };
        assert_eq!((set.apart_ms(OWN), set.apart_ms(YOUNG)), (None, Some(60_000)));
    }
}
