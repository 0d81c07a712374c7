//! A cluster with real pods: one machine for the control plane, two for pods.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use host::command::Invocation;
use host::programs::{self, Daemon, Output, Signal};
use lab::ScratchLab;
use lab::spec::Backend;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::machine::Machine;
use super::{file, text};
use crate::deploy;
use crate::testbed::{READY, bare, start, up, weft};
use crate::wait::until_explained;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How long something may take that several programs have a part in.
const PATIENCE: Duration = Duration::from_secs(180);
/// Where the control plane is.
const SERVER: &str = "172.30.0.1";
/// What the containers are made of.
const IMAGE: &str = "example.org/busybox:1";
/// Id and secret of a bootstrap token.
const TOKEN: (&str, &str) = ("abcdef", "0123456789abcdef");

/// `weft control`, and nodes that joined it. It ends with this value.
pub struct Cluster {
    machines: Vec<Machine>,
    control: Daemon,
    lab: ScratchLab,
    directory: TempDir,
}

/// What the server knows of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub node: String,
    pub ready: bool,
    pub going: bool,
    pub restarts: i64,
}

impl Cluster {
    /// With both nodes ready. `prefix` is as [`crate::testbed::spec`] takes it.
    ///
    /// # Panics
    /// Not as root; a program is missing, or does not come up.
    pub fn up(prefix: &str) -> Self {
        let needed = [
            ("containerd", "containerd"),
            ("runc", "runc"),
            ("/usr/lib/cni/bridge", "containernetworking-plugins"),
            ("busybox", "busybox-static"),
        ];
        programs::require(&needed).unwrap_or_else(|error| panic!("{error}"));
        let lab = up(&bare(prefix, Backend::Vxlan));
        let directory = tempfile::tempdir().expect("a directory");
        let control = Daemon::new("weft control".to_owned(), lab.hub().clone(), directory.path(), "control");
        let mut cluster = Self { machines: Vec::new(), control, lab, directory };
        cluster.start_control();
        cluster.expect_nodes();
        let image = cluster.make_image();
        let (bootstrap, proxy) = (cluster.bootstrap(), cluster.proxy());
        let authority = cluster.authority();
        for node in cluster.lab.nodes() {
            let folder = cluster.directory.path().join(node.name());
            fs::create_dir_all(folder.join("cni")).expect("a folder");
            start(node, &weft().arg(format!("--cni-conf={}", folder.join("cni/10-weft.conflist").display())));
            cluster.machines.push(Machine::boot(node, &folder));
        }
        for machine in &cluster.machines {
            machine.start_containerd(&image);
            machine.start_kubelet(&authority, &bootstrap);
            machine.start_proxy(&proxy);
        }
        cluster.until("both nodes to be ready", || {
            let path = r"jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
            (cluster.kubectl(&["get", "nodes", "-o", path], "").stdout == "True True").then_some(())
        });
        cluster
    }

