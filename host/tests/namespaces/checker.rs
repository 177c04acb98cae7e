//! Judges what clients recorded and what the hosts list in the end.
//!
//! It counts as held only what a client can be sure of, so whatever it reports is a fault: from the arrival of the answer to
//! the start of the first request that may end it, or to the end of the lease counted from the start of the request.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::UNHEALED_MS;
use crate::history::{Asked, Outcome, Record};

/// What was answered so long before hosts lost each other, all of them know.
const KNOWN_MS: u64 = 2_000;

/// A request whose client gave up may still be decided so much later: its host may have been stopped or cut off.
const LATE_MS: u64 = 20_000;

/// Subscriber to address.
pub(crate) type Held = BTreeMap<(String, String), Vec<String>>;

/// What one host shows when all is calm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// By pool and subscriber.
    pub(crate) held: Held,
    /// How far each host's operations are known.
    pub(crate) vector: BTreeMap<String, u64>,
    /// When it was asked for.
    pub(crate) at_ms: u64,
}

/// Two addresses of one subscriber of which one stands, as a host listed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) id: String,
    pub(crate) pool: String,
    pub(crate) subscriber: String,
    pub(crate) superseded: String,
    pub(crate) survivor: String,
}

/// A time in which an owner could not be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Excused {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
}

/// What must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// I1: two subscribers hold an address at once.
    HeldTwice { pool: String, address: String, first: Claim, second: Claim },
    /// I2: an answer was forgotten.
    Forgotten { host: usize, pool: String, claim: Claim, listed: Vec<String> },
    /// I3: what was released is held again.
    Undone { host: usize, pool: String, subscriber: String, listed: Vec<String> },
    /// I4: hosts differ.
    Differ { host: usize, what: String },
    /// I5: a subscriber got another address although it held one.
    Moved { pool: String, first: Claim, second: Claim },
    /// I5: a subscriber has several allocations.
    Several { pool: String, subscriber: String, listed: Vec<String> },
    /// A host lists an address for two subscribers.
    ListedTwice { host: usize, pool: String, address: String, subscribers: Vec<String> },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A subscriber's hold of an address, by its client's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) subscriber: String,
    pub(crate) address: String,
    pub(crate) from_ms: u64,
    /// `None`: to the end.
    pub(crate) until_ms: Option<u64>,
    /// The request that it was the answer to.
    pub(crate) asked_ms: u64,
    pub(crate) client: String,
    pub(crate) host: usize,
    pub(crate) epoch: u32,
    pub(crate) supersedes: Option<String>,
}

impl Claim {
    fn overlaps(&self, other: &Self) -> bool {
        let before = |a: &Self, b: &Self| a.until_ms.is_none_or(|until| b.from_ms < until);
        before(self, other) && before(other, self)
    }
}

/// When whatever the request does is done at the latest.
fn settled_ms(record: &Record) -> u64 {
    match record.outcome {
        Outcome::Unknown { .. } => record.start_ms + LATE_MS,
        Outcome::Granted(_) | Outcome::Dropped { .. } | Outcome::Released | Outcome::Nothing => record.end_ms,
    }
}

/// Every hold, by pool and subscriber.
fn claims(records: &[Record]) -> BTreeMap<(&str, &str), Vec<Claim>> {
    let mut releases: BTreeMap<(&str, &str), Vec<&Record>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.asked == Asked::Release) {
        releases.entry((&record.pool, &record.subscriber)).or_default().push(record);
    }
    let mut claims: BTreeMap<(&str, &str), Vec<Claim>> = BTreeMap::new();
    for record in records.iter().filter(|record| matches!(record.asked, Asked::Allocate | Asked::Renew)) {
        let Outcome::Granted(grant) = &record.outcome else { continue };
        let whose = (record.pool.as_str(), record.subscriber.as_str());
        let ends = releases.get(&whose).into_iter().flatten();
        let ends = ends.filter(|release| settled_ms(release) > record.start_ms).map(|release| release.start_ms);
        let over = grant.lease_ms.map(|lease_ms| record.start_ms + lease_ms);
        let until_ms = ends.chain(over).min();
        if until_ms.is_some_and(|until_ms| until_ms <= record.end_ms) {
            continue;
        }
        claims.entry(whose).or_default().push(Claim {
            subscriber: record.subscriber.clone(),
            address: grant.address.clone(),
            from_ms: record.end_ms,
            until_ms,
            asked_ms: record.start_ms,
            client: record.client.clone(),
            host: record.host,
            epoch: grant.fence.epoch,
            supersedes: grant.supersedes.clone(),
        });
    }
    for held in claims.values_mut() {
        held.sort_by_key(|claim| claim.from_ms);
    }
    claims
}

