use std::collections::BTreeMap;
use std::time::Duration;

use control_core::edit::text;
use proptest::prelude::*;

use super::*;
use crate::trial::Trial;

const POOLS: [&str; 3] = ["192.0.2.0/31", "192.0.2.10-192.0.2.11", "2001:db8::/127"];

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(ServiceLb::new(Pools::new(POOLS).expect("pools")))]
}

fn trial() -> Trial {
    Trial::new(make, 1)
}

fn service(name: &str, families: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "d", "name": name},
        "spec": {"type": "LoadBalancer", "ipFamilies": families},
        "status": {"loadBalancer": {}},
    })
}

fn has(trial: &Trial, name: &str) -> String {
    let service = trial.get(SERVICES, "d", name).expect("it is there");
    let all: Vec<String> = addresses(&service).map(|address| address.to_string()).collect();
    all.join(" ")
}

fn settle(trial: &mut Trial) {
    trial.settle(Duration::from_secs(1));
}

fn annotate(service: &mut Value, addresses: &str) {
    service["metadata"]["annotations"] = json!({"metallb.io/loadBalancerIPs": addresses});
}

#[test]
fn a_pool_is_a_network_a_range_or_an_address() {
    let all = |text: &str, family| {
        let pools = Pools::new([text]).expect(text);
        pools.addresses(family).map(|address| address.to_string()).collect::<Vec<_>>().join(" ")
    };
    use control_core::allocation::Family::{V4, V6};
    assert_eq!(all("192.0.2.4/30", V4), "192.0.2.4 192.0.2.5 192.0.2.6 192.0.2.7");
    assert_eq!(all("192.0.2.255 - 192.0.3.1", V4), "192.0.2.255 192.0.3.0 192.0.3.1");
    assert_eq!(all("192.0.2.9", V4), "192.0.2.9");
    assert_eq!(all("2001:db8::fffe/127", V6), "2001:db8::fffe 2001:db8::ffff");
    assert_eq!(all("2001:db8::fffe/127", V4), "");
    let whole = Pools::new(["0.0.0.1-255.255.255.255", "2001:db8::/32"]).expect("pools");
    assert!(whole.contains("8.8.8.8".parse().expect("an address")));
    assert!(whole.addresses(V6).nth(70_000).is_some());
    for wrong in [
        "",
        "x",
        "192.0.2.0/33",
        "192.0.2.9-",
        "192.0.2.9-192.0.2.8",
        "192.0.2.9-2001:db8::1",
        "127.0.0.0/8",
        "224.0.0.1",
        "::/64",
    ] {
        let problem = Pools::new([wrong]).expect_err(wrong).to_string();
        assert!(problem.contains(&format!("{wrong:?}")), "{problem}");
    }
}

