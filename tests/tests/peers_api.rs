//! The real programs over the real API server: `weft proxy`, and kube-proxy to compare with.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin), and etcd.

#[path = "peers_api/metrics.rs"]
mod metrics;
#[path = "peers_api/testbed.rs"]
mod testbed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Instant;

use lab::Signal;
use originals::{KubeProxy, Mode, READY_LIMIT, User};
use proxy::options;
use serde_json::{Value, json};

use testbed::*;

/// The web service and its node.
fn world(pods: &[&str]) -> [Value; 3] {
    [node("here"), service("web", CLUSTER_IP), slice("web", pods)]
}

const WEB: &str = "10.96.0.10:80";

#[test]
fn a_proxy_started_before_the_api_server_waits_and_deletes_nothing() {
    let testbed = Testbed::new("cold");
    testbed.apply(&world(&["one"]));
    let proxy = testbed.start(&[]);
    proxy.until_ready();
    testbed.until_answered_by(WEB, Ok("one"));
    assert_eq!(proxy.end(Signal::SIGTERM), Some(0));
    testbed.control_plane.stop_server(Signal::SIGKILL).unwrap();
    let proxy = testbed.start(&[]);
    proxy.until_said("cannot reach the API server https://192.168.7.1");
    assert_eq!(proxy.get(10249, "/readyz").unwrap().0, 503);
    // What the last one wrote serves on, and nobody asked for more.
    testbed.until_answered_by(WEB, Ok("one"));
    assert_eq!(proxy.log().matches("cannot reach the API server").count(), 4, "once for each kind");
    testbed.serve();
    proxy.until_ready();
    proxy.until_said("the API server answers again");
    testbed.apply(&[slice("web", &["two"])]);
    testbed.until_answered_by(WEB, Ok("two"));
}

#[test]
fn services_go_on_without_the_api_server_and_follow_it_when_it_is_back() {
    let mut testbed = Testbed::new("away");
    testbed.apply(&world(&["one"]));
    // More changes than the next etcd will have: its versions are lower.
    for _ in 0..50 {
        testbed.apply(&[slice("web", &["two"]), slice("web", &["one"])]);
    }
    let proxy = testbed.start(&[]);
    proxy.until_ready();
    testbed.until_answered_by(WEB, Ok("one"));

    // Away, and back to other objects in the same etcd.
    testbed.control_plane.stop_server(Signal::SIGKILL).unwrap();
    let back = testbed.control_plane.back_door().unwrap();
    back.api(User::Admin).unwrap().apply(&slice("web", &["two"])).unwrap();
    testbed.until_answered_by(WEB, Ok("one"));
    soon(&testbed, "two", "after a change while it was away");

    // Away for longer than etcd remembers.
    testbed.control_plane.stop_server(Signal::SIGKILL).unwrap();
    for pods in [&["two"][..], &[], &["one"]] {
        back.api(User::Admin).unwrap().apply(&slice("web", pods)).unwrap();
    }
    testbed.control_plane.compact().unwrap();
    drop(back);
    testbed.until_answered_by(WEB, Ok("two"));
    soon(&testbed, "one", "after a compaction");

    // Another etcd altogether. The service is another object of the same name, at another address.
    testbed.control_plane.stop_server(Signal::SIGKILL).unwrap();
    testbed.control_plane.new_etcd().unwrap();
    let other = service("web", "10.96.0.20");
    testbed.control_plane.load(&[node("here"), other, slice("web", &["two"])]).unwrap();
    testbed.until_answered_by(WEB, Ok("one"));
    testbed.serve();
    let began = Instant::now();
    testbed.until_answered_by("10.96.0.20:80", Ok("two"));
    within(began, "after a change of etcd");
    // An address of the range that is nobody's: dropped.
    testbed.until_answered_by(WEB, Err("timed out"));
    drop(proxy);
}

fn soon(testbed: &Testbed, pod: &str, when: &str) {
    testbed.serve();
    let began = Instant::now();
    testbed.until_answered_by(WEB, Ok(pod));
    within(began, when);
}

