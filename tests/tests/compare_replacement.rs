//! kube-apiserver is replaced by ours and back on one etcd, under a load of writes and watches.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::apiserver::generated::samples;
use tests::apiserver::http::Client;
use tests::apiserver::load::{Expiry, Load, Servers};
use tests::apiserver::{Side, Which, authorization};
use tests::wait::until;

#[test]
fn nothing_is_lost_while_the_original_is_replaced_by_ours_and_back_under_load() {
    let mut side = Side::new(Which::Original, &[]);
    side.start();
    let clients = side.clients();
    // The original forgets at its end what watches would need, and ends them with 410 where something was written since.
    let load = Load::start(move |_| Servers::new(vec![clients()], 0), Expiry::Allowed);
    for which in [Which::Ours, Which::Original, Which::Ours, Which::Ours, Which::Original] {
        load.goes_on();
        side.replace_by(which);
    }
    load.goes_on();
    let outcome = load.end(1);
    println!("{outcome:?}");
    // Six watches, and two starts of the original: with ours each went on where it was.
    assert!(outcome.listed_again <= 12, "{outcome:?}");
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn read(client: &mut Client, path: &str, accept: &str) -> Vec<u8> {
    let mut headers = authorization("admin");
    headers.push(("Accept".to_owned(), accept.to_owned()));
    // The original has to begin with a kind that was defined a moment ago.
    until(path, || {
        let reply = client.ask("GET", path, &headers, &[]).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(matches!(reply.status, 200 | 429), "{path}: {}", String::from_utf8_lossy(&reply.body));
        (reply.status == 200).then_some(reply.body)
    })
}

fn value(client: &mut Client, path: &str) -> Value {
    serde_json::from_slice(&read(client, path, JSON)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths of everything that can be listed, in all versions.
fn collections(client: &mut Client) -> Vec<String> {
    let groups = value(client, "/apis");
    let groups = groups["groups"].as_array().expect("groups").iter();
    let versions = groups.flat_map(|group| group["versions"].as_array().expect("versions").clone());
    let versions =
        versions.map(|version| format!("/apis/{}", version["groupVersion"].as_str().expect("a version")));
    let roots: Vec<String> = ["/api/v1".to_owned()].into_iter().chain(versions).collect();
    let mut found = Vec::new();
    for root in roots {
        let resources = value(client, &root);
        let lists = resources["resources"].as_array().expect("resources").iter().filter(|resource| {
            resource["verbs"].as_array().is_some_and(|verbs| verbs.contains(&json!("list")))
        });
        found.extend(lists.map(|resource| format!("{root}/{}", resource["name"].as_str().expect("a name"))));
    }
    found
}

/// Every object as this server reads it, by where it is; those that servers write all the time left out.
fn everything(side: &Side) -> BTreeMap<String, Value> {
    let mut client = side.client();
    let mut all = BTreeMap::new();
    for collection in collections(&mut client) {
        let list = value(&mut client, &collection);
        for object in list["items"].as_array().into_iter().flatten() {
            let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
            let place = format!("{collection} {}/{}", text("namespace"), text("name"));
            // Each server's own lease, the health that it sees, and its endpoint, which it takes away at its end.
            let own = place.contains("leases kube-system/apiserver-")
                || place.contains("/componentstatuses ")
                || place.ends_with("/endpoints default/kubernetes")
                || place.ends_with("/endpointslices default/kubernetes");
            if !own {
                all.insert(place, object.clone());
            }
        }
    }
    all
}

/// Every object of the samples, byte by byte.
fn bytes(side: &Side, paths: &[String]) -> BTreeMap<String, Vec<u8>> {
    let mut client = side.client();
    paths.iter().map(|path| (path.clone(), read(&mut client, path, PROTOBUF))).collect()
}

fn differences(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> String {
    let places: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = places.into_iter().filter(|place| before.get(*place) != after.get(*place));
    let shown = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), Value::to_string);
    let line = |place: &String| {
        format!("{place}\n  before {}\n  after  {}\n", shown(before.get(place)), shown(after.get(place)))
    };
    differing.map(line).collect()
}

/// Two versions: one thing is the same in both, one is not.
const DEFINITION: &str = r#"{"metadata": {"name": "engines.example.com"}, "spec": {
    "group": "example.com", "scope": "Namespaced", "names": {"kind": "Engine", "plural": "engines"}, "versions": [
        {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
         "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
         "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]},
        {"name": "v2", "served": true, "storage": false, "subresources": {"status": {}},
         "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties":
            {"size": {"type": "integer", "default": 3, "maximum": 10}}}}}},
         "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]}]}}"#;

#[test]
fn every_object_is_read_the_same_by_both_whoever_wrote_it() {
    let mut side = Side::new(Which::Original, &[]);
    side.start();
    // No controller makes it here, and pods want one.
    let account = json!({"metadata": {"name": "default"}});
    side.must("POST", "/api/v1/namespaces/default/serviceaccounts", JSON, &account);
    let mut paths = Vec::new();
    let mut samples = samples();
    // A quota would refuse what comes after it.
    samples.sort_by_key(|sample| sample.kind() == "ResourceQuota");
    let definition = serde_json::from_str(DEFINITION).expect("JSON");
    side.must("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", JSON, &definition);
    paths.push(format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}", "engines.example.com"));
    let mut headers = authorization("admin");
    headers.push(("Content-Type".to_owned(), JSON.to_owned()));
    for sample in samples {
        // Some are there to be refused.
        let body = sample.object.to_string();
        let reply = side.client().ask("POST", &sample.collection, &headers, body.as_bytes());
        let reply = reply.unwrap_or_else(|error| panic!("{}: {error}", sample.collection));
        let made: Value = serde_json::from_slice(&reply.body).expect("JSON");
        if let Some(name) = made["metadata"]["name"].as_str().filter(|_| reply.status == 201) {
            paths.push(format!("{}/{name}", sample.collection));
        }
    }
    assert!(paths.len() > 40, "{}", paths.len());
    for which in [Which::Ours, Which::Original] {
        let (before, before_bytes) = (everything(&side), bytes(&side, &paths));
        side.replace_by(which);
        let (after, after_bytes) = (everything(&side), bytes(&side, &paths));
        let found = differences(&before, &after);
        assert!(found.is_empty(), "after the replacement by {which:?}:\n{found}");
        for (path, bytes) in &before_bytes {
            assert_eq!(after_bytes.get(path), Some(bytes), "{path} in protobuf, by {which:?}");
        }
        // What the other one is to read was written by this one.
        for path in &paths {
            let change = json!({"metadata": {"labels": {"written-by": format!("{which:?}").to_lowercase()}}});
            side.must("PATCH", path, MERGE, &change);
        }
    }
}
