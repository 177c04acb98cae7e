//! What the kernel knows, in 128 bits: kept up with every change, made from nothing only to be compared.

use std::collections::BTreeMap;

use super::Kernel;
use crate::digest::{Digest, Fingerprint, Lanes};
use crate::id::{PoolUid, RealmUid, Seq};

/// Which sum of a (pool, realm).
const HELD: u64 = 3;
const RESERVED: u64 = 4;

impl Kernel {
    /// Equal on hosts that know the same, whatever order they heard it in. Costs as much as there are (pool, realm)s.
    pub fn digest(&self) -> Digest {
        let reserved = self.stocks.iter().map(|(of, stock)| (*of, stock.reservations().sum()));
        self.joined(self.holders.sums().iter(), reserved)
    }

    /// The same, from every row.
    #[cfg(feature = "sim")]
    pub fn digest_anew(&self) -> Digest {
        let mut held = crate::digest::Sums::default();
        for row in self.holders.iter() {
            held.add((row.pool, row.realm), crate::digest::of_held(row));
        }
        let reserved = self.stocks.iter().map(|(of, stock)| {
            let rows = stock.reservations().iter().map(|kept| crate::digest::of_reserved(kept));
            (*of, rows.fold(0, u128::wrapping_add))
        });
        self.joined(held.iter(), reserved)
    }

    fn joined(
        &self,
        held: impl Iterator<Item = ((PoolUid, RealmUid), u128)>,
        reserved: impl Iterator<Item = ((PoolUid, RealmUid), u128)>,
    ) -> Digest {
        // A realm's number is this host's own, its name is everybody's.
        let names: BTreeMap<RealmUid, Lanes> = self
            .realms
            .by_name
            .iter()
            .map(|((tenant, name), uid)| {
                let tenant = tenant.as_ref().map_or("", |tenant| tenant.as_str());
                (*uid, Lanes::new(0).bytes(tenant.as_bytes()).bytes(name.as_str().as_bytes()))
            })
            .collect();
        let held = held.map(|(of, sum)| (HELD, of, sum));
        let reserved = reserved.map(|(of, sum)| (RESERVED, of, sum));
        let mut total: u128 = self.notes.sum();
        for (kind, (pool, realm), sum) in held.chain(reserved).filter(|(_, _, sum)| *sum != 0) {
            let name = names.get(&realm).map_or(0, |name| name.sum());
            total = total.wrapping_add(Lanes::new(kind).word(u64::from(pool.0)).wide(name).wide(sum).sum());
        }
        Digest(total)
    }

    /// The digest, and of what it is the digest.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let (mut heard, mut words) = (self.heard.clone(), self.words.clone());
        if let Some(cluster) = &self.cluster {
            heard.insert(cluster.origin, Seq(self.log.next.0.saturating_sub(1)));
            words.insert(cluster.origin, self.log.last_word);
        }
        Fingerprint { heard, words, digest: self.digest() }
    }
}
