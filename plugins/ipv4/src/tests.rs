use nexus_plugin_conformance::{Profile, check_native, layout_faults};
use nexus_plugin_sdk::Series;
use proptest::prelude::*;

use super::*;

fn open(spec: &str) -> Ipv4 {
    Ipv4::open(spec).unwrap_or_else(|error| panic!("{spec}: {error}"))
}

fn faults(spec: &str) -> Vec<String> {
    match Ipv4::open(spec) {
        Err(PluginError::InvalidSpec(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{spec}: {other:?}"),
    }
}

/// Each spec has just this one fault.
fn check_faults(cases: &[(&str, &str)]) {
    for (spec, want) in cases {
        assert_eq!(faults(spec), [*want], "{spec}");
    }
}

/// How many addresses may be handed out.
fn free(spec: &str) -> u128 {
    let layout = open(spec).layout();
    let sum = |list: &[Series]| list.iter().filter_map(Series::positions).sum::<u128>();
    sum(&layout.spans) - sum(&layout.excluded)
}

fn attribute(attributes: &[Attribute], key: &str) -> Option<String> {
    attributes.iter().find(|attribute| attribute.key == key).map(|attribute| attribute.value.clone())
}

#[test]
fn it_conforms() {
    check_native::<Ipv4>(Profile::Full).assert_passed();
}

#[test]
fn network_broadcast_and_gateway_are_kept_out_where_they_mean_something() {
    for (spec, addresses) in [
        (r#"{"cidr":"10.0.0.0/24"}"#, 254),
        (r#"{"cidr":"10.0.0.0/24","gateway":"10.0.0.1"}"#, 253),
        (r#"{"cidr":"10.0.0.0/24","gateway":"10.0.0.1","use_all":true}"#, 255),
        (r#"{"cidr":"10.0.0.0/24","gateway":"10.0.0.0","use_all":true}"#, 255),
        (r#"{"cidr":"10.0.0.0/30"}"#, 2),
        (r#"{"cidr":"10.0.0.0/31"}"#, 2),
        (r#"{"cidr":"10.0.0.7/32"}"#, 1),
        (r#"{"cidr":"10.0.0.0/24","prefix":29}"#, 256),
        (r#"{"cidr":"10.0.0.0/24","prefix":29,"max_prefix":32}"#, 254),
        (r#"{"ranges":["10.0.0.0/24"]}"#, 256),
        (r#"{"ranges":["10.0.0.10-10.0.0.19"],"gateway":"10.0.0.1"}"#, 10),
        (r#"{"ranges":["10.0.0.10-10.0.0.19"],"gateway":"10.0.0.10"}"#, 9),
        (
            r#"{"cidr":"10.0.0.0/24","exclusions":["10.0.0.0","10.0.0.2-10.0.0.3","10.0.0.4/30"],"gateway":"10.0.0.5"}"#,
            248,
        ),
        (r#"{"cidr":"10.0.0.0/24","prefix":null,"exclusions":null,"gateway":null,"dns":null}"#, 254),
        (r#"{"cidr":"0.0.0.0/0","use_all":true}"#, 1 << 32),
    ] {
        assert_eq!(free(spec), addresses, "{spec}");
    }
}

#[test]
fn a_fault_in_what_the_pool_holds_says_what_would_be_right() {
    check_faults(&[
        ("{}", "/cidr: is missing; give the pool's block, or \"ranges\""),
        (r#"{"cidr":"10.0.0.5/24"}"#, "/cidr: \"10.0.0.5/24\" has host bits set; the block is 10.0.0.0/24"),
        (
            r#"{"cidr":"2001:db8::/32"}"#,
            "/cidr: \"2001:db8::\" is an IPv6 address; this needs an IPv4 one, as in 192.0.2.1",
        ),
        (r#"{"cidr":"10.0.0.0/24","ranges":[]}"#, "/ranges: stands beside \"cidr\"; give one of the two"),
        (r#"{"ranges":[]}"#, "/ranges: is empty; give addresses, ranges a-b or CIDRs"),
        (
            r#"{"cidr":"10.0.0.0/24","prefix":20}"#,
            "/prefix: is 20, larger than the pool 10.0.0.0/24; it must be at least 24",
        ),
        (
            r#"{"cidr":"10.0.0.0/24","prefix":28,"min_prefix":20}"#,
            "/min_prefix: is 20, larger than the pool 10.0.0.0/24; it must be at least 24",
        ),
        (r#"{"cidr":"10.0.0.0/24","prefix":33}"#, "/prefix: is 33; must be a whole number from 0 to 32"),
        (
            r#"{"cidr":"10.0.0.0/24","prefix":28,"min_prefix":30}"#,
            "/min_prefix: is 30, and the default prefix is 28; it must be at most that",
        ),
        (
            r#"{"cidr":"10.0.0.0/24","prefix":28,"max_prefix":24}"#,
            "/max_prefix: is 24, and the default prefix is 28; it must be at least that",
        ),
    ]);
}

#[test]
fn a_fault_in_what_is_kept_out_says_what_would_be_right() {
    check_faults(&[
        (
            r#"{"cidr":"10.0.0.0/24","gateway":"10.0.1.1"}"#,
            "/gateway: \"10.0.1.1\" is not inside the pool's 10.0.0.0/24; give an address of it, or none",
        ),
        (
            r#"{"cidr":"10.0.0.0/24","gateway":"10.0.0.255"}"#,
            "/gateway: \"10.0.0.255\" is the broadcast address of 10.0.0.0/24; give another, or set \"use_all\"",
        ),
        (
            r#"{"cidr":"10.0.0.0/24","gateway":"router"}"#,
            "/gateway: \"router\" is not an IPv4 address such as 192.0.2.1",
        ),
        (
            r#"{"cidr":"10.0.0.0/24","exclusions":["10.0.1.0/30"]}"#,
            "/exclusions/0: \"10.0.1.0/30\" is not inside the pool, which is 10.0.0.0/24",
        ),
        (
            r#"{"ranges":["10.0.0.1-10.0.0.9","10.0.0.5"]}"#,
            "/ranges/1: \"10.0.0.5\" overlaps \"10.0.0.1-10.0.0.9\" at /ranges/0; write each only once",
        ),
        (
            r#"{"ranges":["10.0.0.1-10.0.0.9"],"prefix":30}"#,
            "/ranges/0: \"10.0.0.1-10.0.0.9\" is not made of whole /30 blocks; give whole ones, such as 10.0.0.0-10.0.0.11",
        ),
        (
            r#"{"ranges":["10.0.0.8/29"],"prefix":30,"min_prefix":28}"#,
            "/ranges: no aligned /28 block fits into any of them; give a longer range or a longer prefix",
        ),
        (
            r#"{"cidr":"10.0.0.0/30","exclusions":["10.0.0.1","10.0.0.2"]}"#,
            "/exclusions: with the addresses kept out leave nothing to hand out; exclude less or give a larger pool",
        ),
        (
            r#"{"cidr":"10.0.0.0/30","prefix":30,"gateway":"10.0.0.1"}"#,
            "/exclusions: with the addresses kept out leave nothing to hand out; exclude less or give a larger pool",
        ),
        (
            r#"{"cidr":"10.0.0.0/24","dns":["10.0.0.1","ns1"]}"#,
            "/dns/1: \"ns1\" is not the IP address of a name server",
        ),
        (
            r#"{"cidr":"10.0.0.0/24","exclusion":[]}"#,
            "/exclusion: unknown field \"exclusion\"; did you mean \"exclusions\"? known: cidr, ranges, exclusions, prefix, min_prefix, max_prefix, gateway, dns, use_all",
        ),
    ]);
}

#[test]
fn all_faults_of_a_spec_are_told_at_once() {
    let spec =
        r#"{"cidr":"10.0.0.1/24","prefix":"x","exclusions":["y"],"gateway":"z","dns":["w"],"use_all":1,"unknown":2}"#;
    let paths: Vec<String> =
        faults(spec).iter().filter_map(|fault| Some(fault.split_once(':')?.0.to_owned())).collect();
    assert_eq!(paths, ["/exclusions/0", "/prefix", "/cidr", "/dns/0", "/use_all", "/gateway", "/unknown"]);
}

#[test]
fn what_answers_say_is_in_the_attributes() {
    let pool = open(r#"{"cidr":"100.64.0.0/10","gateway":"100.64.0.1","dns":["192.0.2.53","2001:DB8::53"]}"#);
    let texts: Vec<String> = pool.layout().attributes.iter().map(|a| format!("{}={}", a.key, a.value)).collect();
    assert_eq!(
        texts,
        ["cidr=100.64.0.0/10", "prefix=32", "netmask=255.192.0.0", "gateway=100.64.0.1", "dns=192.0.2.53,2001:db8::53"]
    );
    let facts = pool.attributes(pool.parse("100.64.1.50").unwrap()).unwrap();
    for (key, value) in [
        ("ip", "100.64.1.50"),
        ("prefix", "32"),
        ("radius:Framed-IP-Address", "100.64.1.50"),
        ("radius:Framed-IP-Netmask", "255.192.0.0"),
    ] {
        assert_eq!(attribute(&facts, key).as_deref(), Some(value));
    }
    let routed = open(r#"{"ranges":["198.51.100.16-198.51.100.47"],"prefix":29}"#);
    assert_eq!(attribute(&routed.layout().attributes, "cidr").as_deref(), Some("198.51.100.0/26"));
    let facts = routed.attributes(routed.parse("198.51.100.24/29").unwrap()).unwrap();
    for (key, value) in [
        ("ip", "198.51.100.24"),
        ("prefix", "29"),
        ("netmask", "255.255.255.248"),
        ("radius:Framed-Route", "198.51.100.24/29 0.0.0.0 1"),
    ] {
        assert_eq!(attribute(&facts, key).as_deref(), Some(value));
    }
}

#[test]
fn names_are_read_in_both_spellings() {
    let single = open(r#"{"cidr":"10.0.0.0/24"}"#);
    assert_eq!(single.parse("10.0.0.5/32"), single.parse("10.0.0.5"));
    assert_eq!(single.parse("10.0.0.0"), Ok(Span::unit(10 << 24)), "kept out, yet of the pool");
    assert_eq!(single.parse("10.0.1.0"), Err(PluginError::OutOfRange));
    assert_eq!(single.parse("10.0.0.0/24"), Err(PluginError::OutOfRange), "no length of this pool");
    let routed = open(r#"{"cidr":"10.0.0.0/24","prefix":29,"min_prefix":28,"max_prefix":30}"#);
    assert_eq!(
        routed.render(routed.parse("10.0.0.8").unwrap()).unwrap(),
        "10.0.0.8/29",
        "a bare address begins the default block"
    );
    let refused = routed.parse("10.0.0.9").unwrap_err();
    assert_eq!(
        refused,
        PluginError::InvalidName(
            "\"10.0.0.9\" is a single address and this pool gives blocks; the one around it is 10.0.0.8/29".into()
        )
    );
    assert!(matches!(routed.parse("10.0.0.9/29"), Err(PluginError::InvalidName(_))));
}

#[test]
fn a_hint_chooses_the_length() {
    let pool = open(r#"{"cidr":"10.0.0.0/24","prefix":29,"min_prefix":28,"max_prefix":30}"#);
    let ask = |length: &str| pool.interpret(&[Attribute::new("prefix_length", length)]);
    assert_eq!(pool.interpret(&[]), Ok(Plan::of(8)));
    assert_eq!(ask("28"), Ok(Plan::of(16)));
    for wrong in ["27", "31", "", "x", "+28", "028x", "/28"] {
        let want = format!("/prefix_length: is {wrong:?}; this pool gives 28 to 30");
        assert_eq!(ask(wrong).unwrap_err().to_string(), want);
    }
}

#[test]
fn a_run_is_summarized_as_the_fewest_blocks() {
    let pool = open(r#"{"cidr":"100.64.0.0/10"}"#);
    let first = pool.layout().spans[0].start;
    assert_eq!(pool.summarize(Span::new(first, 1 << 14)).unwrap(), ["100.64.0.0/18"]);
    assert_eq!(pool.summarize(Span::new(first + 1, 3)).unwrap(), ["100.64.0.1/32", "100.64.0.2/31"]);
    assert_eq!(pool.summarize(Span::new(first, 1 << 23)), Err(PluginError::OutOfRange));
}

#[test]
fn shards_of_a_small_pool_and_of_long_blocks_stay_whole() {
    for (spec, cut) in [
        (r#"{"cidr":"10.0.0.0/8"}"#, 256),
        (r#"{"cidr":"10.0.0.0/28"}"#, 16),
        (r#"{"cidr":"10.0.0.0/8","prefix":24}"#, 1 << 16),
        (r#"{"cidr":"10.0.0.0/8","min_prefix":12}"#, 1 << 20),
        (r#"{"ranges":["10.0.0.1-10.0.0.100"]}"#, 64),
    ] {
        assert_eq!(open(spec).layout().cut, cut, "{spec}");
    }
}

fn addresses() -> impl Strategy<Value = String> {
    prop_oneof![
        (0_u8..4, 0_u8..8, 20_u8..34).prop_map(|(third, last, prefix)| format!("10.0.{third}.{last}/{prefix}")),
        (0_u8..4, any::<u8>()).prop_map(|(third, last)| format!("10.0.{third}.{last}")),
        (any::<u8>(), any::<u8>()).prop_map(|(from, to)| format!("10.0.0.{from}-10.0.0.{to}")),
        "[0-9./:-]{0,20}",
    ]
}

fn specs() -> impl Strategy<Value = String> {
    let stock = prop_oneof![
        (16_u8..33).prop_map(|prefix| format!(r#""cidr":"10.0.0.0/{prefix}""#)),
        addresses().prop_map(|cidr| format!(r#""cidr":{cidr:?}"#)),
        prop::collection::vec(addresses(), 0..4).prop_map(|ranges| format!(r#""ranges":{ranges:?}"#)),
    ];
    let lengths = prop::option::of((20_u8..34, 0_u8..4, 0_u8..4));
    let exclusions = prop::collection::vec(addresses(), 0..3);
    (stock, lengths, exclusions, prop::option::of(addresses()), any::<bool>()).prop_map(
        |(stock, lengths, exclusions, gateway, use_all)| {
            let lengths = lengths.map_or_else(String::new, |(prefix, shorter, longer)| {
                format!(r#","prefix":{prefix},"min_prefix":{},"max_prefix":{}"#, prefix - shorter, prefix + longer)
            });
            let gateway = gateway.map_or_else(String::new, |gateway| format!(r#","gateway":{gateway:?}"#));
            format!(r#"{{{stock}{lengths},"exclusions":{exclusions:?}{gateway},"use_all":{use_all}}}"#)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_spec_opens_to_a_sound_layout_or_is_refused(spec in specs()) {
        match Ipv4::open(&spec) {
            Ok(pool) => prop_assert_eq!(layout_faults(&pool.layout()), Vec::<String>::new(), "{}", spec),
            Err(PluginError::InvalidSpec(problems)) => prop_assert!(!problems.is_empty()),
            Err(other) => prop_assert!(false, "{spec}: {other:?}"),
        }
    }

    #[test]
    fn any_name_is_read_to_what_it_is_named(name in addresses()) {
        let pool = open(r#"{"cidr":"10.0.0.0/22","prefix":30,"min_prefix":24,"max_prefix":32}"#);
        if let Ok(span) = pool.parse(&name) {
            prop_assert_eq!(pool.parse(&pool.render(span).unwrap()), Ok(span));
        }
    }
}
