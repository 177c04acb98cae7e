//! Plugins by hand, well behaved or hostile: one template, and code put in at named places.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The interface as it is published, for whichever crate's tests build guests.
const INTERFACE: [&str; 4] = [
    include_str!("../../../../../wit/types.wit"),
    include_str!("../../../../../wit/log.wit"),
    include_str!("../../../../../wit/geometry.wit"),
    include_str!("../../../../../wit/world.wit"),
];

/// A plugin to be built. Positions `first..first + count`, each named by its decimal number.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) type_id: String,
    pub(crate) version: String,
    pub(crate) mapping_id: String,
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// Code for the template's hooks.
    hooks: Vec<(&'static str, String)>,
    /// Texts replaced in the interface and the module alike.
    renamed: Vec<(&'static str, &'static str)>,
    /// WIT put behind the package's own.
    extra_wit: &'static str,
}

impl Guest {
    /// A plugin that keeps every promise.
    pub(crate) fn new(type_id: &str) -> Self {
        Self {
            type_id: type_id.into(),
            version: "1.0.0".into(),
            mapping_id: "decimal-1".into(),
            first: 1_000,
            count: 4_096,
            hooks: Vec::new(),
            renamed: Vec::new(),
            extra_wit: "",
        }
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    pub(crate) fn mapping(mut self, mapping_id: &str) -> Self {
        self.mapping_id = mapping_id.into();
        self
    }

    pub(crate) fn range(mut self, first: u64, count: u64) -> Self {
        (self.first, self.count) = (first, count);
        self
    }

    /// Puts code at one of the template's hooks.
    pub(crate) fn hook(mut self, place: &'static str, code: impl Into<String>) -> Self {
        self.hooks.push((place, code.into()));
        self
    }

    /// Renames something in the interface it is built for.
    pub(crate) fn renamed(mut self, from: &'static str, to: &'static str) -> Self {
        self.renamed.push((from, to));
        self
    }

    /// Imports a WASI function.
    pub(crate) fn with_wasi(mut self) -> Self {
        self.extra_wit = "package wasi:cli@0.2.0 { interface exit { exit: func(); } }";
        self.renamed.push(("import log;", "import log; import wasi:cli/exit@0.2.0;"));
        self.hook("IMPORTS", r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit))"#)
    }

    /// The core module.
    pub(crate) fn module(&self) -> Vec<u8> {
        let mut text = include_str!("guest.wat").to_owned();
        let (segments, places) = self.statics();
        for (word, value) in &places {
            text = text.replace(word, &value.to_string());
        }
        text = text.replace("DATA", &segments);
        text = text.replace("FIRST", &self.first.to_string()).replace("COUNT", &self.count.to_string());
        for (place, code) in &self.hooks {
            let hook = format!("(;{place};)");
            assert!(text.contains(&hook), "the template has no hook {place}");
            text = text.replace(&hook, code);
        }
        for (from, to) in &self.renamed {
            text = text.replace(from, to);
        }
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// The component.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut wit = String::new();
        for text in INTERFACE {
            let (_, body) = text.split_once("package nexus:allocator@1.0.0;").expect("a package line");
            wit.push_str(body);
        }
        let mut wit = format!("package nexus:allocator@1.0.0;\n{wit}\n{}", self.extra_wit);
        for (from, to) in &self.renamed {
            wit = wit.replace(from, to);
        }
        let mut resolve = Resolve::default();
        let package = resolve.push_str("guest.wit", &wit).unwrap();
        let world = resolve.select_world(&[package], Some("allocator")).unwrap();
        let mut module = self.module();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
    }

    /// The data segments and where the template finds what is in them.
    fn statics(&self) -> (String, Vec<(&'static str, usize)>) {
        let mut memory = Statics::default();
        let object = r#"{"type":"object","additionalProperties":false}"#;
        let example = memory.string("{}");
        let examples = memory.words(&[example.0, example.1]);
        let texts = [&self.type_id, &self.version, &self.mapping_id, "a test type", object, object];
        let mut fields: Vec<usize> = Vec::new();
        for text in texts {
            let (at, len) = memory.string(text);
            fields.extend([at, len]);
        }
        // One example, no labels.
        fields.extend([examples, 1, 0, 0]);
        let descriptor = memory.words(&fields);
        let (message, message_len) = memory.string("a decimal number of the pool is needed");
        let problem = memory.words(&[message, 0, message, message_len]);
        let places =
            vec![("DESCRIPTOR", descriptor), ("PROBLEM", problem), ("MESSAGE_LEN", message_len), ("MESSAGE", message)];
        (memory.segments, places)
    }
}

/// Static data, from 1,024 on.
struct Statics {
    segments: String,
    next: usize,
}

impl Default for Statics {
    fn default() -> Self {
        Self { segments: String::new(), next: 1_024 }
    }
}

impl Statics {
    fn bytes(&mut self, bytes: &[u8]) -> usize {
        let at = self.next;
        write!(self.segments, "(data (i32.const {at}) \"").unwrap();
        for byte in bytes {
            write!(self.segments, "\\{byte:02x}").unwrap();
        }
        self.segments.push_str("\")\n  ");
        self.next = (at + bytes.len() + 7) & !7;
        at
    }

    fn string(&mut self, text: &str) -> (usize, usize) {
        (self.bytes(text.as_bytes()), text.len())
    }

    fn words(&mut self, words: &[usize]) -> usize {
        let bytes: Vec<u8> = words.iter().flat_map(|word| u32::try_from(*word).unwrap().to_le_bytes()).collect();
        self.bytes(&bytes)
    }
}
