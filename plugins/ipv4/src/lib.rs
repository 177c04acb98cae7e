//! The resource type `ipv4`: single addresses, and routed prefixes.
//!
//! Its line is the address as a number. Names are the bare address (`100.64.1.50`) and the CIDR (`198.51.100.8/29`).
//! What a pool holds and hands out is [`AddressPool`]'s; here is what IPv4 adds: network and broadcast address, the
//! gateway, and the RADIUS attributes.

use nexus_plugin_sdk::inet::{AddressPool, AddressSpec, Family, read_dns};
use nexus_plugin_sdk::schema::{self, Object};
use nexus_plugin_sdk::{Attribute, Descriptor, Layout, Plan, PluginError, ResourceType, Span, Spec};

const FAMILY: Family = Family::V4;
/// In a block this small or smaller there is no network and no broadcast address (RFC 3021).
const POINT_TO_POINT_PREFIX: u8 = 31;

/// A pool of IPv4 addresses or blocks.
#[derive(Clone, Debug)]
pub struct Ipv4 {
    pool: AddressPool,
    gateway: Option<u128>,
    dns: Vec<String>,
}

impl ResourceType for Ipv4 {
    fn describe() -> Descriptor {
        let length = |text| schema::integer(text, 0, 32);
        let spec = Object::new()
            .optional("cidr", schema::text("The pool's block, as in 100.64.0.0/10."))
            .optional("ranges", schema::texts("Instead of cidr: addresses, ranges a-b and CIDRs that do not overlap."))
            .optional("prefix", length("What an allocation is unless a request says: 32 (an address, the default) or shorter (a routed block)."))
            .optional("min_prefix", length("The largest block a request may ask for; prefix if absent."))
            .optional("max_prefix", length("The smallest block a request may ask for; prefix if absent."))
            .optional("exclusions", schema::texts("Addresses, ranges a-b or CIDRs inside the pool that are never handed out."))
            .optional("gateway", schema::text("The subscribers' gateway, inside the pool; never handed out."))
            .optional("dns", schema::texts("Name servers."))
            .optional("use_all", schema::flag("Hand out the network and broadcast address of cidr too."));
        let hints = Object::new().hint("prefix_length", "The length of the block asked for.", "^[0-9]{1,2}$", "32");
        let examples = [
            r#"{"cidr":"100.64.0.0/10","gateway":"100.64.0.1","dns":["192.0.2.53"]}"#,
            r#"{"cidr":"198.51.100.0/24","prefix":29,"min_prefix":28,"max_prefix":30}"#,
            r#"{"ranges":["203.0.113.10-203.0.113.99","203.0.113.128/25"],"exclusions":["203.0.113.20"]}"#,
        ];
        Descriptor {
            type_id: "ipv4".to_owned(),
            plugin_version: env!("CARGO_PKG_VERSION").to_owned(),
            mapping_id: "ipv4/1".to_owned(),
            title: "IPv4 addresses and routed prefixes".to_owned(),
            spec_schema: spec.json(),
            hint_schema: hints.json(),
            examples: examples.map(str::to_owned).into(),
            labels: Vec::new(),
        }
    }

    fn open(spec: &str) -> Result<Self, PluginError> {
        let mut spec = Spec::read(spec)?;
        let addresses = AddressSpec::read(&mut spec, FAMILY);
        let gateway = spec.text("gateway");
        let dns = read_dns(&mut spec);
        let edges = if spec.flag("use_all") { Edges(None) } else { Edges::of(addresses.as_ref()) };
        let gateway = read_gateway(&mut spec, gateway.as_deref(), addresses.as_ref(), edges);
        let pool = addresses.map(|addresses| {
            // A gateway between the ranges of a pool is not the pool's to keep out.
            let gateway = gateway.map(Span::unit).filter(|span| addresses.stock.contains(*span));
            addresses.into_pool(&mut spec, edges.spans().chain(gateway))
        });
        spec.finish(pool.map(|pool| Self { pool, gateway, dns }))
    }

