//! Real pods on `weft control`: containerd and the original kubelet on two nodes, our flanneld and our proxy.
//!
//! Needs root, control groups, etcd, containerd, runc, the CNI plugins, a static busybox, and `scripts/peers`.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};

use host::programs;
use tests::pods::{Cluster, Pod, nodes};

#[test]
fn kubelets_join_with_a_token_and_run_what_is_deployed() {
    let cluster = Cluster::up("pods");
    certificates_were_asked_for_and_given(&cluster);
    let (pods, service) = cluster.deploy_web();
    assert_eq!(nodes(&pods).into_iter().collect::<Vec<_>>(), ["n1", "n2"]);
    for machine in cluster.machines() {
        cluster.wait_answers(machine, service, &pods);
    }
    for pod in &pods {
        let script = format!("for i in $(seq 20); do wget -qO- http://{service}/ || exit; done");
        let said = cluster.must(&["exec", &pod.name, "--", "sh", "-c", &script]);
        assert_eq!(
            said.lines().filter(|line| pods.iter().any(|pod| pod.name == *line)).count(),
            20,
            "{said}"
        );
    }
    what_runs_can_be_reached(&cluster, &pods[0]);
    readiness_follows_the_probe(&cluster, &pods, service);
    usage_is_shown(&cluster, &pods);
    a_volume_holds_what_was_written(&cluster);
    cluster.delete_web(service);
}

fn certificates_were_asked_for_and_given(cluster: &Cluster) {
    let requests = cluster.get(&["certificatesigningrequests"]);
    let requests = requests["items"].as_array().expect("a list");
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request["spec"]["username"], "system:bootstrap:abcdef");
        assert_eq!(request["spec"]["signerName"], "kubernetes.io/kube-apiserver-client-kubelet");
        assert_eq!(request["status"]["conditions"][0]["type"], "Approved");
        assert!(request["status"]["certificate"].is_string(), "{request}");
    }
}

/// Logs, streams, an exit status and a port, through the API server to the kubelet.
fn what_runs_can_be_reached(cluster: &Cluster, pod: &Pod) {
    let begun = format!("{} begins", pod.name);
    assert_eq!(cluster.must(&["logs", &pod.name]).lines().next(), Some(&*begun));
    let script = ["exec", "--stdin", &pod.name, "--", "sh", "-c", "cat; echo error >&2; exit 7"];
    let output = cluster.kubectl(&script, "input\n");
    assert_eq!((&*output.stdout, output.status.code()), ("input\n", Some(7)), "{}", output.stderr);
    assert!(output.stderr.starts_with("error\n"), "{}", output.stderr);

    let mut forward = cluster.lasting(&["port-forward", &pod.name, "0:8080"]).spawn().expect("kubectl runs");
    // It says of each connection that it is there, and ends where nobody reads that.
    let mut said = BufReader::new(forward.stdout.take().expect("a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    let port = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next());
    let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    let answer = programs::get(cluster.hub(), SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "/");
    forward.kill().and_then(|()| forward.wait()).expect("it ends");
    assert_eq!(answer.expect("an answer"), (200, format!("{}\n", pod.name)));
}

/// A pod whose probe fails gets no more requests; it gets them again when its probe passes.
fn readiness_follows_the_probe(cluster: &Cluster, pods: &[Pod], service: SocketAddr) {
    let (first, others) = pods.split_first().expect("pods");
    cluster.must(&["exec", &first.name, "--", "rm", "/www/index.html"]);
    cluster.until("a pod to be unready", || {
        cluster.pods("web").iter().any(|pod| pod.name == first.name && !pod.ready).then_some(())
    });
    for machine in cluster.machines() {
        cluster.wait_answers(machine, service, others);
    }
    cluster.must(&["exec", &first.name, "--", "sh", "-c", "hostname >/www/index.html"]);
    for machine in cluster.machines() {
        cluster.wait_answers(machine, service, pods);
    }
}

/// `kubectl top` has it from the kubelets.
fn usage_is_shown(cluster: &Cluster, pods: &[Pod]) {
    cluster.until("what pods use", || {
        let output = cluster.kubectl(&["top", "pods", "--no-headers"], "");
        let lines: Vec<_> = output.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
        pods.iter().all(|pod| lines.contains(&&*pod.name)).then_some(())
    });
    cluster.until("what nodes use", || {
        let output = cluster.kubectl(&["top", "nodes", "--no-headers"], "");
        (output.stdout.lines().filter(|line| line.contains("Mi")).count() == 2).then_some(())
    });
}

fn a_volume_holds_what_was_written(cluster: &Cluster) {
    cluster.apply_file("volume.yaml");
    cluster.must(&["wait", "--for=condition=Complete", "--timeout=100s", "job/write", "job/read"]);
    let said = cluster.must(&["logs", "job/read"]);
    assert!(said.lines().any(|line| line.starts_with("from write-")), "{said}");
    cluster.must(&["delete", "job/write", "job/read", "pvc/data"]);
    cluster.until("no volumes", || {
        cluster.get(&["persistentvolumes"])["items"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
}
