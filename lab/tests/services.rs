//! The services of a lab: every pod and every node reaches them, in every mode; what the user adds is served too.
//! Needs root, etcd, nft, iptables, and the `weft` that `cargo build -p weft` makes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use host::programs::wait_for;
use lab::asking::{Asked, FrontendKind};
use lab::flanneld::Binary;
use lab::services::{NODE_PORT, PORT};
use lab::spec::Backend;
use lab::{FlanneldOptions, LabError, ProxyOptions, ScratchLab, Signal, Spec};

const LIMIT: Duration = Duration::from_secs(90);

fn weft() -> PathBuf {
    Binary::beside_test().and_then(|binary| binary.program()).unwrap()
}

fn spec(prefix: &str, mode: &str) -> Spec {
    let binary = Binary::beside_test().unwrap();
    let proxy = ProxyOptions { binary: binary.clone(), ..ProxyOptions::mode(mode.parse().unwrap()) };
    Spec {
        nodes: 2,
        pods: 2,
        backend: Backend::Vxlan,
        flanneld: Some(FlanneldOptions { binary, ..FlanneldOptions::default() }),
        proxy: Some(proxy),
        ..ScratchLab::spec(prefix).unwrap()
    }
}

/// `weft lab ...` for a lab of a test.
fn tool(lab: &ScratchLab, words: &[&str]) -> Output {
    let (command, rest) = words.split_first().unwrap();
    let name = format!("--name={}", lab.spec().name);
    Command::new(weft()).arg("lab").arg(command).arg(name).args(rest).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Everybody has asked at every frontend and had an answer, and every pod has given some.
fn is_reached_from_everywhere(lab: &ScratchLab) {
    let results = lab.check_services_within(LIMIT).unwrap();
    let failed: Vec<&Asked> = results.iter().filter(|asked| !asked.passed()).collect();
    assert!(failed.is_empty(), "{failed:?}\n{}", lab::asking::render(lab, &results));
    let families = if lab.spec().ipv6 { 2 } else { 1 };
    for kind in [FrontendKind::ClusterIp, FrontendKind::NodePort] {
        let frontends = if kind == FrontendKind::ClusterIp { 1 } else { lab.nodes().len() };
        for from in lab.pods().map(|pod| pod.name()).chain(lab.nodes().iter().map(|node| node.name())) {
            let here = results.iter().filter(|asked| asked.from == from && asked.frontend.kind == kind);
            assert_eq!(here.count(), frontends * 2 * families, "TCP and UDP at every {kind:?} from {from}");
        }
    }
    let answered: BTreeSet<&str> =
        results.iter().flat_map(|asked| asked.answers.keys()).map(String::as_str).collect();
    assert_eq!(answered, lab.pods().map(|pod| pod.name()).collect::<BTreeSet<_>>());
}

/// In this mode and in no other.
fn tables(lab: &ScratchLab, node: &str) -> (bool, bool) {
    let rules = lab.node(node).run(["nft", "list", "ruleset"]).unwrap();
    let legacy = lab.node(node).run(["iptables-legacy-save"]).unwrap();
    (
        rules.contains("table ip weft-proxy"),
        rules.contains("KUBE-SERVICES") || legacy.contains("KUBE-SERVICES"),
    )
}

#[test]
fn every_pod_and_node_reaches_the_service_in_nftables_mode() {
    let lab = ScratchLab::up(&Spec { nodes: 3, ..spec("svcnft", "nftables") }).unwrap();
    is_reached_from_everywhere(&lab);
    assert_eq!(tables(&lab, "n1"), (true, false));
    let said = tool(&lab, &["check"]);
    assert!(said.status.success(), "{}", text(&said));
    assert!(
        text(&said).contains("lab/web: 144 answers by its ClusterIP and 108 by node ports"),
        "{}",
        text(&said)
    );

    // What the tools say is what the proxies do.
    let feed = lab.services().unwrap().directory().display().to_string();
    let around =
        [format!("--feed-dir={feed}"), "--node=n1".to_owned(), "--cluster-cidr=10.244.0.0/16".to_owned()];
    let around: Vec<&str> = around.iter().map(String::as_str).collect();
    let diff = tool(&lab, &[&["exec", "n1", "--", "weft", "proxy", "diff"], &around[..]].concat());
    assert_eq!((diff.status.code(), text(&diff)), (Some(0), String::new()));
    lab.node("n1").run(["nft", "flush", "chain", "ip", "weft-proxy", "filter-forward"]).unwrap();
    is_reached_from_everywhere(&lab);

    let json = tool(&lab, &["check", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["services"].as_array().unwrap().len(), (6 + 3) * 2 * (1 + 3));
}

#[test]
fn every_pod_and_node_reaches_the_service_in_iptables_mode_and_by_ipv6() {
    let mut spec = Spec { ipv6: true, ..spec("svcipt", "iptables") };
    // A flag behind the lab's own is passed on.
    spec.proxy = spec.proxy.map(|proxy| proxy.arg("-v=2"));
    let lab = ScratchLab::up(&spec).unwrap();
    is_reached_from_everywhere(&lab);
    assert_eq!(tables(&lab, "n2"), (false, true));
    let status = lab::status::observe(&lab).unwrap();
    assert!(status.nodes.iter().all(|node| node.proxy.as_ref().unwrap().mode == "iptables"), "{status:?}");
    assert!(lab.node("n1").proxy().log().contains("DEBUG"), "-v=2");
}

#[test]
fn a_lab_without_proxies_says_nothing_of_services() {
    let lab = ScratchLab::up(&Spec { proxy: None, pods: 1, ..spec("svcnone", "nftables") }).unwrap();
    assert!(lab.services().is_none());
    assert_eq!(lab.check_services().unwrap(), []);
    assert_eq!(tables(&lab, "n1"), (false, false));
    let (check, status) = (tool(&lab, &["check"]), tool(&lab, &["status"]));
    assert!(check.status.success(), "{}", text(&check));
    for said in [text(&check), text(&status)] {
        assert!(!said.contains("lab/web") && !said.contains("PROXY"), "{said}");
    }
    assert!(!lab::State::of(&lab.spec().name).services().exists());
}

#[test]
fn status_shows_a_proxy_that_was_killed_and_services_go_on() {
    let lab = ScratchLab::up(&spec("svckill", "nftables")).unwrap();
    let before = text(&tool(&lab, &["status"]));
    for part in [
        "PROXY",
        "nftables (",
        "lab/web  10.96.0.10  80:30080/tcp,80:30080/udp",
        "services come from /run/weft/lab/",
    ] {
        assert!(before.contains(part), "{part} is missing in\n{before}");
    }
    assert!(!before.contains("down"), "{before}");

    lab.node("n1").stop_proxy(Signal::SIGKILL).unwrap();
    let status = lab::status::observe(&lab).unwrap();
    let proxies: Vec<_> = status.nodes.iter().map(|node| node.proxy.clone().unwrap()).collect();
    assert_eq!((proxies[0].pid, proxies[0].ready, proxies[0].healthz), (None, false, None));
    assert_eq!((proxies[1].ready, proxies[1].healthz), (true, Some(200)));
    assert!(proxies[1].pid.is_some());
    let after = text(&tool(&lab, &["status"]));
    assert!(after.contains("n1    nftables (ended)  down"), "{after}");
    is_reached_from_everywhere(&lab);

    lab.node("n1").start_proxy(lab.spec().proxy.as_ref().unwrap()).unwrap();
    lab.node("n1").wait_proxy_ready(Instant::now() + LIMIT).unwrap();
    assert!(lab::status::observe(&lab).unwrap().nodes.iter().all(|node| node.proxy.as_ref().unwrap().ready));
    // And when nobody answers any more, it is said whom to ask.
    lab.services().unwrap().answers().stop(Signal::SIGKILL).unwrap();
    let check = tool(&lab, &["check"]);
    assert_eq!(check.status.code(), Some(1));
    let said = text(&check);
    for part in [
        "lab/web: 36 of 36 ways to it fail",
        "n1-p1 -> 10.96.0.10:80/tcp (ClusterIP): refused",
        " explain --feed-dir=/run/weft/lab/",
        " -- weft proxy diff --feed-dir=",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert!(text(&tool(&lab, &["status"])).contains("the process that answers in the pods has ended"));
}

#[test]
fn a_service_of_the_users_own_is_served_from_its_file() {
    let lab = ScratchLab::up(&spec("svcown", "nftables")).unwrap();
    let pod = lab.pod("n2-p1");
    let address = lab.node("n2").pod_addresses(pod).unwrap()[0];
    let directory = lab.services().unwrap().directory();
    let mine = format!(
        "\
apiVersion: v1
kind: Service
metadata: {{namespace: mine, name: one}}
spec:
  type: NodePort
  clusterIP: 10.96.7.7
  clusterIPs: [10.96.7.7]
  ports: [{{name: http, port: 8000, protocol: TCP, nodePort: 30777}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{namespace: mine, name: one-1, labels: {{kubernetes.io/service-name: one}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [\"{address}\"], nodeName: n2, conditions: {{ready: true}}}}]
"
    );
    fs::write(directory.join("mine.yaml"), mine).unwrap();
    fs::write(directory.join("broken.yaml"), "kind: [").unwrap();
    let deadline = Instant::now() + LIMIT;
    for (from, target) in
        [("n1-p1", "10.96.7.7:8000".to_owned()), ("n1", format!("{}:30777", lab.node("n2").underlay()))]
    {
        let answer = wait_for(deadline, || {
            let said = tool(&lab, &["ask", "-n", "3", from, &target]);
            Ok::<_, LabError>(said.status.success().then(|| text(&said)))
        });
        let said =
            answer.unwrap().unwrap_or_else(|| panic!("{}", text(&tool(&lab, &["ask", from, &target]))));
        assert!(said.contains("3 times") && said.contains("n2-p1"), "{said}");
    }
    let status = text(&tool(&lab, &["status"]));
    assert!(status.contains("mine/one  10.96.7.7   8000:30777/tcp"), "{status}");
    assert!(status.contains("left out: ") && status.contains("broken.yaml"), "{status}");

    fs::remove_file(directory.join("mine.yaml")).unwrap();
    let gone = wait_for(deadline, || {
        let said = tool(&lab, &["ask", "-n", "1", "n1-p1", "10.96.7.7:8000"]);
        Ok::<_, LabError>((said.status.code() == Some(1)).then(|| text(&said)))
    });
    let said = gone.unwrap().expect("it is not served any more");
    assert!(said.contains("no answer, 1 time") && said.contains(" explain "), "{said}");
    is_reached_from_everywhere(&lab);
    // The lab's own file is the user's to remove.
    fs::remove_file(directory.join("web.yaml")).unwrap();
    let check = tool(&lab, &["check"]);
    assert!(check.status.success() && text(&check).contains("web.yaml is gone"), "{}", text(&check));
}

#[test]
fn twenty_nodes_come_up_with_their_proxies() {
    let spec = Spec { nodes: 20, ..spec("svcbig", "nftables") };
    let lab = ScratchLab::up(&spec).unwrap();
    let results = lab.check_services_within(LIMIT).unwrap();
    let failed: Vec<&Asked> = results.iter().filter(|asked| !asked.passed()).collect();
    assert!(failed.is_empty(), "{} of {}, {:?}", failed.len(), results.len(), failed.first());
    assert_eq!(results.len(), (40 + 20) * 2 * (1 + 20));
    let (address, port) = (lab::services::cluster_ips(lab.spec())[0], (PORT, NODE_PORT));
    assert_eq!((address.to_string(), port), ("10.96.0.10".to_owned(), (80, 30080)));
    lab.down().unwrap();
    assert!(!lab::State::of(&spec.name).directory().exists());
}
