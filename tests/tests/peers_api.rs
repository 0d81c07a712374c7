//! The real programs over the real API server: `weft proxy`, and kube-proxy to compare with.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin), and etcd.

#[path = "peers_api/bed.rs"]
mod bed;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::Signal;
use lab::originals::{KubeProxy, Mode, READY_LIMIT, User};
use serde_json::json;

use bed::*;

/// The web service and its node.
fn world(pods: &[&str]) -> [serde_json::Value; 3] {
    [node("here"), service("web", CLUSTER_IP), slice("web", pods)]
}

const WEB: &str = "10.96.0.10:80";

#[test]
fn a_proxy_started_before_the_api_server_waits_and_deletes_nothing() {
    let bed = Bed::new("cold");
    bed.apply(&world(&["one"]));
    let proxy = bed.start(&[]);
    proxy.until_ready();
    bed.until_answered_by(WEB, Ok("one"));
    assert_eq!(proxy.end(Signal::SIGTERM), Some(0));
    bed.plane.stop_server(Signal::SIGKILL).unwrap();
    let proxy = bed.start(&[]);
    proxy.until_said("cannot reach the API server https://192.168.7.1");
    assert_eq!(proxy.get(10249, "/readyz").unwrap().0, 503);
    // What the last one wrote serves on, and nobody asked for more.
    bed.until_answered_by(WEB, Ok("one"));
    assert_eq!(proxy.log().matches("cannot reach the API server").count(), 4, "once for each kind");
    bed.serve();
    proxy.until_ready();
    proxy.until_said("the API server answers again");
    bed.apply(&[slice("web", &["two"])]);
    bed.until_answered_by(WEB, Ok("two"));
}

#[test]
fn services_go_on_without_the_api_server_and_follow_it_when_it_is_back() {
    let mut bed = Bed::new("away");
    bed.apply(&world(&["one"]));
    // More changes than the next etcd will have: its versions are lower.
    for _ in 0..50 {
        bed.apply(&[slice("web", &["two"]), slice("web", &["one"])]);
    }
    let proxy = bed.start(&[]);
    proxy.until_ready();
    bed.until_answered_by(WEB, Ok("one"));

    // Away, and back to other objects in the same etcd.
    bed.plane.stop_server(Signal::SIGKILL).unwrap();
    let back = bed.plane.back_door().unwrap();
    back.api(User::Admin).unwrap().apply(&slice("web", &["two"])).unwrap();
    bed.until_answered_by(WEB, Ok("one"));
    soon(&bed, "two", "after a change while it was away");

    // Away for longer than etcd remembers.
    bed.plane.stop_server(Signal::SIGKILL).unwrap();
    for pods in [&["two"][..], &[], &["one"]] {
        back.api(User::Admin).unwrap().apply(&slice("web", pods)).unwrap();
    }
    bed.plane.compact().unwrap();
    drop(back);
    bed.until_answered_by(WEB, Ok("two"));
    soon(&bed, "one", "after a compaction");

    // Another etcd altogether. The service is another object of the same name, at another address.
    bed.plane.stop_server(Signal::SIGKILL).unwrap();
    bed.plane.new_etcd().unwrap();
    let other = service("web", "10.96.0.20");
    bed.plane.load(&[node("here"), other, slice("web", &["two"])]).unwrap();
    bed.until_answered_by(WEB, Ok("one"));
    bed.serve();
    let began = Instant::now();
    bed.until_answered_by("10.96.0.20:80", Ok("two"));
    within(began, "after a change of etcd");
    // An address of the range that is nobody's: dropped.
    bed.until_answered_by(WEB, Err("timed out"));
    drop(proxy);
}

/// kube-proxy takes 12 to 61 s. Measured on a quiet machine: well below a second.
const SOON: Duration = Duration::from_secs(5);

