use nexus_plugin_conformance::{Profile, check_native, layout_faults};
use proptest::prelude::*;

use super::*;

#[test]
fn it_conforms() {
    check_native::<Svlan>(Profile::Full).assert_passed();
}

#[test]
fn the_older_form_opens() {
    let pool = Svlan::open(r#"{"range":"100-4000","exclusions":[200,"300-310"]}"#).unwrap();
    let layout = pool.layout();
    assert_eq!(layout.spans, [Span::new(100, 3901).into()]);
    assert_eq!(layout.excluded, [Span::unit(200).into(), Span::new(300, 11).into()]);
    assert_eq!(layout.attributes, [Attribute::new("range", "100-4000")]);
    assert_eq!((layout.grain, layout.cut), (1, 16));
}

#[test]
fn ids_are_decimal_and_tell_the_client_what_they_are() {
    let pool = Svlan::open(r#"{"range":"1-4094"}"#).unwrap();
    let span = pool.parse("0100").unwrap();
    assert_eq!(pool.render(span).unwrap(), "100");
    assert_eq!(pool.attributes(span).unwrap(), [Attribute::new("s_vlan", "100")]);
    assert_eq!(pool.summarize(Span::new(100, 401)).unwrap(), ["100-500"]);
    let refused = pool.parse("4095").unwrap_err();
    assert_eq!(refused, PluginError::InvalidName("\"4095\" is not a VLAN id from 1 to 4094".to_owned()));
}

#[test]
fn reserved_ids_are_no_pool() {
    for range in ["0-10", "4090-4095", "0", "4095"] {
        let refused = Svlan::open(&format!(r#"{{"range":"{range}"}}"#)).unwrap_err().to_string();
        let want = format!("/range: {range:?} is neither a VLAN id nor a range of them inside 1-4094");
        assert_eq!(refused, format!("the spec has 1 fault(s): {want}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_spec_opens_to_a_sound_layout_or_is_refused(
        ranges in prop::collection::vec("[0-9]{1,4}(-[0-9]{1,4})?", 0..4),
        exclusions in prop::collection::vec("[0-9]{1,4}(-[0-9]{1,4})?", 0..3),
    ) {
        let spec = format!(r#"{{"ranges":{ranges:?},"exclusions":{exclusions:?}}}"#);
        match Svlan::open(&spec) {
            Ok(pool) => prop_assert_eq!(layout_faults(&pool.layout()), Vec::<String>::new(), "{}", spec),
            Err(PluginError::InvalidSpec(problems)) => prop_assert!(!problems.is_empty()),
            Err(other) => prop_assert!(false, "{spec}: {other:?}"),
        }
    }

    #[test]
    fn any_name_is_read_to_what_it_is_named(name in "[0-9+ -]{0,6}") {
        let pool = Svlan::open(r#"{"range":"100-4000"}"#).unwrap();
        if let Ok(span) = pool.parse(&name) {
            prop_assert_eq!(pool.parse(&pool.render(span).unwrap()), Ok(span));
        }
    }
}