    /// Over the etcd that has the leases of subnets.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start_control(&self) {
        let program = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
        let arguments = [
            "control".to_owned(),
            format!("--data-dir={}", self.directory.path().join("control").display()),
            format!("--etcd-endpoints={}", self.lab.etcd().endpoint()),
            format!("--bind-address={SERVER}"),
            format!("--advertise-address={SERVER}"),
        ];
        let started = self.control.start(&program, &arguments.map(Into::into), &[]);
        started.unwrap_or_else(|error| panic!("{error}"));
        let ready = || {
            assert!(self.control.pid().is_some(), "{}", self.control.died());
            let path = self.kubeconfig();
            (path.exists() && self.kubectl(&["get", "--raw=/readyz"], "").status.success()).then_some(())
        };
        until_explained("weft control to serve", READY, ready, || self.control.log_tail(30));
    }

    /// Ends it as a crash does.
    ///
    /// # Panics
    /// It does not end.
    pub fn kill_control(&self) {
        self.control.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
    }

    /// As README.md says it.
    fn expect_nodes(&self) {
        self.apply(&deploy::text("join.yaml"));
        let (id, secret) = TOKEN;
        self.must(&[
            "create",
            "secret",
            "generic",
            &format!("bootstrap-token-{id}"),
            "--namespace=kube-system",
            "--type=bootstrap.kubernetes.io/token",
            &format!("--from-literal=token-id={id}"),
            &format!("--from-literal=token-secret={secret}"),
            "--from-literal=usage-bootstrap-authentication=true",
        ]);
    }

    fn bootstrap(&self) -> PathBuf {
        let (id, secret) = TOKEN;
        self.write_kubeconfig("bootstrap", &format!("{id}.{secret}"))
    }

    /// The credentials of the service proxies, with the rights that the manifest in `deploy/` gives them.
    fn proxy(&self) -> PathBuf {
        for object in deploy::documents("weft-proxy.yaml").iter().take(2) {
            self.apply(&object.to_string());
        }
        let words = ["create", "token", "weft-proxy", "--namespace=kube-system", "--duration=24h"];
        self.write_kubeconfig("proxy", self.must(&words).trim())
    }

    fn write_kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let path = self.directory.path().join(format!("{name}.kubeconfig"));
        let cluster = json!({
            "server": format!("https://{SERVER}:6443"), "certificate-authority": self.authority(),
        });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "weft",
            "clusters": [{"name": "weft", "cluster": cluster}],
            "users": [{"name": "weft", "user": {"token": token}}],
            "contexts": [{"name": "weft", "context": {"cluster": "weft", "user": "weft"}}],
        });
        fs::write(&path, config.to_string()).expect("a file");
        path
    }

    fn make_image(&self) -> PathBuf {
        let folder = self.directory.path().join("image");
        let words = [file("image.sh"), IMAGE.into(), folder.clone()];
        let words = words.iter().map(|word| word.display().to_string());
        let made = programs::run(&Invocation::new("sh", words).time_limit(LIMIT));
        made.and_then(Output::ok).unwrap_or_else(|error| panic!("{error}"));
        folder.join("image.tar")
    }

    fn authority(&self) -> PathBuf {
        self.directory.path().join("control/pki/ca.crt")
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("control/admin.kubeconfig")
    }

    /// A node: `n1`, `n2`.
    ///
    /// # Panics
    /// There is no such node.
    pub fn machine(&self, name: &str) -> &Machine {
        self.machines.iter().find(|machine| machine.name() == name).expect("a node")
    }

    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// Ends a node's kubelet as a crash does, and starts another.
    ///
    /// # Panics
    /// It does not end, or another does not start.
    pub fn restart_kubelet(&self, name: &str) {
        let machine = self.machine(name);
        machine.kill_kubelet();
        let bootstrap = self.directory.path().join("bootstrap.kubeconfig");
        machine.start_kubelet(&self.authority(), &bootstrap);
    }

    /// Pulls a node's cable out of the switch, or puts it back.
    ///
    /// # Panics
    /// There is no such node.
    pub fn set_cable(&self, node: &str, state: &str) {
        let words = ["ip", "link", "set", node, state];
        let done = programs::run(&programs::inside(self.lab.hub(), words)).and_then(Output::ok);
        done.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs kubectl as the administrator, beside the server.
    ///
    /// # Panics
    /// It is not built, or does not end.
    pub fn kubectl(&self, words: &[&str], input: &str) -> Output {
        let program = originals::program("kubectl").unwrap_or_else(|error| panic!("{error}"));
        let command = Invocation::new(program.display().to_string(), words.iter().copied())
            .env("KUBECONFIG", self.kubeconfig().display().to_string())
            .env("HOME", self.directory.path().display().to_string())
            .stdin(input)
            .inside(self.lab.hub())
            .time_limit(LIMIT);
        programs::run(&command).unwrap_or_else(|error| panic!("{error}\n{}", self.logs()))
    }

    /// The same for a command that has to succeed; gives its standard output.
    ///
    /// # Panics
    /// It fails.
    pub fn must(&self, words: &[&str]) -> String {
        self.kubectl(words, "").ok().unwrap_or_else(|error| panic!("{error}\n{}", self.logs()))
    }

    /// kubectl that goes on until it is killed, with its standard output in a pipe.
    ///
    /// # Panics
    /// It is not built.
    pub fn lasting(&self, words: &[&str]) -> Command {
        let program = originals::program("kubectl").unwrap_or_else(|error| panic!("{error}"));
        let mut command = self.lab.hub().command(program);
        command.args(words).env("KUBECONFIG", self.kubeconfig()).env("HOME", self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// # Panics
    /// The objects are refused.
    pub fn apply(&self, objects: &str) {
        let done = self.kubectl(&["apply", "--filename=-"], objects).ok();
        done.unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
    }

    /// Applies a file of `tests/pods`.
    ///
    /// # Panics
    /// It is refused.
    pub fn apply_file(&self, name: &str) {
        self.apply(&text(name));
    }

    /// What the server has of a kind, or of one object.
    ///
    /// # Panics
    /// It does not answer.
    pub fn get(&self, words: &[&str]) -> Value {
        let mut all = vec!["get", "--output=json"];
        all.extend(words);
        serde_json::from_str(&self.must(&all)).expect("JSON")
    }

    /// The pods of an application, by name.
    ///
    /// # Panics
    /// The server does not answer.
    pub fn pods(&self, app: &str) -> Vec<Pod> {
        let list = self.get(&["pods", &format!("--selector=app={app}")]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pod = |pod: &Value| Pod {
            name: text(&pod["metadata"]["name"]),
            node: text(&pod["spec"]["nodeName"]),
            ready: condition(pod, "Ready"),
            going: !pod["metadata"]["deletionTimestamp"].is_null(),
            restarts: pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or_default(),
        };
        list["items"].as_array().expect("a list").iter().map(pod).collect()
    }

    /// The first port of a Service's ClusterIP.
    ///
    /// # Panics
    /// There is no such Service.
    pub fn service(&self, name: &str) -> SocketAddr {
        let service = self.get(&["service", name]);
        let address: IpAddr =
            service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok()).expect("an address");
        let port = service["spec"]["ports"][0]["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        (address, port.expect("a port")).into()
    }

    /// Whether a node is ready, as the server has it.
    pub fn is_ready(&self, node: &str) -> bool {
        condition(&self.get(&["node", node]), "Ready")
    }

    /// Asks until there is an answer.
    ///
    /// # Panics
    /// There is none in good time: with all logs.
    pub fn until<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        until_explained(what, PATIENCE, look, || self.logs())
    }

    /// The last lines of all logs, and what the server knows.
    fn logs(&self) -> String {
        let machines: String = self.machines.iter().map(Machine::logs).collect();
        format!("weft control:\n{}\n{machines}", self.control.log_tail(15))
    }

    /// Where a client of the server has its namespace.
    pub fn hub(&self) -> &host::netns::Namespace {
        self.lab.hub()
    }
}

/// Whether a condition is true.
fn condition(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut found = conditions.into_iter().flatten().filter(|condition| condition["type"] == kind);
    found.any(|condition| condition["status"] == "True")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The server ends last, or kubelets would fill the end of their logs with its absence.
        self.machines.clear();
        let _ = self.control.stop(Signal::SIGKILL);
    }
}
