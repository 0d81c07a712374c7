//! A cluster of the originals on our API server: kube-controller-manager, kube-scheduler, kube-proxy and flanneld with
//! `--kube-subnet-mgr`. The kubelet's part is played by the test: it says that the node and its pods are ready.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin), and root.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use host::netns::Namespace;
use host::programs::{Daemon, Signal};
use originals::{KubeProxy, Mode};
use serde_json::{Value, json};
use tests::apiserver::{Side, Which};
use tests::places::Places;
use tests::wait::until_explained;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(180);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 1);
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// One of the originals, running.
struct Original(Daemon);

impl Original {
    fn start(
        name: &str,
        namespace: &Namespace,
        directory: &Path,
        flags: &[String],
        env: &[(String, String)],
    ) -> Self {
        let daemon = Daemon::new(name.to_owned(), namespace.clone(), directory, name);
        let program = originals::program(name).unwrap_or_else(|error| panic!("{error}"));
        let flags: Vec<OsString> = flags.iter().map(OsString::from).collect();
        daemon.start(&program, &flags, env).unwrap_or_else(|error| panic!("{error}"));
        Self(daemon)
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.0.stop(Signal::SIGKILL);
    }
}

fn shell(namespace: &Namespace, script: &str) -> String {
    let output = namespace.command("sh").args(["-ec", script]).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the kubelet would say of a pod that runs.
fn running(nth: usize) -> Value {
    let ip = format!("10.244.0.{}", nth + 10);
    json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.168.7.2",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}],
    }})
}

