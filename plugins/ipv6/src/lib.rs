//! The resource type `ipv6`: delegated prefixes, and single addresses.
//!
//! Its line is the address as a number. Names are the CIDR (`2001:db8:0:100::/56`) and the bare address, both as RFC
//! 5952 writes them. What a pool holds and hands out is [`AddressPool`]'s; here is what IPv6 adds: the anycast address,
//! gateways (link-local ones too), and the RADIUS attributes.

use nexus_plugin_sdk::inet::{AddressPool, AddressSpec, Block, Family, read_dns};
use nexus_plugin_sdk::schema::{self, Object};
use nexus_plugin_sdk::{Attribute, Descriptor, Layout, Plan, PluginError, ResourceType, Span, Spec};

const FAMILY: Family = Family::V6;
/// `fe80::1`, the gateway of a pool that has none of its own.
const LINK_LOCAL_GATEWAY: u128 = (0xfe80 << 112) + 1;
/// Link-local addresses are `fe80::/10`.
const LINK_LOCAL_PREFIX: u8 = 10;
/// In a block this small or smaller there is no anycast address (RFC 6164).
const POINT_TO_POINT_PREFIX: u8 = 127;

/// A pool of IPv6 prefixes or addresses.
#[derive(Clone, Debug)]
pub struct Ipv6 {
    pool: AddressPool,
    gateway: u128,
    dns: Vec<String>,
}

impl ResourceType for Ipv6 {
    fn describe() -> Descriptor {
        let length = |text| schema::integer(text, 1, 128);
        let spec = Object::new()
            .optional("cidr", schema::text("The pool's block, as in 2001:db8::/32."))
            .optional("ranges", schema::texts("Instead of cidr: addresses, ranges a-b and CIDRs that do not overlap."))
            .optional("prefix", length("What an allocation is unless a request says: 128 (an address, the default) or shorter (a delegated prefix)."))
            .optional("min_prefix", length("The largest block a request may ask for; prefix if absent."))
            .optional("max_prefix", length("The smallest block a request may ask for; prefix if absent."))
            .optional("exclusions", schema::texts("Addresses, ranges a-b or CIDRs inside the pool that are never handed out."))
            .optional("gateway", schema::text("The subscribers' gateway: link-local, or inside the pool and then never handed out. If absent: fe80::1, or the first address + 1 of a CIDR of single addresses."))
            .optional("dns", schema::texts("Name servers."));
        let hints = Object::new().hint("prefix_length", "The length of the prefix asked for.", "^[0-9]{1,3}$", "56");
        let examples = [
            r#"{"cidr":"2001:db8::/32","prefix":56,"min_prefix":48,"max_prefix":64}"#,
            r#"{"cidr":"2001:db8:1::/64","dns":["2001:db8::53"]}"#,
            r#"{"cidr":"2001:db8:2::/48","prefix":64,"exclusions":["2001:db8:2::/56"],"gateway":"fe80::1"}"#,
        ];
        Descriptor {
            type_id: "ipv6".to_owned(),
            plugin_version: env!("CARGO_PKG_VERSION").to_owned(),
            mapping_id: "ipv6/1".to_owned(),
            title: "IPv6 prefixes and addresses".to_owned(),
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
        let gateway = match gateway {
            Some(text) => read_gateway(&mut spec, &text, addresses.as_ref()),
            None => Some(addresses.as_ref().and_then(default_gateway).unwrap_or(LINK_LOCAL_GATEWAY)),
        };
        let pool = addresses.map(|addresses| {
            let anycast = anycast(&addresses).map(Span::unit);
            // A link-local gateway, or one between the ranges of a pool, is not the pool's to keep out.
            let gateway = gateway.map(Span::unit).filter(|span| addresses.stock.contains(*span));
            addresses.into_pool(&mut spec, anycast.into_iter().chain(gateway))
        });
        spec.finish(pool.zip(gateway).map(|(pool, gateway)| Self { pool, gateway, dns }))
    }

    /// The attributes are `cidr`, `prefix`, `gateway`, `dns`.
    fn layout(&self) -> Layout {
        let gateway = Attribute::new("gateway", FAMILY.write(self.gateway));
        let dns = (!self.dns.is_empty()).then(|| Attribute::new("dns", self.dns.join(",")));
        self.pool.layout(std::iter::once(gateway).chain(dns))
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

    /// `ip` and `prefix`; what RADIUS sends (RFC 4818 for prefixes, RFC 6911 for addresses).
    fn attributes(&self, span: Span) -> Result<Vec<Attribute>, PluginError> {
        let block = self.pool.block(span)?;
        let address = FAMILY.write(block.first());
        let radius = if block.prefix() == FAMILY.bits() {
            Attribute::new("radius:Framed-IPv6-Address", &*address)
        } else {
            Attribute::new("radius:Delegated-IPv6-Prefix", block.to_string())
        };
        Ok(vec![Attribute::new("ip", address), Attribute::new("prefix", block.prefix().to_string()), radius])
    }
}

nexus_plugin_sdk::export!(Ipv6);

/// The address of all routers of a link (RFC 4291, section 2.6.1), where a pool of single addresses is one.
fn anycast(addresses: &AddressSpec) -> Option<u128> {
    let link = addresses.cidr.filter(|cidr| addresses.grain == 1 && cidr.prefix() < POINT_TO_POINT_PREFIX)?;
    Some(link.first())
}

/// The first address + 1 of a link of single addresses. None for delegated prefixes.
fn default_gateway(addresses: &AddressSpec) -> Option<u128> {
    anycast(addresses).filter(|_| addresses.lengths.default == FAMILY.bits())?.checked_add(1)
}

fn read_gateway(spec: &mut Spec, text: &str, addresses: Option<&AddressSpec>) -> Option<u128> {
    let read = FAMILY.read(text).and_then(|gateway| {
        let link_local = Block::around(FAMILY, LINK_LOCAL_GATEWAY, LINK_LOCAL_PREFIX).holds(gateway);
        let outside = addresses.map(|addresses| addresses.cover).filter(|cover| !link_local && !cover.holds(gateway));
        match outside {
            Some(cover) => {
                Err(format!("{text:?} is neither link-local nor inside the pool's {cover}; fe80::1 would be"))
            }
            None => Ok(gateway),
        }
    });
    read.map_err(|message| spec.fault("/gateway", message)).ok()
}

#[cfg(test)]
mod tests;
