use super::*;
use serde_json::json;

/// Services by namespace and name, and IPAddresses by name.
#[derive(Default)]
struct World(Vec<Value>);

impl World {
    fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let is = |object: &&Value| {
            object["kind"] == kind
                && text(object, &["metadata", "namespace"]) == namespace
                && text(object, &["metadata", "name"]) == name
        };
        self.0.iter().find(is).cloned().map(Arc::new)
    }
}

impl Cluster for World {
    fn address(&self, address: IpAddr) -> Option<Arc<Value>> {
        self.find("IPAddress", "", &address.to_string())
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.find("Service", namespace, name)
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn a_service(name: &str, address: &str, created: u64) -> Value {
    json!({"kind": "Service", "metadata": {"namespace": "a", "name": name, "creationTimestamp": time::seconds(at(created))},
        "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address]}})
}

fn an_address(address: &str, service: &str, created: u64) -> Value {
    let mut object = ip_address::of(address.parse().expect("an address"), ("a", service));
    object["metadata"]["creationTimestamp"] = json!(time::seconds(at(created)));
    object
}

fn ranges() -> Ranges {
    Ranges::of(&[json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.0.0.0/24"]}})])
}

fn reasons(of: &Value, others: &[Value]) -> Vec<String> {
    let world = World(others.to_vec());
    let shown = |repair: Repair| match repair {
        Repair::Report(warning) => format!("report {}", warning.reason),
        Repair::Create(address, warning) => format!("create {address} {}", warning.reason),
        Repair::Recreate(address, warning) => {
            format!("recreate {address} {}", warning.map_or("", |warning| warning.reason))
        }
    };
    service(of, &ranges(), &world).into_iter().map(shown).collect()
}

#[test]
fn a_service_has_an_address_object_of_its_own_or_gets_one() {
    let one = a_service("one", "10.0.0.9", 0);
    assert_eq!(reasons(&one, &[an_address("10.0.0.9", "one", 0)]), [""; 0]);
    assert_eq!(reasons(&one, &[]), ["create 10.0.0.9 ClusterIPNotAllocated"]);
    assert_eq!(reasons(&a_service("one", "10.9.0.9", 0), &[]), ["report ClusterIPOutOfRange"]);
    let gone = an_address("10.0.0.9", "two", 0);
    assert_eq!(reasons(&one, std::slice::from_ref(&gone)), ["recreate 10.0.0.9 ClusterIPNotAllocated"]);
    let two = a_service("two", "10.0.0.9", 0);
    assert_eq!(reasons(&one, &[gone, two]), ["report ClusterIPAlreadyAllocated"]);
    let mut unlabelled = an_address("10.0.0.9", "one", 0);
    unlabelled["metadata"]["labels"] = json!({});
    assert_eq!(reasons(&one, &[unlabelled]), ["recreate 10.0.0.9 "]);
    let mut of_gateway = an_address("10.0.0.9", "one", 0);
    of_gateway["spec"]["parentRef"]["resource"] = json!("gateways");
    assert_eq!(reasons(&one, &[of_gateway]), ["recreate 10.0.0.9 ClusterIPNotAllocated"]);
    assert_eq!(reasons(&a_service("one", "None", 0), &[]), [""; 0]);
}

#[test]
fn an_address_without_its_service_goes_after_a_minute() {
    let object = an_address("10.0.0.9", "one", 0);
    let of = |others: &[Value], now: u64| address(&object, &World(others.to_vec()), at(now));
    let reason = |verdict: Verdict| match verdict {
        Verdict::Delete(warning) => warning.reason,
        Verdict::Keep => "keep",
        Verdict::Later(_) => "later",
    };
    assert_eq!(of(&[], 20), Verdict::Later(Duration::from_secs(40)));
    assert_eq!(reason(of(&[], 60)), "IPAddressNotAllocated");
    assert_eq!(of(&[a_service("one", "10.0.0.9", 0)], 500), Verdict::Keep);
    // Another service of this name was there before: an attempt that failed.
    let other = a_service("one", "10.0.0.8", 0);
    assert_eq!(reason(of(&[other], 1)), "IPAddressWrongReference");
    let late = an_address("10.0.0.9", "one", 1);
    let world = World(vec![a_service("one", "10.0.0.8", 0)]);
    assert_eq!(address(&late, &world, at(2)), Verdict::Later(Duration::from_secs(4)));
    assert_eq!(reason(address(&late, &world, at(7))), "IPAddressWrongReference");
    let mut others = object.clone();
    others["metadata"]["labels"] = json!({});
    assert_eq!(address(&others, &World::default(), at(500)), Verdict::Keep);
}

#[test]
fn ports_are_what_services_have_and_a_leak_is_given_back_in_the_third_pass() {
    let range = PortRange { first: 30_000, last: 30_099 };
    let of = |ports: Value| json!({"spec": {"type": "NodePort", "ports": ports}});
    let services = [
        of(json!([{"nodePort": 30_001, "protocol": "TCP"}, {"nodePort": 30_001, "protocol": "UDP"}])),
        of(json!([{"nodePort": 30_001, "protocol": "TCP"}])),
        of(json!([{"nodePort": 80, "protocol": "TCP"}])),
    ];
    let mut leaks = Leaks::new();
    let stored = PortMap { range, taken: BTreeSet::from([30_050]) };
    let (map, warnings) = ports(&services, Some(&stored), range, &mut leaks);
    let reasons: Vec<_> = warnings.iter().map(|(_, warning)| warning.reason).collect();
    assert_eq!(reasons, ["PortNotAllocated", "PortAlreadyAllocated", "PortOutOfRange"]);
    assert_eq!(map.taken, BTreeSet::from([30_001, 30_050]));
    let (map, warnings) = ports(&services[..1], Some(&map), range, &mut leaks);
    assert_eq!((map.taken.len(), warnings.len()), (2, 0));
    let (map, _) = ports(&services[..1], Some(&map), range, &mut leaks);
    assert_eq!((map.taken, leaks.len()), (BTreeSet::from([30_001]), 0));
}