    /// The attributes are `cidr`, `prefix`, `netmask` (of the pool, for single addresses), `gateway`, `dns`.
    fn layout(&self) -> Layout {
        let spec = self.pool.spec();
        let single = spec.lengths.default == FAMILY.bits();
        let netmask = single.then(|| Attribute::new("netmask", spec.cover.netmask()));
        let gateway = self.gateway.map(|gateway| Attribute::new("gateway", FAMILY.write(gateway)));
        let dns = (!self.dns.is_empty()).then(|| Attribute::new("dns", self.dns.join(",")));
        self.pool.layout([netmask, gateway, dns].into_iter().flatten())
    }

    fn render(&self, span: Span) -> Result<String, PluginError> {
        self.pool.render(span)
    }

    fn parse(&self, name: &str) -> Result<Span, PluginError> {
        self.pool.parse(name)
    }

    fn interpret(&self, hints: &[Attribute]) -> Result<Plan, PluginError> {
        self.pool.interpret(hints)
    }

    fn summarize(&self, run: Span) -> Result<Vec<String>, PluginError> {
        self.pool.summarize(run)
    }

    /// `ip` and `prefix`; a block's own `netmask`; what RADIUS sends (RFC 2865, sections 5.8, 5.9 and 5.22).
    fn attributes(&self, span: Span) -> Result<Vec<Attribute>, PluginError> {
        let block = self.pool.block(span)?;
        let address = FAMILY.write(block.first());
        let mut facts = vec![Attribute::new("ip", &*address), Attribute::new("prefix", block.prefix().to_string())];
        if block.prefix() == FAMILY.bits() {
            facts.push(Attribute::new("radius:Framed-IP-Address", address));
            facts.push(Attribute::new("radius:Framed-IP-Netmask", self.pool.spec().cover.netmask()));
        } else {
            facts.push(Attribute::new("netmask", block.netmask()));
            // A router of all zeros is the subscriber itself.
            facts.push(Attribute::new("radius:Framed-Route", format!("{block} 0.0.0.0 1")));
        }
        Ok(facts)
    }
}

nexus_plugin_sdk::export!(Ipv4);

/// The first and last address of the pool's own CIDR, where they mean the network and everyone in it.
#[derive(Clone, Copy, Debug)]
struct Edges(Option<(u128, u128)>);

impl Edges {
    /// None if blocks are handed out, or the CIDR is too small to have any.
    fn of(addresses: Option<&AddressSpec>) -> Self {
        let network = addresses
            .filter(|addresses| addresses.grain == 1)
            .and_then(|addresses| addresses.cidr)
            .filter(|cidr| cidr.prefix() < POINT_TO_POINT_PREFIX);
        Self(network.and_then(|cidr| Some((cidr.first(), cidr.span()?.last()?))))
    }

    fn spans(self) -> impl Iterator<Item = Span> {
        self.0.into_iter().flat_map(|(network, broadcast)| [Span::unit(network), Span::unit(broadcast)])
    }

    /// What an address is that cannot be a gateway.
    fn name(self, address: u128) -> Option<&'static str> {
        let (network, broadcast) = self.0?;
        match address {
            _ if address == network => Some("network"),
            _ if address == broadcast => Some("broadcast"),
            _ => None,
        }
    }
}

fn read_gateway(spec: &mut Spec, text: Option<&str>, addresses: Option<&AddressSpec>, edges: Edges) -> Option<u128> {
    let text = text?;
    let read = FAMILY.read(text).and_then(|gateway| {
        let Some(AddressSpec { cover, .. }) = addresses else { return Ok(gateway) };
        if !cover.holds(gateway) {
            return Err(format!("{text:?} is not inside the pool's {cover}; give an address of it, or none"));
        }
        match edges.name(gateway) {
            Some(name) => Err(format!("{text:?} is the {name} address of {cover}; give another, or set \"use_all\"")),
            None => Ok(gateway),
        }
    });
    read.map_err(|message| spec.fault("/gateway", message)).ok()
}

#[cfg(test)]
mod tests;