fn within(began: Instant, when: &str) {
    println!("{when}: in the kernel {:?} after the server was ready", began.elapsed());
}

#[test]
fn a_malformed_object_from_the_api_is_left_out_and_the_others_are_served() {
    let testbed = Testbed::new("bad");
    testbed.apply(&world(&["one"]));
    testbed.control_plane.load(&[service("before", "10.96.0.300")]).unwrap();
    let proxy = testbed.start(&[]);
    proxy.until_ready();
    proxy.until_said("default/before");
    testbed.until_answered_by(WEB, Ok("one"));
    testbed.control_plane.load(&[service("after", "10.96.0.301")]).unwrap();
    proxy.until_said("default/after");
    testbed.apply(&[service("good", "10.96.0.30"), slice("good", &["two"])]);
    testbed.until_answered_by("10.96.0.30:80", Ok("two"));
    // Those whom RBAC gave nothing more have all that is needed.
    assert!(!proxy.log().contains("403"), "{}", proxy.log());
}

#[test]
fn explain_and_diff_ask_the_api_server() {
    let testbed = Testbed::new("tools");
    testbed.apply(&world(&["one"]));
    let found = testbed.tool(&["explain", "-o", "json", "10.244.1.7 -> 10.96.0.10:80/tcp"]);
    let text = String::from_utf8_lossy(&found.stdout);
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{found:?}"));
    assert_eq!(
        (&answer["verdict"], &answer["endpoints"]),
        (&json!("deliver"), &json!(["192.168.7.11:8080"]))
    );
    assert_eq!(testbed.tool(&["proxy", "diff"]).status.code(), Some(1), "nothing is there yet");
    let proxy = testbed.start(&[]);
    proxy.until_ready();
    let found = testbed.tool(&["proxy", "diff"]);
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    testbed.run(&["nft", "flush", "map", "ip", "weft-proxy", "services"]);
    testbed.until_answered_by(WEB, Ok("one"));
    drop(proxy);
    testbed.run(&["nft", "flush", "map", "ip", "weft-proxy", "services"]);
    let found = testbed.tool(&["proxy", "diff"]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    assert!(String::from_utf8_lossy(&found.stdout).contains("10.96.0.10"), "{found:?}");
}

#[test]
fn the_node_object_decides_about_health_and_hints() {
    let testbed = Testbed::new("node");
    let mut hints = slice("web", &["one", "two"]);
    for (nth, zone) in ["a", "b"].into_iter().enumerate() {
        hints["endpoints"][nth]["hints"] = json!({"forZones": [{"name": zone}]});
        hints["endpoints"][nth]["zone"] = json!(zone);
    }
    let [_, web, _] = world(&[]);
    testbed.apply(&[web, hints]);
    let proxy = testbed.start(&[]);
    proxy.until_ready();
    let health = |code: u16, why: &str| {
        let look = || (testbed.get(10256, "/healthz").ok()?.0 == code).then_some(());
        tests::wait::until_explained(why, DEADLINE, look, || format!("{:?}", testbed.get(10256, "/healthz")));
        assert_eq!(testbed.get(10256, "/livez").unwrap().0, 200, "the proxy itself is well");
    };
    health(200, "no Node has said otherwise, as with kube-proxy");
    let here = node("here");
    testbed.apply(std::slice::from_ref(&here));
    health(200, "the node is there");
    let admin = testbed.admin();
    for (zone, pod) in [("a", "one"), ("b", "two")] {
        admin.merge(&here, &json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}})).unwrap();
        testbed.until_answered_by(WEB, Ok(pod));
    }
    let taint = json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]);
    admin.merge(&here, &json!({"spec": {"taints": taint}})).unwrap();
    health(503, "the autoscaler is about to delete it");
    admin.merge(&here, &json!({"spec": {"taints": null}})).unwrap();
    health(200, "it has thought better of it");
    // What others wait for keeps a deleted object there for a while.
    admin.merge(&here, &json!({"metadata": {"finalizers": ["example.com/lab"]}})).unwrap();
    admin.delete(&here).unwrap();
    health(503, "it is being deleted");
    admin.merge(&here, &json!({"metadata": {"finalizers": null}})).unwrap();
    health(503, "it is gone");
    testbed.until_answered_by(WEB, Ok("two"));
}

