//! The resource type `port`: ports and blocks of ports, on their own or of public addresses (CGNAT, RFC 7422 style).
//!
//! Its line is the port number, or `address * 65536 + port` where the pool is bound to public IPv4 addresses. Names are
//! `2048`, `2048-2559`, `203.0.113.5:2048` and `203.0.113.5:2048-2559`. Blocks of `block_size` are counted from the
//! first port of each range; ports at its end that do not fill a block stay unused, and the layout's attribute `unused`
//! names them.

mod spec;

use nexus_plugin_sdk::inet::{Family, blocks};
use nexus_plugin_sdk::{
    Alignment, Attribute, Descriptor, Hints, Layout, Plan, PluginError, ResourceType, Series, Sizing, Span, SpanSet,
    Spec, Strategy,
};

use crate::spec::PORTS;

const FAMILY: Family = Family::V4;
/// Positions of one address on the line.
const STRIDE: u128 = 1 << 16;
/// Shards hold at least this many ports, where a range has as many.
const CUT_PORTS: u128 = 1_024;

/// A pool of ports.
#[derive(Clone, Debug)]
pub struct Port {
    /// The public addresses; none for a pool of bare ports.
    addresses: Option<SpanSet>,
    /// The ports that fill whole blocks.
    ports: SpanSet,
    /// The ports behind them, which do not.
    unused: SpanSet,
    /// Ports inside `ports` that are never handed out, of any address.
    excluded: SpanSet,
    block_size: u128,
    max_block_size: u128,
}

/// A span of the line, taken apart.
struct Place {
    address: Option<u128>,
    ports: Span,
}

impl ResourceType for Port {
    fn describe() -> Descriptor {
        spec::descriptor()
    }

    fn open(spec: &str) -> Result<Self, PluginError> {
        let mut spec = Spec::read(spec)?;
        let pool = spec::read(&mut spec);
        spec.finish(pool)
    }

    /// The attributes are `range`, `block_size`, `addresses` and `unused` where there are any.
    fn layout(&self) -> Layout {
        let sizing = Sizing {
            default_len: self.block_size,
            min_len: self.block_size,
            max_len: self.max_block_size,
            align: Alignment::Origin,
        };
        Layout {
            spans: self.on_every_address(&self.ports),
            excluded: self.on_every_address(&self.excluded),
            grain: self.block_size,
            sizing,
            cut: CUT_PORTS.next_multiple_of(self.max_block_size).min(self.ports.longest()),
            attributes: self.facts(),
            strategy: Strategy::FirstFree,
        }
    }

    fn render(&self, span: Span) -> Result<String, PluginError> {
        self.allocation(span).map(|place| place.to_string())
    }

    fn parse(&self, name: &str) -> Result<Span, PluginError> {
        let (address, ports) = match (name.rsplit_once(':'), &self.addresses) {
            (Some((address, ports)), Some(_)) => (FAMILY.read(address).map_err(PluginError::InvalidName)?, ports),
            (None, None) => (0, name),
            (None, Some(_)) => {
                let message = format!("{name:?} lacks the public address; write it as in 203.0.113.5:2048-2559");
                return Err(PluginError::InvalidName(message));
            }
            (Some((_, ports)), None) => {
                let message = format!("{name:?} has an address and this pool has none; write {ports}");
                return Err(PluginError::InvalidName(message));
            }
        };
        let ports = PORTS.run(ports).map_err(PluginError::InvalidName)?;
        let span = Span::new(address * STRIDE + ports.start, ports.len);
        self.allocation(span).map(|_| span)
    }

    /// The hints `count` (how many ports at least) and, where there are addresses, `address`.
    fn interpret(&self, hints: &[Attribute]) -> Result<Plan, PluginError> {
        let known: &[&str] = if self.addresses.is_some() { &["count", "address"] } else { &["count"] };
        let hints = Hints::read(hints, known)?;
        let len = hints.get("count").map_or(Ok(self.block_size), |text| self.block_for(text))?;
        let within = hints.get("address").map(|text| self.ports_of(text)).transpose()?;
        Ok(Plan { within: within.into_iter().collect(), ..Plan::of(len) })
    }

    fn summarize(&self, run: Span) -> Result<Vec<String>, PluginError> {
        self.place(run).map(|place| vec![place.to_string()])
    }

