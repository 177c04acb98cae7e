//! A real daemon over REST: the five types, the older client's forms, errors that say what would be right.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use common::{Daemon, Start, call, directory, wait_for};
use serde_json::{Value, json};

/// The pools of a small operator, in the older form.
fn pools() -> Vec<Value> {
    vec![
        json!({"id": "v4", "cidr": "100.64.0.0/24", "gateway": "100.64.0.1", "dns": ["9.9.9.9"], "hold_down": "0s"}),
        json!({"id": "v6", "cidr": "2001:db8::/48", "prefix": 56}),
        json!({"id": "cvlan", "type": "vlan", "range": "100-4000", "realm_by": ["olt_id"]}),
        json!({"id": "svlan", "type": "svlan", "range": "1000-2000"}),
        json!({"id": "cgnat", "type": "port", "spec": {"addresses": "203.0.113.0/30", "range": "1024-65535", "block_size": 512}}),
    ]
}

fn started(directory: &tempfile::TempDir) -> Daemon {
    let daemon = Start::on(directory.path()).run();
    for pool in pools() {
        let (status, answer) = daemon.post("/api/v1/pools", &pool);
        assert_eq!(status, 201, "{pool} -> {answer}");
    }
    daemon
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn five_types_are_allocated_found_and_released() {
    let directory = directory();
    let daemon = started(&directory);
    let expected = [
        ("v4", "100.64.0.2"),
        ("v6", "2001:db8::/56"),
        ("cvlan", "100"),
        ("svlan", "1000"),
        ("cgnat", "203.0.113.0:1024-1535"),
    ];
    for (pool, resource) in expected {
        let body = json!({"pool_id": pool, "subscriber_id": "alice", "olt_id": "olt-1"});
        let (status, first) = daemon.post("/api/v1/allocate", &body);
        assert_eq!((status, text(&first, "resource")), (201, resource), "{first}");
        let (status, again) = daemon.post("/api/v1/allocations", &body);
        assert_eq!((status, text(&again, "resource")), (200, resource), "{again}");
        assert_eq!(again["created"], json!(false), "{again}");
    }
    let (status, shown) = daemon.get("/api/v1/allocations/alice");
    assert_eq!(
        (status, text(&shown, "ip"), shown["allocations"].as_array().map(Vec::len)),
        (200, "100.64.0.2", Some(5))
    );
    let (status, holder) = daemon.get("/api/v1/resources/ipv4/100.64.0.2");
    assert_eq!(status, 200, "{holder}");
    assert!(holder.to_string().contains("alice"), "{holder}");
    assert_eq!(daemon.call("DELETE", "/api/v1/allocations/alice", None).0, 204);
    assert_eq!(daemon.get("/api/v1/allocations/alice?pool_id=v4").0, 404);
    assert_eq!(daemon.call("DELETE", "/api/v1/allocations/alice?all=true", None).0, 204);
    assert_eq!(daemon.get("/api/v1/allocations/alice").0, 404);
}

#[test]
fn an_older_client_sees_what_it_always_saw() {
    let directory = directory();
    let daemon = started(&directory);
    let (status, pool) = daemon.post("/api/v1/pools", &pools()[0]);
    assert_eq!(
        (status, text(&pool, "cidr"), &pool["prefix"], text(&pool, "gateway")),
        (200, "100.64.0.0/24", &json!(32), "100.64.0.1")
    );
    let different = json!({"id": "v4", "cidr": "100.64.0.0/23"});
    assert_eq!(daemon.post("/api/v1/pools", &different).0, 409);
    let (status, made) =
        daemon.post("/api/v1/allocate", &json!({"pool_id": "v4", "subscriber_id": "aa:bb:cc:00:11:22", "ttl": 3600}));
    assert_eq!(status, 201, "{made}");
    for name in ["pool_id", "subscriber_id", "ip", "resource", "timestamp", "expires_at", "alloc_type"] {
        assert!(made[name].is_string(), "{name} in {made}");
    }
    assert_eq!((&made["prefix"], &made["ttl"]), (&json!(32), &json!(3600)), "{made}");
    assert!(made["epoch"].is_u64(), "{made}");
    let (_, pools) = daemon.get("/api/v1/pools");
    assert_eq!((pools["count"].as_u64(), pools["pools"].as_array().map(Vec::len)), (Some(5), Some(5)));
    let (_, expiring) = daemon.get("/api/v1/allocations/expiring?within=7200");
    assert_eq!(expiring["count"], json!(1), "{expiring}");
    assert!(expiring["expiring_before"].is_string(), "{expiring}");
    assert_eq!(daemon.call("DELETE", "/api/v1/pools/nowhere", None).0, 204);
    let renewed = daemon.call("POST", "/api/v1/allocations/aa:bb:cc:00:11:22/renew", None);
    assert_eq!(renewed.0, 200, "{}", renewed.1);
    let (status, health) = daemon.get("/health");
    assert_eq!((status, &health), (200, &json!("ok")));
    assert_eq!(daemon.get("/ready").1["ready"], json!(true));
}

#[test]
fn a_conflict_names_what_is_wrong_and_changes_nothing() {
    let directory = directory();
    let daemon = started(&directory);
    let ask = |who: &str, ip: &str| {
        daemon.post("/api/v1/allocate", &json!({"pool_id": "v4", "subscriber_id": who, "ip": ip}))
    };
    assert_eq!(ask("a", "100.64.0.9").0, 201);
    assert_eq!(ask("a", "100.64.0.9").0, 200);
    for (who, ip) in [("b", "100.64.0.9"), ("a", "100.64.0.10")] {
        let (status, problem) = ask(who, ip);
        assert_eq!(status, 409, "{problem}");
        assert!(problem["error"].is_string() && problem["title"].is_string(), "{problem}");
    }
    let (status, problem) = ask("c", "100.64.1.9");
    assert_eq!(status, 400, "{problem}");
    let (status, problem) = daemon.post("/api/v1/pools", &json!({"id": "v4b", "cidr": "100.64.0.128/25"}));
    assert_eq!(status, 409, "{problem}");
    assert!(
        problem.to_string().contains("v4b") && problem.to_string().contains("\"v4\"")
            || problem.to_string().contains("v4 "),
        "{problem}"
    );
    let other_realm = json!({"id": "v4b", "cidr": "100.64.0.128/25", "realm": "vrf-b"});
    assert_eq!(daemon.post("/api/v1/pools", &other_realm).0, 201);
}

/// Grows a pool by PUT, fills it to its new end, and finds who had something before in its place.
fn grows(daemon: &Daemon, small: &Value, large: &Value, capacity: u64, last: &str) {
    let id = text(small, "id");
    let (status, made) = daemon.post("/api/v1/pools", small);
    assert_eq!(status, 201, "{made}");
    let ask = |who: &str| daemon.post("/api/v1/allocate", &json!({"pool_id": id, "subscriber_id": who}));
    let first = ask("first").1;
    let path = format!("/api/v1/pools/{id}");
    let (status, would) = daemon.call("PUT", &format!("{path}?dry_run=true"), Some(large));
    assert_eq!((status, &would["applied"], &would["capacity"]), (200, &json!(false), &json!(capacity)), "{would}");
    let (status, grown) = daemon.call("PUT", &path, Some(large));
    assert_eq!((status, &grown["capacity"], &grown["revision"]), (200, &json!(capacity), &json!(2)), "{grown}");
    assert!(grown["added_grains"].as_u64() > Some(0), "{grown}");
    let (status, again) = ask("first");
    assert_eq!((status, &again["resource"], &again["fence"]), (200, &first["resource"], &first["fence"]), "{again}");
    let named = json!({"pool_id": id, "subscriber_id": "last", "resource": last});
    let (status, given) = daemon.post("/api/v1/allocate", &named);
    assert_eq!((status, text(&given, "resource")), (201, last), "{given}");
    let (_, counted) = daemon.get(&format!("{path}/stats"));
    let count = |name: &str| counted[name].as_u64().unwrap_or_else(|| panic!("{name} in {counted}"));
    assert_eq!(count("allocated") + count("available") + count("reserved") + count("excluded"), capacity, "{counted}");
}

#[test]
fn small_pools_of_every_type_grow_at_once() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    let v4 = |cidr: &str| json!({"id": "v4", "cidr": cidr});
    grows(&daemon, &v4("10.0.0.0/26"), &v4("10.0.0.0/24"), 256, "10.0.0.254");
    let routed = |cidr: &str| json!({"id": "routed", "type": "ipv4", "spec": {"cidr": cidr, "prefix": 29}});
    grows(&daemon, &routed("192.0.2.0/28"), &routed("192.0.2.0/24"), 32, "192.0.2.248/29");
    let v6 = |cidr: &str| json!({"id": "v6", "cidr": cidr, "prefix": 56});
    grows(&daemon, &v6("2001:db8:0:f00::/56"), &v6("2001:db8::/40"), 65_536, "2001:db8:ff:ff00::/56");
    let vlan = |range: &str| json!({"id": "cvlan", "type": "vlan", "range": range});
    grows(&daemon, &vlan("10-20"), &vlan("10-99"), 90, "99");
    let svlan = |ranges: Value| json!({"id": "svlan", "type": "svlan", "ranges": ranges});
    grows(&daemon, &svlan(json!(["1000-1003"])), &svlan(json!(["5", "900-1003", "4000-4094"])), 200, "4094");
    let port = |range: &str| json!({"id": "port", "type": "port", "range": range, "block_size": 100});
    grows(&daemon, &port("2000-2999"), &port("2000-9999"), 80, "9900-9999");
    let cgnat = |addresses: &str, range: &str| json!({"id": "cgnat", "type": "port", "spec": {"addresses": addresses, "range": range, "block_size": 512}});
    let (small, large) = (cgnat("203.0.113.0/31", "1024-2047"), cgnat("203.0.113.0/29", "1024-65535"));
    grows(&daemon, &small, &large, 8 * 126, "203.0.113.7:65024-65535");
    // They survive a restart as they are.
    daemon.kill();
    let daemon = Start::on(directory.path()).run();
    assert_eq!(daemon.get("/api/v1/pools/cgnat").1["capacity"], json!(8 * 126));
    assert_eq!(daemon.get("/api/v1/allocations/last").1["allocations"].as_array().map(Vec::len), Some(7));
}

