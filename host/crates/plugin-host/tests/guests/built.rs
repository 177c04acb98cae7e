//! The five plugins that ship with the daemon.

use kernel::Span;
use plugin_host::PluginError;

use crate::bench::{Bench, built};

/// A spec of each type with the name of its first position that may be handed out.
const SPECS: [(&str, &str, &str); 5] = [
    ("ipv4", r#"{"cidr":"100.64.0.0/16"}"#, "100.64.0.1"),
    ("ipv6", r#"{"cidr":"2001:db8::/32","prefix":56}"#, "2001:db8::/56"),
    ("vlan", r#"{"range":"100-4000"}"#, "100"),
    ("svlan", r#"{"range":"1000-2000"}"#, "1000"),
    ("port", r#"{"addresses":"203.0.113.0/25","block_size":512,"range":"1024-65535"}"#, "203.0.113.0:1024-1535"),
];

#[test]
fn the_five_plugins_serve_at_once_and_names_read_back() {
    let bench = Bench::new();
    let host = bench.start(&SPECS.map(|(type_id, _, _)| built(type_id)));
    assert_eq!(host.types(), ["ipv4", "ipv6", "port", "svlan", "vlan"], "{:#?}", host.list());
    for (type_id, spec, name) in SPECS {
        let opened = host.open(type_id, spec).unwrap_or_else(|error| panic!("{type_id}: {error}"));
        let spec = spec.into();
        let parsed = host.parse(type_id, &spec, &[name]).unwrap().remove(0);
        let span = parsed.unwrap_or_else(|error| panic!("{type_id} {name}: {error}"));
        assert_eq!(span.len(), opened.geometry.sizing.default_len, "{type_id}");
        assert_eq!(host.render(type_id, &spec, &[span]).unwrap(), [name]);
        assert_eq!(host.interpret(type_id, &spec, &[]).unwrap().len, span.len());
        assert!(!host.summarize(type_id, &spec, opened.geometry.spans[0].first()).unwrap().is_empty());
        host.attributes(type_id, &spec, span).unwrap();
        let outside = Span::new(u128::MAX - 2, 1).unwrap();
        assert_eq!(host.render(type_id, &spec, &[outside]), Err(PluginError::OutOfRange), "{type_id}");
    }
}
