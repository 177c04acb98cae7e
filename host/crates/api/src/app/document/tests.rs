use proptest::prelude::{Just, Strategy as _, any, prop, prop_assert, prop_oneof, proptest};
use serde_json::json;

use super::*;

fn read(document: &Value) -> Result<PoolInput, AppError> {
    PoolInput::from_document(document, None)
}

fn faults(document: &Value) -> Vec<Fault> {
    match read(document) {
        Err(AppError::Invalid(faults)) => faults,
        other => panic!("{other:?}"),
    }
}

fn fault(document: &Value) -> Fault {
    let found = faults(document);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn the_older_form_takes_its_type_from_the_cidr() {
    let four = read(&json!({"id": "a", "cidr": "10.0.0.0/24", "prefix": 32, "exclusions": ["10.0.0.9"]})).unwrap();
    assert_eq!(four.type_id.as_str(), "ipv4");
    assert_eq!(four.spec, r#"{"cidr":"10.0.0.0/24","exclusions":["10.0.0.9"],"prefix":32}"#);
    assert_eq!((four.hold_down_ms, four.older_form), (Some(0), true));
    assert_eq!(read(&json!({"id": "a", "cidr": "2001:db8::/48"})).unwrap().type_id.as_str(), "ipv6");
}

#[test]
fn host_fields_of_the_older_form_do_not_reach_the_plugin() {
    let input = read(&json!({
        "id": "v", "type": "vlan", "range": "100-4000", "realm": "core", "realm_by": ["olt_id"], "lease": "1h",
        "hold_down": "5s", "strategy": "next_free", "metadata": {"b": 1, "a": null}, "sharding_factor": 0,
        "backup_ratio": 0.25, "strict": true,
    }))
    .unwrap();
    assert_eq!(input.spec, r#"{"range":"100-4000"}"#);
    assert_eq!(input.hold_down_ms, Some(5_000));
    assert_eq!(input.strategy, Some(Strategy::NextFree));
    assert_eq!(input.metadata, r#"{"b":1}"#);
    assert_eq!(input.extra, r#"{"backup_ratio":0.25}"#);
    assert_eq!(input.sharding_factor, None);
    let lease = LeaseTerms::Timed { default_ms: 3_600_000, min_ms: 60_000, max_ms: 604_800_000 };
    assert_eq!(input.lease, Some(lease));
}

#[test]
fn null_is_absent() {
    let input =
        read(&json!({"id": "a", "cidr": "10.0.0.0/24", "spec": null, "metadata": null, "hold_down": null})).unwrap();
    assert!(input.older_form);
    assert_eq!(input.hold_down_ms, Some(0));
}

#[test]
fn a_misspelt_field_beside_spec_is_named_with_the_nearest_known_one() {
    let fault = fault(&json!({"id": "a", "type": "ipv4", "spec": {"cidr": "10.0.0.0/8"}, "hold_dwon": 5}));
    assert_eq!(fault.field, "hold_dwon");
    assert!(fault.remedy.contains("did you mean hold_down?"), "{fault}");
    assert_eq!(fault.value, "5", "what was written is told");
    let lease = json!({"default": "1h", "mni": "5m"});
    let fault = self::fault(&json!({"id": "a", "type": "ipv4", "spec": {"cidr": "10.0.0.0/8"}, "lease": lease}));
    assert_eq!((fault.field.as_str(), fault.value.as_str()), ("lease.mni", "5m"));
}

#[test]
fn a_misspelt_field_of_the_older_form_is_found_through_the_schema() {
    let schema = r#"{"properties":{"cidr":{},"exclusions":{}},"additionalProperties":false}"#;
    let found = unknown_fields(schema, r#"{"cidr":"10.0.0.0/8","exlusions":[]}"#, true).unwrap();
    assert!(found[0].remedy.contains("exclusions"), "{found:?}");
    let found = unknown_fields(schema, r#"{"cidr":"10.0.0.0/8","hold_downs":1}"#, true).unwrap();
    assert!(found[0].remedy.contains("hold_down?"), "{found:?}");
    for (misspelt, meant) in
        [("hold_dwon", "hold_down"), ("realmby", "realm_by"), ("shardingfactor", "sharding_factor")]
    {
        let found = unknown_fields(schema, &json!({"cidr": "10.0.0.0/8", misspelt: 1}).to_string(), true).unwrap();
        assert!(found[0].remedy.ends_with(&format!("did you mean {meant}?")), "{found:?}");
    }
    assert!(unknown_fields(schema, r#"{"cidr":"10.0.0.0/8"}"#, true).is_none());
}

#[test]
fn an_answer_can_be_sent_back() {
    let input = read(&json!({
        "id": "a", "type": "ipv4", "spec": {"cidr": "10.0.0.0/24"}, "cidr": "10.0.0.0/24", "prefix": 32,
        "dns": ["1.1.1.1", "9.9.9.9"], "tenant": "default", "revision": 3, "capacity": 256, "shards": 8,
        "created_at": "x",
    }))
    .unwrap();
    assert_eq!(input.revision, Some(Revision(3)));
    assert!(input.derived.contains(&("dns".into(), "1.1.1.1,9.9.9.9".into())), "{:?}", input.derived);
}

#[test]
fn every_fault_is_reported_with_field_value_and_remedy() {
    let found = faults(&json!({
        "id": "-", "type": 5, "spec": [], "hold_down": "soon", "strict": "yes", "sharding_factor": 20000,
        "strategy": "fastest", "lease": {"default": "1h", "min": "2h"}, "realm_by": "olt_id", "metadata": 1,
        "backup_ratio": 2, "shared": 1,
    }));
    let named: Vec<_> = found.iter().map(|fault| fault.field.as_str()).collect();
    for field in [
        "id",
        "type",
        "spec",
        "hold_down",
        "strict",
        "sharding_factor",
        "strategy",
        "lease",
        "realm_by",
        "metadata",
        "backup_ratio",
        "shared",
    ] {
        assert!(named.contains(&field), "{field} is missing in {named:?}");
    }
    assert!(found.iter().all(|fault| !fault.remedy.is_empty()));
}

#[test]
fn a_new_pool_of_the_older_form_has_fewer_shards() {
    let older = |count: u32| read(&json!({"id": "a", "cidr": "10.0.0.0/8", "sharding_factor": count})).unwrap();
    assert!(check_older_shards(&older(256), None).is_ok());
    let Err(AppError::Invalid(faults)) = check_older_shards(&older(257), None) else { panic!("it is refused") };
    assert_eq!((faults[0].field.as_str(), faults[0].value.as_str()), ("sharding_factor", "257"));
    let spec = json!({"id": "a", "type": "ipv4", "spec": {"cidr": "10.0.0.0/8"}, "sharding_factor": 257});
    let spec = read(&spec).unwrap();
    assert_eq!(spec.sharding_factor, Some(257));
    assert!(check_older_shards(&spec, None).is_ok());
}

#[test]
fn the_path_and_the_body_name_the_same_pool() {
    let body = json!({"id": "a", "cidr": "10.0.0.0/24"});
    assert!(PoolInput::from_document(&body, Some("a")).is_ok());
    assert!(PoolInput::from_document(&body, Some("b")).is_err());
    assert!(PoolInput::from_document(&json!({"cidr": "10.0.0.0/24"}), Some("b")).is_ok());
}

fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_panics_and_every_refusal_has_faults(
        known in prop::collection::btree_map(prop::sample::select(HOST_FIELDS.to_vec()), any_json(), 0..14),
        other in prop::collection::btree_map("[a-z_]{1,10}", any_json(), 0..3),
    ) {
        let mut fields: Map<String, Value> = known.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        fields.extend(other);
        if let Err(error) = read(&Value::Object(fields)) {
            let AppError::Invalid(faults) = error else { panic!("{error:?}") };
            prop_assert!(!faults.is_empty());
            prop_assert!(faults.iter().all(|fault| !fault.field.is_empty() && !fault.remedy.is_empty()));
        }
    }
}