#[test]
fn what_a_pools_allocations_are_made_of_cannot_change_and_the_error_says_what_to_do() {
    let directory = directory();
    let daemon = started(&directory);
    let vlans = json!({"type": "vlan", "range": "100-4000"});
    let shorter = json!({"cidr": "2001:db8::/48", "prefix": 60});
    let elsewhere = json!({"cidr": "100.64.0.0/24", "gateway": "100.64.0.1", "realm": "vrf-b"});
    for (id, body, field, said) in [
        ("cvlan", vlans, "realm_by", ["olt_id", "none"]),
        ("v6", shorter, "spec", ["grain", "2^72"]),
        ("v4", elsewhere, "realm", ["default", "vrf-b"]),
    ] {
        let (status, problem) = daemon.call("PUT", &format!("/api/v1/pools/{id}"), Some(&body));
        assert_eq!((status, text(&problem, "reason")), (409, "POOL_FIELD_FIXED"), "{problem}");
        let fault = &problem["errors"][0];
        assert_eq!(text(fault, "field"), field, "{problem}");
        assert!(said.iter().all(|word| text(&problem, "error").contains(word)), "{problem}");
        assert!(text(fault, "remedy").contains("second pool"), "{problem}");
    }
}

/// Allocates, then asks who holds something inside of what was given.
fn holds(daemon: &Daemon, pool: &Value, kind: &str, given: &str, inside: &[&str]) {
    let (status, made) = daemon.post("/api/v1/pools", pool);
    assert_eq!(status, 201, "{made}");
    let ask = json!({"pool_id": pool["id"], "subscriber_id": "holder", "resource": given});
    let (status, made) = daemon.post("/api/v1/allocate", &ask);
    assert_eq!((status, text(&made, "resource")), (201, given), "{made}");
    for resource in inside {
        let path = format!("/api/v1/resources/{kind}/{}", resource.replace('/', "%2F"));
        let (status, found) = daemon.get(&path);
        assert_eq!((status, &found["count"]), (200, &json!(1)), "{resource}: {found}");
        let holder = &found["holders"][0];
        assert_eq!((text(holder, "subscriber_id"), text(holder, "resource")), ("holder", given), "{resource}: {found}");
        let (status, listed) = daemon.get(&format!("/api/v1/allocations?resource={}", resource.replace('/', "%2F")));
        assert_eq!((status, &listed["count"]), (200, &json!(1)), "{resource}: {listed}");
    }
}

