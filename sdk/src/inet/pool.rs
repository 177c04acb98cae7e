//! Pools of addresses and blocks: what the types `ipv4` and `ipv6` share.

use crate::inet::{Block, Family, blocks};
use crate::{Alignment, Attribute, Hints, Layout, Plan, PluginError, Sizing, Span, SpanSet, Spec, Strategy, Stretch};

/// Shards hold this many allocations of the default length.
const CUT_ALLOCATIONS: u128 = 256;

/// Which prefix lengths a pool hands out: `min <= default <= max`. A longer prefix is a smaller block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    pub default: u8,
    pub min: u8,
    pub max: u8,
}

impl Lengths {
    /// Reads `prefix`, `min_prefix` and `max_prefix`; those absent are the whole address, and `prefix`.
    fn read(spec: &mut Spec, family: Family) -> Option<Self> {
        let bits = u64::from(family.bits());
        // The only block whose length is no u128 is the IPv6 /0.
        let least = u64::from(family.block_len(0).is_none());
        let mut length = |name| spec.integer(name, least, bits).and_then(|length| u8::try_from(length).ok());
        let (prefix, min, max) = (length("prefix"), length("min_prefix"), length("max_prefix"));
        let default = prefix.unwrap_or(family.bits());
        let lengths = Self { default, min: min.unwrap_or(default), max: max.unwrap_or(default) };
        let rule = format!("the default prefix is {default}");
        if lengths.min > default {
            spec.fault("/min_prefix", format!("is {}, and {rule}; it must be at most that", lengths.min));
        }
        if lengths.max < default {
            spec.fault("/max_prefix", format!("is {}, and {rule}; it must be at least that", lengths.max));
        }
        spec.is_sound().then_some(lengths)
    }
}

/// The fields both types share, read and checked against each other; each type then adds its own.
#[derive(Clone, Debug)]
pub struct AddressSpec {
    pub family: Family,
    /// The pool's own CIDR; none for a pool of ranges.
    pub cidr: Option<Block>,
    /// The CIDR, or the smallest block that holds all ranges.
    pub cover: Block,
    pub stock: SpanSet,
    pub exclusions: SpanSet,
    pub lengths: Lengths,
    /// How many addresses the smallest block has that may be handed out.
    pub grain: u128,
    default_len: u128,
    max_len: u128,
}

impl AddressSpec {
    /// Reads `cidr` or `ranges`, `prefix`, `min_prefix`, `max_prefix` and `exclusions`. None if a fault was noted.
    pub fn read(spec: &mut Spec, family: Family) -> Option<Self> {
        let cidr = spec.text("cidr");
        let ranges = spec.texts("ranges");
        let exclusions = spec.texts("exclusions").unwrap_or_default();
        let exclusions = Stretch::read_all(spec, exclusions, |text| family.read_run(text));
        let lengths = Lengths::read(spec, family);
        let (cidr, parts) = match (cidr, ranges) {
            (Some(cidr), None) => read_cidr(spec, family, &cidr)?,
            (None, Some(items)) => (None, Stretch::read_all(spec, items, |text| family.read_run(text))),
            (Some(_), Some(_)) => {
                spec.fault("/ranges", "stands beside \"cidr\"; give one of the two");
                return None;
            }
            (None, None) => {
                if spec.is_sound() {
                    spec.fault("/cidr", "is missing; give the pool's block, or \"ranges\"");
                }
                return None;
            }
        };
        if parts.is_empty() {
            if spec.is_sound() {
                spec.fault("/ranges", "is empty; give addresses, ranges a-b or CIDRs");
            }
            return None;
        }
        let stock = SpanSet::disjoint(spec, &parts);
        stock.check_size(spec, "/ranges");
        let exclusions = SpanSet::inside(spec, &exclusions, &stock, &describe(family, cidr, &stock));
        exclusions.check_size(spec, "/exclusions");
        let read = Self::assemble(family, cidr, stock, exclusions, lengths?)?;
        read.check_fit(spec, &parts);
        spec.is_sound().then_some(read)
    }