/// Everything that is wrong, or nothing. `conflicts` are those that were open when all was calm, and confirmed then.
pub(crate) fn judge(
    records: &[Record],
    listings: &[Listing],
    excused: &[Excused],
    conflicts: &[Conflict],
) -> Vec<Violation> {
    let mut claims = claims(records);
    let mut found = moved(&claims, excused, conflicts);
    // A subscriber that was given another address uses that one from then on.
    for held in claims.values_mut() {
        for at in 1..held.len() {
            let (before, rest) = held.split_at_mut(at);
            for earlier in before.iter_mut().filter(|earlier| earlier.address != rest[0].address) {
                earlier.until_ms = Some(earlier.until_ms.map_or(rest[0].from_ms, |until| until.min(rest[0].from_ms)));
            }
        }
    }
    found.extend(held_twice(&claims));
    found.extend(forgotten(&claims, listings));
    found.extend(undone(records, listings));
    found.extend(differ(listings));
    for (host, listing) in listings.iter().enumerate() {
        found.extend(listed_twice(host, listing));
    }
    found
}

/// I1.
fn held_twice(claims: &BTreeMap<(&str, &str), Vec<Claim>>) -> Vec<Violation> {
    let mut by_address: BTreeMap<(&str, &str), Vec<&Claim>> = BTreeMap::new();
    for ((pool, _), held) in claims {
        for claim in held {
            by_address.entry((pool, &claim.address)).or_default().push(claim);
        }
    }
    let mut found = Vec::new();
    for ((pool, address), held) in by_address {
        for (at, first) in held.iter().enumerate() {
            let others = held.iter().skip(at + 1).filter(|other| other.subscriber != first.subscriber);
            found.extend(others.filter(|other| first.overlaps(other)).map(|second| Violation::HeldTwice {
                pool: pool.to_owned(),
                address: address.to_owned(),
                first: (*first).clone(),
                second: (*second).clone(),
            }));
        }
    }
    found
}

/// I2: what is held for longer than the hosts were asked is listed by each of them.
fn forgotten(claims: &BTreeMap<(&str, &str), Vec<Claim>>, listings: &[Listing]) -> Vec<Violation> {
    let mut found = Vec::new();
    for ((pool, subscriber), held) in claims {
        for (host, listing) in listings.iter().enumerate() {
            let listed = listing.held.get(&((*pool).to_owned(), (*subscriber).to_owned()));
            let listed = listed.cloned().unwrap_or_default();
            let mut last = held.iter().rev().filter(|claim| claim.until_ms.is_none_or(|until| until > listing.at_ms));
            if let Some(claim) = last.next().filter(|claim| !listed.contains(&claim.address)) {
                found.push(Violation::Forgotten { host, pool: (*pool).to_owned(), claim: claim.clone(), listed });
            }
        }
    }
    found
}

/// I3: a release that was answered, and after which nobody asked again, stands. A release ends what was answered last, and
/// beside it whatever the asked host knew of: not what a subscriber got from a host that could not be heard.
fn undone(records: &[Record], listings: &[Listing]) -> Vec<Violation> {
    let mut last: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    let mut granted: BTreeMap<(&str, &str), (u64, &str)> = BTreeMap::new();
    for record in records {
        let whose = (record.pool.as_str(), record.subscriber.as_str());
        let (released, asked) = last.entry(whose).or_default();
        if let Outcome::Granted(grant) | Outcome::Dropped { grant, .. } = &record.outcome {
            let latest = granted.entry(whose).or_default();
            *latest = (*latest).max((record.end_ms, grant.address.as_str()));
        }
        match (record.asked, &record.outcome) {
            (Asked::Release, Outcome::Released) => *released = (*released).max(record.start_ms),
            (Asked::Allocate | Asked::Renew, _) => *asked = (*asked).max(settled_ms(record)),
            (Asked::Release | Asked::LookUp, _) => {}
        }
    }
    let ended = last.into_iter().filter(|(_, (released, asked))| *released > 0 && asked < released);
    let mut found = Vec::new();
    for ((pool, subscriber), _) in ended {
        for (host, listing) in listings.iter().enumerate() {
            let given = granted.get(&(pool, subscriber)).map(|(_, address)| *address);
            let listed = listing.held.get(&(pool.to_owned(), subscriber.to_owned()));
            let undone = |listed: &&Vec<String>| given.is_none_or(|given| listed.iter().any(|one| one == given));
            if let Some(listed) = listed.filter(undone) {
                let (pool, subscriber, listed) = (pool.to_owned(), subscriber.to_owned(), listed.clone());
                found.push(Violation::Undone { host, pool, subscriber, listed });
            }
        }
    }
    found
}

