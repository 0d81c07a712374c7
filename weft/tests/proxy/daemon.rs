//! The proxy's life, seen by a client of its services.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::testbed::*;

#[test]
fn a_service_is_reached_and_a_change_of_its_endpoints_takes_effect() {
    let testbed = Testbed::new("reach");
    let _proxy = testbed.start();
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    testbed.until_answered_by(NODE_PORT, &["one", "two"]);
    testbed.endpoints(&["two"]);
    testbed.until_answered_by(CLUSTER_IP, &["two"]);
    testbed.until_answered_by(NODE_PORT, &["two"]);
    testbed.endpoints(&[]);
    testbed.until_answered_by(CLUSTER_IP, &["Connection refused (os error 111)"]);
    testbed.endpoints(&["one"]);
    testbed.until_answered_by(CLUSTER_IP, &["one"]);
    std::fs::remove_file(testbed.directory.path().join("service.json")).unwrap();
    until("the service to be gone from the kernel", || {
        let map = testbed.nft("list map ip weft-proxy services");
        if map.contains("10.96.0.10") { Err(map) } else { Ok(()) }
    });
}

#[test]
fn rules_that_somebody_removes_come_back() {
    let testbed = Testbed::new("mend");
    let _proxy = testbed.start();
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    for damage in [
        "flush ruleset",
        "delete table ip weft-proxy",
        "flush map ip weft-proxy services",
        "flush chain ip weft-proxy nat-prerouting",
    ] {
        testbed.nft(damage);
        testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
        until(&format!("everything to be whole after {damage:?}"), || {
            let found = testbed.tool(&["proxy", "diff"]);
            if found.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&found.stdout).into()) }
        });
    }
    testbed.endpoints(&["two"]);
    testbed.until_answered_by(CLUSTER_IP, &["two"]);
}

/// Connects again and again while `meanwhile` happens, which may wait for more connections; no attempt may fail.
fn without_a_failed_connection(testbed: &Testbed, meanwhile: impl FnOnce(&dyn Fn())) {
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let connections = || {
        let mut failures = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            failures.extend(connect(CLUSTER_IP).err());
            made.fetch_add(1, Ordering::Relaxed);
        }
        failures
    };
    let more = || {
        let from = made.load(Ordering::Relaxed);
        until("connections to be made", || {
            let now = made.load(Ordering::Relaxed) - from;
            if now >= 100 { Ok(()) } else { Err(format!("{now}")) }
        });
    };
    let failures = std::thread::scope(|scope| {
        let stream = scope.spawn(|| testbed.client.run(connections).unwrap());
        let ends = Ends(&stop);
        more();
        meanwhile(&more);
        more();
        drop(ends);
        stream.join().unwrap()
    });
    assert_eq!(failures, Vec::<String>::new(), "of {made:?} connections");
}

/// Ends the stream also where the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_killed_proxy_and_its_next_start_lose_no_connection() {
    let testbed = Testbed::new("kill");
    let proxy = testbed.start();
    let mut again = None;
    without_a_failed_connection(&testbed, |more| {
        assert_eq!(proxy.end(Signal::SIGKILL), None);
        more();
        again = Some(testbed.start());
    });
    drop(again);
}

#[test]
fn a_change_of_the_mode_loses_no_connection_and_leaves_nothing_of_the_other() {
    let testbed = Testbed::new("mode");
    let proxy = testbed.start();
    let mut last = None;
    without_a_failed_connection(&testbed, |more| {
        assert_eq!(proxy.end(Signal::SIGTERM), Some(0));
        let proxy = testbed.start_with(&["--proxy-mode=iptables"]);
        until("the rules of the nftables mode to go", || {
            let tables = testbed.nft("list tables");
            if tables.contains("weft-proxy") { Err(tables) } else { Ok(()) }
        });
        more();
        assert_eq!(proxy.end(Signal::SIGTERM), Some(0));
        last = Some(testbed.start());
        until("the rules of the iptables mode to go", || {
            let rules = run(&mut testbed.node.command("iptables-save"));
            if rules.contains("KUBE-SVC-") || rules.contains("KUBE-SERVICES") { Err(rules) } else { Ok(()) }
        });
    });
    drop(last);
}