#[test]
fn who_holds_is_answered_for_anything_inside_of_what_was_given() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    let delegated = json!({"id": "pd", "cidr": "2001:db8::/40", "prefix": 56});
    let inside =
        ["2001:db8:1:200::", "2001:db8:1:2aa::1:2:3", "2001:0DB8:1:2ff:ffff:ffff:ffff:ffff", "2001:db8:1:200::/56"];
    holds(&daemon, &delegated, "ipv6", "2001:db8:1:200::/56", &inside);
    assert_eq!(daemon.get("/api/v1/resources/ipv6/2001:db8:1:300::").0, 404);
    let routed = json!({"id": "routed", "type": "ipv4", "spec": {"cidr": "192.0.2.0/24", "prefix": 29}});
    holds(&daemon, &routed, "ipv4", "192.0.2.8/29", &["192.0.2.8", "192.0.2.11", "192.0.2.15", "192.0.2.8/29"]);
    assert_eq!(daemon.get("/api/v1/resources/ipv4/192.0.2.16").0, 404);
    let cgnat = json!({"id": "cgnat", "type": "port", "spec": {"addresses": "203.0.113.0/30", "range": "1024-65535", "block_size": 512}});
    let inside = ["203.0.113.1:1536", "203.0.113.1:1777", "203.0.113.1:2047", "203.0.113.1:1536-2047"];
    holds(&daemon, &cgnat, "port", "203.0.113.1:1536-2047", &inside);
    for free in ["203.0.113.1:2048", "203.0.113.2:1777"] {
        assert_eq!(daemon.get(&format!("/api/v1/resources/port/{free}")).0, 404, "{free}");
    }
}