#[test]
fn in_a_pod_the_service_account_is_enough_and_a_new_token_is_read() {
    let testbed = Testbed::new("pod");
    testbed.apply(&world(&["one"]));
    let account = testbed.control_plane.directory().join("account");
    fs::create_dir(&account).unwrap();
    fs::copy(testbed.control_plane.authority(), account.join("ca.crt")).unwrap();
    fs::write(account.join("namespace"), "kube-system").unwrap();
    let token = |text: &str| {
        // As the kubelet does it: never half a file.
        fs::write(account.join(".token"), text).unwrap();
        fs::rename(account.join(".token"), account.join("token")).unwrap();
    };
    token("one-that-nobody-knows");
    let script = "mount -t tmpfs tmpfs /run; place=/run/secrets/kubernetes.io/serviceaccount; mkdir -p $place
                  mount --bind \"$1\" $place; shift; exec \"$@\"";
    let mut command: Command = testbed.node.command("unshare");
    command.args(["--mount", "sh", "-ec", script, "sh"]).arg(&account);
    let weft = testbed.weft(&["proxy"]);
    command.arg(weft.get_program()).args(weft.get_args()).args(GENTLE);
    let address = testbed.control_plane.address();
    command.env("KUBERNETES_SERVICE_HOST", address.ip().to_string());
    command.env("KUBERNETES_SERVICE_PORT", address.port().to_string());
    let proxy = Proxy::start(&testbed, command);
    proxy.until_said("does not know these credentials (401 Unauthorized)");
    token(User::Proxy.token());
    proxy.until_ready();
    testbed.until_answered_by(WEB, Ok("one"));
    // The server takes another one from now on.
    testbed.control_plane.stop_server(Signal::SIGKILL).unwrap();
    let tokens = testbed.control_plane.directory().join("tokens.csv");
    let known = fs::read_to_string(&tokens).unwrap();
    fs::write(&tokens, known.replace(User::Proxy.token(), "rotated")).unwrap();
    testbed.serve();
    token("rotated");
    testbed.apply(&[slice("web", &["two"])]);
    testbed.until_answered_by(WEB, Ok("two"));
}

#[test]
fn master_is_asked_in_the_place_of_the_kubeconfigs_server() {
    let testbed = Testbed::new("master");
    testbed.apply(&world(&["one"]));
    let text = fs::read_to_string(testbed.control_plane.kubeconfig(User::Proxy)).unwrap();
    let elsewhere = testbed.control_plane.directory().join("elsewhere");
    let address = format!("https://{}", testbed.control_plane.address());
    fs::write(&elsewhere, text.replace(&address, "https://192.168.7.1:1")).unwrap();
    let kubeconfig = format!("--kubeconfig={}", elsewhere.display());
    let proxy = testbed.start(&[&kubeconfig, &format!("--master={address}")]);
    proxy.until_ready();
    testbed.until_answered_by(WEB, Ok("one"));
}

#[test]
fn kube_proxy_runs_over_the_same_control_plane_in_both_modes() {
    let testbed = Testbed::new("orig");
    testbed.control_plane.admin().unwrap().apply(&node("here")).unwrap();
    let kubeconfig = testbed.control_plane.kubeconfig(User::Proxy);
    let flags = ["--hostname-override=here", "--cluster-cidr=10.244.0.0/16"];
    for mode in [Mode::Iptables, Mode::Nftables] {
        let proxy = KubeProxy::start(&testbed.node, mode, &kubeconfig, &flags).unwrap();
        proxy.wait_ready(READY_LIMIT).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(proxy.get(10249, "/proxyMode").unwrap(), (200, mode.to_string()));
        let has_rules = |what: &str| {
            let rules = testbed.run(&["sh", "-c", "iptables-save; nft list ruleset"]);
            assert!(rules.contains(what), "{rules}");
        };
        has_rules(match mode {
            Mode::Iptables => "KUBE-SERVICES",
            Mode::Nftables => "table ip kube-proxy",
        });
        proxy.stop(Signal::SIGTERM).unwrap();
    }
    KubeProxy::cleanup(&testbed.node).unwrap();
    assert!(!testbed.run(&["nft", "list", "tables"]).contains("kube-proxy"));
}

