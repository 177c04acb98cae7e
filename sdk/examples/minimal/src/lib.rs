//! The smallest plugin: a resource is one number, here a circuit of an access network.
//!
//! [`IntegerPool`] does the work; what is written out is the line, its words, and one attribute of each allocation.

use nexus_plugin_sdk::{
    Attribute, Descriptor, IntegerLine, IntegerPool, Layout, Plan, PluginError, ResourceType, Span,
};

const CIRCUITS: IntegerLine = IntegerLine::decimal("circuit number", 1, 99_999);

#[derive(Clone, Debug)]
pub struct Circuit(IntegerPool);

impl ResourceType for Circuit {
    fn describe() -> Descriptor {
        CIRCUITS.descriptor(
            "circuit",
            env!("CARGO_PKG_VERSION"),
            "Circuits",
            &[r#"{"range":"1000-1999","exclusions":[1500]}"#],
        )
    }

    fn open(spec: &str) -> Result<Self, PluginError> {
        IntegerPool::open(CIRCUITS, spec).map(Self)
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
        Ok(vec![Attribute::new("label", format!("CKT/{}", self.render(span)?))])
    }
}

nexus_plugin_sdk::export!(Circuit);

#[cfg(test)]
mod tests {
    use nexus_plugin_conformance::{Profile, check_native};

    #[test]
    fn it_conforms() {
        check_native::<super::Circuit>(Profile::Full).assert_passed();
    }
}
