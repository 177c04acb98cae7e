//! What `wit/` says, as plain Rust: the words of the interface and the trait a resource type implements.
//!
//! Shared by the SDK (which ties it to the generated bindings), by the conformance kit and by any host that wants to
//! run the kit. It knows neither bindings nor WASM, and it checks nothing at construction: a value here may come from a
//! guest, so a method that needs a well-formed value returns an `Option` instead of trusting it.
//!
//! Start with [`ResourceType`]; [`Span`] and [`Series`] are the number line.

mod error;
mod line;
mod nearest;
mod pool;
mod resource;

pub use error::{PluginError, Problem};
pub use line::{Series, Span};
pub use nearest::nearest;
pub use pool::{Alignment, Attribute, Descriptor, Layout, Plan, Sizing, Strategy};
pub use resource::ResourceType;
