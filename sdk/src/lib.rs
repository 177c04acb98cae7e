//! Write a Nexus resource type: implement [`ResourceType`], call [`export!`], build for `wasm32-unknown-unknown`.
//!
//! A resource type is geometry and words: how a pool's spec becomes spans on a number line, and how a span is named.
//! It keeps no state; the host alone knows what is taken. So this crate offers no clock, no storage and no randomness,
//! only the reading and writing around the trait: [`Spec`] reports every fault of a spec at once, [`IntegerPool`] is
//! all of a type whose resources are single numbers, [`inet`] is addresses and blocks, [`schema`] writes the schemas.
//!
//! The crate compiles natively too, so a plugin is tested with plain `#[test]` and the conformance kit.
//!
//! ```
//! use nexus_plugin_sdk::{Attribute, Descriptor, IntegerLine, IntegerPool, Layout, Plan, PluginError, ResourceType, Span};
//!
//! #[derive(Debug)]
//! pub struct Rack(IntegerPool);
//!
//! const RACKS: IntegerLine = IntegerLine::decimal("rack number", 1, 999).cut_every(10);
//!
//! impl ResourceType for Rack {
//!     fn describe() -> Descriptor {
//!         RACKS.descriptor("rack", "1.0.0", "Racks", &[r#"{"range":"1-42"}"#])
//!     }
//!     fn open(spec: &str) -> Result<Self, PluginError> {
//!         IntegerPool::open(RACKS, spec).map(Self)
//!     }
//!     fn layout(&self) -> Layout {
//!         self.0.layout()
//!     }
//!     fn render(&self, span: Span) -> Result<String, PluginError> {
//!         self.0.render(span)
//!     }
//!     fn parse(&self, name: &str) -> Result<Span, PluginError> {
//!         self.0.parse(name)
//!     }
//!     fn interpret(&self, hints: &[Attribute]) -> Result<Plan, PluginError> {
//!         self.0.interpret(hints)
//!     }
//!     fn summarize(&self, run: Span) -> Result<Vec<String>, PluginError> {
//!         self.0.summarize(run)
//!     }
//! }
//!
//! nexus_plugin_sdk::export!(Rack);
//!
//! let racks = Rack::open(r#"{"range": "1-42", "exclusions": [13]}"#)?;
//! assert_eq!(racks.parse("007")?, Span::unit(7));
//! assert_eq!(racks.render(Span::unit(7))?, "7");
//! # Ok::<(), PluginError>(())
//! ```

#[doc(hidden)]
pub mod bindings;
mod component;
mod hints;
pub mod inet;
mod integers;
pub mod log;
pub mod schema;
mod spans;
mod spec;

pub use nexus_plugin_contract::{
    Alignment, Attribute, Descriptor, Layout, Plan, PluginError, Problem, ResourceType, Series, Sizing, Span, Strategy,
    nearest,
};

#[doc(hidden)]
pub use component::Component;
pub use hints::Hints;
pub use integers::{IntegerLine, IntegerPool};
pub use spans::{SpanSet, Stretch};
pub use spec::{Item, Spec};

/// Makes the crate's component out of a [`ResourceType`]. Once in a crate, with the type's name in scope.
///
/// Natively it makes nothing, so the same crate runs under `cargo test`.
#[macro_export]
macro_rules! export {
    ($resource:ty) => {
        #[cfg(target_arch = "wasm32")]
        mod nexus_plugin_export {
            use super::*;
            type Exported = $crate::Component<$resource>;
            $crate::bindings::export!(Exported with_types_in $crate::bindings);
        }
    };
}