    fn assemble(
        family: Family,
        cidr: Option<Block>,
        stock: SpanSet,
        exclusions: SpanSet,
        lengths: Lengths,
    ) -> Option<Self> {
        let (grain, default_len) = (family.block_len(lengths.max)?, family.block_len(lengths.default)?);
        let max_len = family.block_len(lengths.min)?;
        // The hull of "::" to "ffff:...:ffff" has no length; a block of no prefix covers it.
        let cover = cidr.or_else(|| Block::cover(family, stock.hull()?)).unwrap_or(Block::around(family, 0, 0));
        Some(Self { family, cidr, cover, stock, exclusions, lengths, grain, default_len, max_len })
    }

    /// Blocks must tile what they are cut from, and the longest must fit somewhere.
    fn check_fit(&self, spec: &mut Spec, parts: &[Stretch]) {
        let Lengths { default, min, max } = self.lengths;
        if let Some(cidr) = self.cidr {
            if cidr.prefix() > min {
                let name = if min == default { "prefix" } else { "min_prefix" };
                let message = format!("is {min}, larger than the pool {cidr}; it must be at least {}", cidr.prefix());
                spec.fault(format!("/{name}"), message);
            }
            return;
        }
        let low_bits = self.grain - 1;
        for Stretch { path, text, span } in parts {
            if (span.start | span.len) & low_bits != 0 {
                let whole = Span::between(span.start & !low_bits, span.start.saturating_add(span.len - 1) | low_bits);
                let right = whole.map_or_else(String::new, |run| format!(", such as {}", write_run(self.family, run)));
                spec.fault(
                    path.clone(),
                    format!("{text:?} is not made of whole /{max} blocks; give whole ones{right}"),
                );
            }
        }
        let fits = |span: &Span| {
            let first = span.start.checked_next_multiple_of(self.max_len);
            first.is_some_and(|first| span.contains(Span::new(first, self.max_len)))
        };
        if spec.is_sound() && !self.stock.spans().iter().any(fits) {
            spec.fault(
                "/ranges",
                format!("no aligned /{min} block fits into any of them; give a longer range or a longer prefix"),
            );
        }
    }

    /// Keeps `kept_out` and the exclusions out of what is handed out. Notes a fault if nothing is left.
    pub fn into_pool(self, spec: &mut Spec, kept_out: impl IntoIterator<Item = Span>) -> AddressPool {
        let excluded = SpanSet::union(self.exclusions.spans().iter().copied().chain(kept_out));
        excluded.check_size(spec, "/exclusions");
        if spec.is_sound() && excluded.rounded(self.grain).positions() >= self.stock.positions() {
            spec.fault(
                "/exclusions",
                "with the addresses kept out leave nothing to hand out; exclude less or give a larger pool",
            );
        }
        AddressPool { spec: self, excluded }
    }
}

/// A pool of addresses or blocks: geometry and words, without what is particular to one protocol.
#[derive(Clone, Debug)]
pub struct AddressPool {
    spec: AddressSpec,
    excluded: SpanSet,
}

impl AddressPool {
    pub fn spec(&self) -> &AddressSpec {
        &self.spec
    }

    /// The layout, with the attributes `cidr` and `prefix` and then `more`.
    pub fn layout(&self, more: impl IntoIterator<Item = Attribute>) -> Layout {
        let AddressSpec { cover, stock, lengths, grain, default_len, max_len, .. } = &self.spec;
        let facts = [Attribute::new("cidr", cover.to_string()), Attribute::new("prefix", lengths.default.to_string())];
        Layout {
            spans: stock.series(),
            excluded: self.excluded.series(),
            grain: *grain,
            sizing: Sizing { default_len: *default_len, min_len: *grain, max_len: *max_len, align: Alignment::Natural },
            cut: self.cut(),
            attributes: facts.into_iter().chain(more).collect(),
            strategy: Strategy::FirstFree,
        }
    }

    /// A power of two: 256 default allocations, or less in a small pool, but never less than the longest one.
    fn cut(&self) -> u128 {
        let longest = self.spec.stock.longest().max(1);
        let wanted = self.spec.default_len.saturating_mul(CUT_ALLOCATIONS);
        self.spec.max_len.max(1 << wanted.min(longest).ilog2())
    }

