//! What no proxy wishes for: strange objects, strange neighbours, a directory that goes away, a proxy that is killed.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::switch;
use super::testbed::*;

const IPTABLES: &[&str] = &["--proxy-mode=iptables"];

/// Rules of somebody else, in every place where ours are.
fn foreign(testbed: &Testbed) -> String {
    for family in ["ip", "ip6"] {
        testbed.nft(&format!("add table {family} somebodys"));
        testbed.nft(&format!("add chain {family} somebodys c {{ type nat hook prerouting priority -90 ; }}"));
        testbed.nft(&format!("add rule {family} somebodys c tcp dport 9 accept"));
    }
    for program in ["iptables", "ip6tables"] {
        for rule in ["-N SOMEBODYS", "-A SOMEBODYS -p tcp --dport 9 -j RETURN", "-A PREROUTING -j SOMEBODYS"]
        {
            run(testbed.node.command(program).args(["-w", "-t", "nat"]).args(rule.split(' ')));
        }
    }
    foreign_now(testbed)
}

fn foreign_now(testbed: &Testbed) -> String {
    let mut text = testbed.nft("list table ip somebodys") + &testbed.nft("list table ip6 somebodys");
    for program in ["iptables-save", "ip6tables-save"] {
        let saved = run(testbed.node.command(program).args(["-t", "nat"]));
        text.extend(saved.lines().filter(|line| line.contains("SOMEBODYS") && !line.starts_with(':')));
    }
    text
}

fn until_whole(testbed: &Testbed, more: &[&str]) {
    until("the kernel to be as wanted", || {
        let found = testbed.tool(&[&["proxy", "diff"], more].concat());
        if found.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&found.stdout).into()) }
    });
}

/// A slice with as many endpoints as a slice may have: 10.244.8.0/22, all of them in the first pod.
fn a_thousand_endpoints(tag: &str, more: &[&str]) {
    let testbed = Testbed::new(tag);
    run(testbed.node.command("ip").args(["route", "add", "10.244.8.0/22", "via", PODS_V4[0]]));
    run(testbed.pods[0].command("ip").args(["route", "add", "local", "10.244.8.0/22", "dev", "lo"]));
    // Each says at which address it was reached.
    let listener = testbed.pods[0].run(|| TcpListener::bind("0.0.0.0:7000").unwrap()).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let here = stream.local_addr().map(|address| address.ip().to_string()).unwrap_or_default();
            let _ = stream.write_all(here.as_bytes());
        }
    });
    let ips: BTreeSet<String> = (0..1000).map(|n| format!("10.244.{}.{}", 8 + n / 256, n % 256)).collect();
    let ready = json!({ "ready": true });
    let endpoints: Vec<Value> =
        ips.iter().map(|ip| json!({ "addresses": [ip], "nodeName": "there", "conditions": ready })).collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "default", "name": "many-1", "labels": { "kubernetes.io/service-name": "many" },
        },
        "endpoints": endpoints, "ports": [{ "port": 7000, "protocol": "TCP" }],
    });
    let directory = testbed.directory.path();
    write(
        directory,
        "many.json",
        &service("many", 30, json!({ "ports": [{ "port": 80, "protocol": "TCP" }] })),
    );
    write(directory, "many-slice.json", &slice);
    let _proxy = testbed.start_with(more);
    let text = match more {
        [] => testbed.nft("list table ip weft-proxy"),
        _ => run(testbed.node.command("iptables-save").args(["-t", "nat"])),
    };
    let holds = |ip: &&String| [" ", ":"].iter().any(|end| text.contains(&format!(" {ip}{end}")));
    let missing: Vec<&String> = ips.iter().filter(|ip| !holds(ip)).collect();
    assert!(missing.is_empty(), "not in the kernel: {missing:?}");
    let reached: BTreeSet<String> = testbed
        .client
        .run(|| (0..200).map(|_| connect("10.96.0.30:80").unwrap_or_else(|error| error)).collect())
        .unwrap();
    assert!(reached.iter().all(|ip| ips.contains(ip)), "{reached:?}");
    // 200 of 1000 by chance are some 181 different ones.
    assert!(reached.len() > 140, "{}", reached.len());
    until_whole(&testbed, more);
}

