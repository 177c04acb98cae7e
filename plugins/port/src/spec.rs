//! Reading a port pool's spec.

use nexus_plugin_sdk::schema::{self, Object};
use nexus_plugin_sdk::{Descriptor, IntegerLine, Item, Layout, Span, SpanSet, Spec, Stretch};

use crate::{FAMILY, Port};

/// Port 0 is reserved (RFC 6335, section 6) and never handed out.
pub(crate) const PORTS: IntegerLine = IntegerLine::decimal("port", 1, 65_535);
/// The largest block: all ports there are.
const ALL_PORTS: u64 = 65_535;
/// Addresses below are "this network" (RFC 1122) and would stand where bare ports stand on the line.
const FIRST_ADDRESS: u128 = 1 << 24;

pub(crate) fn descriptor() -> Descriptor {
    let spec = Object::new()
        .optional("range", schema::texts("The ports to hand out, as in 1024-65535."))
        .optional("ranges", schema::texts("Instead of range: several ports or ranges that do not overlap."))
        .optional(
            "exclusions",
            schema::texts("Ports or ranges inside the pool that are never handed out, of any address."),
        )
        .optional(
            "addresses",
            schema::texts("Public IPv4 addresses whose ports these are: CIDRs, ranges a-b, addresses."),
        )
        .optional("block_size", schema::integer("How many ports an allocation has; 1 if absent.", 1, ALL_PORTS))
        .optional(
            "max_block_size",
            schema::integer(
                "The most ports a request may ask for, a multiple of block_size; block_size if absent.",
                1,
                ALL_PORTS,
            ),
        );
    let hints =
        Object::new().hint("count", "How many ports at least; rounded up to whole blocks.", "^[0-9]{1,5}$", "1").hint(
            "address",
            "Only ports of this public address, in a pool that has addresses.",
            "^[0-9.]{7,15}$",
            "203.0.113.5",
        );
    let examples = [
        r#"{"range":"1024-65535"}"#,
        r#"{"range":"1024-65535","addresses":"203.0.113.0/25","block_size":512,"max_block_size":2048}"#,
        r#"{"ranges":["1024-5059","5062-65535"],"addresses":["198.51.100.1","198.51.100.8-198.51.100.15"],"block_size":1000}"#,
    ];
    Descriptor {
        type_id: "port".to_owned(),
        plugin_version: env!("CARGO_PKG_VERSION").to_owned(),
        mapping_id: "port/1".to_owned(),
        title: "Ports and CGNAT port blocks".to_owned(),
        spec_schema: spec.json(),
        hint_schema: hints.json(),
        examples: examples.map(str::to_owned).into(),
        labels: Vec::new(),
    }
}

/// The pool of a spec. None if a fault was noted.
pub(crate) fn read(spec: &mut Spec) -> Option<Port> {
    let range = PORTS.read_stock(spec, "range", "ranges");
    let exclusions = spec.texts("exclusions").unwrap_or_default();
    let exclusions = Stretch::read_all(spec, exclusions, |text| PORTS.run(text));
    let addresses = spec.texts("addresses").map(|items| read_addresses(spec, items));
    let block_size = spec.integer("block_size", 1, ALL_PORTS);
    let max_block_size = spec.integer("max_block_size", 1, ALL_PORTS);
    if range.is_empty() || !spec.is_sound() {
        return None;
    }
    let block_size = u128::from(block_size.unwrap_or(1));
    let max_block_size = max_block_size.map_or(block_size, u128::from);
    let (ports, unused) = whole_blocks(&range, block_size);
    check_sizes(spec, &ports, block_size, max_block_size);
    let exclusions = SpanSet::inside(spec, &exclusions, &range, &texts(&range));
    let excluded = common(&exclusions, &ports);
    let pool = Port { addresses, ports, unused, excluded, block_size, max_block_size };
    check_extent(spec, &pool);
    spec.is_sound().then_some(pool)
}

fn read_addresses(spec: &mut Spec, items: Vec<Item>) -> SpanSet {
    if items.is_empty() {
        spec.fault("/addresses", "is empty; give the public addresses, or leave the field out for bare ports");
    }
    let stretches = Stretch::read_all(spec, items, |text| {
        let run = FAMILY.read_run(text)?;
        if run.start < FIRST_ADDRESS {
            Err(format!("{text:?} holds addresses of 0.0.0.0/8, which are not public"))
        } else {
            Ok(run)
        }
    });
    SpanSet::disjoint(spec, &stretches)
}

/// What of each range fills whole blocks, and what is left behind.
fn whole_blocks(range: &SpanSet, block_size: u128) -> (SpanSet, SpanSet) {
    let used = |run: &Span| run.len - run.len % block_size;
    let whole = range.spans().iter().map(|run| Span::new(run.start, used(run)));
    let rest = range.spans().iter().map(|run| Span::new(run.start + used(run), run.len - used(run)));
    (SpanSet::union(whole), SpanSet::union(rest))
}

fn check_sizes(spec: &mut Spec, ports: &SpanSet, block_size: u128, max_block_size: u128) {
    if ports.is_empty() {
        spec.fault(
            "/block_size",
            format!("is {block_size}, and no range has as many ports; give a longer range or smaller blocks"),
        );
    } else if max_block_size < block_size || !max_block_size.is_multiple_of(block_size) {
        spec.fault(
            "/max_block_size",
            format!("is {max_block_size}; it must be a multiple of block_size, which is {block_size}"),
        );
    } else if max_block_size > ports.longest() {
        spec.fault(
            "/max_block_size",
            format!("is {max_block_size}, and the longest range has {} ports in whole blocks", ports.longest()),
        );
    }
}

/// Something must be left, and the layout must not have too many entries.
fn check_extent(spec: &mut Spec, pool: &Port) {
    if spec.is_sound() && blocks_hit(pool) * pool.block_size == pool.ports.positions() {
        spec.fault("/exclusions", "leave no whole block to hand out; exclude less");
    }
    for (path, entries) in
        [("/addresses", pool.on_every_address(&pool.ports)), ("/exclusions", pool.on_every_address(&pool.excluded))]
    {
        let (found, most) = (entries.len(), Layout::MAX_SERIES);
        if found > most {
            spec.fault(path, format!("makes {found} separate runs of ports; at most {most} are allowed"));
        }
    }
}

/// How many blocks have an excluded port; those are never handed out.
fn blocks_hit(pool: &Port) -> u128 {
    let block = |range: Span, port: u128| (port - range.start) / pool.block_size;
    let mut hit = 0;
    for range in pool.ports.spans() {
        let mut counted = None;
        for excluded in pool.excluded.spans().iter().filter(|excluded| range.contains(**excluded)) {
            let (first, last) = (block(*range, excluded.start), block(*range, excluded.start + excluded.len - 1));
            let fresh = counted.map_or(first, |before: u128| first.max(before + 1));
            hit += (last + 1).saturating_sub(fresh);
            counted = Some(last);
        }
    }
    hit
}

/// What two sets have in common.
fn common(one: &SpanSet, other: &SpanSet) -> SpanSet {
    let overlap = |a: &Span, b: &Span| Span::between(a.start.max(b.start), a.last()?.min(b.last()?));
    SpanSet::union(one.spans().iter().flat_map(|a| other.spans().iter().filter_map(move |b| overlap(a, b))))
}

fn texts(set: &SpanSet) -> String {
    let runs = set.spans().iter().filter_map(|run| Some(PORTS.write_run(run.start, run.last()?)));
    runs.collect::<Vec<_>>().join(", ")
}
