//! MAC addresses (EUI-48): single numbers again, with names that are not decimal.
//!
//! The two functions given to [`IntegerLine::spelled`] are all there is to other names: one reads every legal
//! spelling, one writes the canonical one.

use nexus_plugin_sdk::{
    Attribute, Descriptor, IntegerLine, IntegerPool, Layout, Plan, PluginError, ResourceType, Span,
};

/// Half of the line: each number is an address of 48 bits.
const ADDRESSES: IntegerLine = IntegerLine::decimal("EUI-48", 0, (1 << 48) - 1).spelled(read, write).cut_every(256);
/// Octets of an address.
const OCTETS: usize = 6;

#[derive(Clone, Debug)]
pub struct Mac(IntegerPool);

impl ResourceType for Mac {
    fn describe() -> Descriptor {
        let examples = [r#"{"range":"02:00:00:00:10:00-02:00:00:00:1f:ff","exclusions":["02-00-00-00-10-00"]}"#];
        ADDRESSES.descriptor("mac", env!("CARGO_PKG_VERSION"), "MAC addresses", &examples)
    }

    fn open(spec: &str) -> Result<Self, PluginError> {
        IntegerPool::open(ADDRESSES, spec).map(Self)
    }

    fn layout(&self) -> Layout {
        self.0.layout()
    }

    fn render(&self, span: Span) -> Result<String, PluginError> {
        self.0.render(span)
    }

    fn parse(&self, name: &str) -> Result<Span, PluginError> {
        self.0.parse(name)
    }

    fn interpret(&self, hints: &[Attribute]) -> Result<Plan, PluginError> {
        self.0.interpret(hints)
    }

    fn summarize(&self, run: Span) -> Result<Vec<String>, PluginError> {
        self.0.summarize(run)
    }
}

nexus_plugin_sdk::export!(Mac);

/// `02:00:5e:10:00:01`, `02-00-5E-10-00-01`, `0200.5e10.0001` or `02005e100001`.
fn read(text: &str) -> Option<u128> {
    let grouped = |separator: char, digits: usize| {
        let mut groups = text.split(separator);
        text.contains(separator) && groups.all(|group| group.len() == digits)
    };
    let bare = !text.contains([':', '-', '.']);
    if !(bare || grouped(':', 2) || grouped('-', 2) || grouped('.', 4)) {
        return None;
    }
    let digits: String = text.chars().filter(|letter| !matches!(letter, ':' | '-' | '.')).collect();
    let hexadecimal = digits.len() == 2 * OCTETS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hexadecimal { u128::from_str_radix(&digits, 16).ok() } else { None }
}

fn write(address: u128) -> String {
    let octets = address.to_be_bytes();
    let texts: Vec<String> = octets.iter().skip(octets.len() - OCTETS).map(|octet| format!("{octet:02x}")).collect();
    texts.join(":")
}

#[cfg(test)]
mod tests {
    use nexus_plugin_conformance::{Profile, check_native};

    use super::*;

    #[test]
    fn it_conforms() {
        check_native::<Mac>(Profile::Full).assert_passed();
    }

    #[test]
    fn every_spelling_is_read_and_one_is_written() {
        let pool = Mac::open(r#"{"range":"02:00:5e:00:00:00-02:00:5e:ff:ff:ff"}"#).unwrap();
        for name in ["02:00:5e:10:00:01", "02-00-5E-10-00-01", "0200.5e10.0001", "02005E100001"] {
            assert_eq!(pool.render(pool.parse(name).unwrap()).unwrap(), "02:00:5e:10:00:01");
        }
        for name in ["02:00:5e:10:00", "2:0:5e:10:0:1", "02:00-5e:10:00:01", "+2005e100001", "02005e10000g", ""] {
            assert!(matches!(pool.parse(name), Err(PluginError::InvalidName(_))), "{name}");
        }
        assert_eq!(pool.parse("02:00:5f:00:00:00"), Err(PluginError::OutOfRange));
    }
}
