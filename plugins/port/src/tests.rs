use nexus_plugin_conformance::{Profile, check_native, layout_faults};
use proptest::prelude::*;

use super::*;

const CGNAT: &str = r#"{"range":"1024-65535","addresses":"203.0.113.0/25","block_size":512,"max_block_size":2048}"#;

fn open(spec: &str) -> Port {
    Port::open(spec).unwrap_or_else(|error| panic!("{spec}: {error}"))
}

fn fact(pool: &Port, key: &str) -> Option<String> {
    pool.layout().attributes.into_iter().find(|attribute| attribute.key == key).map(|attribute| attribute.value)
}

#[test]
fn it_conforms() {
    check_native::<Port>(Profile::Full).assert_passed();
}

#[test]
fn blocks_of_public_addresses_are_one_series() {
    let layout = open(CGNAT).layout();
    let first = 0xcb00_7100 * STRIDE + 1024;
    assert_eq!(layout.spans, [Series { start: first, len: 64_512, stride: STRIDE, count: 128 }]);
    assert_eq!((layout.grain, layout.cut, layout.sizing.max_len), (512, 2048, 2048));
}

#[test]
fn blocks_have_an_address_in_their_name_where_the_pool_has_addresses() {
    let pool = open(CGNAT);
    let block = pool.parse("203.0.113.5:2048-2559").unwrap();
    assert_eq!(block, Span::new(0xcb00_7105 * STRIDE + 2048, 512));
    assert_eq!(pool.render(block).unwrap(), "203.0.113.5:2048-2559");
    let facts: Vec<String> = pool.attributes(block).unwrap().iter().map(|a| format!("{}={}", a.key, a.value)).collect();
    assert_eq!(facts, ["address=203.0.113.5", "first_port=2048", "last_port=2559"]);
    assert_eq!(pool.summarize(Span::new(block.start, 2048)).unwrap(), ["203.0.113.5:2048-4095"]);
    for name in ["203.0.113.5:2048", "203.0.113.5:2049-2560", "203.0.113.128:2048-2559", "203.0.113.5:2048-6143"] {
        assert_eq!(pool.parse(name), Err(PluginError::OutOfRange), "{name}");
    }
    for name in [
        "2048-2559",
        "203.0.113.5:",
        "203.0.113.5:2559-2048",
        "203.0.113.5:65000-65536",
        "203.0.113.05:2048-2559",
        "::1:2048",
    ] {
        assert!(matches!(pool.parse(name), Err(PluginError::InvalidName(_))), "{name}");
    }
    let bare = open(r#"{"range":"1024-65535"}"#);
    assert_eq!(bare.render(bare.parse("2048-2048").unwrap()).unwrap(), "2048");
    let refused = bare.parse("203.0.113.5:2048").unwrap_err();
    assert_eq!(
        refused,
        PluginError::InvalidName("\"203.0.113.5:2048\" has an address and this pool has none; write 2048".into())
    );
}

#[test]
fn ports_that_fill_no_block_are_named_and_unused() {
    let pool = open(r#"{"range":"1024-65535","block_size":1000}"#);
    assert_eq!(pool.layout().spans, [Span::new(1024, 64_000).into()]);
    assert_eq!(fact(&pool, "unused").as_deref(), Some("65024-65535"));
    assert_eq!(pool.parse("65024-65535"), Err(PluginError::OutOfRange));
    assert_eq!(fact(&open(CGNAT), "unused"), None);
}

#[test]
fn hints_choose_how_many_and_where() {
    let pool = open(CGNAT);
    let ask = |key: &str, value: &str| pool.interpret(&[Attribute::new(key, value)]);
    assert_eq!(ask("count", "512"), Ok(Plan::of(512)));
    assert_eq!(ask("count", "513"), Ok(Plan::of(1024)), "whole blocks");
    assert_eq!(
        ask("count", "2049").unwrap_err().to_string(),
        "/count: is \"2049\"; this pool gives 1 to 2048 ports at once"
    );
    let within = ask("address", "203.0.113.9").unwrap().within;
    assert_eq!(within, [Span::new(0xcb00_7109 * STRIDE + 1024, 64_512)]);
    assert_eq!(
        ask("address", "203.0.114.9").unwrap_err().to_string(),
        "/address: \"203.0.114.9\" is not one of the pool's addresses"
    );
    let bare = open(r#"{"range":"1024-65535"}"#).interpret(&[Attribute::new("address", "203.0.113.9")]).unwrap_err();
    assert_eq!(bare.to_string(), "/address: unknown hint \"address\"; known: count");
}

#[test]
fn an_excluded_port_is_excluded_of_every_address() {
    let pool =
        open(r#"{"range":"1024-5119","addresses":["203.0.113.0/30","203.0.113.8"],"exclusions":[3478,"5060-5061"]}"#);
    let excluded: Vec<(u128, u64)> =
        pool.layout().excluded.iter().map(|series| (series.start % STRIDE, series.count)).collect();
    assert_eq!(excluded, [(3478, 4), (5060, 4), (3478, 1), (5060, 1)]);
    assert_eq!(layout_faults(&pool.layout()), Vec::<String>::new());
}

#[test]
fn each_fault_says_what_would_be_right() {
    for (spec, want) in [
        ("{}", "/range: is missing; give the ports, as in \"1-65535\""),
        (r#"{"range":"0-100"}"#, "/range: \"0-100\" is neither a port nor a range of them inside 1-65535"),
        (r#"{"range":"1-100","block_size":0}"#, "/block_size: is 0; must be a whole number from 1 to 65535"),
        (
            r#"{"range":"1-100","block_size":101}"#,
            "/block_size: is 101, and no range has as many ports; give a longer range or smaller blocks",
        ),
        (
            r#"{"range":"1-100","block_size":10,"max_block_size":15}"#,
            "/max_block_size: is 15; it must be a multiple of block_size, which is 10",
        ),
        (
            r#"{"range":"1-100","block_size":10,"max_block_size":200}"#,
            "/max_block_size: is 200, and the longest range has 100 ports in whole blocks",
        ),
        (
            r#"{"range":"1-100","addresses":"203.0.113.1/25"}"#,
            "/addresses: \"203.0.113.1/25\" has host bits set; the block is 203.0.113.0/25",
        ),
        (
            r#"{"range":"1-100","addresses":[]}"#,
            "/addresses: is empty; give the public addresses, or leave the field out for bare ports",
        ),
        (
            r#"{"range":"1-100","addresses":"0.0.0.0/8"}"#,
            "/addresses: \"0.0.0.0/8\" holds addresses of 0.0.0.0/8, which are not public",
        ),
        (
            r#"{"range":"1-100","exclusions":["90-110"]}"#,
            "/exclusions/0: \"90-110\" is not inside the pool, which is 1-100",
        ),
        (
            r#"{"range":"1-100","block_size":50,"exclusions":[1,2,51]}"#,
            "/exclusions: leave no whole block to hand out; exclude less",
        ),
        (
            r#"{"range":"1-100","adresses":"203.0.113.0/25"}"#,
            "/adresses: unknown field \"adresses\"; did you mean \"addresses\"? known: range, ranges, exclusions, addresses, block_size, max_block_size",
        ),
    ] {
        assert_eq!(Port::open(spec).unwrap_err().to_string(), format!("the spec has 1 fault(s): {want}"), "{spec}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_spec_opens_to_a_sound_layout_or_is_refused(
        ranges in prop::collection::vec("[0-9]{1,4}(-[0-9]{1,5})?", 1..4),
        exclusions in prop::collection::vec("[0-9]{1,4}(-[0-9]{1,4})?", 0..3),
        addresses in prop::option::of(prop::collection::vec("203\\.0\\.113\\.([0-9]{1,3}|0/2[4-9]|[0-4]-203\\.0\\.113\\.9)", 1..3)),
        block_size in 1_u32..3_000, times in 1_u32..4,
    ) {
        let addresses = addresses.map_or_else(String::new, |addresses| format!(r#","addresses":{addresses:?}"#));
        let most = block_size * times;
        let spec = format!(
            r#"{{"ranges":{ranges:?},"exclusions":{exclusions:?},"block_size":{block_size},"max_block_size":{most}{addresses}}}"#
        );
        match Port::open(&spec) {
            Ok(pool) => prop_assert_eq!(layout_faults(&pool.layout()), Vec::<String>::new(), "{}", spec),
            Err(PluginError::InvalidSpec(problems)) => prop_assert!(!problems.is_empty()),
            Err(other) => prop_assert!(false, "{spec}: {other:?}"),
        }
    }

    #[test]
    fn any_name_is_read_to_what_it_is_named(name in "(203\\.0\\.113\\.[0-9]{1,2}:)?[0-9]{1,5}(-[0-9]{1,5})?") {
        for spec in [CGNAT, r#"{"range":"1024-65535","block_size":8,"max_block_size":64}"#] {
            let pool = open(spec);
            if let Ok(span) = pool.parse(&name) {
                prop_assert_eq!(pool.parse(&pool.render(span).unwrap()), Ok(span));
            }
        }
    }
}