#[test]
fn what_changed_while_no_proxy_ran_is_made_good_by_the_next_start() {
    let testbed = Testbed::new("away");
    let proxy = testbed.start();
    assert_eq!(proxy.end(Signal::SIGKILL), None);
    testbed.endpoints(&["two"]);
    let _proxy = testbed.start();
    testbed.until_answered_by(CLUSTER_IP, &["two"]);
    let found = testbed.tool(&["proxy", "diff"]);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
}

#[test]
fn a_proxy_that_is_told_to_end_leaves_services_and_cleanup_removes_them() {
    let testbed = Testbed::new("end");
    testbed.nft("add table ip somebodys");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        assert_eq!(testbed.start().end(signal), Some(0));
        testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    }
    // Kube-proxy's, beside which one mode of ours can be removed.
    testbed.nft("add table ip6 kube-proxy");
    run(testbed.node.command("iptables").args(["-w", "-t", "nat", "-N", "KUBE-SERVICES"]));
    let chains = || run(testbed.node.command("iptables-save").args(["-t", "nat"]));
    run(&mut testbed.proxy(&["--cleanup", "--proxy-mode=nftables"]));
    let tables = testbed.nft("list tables");
    assert!(!tables.contains("weft-proxy") && tables.contains("kube-proxy"), "{tables}");
    assert!(chains().contains("KUBE-SERVICES"));
    assert_eq!(testbed.start().end(Signal::SIGKILL), None);
    run(&mut testbed.proxy(&["--cleanup", "--proxy-mode=iptables"]));
    assert!(!chains().contains("KUBE-SERVICES") && testbed.nft("list tables").contains("weft-proxy"));
    run(&mut testbed.proxy(&["--cleanup"]));
    let left = testbed.nft("list tables");
    assert!(left.contains("table ip somebodys") && !left.contains("-proxy"), "{left}");
    run(&mut testbed.proxy(&["--cleanup"]));
}

#[test]
fn a_bad_object_is_left_out_and_the_others_are_served() {
    let testbed = Testbed::new("bad");
    let bad = r#"{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"a","name":"b"},
                  "spec":{"clusterIP":"10.96.0.300","ports":[{"port":80}]}}"#;
    std::fs::write(testbed.directory.path().join("a-bad.json"), bad).unwrap();
    std::fs::write(testbed.directory.path().join("a-worse.yaml"), "{").unwrap();
    let _proxy = testbed.start();
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
}

/// Status and text of an answer from the node's own ports.
pub fn get(testbed: &Testbed, port: u16, path: &str) -> (u16, String) {
    get_at(testbed, &format!("127.0.0.1:{port}"), path).unwrap()
}

fn get_at(testbed: &Testbed, address: &str, path: &str) -> Result<(u16, String), String> {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        // A port that closes resets what it had not accepted yet: no answer, as a refused connection is none.
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text: std::io::Result<String> = testbed.node.run(ask).unwrap();
    let text = text.map_err(|error| error.to_string())?;
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Ok((code, text))
}

#[test]
fn a_health_check_node_port_follows_the_endpoints_of_this_node() {
    let testbed = Testbed::new("hcnp");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "default", "name": "near" },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11"], "ipFamilies": ["IPv4"],
            "externalTrafficPolicy": "Local", "healthCheckNodePort": 32100,
            "ports": [{ "port": 80, "targetPort": 8080, "nodePort": 30081, "protocol": "TCP" }],
        },
    });
    let slice = |node: &str| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "namespace": "default", "name": "near-1", "labels": { "kubernetes.io/service-name": "near" } },
            "endpoints": [{ "addresses": ["10.244.1.11"], "nodeName": node, "conditions": { "ready": true } }],
            "ports": [{ "port": 8080, "protocol": "TCP" }],
        })
    };
    let answers = |code: Option<u16>| {
        until(&format!("{code:?} from the health-check node port"), || {
            let found = get_at(&testbed, "192.168.0.1:32100", "/");
            if found.as_ref().ok().map(|(code, _)| *code) == code {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        });
    };
    let directory = testbed.directory.path();
    write(directory, "near.json", &service);
    write(directory, "near-slice.json", &slice("here"));
    let _proxy = testbed.start();
    answers(Some(200));
    write(directory, "near-slice.json", &slice("there"));
    answers(Some(503));
    std::fs::remove_file(directory.join("near.json")).unwrap();
    answers(None);
}

