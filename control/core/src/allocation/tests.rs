use super::*;
use serde_json::json;

const ONE: &[Family] = &[Family::V4];
const BOTH: &[Family] = &[Family::V4, Family::V6];

fn service(spec: Value) -> Value {
    json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec})
}

fn refused(result: Result<Plan, Errors>) -> Vec<String> {
    result.expect_err("refused").iter().map(ToString::to_string).collect()
}

#[test]
fn a_plain_service_gets_an_address_of_the_default_family() {
    let mut object = service(json!({"type": "ClusterIP", "ports": [{"port": 80}]}));
    let plan = prepare_create(&mut object, BOTH).expect("a plan");
    assert_eq!(object["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(object["spec"]["ipFamilyPolicy"], json!("SingleStack"));
    assert_eq!(plan.addresses, [AddressWish { family: Family::V4, place: 0, wanted: None }]);
    plan.fill(&mut object, &["10.0.0.9".parse().unwrap()], &[]);
    assert_eq!(object["spec"]["clusterIP"], json!("10.0.0.9"));
    assert_eq!(object["spec"]["clusterIPs"], json!(["10.0.0.9"]));
}

#[test]
fn two_families_need_a_cluster_that_has_them() {
    let spec = json!({"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}]});
    assert_eq!(
        refused(prepare_create(&mut service(spec.clone()), ONE)),
        [
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"
        ]
    );
    let mut object = service(spec);
    let plan = prepare_create(&mut object, BOTH).expect("a plan");
    assert_eq!(plan.addresses.iter().map(|wish| wish.family).collect::<Vec<_>>(), BOTH);
    let mut object = service(json!({"type": "ClusterIP", "clusterIP": "fd00::1"}));
    assert_eq!(
        refused(prepare_create(&mut object, ONE)),
        ["spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster"]
    );
}

#[test]
fn headless_services_get_no_address_and_those_without_a_selector_both_families() {
    let mut object = service(json!({"type": "ClusterIP", "clusterIP": "None"}));
    assert_eq!(prepare_create(&mut object, ONE), Ok(Plan::default()));
    assert_eq!(object["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(object["spec"]["ipFamilyPolicy"], json!("RequireDualStack"));
    let mut object = service(json!({"type": "ClusterIP", "clusterIP": "None", "selector": {"a": "b"}}));
    assert_eq!(prepare_create(&mut object, ONE), Ok(Plan::default()));
    assert_eq!(object["spec"]["ipFamilies"], json!(["IPv4"]));
}

#[test]
fn ports_of_one_number_share_their_node_port() {
    let mut object = service(json!({"type": "NodePort", "ports": [
        {"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP", "nodePort": 30053}, {"port": 80}]}));
    let plan = prepare_create(&mut object, ONE).expect("a plan");
    assert_eq!(
        plan.ports,
        [
            PortWish { place: Some(0), wanted: Some(30_053), shared_by: vec![1] },
            PortWish { place: Some(2), wanted: None, shared_by: vec![] }
        ]
    );
    plan.fill(&mut object, &["10.0.0.9".parse().unwrap()], &[30_053, 31_000]);
    let ports: Vec<i64> = object["spec"]["ports"].as_array().unwrap().iter().map(node_port).collect();
    assert_eq!(ports, [30_053, 30_053, 31_000]);
}

#[test]
fn an_update_keeps_what_it_does_not_name_and_releases_what_it_gives_up() {
    let old = service(
        json!({"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80, "nodePort": 30001}]}),
    );
    let mut new = service(json!({"type": "NodePort", "ports": [{"port": 81}, {"name": "b", "port": 82}]}));
    let plan = prepare_update(&mut new, &old, ONE).expect("a plan");
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.0.0.1"]));
    assert_eq!(new["spec"]["ports"][0]["nodePort"], json!(30_001));
    assert_eq!(plan.ports, [PortWish { place: Some(1), wanted: None, shared_by: vec![] }]);
    let mut new = service(json!({"type": "ExternalName", "externalName": "a.b"}));
    let plan = prepare_update(&mut new, &old, ONE).expect("a plan");
    assert_eq!(
        (plan.release_addresses, plan.release_ports),
        (vec!["10.0.0.1".parse().unwrap()], vec![30_001])
    );
}

#[test]
fn a_second_address_comes_and_goes_with_the_policy() {
    let old = service(
        json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack"}),
    );
    let mut new = old.clone();
    new["spec"]["ipFamilyPolicy"] = json!("PreferDualStack");
    let plan = prepare_update(&mut new, &old, BOTH).expect("a plan");
    assert_eq!(plan.addresses, [AddressWish { family: Family::V6, place: 1, wanted: None }]);
    plan.fill(&mut new, &["fd00::1".parse().unwrap()], &[]);
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.0.0.1", "fd00::1"]));
    let mut back = new.clone();
    back["spec"]["ipFamilyPolicy"] = json!("SingleStack");
    let plan = prepare_update(&mut back, &new, BOTH).expect("a plan");
    assert_eq!(plan.release_addresses, ["fd00::1".parse::<IpAddr>().unwrap()]);
    assert_eq!(back["spec"]["clusterIPs"], json!(["10.0.0.1"]));
}