/// I4.
fn differ(listings: &[Listing]) -> Vec<Violation> {
    let Some(first) = listings.first() else { return Vec::new() };
    let mut found = Vec::new();
    for (host, listing) in listings.iter().enumerate().skip(1) {
        if listing.vector != first.vector {
            let what = format!("host 0 knows {:?}, this one {:?}", first.vector, listing.vector);
            found.push(Violation::Differ { host, what });
        }
        let whose: BTreeSet<_> = first.held.keys().chain(listing.held.keys()).collect();
        for whose in whose {
            let (theirs, here) = (first.held.get(whose), listing.held.get(whose));
            if theirs != here {
                let what = format!("{whose:?}: host 0 lists {theirs:?}, this one {here:?}");
                found.push(Violation::Differ { host, what });
            }
        }
    }
    found
}

/// Whether two answers stood side by side for no longer than hosts take to hear of each other's: the home may send a subscriber
/// to a host that has not heard of the earlier one, whose answer then says nothing of it, and the two are not a listed conflict
/// before all have heard of both. Unjoined for longer, nobody ever noticed.
fn were_brief(first: &Claim, second: &Claim) -> bool {
    let both_from_ms = first.from_ms.max(second.from_ms);
    let one_until_ms = first.until_ms.into_iter().chain(second.until_ms).min();
    one_until_ms.is_some_and(|until_ms| until_ms <= both_from_ms + UNHEALED_MS)
}

/// I5, as clients saw it: a subscriber is given another address only if that answer says which one it supersedes, or the two
/// were known to be a conflict, or no host could know of the first: it was answered when they had lost each other, or hardly
/// before.
fn moved(claims: &BTreeMap<(&str, &str), Vec<Claim>>, excused: &[Excused], conflicts: &[Conflict]) -> Vec<Violation> {
    let mut found = Vec::new();
    for ((pool, subscriber), held) in claims {
        let pairs = pairs(pool, subscriber, held, conflicts);
        let known_ms = |address: &str| {
            let known = held.iter().filter(|claim| claim.address == address).map(|claim| claim.from_ms);
            known.min().map_or(0, |from_ms| from_ms + KNOWN_MS)
        };
        let is_excused = |first: &Claim, second: &Claim| {
            let apart = |one: &&Excused| second.asked_ms <= one.to_ms && one.from_ms <= second.from_ms;
            // Whoever gave the later one knew of the earlier one, unless nobody else could by then.
            let earlier_ms = known_ms(&first.address).min(known_ms(&second.address));
            excused.iter().filter(apart).any(|one| one.from_ms <= earlier_ms)
        };
        for (at, first) in held.iter().enumerate() {
            let others = held.iter().skip(at + 1).filter(|other| other.address != first.address);
            let wrong = others.filter(|other| {
                first.overlaps(other)
                    && !were_brief(first, other)
                    && !are_joined(&pairs, &first.address, &other.address)
                    && !is_excused(first, other)
            });
            found.extend(wrong.map(|second| Violation::Moved {
                pool: (*pool).to_owned(),
                first: first.clone(),
                second: second.clone(),
            }));
        }
    }
    found
}

/// The addresses of a subscriber of which one is known to supersede the other.
fn pairs<'a>(pool: &str, subscriber: &str, held: &'a [Claim], conflicts: &'a [Conflict]) -> Vec<(&'a str, &'a str)> {
    let marked = held.iter().filter_map(|claim| Some((claim.address.as_str(), claim.supersedes.as_deref()?)));
    let his = conflicts.iter().filter(|conflict| conflict.pool == pool && conflict.subscriber == subscriber);
    marked.chain(his.map(|conflict| (conflict.survivor.as_str(), conflict.superseded.as_str()))).collect()
}

/// Whether a chain of pairs leads from one to the other.
fn are_joined(pairs: &[(&str, &str)], one: &str, other: &str) -> bool {
    let mut reached = BTreeSet::from([one]);
    loop {
        let beyond: Vec<&str> = pairs
            .iter()
            .flat_map(|(a, b)| [(*a, *b), (*b, *a)])
            .filter(|(from, to)| reached.contains(from) && !reached.contains(to))
            .map(|(_, to)| to)
            .collect();
        if beyond.is_empty() {
            return reached.contains(other);
        }
        reached.extend(beyond);
    }
}

/// I1 and I5, as a host lists them.
fn listed_twice(host: usize, listing: &Listing) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut holders: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for ((pool, subscriber), addresses) in &listing.held {
        if addresses.len() > 1 {
            let (pool, subscriber, listed) = (pool.clone(), subscriber.clone(), addresses.clone());
            found.push(Violation::Several { pool, subscriber, listed });
        }
        for address in addresses {
            holders.entry((pool, address)).or_default().push(subscriber.clone());
        }
    }
    found.extend(holders.into_iter().filter(|(_, subscribers)| subscribers.len() > 1).map(
        |((pool, address), subscribers)| {
            let (pool, address) = (pool.to_owned(), address.to_owned());
            Violation::ListedTwice { host, pool, address, subscribers }
        },
    ));
    found
}