#[test]
fn a_slice_of_1000_endpoints_is_served_in_nftables_mode() {
    a_thousand_endpoints("slice", &[]);
}

#[test]
fn a_slice_of_1000_endpoints_is_served_in_iptables_mode() {
    a_thousand_endpoints("sliceipt", IPTABLES);
}

fn a_thousand_ports(tag: &str, more: &[&str]) {
    let testbed = Testbed::new(tag);
    let list = |of: fn(u16) -> Value| -> Value { (0..1000).map(of).collect::<Vec<_>>().into() };
    let ports = list(|n| json!({ "name": format!("p{n}"), "port": 1000 + n, "protocol": "TCP" }));
    let targets = list(|n| json!({ "name": format!("p{n}"), "port": 8080, "protocol": "TCP" }));
    write(testbed.directory.path(), "wide.json", &service("wide", 31, json!({ "ports": ports })));
    write(testbed.directory.path(), "wide-slices.json", &slices("wide", &["two"], targets));
    let _proxy = testbed.start_with(more);
    for address in ["10.96.0.31:1000", "10.96.0.31:1500", "10.96.0.31:1999", "[fd00:10:96::31]:1999"] {
        testbed.until_answered_by(address, &["two"]);
    }
    until_whole(&testbed, more);
}

#[test]
fn a_service_of_1000_ports_is_served_in_nftables_mode() {
    a_thousand_ports("wide", &[]);
}

#[test]
fn a_service_of_1000_ports_is_served_in_iptables_mode() {
    a_thousand_ports("wideipt", IPTABLES);
}

