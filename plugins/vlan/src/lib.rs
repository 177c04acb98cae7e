//! The resource type `vlan`: C-VLANs, the tag that tells one subscriber from another on an access line.
//!
//! Its line is the VLAN id, 1 to 4094 (0 and 4095 are reserved by IEEE 802.1Q); a resource is one id, named in decimal.

use nexus_plugin_sdk::{
    Attribute, Descriptor, IntegerLine, IntegerPool, Layout, Plan, PluginError, ResourceType, Span,
};

const LINE: IntegerLine = IntegerLine::decimal("VLAN id", 1, 4094).cut_every(16);

/// A pool of VLAN ids.
#[derive(Clone, Debug)]
pub struct Vlan(IntegerPool);

impl ResourceType for Vlan {
    fn describe() -> Descriptor {
        let examples = [r#"{"range":"100-4000"}"#, r#"{"ranges":["100-199","300"],"exclusions":["150-159",300]}"#];
        LINE.descriptor("vlan", env!("CARGO_PKG_VERSION"), "C-VLANs", &examples)
    }

    fn open(spec: &str) -> Result<Self, PluginError> {
        IntegerPool::open(LINE, spec).map(Self)
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

    fn attributes(&self, span: Span) -> Result<Vec<Attribute>, PluginError> {
        Ok(vec![Attribute::new("c_vlan", self.render(span)?)])
    }
}

nexus_plugin_sdk::export!(Vlan);

#[cfg(test)]
mod tests;