    /// `first_port` and `last_port`, and `address` where there is one.
    fn attributes(&self, span: Span) -> Result<Vec<Attribute>, PluginError> {
        let Place { address, ports } = self.allocation(span)?;
        let last = ports.last().ok_or(PluginError::OutOfRange)?;
        let address = address.map(|address| Attribute::new("address", FAMILY.write(address)));
        let ends = [("first_port", ports.start), ("last_port", last)];
        Ok(address.into_iter().chain(ends.map(|(key, port)| Attribute::new(key, port.to_string()))).collect())
    }
}

nexus_plugin_sdk::export!(Port);

impl Port {
    /// A series for each run of addresses and each run of ports, in order.
    fn on_every_address(&self, ports: &SpanSet) -> Vec<Series> {
        let Some(addresses) = &self.addresses else { return ports.series() };
        let series_of = |run: &Span, ports: &Span| Series {
            start: run.start * STRIDE + ports.start,
            len: ports.len,
            stride: STRIDE,
            count: u64::try_from(run.len).unwrap_or(u64::MAX), // there are 2^32 addresses
        };
        let all = addresses.spans().iter().flat_map(|run| ports.spans().iter().map(move |ports| series_of(run, ports)));
        all.collect()
    }

    fn facts(&self) -> Vec<Attribute> {
        let text = |set: &SpanSet| {
            let runs = set.spans().iter().filter_map(|run| Some(PORTS.write_run(run.start, run.last()?)));
            runs.collect::<Vec<_>>().join(",")
        };
        let mut facts =
            vec![Attribute::new("range", text(&self.ports)), Attribute::new("block_size", self.block_size.to_string())];
        if let Some(addresses) = &self.addresses {
            let all = addresses.spans().iter().flat_map(|run| blocks(FAMILY, *run));
            let texts: Vec<String> = all.map(|block| block.to_string()).collect();
            facts.push(Attribute::new("addresses", texts.join(",")));
        }
        if !self.unused.is_empty() {
            facts.push(Attribute::new("unused", text(&self.unused)));
        }
        facts
    }

    /// Takes a span of the pool apart; it may be no allocation.
    fn place(&self, span: Span) -> Result<Place, PluginError> {
        let ports = Span::new(span.start % STRIDE, span.len);
        let number = span.start / STRIDE;
        let address = self.addresses.as_ref().map(|addresses| (number, addresses.contains(Span::unit(number))));
        match address {
            Some((_, false)) => Err(PluginError::OutOfRange),
            None if number > 0 => Err(PluginError::OutOfRange),
            _ if !self.ports.contains(ports) => Err(PluginError::OutOfRange),
            _ => Ok(Place { address: address.map(|(number, _)| number), ports }),
        }
    }

    /// Takes a span apart that may be an allocation: whole blocks, counted from the start of the range.
    fn allocation(&self, span: Span) -> Result<Place, PluginError> {
        let place = self.place(span)?;
        let whole = |range: Span| (place.ports.start - range.start).is_multiple_of(self.block_size);
        let aligned = self.ports.locate(place.ports).is_some_and(whole);
        let sized = place.ports.len.is_multiple_of(self.block_size) && place.ports.len <= self.max_block_size;
        if aligned && sized { Ok(place) } else { Err(PluginError::OutOfRange) }
    }

    /// The length of the block that has at least this many ports.
    fn block_for(&self, count: &str) -> Result<u128, PluginError> {
        let wanted = PORTS.number(count).ok().and_then(|count| count.checked_next_multiple_of(self.block_size));
        wanted.filter(|len| *len <= self.max_block_size).ok_or_else(|| {
            Hints::refuse("count", format!("is {count:?}; this pool gives 1 to {} ports at once", self.max_block_size))
        })
    }

    fn ports_of(&self, address: &str) -> Result<Span, PluginError> {
        let number = FAMILY.read(address).map_err(|message| Hints::refuse("address", message))?;
        let ours = self.addresses.as_ref().filter(|addresses| addresses.contains(Span::unit(number)));
        let ports = ours.and_then(|_| self.ports.hull());
        ports
            .map(|ports| Span::new(number * STRIDE + ports.start, ports.len))
            .ok_or_else(|| Hints::refuse("address", format!("{address:?} is not one of the pool's addresses")))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(address) = self.address {
            write!(f, "{}:", FAMILY.write(address))?;
        }
        f.write_str(&PORTS.write_run(self.ports.start, self.ports.last().unwrap_or(self.ports.start)))
    }
}

#[cfg(test)]
mod tests;