fn soon(bed: &Bed, pod: &str, when: &str) {
    bed.serve();
    let began = Instant::now();
    bed.until_answered_by(WEB, Ok(pod));
    within(began, when);
}

fn within(began: Instant, when: &str) {
    println!("{when}: in the kernel {:?} after the server was ready", began.elapsed());
    assert!(began.elapsed() < SOON, "{when}: {:?}", began.elapsed());
}

#[test]
fn a_malformed_object_from_the_api_is_left_out_and_the_others_are_served() {
    let bed = Bed::new("bad");
    bed.apply(&world(&["one"]));
    bed.plane.load(&[service("before", "10.96.0.300")]).unwrap();
    let proxy = bed.start(&[]);
    proxy.until_ready();
    proxy.until_said("default/before");
    bed.until_answered_by(WEB, Ok("one"));
    bed.plane.load(&[service("after", "10.96.0.301")]).unwrap();
    proxy.until_said("default/after");
    bed.apply(&[service("good", "10.96.0.30"), slice("good", &["two"])]);
    bed.until_answered_by("10.96.0.30:80", Ok("two"));
    // Those whom RBAC gave nothing more have all that is needed.
    assert!(!proxy.log().contains("403"), "{}", proxy.log());
}

#[test]
fn explain_and_diff_ask_the_api_server() {
    let bed = Bed::new("tools");
    bed.apply(&world(&["one"]));
    let found = bed.tool(&["explain", "-o", "json", "10.244.1.7 -> 10.96.0.10:80/tcp"]);
    let text = String::from_utf8_lossy(&found.stdout);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{found:?}"));
    assert_eq!(
        (&answer["verdict"], &answer["endpoints"]),
        (&json!("deliver"), &json!(["192.168.7.11:8080"]))
    );
    assert_eq!(bed.tool(&["proxy", "diff"]).status.code(), Some(1), "nothing is there yet");
    let proxy = bed.start(&[]);
    proxy.until_ready();
    let found = bed.tool(&["proxy", "diff"]);
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    bed.run(&["nft", "flush", "map", "ip", "weft-proxy", "services"]);
    bed.until_answered_by(WEB, Ok("one"));
    drop(proxy);
    bed.run(&["nft", "flush", "map", "ip", "weft-proxy", "services"]);
    let found = bed.tool(&["proxy", "diff"]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    assert!(String::from_utf8_lossy(&found.stdout).contains("10.96.0.10"), "{found:?}");
}

#[test]
fn the_node_object_decides_about_health_and_hints() {
    let bed = Bed::new("node");
    let mut hints = slice("web", &["one", "two"]);
    for (nth, zone) in ["a", "b"].into_iter().enumerate() {
        hints["endpoints"][nth]["hints"] = json!({"forZones": [{"name": zone}]});
        hints["endpoints"][nth]["zone"] = json!(zone);
    }
    let [_, web, _] = world(&[]);
    bed.apply(&[web, hints]);
    let proxy = bed.start(&[]);
    proxy.until_ready();
    let health = |code: u16, why: &str| {
        let look = || (bed.get(10256, "/healthz").ok()?.0 == code).then_some(());
        tests::wait::until_explained(why, DEADLINE, look, || format!("{:?}", bed.get(10256, "/healthz")));
        assert_eq!(bed.get(10256, "/livez").unwrap().0, 200, "the proxy itself is well");
    };
    health(503, "there is no such node");
    let here = node("here");
    bed.apply(std::slice::from_ref(&here));
    health(200, "the node is there");
    let admin = bed.admin();
    for (zone, pod) in [("a", "one"), ("b", "two")] {
        admin.merge(&here, &json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}})).unwrap();
        bed.until_answered_by(WEB, Ok(pod));
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
    bed.until_answered_by(WEB, Ok("two"));
}

