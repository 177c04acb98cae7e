//! Addresses and blocks of both internet protocols as positions and spans.
//!
//! A position is the address as a number; a block is a span whose length is a power of two and which begins on a
//! multiple of it. Texts out are canonical (dotted quad, RFC 5952); texts in are any legal spelling, which for IPv4
//! does not include leading zeros (RFC 6943, section 3.1.1: some read them as octal).

mod pool;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use pool::{AddressPool, AddressSpec, Lengths, read_dns};

use crate::Span;

/// A version of the internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The length of an address: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::V4 => "192.0.2.0/24",
            Self::V6 => "2001:db8::/32",
        }
    }

    /// The length of a block of this prefix length. None for an IPv6 `/0`, the whole line, and past the address.
    pub fn block_len(self, prefix: u8) -> Option<u128> {
        1_u128.checked_shl(u32::from(self.bits().checked_sub(prefix)?))
    }

    /// The prefix length of a block of `len` addresses, if there is one.
    pub fn prefix_of(self, len: u128) -> Option<u8> {
        let host_bits = u8::try_from(len.trailing_zeros()).ok()?;
        if len.is_power_of_two() { self.bits().checked_sub(host_bits) } else { None }
    }

    /// The position of an address.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn read(self, text: &str) -> Result<u128, String> {
        match (self, text.parse()) {
            (Self::V4, Ok(IpAddr::V4(address))) => Ok(address.to_bits().into()),
            (Self::V6, Ok(IpAddr::V6(address))) => Ok(address.to_bits()),
            (Self::V4, Ok(IpAddr::V6(_))) => {
                Err(format!("{text:?} is an IPv6 address; this needs an IPv4 one, as in 192.0.2.1"))
            }
            (Self::V6, Ok(IpAddr::V4(_))) => {
                Err(format!("{text:?} is an IPv4 address; this needs an IPv6 one, as in 2001:db8::1"))
            }
            (Self::V4, Err(_)) => Err(format!("{text:?} is not an IPv4 address such as 192.0.2.1")),
            (Self::V6, Err(_)) => Err(format!("{text:?} is not an IPv6 address such as 2001:db8::1")),
        }
    }

    /// The canonical text of a position. One past the family's line is written as its last address.
    pub fn write(self, position: u128) -> String {
        match self {
            Self::V4 => Ipv4Addr::from_bits(u32::try_from(position).unwrap_or(u32::MAX)).to_string(),
            Self::V6 => Ipv6Addr::from_bits(position).to_string(),
        }
    }

    /// The span of an address, a range `a-b` or a block `a/n`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn read_run(self, text: &str) -> Result<Span, String> {
        if text.contains('/') {
            return Block::read(self, text)?
                .span()
                .ok_or_else(|| format!("{text:?} is too large; use ::/1 and 8000::/1"));
        }
        let Some((low, high)) = text.split_once('-') else {
            return self.read(text).map(Span::unit);
        };
        let (low, high) = (self.read(low.trim())?, self.read(high.trim())?);
        Span::between(low, high)
            .ok_or_else(|| format!("{text:?} runs backwards; write {}-{}", self.write(high), self.write(low)))
    }
}

/// An aligned block of addresses: `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    family: Family,
    first: u128,
    prefix: u8,
}

impl Block {
    /// The block of this prefix length that `position` lies in.
    pub fn around(family: Family, position: u128, prefix: u8) -> Self {
        let prefix = prefix.min(family.bits());
        let host_bits = family.block_len(prefix).map_or(u128::MAX, |len| len - 1);
        Self { family, first: position & !host_bits, prefix }
    }

    /// The block that is exactly this span, if one is.
    pub fn exactly(family: Family, span: Span) -> Option<Self> {
        let block = Self::around(family, span.start, family.prefix_of(span.len)?);
        (block.first == span.start).then_some(block)
    }

    /// The smallest block that holds the span.
    pub fn cover(family: Family, span: Span) -> Option<Self> {
        let differing = (span.start ^ span.last()?).leading_zeros().checked_sub(128 - u32::from(family.bits()))?;
        Some(Self::around(family, span.start, u8::try_from(differing).ok()?))
    }

    /// Reads `address/prefix`; host bits must be zero.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn read(family: Family, text: &str) -> Result<Self, String> {
        let Some((address, prefix)) = text.split_once('/') else {
            family.read(text).map_err(|_| format!("{text:?} is not a CIDR such as {}", family.example()))?;
            return Err(format!("{text:?} is not a CIDR; add the prefix length, as in {text}/{}", family.bits()));
        };
        let address = family.read(address)?;
        let digits = (1..=3).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|prefix| digits && *prefix <= family.bits());
        let Some(prefix) = prefix else {
            return Err(format!("the prefix length of {text:?} must be a number from 0 to {}", family.bits()));
        };
        let block = Self::around(family, address, prefix);
        if block.first == address {
            Ok(block)
        } else {
            Err(format!("{text:?} has host bits set; the block is {block}"))
        }
    }

    pub fn first(&self) -> u128 {
        self.first
    }

    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The block as a span. None for `::/0`.
    pub fn span(&self) -> Option<Span> {
        self.family.block_len(self.prefix).map(|len| Span::new(self.first, len))
    }

    /// True if the block holds the address.
    pub fn holds(&self, position: u128) -> bool {
        Self::around(self.family, position, self.prefix) == *self
    }

    /// The netmask, as in `255.255.255.0`.
    pub fn netmask(&self) -> String {
        let all = u128::MAX >> (128 - u32::from(self.family.bits()));
        self.family.write(Self::around(self.family, all, self.prefix).first)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.family.write(self.first), self.prefix)
    }
}

/// The fewest blocks that together are exactly `run`, in order. Empty if the run leaves the family's line.
///
/// ```
/// use nexus_plugin_sdk::{Span, inet::{Family, blocks}};
/// let texts: Vec<_> = blocks(Family::V4, Span::new(5, 4)).iter().map(ToString::to_string).collect();
/// assert_eq!(texts, ["0.0.0.5/32", "0.0.0.6/31", "0.0.0.8/32"]);
/// ```
pub fn blocks(family: Family, run: Span) -> Vec<Block> {
    let Some(last) = run.last() else { return Vec::new() };
    let mut blocks = Vec::new();
    let mut next = Some(run.start);
    while let Some(first) = next.filter(|first| *first <= last) {
        let left = (last - first).saturating_add(1);
        let aligned = if first == 0 { left } else { left.min(1 << first.trailing_zeros()) };
        let len = 1_u128 << aligned.ilog2();
        match family.prefix_of(len) {
            Some(prefix) => blocks.push(Block { family, first, prefix }),
            None => return Vec::new(),
        }
        next = first.checked_add(len);
    }
    blocks
}

#[cfg(test)]
mod tests;