#[test]
fn a_bridge_whose_packets_meet_no_rules_is_said_with_the_remedy() {
    let testbed = Testbed::new("bridgenf");
    let off = || host::sysctl::write("net/bridge/bridge-nf-call-iptables", "0");
    testbed.node.run(off).unwrap().expect("a kernel with br_netfilter");
    let _proxy = testbed.start();
    let said = |what: &str| {
        until(&format!("{what:?} in the log"), || {
            let log = testbed.log();
            if log.contains(what) { Ok(()) } else { Err(log) }
        });
    };
    said("pods behind the bridge cni0 do not reach one another by services of IPv4");
    assert!(testbed.log().contains("net.bridge.bridge-nf-call-iptables=1"));
}

#[test]
fn a_health_check_node_port_that_was_taken_opens_when_it_is_free() {
    let testbed = Testbed::new("hctaken");
    let taken = testbed.node.run(|| std::net::TcpListener::bind("0.0.0.0:32100").unwrap()).unwrap();
    let ports = json!([{ "port": 80, "targetPort": 8080, "nodePort": 30081, "protocol": "TCP" }]);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "default", "name": "near" },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11"], "ports": ports,
            "externalTrafficPolicy": "Local", "healthCheckNodePort": 32100,
        },
    });
    write(testbed.directory.path(), "near.json", &service);
    let _proxy = testbed.start();
    let failed = "default/near: cannot open its health-check node port at ";
    until(
        "the failure in the log",
        || {
            if testbed.log().contains(failed) { Ok(()) } else { Err(testbed.log()) }
        },
    );
    drop(taken);
    until("the port to open without any change", || match get_at(&testbed, "192.168.0.1:32100", "/") {
        Ok((503, _)) => Ok(()),
        found => Err(format!("{found:?}")),
    });
    assert_eq!(testbed.log().matches(failed).count(), 1, "{}", testbed.log());
}

#[test]
fn a_running_proxy_tells_its_health_mode_and_counters() {
    let testbed = Testbed::new("http");
    let _proxy = testbed.start();
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    for (port, path, holds) in [
        (10256, "/healthz", "\"healthy\":true"),
        (10256, "/livez", "\"healthy\":true"),
        (10249, "/readyz", "ok"),
        (10249, "/proxyMode", "nftables"),
        (10249, "/configz", "10.244.0.0/16"),
        (10249, "/metrics", "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1"),
    ] {
        let (code, text) = get(&testbed, port, path);
        assert!(code == 200 && text.contains(holds), "{path}: {text}");
    }
    let (_, before) = get(&testbed, 10249, "/metrics");
    testbed.endpoints(&["two"]);
    testbed.until_answered_by(CLUSTER_IP, &["two"]);
    // One slice of each family: two files, thus one pass or two.
    let times = |text: &str, family: &str| -> Option<u64> {
        let name = format!("weft_proxy_change_to_kernel_seconds_count{{ip_family=\"{family}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name))?.parse().ok()
    };
    let of = |text: &str| ["IPv4", "IPv6"].map(|family| times(text, family).expect("the count of a family"));
    let mut text = String::new();
    until("a change of each family to be timed", || {
        text = get(&testbed, 10249, "/metrics").1;
        if of(&text) == of(&before).map(|times| times + 1) { Ok(()) } else { Err(text.clone()) }
    });
    let count = |name: &str| -> f64 {
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap()
    };
    let partial = count("kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}");
    assert!((1.0..=2.0).contains(&partial), "{text}");
    assert_eq!(count("kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}"), 1.0);
    let connections =
        "weft_proxy_service_connections_total{namespace=\"default\",service=\"web\",port=\"http\"";
    assert!(count(connections) >= 16.0);
}