#[test]
fn in_a_pod_the_service_account_is_enough_and_a_new_token_is_read() {
    let bed = Bed::new("pod");
    bed.apply(&world(&["one"]));
    let account = bed.plane.directory().join("account");
    fs::create_dir(&account).unwrap();
    fs::copy(bed.plane.authority(), account.join("ca.crt")).unwrap();
    fs::write(account.join("namespace"), "kube-system").unwrap();
    let token = |text: &str| {
        // As the kubelet does it: never half a file.
        fs::write(account.join(".token"), text).unwrap();
        fs::rename(account.join(".token"), account.join("token")).unwrap();
    };
    token("one-that-nobody-knows");
    let script = "mount -t tmpfs tmpfs /run; place=/run/secrets/kubernetes.io/serviceaccount; mkdir -p $place
                  mount --bind \"$1\" $place; shift; exec \"$@\"";
    let mut command: Command = bed.node.command("unshare");
    command.args(["--mount", "sh", "-ec", script, "sh"]).arg(&account);
    let weft = bed.weft(&["proxy"]);
    command.arg(weft.get_program()).args(weft.get_args()).args(GENTLE);
    let address = bed.plane.address();
    command.env("KUBERNETES_SERVICE_HOST", address.ip().to_string());
    command.env("KUBERNETES_SERVICE_PORT", address.port().to_string());
    let proxy = Proxy::start(&bed, command);
    proxy.until_said("does not know these credentials (401 Unauthorized)");
    token(User::Proxy.token());
    proxy.until_ready();
    bed.until_answered_by(WEB, Ok("one"));
    // The server takes another one from now on.
    bed.plane.stop_server(Signal::SIGKILL).unwrap();
    let tokens = bed.plane.directory().join("tokens.csv");
    let known = fs::read_to_string(&tokens).unwrap();
    fs::write(&tokens, known.replace(User::Proxy.token(), "rotated")).unwrap();
    bed.serve();
    token("rotated");
    bed.apply(&[slice("web", &["two"])]);
    bed.until_answered_by(WEB, Ok("two"));
}

#[test]
fn master_is_asked_in_the_place_of_the_kubeconfigs_server() {
    let bed = Bed::new("master");
    bed.apply(&world(&["one"]));
    let text = fs::read_to_string(bed.plane.kubeconfig(User::Proxy)).unwrap();
    let elsewhere = bed.plane.directory().join("elsewhere");
    let address = format!("https://{}", bed.plane.address());
    fs::write(&elsewhere, text.replace(&address, "https://192.168.7.1:1")).unwrap();
    let kubeconfig = format!("--kubeconfig={}", elsewhere.display());
    let proxy = bed.start(&[&kubeconfig, &format!("--master={address}")]);
    proxy.until_ready();
    bed.until_answered_by(WEB, Ok("one"));
}

#[test]
fn kube_proxy_runs_over_the_same_control_plane_in_both_modes() {
    let bed = Bed::new("orig");
    bed.plane.admin().unwrap().apply(&node("here")).unwrap();
    let kubeconfig = bed.plane.kubeconfig(User::Proxy);
    let flags = ["--hostname-override=here", "--cluster-cidr=10.244.0.0/16"];
    for mode in [Mode::Iptables, Mode::Nftables] {
        let proxy = KubeProxy::start(&bed.node, mode, &kubeconfig, &flags).unwrap();
        proxy.wait_ready(READY_LIMIT).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(proxy.get(10249, "/proxyMode").unwrap(), (200, mode.to_string()));
        let has_rules = |what: &str| {
            let rules = bed.run(&["sh", "-c", "iptables-save; nft list ruleset"]);
            assert!(rules.contains(what), "{rules}");
        };
        has_rules(match mode {
            Mode::Iptables => "KUBE-SERVICES",
            Mode::Nftables => "table ip kube-proxy",
        });
        proxy.stop(Signal::SIGTERM).unwrap();
    }
    KubeProxy::cleanup(&bed.node).unwrap();
    assert!(!bed.run(&["nft", "list", "tables"]).contains("kube-proxy"));
}
