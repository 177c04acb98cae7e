//! What pool drafts say, compared: shared by the kernel of a host that is alone and by the ledger of a cluster, so that
//! both accept and refuse the same.

use std::fmt;

use compact_str::{CompactString, format_compact};

use crate::id::{Epoch, ShardId};
use crate::pool::{Alignment, PoolDraft, Shard};
use crate::space::{cut_more_shards, cut_shards};
use crate::span::Span;

/// Most shards a pool may have.
pub(crate) const MOST_SHARDS: usize = 16_384;

/// A field that an update would change and may not.
#[derive(Debug)]
pub(crate) struct FixedField {
    pub(crate) field: &'static str,
    pub(crate) found: CompactString,
    pub(crate) wanted: CompactString,
}

/// What an operator wrote differently. The plugin's reading of an equal spec does not count.
pub(crate) fn differences(found: &PoolDraft, wanted: &PoolDraft) -> Vec<CompactString> {
    let (found_terms, wanted_terms) = (&found.terms, &wanted.terms);
    let fields = [
        ("type", found.type_id == wanted.type_id),
        ("realm", found.realm == wanted.realm),
        ("spec", found.spec == wanted.spec),
        ("sharding_factor", found.sharding_factor == wanted.sharding_factor),
        ("strategy", found_terms.strategy == wanted_terms.strategy),
        ("lease", found_terms.lease == wanted_terms.lease),
        ("hold_down", found_terms.hold_down_ms == wanted_terms.hold_down_ms),
        ("strict", found_terms.strict == wanted_terms.strict),
        ("ack", found_terms.ack == wanted_terms.ack),
        ("realm_by", found_terms.realm_by == wanted_terms.realm_by),
        ("metadata", found_terms.metadata == wanted_terms.metadata),
        ("extra", found.extra == wanted.extra),
    ];
    fields.into_iter().filter(|(_, same)| !same).map(|(field, _)| field.into()).collect()
}

/// The first field that differs and cannot change while a pool lives, because allocations and shards are made of it. The
/// cut is not among them: only new shards are cut by it.
pub(crate) fn fixed_difference(found: &PoolDraft, wanted: &PoolDraft) -> Option<FixedField> {
    let (old, new) = (&found.geometry, &wanted.geometry);
    let (old_sizing, new_sizing) = (&old.sizing, &new.sizing);
    let fields = [
        ("tenant", fixed(&found.tenant, &wanted.tenant)),
        ("id", fixed(&found.id, &wanted.id)),
        ("type", fixed(&found.type_id, &wanted.type_id)),
        ("realm", fixed(&found.realm.name, &wanted.realm.name)),
        ("shared", fixed(&found.realm.shared, &wanted.realm.shared)),
        ("realm_by", fixed(&Listed(&found.terms.realm_by), &Listed(&wanted.terms.realm_by))),
        ("sharding_factor", fixed(&Wished(found.sharding_factor), &Wished(wanted.sharding_factor))),
        ("grain", fixed(&Positions(old.grain), &Positions(new.grain))),
        ("alignment", fixed(&Aligned(old_sizing.align), &Aligned(new_sizing.align))),
        ("shortest length", fixed(&Positions(old_sizing.min_len), &Positions(new_sizing.min_len))),
        ("longest length", fixed(&Positions(old_sizing.max_len), &Positions(new_sizing.max_len))),
    ];
    fields.into_iter().find_map(|(field, change)| {
        let (found, wanted) = change?;
        Some(FixedField { field, found, wanted })
    })
}

/// The shards of a new pool, numbered from 0, in their first epoch. The error says what is wrong with the geometry.
pub(crate) fn shards(draft: &PoolDraft) -> Result<Vec<Shard>, String> {
    let covers = cut_shards(&draft.geometry, draft.sharding_factor)?;
    Ok(number_shards(0, covers).collect())
}

/// The shards there are, and those that new space needs, in order of their covers.
pub(crate) fn more_shards(draft: &PoolDraft, mut shards: Vec<Shard>) -> Result<Vec<Shard>, String> {
    let covers = cut_more_shards(&draft.geometry, &shards)?;
    let count = shards.len() + covers.len();
    if count > MOST_SHARDS {
        return Err(format!("it would have {count} shards, at most {MOST_SHARDS} are allowed: make a second pool"));
    }
    let next = shards.iter().map(|shard| shard.id.0 + 1).max().unwrap_or(0);
    shards.extend(number_shards(next, covers));
    shards.sort_unstable_by_key(|shard| shard.cover);
    Ok(shards)
}

/// Shards with the given covers, numbered from `first`, in their first epoch.
fn number_shards(first: u32, covers: Vec<Span>) -> impl Iterator<Item = Shard> {
    (first..).zip(covers).map(|(id, cover)| Shard { id: ShardId(id), epoch: Epoch(1), cover })
}

/// Both values as text, if they differ.
fn fixed<T: PartialEq + fmt::Display>(found: &T, wanted: &T) -> Option<(CompactString, CompactString)> {
    (found != wanted).then(|| (format_compact!("{found}"), format_compact!("{wanted}")))
}

#[derive(PartialEq)]
struct Listed<'a>(&'a [CompactString]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("none") } else { f.write_str(&self.0.join(",")) }
    }
}

#[derive(PartialEq)]
struct Wished(Option<u32>);

impl fmt::Display for Wished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(count) => write!(f, "{count}"),
            None => f.write_str("the default"),
        }
    }
}

/// A length on the line. Prefixes of IPv6 are told by their power of two.
#[derive(PartialEq)]
struct Positions(u128);

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(len) = *self;
        if len.is_power_of_two() && len > 65_536 { write!(f, "2^{}", len.ilog2()) } else { write!(f, "{len}") }
    }
}

#[derive(PartialEq)]
struct Aligned(Alignment);

impl fmt::Display for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Alignment::Origin => "from the start of each span",
            Alignment::Natural => "on multiples of the length",
        })
    }
}