#[test]
fn bad_requests_get_field_value_and_remedy() {
    let directory = directory();
    let daemon = started(&directory);
    let bad = [
        ("/api/v1/pools", json!({"id": "x", "cidr": "10.0.0.1/24"}), "10.0.0.0/24"),
        ("/api/v1/pools", json!({"id": "x", "cidr": "10.0.0.0/24", "exclusion": []}), "exclusions"),
        ("/api/v1/pools", json!({"id": "x", "cidr": "10.0.0.0/24", "hold_dwon": "1m"}), "did you mean hold_down?"),
        (
            "/api/v1/pools",
            json!({"id": "x", "cidr": "2001:db8:9::/48", "shardingfactor": 8}),
            "did you mean sharding_factor?",
        ),
        (
            "/api/v1/pools",
            json!({"id": "x", "type": "vlan", "range": "1-9", "realmby": ["a"]}),
            "did you mean realm_by?",
        ),
        ("/api/v1/pools", json!({"id": "x", "type": "svlan", "rnage": "1-9"}), "did you mean range?"),
        (
            "/api/v1/pools",
            json!({"id": "x", "type": "port", "range": "1-9", "stratgy": "random"}),
            "did you mean strategy?",
        ),
        (
            "/api/v1/allocate",
            json!({"pool_id": "v4", "subscriber_id": "a", "alloc_type": "eternal"}),
            "session, sticky or permanent",
        ),
        ("/api/v1/pools", json!({"id": "x y", "cidr": "10.0.0.0/24"}), "id"),
        ("/api/v1/allocate", json!({"pool_id": "v4"}), "subscriber_id"),
        ("/api/v1/allocate", json!({"pool_id": "cvlan", "subscriber_id": "a"}), "olt_id"),
        ("/api/v1/allocate", json!({"pool_id": "v4", "subscriber_id": "a", "ip": "nonsense"}), "nonsense"),
    ];
    for (path, body, told) in bad {
        let (status, problem) = daemon.post(path, &body);
        assert_eq!(status, 400, "{body} -> {problem}");
        assert!(problem.to_string().contains(told), "{body} -> {problem}");
    }
    let (status, problem) = call(&format!("{}/api/v1/pools", daemon.rest), "POST", &[], Some("{\"id\": ".to_owned()));
    assert_eq!(status, 400);
    assert!(text(&problem, "error").starts_with("malformed JSON at line 1 column"), "{problem}");
    assert_eq!(daemon.post("/api/v1/allocate", &json!({"pool_id": "nowhere", "subscriber_id": "a"})).0, 404);
    let large = json!({"pool_id": "v4", "subscriber_id": "a", "metadata": {"x": "y".repeat(2 << 20)}});
    assert_eq!(daemon.post("/api/v1/allocate", &large).0, 413);
}

