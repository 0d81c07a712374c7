//! Services of type LoadBalancer: their addresses, with kubectl.
//!
//! Needs etcd and kubectl.

use std::process::{Command, Output};

use host::netns::Sysfs;
use host::programs::Signal;
use serde_json::Value;
use tests::apiserver::control::{Control, READY};
use tests::wait::until_explained;

/// Runs kubectl as the administrator, where the control plane is.
fn kubectl(control: &Control, words: &[&str], input: &str) -> Output {
    let program = originals::program("kubectl").unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new("timeout");
    command.arg("60").arg(program).args(words);
    command.env("KUBECONFIG", control.root.join("admin.kubeconfig")).env("HOME", control.directory.path());
    control.place().enter_on_spawn(&mut command, Sysfs::Keep);
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, input.as_bytes()).expect("room");
    std::io::Seek::rewind(&mut file).expect("a file");
    command.stdin(file).output().unwrap_or_else(|error| panic!("kubectl: {error}"))
}

fn must(control: &Control, words: &[&str], input: &str) {
    let output = kubectl(control, words, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {words:?}: {said}\n{}", control.daemon.log_tail(20));
}

/// Waits until `kubectl get WHAT -o jsonpath=PATH` says something.
fn until(control: &Control, what: &str, path: &str, says: &str) {
    let query = format!("jsonpath={path}");
    let words: Vec<&str> = ["get", "-o", &query].into_iter().chain(what.split(' ')).collect();
    let said = || {
        let output = kubectl(control, &words, "");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let explain = || format!("it says {:?}\n{}", said(), control.daemon.log_tail(20));
    until_explained(
        &format!("{what} at {path} to say {says:?}"),
        READY,
        || (said().trim() == says).then_some(()),
        explain,
    );
}

/// Until it knows the ranges of ClusterIPs, too.
fn start(control: &Control) {
    control.start();
    let ready = || control.ask("GET", "/readyz", &Value::Null).filter(|(code, _)| *code == 200).map(|_| ());
    until_explained("weft control to be ready", READY, ready, || control.daemon.log_tail(20));
}

const ADDRESSES: &str = "{.status.loadBalancer.ingress[*].ip}";

fn service(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  type: LoadBalancer\n  \
         ports: [{{port: 80}}]\n{more}"
    )
}

#[test]
fn a_service_has_an_address_of_the_pool_as_long_as_it_wants_one() {
    let mut control = Control::new();
    control.flags = vec![
        "--load-balancer-pool=192.0.2.16/31,2001:db8::10-2001:db8::1f".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112".to_owned(),
    ];
    start(&control);
    must(&control, &["apply", "-f", "-"], &service("a", "  ipFamilyPolicy: RequireDualStack\n"));
    until(&control, "service a", ADDRESSES, "192.0.2.16 2001:db8::10");
    until(&control, "service a", "{.status.loadBalancer.ingress[*].ipMode}", "VIP VIP");
    let finalizers = "{.metadata.finalizers[*]}";
    until(&control, "service a", finalizers, "service.kubernetes.io/load-balancer-cleanup");
    must(&control, &["apply", "-f", "-"], &service("b", "  loadBalancerIP: 192.0.2.17\n"));
    until(&control, "service b", ADDRESSES, "192.0.2.17");
    must(&control, &["apply", "-f", "-"], &service("others", "  loadBalancerClass: example.org/cloud\n"));
    // The pool is used up, and the Service's Events say so.
    must(&control, &["apply", "-f", "-"], &service("c", ""));
    let about = "events --field-selector involvedObject.name=c,reason=SyncLoadBalancerFailed";
    until(
        &control,
        about,
        "{.items[0].message}",
        "Error syncing load balancer: failed to ensure load balancer: no IPv4 address is free, all of 192.0.2.16/31 are \
         in use: add a range to --load-balancer-pool, or delete a Service of type LoadBalancer",
    );
    // What one gives back another gets.
    must(&control, &["patch", "service", "b", "-p", "{\"spec\": {\"type\": \"ClusterIP\"}}"], "");
    until(&control, "service c", ADDRESSES, "192.0.2.17");
    until(&control, "service b", "{.status.loadBalancer}{.metadata.finalizers}", "{}");
    // A restart changes nothing.
    control.daemon.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
    start(&control);
    must(&control, &["delete", "service", "a", "--timeout=60s"], "");
    must(&control, &["apply", "-f", "-"], &service("d", ""));
    until(&control, "service d", ADDRESSES, "192.0.2.16");
    until(&control, "service c", ADDRESSES, "192.0.2.17");
    until(&control, "service others", ADDRESSES, "");
    let events = "events --field-selector involvedObject.name=d";
    until(
        &control,
        events,
        "{range .items[*]}{.reason}: {.message}; {end}",
        "EnsuringLoadBalancer: Ensuring load balancer; EnsuredLoadBalancer: Ensured load balancer;",
    );
}