    /// The block of a span, if it may be an allocation of this pool.
    pub fn block(&self, span: Span) -> Result<Block, PluginError> {
        let Lengths { min, max, .. } = self.spec.lengths;
        Block::exactly(self.spec.family, span)
            .filter(|block| (min..=max).contains(&block.prefix()) && self.spec.stock.contains(span))
            .ok_or(PluginError::OutOfRange)
    }

    /// The bare address for a single one, else the CIDR.
    pub fn render(&self, span: Span) -> Result<String, PluginError> {
        let block = self.block(span)?;
        if span.len == 1 { Ok(self.spec.family.write(span.start)) } else { Ok(block.to_string()) }
    }

    /// An address or a CIDR. Where no single address is handed out, a bare one names the default block it begins.
    pub fn parse(&self, name: &str) -> Result<Span, PluginError> {
        let AddressSpec { family, lengths, .. } = self.spec;
        let block = if name.contains('/') {
            Block::read(family, name).map_err(PluginError::InvalidName)?
        } else {
            let address = family.read(name).map_err(PluginError::InvalidName)?;
            let prefix = if lengths.max == family.bits() { family.bits() } else { lengths.default };
            let block = Block::around(family, address, prefix);
            if block.first() != address {
                let message =
                    format!("{name:?} is a single address and this pool gives blocks; the one around it is {block}");
                return Err(PluginError::InvalidName(message));
            }
            block
        };
        let span = block.span().ok_or(PluginError::OutOfRange)?;
        self.block(span).map(|_| span)
    }

    /// The hint `prefix_length`.
    pub fn interpret(&self, hints: &[Attribute]) -> Result<Plan, PluginError> {
        let Lengths { min, max, .. } = self.spec.lengths;
        let Some(text) = Hints::read(hints, &["prefix_length"])?.get("prefix_length") else {
            return Ok(Plan::of(self.spec.default_len));
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let length = text.parse().ok().filter(|length| digits && (min..=max).contains(length));
        length.and_then(|length| self.spec.family.block_len(length)).map(Plan::of).ok_or_else(|| {
            let offer = if min == max { format!("only {min}") } else { format!("{min} to {max}") };
            Hints::refuse("prefix_length", format!("is {text:?}; this pool gives {offer}"))
        })
    }

    /// The fewest CIDRs.
    pub fn summarize(&self, run: Span) -> Result<Vec<String>, PluginError> {
        if self.spec.stock.contains(run) {
            Ok(blocks(self.spec.family, run).iter().map(ToString::to_string).collect())
        } else {
            Err(PluginError::OutOfRange)
        }
    }
}

/// Reads `dns`: addresses of either family, in the order given, each in its canonical text. Faults are noted.
pub fn read_dns(spec: &mut Spec) -> Vec<String> {
    let mut servers = Vec::new();
    for item in spec.texts("dns").unwrap_or_default() {
        match item.text.parse::<std::net::IpAddr>() {
            Ok(address) => servers.push(address.to_string()),
            Err(_) => spec.fault(item.path, format!("{:?} is not the IP address of a name server", item.text)),
        }
    }
    servers
}

fn read_cidr(spec: &mut Spec, family: Family, text: &str) -> Option<(Option<Block>, Vec<Stretch>)> {
    let read = Block::read(family, text).and_then(|block| Ok((block, family.read_run(text)?)));
    match read {
        Ok((block, span)) => {
            Some((Some(block), vec![Stretch { path: "/cidr".to_owned(), text: text.to_owned(), span }]))
        }
        Err(message) => {
            spec.fault("/cidr", message);
            None
        }
    }
}

/// The pool in a message: its CIDR, or the first few ranges.
fn describe(family: Family, cidr: Option<Block>, stock: &SpanSet) -> String {
    const SHOWN: usize = 4;
    if let Some(cidr) = cidr {
        return cidr.to_string();
    }
    let mut texts: Vec<String> = stock.spans().iter().take(SHOWN).map(|span| write_run(family, *span)).collect();
    if stock.spans().len() > SHOWN {
        texts.push("...".to_owned());
    }
    texts.join(", ")
}

fn write_run(family: Family, run: Span) -> String {
    match (Block::exactly(family, run), run.last()) {
        (Some(block), _) if run.len > 1 => block.to_string(),
        (_, Some(last)) if last > run.start => format!("{}-{}", family.write(run.start), family.write(last)),
        _ => family.write(run.start),
    }
}