#[test]
fn a_full_pool_is_exhausted_and_never_duplicates() {
    let directory = directory();
    let daemon = started(&directory);
    assert_eq!(
        daemon
            .post(
                "/api/v1/pools",
                &json!({"id": "tiny", "cidr": "10.9.0.0/30", "use_all": true, "hold_down": "1h", "strict": true})
            )
            .0,
        201
    );
    let ask = |who: &str| daemon.post("/api/v1/allocate", &json!({"pool_id": "tiny", "subscriber_id": who}));
    let mut given: Vec<String> = (0..4).map(|n| text(&ask(&format!("s{n}")).1, "ip").to_owned()).collect();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 4);
    let (status, problem) = ask("s4");
    assert_eq!(status, 503, "{problem}");
    assert_eq!(daemon.call("DELETE", "/api/v1/allocations/s0?pool_id=tiny", None).0, 204);
    assert_eq!(ask("s4").0, 503, "strict: the released one rests");
    assert_eq!(ask("s0").0, 201, "sticky: its own comes back");
}

#[test]
fn a_lease_ends_and_history_remembers() {
    let directory = directory();
    let daemon = started(&directory);
    let (status, made) = daemon.post("/api/v1/allocate", &json!({"pool_id": "v4", "subscriber_id": "short", "ttl": 1}));
    assert_eq!(status, 201, "{made}");
    let ip = text(&made, "ip").to_owned();
    wait_for("the lease ends", || (daemon.get("/api/v1/allocations/short").0 == 404).then_some(()));
    let history = wait_for("history", || {
        let (status, history) = daemon.get(&format!("/api/v1/resources/ipv4/{ip}?at={}", text(&made, "timestamp")));
        (status == 200).then_some(history)
    });
    assert!(history.to_string().contains("short"), "{history}");
}

#[test]
fn reservations_go_to_their_subscriber_only() {
    let directory = directory();
    let daemon = started(&directory);
    let reserve = |who: &str| {
        daemon.post("/api/v1/pools/v4/reservations", &json!({"subscriber_id": who, "resource": "100.64.0.77"}))
    };
    assert_eq!(reserve("vip").0, 201);
    assert_eq!(reserve("other").0, 409);
    assert_eq!(
        daemon.post("/api/v1/allocate", &json!({"pool_id": "v4", "subscriber_id": "x", "ip": "100.64.0.77"})).0,
        409
    );
    let (_, vip) = daemon.post("/api/v1/allocate", &json!({"pool_id": "v4", "subscriber_id": "vip"}));
    assert_eq!(text(&vip, "ip"), "100.64.0.77");
}

#[test]
fn one_vlan_serves_every_olt_once() {
    let directory = directory();
    let daemon = started(&directory);
    for olt in ["olt-1", "olt-2"] {
        let body = json!({"pool_id": "cvlan", "subscriber_id": format!("sub-{olt}"), "olt_id": olt, "resource": "500"});
        assert_eq!(daemon.post("/api/v1/allocate", &body).0, 201);
        let rival = json!({"pool_id": "cvlan", "subscriber_id": "rival", "olt_id": olt, "resource": "500"});
        assert_eq!(daemon.post("/api/v1/allocate", &rival).0, 409);
    }
}