/// Writes a service with a frontend of its own and one that others want too, and its endpoint.
fn rival(testbed: &Testbed, name: &str, n: u8, created: &str, pod: &str, more: Value) {
    let ports = json!([{ "name": "http", "port": 80, "protocol": "TCP", "nodePort": 30333 }]);
    let mut object = service(name, n, json!({ "type": "NodePort", "ports": ports }));
    object["metadata"]["creationTimestamp"] = created.into();
    object["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let targets = json!([{ "name": "http", "port": 8080, "protocol": "TCP" }]);
    write(testbed.directory.path(), &format!("{name}.json"), &object);
    write(testbed.directory.path(), &format!("{name}-slices.json"), &slices(name, &[pod], targets));
}

fn rivals(tag: &str, more: &[&str]) {
    let testbed = Testbed::new(tag);
    run(testbed.client.command("ip").args(["route", "add", "203.0.113.7/32", "via", "192.168.0.1"]));
    let outside = json!({ "externalIPs": ["203.0.113.7"] });
    rival(&testbed, "newer", 40, "2026-02-02T00:00:00Z", "one", outside.clone());
    rival(&testbed, "older", 41, "2026-01-01T00:00:00Z", "two", outside);
    // An endpoint that is a ClusterIP would send packets around for ever.
    let mut loops = slices("loops", &["one"], json!([{ "name": "http", "port": 8080, "protocol": "TCP" }]));
    let ours = json!({ "addresses": ["10.96.0.10"], "conditions": { "ready": true } });
    loops["items"][0]["endpoints"].as_array_mut().unwrap().push(ours);
    let ports = json!([{ "name": "http", "port": 80, "protocol": "TCP" }]);
    write(testbed.directory.path(), "loops.json", &service("loops", 42, json!({ "ports": ports })));
    write(testbed.directory.path(), "loops-slices.json", &loops);
    let _proxy = testbed.start_with(more);
    testbed.until_answered_by("10.96.0.42:80", &["one"]);
    for contested in ["203.0.113.7:80", "192.168.0.1:30333"] {
        testbed.until_answered_by(contested, &["two"]);
    }
    testbed.until_answered_by("10.96.0.40:80", &["one"]);
    let log = testbed.log();
    for said in [
        "service default/newer does not get 203.0.113.7:80/tcp: service default/older has it",
        "service default/newer does not get node port 30333/tcp: service default/older has it",
        "endpoint 10.96.0.10 of service default/loops is left out: it is a ClusterIP",
    ] {
        assert!(log.to_lowercase().contains(&said.to_lowercase()), "{said:?} is not in\n{log}");
    }
    // When the owner goes, the other has it.
    std::fs::remove_file(testbed.directory.path().join("older.json")).unwrap();
    for contested in ["203.0.113.7:80", "192.168.0.1:30333"] {
        testbed.until_answered_by(contested, &["one"]);
    }
    until_whole(&testbed, more);
}

#[test]
fn the_older_of_two_services_keeps_what_both_want_in_nftables_mode() {
    rivals("rival", &[]);
}

#[test]
fn the_older_of_two_services_keeps_what_both_want_in_iptables_mode() {
    rivals("rivalipt", IPTABLES);
}

#[test]
fn what_somebody_adds_to_our_table_is_removed_and_other_tables_stay() {
    let testbed = Testbed::new("added");
    let before = foreign(&testbed);
    let _proxy = testbed.start();
    for addition in [
        "add chain ip weft-proxy mine",
        "add chain ip weft-proxy hooked { type filter hook input priority 0 ; }",
        "add set ip weft-proxy theirs { type ipv4_addr ; }",
        "add element ip weft-proxy cluster-ips { 10.96.0.99 }",
        "add rule ip weft-proxy nat-prerouting counter",
        "insert rule ip6 weft-proxy nat-prerouting counter",
    ] {
        testbed.nft(addition);
        until_whole(&testbed, &[]);
    }
    let table = testbed.nft("list table ip weft-proxy");
    for theirs in ["mine", "hooked", "theirs", "10.96.0.99"] {
        assert!(!table.contains(theirs), "{theirs:?} is in\n{table}");
    }
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    assert_eq!(foreign_now(&testbed), before);
}

/// Changes objects as fast as files can be written, until it is dropped.
struct Storm(Option<(std::sync::mpsc::Sender<()>, std::thread::JoinHandle<usize>)>);

impl Storm {
    fn over(directory: &Path) -> Self {
        let directory = directory.to_owned();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let work = move || {
            let mut changes = 0;
            let ports = json!([{ "name": "http", "port": 80, "protocol": "TCP" }]);
            let targets = json!([{ "name": "http", "port": 8080, "protocol": "TCP" }]);
            while matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
                let n = 100 + (changes % 16) as u8;
                let name = format!("storm-{n}");
                let pods: &[&str] = [&["one"][..], &["two"], &["one", "two"], &[]][changes / 16 % 4];
                write(&directory, &format!("{name}.json"), &service(&name, n, json!({ "ports": ports })));
                write(&directory, &format!("{name}-slices.json"), &slices(&name, pods, targets.clone()));
                if changes % 5 == 0 {
                    let gone = 100 + (changes / 5 % 16) as u8;
                    let _ = std::fs::remove_file(directory.join(format!("storm-{gone}.json")));
                }
                changes += 2;
                std::thread::sleep(Duration::from_millis(5));
            }
            changes
        };
        Self(Some((stop, std::thread::spawn(work))))
    }

    fn end(mut self) -> usize {
        let (stop, thread) = self.0.take().unwrap();
        drop(stop);
        thread.join().unwrap()
    }
}

/// Numbers that look random, the same in each run.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn killed_in_a_storm(tag: &str, more: &[&str], kills: usize) {
    let testbed = Testbed::new(tag);
    let before = foreign(&testbed);
    let storm = Storm::over(testbed.directory.path());
    let mut seed = 42;
    for _ in 0..kills {
        // Without waiting for its start to be complete, which is where most is done.
        let proxy = testbed.spawn(more);
        std::thread::sleep(Duration::from_millis(random(&mut seed) % 250));
        assert_eq!(proxy.end(Signal::SIGKILL), None);
    }
    let changes = storm.end();
    let _proxy = testbed.start_with(more);
    until_whole(&testbed, more);
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    assert_eq!(foreign_now(&testbed), before, "after {changes} changes");
}

#[test]
fn a_proxy_killed_at_any_moment_of_a_storm_converges_in_nftables_mode() {
    killed_in_a_storm("sigkill", &[], 25);
}

#[test]
fn a_proxy_killed_at_any_moment_of_a_storm_converges_in_iptables_mode() {
    killed_in_a_storm("sigkillipt", IPTABLES, 12);
}

