use nexus_plugin_conformance::{Profile, check_native, layout_faults};
use nexus_plugin_sdk::Series;
use proptest::prelude::*;

use super::*;

fn open(spec: &str) -> Ipv6 {
    Ipv6::open(spec).unwrap_or_else(|error| panic!("{spec}: {error}"))
}

fn fault(spec: &str) -> String {
    match Ipv6::open(spec) {
        Err(PluginError::InvalidSpec(problems)) => {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        other => panic!("{spec}: {other:?}"),
    }
}

/// How many of the smallest blocks may be handed out.
fn free(spec: &str) -> u128 {
    let layout = open(spec).layout();
    let sum = |list: &[Series]| list.iter().filter_map(Series::positions).sum::<u128>();
    (sum(&layout.spans) - sum(&layout.excluded)) / layout.grain
}

fn gateway(spec: &str) -> String {
    open(spec).layout().attributes.into_iter().find(|attribute| attribute.key == "gateway").unwrap().value
}

#[test]
fn it_conforms() {
    check_native::<Ipv6>(Profile::Full).assert_passed();
}

#[test]
fn a_pool_of_delegated_prefixes_loses_none_to_its_gateway() {
    let spec = r#"{"cidr":"2001:db8::/48","prefix":64}"#;
    assert_eq!(free(spec), 65_536);
    assert_eq!(gateway(spec), "fe80::1");
    let pool = open(spec);
    let first = Span::new(pool.layout().spans[0].start, pool.layout().sizing.default_len);
    assert_eq!(pool.render(first).unwrap(), "2001:db8::/64");
    let facts: Vec<String> = pool.attributes(first).unwrap().iter().map(|a| format!("{}={}", a.key, a.value)).collect();
    assert_eq!(facts, ["ip=2001:db8::", "prefix=64", "radius:Delegated-IPv6-Prefix=2001:db8::/64"]);
}

#[test]
fn single_addresses_keep_anycast_and_gateway_out() {
    for (spec, addresses, at) in [
        (r#"{"cidr":"2001:db8::/120"}"#, 254, "2001:db8::1"),
        (r#"{"cidr":"2001:db8::/120","gateway":"2001:db8::fe"}"#, 254, "2001:db8::fe"),
        (r#"{"cidr":"2001:db8::/120","gateway":"FE80::1"}"#, 255, "fe80::1"),
        (r#"{"cidr":"2001:db8::/120","gateway":null}"#, 254, "2001:db8::1"),
        (r#"{"cidr":"2001:db8::/126"}"#, 2, "2001:db8::1"),
        (r#"{"cidr":"2001:db8::/127"}"#, 2, "fe80::1"),
        (r#"{"cidr":"2001:db8::/128"}"#, 1, "fe80::1"),
        (r#"{"ranges":["2001:db8::10-2001:db8::1f"]}"#, 16, "fe80::1"),
    ] {
        assert_eq!((free(spec), gateway(spec).as_str()), (addresses, at), "{spec}");
    }
    let pool = open(r#"{"cidr":"2001:db8::/120"}"#);
    let facts: Vec<String> = pool
        .attributes(pool.parse("2001:DB8::a").unwrap())
        .unwrap()
        .iter()
        .map(|a| format!("{}={}", a.key, a.value))
        .collect();
    assert_eq!(facts, ["ip=2001:db8::a", "prefix=128", "radius:Framed-IPv6-Address=2001:db8::a"]);
}

#[test]
fn each_fault_says_what_would_be_right() {
    for (spec, want) in [
        (r#"{"cidr":"2001:db8::1/32"}"#, "/cidr: \"2001:db8::1/32\" has host bits set; the block is 2001:db8::/32"),
        (
            r#"{"cidr":"10.0.0.0/8"}"#,
            "/cidr: \"10.0.0.0\" is an IPv4 address; this needs an IPv6 one, as in 2001:db8::1",
        ),
        (r#"{"cidr":"::/0","prefix":56}"#, "/cidr: \"::/0\" is too large; use ::/1 and 8000::/1"),
        (
            r#"{"cidr":"2001:db8::/48","prefix":40}"#,
            "/prefix: is 40, larger than the pool 2001:db8::/48; it must be at least 48",
        ),
        (r#"{"cidr":"2001:db8::/48","prefix":0}"#, "/prefix: is 0; must be a whole number from 1 to 128"),
        (
            r#"{"cidr":"2001:db8::/48","prefix":64,"gateway":"2001:db9::1"}"#,
            "/gateway: \"2001:db9::1\" is neither link-local nor inside the pool's 2001:db8::/48; fe80::1 would be",
        ),
        (
            r#"{"cidr":"2001:db8::/48","prefix":64,"use_all":true}"#,
            "/use_all: unknown field \"use_all\"; known: cidr, ranges, exclusions, prefix, min_prefix, max_prefix, gateway, dns",
        ),
        (
            r#"{"cidr":"2001:db8::/64","prefix":64,"gateway":"2001:db8::1"}"#,
            "/exclusions: with the addresses kept out leave nothing to hand out; exclude less or give a larger pool",
        ),
    ] {
        assert_eq!(fault(spec), want, "{spec}");
    }
}

#[test]
fn any_legal_spelling_is_read_and_rfc_5952_is_written() {
    let pool = open(r#"{"cidr":"2001:db8::/32","prefix":56,"min_prefix":48,"max_prefix":64}"#);
    for (spelling, canonical) in [
        ("2001:0DB8:0000:0100:0000:0000:0000:0000/56", "2001:db8:0:100::/56"),
        ("2001:db8:0:100::", "2001:db8:0:100::/56"),
        ("2001:db8:0:0::/64", "2001:db8::/64"),
        ("2001:DB8:1::0/48", "2001:db8:1::/48"),
    ] {
        assert_eq!(pool.render(pool.parse(spelling).unwrap()).unwrap(), canonical);
    }
    assert!(matches!(pool.parse("2001:db8:0:1::/56"), Err(PluginError::InvalidName(_))), "host bits");
    assert_eq!(pool.parse("2001:db8::/47"), Err(PluginError::OutOfRange), "no length of this pool");
    assert_eq!(pool.parse("2001:db8::1/128"), Err(PluginError::OutOfRange));
    assert_eq!(pool.parse("2001:db9::/56"), Err(PluginError::OutOfRange));
}

#[test]
fn a_hint_chooses_the_length() {
    let pool = open(r#"{"cidr":"2001:db8::/32","prefix":56,"min_prefix":48,"max_prefix":64}"#);
    let ask = |length: &str| pool.interpret(&[Attribute::new("prefix_length", length)]);
    assert_eq!(ask("60"), Ok(Plan::of(1 << 68)));
    assert_eq!(ask("65").unwrap_err().to_string(), "/prefix_length: is \"65\"; this pool gives 48 to 64");
    assert_eq!(pool.layout().cut, 1 << 80, "256 prefixes of /56 are as long as one /48");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_spec_opens_to_a_sound_layout_or_is_refused(
        pool in 1_u8..129, prefix in 1_u8..129, shorter in 0_u8..130, longer in 0_u8..130,
        excluded in "(2001:db8:)?[0-9a-f:]{0,12}(/[0-9]{1,3}|-2001:db8::ffff)?",
        gateway in prop::option::of("(fe80|2001:db8)::[0-9a-f]{1,4}"),
    ) {
        let cidr = Block::around(FAMILY, 0x2001_0db8 << 96, pool);
        let gateway = gateway.map_or_else(String::new, |gateway| format!(r#","gateway":"{gateway}""#));
        let (min, max) = (prefix.saturating_sub(shorter), prefix.saturating_add(longer));
        for exclusions in ["", excluded.as_str()] {
            let exclusions: Vec<&str> = [exclusions].into_iter().filter(|text| !text.is_empty()).collect();
            let spec = format!(r#"{{"cidr":"{cidr}","prefix":{prefix},"min_prefix":{min},"max_prefix":{max},"exclusions":{exclusions:?}{gateway}}}"#);
            match Ipv6::open(&spec) {
                Ok(pool) => prop_assert_eq!(layout_faults(&pool.layout()), Vec::<String>::new(), "{}", spec),
                Err(PluginError::InvalidSpec(problems)) => prop_assert!(!problems.is_empty()),
                Err(other) => prop_assert!(false, "{spec}: {other:?}"),
            }
        }
    }

    #[test]
    fn any_name_is_read_to_what_it_is_named(name in "(2001:db8|2001:DB8|::|2001:0db8)[0-9a-f:]{0,12}(/[0-9]{1,3})?") {
        let pool = open(r#"{"cidr":"2001:db8::/32","prefix":56,"min_prefix":40,"max_prefix":128}"#);
        if let Ok(span) = pool.parse(&name) {
            prop_assert_eq!(pool.parse(&pool.render(span).unwrap()), Ok(span));
        }
    }
}