#[test]
fn metrics_tell_of_pools_requests_and_plugins() {
    let directory = directory();
    let daemon = started(&directory);
    daemon.post("/api/v1/allocate", &json!({"pool_id": "v4", "subscriber_id": "a", "olt_id": "olt-1"}));
    let other = json!({"id": "v4", "cidr": "100.64.0.0/24"}).to_string();
    assert_eq!(
        call(&format!("{}/api/v1/pools", daemon.rest), "POST", &[("X-Nexus-Tenant", "isp-b")], Some(other)).0,
        201
    );
    for (tenant, held) in [("default", 1.0), ("isp-b", 0.0)] {
        let line = format!("nexus_pool_allocated{{pool_id=\"v4\",tenant=\"{tenant}\",type=\"ipv4\"}}");
        assert_eq!(daemon.metric(&line), Some(held), "{tenant}");
    }
    assert_eq!(daemon.metric("nexus_node_subscribers{olt_id=\"olt-1\"}"), Some(1.0));
    assert!(daemon.metric("nexus_api_requests_total{method=\"POST\",path=\"/api/v1/pools\",status=\"201\"}").is_some());
    let (_, plugins) = daemon.get("/api/v1/plugins");
    assert_eq!(plugins["plugins"].as_array().map(Vec::len), Some(5), "{plugins}");
}

#[test]
fn a_host_without_peers_is_a_cluster_of_its_own_and_says_what_makes_it_more() {
    let directory = directory();
    let daemon = started(&directory);
    let (status, cluster) = daemon.get("/api/v1/cluster/status");
    assert_eq!((status, text(&cluster, "standing"), text(&cluster, "node_id")), (200, "alone", "core-1"), "{cluster}");
    let myself = &cluster["members"][0];
    assert_eq!((&myself["vote"], &myself["reachable"], &myself["behind"]), (&json!("voter"), &json!(true), &json!(0)));
    assert!(cluster["vector"][0]["through"].as_u64() >= Some(5) && cluster.get("ledger").is_none(), "{cluster}");
    let (status, ring) = daemon.get("/api/v1/hashring");
    assert_eq!((status, ring["points"].as_array().map(Vec::len)), (200, Some(150)), "{ring}");
    let pools = ring["pools"].as_array().expect("a list");
    let shards: Vec<&Value> = pools.iter().flat_map(|pool| pool["shards"].as_array().expect("a list")).collect();
    assert_eq!((pools.len(), myself["shards"].as_u64()), (5, Some(shards.len() as u64)));
    assert!(
        shards.iter().all(|shard| shard["owner"] == 1 && shard["wished"] == 1 && shard["kind"] == "escrow"),
        "{ring}"
    );
    let order = json!({"pool_id": "v4", "shards": [0], "to": "core-2", "reason": "lost"});
    let changes = [
        ("POST", "/api/v1/cluster/init"),
        ("POST", "/api/v1/cluster/join"),
        ("POST", "/api/v1/cluster/leave"),
        ("POST", "/api/v1/cluster/members/core-1/promote"),
        ("POST", "/api/v1/cluster/members/core-1/demote"),
        ("POST", "/api/v1/cluster/members/core-1/drain"),
        ("POST", "/api/v1/cluster/members/core-1/undrain"),
        ("DELETE", "/api/v1/cluster/members/core-1"),
        ("POST", "/api/v1/cluster/shards:move"),
        ("POST", "/api/v1/cluster/shards:seize"),
    ];
    for (method, path) in changes {
        let (status, problem) = daemon.call(method, path, Some(&order));
        assert_eq!((status, text(&problem, "reason")), (409, "CLUSTER_REFUSED"), "{method} {path}: {problem}");
        assert!(text(&problem, "error").contains("set p2p.peers"), "{problem}");
    }
    assert_eq!(daemon.get("/api/v1/cluster/status").1, cluster, "nothing has changed");
}
