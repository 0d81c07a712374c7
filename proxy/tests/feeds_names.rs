//! Names in files: what an API server would refuse never becomes a rule, and the longest that it takes fit into one.

use std::fs;
use std::path::Path;

use proxy::feeds::directory;
use proxy::options::{Fixture, resolve};
use proxy::tools::{World, render};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest comment that xt_comment takes, without the zero at its end.
const COMMENT: usize = 255;

fn service(namespace: &str, name: &str, port: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        "spec": {"type": "LoadBalancer", "clusterIP": ip, "clusterIPs": [ip], "externalIPs": ["198.51.100.7"],
            "loadBalancerSourceRanges": ["203.0.113.0/24"], "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local",
            "ports": [{"name": port, "protocol": "TCP", "port": 80, "nodePort": 30080}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}]}}})
}

fn slice(namespace: &str, service: &str, port: &str) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": namespace, "name": "e".repeat(253), "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": port, "protocol": "TCP", "port": 8080}], "endpoints": [{"addresses": ["10.244.1.5"]}]})
}

async fn rules(directory: &Path, mode: &str) -> String {
    let feed = format!("--feed-dir={}", directory.display());
    let mode = format!("--proxy-mode={mode}");
    let options = [feed.as_str(), mode.as_str(), "--node-ips=192.0.2.1", "--cluster-cidr=10.244.0.0/16"];
    let options = resolve(&options, &Fixture::named("n")).expect("options");
    let world = World::read(&options).await.expect("a directory");
    render(&world, &options)
}

#[tokio::test]
async fn the_longest_names_fit_into_comments_in_every_mode() {
    let (dir, long) = (TempDir::new().expect("a directory"), "l".repeat(63));
    for (file, object) in
        [("s.json", service(&long, &long, &long, "10.96.0.1")), ("e.json", slice(&long, &long, &long))]
    {
        fs::write(dir.path().join(file), object.to_string()).expect("write");
    }
    assert_eq!(directory::load(dir.path()).expect("a directory").troubles, []);
    let text = rules(dir.path(), "iptables").await;
    let comments = text.split("--comment \"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
    let lengths: Vec<_> = comments.filter(|comment| comment.contains(&long)).map(str::len).collect();
    assert!(lengths.len() > 5, "{text}");
    assert!(lengths.iter().all(|length| *length <= COMMENT), "{lengths:?}");
    assert!(rules(dir.path(), "nftables").await.contains("10.244.1.5"));
}

#[tokio::test]
async fn an_object_with_a_hostile_name_is_left_out_named_and_in_no_rule() {
    let dir = TempDir::new().expect("a directory");
    let hostile = ["x\" -j ACCEPT", "x\nCOMMIT\n*filter", "x\\", "x'; reboot", "X", "x".repeat(64).as_str()]
        .map(str::to_owned);
    for (nth, name) in hostile.iter().enumerate() {
        let ip = format!("10.96.1.{nth}");
        let objects =
            [service(name, "s", "p", &ip), service("n", name, "p", &ip), service("n", "s", name, &ip)];
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        fs::write(dir.path().join(format!("{nth}.json")), list.to_string()).expect("write");
    }
    fs::write(dir.path().join("good.json"), service("n", "good", "p", "10.96.2.1").to_string())
        .expect("write");
    let loaded = directory::load(dir.path()).expect("a directory");
    assert_eq!(loaded.objects.len(), 1);
    assert_eq!(loaded.troubles.len(), hostile.len() * 3);
    for trouble in &loaded.troubles {
        let text = trouble.to_string();
        assert!(
            text.contains(".json: left out as a whole: Service ") && text.contains(" is not a DNS label: "),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
    }
    for mode in ["iptables", "nftables"] {
        let text = rules(dir.path(), mode).await;
        assert!(text.contains("10.96.2.1") && !text.contains("10.96.1."), "{text}");
    }
}