/// Every name of a JSON document, with points between, without what maps of users hold.
fn names(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Value::Object(fields) = value {
        for (name, value) in fields {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            names(value, &path, found);
            found.insert(path);
        }
    }
}

fn names_of(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    names(&value, "", &mut found);
    found
}

#[test]
fn probes_and_configuration_are_answered_with_kube_proxys_keys() {
    let testbed = Testbed::new("keys");
    testbed.apply(&world(&["one"]));
    let kubeconfig = testbed.control_plane.kubeconfig(User::Proxy);
    let flags = ["--hostname-override=here", "--cluster-cidr=10.244.0.0/16"];
    let original = KubeProxy::start(&testbed.node, Mode::Nftables, &kubeconfig, &flags).unwrap();
    original.wait_ready(READY_LIMIT).unwrap_or_else(|error| panic!("{error}"));
    let ask = || {
        let pages = [
            (10256, "/healthz"),
            (10256, "/livez"),
            (10249, "/configz"),
            (10249, "/proxyMode"),
            (10249, "/healthz"),
        ];
        pages.map(|(port, path)| (path, testbed.get(port, path).unwrap()))
    };
    let theirs = ask();
    original.stop(Signal::SIGTERM).unwrap();
    let proxy = testbed.start(&[]);
    proxy.until_ready();
    // A process that has just ended may have the port for a moment.
    let answers = || testbed.get(10256, "/livez").ok();
    tests::wait::until_explained("the probes to be answered", DEADLINE, answers, String::new);
    for ((path, theirs), (_, ours)) in theirs.into_iter().zip(ask()) {
        assert_eq!(theirs.0, ours.0, "{path}");
        if theirs.1.starts_with('{') {
            let (theirs, ours) = (names_of(&theirs.1), names_of(&ours.1));
            let missing: Vec<_> = theirs.difference(&ours).collect();
            assert!(missing.is_empty(), "{path}: {missing:?}");
            let more: Vec<_> =
                ours.difference(&theirs).map(|name| name.rsplit('.').next().unwrap()).collect();
            // Theirs leaves these out where they are empty.
            let left_out = ["featureGates", "splitStream", "splitStream", "vmodule", "windowsRunAsService"];
            assert!(more.is_empty() || path == "/configz" && more == left_out, "{path}: {more:?}");
        } else {
            assert_eq!(theirs.1, ours.1, "{path}");
        }
    }
}

#[test]
fn every_flag_of_kube_proxy_is_known_with_its_default() {
    let help = run(Command::new(originals::program("kube-proxy").unwrap()).arg("--help"));
    let mut seen = 0;
    for line in help.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
        let words = line.trim_start_matches(|c: char| c == '-' && !line.starts_with("--"));
        let name = words.split_once("--").map_or(words, |(_, name)| name).split([' ', '[']).next().unwrap();
        if name == "help" {
            continue;
        }
        let flag = options::PROGRAM.flag(name).unwrap_or_else(|| panic!("--{name} is not known: {line}"));
        seen += 1;
        let default =
            line.rsplit_once("(default ").map(|(_, rest)| rest.trim_end_matches(')').trim_matches('"'));
        if let Some(default) = default {
            assert_eq!(options::PROGRAM.default_of(flag), default, "--{name}");
        }
        // What does nothing says so, once.
        let value = Some(options::PROGRAM.default_of(flag)).filter(|value| !value.is_empty()).unwrap_or("x");
        if options::PROGRAM.idle(flag).is_some() && flag.kind == options::Kind::Text {
            let given = options::resolve(&[format!("--{name}={value}-other")], &options::Fixture::named("n"))
                .unwrap();
            assert_eq!(given.without_effect().len(), 1, "--{name}: {:?}", given.without_effect());
        }
    }
    assert!(seen >= 50, "{seen} flags in:\n{help}");
}