#[test]
fn a_service_gets_an_address_and_gives_it_back() {
    let mut trial = trial();
    trial.create(SERVICES, service("a", &["IPv4"]));
    settle(&mut trial);
    let given = trial.get(SERVICES, "d", "a").expect("it is there");
    assert_eq!(given["status"]["loadBalancer"]["ingress"], json!([{"ip": "192.0.2.0", "ipMode": "VIP"}]));
    assert_eq!(given["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(
        trial.told,
        ["EnsuringLoadBalancer Ensuring load balancer", "EnsuredLoadBalancer Ensured load balancer"]
    );
    trial.told.clear();
    trial.change(SERVICES, "d", "a", |service| service["spec"]["type"] = "ClusterIP".into());
    settle(&mut trial);
    let back = trial.get(SERVICES, "d", "a").expect("it is there");
    assert_eq!((&back["status"]["loadBalancer"], &back["metadata"]["finalizers"]), (&json!({}), &json!([])));
    assert_eq!(
        trial.told,
        ["DeletingLoadBalancer Deleting load balancer", "DeletedLoadBalancer Deleted load balancer"]
    );
    trial.change(SERVICES, "d", "a", |service| service["spec"]["type"] = "LoadBalancer".into());
    settle(&mut trial);
    trial.delete(SERVICES, "d", "a");
    settle(&mut trial);
    assert!(trial.get(SERVICES, "d", "a").is_none(), "its finalizer holds it no longer");
    trial.create(SERVICES, service("b", &["IPv4"]));
    settle(&mut trial);
    assert_eq!(has(&trial, "b"), "192.0.2.0");
}

#[test]
fn a_service_keeps_its_address_over_a_restart_and_loses_one_that_no_pool_has() {
    let mut trial = trial();
    let mut old = service("a", &["IPv4"]);
    old["status"]["loadBalancer"]["ingress"] = json!([{"ip": "192.0.2.11", "ipMode": "VIP"}]);
    trial.create(SERVICES, old.clone());
    old["metadata"]["name"] = "b".into();
    old["status"]["loadBalancer"]["ingress"] = json!([{"ip": "198.51.100.1"}]);
    trial.create(SERVICES, old);
    settle(&mut trial);
    assert_eq!((has(&trial, "a"), has(&trial, "b")), ("192.0.2.11".to_owned(), "192.0.2.0".to_owned()));
}

#[test]
fn a_service_of_two_families_has_an_address_of_each() {
    let mut trial = trial();
    trial.create(SERVICES, service("a", &["IPv6", "IPv4"]));
    settle(&mut trial);
    assert_eq!(has(&trial, "a"), "2001:db8:: 192.0.2.0");
    trial.change(SERVICES, "d", "a", |service| service["spec"]["ipFamilies"] = json!(["IPv4"]));
    settle(&mut trial);
    assert_eq!(has(&trial, "a"), "192.0.2.0", "it keeps the one that it needs");
    // Who prefers two is content with one.
    let only: fn() -> Vec<Box<dyn Controller>> =
        || vec![Box::new(ServiceLb::new(Pools::new(["192.0.2.0/31"]).expect("a pool")))];
    let mut trial = Trial::new(only, 1);
    for (name, policy) in [("a", "PreferDualStack"), ("b", "RequireDualStack")] {
        let mut both = service(name, &["IPv4", "IPv6"]);
        both["spec"]["ipFamilyPolicy"] = policy.into();
        trial.create(SERVICES, both);
    }
    // What the second would have got, the third has.
    trial.create(SERVICES, service("c", &["IPv4"]));
    settle(&mut trial);
    assert_eq!(["a", "b", "c"].map(|name| has(&trial, name)), ["192.0.2.0", "", "192.0.2.1"]);
    let told = "there is no pool of IPv6 addresses: add one to --load-balancer-pool, which is 192.0.2.0/31";
    assert!(trial.told.iter().any(|text| text.ends_with(told)), "{:?}", trial.told);
}

#[test]
fn an_address_that_is_asked_for_is_given_where_a_pool_has_it_and_nobody_else() {
    let mut trial = trial();
    let mut first = service("a", &["IPv4"]);
    first["spec"]["loadBalancerIP"] = "192.0.2.10".into();
    trial.create(SERVICES, first);
    let mut both = service("b", &["IPv4", "IPv6"]);
    annotate(&mut both, "2001:db8::1, 192.0.2.1");
    trial.create(SERVICES, both);
    settle(&mut trial);
    assert_eq!((has(&trial, "a"), has(&trial, "b")), ("192.0.2.10".into(), "192.0.2.1 2001:db8::1".into()));
    let before = trial.told.len();
    let refused = [
        ("c", "192.0.2.10", "192.0.2.10 is in use by Service d/a: ask for another address"),
        (
            "e",
            "192.0.2.12",
            "192.0.2.12 is in no pool: ask for one of 192.0.2.0/31,192.0.2.10-192.0.2.11,2001:db8::/127, or add it to --load-balancer-pool",
        ),
        (
            "f",
            "2001:db8::",
            "2001:db8:: in metallb.io/loadBalancerIPs is of none of the Service's ipFamilies",
        ),
        ("g", "x", "\"x\" in metallb.io/loadBalancerIPs is no IP address"),
        (
            "h",
            "192.0.2.0,192.0.2.11",
            "metallb.io/loadBalancerIPs has two addresses of IPv4: a Service gets one",
        ),
    ];
    for (name, addresses, _) in refused {
        let mut asks = service(name, &["IPv4"]);
        annotate(&mut asks, addresses);
        trial.create(SERVICES, asks);
    }
    settle(&mut trial);
    for (name, _, why) in refused {
        assert_eq!(has(&trial, name), "");
        let told = format!(
            "SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: {why}"
        );
        assert!(trial.told[before..].contains(&told), "{told}: {:?}", &trial.told[before..]);
    }
    // It moves to what it asks for, and the other one is free.
    trial.change(SERVICES, "d", "a", |service| service["spec"]["loadBalancerIP"] = "192.0.2.11".into());
    settle(&mut trial);
    assert_eq!((has(&trial, "a"), has(&trial, "c")), ("192.0.2.11".into(), "192.0.2.10".into()));
    trial.change(SERVICES, "d", "a", |service| annotate(service, "192.0.2.0"));
    settle(&mut trial);
    assert_eq!(has(&trial, "a"), "192.0.2.11", "it keeps what it has");
    let both = "spec.loadBalancerIP and the annotation metallb.io/loadBalancerIPs are both set: remove one";
    assert!(trial.told.iter().any(|text| text.ends_with(both)));
}

#[test]
fn a_used_up_pool_is_said_with_its_remedy_and_what_is_freed_goes_to_who_waits() {
    let mut trial = trial();
    for name in ["a", "b", "c", "e", "f"] {
        trial.create(SERVICES, service(name, &["IPv4"]));
        settle(&mut trial);
    }
    assert_eq!(has(&trial, "f"), "");
    let told = "SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: no IPv4 address is \
                free, all of 192.0.2.0/31,192.0.2.10-192.0.2.11 are in use: add a range to --load-balancer-pool, or \
                delete a Service of type LoadBalancer";
    assert!(trial.told.iter().any(|text| text == told), "{:?}", trial.told);
    trial.delete(SERVICES, "d", "b");
    settle(&mut trial);
    assert_eq!(has(&trial, "f"), "192.0.2.1");
}

#[test]
fn services_of_another_class_are_left_alone_and_keep_their_addresses() {
    let mut trial = trial();
    let mut others = service("a", &["IPv4"]);
    others["spec"]["loadBalancerClass"] = "example.org/cloud".into();
    others["status"]["loadBalancer"]["ingress"] = json!([{"ip": "192.0.2.0"}]);
    others["metadata"]["finalizers"] = json!([FINALIZER]);
    let others = trial.create(SERVICES, others);
    let mut own = service("b", &["IPv4"]);
    own["spec"]["loadBalancerClass"] = "weft.dev/pool".into();
    trial.create(SERVICES, own);
    settle(&mut trial);
    assert_eq!(trial.get(SERVICES, "d", "a"), Some(others));
    assert_eq!(has(&trial, "b"), "192.0.2.1");
    trial.delete(SERVICES, "d", "a");
    settle(&mut trial);
    assert!(trial.get(SERVICES, "d", "a").is_some(), "whose finalizer it is removes it");
}

#[test]
fn of_two_services_with_one_address_the_older_keeps_it() {
    let mut trial = trial();
    for name in ["b", "a"] {
        let mut same = service(name, &["IPv4"]);
        same["status"]["loadBalancer"]["ingress"] = json!([{"ip": "192.0.2.1", "ipMode": "VIP"}]);
        trial.create(SERVICES, same);
        trial.pass(Duration::from_secs(2));
    }
    assert_eq!((has(&trial, "b"), has(&trial, "a")), ("192.0.2.1".to_owned(), "192.0.2.0".to_owned()));
}

/// No address is two Services'.
fn check(trial: &Trial) {
    let mut holders: BTreeMap<IpAddr, String> = BTreeMap::new();
    for service in trial.all(SERVICES) {
        for address in addresses(&service) {
            let name = object::name(&service).to_owned();
            if let Some(other) = holders.insert(address, name.clone()) {
                panic!("{address} is of {other} and {name}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Any order of news, lost answers, refusals, crashes, while people change and delete Services: at no time have two
    /// Services one address, and in the end each that can have one has one.
    #[test]
    fn no_two_services_ever_have_one_address(
        seed in 1..u64::MAX, crashes in 0..20_u64, lost in 0..300_u64, refusals in 0..200_u64,
        changes in proptest::collection::vec((0..8_usize, 0..6_usize), 0..24),
    ) {
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (crashes, lost, refusals);
        let run = |trial: &mut Trial, steps: usize| {
            let end = Duration::from_secs(1_000_000);
            for _ in 0..steps {
                trial.step(end);
                check(trial);
            }
        };
        for (nth, (of, what)) in changes.into_iter().enumerate() {
            let name = format!("s{of}");
            match (trial.get(SERVICES, "d", &name).is_some(), what) {
                (false, _) => {
                    let families: &[&str] = if what % 2 == 0 { &["IPv4"] } else { &["IPv4", "IPv6"] };
                    let mut new = service(&name, families);
                    if what > 3 {
                        annotate(&mut new, "192.0.2.10");
                    }
                    trial.create(SERVICES, new);
                }
                (true, 0 | 1) => trial.delete(SERVICES, "d", &name),
                (true, 2) => trial.change(SERVICES, "d", &name, |service| {
                    let other = if is_balanced(service) { "ClusterIP" } else { "LoadBalancer" };
                    service["spec"]["type"] = other.into();
                    // As the server has it.
                    service["status"]["loadBalancer"] = json!({});
                }),
                (true, _) => trial.change(SERVICES, "d", &name, |service| {
                    service["spec"]["loadBalancerIP"] = format!("192.0.2.{}", nth % 3).into();
                }),
            }
            run(&mut trial, 3);
        }
        (trial.crashes, trial.lost, trial.refusals) = (0, 0, 0);
        trial.settle(Duration::from_secs(7200));
        check(&trial);
        // Nobody waits for what is free.
        let services = trial.all(SERVICES);
        let used: Vec<IpAddr> = services.iter().flat_map(|service| addresses(service).collect::<Vec<_>>()).collect();
        let pools = Pools::new(POOLS).expect("pools");
        for service in services.iter().filter(|service| is_balanced(service)) {
            let wish = wish::wish(service, &pools);
            let free = |family, wanted: Option<IpAddr>| {
                pools.addresses(family).any(|one| !used.contains(&one) && wanted.is_none_or(|wanted| wanted == one))
            };
            let possible = wish.is_ok_and(|wish| wish.into_iter().all(|(family, wanted)| free(family, wanted)));
            let name = text(service, &["metadata", "name"]);
            prop_assert!(addresses(service).next().is_some() || !possible, "{name} has none, and could");
        }
        for service in &services {
            prop_assert_eq!(is_held(service), addresses(service).next().is_some());
        }
    }
}
