//! The trait a resource type implements.

use crate::{Attribute, Descriptor, Layout, Plan, PluginError, Span};

/// A resource type; a value of it is one pool's parsed spec and nothing else.
///
/// Every method is a function of its arguments and the spec: no state between calls, no clock, no randomness. The host
/// keeps what is taken; a plugin is geometry and words. So any number of instances may serve one pool, and a trapped
/// one is thrown away and made again.
pub trait ResourceType: Sized + 'static {
    /// Says what this plugin is. The same on every call.
    fn describe() -> Descriptor;

    /// Reads a spec.
    ///
    /// # Errors
    /// [`PluginError::InvalidSpec`] with every fault found; nothing else.
    fn open(spec: &str) -> Result<Self, PluginError>;

    /// The pool's layout. Cannot fail: a spec without one does not open.
    fn layout(&self) -> Layout;

    /// The canonical name of a span: 1 to 255 bytes of printable UTF-8, and `parse(render(x)) = x`. Hot.
    ///
    /// # Errors
    /// [`PluginError::OutOfRange`] if the span is not of this pool.
    fn render(&self, span: Span) -> Result<String, PluginError>;

    /// The span of a name, in any legal spelling.
    ///
    /// # Errors
    /// [`PluginError::InvalidName`] if it is no name of this type, [`PluginError::OutOfRange`] if not of this pool.
    fn parse(&self, name: &str) -> Result<Span, PluginError>;

    /// What a request's hints ask for. No hints: the default length, anywhere.
    ///
    /// # Errors
    /// [`PluginError::InvalidHint`] for an unknown hint or a value that cannot be followed.
    fn interpret(&self, hints: &[Attribute]) -> Result<Plan, PluginError>;

    /// Short texts that together cover exactly `run`, for people and for a BNG's configuration.
    ///
    /// # Errors
    /// [`PluginError::OutOfRange`] if the run leaves the pool.
    fn summarize(&self, run: Span) -> Result<Vec<String>, PluginError>;

    /// Facts true of one allocation, beside the layout's. None unless the type has some.
    ///
    /// # Errors
    /// [`PluginError::OutOfRange`] if the span is not of this pool.
    fn attributes(&self, span: Span) -> Result<Vec<Attribute>, PluginError> {
        self.render(span).map(|_| Vec::new())
    }
}