fn storm_under_traffic(tag: &str, more: &[&str]) {
    let testbed = Testbed::new(tag);
    switch::serve(&testbed);
    let _proxy = testbed.start_with(more);
    let traffic = switch::traffic(&testbed);
    let storm = Storm::over(testbed.directory.path());
    for _ in 0..4 {
        traffic.flow();
    }
    let changes = storm.end();
    let tally = traffic.end();
    assert_eq!(tally.failures, Vec::<String>::new(), "of {} with {changes} changes", tally.connections);
    assert!(changes > 100, "{changes} changes are no storm");
    until_whole(&testbed, more);
    println!("{changes} changes, {} connections", tally.connections);
}

#[test]
fn a_storm_of_changes_fails_no_connection_in_nftables_mode() {
    storm_under_traffic("storm", &[]);
}

#[test]
fn a_storm_of_changes_fails_no_connection_in_iptables_mode() {
    storm_under_traffic("stormipt", IPTABLES);
}

#[test]
fn a_directory_that_goes_and_comes_back_keeps_services_and_brings_what_changed() {
    let testbed = Testbed::new("dir");
    let directory = testbed.directory.path().join("objects");
    std::fs::create_dir(&directory).unwrap();
    write_objects(&directory);
    // What is no file, or cannot be read, is named and harms nothing.
    std::fs::create_dir(directory.join("folder.yaml")).unwrap();
    std::os::unix::fs::symlink("loop.yaml", directory.join("loop.yaml")).unwrap();
    std::fs::write(directory.join("latin.yaml"), b"a: \xe9").unwrap();
    let feed = format!("--feed-dir={}", directory.display());
    let _proxy = testbed.start_with(&[&feed]);
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    let aside = testbed.directory.path().join("aside");
    std::fs::rename(&directory, &aside).unwrap();
    until("the directory to be missed", || {
        if testbed.log().contains("is gone; its objects stay") { Ok(()) } else { Err(testbed.log()) }
    });
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    write_endpoints(&aside, &["two"]);
    std::fs::rename(&aside, &directory).unwrap();
    testbed.until_answered_by(CLUSTER_IP, &["two"]);
    // Gone for good, and made again.
    std::fs::remove_dir_all(&directory).unwrap();
    testbed.until_answered_by(CLUSTER_IP, &["two"]);
    std::fs::create_dir(&directory).unwrap();
    write_objects(&directory);
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    let log = testbed.log();
    for named in ["loop.yaml", "latin.yaml"] {
        assert!(log.contains(named), "{named:?} is not in\n{log}");
    }
}

#[test]
fn a_pass_that_waits_for_a_lock_keeps_neither_health_nor_the_end_waiting() {
    let testbed = Testbed::new("lock");
    run(testbed.node.command("iptables-legacy").args(["-w", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT"]));
    run(testbed.node.command("ip6tables-legacy").args(["-w", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT"]));
    // Its own: that of the machine is everybody's.
    let lock = testbed.directory.path().join("xtables.lock");
    let mut command = testbed.proxy(IPTABLES);
    command.env("XTABLES_LOCKFILE", &lock);
    let proxy = testbed.start_command(command);
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    let mut holder =
        Command::new("flock").arg("--no-fork").arg(&lock).args(["sleep", "600"]).spawn().unwrap();
    until("the lock to be held", || {
        let free = Command::new("flock").arg("-n").arg(&lock).arg("true").status().unwrap().success();
        if free { Err("free".to_owned()) } else { Ok(()) }
    });
    testbed.endpoints(&["two"]);
    // The pass has begun where iptables-restore waits for the lock.
    until("a pass to wait", || {
        let waits = testbed.node.pids().unwrap().into_iter().any(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            name.contains("restore")
        });
        if waits { Ok(()) } else { Err("nobody".to_owned()) }
    });
    for (port, path) in [(10256, "/healthz"), (10256, "/livez"), (10249, "/readyz"), (10249, "/proxyMode")] {
        let (code, text) = super::daemon::get(&testbed, port, path);
        assert_eq!(code, 200, "{path}: {text}");
    }
    assert_eq!(proxy.end(Signal::SIGTERM), Some(0));
    assert!(holder.try_wait().unwrap().is_none(), "it ends while the lock is still held");
    holder.kill().unwrap();
    holder.wait().unwrap();
    // What was left is made good.
    let _proxy = testbed.start_with(IPTABLES);
    testbed.until_answered_by(CLUSTER_IP, &["two"]);
    until_whole(&testbed, IPTABLES);
}
