//! Turns what the compiler makes (a core WASM module) into what the host loads (a component).
//!
//! Everything needed is in the module: the SDK's bindings leave the interface in a custom section. There is no WASI
//! adapter here on purpose: a module that imports anything but the interface cannot be packed.

use wit_component::ComponentEncoder;

/// Why a module could not be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("not a WASM file: it must begin with \\0asm")]
    NotWasm,
    #[error("already a component: it can be used as it is")]
    AlreadyComponent,
    #[error("no interface inside: the crate must call nexus_plugin_sdk::export!(YourType) and be a cdylib")]
    NoInterface,
    #[error("the module does not fit its interface: {0}")]
    Encode(String),
}

const MAGIC: &[u8] = b"\0asm";
/// The four bytes after the magic: version 1, layer 0.
const CORE_MODULE: &[u8] = &[1, 0, 0, 0];
/// How the name of the custom section begins in which the bindings leave the interface.
const INTERFACE_SECTION: &[u8] = b"component-type";

/// The component of a core module.
///
/// # Errors
/// [`PackError`], which says what would be right.
pub fn pack(core_module: &[u8]) -> Result<Vec<u8>, PackError> {
    let Some(rest) = core_module.strip_prefix(MAGIC) else {
        return Err(PackError::NotWasm);
    };
    if !rest.starts_with(CORE_MODULE) {
        return Err(PackError::AlreadyComponent);
    }
    if !rest.windows(INTERFACE_SECTION.len()).any(|bytes| bytes == INTERFACE_SECTION) {
        return Err(PackError::NoInterface);
    }
    let mut encoder = ComponentEncoder::default();
    let component = encoder.validate(true).module(core_module).and_then(ComponentEncoder::encode);
    // The alternate form of these errors holds all causes in one line.
    component.map_err(|error| PackError::Encode(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plugin_module_is_named() {
        assert_eq!(pack(b"hello"), Err(PackError::NotWasm));
        assert_eq!(pack(b"\0asm"), Err(PackError::AlreadyComponent), "cut short in its version");
        assert_eq!(pack(b"\0asm\x0d\0\x01\0"), Err(PackError::AlreadyComponent));
        assert_eq!(pack(b"\0asm\x01\0\0\0"), Err(PackError::NoInterface));
        assert!(matches!(pack(b"\0asm\x01\0\0\0\0\x0fcomponent-type"), Err(PackError::Encode(_))));
    }
}