#[test]
fn a_cluster_of_originals_runs_on_our_api_server() {
    let (places, [hub, node]) = Places::make("weft-clus-", "c", ["hub", "node"]);
    shell(
        &node,
        &format!(
            "ip link set lo up; ip link add eth0 type veth peer name eth0 netns {}; ip link set eth0 up
         ip addr add 192.168.7.2/24 dev eth0; ip route add default via {SERVER}",
            places.names()[0]
        ),
    );
    shell(&hub, &format!("ip link set lo up; ip link set eth0 up; ip addr add {SERVER}/24 dev eth0"));
    let side = Side::at(Which::Ours, &hub, SERVER, &[]);
    side.start();
    let (directory, kubeconfig) = (side.directory(), side.kubeconfig("admin"));
    let kubeconfig_flag = format!("--kubeconfig={}", kubeconfig.display());
    let pki = |name: &str| side.pki().join(name).display().to_string();

    let controllers = Original::start(
        "kube-controller-manager",
        &hub,
        directory,
        &[
            kubeconfig_flag.clone(),
            format!("--service-account-private-key-file={}", pki("sa.key")),
            format!("--root-ca-file={}", pki("ca.crt")),
            "--allocate-node-cidrs=true".to_owned(),
            "--cluster-cidr=10.244.0.0/16".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            // No kubelet renews the node's lease here.
            "--controllers=*,-node-lifecycle-controller".to_owned(),
        ],
        &[],
    );
    let scheduler = Original::start(
        "kube-scheduler",
        &hub,
        directory,
        &[kubeconfig_flag, "--bind-address=127.0.0.1".to_owned()],
        &[],
    );
    let explain = || {
        let logs = [&controllers, &scheduler].map(|original| original.0.log_tail(15));
        format!(
            "{}\n{}",
            logs.join("\n----\n"),
            side.log().lines().rev().take(15).collect::<Vec<_>>().join("\n")
        )
    };

    side.must("POST", "/api/v1/nodes", JSON, &json!({"metadata": {"name": "n1"}}));
    let ready = json!({"status": {
        "capacity": {"cpu": "4", "memory": "4Gi", "pods": "110"},
        "allocatable": {"cpu": "4", "memory": "4Gi", "pods": "110"},
        "addresses": [{"type": "InternalIP", "address": "192.168.7.2"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": ""}],
    }});
    side.must("PATCH", "/api/v1/nodes/n1/status", MERGE, &ready);
    side.must("PATCH", "/api/v1/nodes/n1", MERGE, &json!({"spec": {"taints": null}}));
    let demo = "/api/v1/namespaces/demo";
    side.must("POST", "/api/v1/namespaces", JSON, &json!({"metadata": {"name": "demo"}}));
    // The controllers make the namespace's service account, without which no pod is let in.
    let deployment = json!({"metadata": {"name": "web"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}});
    side.must("POST", "/apis/apps/v1/namespaces/demo/deployments", JSON, &deployment);
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 8080}]}});
    let service = side.must("POST", &format!("{demo}/services"), JSON, &service);
    let address = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    assert!(address.starts_with("10.96."), "{service}");

    let pods = until_explained(
        "two pods, bound to the node",
        LIMIT,
        || {
            let list = side.must("GET", &format!("{demo}/pods"), JSON, &Value::Null);
            let pods = list["items"].as_array()?.clone();
            (pods.len() == 2 && pods.iter().all(|pod| pod["spec"]["nodeName"] == "n1")).then_some(pods)
        },
        explain,
    );
    for (nth, pod) in pods.iter().enumerate() {
        let name = pod["metadata"]["name"].as_str().expect("a name");
        side.must("PATCH", &format!("{demo}/pods/{name}/status"), MERGE, &running(nth));
    }
    until_explained(
        "two ready endpoints",
        LIMIT,
        || {
            let path = "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices";
            let slices = side.must("GET", path, JSON, &Value::Null);
            let endpoints =
                slices["items"].as_array()?.iter().flat_map(|slice| slice["endpoints"].as_array());
            (endpoints.flatten().filter(|one| one["conditions"]["ready"] == true).count() == 2).then_some(())
        },
        explain,
    );
    until_explained(
        "the deployment to be available",
        LIMIT,
        || {
            let path = "/apis/apps/v1/namespaces/demo/deployments/web";
            (side.must("GET", path, JSON, &Value::Null)["status"]["availableReplicas"] == 2).then_some(())
        },
        explain,
    );

    let proxy = KubeProxy::start(&node, Mode::Nftables, &kubeconfig, &["--hostname-override=n1"])
        .unwrap_or_else(|error| panic!("{error}"));
    proxy.wait_ready(LIMIT).unwrap_or_else(|error| panic!("{error}"));
    let rules = shell(&node, "nft list ruleset");
    assert!(rules.contains(&address) && rules.contains("10.244.0.10"), "{rules}");

    let network = directory.join("net-conf.json");
    let config = json!({"Network": "10.244.0.0/16", "Backend": {"Type": "host-gw"}});
    std::fs::write(&network, config.to_string()).expect("a file");
    let flanneld = Original::start(
        "flanneld",
        &node,
        directory,
        &[
            "--kube-subnet-mgr".to_owned(),
            format!("--kubeconfig-file={}", kubeconfig.display()),
            format!("--net-config-path={}", network.display()),
            format!("--subnet-file={}", directory.join("subnet.env").display()),
            "--iface=eth0".to_owned(),
        ],
        &[("NODE_NAME".to_owned(), "n1".to_owned())],
    );
    until_explained(
        "flanneld to annotate its node",
        LIMIT,
        || {
            let node = side.must("GET", "/api/v1/nodes/n1", JSON, &Value::Null);
            (node["metadata"]["annotations"]["flannel.alpha.coreos.com/backend-type"] == "host-gw")
                .then_some(())
        },
        || flanneld.0.log_tail(20),
    );

    // Our own proxy reads the same from it.
    let weft = tests::testbed::weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    let mut command: Command = node.command(weft);
    let output = command.args(["proxy", "render", &flag, "--node=n1"]).output().expect("weft runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(&address) && text.contains("10.244.0.11"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );

    side.must("DELETE", "/api/v1/namespaces/demo", JSON, &Value::Null);
    until_explained(
        "the namespace to go with all that was in it",
        LIMIT,
        || {
            let pods = side.must("GET", &format!("{demo}/pods"), JSON, &Value::Null);
            for pod in pods["items"].as_array()? {
                // As the kubelet, when the containers have ended.
                let path = format!("{demo}/pods/{}?gracePeriodSeconds=0", pod["metadata"]["name"].as_str()?);
                let _ = side.client().ask("DELETE", &path, &tests::apiserver::authorization("admin"), &[]);
            }
            let list = side.must("GET", "/api/v1/namespaces", JSON, &Value::Null);
            list["items"].as_array()?.iter().all(|one| one["metadata"]["name"] != "demo").then_some(())
        },
        explain,
    );
}