#[test]
fn each_reads_the_configuration_file_that_the_other_writes() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (theirs, ours, again) = (file("theirs"), file("ours"), file("again"));
    let original = originals::program("kube-proxy").unwrap();
    run(Command::new(&original).arg(format!("--write-config-to={theirs}")));
    let read = |path: &str| {
        let options = options::resolve(&[format!("--config={path}")], &options::Machine);
        options.unwrap_or_else(|error| panic!("{error}\n{}", fs::read_to_string(path).unwrap()))
    };
    let read_theirs = read(&theirs);
    assert_eq!(read_theirs.without_effect(), Vec::<String>::new(), "their defaults are ours");
    // All fields that they write are fields of ours, and the other way round but for those that they leave out empty.
    let flags = [
        "--proxy-mode=iptables",
        "--cluster-cidr=10.244.0.0/16",
        "--masquerade-all",
        "--nodeport-addresses=10.0.0.0/8",
    ];
    run(Command::new(weft()).arg("proxy").arg(format!("--write-config-to={ours}")).args(flags));
    let read_ours = read(&ours);
    assert_eq!(read_ours.mode.as_str(), "iptables");
    run(Command::new(&original).args([format!("--config={ours}"), format!("--write-config-to={again}")]));
    let (read_again, mut differing) = (read(&again), Vec::new());
    for (one, other) in read_ours.settings.iter().zip(read_again.settings.iter()) {
        // They forget the sections of the modes that are not in use.
        if one.value != other.value && one.name != "config" && !one.name.starts_with("nftables.") {
            differing.push((one.name, one.value.clone(), other.value.clone()));
        }
    }
    assert_eq!(differing, [], "what we write means the same to them");
}

#[test]
fn a_health_check_port_that_cannot_be_opened_is_an_event_as_of_kube_proxy() {
    let testbed = Testbed::new("event");
    let mut near = service("near", "10.96.0.40");
    near["spec"]["type"] = json!("LoadBalancer");
    near["spec"]["externalTrafficPolicy"] = json!("Local");
    near["spec"]["healthCheckNodePort"] = json!(32100);
    testbed.apply(&[node("here"), near]);
    let _taken = testbed.node.run(|| TcpListener::bind("0.0.0.0:32100")).unwrap().unwrap();
    let admin = testbed.admin();
    let events = || {
        let path = "/apis/events.k8s.io/v1/namespaces/default/events";
        let list = admin.must("GET", path, None).unwrap();
        let mut found = BTreeMap::new();
        for event in list["items"].as_array().unwrap() {
            let parts =
                ["/reason", "/action", "/type", "/regarding/kind", "/regarding/name", "/reportingController"];
            let text =
                |part: &str| event.pointer(part).and_then(Value::as_str).unwrap_or_default().to_owned();
            found.insert(text("/reason"), parts.map(text));
            admin
                .must(
                    "DELETE",
                    &format!("{path}/{}", event.pointer("/metadata/name").unwrap().as_str().unwrap()),
                    None,
                )
                .unwrap();
        }
        found
    };
    let both = || {
        let mut found = BTreeMap::new();
        let look = || {
            found.extend(events());
            (found.len() == 2).then(|| found.clone())
        };
        tests::wait::until_explained("two kinds of events", DEADLINE, look, String::new)
    };
    let kubeconfig = testbed.control_plane.kubeconfig(User::Proxy);
    let original =
        KubeProxy::start(&testbed.node, Mode::Nftables, &kubeconfig, &["--hostname-override=here"]).unwrap();
    let theirs = both();
    original.stop(Signal::SIGTERM).unwrap();
    let _ = events();
    let proxy = testbed.start(&[]);
    assert_eq!(both(), theirs);
    assert!(
        theirs.contains_key("FailedToStartServiceHealthcheck") && theirs.contains_key("Starting"),
        "{theirs:?}"
    );
    proxy.until_said("default/near: cannot open its health-check node port");
}
