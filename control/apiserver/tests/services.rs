//! Addresses and node ports of services: two servers over one etcd never give one twice, and nothing is lost.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use control_apiserver::Server;
use control_core::allocation::port_map::{KEY, PortMap};
use control_core::allocation::ports::PortRange;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::common::{Answer, Bed};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";

/// A bed with one range of addresses, and no node port taken.
async fn bed(range: &str) -> Bed {
    let bed = Bed::start().await;
    add_range(&bed, "kubernetes", range).await;
    let ports = PortMap::new(PortRange { first: 30_000, last: 32_767 });
    bed.server.store().create(KEY, ports.encode(false), None).await.unwrap();
    bed
}

async fn add_range(bed: &Bed, name: &str, range: &str) {
    let object = json!({"metadata": {"name": name}, "spec": {"cidrs": [range]}});
    let answer = bed.ask("POST", RANGES, object.to_string()).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
}

async fn create(server: &Arc<Server>, name: &str, spec: Value) -> Answer {
    let mut spec = spec;
    spec["ports"] = json!([{"port": 80}]);
    let object = json!({"metadata": {"name": name}, "spec": spec});
    common::ask(server, "POST", SERVICES, object.to_string()).await
}

/// A server hears of what makes room a moment later.
async fn until_created(server: &Arc<Server>, name: &str) -> Answer {
    common::within("there is room", async {
        loop {
            let answer = create(server, name, json!({})).await;
            if answer.code == 201 {
                return answer;
            }
        }
    })
    .await
}

fn address(service: &Value) -> String {
    service["spec"]["clusterIP"].as_str().unwrap().to_owned()
}

/// The IPAddresses, by name, and whom each is for.
async fn addresses(bed: &Bed) -> Vec<(String, String)> {
    let list = bed.ask("GET", ADDRESSES, "").await.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| (text(&item["metadata"]["name"]), text(&item["spec"]["parentRef"]["name"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_never_give_one_address_twice_and_a_full_range_says_so() {
    let bed = bed("10.96.0.0/28").await;
    let other = bed.another().await;
    let names: Vec<String> = (0..20).map(|nth| format!("s{nth}")).collect();
    let servers = [&bed.server, &other];
    let answers =
        join_all(names.iter().enumerate().map(|(nth, name)| create(servers[nth % 2], name, json!({})))).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.code == 201);
    let given: BTreeSet<String> = made.iter().map(|answer| address(&answer.json())).collect();
    assert_eq!((made.len(), given.len(), refused.len()), (14, 14, 6), "{given:?}");
    for answer in &refused {
        assert_eq!(answer.code, 500, "{}", answer.text);
        let message = answer.message();
        assert!(
            message.starts_with("Internal error occurred: failed to allocate a serviceIP for Service \"s")
        );
        assert!(message.ends_with("\": range is full"), "{message}");
    }
    let noted = addresses(&bed).await;
    assert_eq!(noted.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), given);
    for answer in &made {
        let service = answer.json();
        let own = (address(&service), service["metadata"]["name"].as_str().unwrap().to_owned());
        assert!(noted.contains(&own), "{own:?}");
    }
    // What one server's client deletes, another's gets; and more ranges give more.
    let gone = made[0].json();
    let path = format!("{SERVICES}/{}", gone["metadata"]["name"].as_str().unwrap());
    assert_eq!(bed.ask("DELETE", &path, "").await.code, 200);
    let again = until_created(&other, "again").await;
    assert_eq!((again.code, address(&again.json())), (201, address(&gone)), "{}", again.text);
    add_range(&bed, "more", "10.97.0.0/30").await;
    let more = until_created(&bed.server, "more").await;
    assert!(address(&more.json()).starts_with("10.97.0."), "{}", more.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reserved_for_a_service_that_is_refused_is_free_again() {
    // Large enough to have addresses that are given by name only.
    let bed = bed("10.96.0.0/24").await;
    let fixed = json!({"clusterIP": "10.96.0.5", "type": "NodePort"});
    assert_eq!(create(&bed.server, "a", json!({})).await.code, 201);
    let own = addresses(&bed).await;
    // The name is taken, and a name that is none.
    for (name, code) in [("a", 409), ("A", 422)] {
        let answer = create(&bed.server, name, fixed.clone()).await;
        assert_eq!(answer.code, code, "{}", answer.text);
        assert_eq!(addresses(&bed).await, own);
    }
    let ports =
        |bed: &Bed| PortMap::decode(bed.server.store().peek(KEY).unwrap().bytes()).unwrap().taken.len();
    assert_eq!(ports(&bed), 0);
    assert_eq!(create(&bed.server, "b", fixed.clone()).await.code, 201);
    assert_eq!(ports(&bed), 1);
    let answer = create(&bed.server, "c", fixed).await;
    assert_eq!(
        answer.message(),
        "Service \"c\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.5\"]: failed to allocate IP 10.96.0.5: \
         provided IP is already allocated"
    );
    let answer = create(&bed.server, "c", json!({"clusterIP": "10.99.0.5"})).await;
    assert!(
        answer.message().ends_with("the provided network does not match the current range"),
        "{}",
        answer.text
    );
    // A service that gives up its address and its port keeps neither.
    let path = format!("{SERVICES}/b");
    let mut service = bed.ask("GET", &path, "").await.json();
    service["spec"] = json!({"type": "ExternalName", "externalName": "a.b"});
    let answer = bed.ask("PUT", &path, service.to_string()).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    assert_eq!((addresses(&bed).await, ports(&bed)), (own, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_never_give_one_node_port_twice() {
    let bed = bed("10.96.0.0/24").await;
    let other = bed.another().await;
    let servers = [&bed.server, &other];
    let names: Vec<String> = (0..40).map(|nth| format!("s{nth}")).collect();
    let answers = join_all(
        names
            .iter()
            .enumerate()
            .map(|(nth, name)| create(servers[nth % 2], name, json!({"type": "NodePort"}))),
    )
    .await;
    let given: BTreeSet<u64> = answers
        .iter()
        .map(|answer| answer.json()["spec"]["ports"][0]["nodePort"].as_u64().unwrap())
        .collect();
    assert_eq!(given.len(), 40);
    let fixed = *given.first().unwrap();
    let object = json!({"metadata": {"name": "fixed"}, "spec": {"type": "NodePort", "ports": [{"port": 1, "nodePort": fixed}]}});
    let answer = bed.ask("POST", SERVICES, object.to_string()).await;
    assert!(answer.message().ends_with(": provided port is already allocated"), "{}", answer.text);
}
